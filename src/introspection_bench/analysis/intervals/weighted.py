"""A weighted sum of several arms' rates, under the two estimands: what effects of factors are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...boundaries import checked
from ...errors import AnalysisError, explain
from ..binomial import Sided, check_probability
from .confidence import Confidence, mean_bounds, mean_confidence, meld
from .means import FIXED_ASSUMES, RANDOM_ASSUMES, confidence_of, too_few
from .values import ConceptCounts, Estimand, Estimate, Floats, error_aside


@checked(AnalysisError)
def weighted_sum(
    arms: Sequence[ConceptCounts],
    weights: Sequence[float],
    *,
    estimand: Estimand,
    blocks: Sequence[int] = (),
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the sum of the arms' mean rates, each times its weight.

    Args:
        arms: counts of each; their trials are independent.
        weights: one for each arm, none 0; (1, -1) is a difference.
        estimand: whether the concepts are fixed or could have been others.
        blocks: which arms are of the same concepts, entry by entry: arms of one number are; by default each arm stands
            alone. Over concepts like these the sums within the concepts of a block are bounded, which is narrower
            where concepts differ more than arms do.
        confidence: of the interval.
        sided: as :func:`difference`.

    Returns:
        These concepts: arms of one weight and as many concepts are pooled, and the
        pools' Clopper-Pearson bounds melded. Concepts like these: Gaffke's bound on the sums within concepts, those of
        several blocks melded; "can't be said" where an arm that has concepts has fewer than
        :data:`~introspection_bench.analysis.FEWEST_CONCEPTS`.

    Raises:
        AnalysisError: no arm, another number of weights or blocks, a weight that is 0 or not finite, arms of one block
            with other numbers of concepts, or an argument out of range.
    """
    check_probability("confidence", confidence)
    where = list(blocks) or list(range(len(arms)))
    _check(arms, weights, where)
    below, above = error_aside(confidence, sided)
    several = [arm for arm in arms if arm.concepts > 1]
    needs = too_few(several, estimand, confidence, sided)
    found = math.fsum(w * arm.rate for w, arm in zip(weights, arms, strict=True))
    random = estimand == "concepts like these"
    if needs:
        low = high = math.nan
    elif random:
        low, high = _like(arms, weights, where, below, above)
    else:
        # The mean over all entries is the mean of the arms' means where each has as many.
        alike = [(w, arm.concepts) for w, arm in zip(weights, arms, strict=True)]
        pools = {key: [arm for k, arm in zip(alike, arms, strict=True) if k == key] for key in alike}
        parts = [_scaled(confidence_of(_joined(each), estimand), w * len(each)) for (w, _), each in pools.items()]
        low, high = meld(_added, parts, [True] * len(parts), below=below, above=above)
    least, most = (math.fsum(w for w in weights if side * w > 0) for side in (-1, 1))
    if not needs:
        low, high = max(min(low, found), least), min(max(high, found), most)
    return Estimate(
        "difference of rates",
        estimand,
        found,
        low,
        high,
        confidence,
        sided,
        "Gaffke's bound on the sums within concepts" if random else "melded Clopper-Pearson bounds",
        RANDOM_ASSUMES if random else FIXED_ASSUMES,
        needs,
    )


def _check(arms: Sequence[ConceptCounts], weights: Sequence[float], blocks: Sequence[int]) -> None:
    if not arms or not len(arms) == len(weights) == len(blocks):
        raise AnalysisError(
            explain(
                "arms, weights, blocks",
                required="as many of each, and at least one",
                got=(len(arms), len(weights), len(blocks)),
                hint="",
            )
        )
    if not all(math.isfinite(w) and w for w in weights):
        raise AnalysisError(
            explain("weights", required="finite numbers other than 0", got=list(weights), hint="Leave that arm out.")
        )
    for block in set(blocks):
        sizes = {arm.concepts for arm, b in zip(arms, blocks, strict=True) if b == block}
        if len(sizes) > 1:
            raise AnalysisError(
                explain("blocks", required="arms of the same concepts in one block", got=sorted(sizes), hint="")
            )


def _like(
    arms: Sequence[ConceptCounts], weights: Sequence[float], blocks: Sequence[int], below: float, above: float
) -> tuple[float, float]:
    """Return bounds on the sum over concepts like these, from the sums within each block's concepts."""
    parts = []
    for block in dict.fromkeys(blocks):
        mine = [(w, arm) for w, arm, b in zip(weights, arms, blocks, strict=True) if b == block]
        if mine[0][1].concepts == 1:  # controls: nothing that could have been other concepts
            parts += [_scaled(confidence_of(arm, "concepts like these"), w) for w, arm in mine]
            continue
        least, most = (math.fsum(w for w, _ in mine if side * w > 0) for side in (-1, 1))
        within = sum((w * arm.rates for w, arm in mine), np.zeros(mine[0][1].concepts))
        unit = np.clip((within - least) / (most - least), 0, 1)
        counted = np.unique(unit, return_counts=True)
        if len(set(blocks)) == 1:
            low, high = mean_bounds(*counted, below, above)
            return low * (most - least) + least, high * (most - least) + least
        parts.append(mean_confidence(*counted).scaled(most - least, least))
    return meld(_added, parts, [True] * len(parts), below=below, above=above)


def _scaled(part: Confidence, weight: float) -> Confidence:
    return part.scaled(weight) if weight > 0 else part.opposite.scaled(-weight)


def _joined(arms: Sequence[ConceptCounts]) -> ConceptCounts:
    return ConceptCounts([k for arm in arms for k in arm.successes], [n for arm in arms for n in arm.trials])


def _added(*parts: Floats) -> Floats:
    return np.asarray(sum(parts))
