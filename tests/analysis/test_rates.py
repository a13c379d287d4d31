"""Rates and intervals: reference values, coverage, monotonicity, and what counts in which denominator."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from introspection_bench.analysis import (
    CELL_COLUMNS,
    ConceptCounts,
    counts,
    interval,
    like_these,
    rates,
    records_frame,
)
from introspection_bench.errors import AnalysisError, SpecError


@pytest.mark.parametrize(
    ("k", "n", "method", "sided", "low", "high"),
    [
        # R 4: binom.test(5, 20), binom.test(0, 400), binom.test(0, 23), binom.test(0, 20)
        (5, 20, "clopper-pearson", "two", 0.08657147, 0.4910459),
        (0, 400, "clopper-pearson", "two", 0, 0.009179841),
        (0, 23, "clopper-pearson", "two", 0, 0.1481851),
        (0, 20, "clopper-pearson", "two", 0, 0.1684335),
        # the rule of three's exact form, 1 - 0.05 ** (1 / n)
        (0, 20, "clopper-pearson", "upper", 0, 1 - 0.05 ** (1 / 20)),
        (20, 20, "clopper-pearson", "lower", 0.05 ** (1 / 20), 1),
        # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3
        (81, 263, "wilson", "two", 0.2553, 0.3662),
        (15, 148, "wilson", "two", 0.0624, 0.1605),
        (0, 20, "wilson", "two", 0, 0.1611),
        (1, 29, "wilson", "two", 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_of_published_tables(
    k: int, n: int, method: str, sided: str, low: float, high: float
) -> None:
    found = interval(k, n, method=method, sided=sided)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 40), st.floats(0.01, 0.99), st.sampled_from(["two", "upper", "lower"]), st.data())
@settings(max_examples=30, deadline=None)
def test_clopper_pearson_covers_every_rate_at_least_as_often_as_it_says(n, rate, sided, data) -> None:
    confidence = data.draw(st.sampled_from([0.8, 0.95, 0.99]))
    covered = sum(
        float(binom.pmf(k, n, rate))
        for k in range(n + 1)
        if (i := interval(k, n, confidence=confidence, sided=sided)).low <= rate <= i.high
    )
    assert covered >= confidence - 1e-9


@given(st.integers(1, 300), st.data(), st.sampled_from(["clopper-pearson", "wilson"]))
@settings(deadline=None)
def test_both_ends_grow_with_successes_and_the_interval_holds_the_rate(n, data, method) -> None:
    k = data.draw(st.integers(0, n - 1))
    one, more = interval(k, n, method=method), interval(k + 1, n, method=method)
    assert one.low <= more.low
    assert one.high <= more.high
    assert 0 <= one.low <= one.rate + 1e-12
    assert one.rate <= one.high + 1e-12 <= 1 + 2e-12


@given(st.integers(1, 200), st.data(), st.sampled_from(["clopper-pearson", "wilson"]))
@settings(max_examples=50, deadline=None)
def test_intervals_are_those_of_statsmodels_which_computes_them_otherwise(n, data, method) -> None:
    k = data.draw(st.integers(0, n))
    found = interval(k, n, method=method)
    other = proportion_confint(k, n, method="beta" if method == "clopper-pearson" else "wilson")
    assert (found.low, found.high) == pytest.approx(other, abs=1e-7)


@pytest.mark.parametrize(
    "wrong", [{"k": -1}, {"k": 5}, {"confidence": 1.0}, {"confidence": 95}, {"method": "wald"}, {"sided": "both"}]
)
def test_impossible_arguments_are_errors_that_name_the_argument(wrong) -> None:
    with pytest.raises(AnalysisError, match=next(iter(wrong))):
        interval(**{"k": 1, "n": 4} | wrong)


def test_no_trials_give_no_rate_and_the_whole_interval() -> None:
    nothing = interval(0, 0)
    assert math.isnan(nothing.rate)
    assert (nothing.low, nothing.high) == (0, 1)


@pytest.fixture
def mixed(record) -> pd.DataFrame:
    """Five injected trials (one unscored, one without a named concept) and two controls against two concepts."""
    return records_frame(
        [
            record(0, (True, True, True, True)),
            record(1, (True, True, False, False)),
            record(2, (False, False, None, True)),
            record(3, (False, False, None, True)),
            record(4, None),
            record(0, (True, False, None, True), arm="control", concept="love"),
            record(1, (False, False, None, True), arm="control", concept="dust"),
        ]
    )


def row(table: pd.DataFrame, **where: object) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_an_unscored_trial_counts_as_unscored_and_never_as_false(mixed) -> None:
    found = rates(mixed, ["arm"])
    affirmative = row(found, arm="injected", outcome="affirmative")
    assert (affirmative["k"], affirmative["n"], affirmative["n_all"], affirmative["n_scored"]) == (2, 4, 5, 4)
    unscored = row(found, arm="injected", outcome="unscored")
    assert (unscored["k"], unscored["n"]) == (1, 5)


def over(record, names, controls=0):
    trials = [record(i, (i < 2 * n, False, None, True), concept=c) for n, c in enumerate(names) for i in range(10)]
    return records_frame([*trials, *(record(i, (False, False, None, True), concept=None) for i in range(controls))])


def test_a_group_of_five_concepts_has_the_interval_for_concepts_like_these(record) -> None:
    found = row(rates(over(record, "abcde"), ["arm"]), outcome="affirmative")
    expected = like_these(ConceptCounts([0, 2, 4, 6, 8], [10] * 5))
    assert (found["concepts"], found["rate"]) == (5, pytest.approx(expected.estimate))
    assert (found["low_like_these"], found["high_like_these"]) == pytest.approx((expected.low, expected.high))
    assert found["low_like_these"] < found["low"]
    assert found["high"] < found["high_like_these"]


@pytest.mark.parametrize(("names", "controls"), [("abcd", 0), ("a", 0), ("abcdef", 1)])
def test_of_fewer_concepts_or_with_trials_that_have_none_nothing_is_said_of_others(record, names, controls) -> None:
    found = row(rates(over(record, names, controls), []), outcome="affirmative")
    assert found["concepts"] == len(names)
    assert math.isnan(found["low_like_these"])
    assert math.isnan(found["high_like_these"])


def test_concepts_count_where_the_outcome_applies_to_one_of_their_trials(record) -> None:
    found = rates(over(record, "abcde"), ["arm"])
    assert row(found, outcome="immediate")["concepts"] == 0
    assert row(found, outcome="unscored")["concepts"] == 5


def test_wilsons_worst_coverage_is_what_the_docs_say() -> None:
    worst = {}
    for n in [*range(1, 31), 100, 400]:
        found = [interval(k, n, method="wilson") for k in range(n + 1)]
        edges = [e for i in found for e in (i.low, i.high)]
        rate = np.clip(np.array([e + s * 1e-9 for e in edges for s in (-1, 1)]), 0, 1)
        chance = binom.pmf(np.arange(n + 1)[:, None], n, rate)
        held = np.array([(i.low <= rate) & (rate <= i.high) for i in found])
        worst[n] = float((chance * held).sum(axis=0).min())
    assert [round(worst[n], 3) for n in (1, 2, 10)] == [0.793, 0.820, 0.835]
    assert min(w for n, w in worst.items() if n >= 10) >= 0.8349


def test_a_criterion_that_does_not_apply_leaves_the_denominator(mixed) -> None:
    immediate = row(rates(mixed, ["arm"]), arm="injected", outcome="immediate")
    assert (immediate["k"], immediate["n"], immediate["n_scored"]) == (1, 2, 4)
    assert (immediate["k_coherent"], immediate["n_coherent"]) == (1, 1)


def test_strict_counts_a_criterion_that_does_not_apply_as_not_met(mixed) -> None:
    strict = row(rates(mixed, ["arm"]), arm="injected", outcome="strict")
    assert (strict["k"], strict["n"]) == (1, 4)


def test_refusals_that_no_judge_looked_for_have_no_denominator(mixed) -> None:
    refused = row(rates(mixed, ["arm"]), arm="injected", outcome="refused")
    assert refused["n"] == 0
    assert math.isnan(refused["rate"])


def test_the_controls_of_a_scaffold_are_one_cell_whatever_they_stand_against(mixed) -> None:
    cells = counts(mixed)
    assert sorted(cells["n_all"]) == [2, 5]
    assert set(mixed.loc[mixed["arm"] == "control", "asked"]) == {"love", "dust"}


def test_magnitudes_of_two_units_are_never_pooled(record) -> None:
    frame = records_frame([record(0, (True,) * 4, unit="raw"), record(1, (True,) * 4, unit="residual")])
    with pytest.raises(AnalysisError, match="unit"):
        rates(frame, ["magnitude"])
    assert len(counts(frame, ["magnitude", "unit"])) == 2


def test_an_unknown_column_is_an_error_that_names_it(mixed) -> None:
    with pytest.raises(AnalysisError, match="strength"):
        rates(mixed, ["strength"])


def test_no_records_give_an_empty_table_with_all_columns() -> None:
    table = rates(records_frame([]))
    assert list(table.columns[:10]) == [*CELL_COLUMNS, "outcome"]
    assert table.empty


def test_two_judges_on_a_trial_must_be_told_apart(record) -> None:
    one, other = record(0, (True,) * 4), record(0, (False,) * 4, judge="chat")
    from attrs import evolve

    both = evolve(one, verdicts=(*one.verdicts, *other.verdicts))
    with pytest.raises(SpecError, match="judge"):
        records_frame([both])
    assert records_frame([both], judge="chat")["affirmative"].tolist() == [False]


def test_a_trial_without_verdict_is_unscored_because_not_judged(record) -> None:
    from attrs import evolve

    frame = records_frame([evolve(record(0, (True,) * 4), verdicts=())])
    assert frame["unscored"].tolist() == ["not judged"]
    assert frame["strict"].isna().all()
