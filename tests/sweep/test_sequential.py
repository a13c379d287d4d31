"""Runs that ask for trials in rounds until an anytime-valid bound has said enough."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.analysis import Stopping, anytime, stopped
from introspection_bench.errors import AnalysisError, SpecError, StoreMismatchError
from introspection_bench.judges.base import Judge
from introspection_bench.judges.gate import control_replies
from introspection_bench.judges.registry import open_judge
from introspection_bench.measures import TokenLogprobs
from introspection_bench.report import write_report
from introspection_bench.sweep import (
    Confirmation,
    Design,
    Injected,
    ModelSpec,
    RandomVector,
    Sequential,
    Store,
    Sweep,
    Unsteered,
    measure_run,
)
from introspection_bench.sweep.outline import outline


class FakeLovesBread(Judge):
    """The rules on the gate's replies; of others, all is met wherever the concept asked about is bread."""

    name = "rules"

    def __init__(self, unscored: str | None = None) -> None:
        self._rules, self._unscored = open_judge("rules"), unscored
        self.rubric = self._rules.rubric
        self._known = {control.reply for control in control_replies()}

    def judge(self, cases):
        for index, verdict in self._rules.judge(cases):
            if cases[index].reply not in self._known:
                answers = dict.fromkeys(verdict.answers, cases[index].concept.name == "Bread")
                told = {"answers": {} if self._unscored else answers, "unscored": self._unscored}
                yield index, attrs.evolve(verdict, **told, ground=None, evidence=[])
            else:
                yield index, verdict


class FakeKillError(Exception):
    pass


@pytest.fixture
def small(design: Design) -> Design:
    return attrs.evolve(design, doses=["0.5 residual"], arms=[Unsteered(2), Injected(3)])


def trials_until(said) -> int:
    """Trials of a cell after which a bound at the confidence of one of two cells says enough."""
    return next(n for n in itertools.count(1) if said(n))


def by_cell(results: ib.Results) -> Counter[str | None]:
    return Counter(r.condition.concept for r in results)


def test_it_stops_in_the_first_round_in_which_the_bounds_of_all_cells_say_enough(
    small: Design, injector: Any, tmp_path: Path
) -> None:
    rule = Stopping(rate=0.6, rounds=6)
    results = Sweep(Sequential(small, rule), injector, tmp_path / "run").run(FakeLovesBread())
    null = trials_until(lambda n: anytime(0, n, confidence=0.975).high <= 0.6)
    full = trials_until(lambda n: anytime(n, n, confidence=0.975).low > 0.6)
    rounds = {"Oceans": -(-null // 3), "Bread": -(-full // 3)}
    assert rounds["Oceans"] != rounds["Bread"]
    assert by_cell(results) == {**{c: 3 * n for c, n in rounds.items()}, None: 2 * max(rounds.values())}
    found = stopped(results.records, rule)
    assert {c.condition.concept: c.said for c in found.cells} == {"Oceans": "excluded", "Bread": "shown"}
    assert found.enough
    assert "every cell has" in found.sentence


def test_a_run_that_was_killed_stops_where_the_whole_one_does_with_the_same_replies(
    small: Design, injector: Any, tmp_path: Path
) -> None:
    planner = Sequential(small, Stopping(rate=0.6, rounds=6))
    whole = Sweep(planner, injector, tmp_path / "whole").run(FakeLovesBread())
    assert len(whole) > 20
    left = iter(range(20))

    def killed(_: object) -> None:
        if next(left) == 19:  # in the middle of the third round
            raise FakeKillError

    with pytest.raises(FakeKillError):
        Sweep(planner, injector, tmp_path / "cut").run(FakeLovesBread(), on_trial=killed)
    again = Sweep(planner, injector, tmp_path / "cut").run(FakeLovesBread())
    assert [(r.key, r.reply) for r in again] == [(r.key, r.reply) for r in whole]
    finished = Sweep(planner, injector, tmp_path / "whole")
    assert finished.run(FakeLovesBread()).records == whole.records


def test_it_ends_at_the_most_rounds_and_says_that_nothing_was_settled(
    small: Design, injector: Any, tmp_path: Path
) -> None:
    rule = Stopping(rate=0.01, rounds=2)
    results = Sweep(Sequential(small, rule), injector, tmp_path / "run").run(FakeLovesBread())
    assert by_cell(results) == {"Oceans": 6, "Bread": 3, None: 4}
    found = stopped([r for r in results if r.condition.concept in (None, "Oceans")], rule)
    assert not found.enough
    assert "1 of them have not" in found.sentence
    assert "every cell has" not in found.sentence


def test_rounds_are_those_of_one_plan_also_where_an_arm_is_spread_over_concepts(
    small: Design, injector: Any, tmp_path: Path
) -> None:
    design = attrs.evolve(small, arms=[Injected(2), RandomVector(3)])
    rule = Stopping(rate=0.01, rounds=4)
    planner = Sequential(design, rule)
    sweep = Sweep(planner, injector, tmp_path / "run")
    results = sweep.run(FakeLovesBread("HTTP 500"))  # nothing is ever settled
    assert Counter(r.arm for r in results) == {"injected": 2 * 2 * 4, "random": 3 * 4}
    at_once = Sweep(attrs.evolve(design, arms=[Injected(8), RandomVector(12)]), injector, tmp_path / "at-once").planned
    assert {r.key for r in results} == {t.key for t in at_once}
    assert len({r.key for r in results}) == len(results)


def test_unscored_trials_count_against_whatever_is_said(small: Design, injector: Any, tmp_path: Path) -> None:
    rule = Stopping(rate=0.5, rounds=3)
    results = Sweep(Sequential(small, rule), injector, tmp_path / "run").run(FakeLovesBread("HTTP 500"))
    assert by_cell(results)["Oceans"] == 9
    for cell in stopped(results.records, rule).cells:
        assert (cell.k, cell.n, cell.unscored, cell.said) == (0, 0, 9, "open")
        assert (cell.low, cell.high) == (0, 1)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [({"rate": 0.0}, AnalysisError, "rate"), ({"rate": 0.2, "rounds": 0}, AnalysisError, "rounds"),
     ({"rate": 0.2, "confidence": 1.0}, AnalysisError, "confidence")],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(changes, error, says) -> None:
    with pytest.raises(error, match=says):
        Stopping(**changes)


def test_an_arm_that_there_is_not_or_whose_cells_are_not_all_in_a_round_is_refused(
    small: Design, injector: Any, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"stopping\.arm"):
        Sweep(Sequential(small, Stopping(0.2, arm="removed")), injector, tmp_path / "a")
    spread = attrs.evolve(small, arms=[Injected(1, concepts="spread")])
    with pytest.raises(SpecError, match="1 of 2 cells"):
        Sweep(Sequential(spread, Stopping(0.2)), injector, tmp_path / "b")
    assert not Store.is_begun(tmp_path / "a")


TOML = """
directory = "run"
[model]
name = "{model}"
options.torch.device = "cpu"
[design]
layers = [1]
doses = ["0.5 residual"]
concepts = "pairs"
arms.unsteered.n = 1
arms.injected.n = 2
sampling.max_new_tokens = 4
[stopping]
rate = 0.2
rounds = 3
"""


def test_the_rule_is_a_table_of_the_file_and_stands_in_the_store_which_goes_on_under_no_other(
    tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text(TOML.format(model=tiny_folder))
    spec = ib.RunSpec.from_toml(tmp_path / "r.toml")
    assert spec.stopping == Stopping(0.2, rounds=3)
    assert ib.RunSpec.from_plain(spec.plain(), "here") == spec
    concepts = len(spec.design.concepts)
    results = ib.run_spec(spec)
    assert Counter(r.arm for r in results) == {"injected": 2 * 3 * concepts, "control": 3}
    with Store.open(tmp_path / "run") as store:
        assert store.run_spec().stopping == spec.stopping
        with spec.model.open() as injector:
            assert measure_run(store, TokenLogprobs({"a": ("a",)}), injector).measured == len(results)
    with pytest.raises(StoreMismatchError, match="stopping"):
        ib.run_spec(attrs.evolve(spec, stopping=Stopping(0.3, rounds=3)))
    with pytest.raises(StoreMismatchError, match="stopping"):
        ib.run_spec(attrs.evolve(spec, stopping=None))
    assert outline(spec).total == len(results)


def test_results_of_such_a_run_note_the_bounds_that_hold_and_others_do_not(
    small: Design, injector: Any, tmp_path: Path
) -> None:
    sequential = Sweep(Sequential(small, Stopping(0.5, rounds=2)), injector, tmp_path / "a").run(FakeLovesBread())
    (note,) = sequential.notes
    assert "looked at its results to decide when to stop" in note
    assert "Oceans, layer 1, 0.5 residual: 0 of 6" in note
    page = write_report(sequential, tmp_path / "r.html").read_text()
    assert "looked at its results to decide when to stop" in page
    fixed = Sweep(small, injector, tmp_path / "b").run(FakeLovesBread())
    assert fixed.notes == ()


def test_a_run_confirms_or_stops_early_and_not_both(small: Design) -> None:
    with pytest.raises(SpecError, match="one of them"):
        ib.RunSpec(small, ModelSpec("demo"), confirm=Confirmation(), stopping=Stopping(0.2))
