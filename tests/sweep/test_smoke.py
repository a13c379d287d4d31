"""Smoke tests: a few trials of a run, spread over its cells."""

from __future__ import annotations

import itertools
from collections import Counter

import attrs
import pytest
from conftest import planned

from introspection_bench.analysis import Stopping
from introspection_bench.errors import SpecError
from introspection_bench.sweep import ModelSpec, RunSpec, Sweep, run_spec
from introspection_bench.sweep.generating import pending_trials


def test_a_smoke_test_runs_each_cell_once_again_runs_nothing_and_the_run_goes_on_to_the_same_replies(
    design, injector, tmp_path
):
    whole = Sweep(design, injector, tmp_path / "whole").generate()
    sweep = Sweep(design, injector, tmp_path / "run")
    few = sweep.generate(limit=5)
    assert Counter(r.condition.cell for r in few) == dict.fromkeys((t.condition.cell for t in sweep.planned), 1)
    assert few.notes == ("The run is not finished: 5 of 26 planned trials are recorded, and its rates are of those.",)
    new = []
    sweep.generate(new.append, limit=5)
    assert new == []
    results = Sweep(design, injector, tmp_path / "run").generate(new.append)
    assert len(new) == len(whole) - 5
    assert results.notes == ()
    assert {r.key.digest: r.reply for r in results} == {r.key.digest: r.reply for r in whole}


def test_fewer_trials_than_cells_lie_apart_in_the_plan_and_more_of_them_hold_the_fewer(design, injector):
    trials = planned(design, injector)
    cells = list(dict.fromkeys(t.condition.cell for t in trials))
    two = [cells.index(t.condition.cell) for t in pending_trials(trials, (), 2)]
    assert two == [0, 4]  # the unsteered cell, and the last of the injected ones
    found = [{t.key.digest for t in pending_trials(trials, (), n)} for n in range(1, len(trials) + 3)]
    assert all(fewer <= more for fewer, more in itertools.pairwise(found))
    assert [len(some) for some in found] == [min(n, len(trials)) for n in range(1, len(trials) + 3)]


def test_a_run_that_waits_for_its_verdicts_ends_after_its_smoke_test(design, tiny_folder, tmp_path):
    model = ModelSpec(str(tiny_folder), options={"torch": {"device": "cpu"}})
    spec = RunSpec(attrs.evolve(design, doses=["0.5 residual"]), model, stopping=Stopping(0.2, 3))
    assert len(run_spec(spec, directory=tmp_path / "run", limit=3)) == 3


def test_a_limit_below_one_is_refused_before_a_model_is_opened(design, tmp_path):
    with pytest.raises(SpecError, match="limit"):
        run_spec(RunSpec(design, ModelSpec("nowhere")), directory=tmp_path, limit=0)
