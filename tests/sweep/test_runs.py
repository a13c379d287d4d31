"""Running, resuming and judging a sweep on a tiny real model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch

from introspection_bench import Dose, open_injector
from introspection_bench.errors import NonFiniteError, SilentInjectionError, StoreError, StoreMismatchError
from introspection_bench.injection import Receipt
from introspection_bench.sweep import Store, Sweep
from introspection_bench.testing import tiny_model
from introspection_bench.verdicts import CRITERIA

SCRIPT = Path(__file__).parent / "run_tiny.py"


def replies(results):
    return {r.key.digest: (r.reply, r.receipts, r.seed) for r in results}


@pytest.fixture(scope="module")
def finished(design, injector, tmp_path_factory):
    sweep = Sweep(design, injector, tmp_path_factory.mktemp("runs") / "finished")
    sweep.generate()
    return sweep


def test_a_run_records_exactly_the_planned_trials(finished):
    assert [r.key.digest for r in finished.results()] == [t.key.digest for t in finished.planned]


def test_the_same_spec_run_twice_gives_the_same_replies(finished, design, injector, tmp_path):
    again = Sweep(design, injector, tmp_path / "again").generate()
    assert replies(again) == replies(finished.results())


def test_a_finished_run_generates_nothing_when_it_is_run_again(finished):
    seen = []
    finished.generate(seen.append)
    assert seen == []


def test_every_injected_trial_has_a_receipt_of_its_span_and_ratio(finished):
    prompt = finished.planned[0].request.prompt
    for record in finished.results():
        if record.arm == "control":
            assert record.receipts == ()
        else:
            (receipt,) = record.receipts
            assert receipt.prompt_positions == len(prompt.token_ids) - prompt.anchors["trial"]
            assert receipt.generation_positions == len(record.reply.token_ids) - 1
            assert receipt.mean_ratio == pytest.approx(record.condition.dose.magnitude, rel=1e-4)


def test_the_run_directory_can_be_made_again_from_the_store(finished, design, injector):
    directory = finished.directory
    manifest = (directory / "manifest.json").read_bytes()
    files = {p.name: p.read_bytes() for p in (directory / "vectors").iterdir()}
    assert len(files) == len(finished.vectors) == 2
    shutil.rmtree(directory / "vectors")
    (directory / "manifest.json").unlink()
    Sweep(design, injector, directory).generate()
    assert (directory / "manifest.json").read_bytes() == manifest
    assert {p.name: p.read_bytes() for p in (directory / "vectors").iterdir()} == files
    assert json.loads(manifest)["model"]["backend"] == "torch"


def test_judging_gives_each_reply_one_verdict_and_generates_nothing(finished):
    before = replies(finished.results())
    first = finished.judge("rules")
    assert (first.judged, first.kept) == (len(finished.planned), 0)
    second = finished.judge("rules")
    assert (second.judged, second.kept) == (0, len(finished.planned))
    assert all(len(r.verdicts) == 1 for r in finished.results())
    assert replies(finished.results()) == before


def test_controls_are_judged_against_a_decoy_of_the_runs_own_concepts(finished):
    finished.judge("rules")
    asked = {r.verdicts[0].concept for r in finished.results() if r.arm == "control"}
    assert asked <= {"Oceans", "Bread"}
    assert {(r.concept, r.verdicts[0].concept) for r in finished.results() if r.arm == "injected"} == {
        ("Oceans", "Oceans"),
        ("Bread", "Bread"),
    }
    assert all(r.verdicts[0].blinded for r in finished.results())


def test_a_directory_with_another_grid_is_an_error_and_stays_as_it_was(finished, design, injector):
    before = replies(finished.results())
    other = Sweep(attrs.evolve(design, doses=["0.5 residual", "3 residual"]), injector, finished.directory)
    with pytest.raises(StoreMismatchError, match="doses"):
        other.generate()
    assert replies(finished.results()) == before


def test_a_directory_of_another_model_is_an_error_that_names_both(finished, design, injector, monkeypatch):
    other = attrs.evolve(injector.model, name="other", fingerprint="f" * 64)
    monkeypatch.setattr(injector, "_info", other)
    with pytest.raises(StoreMismatchError, match=r"llama.*other"):
        Sweep(design, injector, finished.directory).generate()


def test_a_file_that_is_no_store_is_an_error(tmp_path):
    (tmp_path / "store.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="store"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="run directory"):
        Store.open(tmp_path / "nothing")


def test_a_reply_without_proof_of_its_injection_is_not_recorded(design, injector, tmp_path, monkeypatch):
    honest = type(injector)._generate

    def lying(self, requests):
        for completion in honest(self, requests):
            yield attrs.evolve(completion, receipts=[Receipt.nothing() for _ in completion.receipts])

    monkeypatch.setattr(type(injector), "_generate", lying)
    sweep = Sweep(design, injector, tmp_path / "run")
    with pytest.raises(SilentInjectionError, match="positions steered"):
        sweep.generate()
    assert {r.arm for r in sweep.results()} <= {"control"}


def test_the_runner_checks_receipts_even_of_an_injector_that_skips_the_ports_check(
    design, injector, tmp_path, monkeypatch
):
    def unchecked(self, requests):
        for completion in self._generate(list(requests)):
            yield attrs.evolve(completion, receipts=[Receipt.nothing() for _ in completion.receipts])

    monkeypatch.setattr(type(injector), "generate", unchecked)
    with pytest.raises(SilentInjectionError):
        Sweep(design, injector, tmp_path / "run").generate()


def test_a_trial_that_can_not_be_proved_is_named_and_not_recorded_and_those_beside_it_are(design, tmp_path):
    model, tokenizer = tiny_model("llama")
    injector = open_injector("torch", model.to(torch.float16), tokenizer=tokenizer, batch_size=64)
    strong = attrs.evolve(design, doses=["0.5 absolute", "1e6 absolute"])
    sweep = Sweep(strong, injector, tmp_path / "run")
    with pytest.raises(NonFiniteError, match=r"layer \d+, 1000000 absolute, .*position \d+") as caught:
        sweep.generate()
    recorded = {r.key.digest for r in sweep.results()}
    bad = {t.key.digest for t in sweep.planned if t.condition.dose == Dose(1e6, "absolute")}
    assert not recorded & bad
    assert any(digest.startswith(str(caught.value).split()[1]) for digest in bad)
    # All trials of the batch but those that failed; the other scaffolds' batches were not reached.
    assert {
        t.key.digest for t in sweep.planned if t.condition.scaffold == sweep.planned[0].condition.scaffold
    } - bad <= recorded


def test_an_interrupted_run_keeps_what_was_finished(design, injector, tmp_path):
    sweep = Sweep(design, injector, tmp_path / "run")
    seen = []

    def stop_after_five(record):
        seen.append(record.key.digest)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.generate(stop_after_five)
    assert [r.key.digest for r in sweep.results()] == seen
    sweep.generate()
    assert len(sweep.results()) == len(sweep.planned)


def run_child(tiny_folder: Path, directory: Path, *kill_after: int) -> int:
    command = [sys.executable, SCRIPT, tiny_folder, directory, *map(str, kill_after)]
    return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode


def recorded(directory: Path) -> int:
    with Store.open(directory) as store:
        return len(store.recorded())


@pytest.mark.slow
def test_a_killed_sweep_ends_with_exactly_the_planned_trials(tiny_folder, tmp_path):
    whole = tmp_path / "whole"
    assert run_child(tiny_folder, whole) == 0
    directory = tmp_path / "killed"
    assert run_child(tiny_folder, directory, 17) == -signal.SIGKILL  # tests/kills has other points, and several of them
    assert recorded(directory) == 17
    assert run_child(tiny_folder, directory) == 0
    with Store.open(directory) as store, Store.open(whole) as other:
        records = store.records()
        assert [r.key.digest for r in records] == list(store.planned())
        assert len({r.key.digest for r in records}) == 50
        expected = {r.key.digest: r for r in other.records()}
    for record in records:
        there = expected[record.key.digest]
        assert (record.reply, record.seed) == (there.reply, there.seed)
        # The batches differ after a kill, and with them the last bits of the stream that the ratio refers to.
        for receipt, other in zip(record.receipts, there.receipts, strict=True):
            assert receipt.mean_ratio == pytest.approx(other.mean_ratio, rel=1e-6)


def test_a_run_goes_on_with_its_own_vectors_where_extracting_again_would_give_other_last_bits(
    finished, design, injector, monkeypatch
):
    def capture(*_, **__):
        raise AssertionError("extracted again")

    monkeypatch.setattr(injector, "capture", capture)
    again = Sweep(design, injector, finished.directory)
    assert [t.key for t in again.planned] == [t.key for t in finished.planned]
    scaled = attrs.evolve(design, vectors=[v * 2 for v in finished.vectors])
    with pytest.raises(StoreMismatchError, match=r"different in \['vectors'\]"):
        Sweep(scaled, injector, finished.directory).generate()


def test_criteria_are_stored_as_the_judge_gave_them(finished):
    finished.judge("rules")
    records = finished.results()
    assert {type(r.verdicts[0].answer(c)) for r in records for c in CRITERIA} <= {bool, type(None)}
