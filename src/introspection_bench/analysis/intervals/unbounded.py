"""What can be said of numbers without bounds, such as log-odds: of the median concept, and of a share of concepts.

No interval holds its level for the *mean* of every distribution without bounds, whatever the number of observations
(Bahadur and Savage 1956, "The nonexistence of certain statistical procedures in nonparametric problems", Annals of
Mathematical Statistics 27): a rare concept of any size, of which the data tell nothing, moves the mean anywhere. So no
interval of a mean is offered here. Medians and shares have exact ones for every distribution.

Source of the medians' intervals: Thompson 1936, "On confidence ranges for the median", Annals of Mathematical
Statistics 7. It is the sign test, inverted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from ...boundaries import checked
from ...errors import AnalysisError, explain
from ..binomial import Sided, check_probability, interval
from .values import FEWEST_CONCEPTS, Estimate, Floats, error_aside

#: More values than any run has concepts, or prompts of one.
MOST_VALUES = 5_000
CONCEPTS_ASSUME = (
    "concepts are independent draws from the kind that is meant, each read the same way; nothing is assumed of how "
    "their values are distributed"
)
PROMPTS_ASSUME = (
    "the prompts (and vectors) of each sample are independent draws from the kind that is meant; nothing is assumed of "
    "how their values are distributed, and nothing said of other concepts"
)


@checked(AnalysisError)
def median_of_unbounded(
    values: Sequence[float], *, quantity: str = "log-odds", confidence: float = 0.95, sided: Sided = "two"
) -> Estimate:
    """Return the median over concepts like these of a number without bounds, of which each concept has one.

    For paired arms give the concepts' differences. The interval ends at two of the values and holds the median at
    least as often as it says, whatever the distribution: askew, with heavy tails, with ties. Hence at least half of
    concepts like these have a value of ``low`` or more, and at least half one of ``high`` or less. It says nothing of
    the mean: a few concepts may lie anywhere.

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
    x = _finite("values", values)
    low, high = _median_between(x, confidence, sided)
    found = float(np.median(x))
    return Estimate(
        f"{quantity} of the median concept",
        "concepts like these",
        found,
        min(low, found),  # NaN stays where nothing is said
        max(high, found),
        confidence,
        sided,
        "order statistics of the concepts",
        CONCEPTS_ASSUME,
        _lacking(x.size, fewest_concepts(confidence, sided)) if math.isnan(low) else "",
    )


@checked(AnalysisError)
def share_of_unbounded(
    values: Sequence[float],
    above: float,
    *,
    quantity: str = "log-odds",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the share of concepts like these whose number lies above a threshold, which is stated before the data.

    Clopper and Pearson's interval of the count of concepts, which holds its level for every distribution. Where few
    concepts do what most don't, this says how few, and the median nothing.

    Args:
        values: one finite number for each concept.
        above: the threshold; a value equal to it does not count.
        quantity: what the number is, for the sentence.
        confidence: of the interval.
        sided: two-sided, or one bound.

    Returns:
        The share with its interval. Below :data:`FEWEST_CONCEPTS` concepts ``low`` and ``high`` are NaN and ``needs``
        says how many it takes.

    Raises:
        AnalysisError: no value, one that is not finite, or an argument out of range.
    """
    check_probability("confidence", confidence)
    x = _finite("values", values)
    (threshold,) = _finite("above", [above])
    found = interval(int((x > threshold).sum()), x.size, confidence=confidence, sided=sided)
    enough = x.size >= FEWEST_CONCEPTS
    return Estimate(
        f"share with {quantity} above {threshold:.3g}",
        "concepts like these",
        found.rate,
        found.low if enough else math.nan,
        found.high if enough else math.nan,
        confidence,
        sided,
        "Clopper-Pearson over concepts",
        CONCEPTS_ASSUME,
        "" if enough else _lacking(x.size, FEWEST_CONCEPTS),
    )


@checked(AnalysisError)
def difference_of_unbounded(
    first: Sequence[float],
    second: Sequence[float],
    *,
    quantity: str = "log-odds",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the first sample's median less the second's, of one concept's prompts and no pairing.

    Each median has the interval of its own order statistics at half of the error; the ends of the difference are those
    of the two. It holds its level, with room to spare, however the samples are distributed and however they differ in
    spread. Give one number for each prompt (and vector): a prompt read twice under the same steers is read once. Values
    of several concepts are not independent: give :func:`median_of_unbounded` the concepts' differences instead.

    Args:
        first: one finite number for each prompt.
        second: those of the other arm.
        quantity: what the number is, for the sentence.
        confidence: of the interval.
        sided: two-sided, or one bound.

    Returns:
        The difference with its interval; NaN and ``needs`` where a sample is too small for the level (7 in each at
        95 %, two-sided).

    Raises:
        AnalysisError: a sample is empty, a value is not finite, or an argument is out of range.
    """
    check_probability("confidence", confidence)
    a, b = _finite("first", first), _finite("second", second)
    each = 1 - (1 - confidence) / 2
    turned: dict[Sided, Sided] = {"two": "two", "upper": "lower", "lower": "upper"}
    mine, theirs = _median_between(a, each, sided), _median_between(b, each, turned[sided])
    low, high = mine[0] - theirs[1], mine[1] - theirs[0]
    found = float(np.median(a) - np.median(b))
    needs = ""
    if math.isnan(low):
        fewest = fewest_concepts(each, sided)
        needs = f"there are {a.size} and {b.size} different prompts (or vectors), and it takes {fewest} in each arm"
    return Estimate(
        f"{quantity}, a difference of medians over prompts",
        "these concepts",
        found,
        min(low, found),
        max(high, found),
        confidence,
        sided,
        "order statistics of each arm",
        PROMPTS_ASSUME,
        needs,
    )


@checked(AnalysisError)
def fewest_concepts(confidence: float, sided: Sided = "two") -> int:
    """Return the fewest values whose smallest and largest hold the median at a confidence: all lie on one side of it.

    Raises :class:`AnalysisError` for an argument out of range.
    """
    check_probability("confidence", confidence)
    smallest = min(error for error in error_aside(confidence, sided) if error)
    # An error a hair below a power of two by rounding (1 - 0.96875) is that power.
    return max(1, math.ceil(-math.log2(smallest) - 1e-9))


def _median_between(x: Floats, confidence: float, sided: Sided) -> tuple[float, float]:
    """Return the values that hold the median: both NaN where they are too few, no bound on a side without an error."""
    if x.size < fewest_concepts(confidence, sided):
        return math.nan, math.nan
    x = np.sort(x)
    below, above = (_place(x.size, error) for error in error_aside(confidence, sided))
    return float(x[below - 1]) if below else -math.inf, float(x[-above]) if above else math.inf


def _place(n: int, error: float) -> int:
    """Return the rank of the value beyond which the median lies with at most this probability; 0 for no bound."""
    # An error a hair below that of a rank by rounding is that rank's.
    return int(binom.ppf(min(1.0, error * (1 + 1e-9)), n, 0.5)) if error else 0


def _lacking(concepts: int, fewest: int) -> str:
    return f"there {'is 1 concept' if concepts == 1 else f'are {concepts} concepts'} and it takes {fewest}"


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
