"""Medians and shares of numbers without bounds: exact for every distribution, and nothing said where they can't be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from introspection_bench.analysis.intervals import (
    ConceptCounts,
    d_prime_difference,
    difference_of_unbounded,
    fewest_concepts,
    median_of_unbounded,
    share_of_unbounded,
)
from introspection_bench.errors import AnalysisError

LEVELS = [(0.95, "two", 6), (0.95, "upper", 5), (1 - 2 / 64, "two", 6)]
X = (1.3, -0.2, 2.1, 0.4, 0.9, 3.3, 1.1)


def rare(rng, n):
    """An effect of 10 on 1 concept in 10, and none on the others."""
    return np.where(rng.random(n) < 0.1, 10.0, 0.0) + rng.normal(0, 0.2, n)


#: Differences of concepts with their true median, and a threshold with the true share above it.
KINDS = {
    "normal": (lambda rng, n: rng.normal(1, 1, n), 1.0, 1.0, 0.5),
    "skewed upwards": (lambda rng, n: rng.exponential(1, n), math.log(2), 1.0, math.exp(-1)),
    "skewed downwards": (lambda rng, n: -rng.exponential(1, n), -math.log(2), -1.0, 1 - math.exp(-1)),
    "heavy tails": (lambda rng, n: rng.standard_cauchy(n), 0.0, 1.0, 0.25),
    "1 in 10": (rare, 0.2 * 0.13971029888186212, 5.0, 0.1),  # the 5/9 quantile of the others
    "ties": (lambda rng, n: rng.integers(0, 3, n).astype(float), 1.0, 1.0, 1 / 3),
}


def kept(held: list[bool], level: float) -> bool:
    """Whether so many misses have a probability of 1 in 10,000 or more at the level."""
    return binom.sf(held.count(False) - 1, len(held), 1 - level) >= 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("concepts", [6, 10])
def test_medians_and_shares_over_concepts_hold_the_truth_as_often_as_they_say_however_concepts_lie(kind, concepts):
    draw, median, above, share = KINDS[kind]
    rng = np.random.default_rng(7)
    samples = [draw(rng, concepts) for _ in range(150)]
    between = [median_of_unbounded(x) for x in samples]
    lows = [median_of_unbounded(x, sided="lower").low for x in samples]
    shares = [share_of_unbounded(x, above) for x in samples]
    assert kept([e.low <= median <= e.high for e in between], 0.95)
    assert kept([low <= median for low in lows], 0.95)
    assert kept([e.low <= share <= e.high for e in shares], 0.95)


def test_the_median_of_ten_concepts_lies_between_the_second_and_the_ninth():
    found = median_of_unbounded([5, 1, 9, 3, 7, 2, 8, 4, 6, 10])
    assert (found.estimate, found.low, found.high) == (5.5, 2, 9)


def test_one_bound_leaves_all_of_the_error_on_its_side():
    assert median_of_unbounded(X, sided="upper").high == 3.3
    assert median_of_unbounded([*X, 5.0], sided="upper").high == 3.3
    low = median_of_unbounded([*X, 5.0], sided="lower")
    assert (low.low, low.high) == (0.4, math.inf)


@pytest.mark.parametrize(("confidence", "sided", "fewest"), LEVELS)
def test_below_the_fewest_concepts_that_reach_the_level_it_is_only_said_how_many_it_takes(confidence, sided, fewest):
    assert fewest_concepts(confidence, sided) == fewest
    few = median_of_unbounded(X[: fewest - 1], confidence=confidence, sided=sided)
    assert math.isnan(few.low)
    assert math.isnan(few.high)
    assert f"it takes {fewest}" in few.sentence
    assert median_of_unbounded(X[:fewest], confidence=confidence, sided=sided).said


def test_a_share_of_concepts_is_a_share_and_is_not_said_of_four():
    found = share_of_unbounded(X, 1.0)
    assert found.estimate == pytest.approx(4 / 7)
    assert "57.1 %" in found.sentence
    assert share_of_unbounded(X, 1.1).estimate == pytest.approx(3 / 7)  # equal to the threshold is not above it
    assert "it takes 5" in share_of_unbounded(X[:4], 1.0).sentence
    assert math.isnan(share_of_unbounded(X[:4], 1.0).high)


def test_a_difference_of_unbounded_holds_its_level_where_two_arms_differ_in_spread_and_shape():
    rng = np.random.default_rng(3)
    wide = [difference_of_unbounded(rng.normal(1, 5, 7), rng.normal(0, 1, 20)) for _ in range(150)]
    assert kept([e.low <= 1 <= e.high for e in wide], 0.95)
    odd = [difference_of_unbounded(rng.exponential(1, 10), -rng.exponential(1, 10)) for _ in range(150)]
    assert kept([e.low <= 2 * math.log(2) <= e.high for e in odd], 0.95)


def test_a_difference_of_unbounded_takes_the_second_from_the_first_with_the_ends_of_both():
    first, second = list(range(10, 19)), list(range(9))
    found = difference_of_unbounded(first, second)
    assert (found.estimate, found.low, found.high) == (10, 2, 18)
    bound = difference_of_unbounded(first, second, sided="lower")
    assert (bound.low, bound.high) == (4, math.inf)
    assert difference_of_unbounded(first, second, sided="upper").high == 16


def test_six_prompts_against_seven_are_too_few_at_95_percent_and_seven_are_not():
    few = difference_of_unbounded(X[:6], X)
    assert math.isnan(few.low)
    assert "it takes 7 in each arm" in few.sentence
    assert difference_of_unbounded(X, X).said


def test_log_odds_are_shown_as_numbers_and_not_as_shares():
    assert "1.1, between -0.2 and 3.3" in median_of_unbounded(X).sentence


@pytest.mark.parametrize("odd", [[], [1.0, math.nan], [math.inf]])
def test_values_that_are_no_finite_numbers_are_an_error(odd):
    with pytest.raises(AnalysisError, match="finite"):
        median_of_unbounded(odd)
    with pytest.raises(AnalysisError, match="finite"):
        difference_of_unbounded(X, odd)


def test_a_difference_of_d_primes_takes_the_second_from_the_first_and_is_open_where_a_rate_is_1():
    good, noise, same = ConceptCounts([45], [50]), ConceptCounts([5], [50]), ConceptCounts([25], [50])
    found = d_prime_difference((good, noise), (same, same))
    assert found.low > 0
    assert found.estimate == pytest.approx(2.56, abs=0.15)
    turned = d_prime_difference((same, same), (good, noise))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=0.02)
    certain = d_prime_difference((ConceptCounts([50], [50]), noise), (same, same))
    assert math.isinf(certain.high)
    assert certain.low > 0


def test_more_values_than_a_run_has_are_an_error_and_take_no_room():
    with pytest.raises(AnalysisError, match="at most"):
        median_of_unbounded(range(10**6))
