"""Intervals from counts: reference values, what must hold for any counts, and what each refuses to say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from introspection_bench.analysis import JudgeAccuracy, interval
from introspection_bench.analysis import intervals as iv
from introspection_bench.analysis.intervals.confidence import mean_bounds, mean_exceeds
from introspection_bench.errors import AnalysisError

RANDOM, FIXED = "concepts like these", "these concepts"
few = settings(max_examples=25, deadline=None)


@st.composite
def arms(draw, least=5, most=12):
    n = draw(st.lists(st.integers(1, 30), min_size=least, max_size=most))
    return iv.ConceptCounts([draw(st.integers(0, m)) for m in n], n)


@pytest.mark.parametrize(("k", "concepts"), [(0, 5), (2, 5), (5, 5), (3, 400), (499, 500)])
def test_gaffkes_bounds_of_zeros_and_ones_are_clopper_and_pearsons(k, concepts) -> None:
    found = mean_bounds([0.0, 1.0], [concepts - k, k], 0.025, 0.025)
    exact = interval(k, concepts)
    assert found == pytest.approx((exact.low, exact.high), abs=2e-5)


def test_gaffkes_distribution_is_that_of_random_dirichlet_weights() -> None:
    x = np.array([0.0, 0.1, 0.15, 0.4, 0.9])
    weights = np.random.default_rng(0).dirichlet(np.ones(6), size=200_000)
    drawn = float((weights @ np.append(x, 1.0) > 0.5).mean())
    assert float(mean_exceeds(x, np.ones(5), 0.5)) == pytest.approx(drawn, abs=0.005)


@given(arms())
@few
def test_a_mean_rate_lies_in_its_interval_which_is_never_a_point(counts) -> None:
    for found in (iv.these_concepts(counts), iv.like_these(counts)):
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        assert found.high - found.low > 1e-3


@given(arms(), st.randoms(use_true_random=False))
@few
def test_the_order_of_concepts_and_what_is_called_a_success_do_not_matter(counts, random) -> None:
    order = list(range(counts.concepts))
    random.shuffle(order)
    other = iv.ConceptCounts([counts.successes[i] for i in order], [counts.trials[i] for i in order])
    for of in (iv.these_concepts, iv.like_these):
        one, shuffled, mirrored = of(counts), of(other), of(counts.failures)
        assert (shuffled.low, shuffled.high) == pytest.approx((one.low, one.high), abs=1e-6)
        assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((one.low, one.high), abs=1e-6)


@given(arms(), st.integers(2, 5))
@few
def test_more_trials_of_the_same_proportions_never_widen_an_interval(counts, times) -> None:
    more = iv.ConceptCounts([k * times for k in counts.successes], [n * times for n in counts.trials])
    assert width(iv.these_concepts(more)) < width(iv.these_concepts(counts)) + 1e-9
    # Over concepts the observed rates are what they were: no number of trials stands in for concepts.
    assert width(iv.like_these(more)) == pytest.approx(width(iv.like_these(counts)), abs=1e-6)
    twice = iv.ConceptCounts(counts.successes * 2, counts.trials * 2)
    assert width(iv.like_these(twice)) < width(iv.like_these(counts))


def width(found: iv.Estimate) -> float:
    return found.high - found.low


def test_with_as_many_trials_in_each_concept_these_concepts_have_clopper_and_pearsons_interval() -> None:
    found, exact = iv.these_concepts(iv.ConceptCounts([1, 4, 0], [20, 20, 20])), interval(5, 60)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_a_concept_of_few_trials_without_success_keeps_the_bound_of_the_mean_high() -> None:
    # Half the weight rests on two trials, which can't exclude 84 %: the exact bound of the mean is 0.42.
    assert iv.these_concepts(iv.ConceptCounts([0, 0], [2, 100])).high > 0.42


def test_over_fewer_than_five_concepts_nothing_is_said_and_what_it_takes_is() -> None:
    found = iv.like_these(iv.ConceptCounts([0, 0], [200, 200]))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert "can't be said" in found.sentence
    assert "it takes 5" in found.sentence
    assert iv.like_these(iv.ConceptCounts([0] * 5, [4] * 5)).high == pytest.approx(1 - 0.025 ** (1 / 5), abs=1e-6)


def test_a_null_on_two_concepts_bounds_hardly_anything_over_concepts() -> None:
    null = iv.null_bound(iv.ConceptCounts([0, 0], [200, 200]))
    assert null.these.high == pytest.approx(0.00918, abs=1e-5)
    assert null.high == pytest.approx(1 - 0.025**0.5, abs=1e-6)
    assert null.tolerance.needs == 29
    assert not any("At least 90 %" in s for s in null.sentences)
    highs = [b.high for b in null.curve]
    assert highs == sorted(highs)
    assert highs[0] == pytest.approx(null.these.high)
    assert highs[-1] == pytest.approx(null.high, abs=1e-6)


@pytest.mark.parametrize("icc", [0.1, 0.5])
def test_a_nulls_bound_is_where_no_distribution_of_that_variation_shows_none_more_often_than_the_error(icc) -> None:
    concepts, n = 5, 20
    mean = iv.bound_if_varying(iv.ConceptCounts([0] * concepts, [n] * concepts), icc)
    rate = mean + icc * (1 - mean)
    worst = (1 - mean / rate * (1 - (1 - rate) ** n)) ** concepts
    shape = np.random.default_rng(0).beta(mean * (1 / icc - 1), (1 - mean) * (1 / icc - 1), size=100_000)
    assert worst == pytest.approx(0.025, abs=1e-6)
    assert ((1 - shape) ** n).mean() ** concepts < 0.025


def test_a_tolerance_bound_of_many_concepts_is_wilks_limit_for_what_was_seen() -> None:
    # 29 concepts without a success show that 90 % lie below any rate that 20 trials can't miss, and no fewer do.
    assert iv.tolerance_bound(iv.ConceptCounts([0] * 29, [1000] * 29)).rate < 0.02
    assert iv.tolerance_bound(iv.ConceptCounts([0] * 28, [1000] * 28)).rate == 1
    found = iv.tolerance_bound(iv.ConceptCounts([0] * 40, [20] * 40))
    assert (1 - 0.1 * (1 - (1 - found.rate) ** 20)) ** 40 == pytest.approx(0.05, abs=1e-6)


def test_intervals_of_independent_cells_hold_for_all_at_once_exactly() -> None:
    found = iv.each_of_many([0, 3], [20, 20])
    assert found[0].high == pytest.approx(interval(0, 20, confidence=0.95**0.5).high)
    assert found[0].confidence == 0.95
    shared = iv.each_of_many([0, 3], [20, 20], independent=False)
    assert shared[0].high > found[0].high


def test_a_cell_that_won_by_a_hair_is_pulled_down_and_one_that_won_by_far_is_not() -> None:
    near, far = iv.best_of_many([10, 9, 9, 9], [20] * 4), iv.best_of_many([18, 1, 0, 0], [20] * 4)
    assert near.corrected < 0.4 < near.unadjusted.rate
    assert far.corrected == pytest.approx(0.9, abs=0.03)
    assert (far.low, far.high) == pytest.approx((far.unadjusted.low, far.unadjusted.high), abs=1e-3)
    assert "chosen for being the highest" in near.sentence


@pytest.mark.parametrize("wins", [0.0, 1.0])
def test_where_a_rule_names_the_winner_of_a_tie_the_corrected_interval_keeps_its_level_whatever_the_rule(wins) -> None:
    n, other = 20, 3
    found = {k: iv.best_of_many([k, other], [n, 20], ties="ruled") for k in range(other, n + 1)}
    for rate in (0.01, 0.05, 0.1, 0.15, 0.3, 0.6, 0.9):
        chance = [(k, (wins if k == other else 1.0) * binom.pmf(k, n, rate)) for k in found]
        held = sum(c for k, c in chance if found[k].low <= rate <= found[k].high)
        assert held / sum(c for _, c in chance) >= 0.95


def test_a_cell_named_by_a_rule_among_many_nulls_is_bounded_no_better_than_alone() -> None:
    ruled, drawn = (iv.best_of_many([0] * 20, [20] * 20, ties=ties) for ties in ("ruled", "drawn"))
    assert ruled.high == pytest.approx(interval(0, 20).high)
    assert drawn.high < ruled.high
    assert (iv.best_of_many([20, 20], [20, 20], ties="ruled").low) == 0  # it may have won by the rule alone


def test_which_cell_is_called_first_does_not_change_what_is_said_of_the_best() -> None:
    one, other = iv.best_of_many([5, 5, 1], [20, 20, 20]), iv.best_of_many([1, 5, 5], [20, 20, 20])
    assert (one.corrected, one.low, one.high, one.tied) == (other.corrected, other.low, other.high, other.tied)


@given(arms(), arms())
@few
def test_a_difference_lies_in_its_interval_and_changes_sign_with_the_arms(first, second) -> None:
    for estimand in (FIXED, RANDOM):
        there, back = (iv.difference(a, b, estimand=estimand) for a, b in ((first, second), (second, first)))
        assert -1 <= there.low <= there.estimate <= there.high <= 1
        assert (-back.high, -back.low) == pytest.approx((there.low, there.high), abs=5e-3)


def test_a_difference_of_two_strata_agrees_with_fishers_exact_test_at_zero() -> None:
    from scipy.stats import fisher_exact

    for k, m in ((9, 3), (8, 3), (10, 2), (7, 1)):
        p = fisher_exact([[k, 20 - k], [m, 20 - m]], alternative="greater").pvalue
        found = iv.difference(iv.ConceptCounts([k], [20]), iv.ConceptCounts([m], [20]), estimand=FIXED)
        assert (found.low > 0) == (p < 0.025), (k, m, p)


def test_arms_without_concepts_can_not_speak_of_others_like_them() -> None:
    found = iv.difference(iv.ConceptCounts([3], [20]), iv.ConceptCounts([0], [20]), estimand=RANDOM)
    assert not found.said
    assert iv.difference(iv.ConceptCounts([3] * 5, [20] * 5), iv.ConceptCounts([0], [20]), estimand=RANDOM).said


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [((0, 100), (0, 100), "equivalent"), ((40, 100), (5, 100), "different"), ((4, 20), (3, 20), "neither")],
)
def test_two_arms_are_equivalent_different_or_neither(first, second, verdict) -> None:
    one, two = (iv.ConceptCounts([k], [n]) for k, n in (first, second))
    found = iv.equivalence(one, two, 0.1, estimand=FIXED)
    assert found.verdict == verdict
    assert found.sentence.lower().startswith(verdict)


def test_a_rate_is_the_same_as_zero_only_once_its_upper_bound_is_below_the_margin() -> None:
    assert iv.same_as_zero(iv.ConceptCounts([0], [29]), 0.1, estimand=FIXED).verdict == "equivalent"
    assert iv.same_as_zero(iv.ConceptCounts([0], [28]), 0.1, estimand=FIXED).verdict == "neither"
    assert iv.same_as_zero(iv.ConceptCounts([0] * 4, [99] * 4), 0.1, estimand=RANDOM).verdict == "neither"


def test_the_plan_of_an_equivalence_at_rate_zero_is_the_clean_nulls() -> None:
    plan = iv.plan_equivalence(0.0, 0.1)
    assert (plan.trials, plan.concepts) == (29, 29)


@given(st.integers(1, 300), st.data())
@few
def test_an_interval_that_may_be_looked_at_any_time_is_wider_than_one_that_may_not(n, data) -> None:
    k = data.draw(st.integers(0, n))
    found, fixed = iv.anytime(k, n), interval(k, n)
    assert found.low <= fixed.low + 1e-12 <= k / n + 2e-12
    assert k / n - 1e-12 <= fixed.high <= found.high + 1e-12


def test_a_run_without_success_may_stop_when_the_rate_is_excluded_and_not_before() -> None:
    n = iv.trials_to_stop(0.05)
    assert iv.anytime(0, n).high <= 0.05 < iv.anytime(0, n - 1).high


def test_d_prime_has_no_bound_where_the_rates_have_none() -> None:
    perfect = iv.discrimination(iv.ConceptCounts([20], [20]), iv.ConceptCounts([0], [20]))
    assert perfect.high == math.inf
    assert 2 < perfect.low < 3.09
    assert "no bound" in perfect.sentence


def test_d_prime_of_equal_proportions_is_zero_whatever_the_arms() -> None:
    for k, j in (((0, 50), (0, 100)), ((50, 50), (100, 100)), ((10, 50), (20, 100))):
        found = iv.discrimination(iv.ConceptCounts([k[0]], [k[1]]), iv.ConceptCounts([j[0]], [j[1]]))
        assert found.estimate == pytest.approx(0, abs=1e-12)
    # With arms of one size it is the log-linear correction.
    equal = iv.discrimination(iv.ConceptCounts([15], [20]), iv.ConceptCounts([3], [20])).estimate
    from statistics import NormalDist

    z = NormalDist().inv_cdf
    assert equal == pytest.approx(z(15.5 / 21) - z(3.5 / 21))


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from(["d′", "A′", "AUC"]))
@few
def test_discrimination_grows_with_hits_and_falls_with_false_alarms(hits, alarms, measure) -> None:
    def of(k, j):
        return iv.discrimination(iv.ConceptCounts([k], [21]), iv.ConceptCounts([j], [21]), measure=measure)

    here = of(hits, alarms)
    assert here.low <= here.estimate <= here.high
    assert of(hits + 1, alarms).low >= here.low - 1e-9
    assert of(hits, alarms + 1).high <= here.high + 1e-9


def test_twenty_replies_in_agreement_do_not_make_kappa_certain() -> None:
    found = iv.pair_agreement(iv.PairTable(1, 0, 0, 19))
    assert (found.kappa.estimate, found.kappa.high) == (1, 1)
    assert found.kappa.low < 0.2
    assert found.prevalence_index == pytest.approx(-0.9)
    none = iv.pair_agreement(iv.PairTable(0, 0, 0, 20))
    assert math.isnan(none.kappa.estimate)
    assert none.kappa.high == 1
    assert none.ac1.estimate == 1


def test_kappa_and_ac1_are_those_of_published_tables() -> None:
    from sklearn.metrics import cohen_kappa_score

    table = iv.PairTable(118, 5, 2, 0)  # Gwet 2008, a table of high agreement and extreme prevalence
    first = [1] * 123 + [0] * 2
    second = [1] * 118 + [0] * 5 + [1] * 2
    found = iv.pair_agreement(table)
    assert found.kappa.estimate == pytest.approx(cohen_kappa_score(first, second))
    assert found.ac1.estimate == pytest.approx(0.941, abs=1e-3)
    assert found.bias_index == pytest.approx(3 / 125)


JUDGE = JudgeAccuracy(45, 50, 95, 100)


def test_a_judges_error_widens_a_rate_and_a_perfect_judge_of_many_labels_does_not() -> None:
    counts = iv.ConceptCounts([10], [50])
    plain, found = iv.these_concepts(counts), iv.judged_rate(counts, JUDGE)
    assert width(found) > width(plain)
    perfect = iv.judged_rate(counts, JudgeAccuracy(10**6, 10**6, 10**6, 10**6))
    assert (perfect.low, perfect.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


def test_labels_that_can_not_tell_the_judge_from_a_coin_leave_zero_to_one() -> None:
    found = iv.judged_rate(iv.ConceptCounts([10], [50]), JudgeAccuracy(1, 1, 1, 2))
    assert (found.low, found.high) == (0, 1)
    with pytest.raises(AnalysisError, match="chance"):
        iv.judged_rate(iv.ConceptCounts([10], [50]), JudgeAccuracy(1, 2, 1, 2))


def test_a_null_seen_by_a_judge_that_misses_half_is_half_a_null() -> None:
    null = iv.ConceptCounts([0], [400])
    assert iv.judged_rate(null, JudgeAccuracy(50, 100, 100, 100)).high > 1.9 * iv.these_concepts(null).high
    curve = iv.curve_over_sensitivity(null, (0.5, 1.0))
    assert curve[0].high == pytest.approx(2 * curve[1].high)


def test_one_judge_for_both_arms_never_turns_a_difference_round() -> None:
    first, second = iv.ConceptCounts([30], [50]), iv.ConceptCounts([2], [50])
    raw, found = iv.difference(first, second, estimand=FIXED), iv.judged_difference(first, second, JUDGE)
    assert found.estimate > raw.estimate
    assert found.low > 0
    assert iv.judged_d_prime(first, second, JUDGE).low < iv.discrimination(first, second).low + 1


def test_a_persons_labels_mend_the_judges_rate_and_never_leave_a_width_of_zero() -> None:
    found = iv.prediction_powered(30, 300, iv.PairTable(5, 5, 0, 90))
    assert found.estimate == pytest.approx(0.05)
    assert width(iv.prediction_powered(0, 300, iv.PairTable(0, 0, 0, 30))) > 0.05


def test_the_worst_case_counts_all_unscored_against_whatever_is_claimed() -> None:
    found = iv.worst_case(iv.ConceptCounts([0, 0], [18, 20]), [2, 0])
    assert found.low == 0
    assert found.high == pytest.approx(interval(2, 40).high)


@pytest.mark.parametrize("wrong", [([], []), ([1], [1, 2]), ([0], [0]), ([3], [2]), ([-1], [2])])
def test_impossible_counts_are_errors(wrong) -> None:
    with pytest.raises(AnalysisError, match="successes"):
        iv.ConceptCounts(*wrong)


def test_binomial_references_of_the_bounds() -> None:
    assert iv.anytime(0, 0).high == 1
    assert binom.cdf(0, 59, 0.05) < 0.05  # the fixed sample that a sequential run pays for with 116
    assert iv.trials_to_stop(0.05) == 116


def test_a_tolerance_bound_at_a_confidence_of_almost_none_ends_and_keeps_a_count() -> None:
    counts = iv.ConceptCounts([0, 3, 1], [10] * 3)
    assert 0 < iv.tolerance_bound(counts, confidence=1e-300).rate <= 1
    assert 0 < iv.tolerance_bound(counts, share=1e-300).rate <= 1


@pytest.mark.parametrize("margin", [1e-320, 1e-9, 1e-4])
def test_a_margin_that_no_number_of_trials_settles_is_refused_at_once(margin) -> None:
    with pytest.raises(AnalysisError, match="larger margin"):
        iv.plan_equivalence(0.3, margin)


def test_the_correction_of_a_best_cell_refuses_more_trials_than_it_can_sum() -> None:
    with pytest.raises(AnalysisError, match="each_of_many"):
        iv.best_of_many([1, 2], [10**9, 10**9])
