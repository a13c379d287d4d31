"""Rates corrected for a judge's known error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspection_bench.analysis import JudgeAccuracy, corrected_rate
from introspection_bench.errors import AnalysisError


def test_the_correction_is_the_textbook_one() -> None:
    # raw 0.3, sensitivity 0.9, specificity 0.8: (0.3 + 0.8 - 1) / 0.7
    found = corrected_rate(30, 100, JudgeAccuracy(90, 100, 80, 100))
    assert found.rate == pytest.approx(0.1 / 0.7)
    assert found.low < found.rate < found.high


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_a_judge_without_error_changes_nothing(k, positives, negatives) -> None:
    error = JudgeAccuracy(positives, positives, negatives, negatives)
    assert corrected_rate(k, 50, error, draws=500).rate == pytest.approx(k / 50)


def test_fewer_labels_widen_the_interval() -> None:
    few = corrected_rate(120, 400, JudgeAccuracy(9, 10, 9, 10))
    many = corrected_rate(120, 400, JudgeAccuracy(900, 1000, 900, 1000))
    assert few.high - few.low > many.high - many.low


def test_the_interval_covers_the_true_rate_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    truth, sensitivity, specificity, covered, rounds = 0.2, 0.85, 0.9, 0, 300
    raw = truth * sensitivity + (1 - truth) * (1 - specificity)
    for _ in range(rounds):
        error = JudgeAccuracy(int(rng.binomial(80, sensitivity)), 80, int(rng.binomial(80, specificity)), 80)
        found = corrected_rate(int(rng.binomial(200, raw)), 200, error, draws=2000)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / rounds <= 0.995


def test_a_judge_no_better_than_a_coin_is_an_error() -> None:
    with pytest.raises(AnalysisError, match="chance"):
        corrected_rate(30, 100, JudgeAccuracy(50, 100, 50, 100))


def test_labels_that_cannot_tell_the_judge_from_a_coin_leave_the_whole_interval() -> None:
    found = corrected_rate(30, 100, JudgeAccuracy(2, 3, 2, 3))
    assert not found.informative
    assert (found.low, found.high) == (0, 1)


@pytest.mark.parametrize("error", [JudgeAccuracy(0, 0, 5, 5), JudgeAccuracy(5, 5, 0, 0)])
def test_labels_of_one_kind_alone_are_an_error(error) -> None:
    with pytest.raises(AnalysisError, match="both kinds"):
        corrected_rate(3, 10, error)


def test_a_raw_rate_below_the_false_positives_is_cut_to_zero_and_says_so() -> None:
    found = corrected_rate(5, 100, JudgeAccuracy(90, 100, 80, 100))
    assert found.rate == 0
    assert found.unclipped < 0
    assert found.low == 0
