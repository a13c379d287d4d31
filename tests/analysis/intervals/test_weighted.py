"""Weighted sums of rates: two arms are a difference, and the interval covers what was planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from introspection_bench.analysis.intervals import ConceptCounts, difference
from introspection_bench.analysis.intervals.weighted import weighted_sum
from introspection_bench.errors import AnalysisError

FIRST = ConceptCounts([9, 4, 7, 2, 8, 5], [10] * 6)
SECOND = ConceptCounts([3, 1, 2, 0, 4, 1], [10] * 6)


@pytest.mark.parametrize("estimand", ["these concepts", "concepts like these"])
@pytest.mark.parametrize("paired", [True, False])
def test_the_sum_of_one_arm_and_minus_another_is_their_difference(estimand, paired) -> None:
    known = difference(FIRST, SECOND, estimand=estimand, paired=paired)
    found = weighted_sum([FIRST, SECOND], [1, -1], estimand=estimand, blocks=[0, 0] if paired else [0, 1])
    assert (found.estimate, found.low, found.high) == pytest.approx((known.estimate, known.low, known.high), abs=2e-3)


def test_within_concepts_what_concepts_share_cancels_and_between_blocks_it_does_not() -> None:
    wide = ConceptCounts([0, 0, 0, 20, 20, 20], [20] * 6)
    paired = weighted_sum([wide, wide], [1, -1], estimand="concepts like these", blocks=[0, 0])
    apart = weighted_sum([wide, wide], [1, -1], estimand="concepts like these")
    assert paired.high - paired.low < apart.high - apart.low


def test_four_arms_give_an_interaction_whose_interval_covers_the_planted_one() -> None:
    random = np.random.default_rng(3)
    rates, weights = (0.1, 0.3, 0.3, 0.9), (0.5, -0.5, -0.5, 0.5)  # half of how much more: 0.2
    covered = {"these concepts": 0, "concepts like these": 0}
    for _ in range(60):
        arms = [ConceptCounts(random.binomial(10, r, size=8), [10] * 8) for r in rates]
        for estimand in covered:
            found = weighted_sum(arms, weights, estimand=estimand, blocks=[0] * 4)
            covered[estimand] += found.low <= 0.2 <= found.high
    assert min(covered.values()) >= 56, covered


def test_arms_of_other_numbers_of_concepts_weigh_as_arms_and_not_as_entries() -> None:
    many, one = ConceptCounts([0] * 50, [10] * 50), ConceptCounts([10, 10], [10, 10])
    found = weighted_sum([many, one], [0.5, 0.5], estimand="these concepts")
    assert found.low < 0.5 < found.high  # pooled by entries it would be 2 of 52
    assert found.low > 0.35


def test_below_five_concepts_nothing_is_said_of_others_and_something_of_these() -> None:
    few = [ConceptCounts([9, 8], [10, 10]), ConceptCounts([1, 2], [10, 10])]
    like = weighted_sum(few, [1, -1], estimand="concepts like these", blocks=[0, 0])
    assert not like.said
    assert math.isnan(like.low)
    assert "2 concepts and it takes 5" in like.needs
    assert weighted_sum(few, [1, -1], estimand="these concepts", blocks=[0, 0]).low > 0


def test_an_arm_that_counts_twice_is_bounded_by_what_the_weights_allow() -> None:
    found = weighted_sum([FIRST, SECOND], [2, -1], estimand="these concepts")
    assert -1 <= found.low < found.estimate < found.high <= 2


@pytest.mark.parametrize(
    ("arms", "weights", "blocks"),
    [([], [], []), ([FIRST], [0.0], []), ([FIRST, SECOND], [1.0], []), ([FIRST, FIRST.pooled], [1.0, -1.0], [0, 0])],
)
def test_what_makes_no_sum_is_an_error(arms, weights, blocks) -> None:
    with pytest.raises(AnalysisError):
        weighted_sum(arms, weights, estimand="these concepts", blocks=blocks)
