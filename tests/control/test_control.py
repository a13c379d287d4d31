"""The control: what it expects, how often it decides wrongly, and that it tells models of known truth apart."""

from __future__ import annotations

import attrs
import pytest

from introspection_bench.control import CAST, Count, Line, held_out, run_control
from introspection_bench.control.lines import errors, of_count
from introspection_bench.control.running import design_of
from introspection_bench.sweep.arms import Injected, Unsteered


def test_the_exit_status_is_wrong_by_chance_in_less_than_one_run_of_a_hundred():
    fails, passes = errors(CAST)
    assert fails < 0.01
    assert passes < 0.01


def test_a_count_fails_beyond_its_bound_and_not_at_it():
    least = Count(arm="injected", outcome="strict", n=10, least=4, truth=0.9, wrong=0.1)
    most = Count(arm="control", outcome="affirmative", n=10, most=2, truth=0.01, wrong=0.9)
    assert (least.holds(4), least.holds(3)) == (True, False)
    assert (most.holds(2), most.holds(3)) == (True, False)


@pytest.mark.parametrize(("least", "most", "holds"), [(4, None, False), (None, 2, False), (None, 6, True)])
def test_trials_that_no_judge_scored_count_against_what_is_expected(least, most, holds):
    count = Count(arm="injected", outcome="strict", n=10, least=least, most=most, truth=0.5, wrong=0.5)
    line = of_count(CAST[0], count, met=3 if least else 2, scored=7)
    assert line.holds == holds
    assert "3 unscored" in line.found


def test_every_arm_that_is_counted_is_run_as_often_as_it_is_counted():
    for member in CAST:
        words = len(list(held_out()))
        run = {a.name: a.n * (words if getattr(a, "concepts", "") == "each" else 1) for a in design_of(member).arms}
        assert {c.arm: c.n for c in member.counts}.items() <= run.items(), member.name


@pytest.mark.slow
def test_a_control_in_which_imitations_stand_in_for_the_introspector_fails(tmp_path):
    parrot = next(m for m in CAST if m.name == "parrot")
    wanted = Count(arm="injected", outcome="strict", n=6, least=3, truth=0.9, wrong=0.1)
    posed = attrs.evolve(parrot, arms=(Injected(6, concepts="spread"), Unsteered(1)), expected=(wanted,))
    found = run_control(tmp_path, cast=[posed])
    assert not found.passed
    assert [line.holds for line in found.lines] == [False, True]
    assert isinstance(found.failed[0], Line)
