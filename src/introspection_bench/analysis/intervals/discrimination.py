"""d′, A′ and the area under the curve from hits and false alarms, with bounds that hold at rates of 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from ...boundaries import checked
from ...errors import AnalysisError
from ..binomial import Sided, check_probability
from .confidence import Confidence, meld
from .means import FIXED_ASSUMES, RANDOM_ASSUMES, confidence_of, too_few
from .values import ConceptCounts, Estimand, Estimate, Floats, error_aside

Measure = Literal["d′", "A′", "AUC"]


def d_prime_of(hit: Floats, alarm: Floats) -> Floats:
    """Return z(hit) - z(alarm); infinite where a rate is 0 or 1, NaN where both are 0 or both 1."""
    with np.errstate(invalid="ignore"):
        return np.asarray(ndtri(hit) - ndtri(alarm))


def auc_of(hit: Floats, alarm: Floats) -> Floats:
    """Return the area under the curve of the equal-variance normal model, Phi(d′ / √2)."""
    return np.asarray(ndtr(d_prime_of(hit, alarm) / math.sqrt(2)))


def a_prime_of(hit: Floats, alarm: Floats) -> Floats:
    """Return A′; 1/2 where the two rates are equal.

    Source: Pollack and Norman 1964, Psychonomic Science 1; below chance as Aaronson and Watts 1987, Psychological
    Bulletin 102.
    """
    more, less = np.maximum(hit, alarm), np.minimum(hit, alarm)
    spread = more - less
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(spread > 0, spread * (1 + spread) / (4 * more * (1 - less)), 0.0)
    return np.asarray(0.5 + np.sign(hit - alarm) * above)


_OF: dict[str, Callable[[Floats, Floats], Floats]] = {"d′": d_prime_of, "A′": a_prime_of, "AUC": auc_of}


@checked(AnalysisError)
def discrimination(
    signal: ConceptCounts,
    noise: ConceptCounts,
    *,
    measure: Measure = "d′",
    estimand: Estimand = "these concepts",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return how well signal trials are told from noise trials.

    Args:
        signal: hits among the injected trials, an entry for each concept.
        noise: false alarms among the controls; one entry where controls have no concept.
        measure: ``d′``, ``A′``, or ``AUC``, the area under the curve of the equal-variance normal model.
        estimand: whether the concepts are fixed or could have been others.
        confidence: of the interval.
        sided: two-sided, or one bound.

    Returns:
        The estimate: the interval is melded from the exact bounds of both rates, all three measures growing with the
        hit rate and falling with the false-alarm rate. Where every signal trial is a hit or no noise trial a false
        alarm, d′ has no upper bound (``high`` is infinite); with no hit, or nothing but false alarms, it has no lower
        one: the interval is then one-sided, and says so.

        ``estimate`` is computed from (k + s) / (n + 2 s), s being the arm's share of all trials. With arms of one size
        that is the log-linear correction (k + 0.5) / (n + 1) of Hautus 1995, Behavior Research Methods 27; with unequal
        arms it gives 0 for equal proportions, which 0.5 in both does not. At rates near 0 and 1 it is pulled towards 0
        by as much as the trials are few: read the interval.

    Raises:
        AnalysisError: an argument is out of range.
    """
    check_probability("confidence", confidence)
    random = estimand == "concepts like these"
    needs = too_few((signal, noise), estimand, confidence, sided)
    found = float(_OF[measure](*(np.asarray(r) for r in smoothed(signal, noise))))
    low = high = math.nan
    if not needs:
        parts = (confidence_of(signal, estimand), confidence_of(noise, estimand))
        low, high = bounds_of(measure, parts, error_aside(confidence, sided))
        low, high = min(low, found), max(high, found)
    return Estimate(
        measure,
        estimand,
        found,
        low,
        high,
        confidence,
        sided,
        "melded Gaffke bounds over concepts" if random else "melded Clopper-Pearson bounds",
        RANDOM_ASSUMES if random else FIXED_ASSUMES,
        needs,
    )


@checked(AnalysisError)
def d_prime_difference(
    first: tuple[ConceptCounts, ConceptCounts],
    second: tuple[ConceptCounts, ConceptCounts],
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the d′ of the first signal and noise less that of the second, on these concepts.

    The interval is melded from the exact bounds of the four rates, which must be of different trials: where both have
    the same noise it cancels, and :func:`discrimination` of the two signals is their difference. Of concepts like these
    nothing is said: arms on the same concepts are not independent there.

    Args:
        first: hits and false alarms.
        second: those of the other question.
        confidence: of the interval, infinite on a side where rates of 0 or 1 leave it open.
        sided: two-sided, or one bound.

    Raises:
        AnalysisError: an argument is out of range.
    """
    check_probability("confidence", confidence)
    rates = [r for pair in (first, second) for r in smoothed(*pair)]
    a, b, c, d = (ndtri(rate) for rate in rates)
    found = float(a - b - c + d)
    parts = [confidence_of(arm, "these concepts") for arm in (*first, *second)]

    def bound(end: float, below: float, above: float) -> tuple[float, float]:
        def of(*drawn: Floats) -> Floats:
            a, b, c, d = map(ndtri, drawn)
            with np.errstate(invalid="ignore"):
                value = a - b - c + d
            return np.where(np.isnan(value), end, value)

        return meld(of, parts, (True, False, False, True), below=below, above=above)

    below, above = error_aside(confidence, sided)
    low = bound(-math.inf, below, 0.0)[0]
    high = bound(math.inf, 0.0, above)[1]
    return Estimate(
        "d′, a difference",
        "these concepts",
        found,
        min(low, found),
        max(high, found),
        confidence,
        sided,
        "melded Clopper-Pearson bounds of four arms",
        FIXED_ASSUMES,
    )


def bounds_of(
    measure: Measure, parts: tuple[Confidence, Confidence], error: tuple[float, float]
) -> tuple[float, float]:
    """Return the bounds of a measure from the confidence distributions of hit and false-alarm rate."""
    ends = (-math.inf, math.inf) if measure == "d′" else (0.0, 1.0)

    def bound(end: float, below: float, above: float) -> tuple[float, float]:
        def of(hit: Floats, alarm: Floats) -> Floats:
            found = _OF[measure](hit, alarm)
            return np.where(np.isnan(found), end, found)  # rates that are both 0, or both 1, tell nothing

        return meld(of, parts, (True, False), below=below, above=above)

    return max(bound(ends[0], error[0], 0.0)[0], ends[0]), min(bound(ends[1], 0.0, error[1])[1], ends[1])


def smoothed(signal: ConceptCounts, noise: ConceptCounts) -> tuple[float, float]:
    """Return the two mean rates, each pulled off 0 and 1 by the arm's share of one trial."""
    total = sum(signal.trials) + sum(noise.trials)
    # (k + n/N) / (n + 2n/N) = (k/n + 1/N) / (1 + 2/N): the same pull for arms of any size.
    hit, alarm = ((arm.rate + 1 / total) / (1 + 2 / total) for arm in (signal, noise))
    return hit, alarm
