"""Sessions in the store, the manifest made from it, and vectors that a run keeps."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.concepts import Concept, ConceptSet, Pair
from introspection_bench.credentials import without_credentials
from introspection_bench.errors import StoreError, VersionWarning
from introspection_bench.extraction import extract
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.interop import read_results, write_jsonl
from introspection_bench.judges.registry import open_judge
from introspection_bench.recipes import Pairs, Word
from introspection_bench.sweep import (
    Design,
    RunSpec,
    Store,
    Sweep,
    Unsteered,
    import_results,
    judge_run,
    sessions,
    write_manifest,
)


class FakeKillError(Exception):
    pass


def after(n: int) -> Any:
    """A callback that fails at the n-th trial, as a kill would."""
    left = iter(range(n))

    def stop(_: object) -> None:
        if next(left) == n - 1:
            raise FakeKillError

    return stop


def other_versions(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    real = sessions._versions

    def versions(module: str) -> dict[str, str]:
        return {**real(module), **changes}

    monkeypatch.setattr(sessions, "_versions", versions)


@pytest.fixture
def cut(design: Design, injector: TorchInjector, tmp_path: Path) -> Sweep:
    """A run that was killed after its fifth trial."""
    sweep = Sweep(design, injector, tmp_path / "run")
    with pytest.raises(FakeKillError):
        sweep.generate(after(5))
    return sweep


def test_every_trial_and_verdict_names_the_session_that_recorded_it(cut: Sweep, design: Design) -> None:
    cut.generate()
    cut.judge("rules")
    with Store.open(cut.directory) as store:
        found, of = store.sessions(), store.session_of()
        records = store.records()
    assert [(s.id, s.process.stage, s.trials, s.verdicts) for s in found] == [
        (1, "generate", 5, 0),
        (2, "generate", 21, 0),
        (3, "judge", 0, 26),
    ]
    assert [s.process.name for s in found] == [cut.injector.name] * 2 + ["rules"]
    assert {"python", "code", "introspection-bench", "torch", "transformers"} <= set(found[0].process.versions)
    assert all((found[0].process.host, found[0].process.platform))
    assert {of[r.key.digest] for r in records} == {1, 2}
    assert {of[r.verdicts[0].key(r.key.digest)] for r in records} == {3}


def test_a_stage_with_nothing_left_to_do_opens_no_session(cut: Sweep) -> None:
    cut.generate()
    cut.judge("rules")
    before = (cut.directory / "store.sqlite").read_bytes()
    cut.generate()
    cut.judge("rules")
    assert (cut.directory / "store.sqlite").read_bytes() == before


def test_other_versions_on_resume_are_told_once_and_kept(cut: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    other_versions(monkeypatch, torch="9.9.9", code="c" * 12)
    with (
        pytest.warns(VersionWarning, match=r"code \w{12}, then c{12}; torch .*, then 9\.9\.9") as told,
        pytest.raises(FakeKillError),
    ):
        cut.generate(after(3))
    assert len([w for w in told if w.category is VersionWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", VersionWarning)
        cut.generate()  # the same new versions again
        cut.judge("rules")
    line = "Recorded in 4 sessions with different versions: code "
    assert [n[: len(line)] for n in cut.results().notes] == [line]
    assert cut.results().notes == read_results(cut.directory).notes
    page = ib.write_report(cut.results(), cut.directory / "report.html").read_text()
    assert page.count("then 9.9.9") == 2  # in the head and in the note


def test_a_judge_of_other_code_is_told_apart_from_its_own_earlier_session(
    cut: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut.judge("rules")
    cut.generate()
    other_versions(monkeypatch, code="d" * 12)
    with pytest.warns(VersionWarning, match="then d{12}"):
        cut.judge("rules")


def test_runs_of_one_version_have_no_note_of_sessions(cut: Sweep) -> None:
    cut.generate()
    assert cut.results().notes == ()


def test_the_manifest_is_what_the_store_says_whoever_writes_it(
    cut: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut.generate()
    cut.judge("rules")
    path = cut.directory / "manifest.json"
    written = path.read_bytes()
    manifest = json.loads(written)
    assert [(s["id"], s["stage"]) for s in manifest["sessions"]] == [(1, "generate"), (2, "generate"), (3, "judge")]
    assert manifest["design"]["arms"][0] == {"arm": "unsteered", "n": 6}
    assert manifest["created"] <= manifest["sessions"][0]["opened"]
    other_versions(monkeypatch, torch="9.9.9")
    cut.generate()
    assert path.read_bytes() == written
    path.unlink()
    with Store.open(cut.directory) as store:
        assert write_manifest(store) == path
    assert path.read_bytes() == written


def test_manifests_written_at_once_hold_every_session(cut: Sweep) -> None:
    def judge(name: int) -> None:
        with Store.open(cut.directory) as store:
            store.begin_session(attrs.evolve(sessions.this_process("judge"), name=f"judge {name}"))
            write_manifest(store)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(judge, range(6)))
    found = json.loads((cut.directory / "manifest.json").read_text())["sessions"]
    assert sorted(s["name"] for s in found[1:]) == [f"judge {n}" for n in range(6)]


def test_an_import_and_a_script_that_records_by_itself_have_sessions_too(cut: Sweep, tmp_path: Path) -> None:
    cut.generate()
    write_jsonl(cut.results().records, tmp_path / "a.jsonl")
    concepts = ConceptSet("tiny", cut.design.concepts.concepts)
    with import_results([read_results(tmp_path / "a.jsonl")], tmp_path / "import", concepts) as store:
        (first,) = store.sessions()
        assert (first.process.stage, first.trials, first.process.options) == ("import", 26, None)
        verdict = next(v for _, v in open_judge("rules").judge([_case(cut)]))
        store.add_verdict(store.records()[0].key.digest, verdict)
        assert [(s.process.stage, s.verdicts) for s in store.sessions()] == [("import", 0), ("other", 1)]


def _case(sweep: Sweep) -> Any:
    from introspection_bench.sweep.judging import case_maker

    with Store.open(sweep.directory) as store:
        return case_maker(store)(store.records()[0])


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM sessions", "a session for every trial"),
        ("UPDATE trials SET session = 99", "a session for every trial"),
        ("UPDATE sessions SET process = '{}'", "table sessions, row 1"),
        ("UPDATE sessions SET process = 'x'", "table sessions, row 1"),
        ("UPDATE sessions SET process = replace(process, '\"gpus\"', '\"cpus\"')", "table sessions, row 1"),
        ("UPDATE meta SET value = '1' WHERE key = 'schema'", "schema version 6; got 1.*export RUN --to"),
    ],
)
def test_damaged_sessions_and_stores_of_another_version_are_errors_that_name_the_place(
    cut: Sweep, statement: str, told: str
) -> None:
    with closing(sqlite3.connect(cut.directory / "store.sqlite")) as connection:
        connection.execute(statement)
        connection.commit()
    with pytest.raises(StoreError, match=told):
        read_results(cut.directory)


def test_options_are_kept_without_credentials(
    tiny_folder: Path, design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-battery")
    with ib.open_injector("torch", str(tiny_folder), device="cpu", batch_size=4) as opened:
        sweep = Sweep(attrs.evolve(design, arms=[Unsteered(1)]), opened, tmp_path / "run")
        sweep.generate()
    judge = open_judge("rules")
    judge.opened_with = {"base_url": "http://me:hunter22@host/v1?key=abc", "note": "correct-horse-battery", "n": 3}
    with Store.open(tmp_path / "run") as store:
        judge_run(store, judge)
        generated, judged = (s.process.options for s in store.sessions())
    assert generated == {"device": "cpu", "batch_size": 4}
    assert judged == {"base_url": "http://(not shown)@host/v1?(not shown)", "note": "(not shown)", "n": 3}
    assert b"correct-horse" not in (tmp_path / "run" / "store.sqlite").read_bytes()
    assert b"hunter22" not in (tmp_path / "run" / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "hunter22"},
        {"apiKey": "hunter22"},
        {"hf_token": "hunter22"},
        {"headers": {"Authorization": "Basic hunter22"}},
        {"headers": [("x-api-key", "hunter22")]},
        {"extra": {"deep": [{"client_secret": "hunter22"}]}},
        {"header": "Bearer hunter22"},
        {"text": "sk-ant-hunter22-0123456789"},
        {"client": type("Client", (), {"__repr__": lambda _: "hunter22"})()},
        {"url": "https://user:hunter22@host"},
    ],
)
def test_no_credential_can_be_read_in_options(options: dict[str, Any]) -> None:
    shown = json.dumps(without_credentials(options))
    assert "hunter22" not in shown
    kept = {"dtype": "float32", "max_new_tokens": 3, "layers": (1, 2), "nan": float("nan"), "none": None}
    assert without_credentials(kept) == kept | {"layers": [1, 2], "nan": "nan"}


# Vectors are results of the run

SPEC = """
directory = "run"
[model]
name = "unused"
[design]
concepts = "concepts.toml"
layers = {layers}
doses = ["0.5 residual"]
{recipe}
[design.arms.unsteered]
n = 1
[design.arms.injected]
n = 1
[design.arms.random]
n = 2
[design.sampling]
max_new_tokens = 4
"""
CONCEPTS = """
name = "tiny"
baseline = ["Desks", "Jackets"]
[[concepts]]
name = "Oceans"
word = "Oceans"
pairs = [{ positive = "Tell me of the sea", negative = "Tell me of it" }]
[[concepts]]
name = "Bread"
word = "Bread"
"""


class FakeCounter:
    """Counts what an injector captures, as (prompts, layers)."""

    def __init__(self, injector: TorchInjector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[int, tuple[int, ...]]] = []
        real = injector.capture

        def capture(prompts: Any, layers: Any, **options: Any) -> Any:
            self.calls.append((len(prompts), tuple(layers)))
            return real(prompts, layers, **options)

        monkeypatch.setattr(injector, "capture", capture)


@pytest.fixture
def captured(injector: TorchInjector, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCounter]:
    return FakeCounter(injector, monkeypatch)


def built(folder: Path, injector: TorchInjector, recipe: str = 'recipe = "word"', layers: str = "[1]") -> Sweep:
    (folder / "concepts.toml").write_text(CONCEPTS)
    (folder / "sweep.toml").write_text(SPEC.format(recipe=recipe, layers=layers))
    spec = RunSpec.from_toml(folder / "sweep.toml")
    return Sweep(spec.design, injector, spec.directory, spec=spec)


def test_a_run_from_a_spec_extracts_nothing_again_when_it_goes_on(
    injector: TorchInjector, captured: FakeCounter, tmp_path: Path
) -> None:
    first = built(tmp_path, injector)
    first.generate()
    assert captured.calls == [(4, (1,))]
    again = built(tmp_path, injector)
    assert captured.calls == [(4, (1,))]
    assert again.vectors == first.vectors
    assert len(again.generate()) == 5


def test_only_missing_vectors_are_extracted(injector: TorchInjector, captured: FakeCounter) -> None:
    words = ConceptSet("w", [Concept("Oceans", word="Oceans"), Concept("Bread", word="Bread")], ["Desks", "Sand"])
    known = extract(injector, words.select("Oceans"), [0, 1])
    captured.calls.clear()
    found = extract(injector, words, [1, 0], known=known)
    assert captured.calls == [(3, (1, 0))]  # Bread and the baseline
    assert [(v.concept, v.layer) for v in found] == [("Oceans", 1), ("Oceans", 0), ("Bread", 1), ("Bread", 0)]
    assert found[0] is known[1]
    captured.calls.clear()
    extract(injector, words, [0, 1, 2], known=found)
    assert captured.calls == [(4, (2,))]


def test_a_vector_of_other_prompts_another_recipe_model_or_algebra_is_extracted_again(
    injector: TorchInjector, captured: FakeCounter
) -> None:
    both = Concept("Oceans", word="Oceans", pairs=[Pair("the sea", "the lea")])
    words = ConceptSet("w", [both], ["Desks", "Sand"])
    (known,) = extract(injector, words, [1], recipe=Word())
    elsewhere = attrs.evolve(known, provenance=attrs.evolve(known.provenance, model_fingerprint="f" * 64))
    captured.calls.clear()
    for changed in (
        lambda: extract(injector, words, [1], recipe=Pairs(), known=[known]),
        lambda: extract(injector, words, [1], recipe=Word(), baseline=["Desks"], known=[known]),
        lambda: extract(injector, words, [1], recipe=Word(), known=[elsewhere, -known, known.random_like(3)]),
    ):
        (found,) = changed()
        assert found != elsewhere
        assert len(captured.calls) == 1
        captured.calls.clear()


def test_a_concept_with_a_word_and_pairs_needs_the_recipe_that_is_then_taken(
    injector: TorchInjector, tmp_path: Path
) -> None:
    concept = Concept("Oceans", word="Oceans", pairs=[Pair("the sea", "the lea")])
    words = ConceptSet("w", [concept], ["Desks"])
    with pytest.raises(ib.errors.ConceptError, match=r"'Oceans'.*word and pairs; got none chosen"):
        extract(injector, words, [1])
    with pytest.raises(ib.errors.ConceptError, match="recipe for concept 'Bread'"):
        extract(injector, [Concept("Bread", word="Bread")], [1], recipe=Pairs())
    alone = {
        "word": ConceptSet("w", [Concept("Oceans", word="Oceans")], ["Desks"]),
        "pairs": [attrs.evolve(concept, word=None)],
    }
    for recipe, single in alone.items():
        (found,) = extract(injector, words, [1], recipe=Word() if recipe == "word" else Pairs())
        assert found == extract(injector, single, [1])[0]
        assert found.provenance.recipe == recipe
    with pytest.raises(ib.errors.ConceptError, match=r"\[recipe\] name"):
        built(tmp_path, injector, recipe="")
    with pytest.raises(ib.errors.SpecError, match=r"recipe: required one of .*words"):
        built(tmp_path, injector, recipe='recipe = "words"')
