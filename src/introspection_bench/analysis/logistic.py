"""One logistic curve over magnitude, with the cases in which there is none said out loud."""

from __future__ import annotations

import math
from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr
from scipy.stats import chi2, norm

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from .binomial import check_probability

Status = Literal["fitted", "separated", "constant", "one magnitude", "no data"]
Floats = npt.NDArray[np.float64]


@guarded(AnalysisError)
@attrs.frozen
class LogisticFit:
    """P(outcome) = 1 / (1 + exp(-(intercept + slope · magnitude))), by maximum likelihood.

    ``status``:

    - ``fitted``: the estimate exists. ``midpoint`` is the magnitude of 50 %, with Fieller's interval
      ``midpoint_low`` to ``midpoint_high`` (minus to plus infinity where the slope is not distinct from 0 at this
      confidence). ``lack_of_fit`` is the p-value of the residual deviance against the saturated model: a small
      one says that no logistic curve describes the data (a rate that rises and falls again, say).
    - ``separated``: one magnitude divides all failures from all successes, so the likelihood has no maximum. The
      slope is infinite, and all that is known of the midpoint is the bracket between the last magnitude on one
      side and the first on the other (``midpoint_low`` to ``midpoint_high``; ``midpoint`` is NaN).
    - ``constant``: all outcomes are equal; ``one magnitude``: no slope to fit; ``no data``.

    Numbers that don't exist are NaN. ``slope_low`` and ``slope_high`` are Wald's.
    """

    status: Status
    n: int
    intercept: float = math.nan
    slope: float = math.nan
    slope_low: float = math.nan
    slope_high: float = math.nan
    midpoint: float = math.nan
    midpoint_low: float = math.nan
    midpoint_high: float = math.nan
    lack_of_fit: float = math.nan


def _numbers(name: str, values: npt.ArrayLike) -> Floats:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array(math.nan)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise AnalysisError(explain(name, required="a list of finite numbers", got=type(values).__name__, hint=""))
    return found


@checked(AnalysisError)
def fit_logistic(magnitude: npt.ArrayLike, outcome: npt.ArrayLike, *, confidence: float = 0.95) -> LogisticFit:
    """Fit one logistic curve to single trials.

    Args:
        magnitude: shape (trials,), float.
        outcome: shape (trials,), 0 or 1.
        confidence: of the intervals.

    Raises:
        AnalysisError: ``confidence`` is out of range, or the arrays are no numbers of one length.

    Source: ``statsmodels`` GLM, binomial family, logit link; Fieller 1954 for the midpoint.
    """
    check_probability("confidence", confidence)
    x, y = _numbers("magnitude", magnitude), _numbers("outcome", outcome)
    if len(x) != len(y) or not np.isin(y, (0, 1)).all():
        raise AnalysisError(
            explain("outcome", required=f"{len(x)} values 0 or 1, one for each magnitude", got=y.tolist(), hint="")
        )
    status = existence(x, y)
    if status == "separated":
        inner = (
            (x[y == 0].max(), x[y == 1].min())
            if x[y == 0].max() <= x[y == 1].min()
            else (x[y == 1].max(), x[y == 0].min())
        )
        sign = math.inf if x[y == 1].mean() > x[y == 0].mean() else -math.inf
        return LogisticFit("separated", len(x), slope=sign, midpoint_low=float(inner[0]), midpoint_high=float(inner[1]))
    if status != "fitted":
        return LogisticFit(status, len(x))
    import statsmodels.api as sm

    # Single trials, not counts per magnitude: counts at two magnitudes are fitted perfectly, which statsmodels takes
    # for separation.
    fit = sm.GLM(y, sm.add_constant(x), family=sm.families.Binomial()).fit()
    a, b = (float(p) for p in fit.params)
    z = float(norm.ppf((1 + confidence) / 2))
    low, high = fieller(a, b, np.asarray(fit.cov_params()), z)
    reach = z * float(fit.bse[1])
    lack = _lack_of_fit(x, y, np.asarray(fit.fittedvalues))
    return LogisticFit("fitted", len(x), a, b, b - reach, b + reach, -a / b if b else math.nan, low, high, lack)


def _lack_of_fit(x: Floats, y: Floats, fitted: Floats) -> float:
    """Return the p-value of the deviance of the counts per magnitude from the fit; NaN where none is left over."""
    levels, place = np.unique(x, return_inverse=True)
    free = len(levels) - 2
    if free < 1:
        return math.nan
    n, hits = np.bincount(place), np.bincount(place, weights=y)
    expected = np.bincount(place, weights=fitted)
    deviance = 2 * float((rel_entr(hits, expected) + rel_entr(n - hits, n - expected)).sum())
    return float(chi2.sf(deviance, free))


def existence(x: Floats, y: Floats) -> Status:
    """Say whether the maximum-likelihood estimate exists.

    With one covariate it exists exactly if the ranges of ``x`` in the two classes overlap in more than a point
    (Albert and Anderson 1984, Biometrika 71).
    """
    if not len(x):
        return "no data"
    zeros, ones = x[y == 0], x[y == 1]
    if not (len(zeros) and len(ones)):
        return "constant"
    if x.min() == x.max():
        return "one magnitude"
    overlap = zeros.max() > ones.min() and ones.max() > zeros.min()
    return "fitted" if overlap else "separated"


def fieller(a: float, b: float, covariance: Floats, z: float) -> tuple[float, float]:
    """Return Fieller's interval for the root of ``a + b x``; infinite where ``b`` is not distinct from 0."""
    first = b * b - z * z * covariance[1, 1]
    middle = a * b - z * z * covariance[0, 1]
    last = a * a - z * z * covariance[0, 0]
    root = middle * middle - first * last
    if first <= 0 or root < 0:
        return -math.inf, math.inf
    ends = sorted((-middle + sign * math.sqrt(root)) / first for sign in (-1, 1))
    return float(ends[0]), float(ends[1])
