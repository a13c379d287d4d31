"""Confidence distributions, and how several of them are melded into the interval of what depends on all of them.

Every interval of this package comes from a pair of distributions for one unknown: the *lower* one's quantiles are lower
bounds at every level, the *upper* one's upper bounds. For a binomial rate they are Clopper and Pearson's,
Beta(k, n - k + 1) and Beta(k + 1, n - k). For the mean of bounded observations they are Gaffke's: the mean that falls
out when the observations, and one more at the end of the range, get the random weights of a flat Dirichlet
distribution; of zeros and ones this is Clopper and Pearson's again, exactly.

A quantity that grows with one unknown and falls with another (a difference, d′, a rate corrected for a judge) gets its
upper bound from the upper distribution of the first and the lower one of the second, drawn independently (*melding*).

Sources: Clopper and Pearson 1934, Biometrika 26. Gaffke 2005, "Three test statistics for a nonparametric one-sided
hypothesis on the mean of a nonnegative variable", Mathematical Methods of Statistics 14, brought to confidence bounds
by Learned-Miller and Thomas 2020, "A new confidence interval for the mean of a bounded random variable"; that Gaffke's
bound holds its level for every distribution is proven in special cases only, and no counterexample is known. Fay,
Proschan and Brittain 2015, "Combining one-sample confidence procedures for inference in the two-sample case",
Biometrics 71.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import attrs
import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from scipy.special import betaincinv, expit
from scipy.stats import qmc

from ...errors import AnalysisError, explain
from .values import Floats

#: Quantiles kept of each distribution, at the midpoints of as many parts of 0 to 1, which get narrow towards its ends
#: (equal on the logit scale): the bounds are made in the tails. ``WEIGHTS`` are the parts' widths.
POINTS = 400
_EDGES = expit(np.linspace(-11, 11, POINTS + 1))
_EDGES = (_EDGES - _EDGES[0]) / (_EDGES[-1] - _EDGES[0])
LEVELS = (_EDGES[1:] + _EDGES[:-1]) / 2
WEIGHTS = np.diff(_EDGES)
#: The smallest error on one side that the kept quantiles resolve.
SMALLEST_ERROR = 1e-4
#: Points of the quasi-random net by which more than two distributions are melded, as a power of two.
NET = 14

# A contour integral along s + i·tau·sinh(u): the substitution makes the trapezoidal rule converge geometrically.
_NODES = np.linspace(0, 12, 201)
_WEIGHTS = np.where(_NODES == 0, 0.5, 1.0) * _NODES[1]


@attrs.frozen(eq=False)
class Confidence:
    """The lower and the upper confidence distribution of one unknown: quantiles at :data:`LEVELS`, ascending."""

    lower: Floats
    upper: Floats

    @property
    def opposite(self) -> Confidence:
        """The distributions of minus the unknown."""
        return Confidence(-self.upper[::-1], -self.lower[::-1])

    def scaled(self, factor: float, offset: float = 0.0) -> Confidence:
        """Return the distributions of ``factor`` (> 0) times the unknown plus ``offset``."""
        return Confidence(factor * self.lower + offset, factor * self.upper + offset)


def binomial_bounds(k: float, n: float, below: float, above: float) -> tuple[float, float]:
    """Return Clopper and Pearson's bounds with errors ``below`` and ``above``; counts needn't be whole."""
    low = 0.0 if k <= 0 or below == 0 else float(betaincinv(k, n - k + 1, below))
    high = 1.0 if k >= n or above == 0 else float(betaincinv(k + 1, n - k, 1 - above))
    return low, high


@lru_cache(maxsize=4096)
def binomial_confidence(k: float, n: float) -> Confidence:
    """Return the distributions of a binomial rate after ``k`` of ``n``; for ``n`` 0 they say nothing."""
    lower = np.zeros(POINTS) if k <= 0 else np.asarray(betaincinv(k, n - k + 1, LEVELS))
    upper = np.ones(POINTS) if k >= n else np.asarray(betaincinv(k + 1, n - k, LEVELS))
    for held in (lower, upper):
        held.setflags(write=False)  # it is shared by the cache
    return Confidence(lower, upper)


def mean_bounds(values: npt.ArrayLike, counts: npt.ArrayLike, below: float, above: float) -> tuple[float, float]:
    """Return Gaffke's bounds on the mean of observations in 0 to 1, each of ``values`` seen ``counts`` times."""
    x, m = np.asarray(values, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    high = 1.0 if above == 0 else _exceeded_with(x, m, above)
    low = 0.0 if below == 0 else 1 - _exceeded_with(1 - x, m, below)
    return low, high


def mean_confidence(values: npt.ArrayLike, counts: npt.ArrayLike) -> Confidence:
    """Return the distributions of the mean of observations in 0 to 1, each of ``values`` seen ``counts`` times."""
    x, m = np.asarray(values, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    return Confidence(1 - _upper_quantiles(1 - x, m)[::-1], _upper_quantiles(x, m))


def mean_exceeds(values: npt.ArrayLike, counts: npt.ArrayLike, mean: npt.ArrayLike) -> Floats:
    """Return the upper distribution's probability above ``mean``: a mean is excluded from above where it is small.

    ``values`` and ``counts`` of shape (..., distinct values), in 0 to 1; ``mean`` broadcasts to the leading shape.
    """
    x = np.asarray(values, dtype=np.float64)
    m = np.broadcast_to(np.asarray(counts, dtype=np.float64), x.shape)
    one = np.ones((*x.shape[:-1], 1))
    centred = np.concatenate([x, one], axis=-1) - np.asarray(mean, dtype=np.float64)[..., None]
    return weighted_sum_positive(centred, np.concatenate([m, one], axis=-1))


def weighted_sum_positive(y: Floats, shapes: Floats) -> Floats:
    """Return P(sum of G_j y_j > 0) of independent Gamma(shapes_j, 1) variables G_j, along the last axis.

    The inverse Laplace integral of the sum's moment generating function, taken through the saddle point and summed by
    the trapezoidal rule; accurate to about 1e-6 of the probability. The mean of ``y`` under random Dirichlet(shapes)
    weights is positive with this probability.
    """
    y = np.where(shapes > 0, y, 0.0)
    top, bottom = y.max(axis=-1), y.min(axis=-1)
    found = np.where(top <= 0, 0.0, 1.0)
    mixed = np.asarray((top > 1e-15) & (bottom < -1e-15))
    if not mixed.any():
        return np.asarray(found)
    y, shapes = y[mixed], shapes[mixed]
    low, high = np.zeros(len(y)), 1 / top[mixed]
    for _ in range(25):  # roughly: any point between the poles would do
        s = (low + high) / 2
        slope = (shapes * y / (1 - s[:, None] * y)).sum(axis=-1) - 1 / s
        low, high = np.where(slope < 0, s, low), np.where(slope < 0, high, s)
    s = (low + high) / 2
    tau = 1 / np.sqrt((shapes * (y / (1 - s[:, None] * y)) ** 2).sum(axis=-1) + 1 / s**2)
    path = s[:, None] + 1j * tau[:, None] * np.sinh(_NODES)
    exponent = np.zeros(path.shape, dtype=np.complex128)
    for j in np.flatnonzero((shapes > 0).any(axis=0)):
        exponent -= shapes[:, j, None] * np.log(1 - path * y[:, j, None])
    height = (np.exp(exponent) / path).real * tau[:, None] * np.cosh(_NODES)
    found[mixed] = np.clip(height @ _WEIGHTS / np.pi, 0, 1)
    return found


def _exceeded_with(x: Floats, m: Floats, chance: float) -> float:
    """Return the point that the upper distribution exceeds with the probability ``chance``."""
    if x.min() >= 1:
        return 1.0

    def excess(mean: float) -> float:
        return float(mean_exceeds(x, m, mean)) - chance

    return float(brentq(excess, x.min(), 1.0, xtol=1e-10))


def _upper_quantiles(x: Floats, m: Floats) -> Floats:
    """Return the upper distribution's quantiles at :data:`LEVELS`, interpolated between points of its function."""
    if x.min() >= 1:
        return np.ones(POINTS)
    low, high = float(x.min()), 1.0
    for points in (33, 33, 81):  # twice to find where the distribution lies, then to resolve it
        grid = np.linspace(low, high, points)
        found = 1 - mean_exceeds(np.broadcast_to(x, (points, x.size)), m, grid)
        low = float(grid[max(int((found > LEVELS[0] / 2).argmax()) - 1, 0)])
        high = float(grid[min(int((found >= 1 - LEVELS[0] / 2).argmax()), points - 1)])
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(found)) > 0])
    return np.asarray(np.clip(PchipInterpolator(found[rising], grid[rising])(LEVELS), grid[0], grid[-1]))


def meld(
    function: Callable[..., Floats],
    parts: Sequence[Confidence],
    rises: Sequence[bool],
    *,
    below: float,
    above: float,
) -> tuple[float, float]:
    """Return bounds on ``function`` of several unknowns, which rises or falls with each of them alone.

    Args:
        function: of as many arrays as there are parts, elementwise.
        parts: what is known of each unknown, from independent data.
        rises: whether the function rises with the unknown (else it falls).
        below: error below the interval; 0 leaves it open there.
        above: error above it.

    Returns:
        The bounds; infinite on a side that ``below`` or ``above`` leaves open.

    Raises:
        AnalysisError: an error above 0 and below :data:`SMALLEST_ERROR`.
    """
    if any(0 < error < SMALLEST_ERROR for error in (below, above)):
        raise AnalysisError(
            explain(
                "confidence",
                required=f"an error of at least {SMALLEST_ERROR} on each side, where several unknowns are melded",
                got=min(error for error in (below, above) if error),
                hint="Ask for less confidence, or for fewer cells at once.",
            )
        )
    lower = [p.lower if up else p.upper for p, up in zip(parts, rises, strict=True)]
    upper = [p.upper if up else p.lower for p, up in zip(parts, rises, strict=True)]
    low, high = -np.inf, np.inf
    if below:
        drawn, weights = spread(lower)
        low = float(quantiles(function(*drawn), weights, [below])[0])
    if above:
        drawn, weights = spread(upper)
        high = float(quantiles(function(*drawn), weights, [1 - above])[0])
    return low, high


def melded(function: Callable[..., Floats], parts: Sequence[Confidence], rises: Sequence[bool]) -> Confidence:
    """Return the melded distributions themselves, for the next melding."""
    lower = [p.lower if up else p.upper for p, up in zip(parts, rises, strict=True)]
    upper = [p.upper if up else p.lower for p, up in zip(parts, rises, strict=True)]
    found = []
    for side in (lower, upper):
        drawn, weights = spread(side)
        found.append(quantiles(function(*drawn), weights, LEVELS))
    return Confidence(*found)


def spread(kept: Sequence[Floats]) -> tuple[list[Floats], Floats]:
    """Return independent draws of all with their weights: every pair of two, else a fixed quasi-random net."""
    if len(kept) == 1:
        return [kept[0]], WEIGHTS
    if len(kept) == 2:
        return [np.repeat(kept[0], POINTS), np.tile(kept[1], POINTS)], _PAIRS
    net = _net(len(kept))
    return [np.interp(net[:, i], LEVELS, q) for i, q in enumerate(kept)], np.full(len(net), 1 / len(net))


_PAIRS = np.outer(WEIGHTS, WEIGHTS).ravel()


@lru_cache(maxsize=8)
def _net(dimensions: int) -> Floats:
    return np.asarray(qmc.Sobol(dimensions, rng=np.random.default_rng(0)).random_base2(NET))


def quantiles(values: Floats, weights: Floats, levels: npt.ArrayLike) -> Floats:
    """Return the values at levels of a weighted sample, infinite ones included."""
    order = np.argsort(values)
    # An element and not an interpolation: infinite values beside it would make it NaN.
    reached = np.cumsum(weights[order])
    places = np.minimum(np.searchsorted(reached, np.asarray(levels, dtype=np.float64)), values.size - 1)
    return np.asarray(values[order][places])
