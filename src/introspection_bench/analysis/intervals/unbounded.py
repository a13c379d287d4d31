"""Numbers without bounds, such as log-odds: the median concept, and the trials of one concept.

No interval holds its level for the mean of every distribution without bounds, at any number of observations (Bahadur
and Savage 1956, Annals of Mathematical Statistics 27): where one concept in ten has a large effect and the others none,
a sample that lacks it tells nothing of it. So over concepts the median is bounded, for which order statistics hold the
level whatever the distribution; and two samples of one concept's trials by exchanging them, exact where they differ by
a mere shift.

Sources: Thompson 1936, Annals of Mathematical Statistics 7, for order statistics; Fisher's exchange of two samples,
inverted by its critical shifts, for trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from ...boundaries import checked
from ...errors import AnalysisError, explain
from ..binomial import Sided, check_probability
from .values import Estimate, Floats, error_aside

#: Up to so many ways all are gone through; of more, so many are drawn from a fixed seed, which keeps the level.
MOST_WAYS = 20_000
#: More values than any run has concepts, or trials of one; each way takes as much room.
MOST_VALUES = 5_000
ORDER_ASSUMES = "concepts are independent draws from the kind that is meant"
SHIFT_ASSUMES = "trials are independent, and the two samples differ by a shift alone; nothing is said of other concepts"


@checked(AnalysisError)
def median_of_unbounded(
    values: Sequence[float], *, quantity: str = "log-odds", confidence: float = 0.95, sided: Sided = "two"
) -> Estimate:
    """Return the median over concepts like these of a number without bounds, of which each concept has one.

    For paired arms give the concepts' differences. The interval's ends are concepts' own values, by the sign test: it
    holds its level for the median of any distribution, askew or not. It says nothing of the mean: an effect in fewer
    than half of the concepts leaves the median where it is.

    Args:
        values: one finite number for each concept.
        quantity: what the number is, for the sentence.
        confidence: of the interval.
        sided: two-sided, or one bound.

    Returns:
        The median with its interval. With fewer concepts than can reach the level (6 at 95 %, two-sided) ``low`` and
        ``high`` are NaN and ``needs`` says how many it takes.

    Raises:
        AnalysisError: no value, one that is not finite, or an argument out of range.
    """
    check_probability("confidence", confidence)
    x = np.sort(_finite("values", values))
    fewest = fewest_concepts(confidence, sided)
    needs = ""
    low = high = math.nan
    if x.size < fewest:
        needs = f"there {'is 1 concept' if x.size == 1 else f'are {x.size} concepts'} and it takes {fewest}"
    else:
        below, above = (_place(x.size, error) for error in error_aside(confidence, sided))
        low = float(x[below - 1]) if below else -math.inf
        high = float(x[-above]) if above else math.inf
    return Estimate(
        f"{quantity} of the median concept",
        "concepts like these",
        float(np.median(x)),
        low,
        high,
        confidence,
        sided,
        "order statistics",
        ORDER_ASSUMES,
        needs,
    )


def _place(n: int, error: float) -> int:
    """Return the rank of the value beyond which the median lies with at most this probability; 0 for no bound."""
    # An error a hair below that of a rank by rounding is that rank's.
    return int(binom.ppf(error * (1 + 1e-9), n, 0.5)) if error else 0


@checked(AnalysisError)
def difference_of_unbounded(
    first: Sequence[float],
    second: Sequence[float],
    *,
    quantity: str = "log-odds",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the first sample's mean less the second's, of one concept's trials and no pairing.

    The interval holds the shifts for which exchanging trials between the samples is not significant: exact at any
    numbers of trials where the two differ by a shift alone. Trials of several concepts are not independent: give
    :func:`median_of_unbounded` the concepts' differences instead.

    Args:
        first: one finite number for each trial.
        second: those of the other arm.
        quantity: what the number is, for the sentence.
        confidence: of the interval.
        sided: two-sided, or one bound.

    Returns:
        The difference with its interval; NaN and ``needs`` where the ways to exchange the trials are too few for the
        level (4 against 4 trials are the fewest at 95 %, two-sided).

    Raises:
        AnalysisError: a sample is empty, a value is not finite, or an argument is out of range.
    """
    check_probability("confidence", confidence)
    a, b = _finite("first", first), _finite("second", second)
    below, above = error_aside(confidence, sided)
    ways = math.comb(a.size + b.size, a.size)
    needs = ""
    low = high = math.nan
    if 1 / ways > min(error for error in (below, above) if error):
        needs = f"{a.size} and {b.size} trials can be exchanged in {ways} ways only, too few for this confidence"
    else:
        low, high = _between(_shifts(a, b), below, above)
    found = float(a.mean() - b.mean())
    low, high = min(low, found), max(high, found)
    return Estimate(
        f"{quantity}, a difference",
        "these concepts",
        found,
        low,
        high,
        confidence,
        sided,
        "trials exchanged between the two arms",
        SHIFT_ASSUMES,
        needs,
    )


@checked(AnalysisError)
def fewest_concepts(confidence: float, sided: Sided = "two") -> int:
    """Return the fewest concepts with which :func:`median_of_unbounded` reaches a confidence.

    All of n lie on one side of the median with probability 2**-n. Raises :class:`AnalysisError` for an argument out of
    range.
    """
    check_probability("confidence", confidence)
    smallest = min(error for error in error_aside(confidence, sided) if error)
    # An error a hair below a power of two by rounding (1 - 0.96875) is that power.
    return max(1, math.ceil(-math.log2(smallest) - 1e-9))


def _finite(name: str, values: Sequence[float]) -> Floats:
    x = np.asarray(list(values)[: MOST_VALUES + 1], dtype=np.float64)
    if x.ndim == 1 and x.size > MOST_VALUES:
        raise AnalysisError(
            explain(name, required=f"at most {MOST_VALUES:,} values", got="more", hint="Give each concept's mean.")
        )
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise AnalysisError(
            explain(
                name,
                required="finite numbers, and at least one",
                got=[v for v in x.ravel().tolist() if not math.isfinite(v)][:3] or "none",
                hint="Leave out what has no reading.",
            )
        )
    return x


def _between(critical: Floats, below: float, above: float) -> tuple[float, float]:
    """Return the interval that the critical values, each as likely to lie below the truth, leave at these errors.

    With ``m`` of them the truth falls into each of the ``m + 1`` gaps with equal probability.
    """
    places = np.sort(critical)
    gaps = places.size + 1
    low, high = -math.inf, math.inf
    if below:
        low = float(places[_gaps_within(below, gaps) - 1])
    if above:
        high = float(places[-_gaps_within(above, gaps)])
    return low, high


def _gaps_within(error: float, gaps: int) -> int:
    return max(1, math.floor(error * gaps + 1e-9))


def _shifts(a: Floats, b: Floats) -> Floats:
    """Return for each way to exchange as many of ``a`` for some of ``b`` the shift at which it changes nothing."""
    chosen = _exchanged(a.size, b.size)
    left, came = 1 - chosen[:, : a.size], chosen[:, a.size :]
    many = came.sum(axis=1)
    moved = many > 0  # the way that exchanges nothing says nothing of a shift
    return np.asarray((left[moved] @ a - came[moved] @ b) / many[moved])


@lru_cache(maxsize=2)
def _exchanged(n: int, others: int) -> npt.NDArray[np.floating]:
    """Return which ``n`` of both samples' trials make up the first, shape (ways, n + others)."""
    both, ways = n + others, math.comb(n + others, n)
    if ways - 1 <= MOST_WAYS:
        chosen = np.zeros((ways, both))
        for row, places in enumerate(combinations(range(both), n)):
            chosen[row, list(places)] = 1
        return chosen
    rng = np.random.default_rng(0)
    drawn = np.zeros((MOST_WAYS - 1, both), dtype=np.float32)
    for way in range(len(drawn)):
        drawn[way, rng.permutation(both)[:n]] = 1
    return drawn
