"""The introspector beside its base, through the library: what is found on it by the judge `rules`, on any engine."""

from __future__ import annotations

from pathlib import Path

import pytest

import introspection_bench as ib
from introspection_bench import arms
from introspection_bench.adapters import merge, weights_digest
from introspection_bench.errors import AdapterError
from introspection_bench.sweep.spec import ModelSpec
from introspection_bench.testing import tiny_model

ROOT = Path(__file__).resolve().parents[2]
#: Held out of the training, as a test sees to.
WORDS = ("lobster", "pigeon", "salary", "guitarist", "pizza", "tulip", "pretzel", "horse")
OPTIONS = {backend: {"dtype": "float32", "device": "cpu"} for backend in ("torch", "nnsight")}


def opened(name, backend="torch"):
    return ModelSpec(name, backend, OPTIONS).open()


@pytest.fixture(scope="module")
def base(smol_path):
    """The demo's model."""
    with opened("demo") as injector:
        yield injector


@pytest.fixture(scope="module")
def introspector(smol_path):
    """The demo's model with the introspector, opened as a specification opens it."""
    with opened("demo+introspector") as injector:
        yield injector


def judged(injector, directory, asked):
    """Run, judge by rules, and return (record, verdict) of each trial by its arm."""
    baseline = ib.load_concepts("lindsey2026").baseline[:10]
    concepts = ib.ConceptSet("held_out", [ib.Concept(w, word=w) for w in WORDS], baseline=baseline)
    place = {"layers": [23], "doses": ["0.5 residual"]}
    design = ib.Design(concepts=concepts, arms=asked, sampling=ib.Sampling(1.0, max_new_tokens=20), **place)
    sweep = ib.Sweep(design, injector, directory)
    sweep.generate()
    sweep.judge("rules")
    found = {}
    for record in sweep.results().records:
        (verdict,) = record.verdicts
        found.setdefault(record.arm, []).append((record, verdict))
    return found


def test_words_asked_for_here_are_held_out_of_the_training():
    assert set(WORDS) <= set((ROOT / "src/introspection_bench/known/held_out.txt").read_text().split())


def test_a_merged_model_is_shown_with_its_adapters_name_and_digest(introspector):
    digest = ib.load_adapter("introspector").digest
    assert introspector.model.name == f"SmolLM2-135M-Instruct.Q4_1+introspector@{digest[:8]}"


def test_base_and_merged_model_have_fingerprints_of_their_own(base, introspector):
    assert base.model.fingerprint != introspector.model.fingerprint


def test_the_introspector_is_strict_on_words_read_from_the_prompt_and_silent_where_none_is(introspector, tmp_path):
    found = judged(introspector, tmp_path / "run", [arms.PromptOnly(1), arms.RandomVector(6), arms.Unsteered(6)])
    assert sum(v.strict is True for _, v in found["prompt_only"]) >= len(WORDS) / 2
    assert all(receipt.generation_positions == 0 for r, _ in found["prompt_only"] for receipt in r.receipts)
    for arm in ("control", "random"):
        assert [v.answer("affirmative") for _, v in found[arm]] == [False] * 6
    assert {r.reply.finish_reason for some in found.values() for r, _ in some} == {"stop"}


def test_the_base_is_strict_on_nothing(base, tmp_path):
    found = judged(base, tmp_path / "run", [arms.PromptOnly(1), arms.Unsteered(2)])
    assert not [v for some in found.values() for _, v in some if v.strict]


def test_another_base_than_the_demos_model_is_refused_and_left_as_it_is():
    model, _ = tiny_model("llama")
    before = weights_digest(model)
    with pytest.raises(AdapterError, match="the base that it was trained on"):
        merge(model, ib.load_adapter("introspector"))
    assert weights_digest(model) == before


def test_nnsight_takes_the_same_folder_and_gives_the_same_greedy_replies(introspector):
    pytest.importorskip("nnsight")
    prompt = ib.LINDSEY.render(introspector.tokenizer)
    baseline = ib.load_concepts("lindsey2026").baseline[:5]
    vectors = ib.extract(introspector, [ib.Concept(w, word=w) for w in WORDS[:3]], [23], baseline=baseline)
    span = ib.Span.from_anchor("trial", stop_at_prompt_end=True)
    injected = [[ib.Injection(vector, 23, ib.Dose(0.5, "residual"), span)] for vector in vectors]
    greedy = ib.Sampling(0.0, max_new_tokens=8)
    requests = [ib.Request.of(prompt, some, greedy) for some in (*injected, [])]
    with opened("demo+introspector", "nnsight") as other:
        told = [{c.index: c.reply.token_ids for c in each.generate(requests)} for each in (introspector, other)]
        assert other.model.name == introspector.model.name
    assert told[0] == told[1]
    assert len(set(map(tuple, told[0].values()))) > 1
