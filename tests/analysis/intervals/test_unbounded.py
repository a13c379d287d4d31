"""Numbers without bounds, against tests that are written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm

from introspection_bench.analysis.intervals import (
    ConceptCounts,
    d_prime_difference,
    difference_of_unbounded,
    fewest_concepts,
    median_of_unbounded,
    unbounded,
)
from introspection_bench.errors import AnalysisError

LEVELS = [(0.95, "two", 6), (0.95, "upper", 5), (1 - 2 / 64, "two", 6)]
X = (1.3, -0.2, 2.1, 0.4, 0.9, 3.3, 1.1)


def p_by_signs(x, median: float) -> float:
    """The two-sided p of a median: twice the smaller probability of as few heads, the values above or below it."""
    above, below = (sum(1 for value in x if (value - median) * side > 0) for side in (1, -1))
    fewest = min(above, below)
    return min(1.0, 2 * sum(math.comb(len(x), k) for k in range(fewest + 1)) / 2 ** len(x))


def p_by_exchange(a, b, shift: float) -> float:
    both = np.concatenate([np.asarray(a) - shift, b])
    sums = [sum(both[list(chosen)]) for chosen in itertools.combinations(range(both.size), len(a))]
    seen = sum(both[: len(a)])
    return 2 * min(np.mean([s >= seen - 1e-12 for s in sums]), np.mean([s <= seen + 1e-12 for s in sums]))


@pytest.mark.parametrize("x", [X, tuple(np.random.default_rng(3).exponential(1, 23))])
def test_the_interval_of_a_median_holds_what_the_sign_test_does_not_reject_and_nothing_else(x):
    found = median_of_unbounded(x)
    for end, outwards in ((found.low, -1e-6), (found.high, 1e-6)):
        assert p_by_signs(x, end + outwards) <= 0.05 + 1e-12 < p_by_signs(x, end - outwards)


@pytest.mark.parametrize("turned", [1, -1])
def test_the_interval_keeps_its_level_where_one_concept_in_ten_has_a_large_effect(turned):
    rng = np.random.default_rng(5)
    drawn = turned * ((rng.random((400, 10)) < 0.1) * 10 + rng.normal(0, 0.2, (400, 10)))
    truth = turned * float(norm.ppf(0.5 / 0.9)) * 0.2  # the median of nine in ten; the rest lie far above
    held = [(e := median_of_unbounded(x)).low <= truth <= e.high for x in drawn]
    assert np.mean(held) >= 0.95


def test_the_interval_of_a_difference_holds_the_shifts_that_exchanging_trials_does_not_reject():
    a, b = (1.2, 3.1, 0.7, 2.2, 1.9), (0.1, -0.4, 1.3, 0.6)
    found = difference_of_unbounded(a, b)
    assert found.estimate == pytest.approx(np.mean(a) - np.mean(b))
    for end, outwards in ((found.low, -1e-6), (found.high, 1e-6)):
        assert p_by_exchange(a, b, end + outwards) <= 0.05 + 1e-12 < p_by_exchange(a, b, end - outwards)


@pytest.mark.parametrize(("confidence", "sided", "fewest"), LEVELS)
def test_below_the_fewest_concepts_that_reach_the_level_it_is_only_said_how_many_it_takes(confidence, sided, fewest):
    assert fewest_concepts(confidence, sided) == fewest
    few = median_of_unbounded(X[: fewest - 1], confidence=confidence, sided=sided)
    assert math.isnan(few.low)
    assert f"it takes {fewest}" in few.sentence
    assert median_of_unbounded(X[:fewest], confidence=confidence, sided=sided).said


def test_three_trials_against_four_are_too_few_at_95_percent_and_four_against_four_are_not():
    assert not difference_of_unbounded(X[:3], X[3:]).said
    assert difference_of_unbounded(X[:4], X[1:5]).said


def test_drawn_ways_give_nearly_the_interval_of_all_of_them(monkeypatch):
    a, b = np.random.default_rng(3).normal(1, 1, (2, 9))
    whole = difference_of_unbounded(a, b)
    monkeypatch.setattr(unbounded, "MOST_WAYS", 4000)
    unbounded._exchanged.cache_clear()
    drawn = difference_of_unbounded(a, b)
    unbounded._exchanged.cache_clear()
    assert (drawn.low, drawn.high) != (whole.low, whole.high)
    assert (drawn.low, drawn.high) == pytest.approx((whole.low, whole.high), abs=0.15)


def test_log_odds_are_shown_as_numbers_and_not_as_shares():
    assert "of the median concept, concepts like these: 1.1," in median_of_unbounded(X).sentence


@pytest.mark.parametrize("odd", [[], [1.0, math.nan], [math.inf]])
def test_values_that_are_no_finite_numbers_are_an_error(odd):
    with pytest.raises(AnalysisError, match="finite"):
        median_of_unbounded(odd)


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
