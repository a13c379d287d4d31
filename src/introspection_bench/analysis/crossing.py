"""Where one outcome overtakes another as the dose grows: the model that a search is steered by.

Three logistic curves over the log dose. ``which`` is fitted to the trials that have exactly one of the two outcomes,
and says which: at its midpoint the two are equally frequent, whatever else becomes of them. That is conditional
logistic regression within trials, whose likelihood leaves out the trials with both or none. So it needs no rate that
rises to 1 or stays there: a model names a word that is injected strongly, and no longer under still more. Where two
independent outcomes follow logistic curves, ``which`` is one, too. ``falling`` is fitted to all trials and falls from a
ceiling of its own (a model's replies need not all be coherent without a dose), ``rising`` to those up to the dose at
which ``falling`` is nearly gone.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_expit, logit
from scipy.stats import chi2

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain

Floats = npt.NDArray[np.float64]
#: What each limit of the doses is taken to say before any trial, with the weight of one trial: that an outcome is as
#: rare there as this, or its contrary.
_RARE = 0.02
#: The ceilings that are tried, besides 1, for the outcome that falls.
_CEILINGS = (0.85, 0.7, 0.55, 0.4)
#: Up to which change of the deviance a curve is fitted.
_TOLERANCE = 1e-6
#: Beyond these log odds a fit has run away.
_FAR = 100.0
#: Where a crossing may lie, and how steep it may be, on the scale of the log dose from limit to limit.
_PLACES = np.linspace(-1.5, 1.5, 241)
_SLOPES = np.geomspace(0.25, 64, 25)
#: How near to 0 and 1 a fitted rate may come.
_LEAST = 1e-9
#: What counts as something: a rate of the rising outcome, and the part that the falling one has lost, or still has.
SOME = 0.1


@guarded(AnalysisError)
@attrs.frozen(eq=False)
class Curve:
    """P = ceiling · expit(a + b z) over z, the log dose, -1 at the lowest and 1 at the highest.

    ``line`` is (a, b), shape (2,), ``covariance`` theirs, shape (2, 2), the ceiling taken as given; ``likelihood`` the
    log of that of the trials.
    """

    line: Floats
    covariance: Floats
    ceiling: float = 1.0
    likelihood: float = math.nan

    @checked(AnalysisError)
    def rates(self, z: npt.ArrayLike) -> Floats:
        """Return the rates at some places, shape (n,)."""
        return np.asarray(self.ceiling * expit(_rows(z) @ self.line))

    @checked(AnalysisError)
    def reaches(self, rate: float) -> float:
        """Return the place at which the rate is this; NaN where it never is."""
        a, b = (float(v) for v in self.line)
        return (float(logit(rate / self.ceiling)) - a) / b if 0 < rate < self.ceiling and b else math.nan

    @checked(AnalysisError)
    def information(self, z: npt.ArrayLike) -> Floats:
        """Return the information on (a, b) that a trial at each of some places has, shape (n,)."""
        bare = expit(_rows(z) @ self.line)
        rate = self.ceiling * bare
        return np.asarray((rate * (1 - bare)) ** 2 / np.maximum(rate * (1 - rate), 1e-12))

    @checked(AnalysisError)
    def gains(self, z: npt.ArrayLike, target: float, information: npt.ArrayLike) -> Floats:
        """Return by how much a trial of this information at each place would lower the variance at a target.

        The variance is that of the log odds at the target, and so, up to a factor, that of the place of a given rate.
        Source: sequential locally c-optimal designs (Wynn 1970; Chaudhuri and Mykland 1993).
        """
        x, weights = _rows(z), np.asarray(information, np.float64)
        across = x @ self.covariance @ np.array([1.0, target])
        own = np.einsum("ij,jk,ik->i", x, self.covariance, x)
        return np.asarray(weights * across**2 / (1 + weights * own))

    @checked(AnalysisError)
    def spreads(self, z: npt.ArrayLike, information: npt.ArrayLike) -> Floats:
        """Return by how much such a trial at each place would raise the log determinant of what is known, shape (n,).

        Source: locally D-optimal designs (Wynn 1970): for a logistic curve the doses of about 18 and 82 %.
        """
        x, weights = _rows(z), np.asarray(information, np.float64)
        return np.asarray(np.log1p(weights * np.einsum("ij,jk,ik->i", x, self.covariance, x)))

    @checked(AnalysisError)
    def drawn(self, rng: np.random.Generator) -> Curve:
        """Return a curve drawn from what is known of this one."""
        return attrs.evolve(self, line=rng.multivariate_normal(self.line, self.covariance, method="eigh"))

    @checked(AnalysisError)
    def with_trial(self, z: float, information: float) -> Curve:
        """Return the curve as sure as a further trial at a place would make it, one of this information."""
        x = np.array([1.0, z])
        moved = self.covariance @ x
        gained = information * np.outer(moved, moved) / (1 + information * moved @ x)
        return attrs.evolve(self, covariance=self.covariance - gained)


@guarded(AnalysisError)
@attrs.frozen(eq=False)
class Crossing:
    """What is known of two outcomes over some doses, shape (doses,): ``magnitudes`` in one unit, above 0, rising.

    ``which``, ``falling`` and ``rising`` are the curves of this module; ``profile`` is the log likelihood of each place
    that the crossing may have, from far below the lowest dose to far above the highest, under its best slope.
    """

    magnitudes: Floats
    which: Curve
    falling: Curve
    rising: Curve
    profile: Floats

    @property
    def z(self) -> Floats:
        """Where the doses lie, from -1 to 1, shape (doses,)."""
        return _places(self.magnitudes, self.magnitudes)

    @property
    def place(self) -> float:
        """Where the outcomes are equally frequent, on the scale of :attr:`z`; NaN where the rising one never gains."""
        return self.which.reaches(0.5) if self.which.line[1] > 0 else math.nan

    @property
    def magnitude(self) -> float:
        """The dose of :attr:`place`; NaN beyond the doses' limits."""
        middle, half = _scale(self.magnitudes)
        return math.exp(middle + half * self.place) if -1 <= self.place <= 1 else math.nan

    @checked(AnalysisError)
    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the profile-likelihood interval of the crossing, as magnitudes; 0 and infinity where it has no end.

        Wald's and Fieller's end nowhere as soon as the trials separate the two outcomes by the dose, where the crossing
        is known best.
        """
        inside = np.flatnonzero(2 * (self.profile.max() - self.profile) <= chi2.ppf(confidence, 1))
        middle, half = _scale(self.magnitudes)
        first, last = int(inside[0]), int(inside[-1])
        low = 0.0 if first == 0 else math.exp(middle + half * _PLACES[first])
        return low, math.inf if last == len(_PLACES) - 1 else math.exp(middle + half * _PLACES[last])

    @property
    def height(self) -> float:
        """The rate of either outcome where they cross; NaN where they don't within the limits."""
        return math.nan if math.isnan(self.magnitude) else float(self.falling.rates([self.place])[0])

    @property
    def both(self) -> Floats:
        """The most that the rate of both outcomes together can be at each dose, shape (doses,)."""
        return np.asarray(np.minimum(self.falling.rates(self.z), self.rising.rates(self.z)))

    @property
    def onset(self) -> float:
        """The first dose at which something happens: 10 % of the rising outcome, or a tenth lost of the other."""
        return self._first((self.rising.rates(self.z) >= SOME) | (self._still <= 1 - SOME))

    @property
    def collapse(self) -> float:
        """The first dose at which the falling outcome is down to a tenth of its ceiling; else NaN."""
        return self._first(self._still <= SOME)

    @property
    def information(self) -> Floats:
        """The information on ``which`` that a trial at each dose has, shape (doses,)."""
        # Of the trials that have exactly one outcome, 1 - w have the falling one: they are no more than it allows.
        single = np.minimum(self.falling.rates(self.z) / np.maximum(1 - self.which.rates(self.z), 1e-12), 1.0)
        return np.asarray(self.which.information(self.z) * single)

    @property
    def gains(self) -> Floats:
        """By how much a trial at each dose would lower the variance of the crossing, shape (doses,), up to a factor."""
        return self.which.gains(self.z, _within(self.place), self.information)

    @property
    def spreads(self) -> Floats:
        """By how much a trial at each dose would tell both place and slope of the crossing, shape (doses,)."""
        return self.which.spreads(self.z, self.information)

    @property
    def gains_at_onset(self) -> Floats:
        """The same of the place at which the rising outcome begins."""
        return self.rising.gains(self.z, _within(self.rising.reaches(SOME)), self.rising.information(self.z))

    @property
    def gains_at_collapse(self) -> Floats:
        """The same of the place at which the falling outcome is gone."""
        target = self.falling.reaches(SOME * self.falling.ceiling)
        return self.falling.gains(self.z, _within(target), self.falling.information(self.z))

    @checked(AnalysisError)
    def with_trial(self, index: int) -> Crossing:
        """Return it with a crossing as sure as a further trial at a dose would make it."""
        return attrs.evolve(self, which=self.which.with_trial(float(self.z[index]), float(self.information[index])))

    @checked(AnalysisError)
    def drawn(self, rng: np.random.Generator) -> Crossing:
        """Return it with falling and rising curves drawn from what is known of these, for Thompson sampling."""
        return attrs.evolve(self, falling=self.falling.drawn(rng), rising=self.rising.drawn(rng))

    @property
    def _still(self) -> Floats:
        return self.falling.rates(self.z) / self.falling.ceiling

    def _first(self, at: npt.NDArray[np.bool_]) -> float:
        return float(self.magnitudes[int(np.argmax(at))]) if at.any() else math.nan


@checked(AnalysisError)
def fit_crossing(
    doses: npt.ArrayLike, magnitudes: npt.ArrayLike, rises: npt.ArrayLike, falls: npt.ArrayLike
) -> Crossing:
    """Fit where one outcome overtakes another to single trials.

    Few trials separate outcomes by the dose, and then no likelihood has a maximum. So each limit of the doses counts as
    one trial more that says what limits are for: at the lowest dose the falling outcome is there and the rising one is
    not, at the highest the reverse, 0.9 to 0.1 (a prior by data augmentation: Clogg and others 1991; Greenland 2007).
    An estimate then exists for any trials, none included.

    Args:
        doses: magnitudes that can be asked, shape (doses,), above 0, rising.
        magnitudes: those of the trials, shape (trials,), above 0.
        rises: which trials have the outcome that rises with the dose, shape (trials,), 0 or 1.
        falls: which have the one that falls.

    Raises:
        AnalysisError: doses that are fewer than two or don't rise from above 0, arrays of several lengths, and
            magnitudes that aren't above 0.

    Source: ``statsmodels`` GLM, binomial family, logit link; the profile likelihood on a grid of places and slopes.
    """
    grid, x = _positive("doses", doses), _positive("magnitudes", magnitudes)
    if len(grid) < 2 or (np.diff(grid) <= 0).any():
        raise AnalysisError(explain("doses", required="two at least, rising", got=grid.tolist(), hint=""))
    up, down = _outcomes("rises", rises, len(x)), _outcomes("falls", falls, len(x))
    z, one = _places(x, grid), up != down
    falling = _fit_below_a_ceiling(z, down)
    gone = falling.reaches(SOME * falling.ceiling)
    there = z <= (gone if falling.line[1] < 0 else math.inf)
    which = _counted(z[one], up[one], at_lowest=_RARE)
    rising = _fit(_counted(z[there], up[there], at_lowest=_RARE))
    return Crossing(grid, _fit(which), falling, rising, _profiled(which))


@attrs.frozen(eq=False)
class _Counts:
    """Successes and failures by place, those that the limits count as behind them."""

    z: Floats
    hits: Floats
    misses: Floats


def _counted(z: Floats, y: npt.NDArray[np.bool_], *, at_lowest: float) -> _Counts:
    levels, place = np.unique(z, return_inverse=True)
    hits = np.bincount(place, weights=y, minlength=len(levels))
    misses = np.bincount(place, minlength=len(levels)) - hits
    own = [at_lowest, 1 - at_lowest]
    return _Counts(
        np.concatenate([levels, [-1.0, 1.0]]), np.concatenate([hits, own]), np.concatenate([misses, own[::-1]])
    )


def _profiled(counts: _Counts) -> Floats:
    line = _SLOPES[None, :, None] * (counts.z[None, None, :] - _PLACES[:, None, None])
    return np.asarray((log_expit(line) @ counts.hits + log_expit(-line) @ counts.misses).max(axis=1))


def _fit_below_a_ceiling(z: Floats, y: npt.NDArray[np.bool_]) -> Curve:
    """Return the curve of the most likely ceiling, as psychometric curves have one (Wichmann and Hill 2001)."""
    counts = _counted(z, y, at_lowest=1 - _RARE)
    bare = _fit(counts)
    found = [_fit(counts, ceiling=c, near=bare.line) for c in _CEILINGS]
    # Below a rate that is seen at a limit the likelihood of a ceiling has no maximum: the fit runs away.
    return max([bare, *(c for c in found if np.abs(c.line).max() < _FAR)], key=lambda curve: curve.likelihood)


def _fit(counts: _Counts, *, ceiling: float = 1.0, near: Floats | None = None) -> Curve:
    import statsmodels.api as sm

    # Successes and failures as rows of their own: rates at two doses alone would be taken for separation.
    weights = np.concatenate([counts.hits, counts.misses])
    there, success = weights > 0, np.repeat([1.0, 0.0], len(counts.z))
    rows = _rows(np.concatenate([counts.z, counts.z]))
    family = sm.families.Binomial(_below(ceiling))
    fit = sm.GLM(success[there], rows[there], family=family, freq_weights=weights[there]).fit(near, tol=_TOLERANCE)
    return Curve(np.asarray(fit.params), np.asarray(fit.cov_params()), ceiling, float(fit.llf))


@functools.cache
def _below(ceiling: float) -> Any:
    """Return the link of a logistic curve that rises to a ceiling."""
    from statsmodels.genmod.families.links import Logit

    class Below(Logit):  # type: ignore[misc]  # statsmodels has no types
        def __call__(self, p: Floats) -> Floats:
            return np.asarray(logit(np.clip(p / ceiling, _LEAST, 1 - _LEAST)))

        def inverse(self, z: Floats) -> Floats:
            return np.asarray(ceiling * np.clip(expit(z), _LEAST, 1 - _LEAST))

        def deriv(self, p: Floats) -> Floats:
            share = np.clip(p / ceiling, _LEAST, 1 - _LEAST)
            return np.asarray(1 / (ceiling * share * (1 - share)))

    return Logit() if ceiling == 1 else Below()


def _outcomes(name: str, values: npt.ArrayLike, count: int) -> npt.NDArray[np.bool_]:
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array(math.nan)
    if found.shape != (count,) or not np.isin(found, (0, 1)).all():
        raise AnalysisError(
            explain(name, required=f"{count} values 0 or 1, one for each magnitude", got=type(values).__name__, hint="")
        )
    return np.asarray(found == 1)


def _rows(z: npt.ArrayLike) -> Floats:
    at = np.asarray(z, np.float64)
    return np.column_stack([np.ones_like(at), at])


def _scale(grid: Floats) -> tuple[float, float]:
    low, high = math.log(grid[0]), math.log(grid[-1])
    return (low + high) / 2, (high - low) / 2


def _places(magnitudes: Floats, grid: Floats) -> Floats:
    middle, half = _scale(grid)
    return np.asarray((np.log(magnitudes) - middle) / half)


def _within(place: float) -> float:
    return 0.0 if math.isnan(place) else min(max(place, -1.0), 1.0)


def _positive(name: str, values: npt.ArrayLike) -> Floats:
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array(math.nan)
    if found.ndim != 1 or not (np.isfinite(found) & (found > 0)).all():
        got = type(values).__name__
        raise AnalysisError(explain(name, required="a list of finite numbers above 0", got=got, hint=""))
    return found
