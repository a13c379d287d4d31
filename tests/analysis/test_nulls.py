"""What a null excludes, and the planner that is its inverse."""

from __future__ import annotations

import math

import pandas as pd
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

YES = (True,) * 4
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


@pytest.fixture
def two_concepts(record):
    """20 coherent trials of each of two concepts, so many of them successes."""
    return lambda *hits: records_frame(
        [
            record(i, YES if i < k else NO, concept=concept)
            for concept, k in zip(("love", "dust"), hits, strict=True)
            for i in range(20)
        ]
    )


def test_a_null_is_bounded_pooled_over_coherent_trials_and_in_its_scopes(null) -> None:
    found = excludes(null, scopes=[Scope(min_magnitude=5, coherent_only=True)])
    assert [(str(b.counts.counts), b.cells) for b in found.bounds] == [("0 of 40", 2), ("0 of 15", 2), ("0 of 3", 1)]
    assert found.coherent.null.these.high == pytest.approx(1 - 0.025 ** (1 / 15))
    assert found.coherent.sentences == (
        "Coherent trials, 0 of 15: rates above 21.8 % are excluded on the one concept, love (95 % two-sided); that "
        "says nothing of others.",
    )
    one_sided = excludes(null, sided="upper").pooled
    assert one_sided.null.these.high == pytest.approx(1 - 0.05 ** (1 / 40))
    assert "(95 % one-sided)" in one_sided.sentences[0]


def test_a_null_over_concepts_is_bounded_under_both_estimands(two_concepts) -> None:
    found = excludes(two_concepts(0, 0)).pooled
    assert found.null.these.high == pytest.approx(1 - 0.025 ** (1 / 40))
    assert found.null.high == pytest.approx(1 - 0.025 ** (1 / 2))
    first, second, third, last = found.sentences
    assert first == (
        "All injected trials, 0 of 40 on 2 concepts: of mean rates on these concepts, those above 8.81 % are excluded "
        "(95 % two-sided)."
    )
    assert second.startswith("Of mean rates over concepts like these, those above 84.2 % are excluded, however")
    assert third.startswith("It depends on the intra-class correlation of concepts:")
    assert "can't be said from 2 of them: it takes 29" in last
    assert not any("nothing of others" in s for s in found.sentences)


def test_rates_that_are_not_excluded_are_not_called_excluded(two_concepts) -> None:
    above = "of mean rates on these concepts, none is excluded"
    found = excludes(two_concepts(20, 20)).pooled.sentences
    assert found[0].startswith(f"All injected trials, 40 of 40 on 2 concepts: {above}")
    assert "Of mean rates over concepts like these, none is excluded, however" in " ".join(found)
    assert "It depends on" not in " ".join(found)
    assert "Mean rates on these concepts below 91.2 % are excluded, too." in found
    assert not any("below" in s for s in excludes(two_concepts(0, 0)).pooled.sentences[:3])
    assert above not in " ".join(excludes(two_concepts(0, 0)).sentences)


def test_the_mean_is_over_concepts_and_not_over_trials(record) -> None:
    frame = records_frame(
        [
            *(record(i, YES if i < 4 else NO, concept="love") for i in range(5)),
            *(record(i, NO, concept="dust") for i in range(20)),
        ]
    )
    row = excludes(frame).table().iloc[0]
    assert (row["k"], row["n"], row["concepts"], row["rate"]) == (4, 25, 2, pytest.approx(0.4))


def test_a_concept_that_is_not_stated_is_called_that(record) -> None:
    frame = records_frame([record(i, NO, concept=None) for i in range(20)])
    assert excludes(frame).pooled.sentences == (
        "All injected trials, 0 of 20: rates above 16.8 % are excluded (95 % two-sided); which concepts these are is "
        "not stated.",
    )


def test_unscored_trials_are_counted_as_successes_beside_every_bound(record) -> None:
    frame = records_frame([record(i, NO if i < 18 else None) for i in range(20)])
    for found in (excludes(frame).pooled, excludes(frame).coherent):
        assert found.null.these.high == pytest.approx(interval(0, 18).high)
        assert found.whatever.high == pytest.approx(interval(2, 20).high)
        assert (
            "With the unscored trials (2) all counted as successes, rates above 31.7 % are excluded." in found.sentences
        )
    row = excludes(frame).table().iloc[0]
    assert row["high_whatever"] == pytest.approx(interval(2, 20).high)


def test_without_unscored_trials_nothing_is_said_of_them(null) -> None:
    found = excludes(null)
    assert found.pooled.whatever is None
    assert "unscored" not in " ".join(found.sentences)
    assert found.table()["high_whatever"].isna().all()


def test_where_the_unscored_might_all_succeed_no_rate_is_called_excluded(record) -> None:
    frame = records_frame([record(i, YES if i < 5 else None) for i in range(6)])
    (said,) = [s for s in excludes(frame).pooled.sentences if "unscored" in s]
    assert said == "With the unscored trials (1) all counted as successes, no rate is excluded from above."


def test_unscored_trials_of_a_concept_without_a_verdict_are_told(record) -> None:
    frame = records_frame([*(record(i, NO) for i in range(9)), record(0, None, concept="dust")])
    (said,) = [s for s in excludes(frame).pooled.sentences if "without a verdict" in s]
    assert said == "Unscored trials of concepts without a verdict (1) are left out."
    assert not any("without a verdict" in s for s in excludes(frame.iloc[:9]).pooled.sentences)


def test_the_best_cell_is_told_as_one_that_was_chosen(record) -> None:
    frame = records_frame(
        [*(record(i, YES if i < 5 else NO, magnitude=8) for i in range(20)), *(record(i, NO) for i in range(20))]
    )
    found = excludes(frame)
    assert "· 8 residual ·" in found.best_name
    assert (found.best.unadjusted.k, found.best.unadjusted.n, found.best.cells) == (5, 20, 2)
    each = interval(5, 20, confidence=0.95**0.5)
    assert (found.best.simultaneous.low, found.best.simultaneous.high) == (each.low, each.high)
    said = found.cell_sentences[0]
    assert "the best of 2 cells: 5 of 20 = 25 %, chosen for being the highest" in said
    assert "corrected for the choice" in said
    assert "comes nearest" not in " ".join(found.cell_sentences)
    row = found.table().iloc[2]
    assert (row["chosen"], row["high"]) == ("highest of 2 cells", each.high)
    assert row["corrected"] == found.best.corrected
    assert found.under(0.2).probability == pytest.approx(0.804, abs=5e-4)


def test_of_cells_as_high_the_one_that_came_nearest_is_named_and_the_rule_is_told(record, null) -> None:
    near = (True, False, None, True)
    frame = records_frame(
        [*(record(i, NO, magnitude=1) for i in range(5)), *(record(i, near if i < 2 else GARBLED) for i in range(5))]
    )
    found = excludes(frame)
    assert "· 4 residual ·" in found.best_name
    said = " ".join(found.cell_sentences)
    assert "the best of 2 cells, with 1 other as high: 0 of 5 = 0 %, chosen from the highest" in said
    assert "chosen for being the highest" not in said
    assert "It is named since, of the 2 as high, it comes nearest to success" in said
    assert "· 4 residual ·" in excludes(null).best_name  # the cell with more coherent trials
    # A rule named the cell, so its bound is no smaller than that of one that nobody chose.
    assert found.best.high == pytest.approx(interval(0, 5).high)


def test_one_cell_is_not_called_chosen(record) -> None:
    found = excludes(records_frame([record(i, NO) for i in range(20)]))
    assert found.cell_sentences == (f"There is one cell, {found.best_name}: none was chosen.",)
    assert len(found.table()) == 2


def test_the_cell_that_is_bounded_least_is_bounded_for_all_cells_at_once(record) -> None:
    frame = records_frame([*(record(i, NO, magnitude=8) for i in range(6)), *(record(i, NO) for i in range(20))])
    found = excludes(frame).least_bounded
    assert "· 8 residual ·" in found.name
    assert found.interval.high == pytest.approx(interval(0, 6, confidence=0.95**0.5).high)
    assert found.sentence.startswith("In whatever cell, rates above 51.7 % are")
    every = records_frame([*(record(i, YES, magnitude=8) for i in range(6)), *(record(i, NO) for i in range(20))])
    least = excludes(every).least_bounded.sentence
    assert least.startswith("Not in every cell is a rate excluded from above: not in love · layer 10 · 8 residual")


@pytest.mark.parametrize("seeds", ["shared", "not stated"])
def test_cells_that_may_share_random_numbers_are_not_taken_as_independent(null, seeds) -> None:
    frame = null.copy()
    frame["seed"] = pd.array([None if seeds == "not stated" else i % 20 for i in range(len(frame))], dtype="Int64")
    found, apart = excludes(frame), excludes(null)
    assert apart.best.independent
    assert not found.best.independent
    assert found.best.simultaneous.high == pytest.approx(interval(0, 20, confidence=0.975).high)
    told = [s for s in found.sentences if "share" in s]
    assert len(told) == (2 if seeds == "shared" else 0)
    assert not any("share" in s for s in apart.sentences)


def test_a_cell_of_several_concepts_is_said_to_be_about_them(two_concepts) -> None:
    frame = pd.concat([two_concepts(2, 3), two_concepts(0, 0).assign(magnitude=1.0)])
    mixed = "Cells mix concepts here"
    assert any(s.startswith(mixed) for s in excludes(frame, by=["magnitude", "unit"]).sentences)
    assert not any(s.startswith(mixed) for s in excludes(frame).sentences)


def test_controls_random_vectors_and_unscored_trials_are_no_part_of_a_null(record) -> None:
    frame = records_frame([record(0, NO), record(1, None), record(0, NO, arm="random"), record(0, NO, arm="control")])
    assert excludes(frame).pooled.counts.counts.trials == (1,)


def test_a_count_above_zero_is_bounded_on_both_sides(record) -> None:
    frame = records_frame([record(i, YES if i < 5 else NO) for i in range(20)])
    found = excludes(frame).pooled
    assert (found.null.these.low, found.null.these.high) == pytest.approx((0.0866, 0.4910), abs=1e-4)
    assert found.sentences == (
        "All injected trials, 5 of 20: rates above 49.1 % are excluded on the one concept, love (95 % two-sided); that "
        "says nothing of others.",
        "Rates below 8.66 % are excluded, too.",
    )


def test_a_scope_without_trials_excludes_nothing_and_says_so(null) -> None:
    found = excludes(null, scopes=[Scope(concept="dust")])
    (said,) = found.scopes[0].sentences
    assert said.endswith("no trial to which 'strict' applies, so nothing is excluded.")
    row = found.table().iloc[2]
    assert row["n"] == 0
    assert row[["k", "rate", "high", "high_like_these"]].isna().all()


def test_an_outcome_that_applies_nowhere_names_no_cell(null) -> None:
    found = excludes(null.assign(immediate=pd.array([None] * len(null), dtype="boolean")), "immediate")
    assert (found.best, found.least_bounded, found.cell_sentences) == (None, None, ())
    with pytest.raises(AnalysisError, match="a cell"):
        found.under(0.2)


@pytest.mark.parametrize(("wrong", "word"), [({"sided": "lower"}, "sided"), ({"outcome": "unscored"}, "outcome")])
def test_what_excludes_nothing_is_refused(null, wrong, word) -> None:
    with pytest.raises(AnalysisError, match=word):
        excludes(null, **wrong)


def test_without_scored_injected_trials_there_is_no_statement(record) -> None:
    with pytest.raises(AnalysisError, match="injected"):
        excludes(records_frame([record(0, NO, arm="control"), record(0, None)]))
