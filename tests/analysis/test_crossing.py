"""The model of where one outcome overtakes another as the dose grows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from introspection_bench.analysis.crossing import fit_crossing
from introspection_bench.errors import AnalysisError

DOSES = np.geomspace(0.1, 3, 15)


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trials at all doses of outcomes whose curves cross at 0.6."""
    rng, at = np.random.default_rng(seed), np.repeat(DOSES, n)
    steep = 4 * np.log(at / 0.6)
    return at, rng.random(len(at)) < expit(steep + 1), rng.random(len(at)) < expit(1 - steep)


def test_with_many_trials_it_is_where_the_curves_cross_and_the_interval_narrows_around_it() -> None:
    few, many = (fit_crossing(DOSES, *drawn(n)) for n in (4, 200))
    assert many.magnitude == pytest.approx(0.6, rel=0.02)
    assert many.height == pytest.approx(expit(1), abs=0.03)
    ratios = []
    for fit in (few, many):
        low, high = fit.interval(0.95)
        assert low < 0.6 < high
        ratios.append(high / low)
    assert ratios[1] < 1.1 < ratios[0]


def test_where_the_dose_separates_the_outcomes_the_interval_is_the_bracket_between_them() -> None:
    at = np.repeat([0.3, 0.5, 0.9, 1.5], 6)
    low, high = fit_crossing(DOSES, at, at > 0.7, at < 0.7).interval(0.95)
    assert 0.4 < low < 0.6
    assert 0.75 < high < 1.1


def test_trials_in_which_both_outcomes_are_gone_do_not_move_the_crossing() -> None:
    at, rises, falls = drawn(6)
    beyond = np.full(40, 2.9)
    more = [np.concatenate([v, np.zeros(40)]) for v in (rises, falls)]
    plain, gone = fit_crossing(DOSES, at, rises, falls), fit_crossing(DOSES, np.concatenate([at, beyond]), *more)
    assert gone.magnitude == plain.magnitude


def test_a_falling_outcome_that_is_never_certain_has_a_ceiling_and_collapses_where_it_does() -> None:
    rng, at = np.random.default_rng(1), np.repeat(DOSES, 60)
    falls = rng.random(len(at)) < 0.6 * expit(-8 * np.log(at / 0.6))
    fit = fit_crossing(DOSES, at, np.zeros(len(at)), falls)
    assert fit.falling.ceiling in (0.55, 0.7)
    assert fit.collapse == pytest.approx(0.6 * math.exp(math.log(9) / 8), rel=0.3)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(DOSES.tolist()), st.booleans(), st.booleans()), max_size=30))
def test_any_trials_and_none_have_a_fit_that_something_can_be_drawn_from(
    trials: list[tuple[float, bool, bool]],
) -> None:
    at, rises, falls = ([t[n] for t in trials] for n in range(3))
    fit = fit_crossing(DOSES, at, rises, falls)
    for curve in (fit.which, fit.falling, fit.rising):
        assert np.isfinite(curve.line).all()
        assert (np.linalg.eigvalsh(curve.covariance) > 0).all()
    low, high = fit.interval(0.95)
    assert 0 <= low <= high
    told = np.concatenate([fit.gains, fit.spreads, fit.gains_at_onset, fit.gains_at_collapse])
    assert (np.isfinite(told) & (told >= 0)).all()
    assert np.isfinite(fit.drawn(np.random.default_rng(0)).both).all()
    index = int(np.argmax(fit.gains))
    assert fit.with_trial(index).gains[index] <= fit.gains[index]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([1.0], [], [], []), "doses"),
        (([2.0, 1.0], [], [], []), "doses"),
        (([0.0, 1.0], [], [], []), "doses"),
        (([1.0, 2.0], [0.0], [1], [1]), "magnitudes"),
        (([1.0, 2.0], [1.0], [2], [1]), "rises"),
        (([1.0, 2.0], [1.0], [1], []), "falls"),
    ],
)
def test_what_is_no_trial_is_an_error_that_names_the_argument(arguments, says) -> None:
    with pytest.raises(AnalysisError, match=says):
        fit_crossing(*arguments)
