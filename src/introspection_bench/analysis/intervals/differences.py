"""Differences of rates between two arms, under the two estimands."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ...boundaries import checked
from ...errors import AnalysisError, explain
from ..binomial import Sided, check_probability
from .confidence import mean_bounds, mean_confidence, meld
from .means import FIXED_ASSUMES, RANDOM_ASSUMES, confidence_of, too_few
from .values import ConceptCounts, Estimand, Estimate, Floats, error_aside


@checked(AnalysisError)
def difference(
    first: ConceptCounts,
    second: ConceptCounts,
    *,
    estimand: Estimand,
    paired: bool = False,
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the first arm's mean rate less the second's.

    Args:
        first: counts of one arm.
        second: counts of the other; controls without a concept have one entry.
        estimand: whether the concepts are fixed or could have been others.
        paired: entry by entry both arms are about the same concept. Then concepts like these are bounded by the
            differences within concepts, which is narrower where concepts differ more than arms do; these concepts are
            bounded as before, their trials being independent either way.
        confidence: of the interval.
        sided: two-sided, or all of the error above (``upper``) or below (``lower``).

    Returns:
        The difference, -1 to 1. One stratum an arm: melded Clopper-Pearson bounds, which agree with Fisher's exact test
        at a difference of zero. Concepts like these: melded Gaffke bounds, or Gaffke's bound on the paired differences;
        "can't be said" where an arm that has concepts has fewer than :data:`FEWEST_CONCEPTS`.

    Raises:
        AnalysisError: ``paired`` with other numbers of concepts, or an argument out of range.
    """
    check_probability("confidence", confidence)
    if paired:
        _check_paired(first, second)
    below, above = error_aside(confidence, sided)
    random = estimand == "concepts like these"
    needs = too_few((first, second), estimand, confidence, sided, paired=first if paired else None)
    method = "melded Clopper-Pearson bounds"
    if needs:
        low = high = math.nan
    elif random and paired:
        method = "Gaffke's bound on the differences within concepts"
        low, high = (2 * b - 1 for b in mean_bounds(*_within(first, second), below, above))
    else:
        method = "melded Gaffke bounds over concepts" if random else method
        low, high = meld(
            np.subtract,
            (confidence_of(first, estimand), confidence_of(second, estimand)),
            (True, False),
            below=below,
            above=above,
        )
    found = first.rate - second.rate
    if not needs:
        low, high = max(min(low, found), -1.0), min(max(high, found), 1.0)
    return Estimate(
        "difference of rates",
        estimand,
        found,
        low,
        high,
        confidence,
        sided,
        method,
        RANDOM_ASSUMES if random else FIXED_ASSUMES,
        needs,
    )


@checked(AnalysisError)
def difference_in_differences(
    first: tuple[ConceptCounts, ConceptCounts],
    second: tuple[ConceptCounts, ConceptCounts],
    *,
    estimand: Estimand,
    paired: bool = False,
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return how much more the first pair of arms differs than the second: (a - b) - (c - d), -2 to 2.

    Args:
        first: counts of an arm and of what it rises from: injected trials and controls.
        second: the same of another question: a battery under the injection, and without.
        estimand: whether the concepts are fixed or could have been others.
        paired: entry by entry the two arms a and c are about the same concept; over concepts like these their
            differences within concepts are then bounded, and melded with the other two arms.
        confidence: of the interval.
        sided: as :func:`difference`.

    Returns:
        The difference, its interval melded from those of the four arms: Clopper and Pearson's on these concepts,
        Gaffke's over concepts like these, and "can't be said" where an arm that has concepts has too few.

    Raises:
        AnalysisError: as :func:`difference`.
    """
    check_probability("confidence", confidence)
    (a, b), (c, d) = first, second
    if paired:
        _check_paired(a, c)
    below, above = error_aside(confidence, sided)
    random = estimand == "concepts like these"
    needs = too_few((a, b, c, d), estimand, confidence, sided, paired=a if paired else None)
    found = a.rate - b.rate - c.rate + d.rate
    if needs:
        low = high = math.nan
    elif random and paired:
        within = mean_confidence(*_within(a, c)).scaled(2, -1)
        parts = (within, confidence_of(b, estimand), confidence_of(d, estimand))
        low, high = meld(lambda x, y, z: x - y + z, parts, (True, False, True), below=below, above=above)
    else:
        low, high = meld(
            lambda w, x, y, z: w - x - y + z,
            [confidence_of(arm, estimand) for arm in (a, b, c, d)],
            (True, False, False, True),
            below=below,
            above=above,
        )
    if not needs:
        low, high = max(min(low, found), -2.0), min(max(high, found), 2.0)
    return Estimate(
        "difference in differences of rates",
        estimand,
        found,
        low,
        high,
        confidence,
        sided,
        f"melded {'Gaffke' if random else 'Clopper-Pearson'} bounds of four arms",
        RANDOM_ASSUMES if random else FIXED_ASSUMES,
        needs,
    )


def _check_paired(first: ConceptCounts, second: ConceptCounts) -> None:
    if first.concepts != second.concepts:
        raise AnalysisError(
            explain(
                "paired",
                required="arms of as many concepts, in the same order",
                got=(first.concepts, second.concepts),
                hint="Leave paired out where the arms have other concepts.",
            )
        )


def _within(first: ConceptCounts, second: ConceptCounts) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the differences within concepts, brought from -1 to 1 into 0 to 1, and how often each was seen."""
    apart, seen = np.unique(first.rates - second.rates, return_counts=True)
    return np.clip((apart + 1) / 2, 0, 1), seen
