"""What a null excludes, and the planner that is its inverse."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspection_bench.analysis import (
    Scope,
    excludes,
    interval,
    power_against,
    power_to_find,
    probability_under,
    records_frame,
    sample_size,
    trials_to_bound,
    trials_to_find,
)
from introspection_bench.errors import AnalysisError

NO = (False, False, None, True)
GARBLED = (True, True, True, False)


def test_none_of_twenty_under_twenty_percent_has_the_known_probability() -> None:
    found = probability_under(0, 20, 0.2)
    assert found.probability == pytest.approx(0.8**20)
    assert found.sentence == "If the true rate were 20 %, 0 of 20 would come up with probability 1.15 %."


@given(st.floats(0.005, 0.9), st.sampled_from([0.8, 0.9, 0.95, 0.99]), st.sampled_from(["two", "upper"]))
@settings(deadline=None)
def test_the_planned_trials_bound_the_rate_and_one_fewer_do_not(rate, confidence, sided) -> None:
    n = trials_to_bound(rate, confidence=confidence, sided=sided)
    assert interval(0, n, confidence=confidence, sided=sided).high <= rate + 1e-9
    if n > 1:
        assert interval(0, n - 1, confidence=confidence, sided=sided).high > rate - 1e-9


@given(st.floats(0.02, 0.9), st.floats(0.05, 0.99), st.integers(1, 4))
@settings(deadline=None)
def test_the_planned_trials_find_the_rate_and_one_fewer_do_not(rate, power, at_least) -> None:
    n = trials_to_find(rate, power=power, at_least=at_least)
    assert power_to_find(rate, n, at_least=at_least) >= power
    assert power_to_find(rate, n - 1, at_least=at_least) < power


@given(st.floats(0.01, 0.9), st.floats(0.1, 0.95))
@settings(deadline=None)
def test_one_success_needs_the_trials_of_the_closed_form(rate, power) -> None:
    assert trials_to_find(rate, power=power) == pytest.approx(math.ceil(math.log1p(-power) / math.log1p(-rate)), abs=1)


def test_the_plan_of_the_command_line_is_eleven_and_seventeen() -> None:
    # log(0.1) / log(0.8) = 10.3; log(0.025) / log(0.8) = 16.5
    found = sample_size(0.2, power=0.9)
    assert (found.to_find, found.to_bound, found.trials) == (11, 17, 17)
    assert "11 trials per cell" in found.sentence
    assert "17 trials without any" in found.sentence


def test_a_bound_for_many_cells_at_once_needs_more_trials() -> None:
    assert sample_size(0.2, cells=20).to_bound == math.ceil(math.log(0.025 / 20) / math.log(0.8))


def test_power_against_false_alarms_is_below_power_against_none() -> None:
    assert power_against(0.3, 20, null_rate=0.0) == pytest.approx(1 - 0.7**20)
    # Rejects from 4 of 20 on: P(X >= 4 | 0.05) = 0.0159, P(X >= 3 | 0.05) = 0.0755.
    assert power_against(0.3, 20, null_rate=0.05) == pytest.approx(power_to_find(0.3, 20, at_least=4))


@pytest.mark.parametrize("rate", [0, 1, -0.1, 20])
def test_the_planner_refuses_rates_that_no_number_of_trials_settles(rate) -> None:
    with pytest.raises(AnalysisError, match="rate"):
        sample_size(rate)


def test_a_rate_beyond_any_study_is_an_error_and_no_endless_search() -> None:
    with pytest.raises(AnalysisError, match="settle"):
        trials_to_bound(1e-12)


@pytest.fixture
def null(record):
    """Two cells: one with 3 of 20 coherent trials, one with 12 of 20, and a control; nothing strict anywhere."""
    return records_frame(
        [
            *(record(i, NO if i < 3 else GARBLED, magnitude=8) for i in range(20)),
            *(record(i, NO if i < 12 else GARBLED, magnitude=4) for i in range(20)),
            *(record(i, NO, arm="control") for i in range(10)),
        ]
    )


def test_a_null_is_bounded_pooled_over_coherent_trials_and_in_one_cell(null) -> None:
    found = excludes(null, scopes=[Scope(min_magnitude=5, coherent_only=True)])
    assert [(b.interval.k, b.interval.n, b.cells) for b in found.bounds] == [
        (0, 40, 2),
        (0, 15, 2),
        (0, 3, 1),
        (0, 20, 1),
        (0, 20, 1),
    ]
    assert found.coherent.interval.high == pytest.approx(1 - 0.025 ** (1 / 15))
    assert "· 4 residual ·" in found.best_cell.scope  # the cell with more coherent trials


def test_the_cell_that_came_nearest_is_the_best_cell_of_a_null(record) -> None:
    near = (True, False, None, True)
    frame = records_frame(
        [*(record(i, NO, magnitude=1) for i in range(5)), *(record(i, near if i < 2 else GARBLED) for i in range(5))]
    )
    assert "· 4 residual ·" in excludes(frame).best_cell.scope


def test_every_cell_at_once_is_bounded_at_the_family_confidence(null) -> None:
    found = excludes(null).every_cell
    assert found.simultaneous_over == 2
    assert found.interval.confidence == 0.95
    assert found.interval.high == pytest.approx(1 - 0.0125 ** (1 / 20))


def test_controls_random_vectors_and_unscored_trials_are_no_part_of_a_null(record) -> None:
    frame = records_frame([record(0, NO), record(1, None), record(0, NO, arm="random"), record(0, NO, arm="control")])
    assert excludes(frame).pooled.interval.n == 1


def test_a_count_above_zero_is_bounded_on_both_sides(record) -> None:
    frame = records_frame([record(i, (True,) * 4 if i < 5 else NO) for i in range(20)])
    found = excludes(frame).pooled
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0866, 0.4910), abs=1e-4)
    assert found.sentence == (
        "All injected trials: 5 of 20; rates above 49.1 % and below 8.66 % are excluded (95 % two-sided)."
    )


def test_a_scope_without_trials_excludes_nothing_and_says_so(null) -> None:
    found = excludes(null, scopes=[Scope(concept="dust")]).scopes[0]
    assert "nothing is excluded" in found.sentence
    assert found.interval.high == 1


def test_without_scored_injected_trials_there_is_no_statement(record) -> None:
    with pytest.raises(AnalysisError, match="injected"):
        excludes(records_frame([record(0, NO, arm="control"), record(0, None)]))
