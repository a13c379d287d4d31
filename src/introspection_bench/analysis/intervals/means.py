"""A mean rate over concepts, under the two estimands: these concepts, and concepts like these."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from ...boundaries import checked
from ...errors import AnalysisError
from ..binomial import Sided, check_probability
from .confidence import Confidence, binomial_bounds, binomial_confidence, mean_bounds, mean_confidence
from .values import FEWEST_CONCEPTS, ConceptCounts, Estimand, Estimate, Floats, error_aside

#: Up to so many successes the mean of rates of unequal trials is bounded by the most that it can be (:func:`_upper`).
FEW = 5
#: How far, at most, the mean of rates can lie above the pooled rate where trials are nearly as many in each concept.
NEAR = 0.02
FIXED_ASSUMES = "trials are independent; nothing is assumed of how concepts differ, and nothing said of others"
RANDOM_ASSUMES = (
    "concepts are independent draws from the kind that is meant, and trials are independent within them; nothing is "
    "assumed of how concepts vary"
)


@checked(AnalysisError)
def these_concepts(counts: ConceptCounts, *, confidence: float = 0.95, sided: Sided = "two") -> Estimate:
    """Return the mean rate of these very concepts; only the trials could have come out otherwise.

    With as many trials in each concept this is Clopper and Pearson's interval of the pooled count. It holds however the
    concepts differ: a sum of independent trials of unequal rates has lighter tails than one of equal rates (Hoeffding
    1956, Annals of Mathematical Statistics 27). With unequal trials the mean of the concepts' rates is bounded by way
    of the pooled count: at few successes (for the upper bound; failures for the lower one) by the most that it can be
    under the pooled bound, above by the same interval at the effective number of trials.

    Raises :class:`AnalysisError` for an argument out of range.
    """
    check_probability("confidence", confidence)
    below, above = error_aside(confidence, sided)
    low = 1 - _bound(counts.failures, below) if below else 0.0
    high = _bound(counts, above) if above else 1.0
    method = "Clopper-Pearson" if counts.balanced else "Clopper-Pearson, for trials that differ between concepts"
    # Rounding may leave a bound a hair on the wrong side of the mean at counts of none and all.
    return Estimate(
        "rate",
        "these concepts",
        counts.rate,
        min(low, counts.rate),
        max(high, counts.rate),
        confidence,
        sided,
        method,
        FIXED_ASSUMES,
    )


@checked(AnalysisError)
def like_these(counts: ConceptCounts, *, confidence: float = 0.95, sided: Sided = "two") -> Estimate:
    """Return the mean rate over concepts like these, the concept being the unit of sampling.

    Gaffke's bounds for the mean of the concepts' observed rates: no distribution over concepts is assumed, so the level
    holds where concepts are all alike, where they differ widely, and where a rare concept does what no other does. The
    price is that the interval never gets narrower than the concepts allow: without a success on ``c`` concepts its
    upper bound is Clopper and Pearson's for 0 of ``c``.

    Below :data:`FEWEST_CONCEPTS` concepts ``low`` and ``high`` are NaN, and ``needs`` says what it would take.

    Raises :class:`AnalysisError` for an argument out of range.
    """
    check_probability("confidence", confidence)
    below, above = error_aside(confidence, sided)
    enough = counts.concepts >= FEWEST_CONCEPTS
    low, high = mean_bounds(*np.unique(counts.rates, return_counts=True), below, above) if enough else (math.nan,) * 2
    return Estimate(
        "rate",
        "concepts like these",
        counts.rate,
        min(low, counts.rate) if enough else low,
        max(high, counts.rate) if enough else high,
        confidence,
        sided,
        "Gaffke's bound over concepts",
        RANDOM_ASSUMES,
        "" if enough else concepts_needed(counts.concepts, confidence, sided),
    )


def too_few(
    arms: Iterable[ConceptCounts],
    estimand: Estimand,
    confidence: float,
    sided: Sided,
    *,
    paired: ConceptCounts | None = None,
) -> str:
    """Return what it would take to say anything over concepts like these; empty where that can be said, or isn't asked.

    An arm of one entry has no concepts, but the one that is ``paired`` with another's.
    """
    several = [arm.concepts for arm in arms if arm.concepts > 1]
    fewest = min([*several, *([] if paired is None else [paired.concepts])], default=1)
    asked = estimand == "concepts like these" and fewest < FEWEST_CONCEPTS
    return concepts_needed(fewest, confidence, sided) if asked else ""


def concepts_needed(concepts: int, confidence: float, sided: Sided) -> str:
    """Return in words how many concepts would be needed, and what so many can say at best."""
    error = max(error_aside(confidence, sided))
    ten = math.ceil(math.log(error) / math.log(0.9))
    return (
        f"there {'is 1 concept' if concepts == 1 else f'are {concepts} concepts'} and it takes {FEWEST_CONCEPTS}; with "
        f"{FEWEST_CONCEPTS} a clean null excludes mean rates above {(1 - error ** (1 / FEWEST_CONCEPTS)) * 100:.0f} %, "
        f"with {ten} above 10 %"
    )


def _bound(counts: ConceptCounts, error: float) -> float:
    """Return the upper bound on the mean of the rates that leaves an error above."""
    return float(_upper(counts, lambda k, n: np.asarray(binomial_bounds(k, n, 0, error)[1])))


def _upper(counts: ConceptCounts, tails: Callable[[float, float], Floats]) -> Floats:
    """Return upper bounds on the mean of the rates; ``tails`` gives Clopper and Pearson's of a count and trials.

    The pooled rate, in which concepts weigh as their trials do, has Clopper and Pearson's bound. Where concepts have
    nearly as many trials (:data:`NEAR`), and else at few successes, up to :data:`FEW`, the mean of the rates is bounded
    by what it can be at most under that: all of the pooled successes lying with the concepts of fewest trials.
    Otherwise, where this is far from what was seen, by Clopper and Pearson's bound at the effective number of trials,
    with Laplace's rates; never below what :data:`FEW` successes would give, so that the bound grows with the successes
    and each part keeps its level where it is used.
    """
    trials, seen = sum(counts.trials), sum(counts.successes)
    share = np.concatenate([[0.0], np.cumsum(np.sort(counts.trials)) / trials])
    filled = np.arange(counts.concepts + 1) / counts.concepts

    def most(successes: int) -> Floats:
        return np.asarray(np.interp(tails(successes, trials), share, filled))

    if seen <= FEW or np.max(filled - share) <= NEAR:
        return most(seen)
    return np.maximum(tails(*_effective(counts)), most(FEW))


def _effective(counts: ConceptCounts) -> tuple[float, float]:
    """Return the count and number of trials that a binomial count as variable as the mean of the rates would have."""
    n = np.asarray(counts.trials, dtype=np.float64)
    # Laplace's rates, since a concept that showed none, or nothing else, may well vary.
    p = (np.asarray(counts.successes) + 1) / (n + 2)
    heaviest = 1 / (counts.concepts * n.min())  # what one success can add at most to the mean of the rates
    variance = float((p * (1 - p) / n).sum()) / counts.concepts**2 + heaviest**2
    mean = min(counts.rate + heaviest, 1.0)
    trials = min(max(mean * (1 - mean) / variance, 1.0), float(n.sum()))
    return counts.rate * trials, trials


def confidence_of(counts: ConceptCounts, estimand: Estimand) -> Confidence:
    """Return the confidence distributions of the mean rate under an estimand.

    An arm with one entry has no concepts that could vary (controls): its rate is binomial under both.
    """
    if estimand == "concepts like these" and counts.concepts > 1:
        return mean_confidence(*np.unique(counts.rates, return_counts=True))

    def tails(k: float, n: float) -> Floats:
        return binomial_confidence(k, n).upper

    return Confidence(1 - _upper(counts.failures, tails)[::-1], _upper(counts, tails))
