"""Planners that ask more than once, and studies over several models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.errors import SpecError
from introspection_bench.measures import TokenLogprobs
from introspection_bench.sweep import (
    Design,
    Ground,
    Injected,
    ModelSpec,
    PlannedTrial,
    Planner,
    Store,
    Study,
    Sweep,
    Unsteered,
)
from introspection_bench.testing import save_tiny_model


class Doubling(Planner):
    """Asks for one dose, and for twice that as long as replies are judged coherent, up to four times."""

    judge = "rules"

    def __init__(self, design: Design) -> None:
        self._design = design

    @property
    def design(self) -> Design:
        return self._design

    def ask(self, ground: Ground, done: Sequence[ib.TrialRecord]) -> list[PlannedTrial]:
        asked = len({r.condition.dose for r in done})
        if asked == 4 or not all(r.verdicts for r in done):
            return []
        dose = ib.Dose(0.1 * 2**asked, "residual")
        return attrs.evolve(self._design, doses=[dose], arms=[Injected(1)]).ask(ground, [])


class FakeKillError(Exception):
    pass


def test_a_search_is_asked_again_with_verdicts_and_what_it_asks_for_stands_behind_the_plan(
    design: Design, injector: Any, tmp_path: Path
) -> None:
    results = Sweep(Doubling(design), injector, tmp_path / "whole").run()
    assert [str(r.condition.dose) for r in results][::2] == [f"{d:g} residual" for d in (0.1, 0.2, 0.4, 0.8)]
    assert all(r.verdicts for r in results)
    left = iter(range(5))

    def killed(_: object) -> None:
        if next(left) == 4:
            raise FakeKillError

    with pytest.raises(FakeKillError):
        Sweep(Doubling(design), injector, tmp_path / "cut").run(on_trial=killed)
    again = Sweep(Doubling(design), injector, tmp_path / "cut").run()
    assert [(r.key, r.reply) for r in again] == [(r.key, r.reply) for r in results]
    with Store.open(tmp_path / "cut") as store:
        assert list(store.planned()) == [r.key.digest for r in results]


def test_a_study_runs_one_design_on_each_model_in_a_directory_of_its_own(design: Design, tmp_path: Path) -> None:
    models = [ModelSpec(str(save_tiny_model(name, tmp_path / name))) for name in ("llama", "gpt2")]
    small = attrs.evolve(design, layers=[ib.Depth(1 / 2)], arms=[Unsteered(1), Injected(1)])
    study = Study(small, models, tmp_path / "study")
    with pytest.raises(SpecError, match="begun"):
        study.results()
    results = study.generate()
    assert len(results) == 2 * (1 + 2 * 2)
    assert {r.condition.model for r in results} == {"llama", "gpt2"}
    assert [s.judged for s in study.judge("rules")] == [5, 5]
    assert [s.measured for s in study.measure(TokenLogprobs({"a": ("a",)}))] == [5, 5]
    assert all(len(r.verdicts) == len(r.readings) == 1 for r in study.results())
    assert len({study.run_directory(m) for m in models}) == 2
    with pytest.raises(SpecError, match="each once"):
        Study(small, [models[0], models[0]], tmp_path / "twice")
