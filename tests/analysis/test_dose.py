"""Logistic fits against scikit-learn, their absence said out loud, crossovers, and the sweet-spot rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from introspection_bench.analysis import (
    SweetSpotRule,
    crossovers,
    dose_response,
    fit_logistic,
    migration,
    records_frame,
    sweet_spots,
)
from introspection_bench.errors import AnalysisError

TRIALS = st.lists(st.tuples(st.sampled_from([1.0, 2.0, 4.0, 8.0]), st.booleans()), max_size=60)


@given(TRIALS)
@settings(max_examples=60, deadline=None)
def test_the_fit_is_scikit_learn_s_unpenalised_one_or_says_why_there_is_none(trials) -> None:
    x, y = np.array([m for m, _ in trials]), np.array([o for _, o in trials], dtype=float)
    fit = fit_logistic(x, y)
    if fit.status == "fitted":
        other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=20_000, solver="newton-cg").fit(x[:, None], y)
        assert fit.slope == pytest.approx(other.coef_[0, 0], rel=1e-3, abs=1e-4)
        assert fit.intercept == pytest.approx(other.intercept_[0], rel=1e-3, abs=1e-3)
    else:
        assert math.isnan(fit.intercept)
        assert fit.status in ("separated", "constant", "one magnitude", "no data")


@given(TRIALS)
@settings(max_examples=60, deadline=None)
def test_a_fit_is_refused_exactly_where_a_threshold_separates_the_outcomes(trials) -> None:
    zeros = [m for m, o in trials if not o]
    ones = [m for m, o in trials if o]
    if not zeros or not ones or len({m for m, _ in trials}) < 2:
        return
    separable = max(zeros) <= min(ones) or max(ones) <= min(zeros)
    status = fit_logistic([m for m, _ in trials], [o for _, o in trials]).status
    assert status == ("separated" if separable else "fitted")


def test_separated_outcomes_give_the_bracket_of_the_midpoint_and_no_number() -> None:
    fit = fit_logistic([1, 1, 2, 2, 4, 4], [0, 0, 0, 0, 1, 1])
    assert (fit.status, fit.midpoint_low, fit.midpoint_high, fit.slope) == ("separated", 2, 4, math.inf)
    assert math.isnan(fit.midpoint)
    falling = fit_logistic([1, 1, 2, 4], [1, 1, 1, 0])
    assert (falling.midpoint_low, falling.midpoint_high, falling.slope) == (2, 4, -math.inf)


def test_the_midpoint_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    x = np.repeat([2.0, 4.0, 6.0, 8.0, 10.0], 20)
    chance = 1 / (1 + np.exp(-(x - 6.5)))
    fits = [fit_logistic(x, rng.random(len(x)) < chance) for _ in range(200)]
    assert 0.9 <= np.mean([f.midpoint_low <= 6.5 <= f.midpoint_high for f in fits]) <= 0.99


def test_a_flat_outcome_has_an_unbounded_midpoint() -> None:
    fit = fit_logistic(np.repeat([1.0, 2.0, 3.0], 10), [0, 1] * 15)
    assert (fit.midpoint_low, fit.midpoint_high) == (-math.inf, math.inf)


def test_a_rate_that_rises_and_falls_is_reported_as_lack_of_fit() -> None:
    y = [0] * 20 + [1] * 20 + [0] * 20
    assert fit_logistic(np.repeat([1.0, 2.0, 3.0], 20), [*y[:39], 0, *y[40:]]).lack_of_fit < 1e-6


def cells(record, table, **where):
    """Trials from {magnitude: (identifies, coherent)} of ten; the identified ones come first, the coherent last."""
    return [
        record(i, (False, i < named, False, i >= 10 - whole), magnitude=m, **where)
        for m, (named, whole) in table.items()
        for i in range(10)
    ]


def test_the_crossover_is_where_the_straight_lines_meet(record) -> None:
    frame = records_frame(cells(record, {2: (0, 10), 4: (2, 8), 6: (8, 4)}))
    found = crossovers(frame).iloc[0]
    # The difference goes from -0.6 at 4 to 0.4 at 6.
    assert found["interpolated"] == pytest.approx(5.2)
    assert found["interpolated_low"] <= 5.2 <= found["interpolated_high"]
    assert (found["side"], found["crossings"]) == ("within", 1)
    assert 4 < found["fitted"] < 6
    assert found["fitted_low"] < found["fitted"] < found["fitted_high"]


def test_the_fitted_crossover_is_where_the_two_separate_fits_meet(record) -> None:
    frame = records_frame(cells(record, {2: (1, 9), 4: (2, 8), 6: (8, 4), 8: (9, 1)}))
    fits = dose_response(frame).set_index("outcome")
    a = fits.loc["identifies", "intercept"] - fits.loc["coherent", "intercept"]
    b = fits.loc["identifies", "slope"] - fits.loc["coherent", "slope"]
    assert crossovers(frame)["fitted"].iloc[0] == pytest.approx(-a / b, rel=1e-5)


@pytest.mark.parametrize(
    ("table", "side", "words"),
    [
        ({2: (8, 5), 4: (9, 2)}, "at or below", "at or below the lowest magnitude, 2"),
        ({2: (5, 5), 4: (9, 2)}, "at or below", "at or below the lowest magnitude, 2"),
        ({2: (0, 9), 4: (2, 8)}, "above", "not reached up to the highest magnitude, 4"),
    ],
)
def test_a_crossover_outside_the_magnitudes_is_no_number_but_a_side(record, table, side, words) -> None:
    found = crossovers(records_frame(cells(record, table))).iloc[0]
    assert math.isnan(found["interpolated"])
    assert math.isnan(found["interpolated_low"])
    assert found["side"] == side
    assert words in found["note"]


def test_separation_is_named_in_the_crossover_s_note(record) -> None:
    found = crossovers(records_frame(cells(record, {2: (0, 10), 4: (10, 0)}))).iloc[0]
    assert math.isnan(found["fitted"])
    assert "identifies is separated" in found["note"]
    assert found["interpolated"] == pytest.approx(3)


def test_migration_is_the_difference_between_layers_with_its_interval(record) -> None:
    low = cells(record, {2: (0, 10), 4: (2, 8), 6: (8, 4)}, layer=5)
    high = cells(record, {2: (0, 10), 4: (0, 10), 6: (0, 10), 12: (10, 0), 8: (1, 9)}, layer=9)
    none = cells(record, {2: (0, 10), 4: (0, 10)}, layer=12)
    table = migration(crossovers(records_frame([*low, *high, *none]))).set_index(["from_layers", "to_layers"])
    assert table.index.tolist() == [("5", "9"), ("9", "12"), ("5", "12")]
    # 8 + 4 * 0.8 / 1.8 = 9.78 against 5.2
    assert table.loc[("5", "9"), "difference"] == pytest.approx(8 + 4 * 0.8 / 1.8 - 5.2)
    assert bool(table.loc[("5", "9"), "moves"])
    assert table.loc[("9", "12"), "moves"] is not True
    assert table.loc[("9", "12"), "note"] == "layer 12: above 4"


def test_the_sweet_spot_rule_needs_all_three_rates_and_counts_the_cells(record) -> None:
    good = [record(i, (True, i < 6, i < 3, i >= 4), magnitude=4) for i in range(10)]
    bad = [record(i, (True, i < 6, i < 1, i >= 4), magnitude=8) for i in range(10)]
    found = sweet_spots(records_frame([*good, *bad]))
    assert found.passing["magnitude"].tolist() == [4]
    assert not found.table["established"].any()
    assert "1 of 2 cells pass" in found.sentence
    assert "all 2 cells at once" in found.sentence
    assert sweet_spots(records_frame([*good, *bad]), SweetSpotRule(immediate=0.1)).table["passes"].all()


def test_an_overwhelming_cell_is_established_and_a_hopeless_one_ruled_out(record) -> None:
    sure = [record(i, (True,) * 4, magnitude=4) for i in range(40)]
    hopeless = [record(i, (False, False, None, False), magnitude=8) for i in range(40)]
    table = sweet_spots(records_frame([*sure, *hopeless])).table.set_index("magnitude")
    assert bool(table.loc[4, "established"])
    assert bool(table.loc[8, "ruled_out"])


def test_curves_of_two_units_are_never_joined(record) -> None:
    frame = records_frame(cells(record, {2: (0, 10)}, unit="raw") + cells(record, {4: (9, 1)}, unit="residual"))
    with pytest.raises(AnalysisError, match="unit"):
        crossovers(frame, by=("scaffold", "concept", "layer"))
    assert len(crossovers(frame)) == 2
