"""Equivalence: whether two arms are the same within a margin given beforehand, in words, and what it would take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import attrs
import numpy as np
from scipy.special import ndtri

from ...boundaries import checked, guarded
from ...errors import AnalysisError, explain
from ..binomial import check_probability, percent
from .differences import difference
from .means import like_these, these_concepts
from .values import FEWEST_CONCEPTS, ConceptCounts, Estimand, Estimate

Verdict = Literal["equivalent", "different", "neither"]

#: The most trials an arm, or concepts, that the planner tries.
MOST = 20_000


@guarded(AnalysisError)
@attrs.frozen
class Equivalence:
    """A verdict on two arms, or on one rate and zero.

    ``equivalent``: the difference lies within the margin, both one-sided tests at the error 1 - confidence rejecting
    (TOST: the two-sided interval of confidence 1 - 2 (1 - confidence), ``within``, lies inside). ``different``: it does
    not, and the two-sided interval ``interval`` excludes zero. ``neither``: the data say neither. ``nonzero`` tells
    whether zero is excluded, which an equivalent difference may be, too.
    """

    verdict: Verdict
    margin: float
    nonzero: bool
    interval: Estimate
    within: Estimate

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        i, w = self.interval, self.within
        if not i.said:
            return f"Neither equivalent nor different ({i.estimand}): an interval can't be said: {i.needs}."
        points = [f"{x * 100:+.3g}" for x in (i.estimate, i.low, i.high, w.low, w.high)]
        seen = f"{points[0]} points ({percent(i.confidence)} {points[1]} to {points[2]}, {i.estimand})"
        margin = f"{self.margin * 100:.3g} points"
        if self.verdict == "equivalent":
            also = ", though not zero" if self.nonzero else ""
            return f"Equivalent within {margin}{also}: {seen}; both one-sided tests reject a larger difference."
        if self.verdict == "different":
            return f"Different: {seen}; a difference of zero is excluded."
        most = max(abs(i.low), abs(i.high)) * 100
        return (
            f"Neither: {seen}; no difference is shown, and differences up to {most:.3g} points are not excluded, which "
            f"is more than the margin of {margin}."
            if abs(w.low) >= self.margin or w.high >= self.margin
            else f"Neither: {seen}."
        )


@checked(AnalysisError)
def equivalence(
    first: ConceptCounts,
    second: ConceptCounts,
    margin: float,
    *,
    estimand: Estimand,
    paired: bool = False,
    confidence: float = 0.95,
) -> Equivalence:
    """Return whether two arms' mean rates are the same within ``margin``.

    Args:
        first: counts of one arm: injected, one model, one injector.
        second: counts of the other.
        margin: the largest difference that counts as none, given before the data; between 0 and 1.
        estimand: whether the concepts are fixed or could have been others.
        paired: see :func:`difference`.
        confidence: 1 less the error of each one-sided test.

    Raises:
        AnalysisError: as :func:`difference`, a margin out of range, or a confidence of 0.5 or less.

    Source: Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15, with the intervals of
    :func:`difference` in place of the normal ones.
    """
    check_probability("margin", margin)
    _check_confidence(confidence)
    wide, narrow = (
        difference(first, second, estimand=estimand, paired=paired, confidence=c)
        for c in (confidence, 2 * confidence - 1)
    )
    return equivalence_of(wide, narrow, margin)


@checked(AnalysisError)
def same_as_zero(counts: ConceptCounts, margin: float, *, estimand: Estimand, confidence: float = 0.95) -> Equivalence:
    """Return whether a mean rate is the same as zero within ``margin``: its one-sided upper bound lies below it.

    ``different`` means that the rate is shown to be above ``margin``: a rate above zero is shown by a single success.
    Args and errors as :func:`equivalence`.
    """
    check_probability("margin", margin)
    _check_confidence(confidence)
    of = these_concepts if estimand == "these concepts" else like_these
    wide, narrow = (of(counts, confidence=c) for c in (confidence, 2 * confidence - 1))
    if not wide.said:
        return Equivalence("neither", margin, sum(counts.successes) > 0, wide, narrow)
    verdict: Verdict = "equivalent" if narrow.high < margin else "different" if wide.low > margin else "neither"
    return Equivalence(verdict, margin, sum(counts.successes) > 0, wide, narrow)


def equivalence_of(wide: Estimate, narrow: Estimate, margin: float) -> Equivalence:
    """Return the verdict on a difference from its two-sided interval and that of TOST (:class:`Equivalence`)."""
    if not wide.said:
        return Equivalence("neither", margin, False, wide, narrow)
    nonzero = wide.low > 0 or wide.high < 0
    inside = -margin < narrow.low and narrow.high < margin
    verdict: Verdict = "equivalent" if inside else "different" if nonzero else "neither"
    return Equivalence(verdict, margin, nonzero, wide, narrow)


@guarded(AnalysisError)
@attrs.frozen
class EquivalencePlan:
    """What it takes to show two arms of one true rate equivalent with probability ``power``.

    ``trials`` an arm for these concepts, whatever their number; ``concepts`` for concepts like these, at
    ``trials_per_concept`` in each arm and the intra-class correlation ``icc``. Both found by simulation of one or two
    hundred draws, so to about a tenth.
    """

    rate: float
    margin: float
    power: float
    confidence: float
    trials: int
    concepts: int
    trials_per_concept: int
    icc: float

    @property
    def sentence(self) -> str:
        """The plan in words."""
        return (
            f"To show two arms of a true rate of {percent(self.rate)} the same within {self.margin * 100:.3g} points "
            f"with probability {percent(self.power)}: {self.trials} trials an arm on these concepts; for concepts like "
            f"these {self.concepts} concepts of {self.trials_per_concept} trials an arm, if their intra-class "
            f"correlation is {self.icc:g}."
        )


@checked(AnalysisError)
def plan_equivalence(
    rate: float,
    margin: float,
    *,
    power: float = 0.8,
    confidence: float = 0.95,
    trials_per_concept: int = 20,
    icc: float = 0.1,
    seed: int = 0,
) -> EquivalencePlan:
    """Return the trials, and the concepts, that :func:`equivalence` needs where both arms have the same ``rate``.

    Concepts are simulated as paired, with one Beta-distributed rate a concept that both arms share.

    Args:
        rate: the true rate of both arms, 0 to 1.
        margin: the margin.
        power: the probability to find "equivalent".
        confidence: as :func:`equivalence`.
        trials_per_concept: trials of each concept in each arm.
        icc: how much concepts vary, 0 to below 1.
        seed: of the simulation.

    Raises:
        AnalysisError: an argument is out of range, or more than :data:`MOST` of either would be needed.
    """
    for name, value in (("margin", margin), ("power", power)):
        check_probability(name, value)
    _check_confidence(confidence)
    if not (0 <= rate <= 1 and 0 <= icc < 1 and 1 <= trials_per_concept <= 10**6 and 0 <= seed < 2**63):
        raise AnalysisError(
            explain(
                "rate, icc, trials_per_concept, seed",
                required="a rate from 0 to 1, a correlation from 0 to below 1, trials >= 1, a seed >= 0",
                got=(rate, icc, trials_per_concept, seed),
                hint="",
            )
        )

    def on_these(trials: int, rng: np.random.Generator) -> tuple[ConceptCounts, ConceptCounts]:
        k = rng.binomial(trials, rate, size=2)
        return ConceptCounts([k[0]], [trials]), ConceptCounts([k[1]], [trials])

    def on_like_these(concepts: int, rng: np.random.Generator) -> tuple[ConceptCounts, ConceptCounts]:
        p = np.full(concepts, rate)
        if icc > 0 and 0 < rate < 1:
            p = rng.beta(rate * (1 / icc - 1), (1 - rate) * (1 / icc - 1), size=concepts)
        n = [trials_per_concept] * concepts
        return ConceptCounts(rng.binomial(n, p), n), ConceptCounts(rng.binomial(n, p), n)

    def powered(draw: Callable[..., tuple[ConceptCounts, ConceptCounts]], size: int, estimand: Estimand) -> bool:
        rng = np.random.default_rng(seed)
        known: dict[tuple[ConceptCounts, ConceptCounts], bool] = {}
        shown = 0
        random = estimand == "concepts like these"
        draws = 100 if random else 200
        wanted = power * draws
        for left in range(draws, 0, -1):
            if shown >= wanted or shown + left < wanted:  # the rest can't change it
                break
            arms = draw(size, rng)
            if arms not in known:
                found = difference(*arms, estimand=estimand, paired=random, confidence=2 * confidence - 1)
                known[arms] = -margin < found.low and found.high < margin
            shown += known[arms]
        return shown >= wanted

    # No fewer can do, however alike the arms come out: a clean null of so many would still leave the margin open.
    floor = math.log1p(-confidence) / math.log1p(-margin)
    # The normal approximation, less a fifth, so that the search begins below what is needed.
    reach = float(ndtri(confidence) + ndtri((1 + power) / 2))
    variance = 2 * rate * (1 - rate)
    about = [0.8 * v * reach / margin * reach / margin for v in (variance, variance * (1 - icc) / trials_per_concept)]
    if not max(floor, *about) <= MOST:
        raise _too_small(margin)
    trials, concepts = (max(math.ceil(floor), math.ceil(each)) for each in about)
    return EquivalencePlan(
        rate,
        margin,
        power,
        confidence,
        _first(lambda n: powered(on_these, n, "these concepts"), trials, margin),
        _first(lambda c: powered(on_like_these, c, "concepts like these"), max(concepts, FEWEST_CONCEPTS), margin),
        trials_per_concept,
        icc,
    )


def _first(enough: Callable[[int], bool], start: int, margin: float) -> int:
    """Return about the first size that is enough: growing by a quarter, then halving to within a twentieth."""
    if enough(start):
        return start
    low, high = start, start * 5 // 4 + 1
    while not enough(high):
        low, high = high, high * 5 // 4 + 1
        if high > MOST:
            raise _too_small(margin)
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _too_small(margin: float) -> AnalysisError:
    return AnalysisError(
        explain(
            "margin",
            required=f"one that {MOST} trials or concepts can settle",
            got=margin,
            hint="Take a larger margin, or more trials of each concept.",
        )
    )


def _check_confidence(confidence: float) -> None:
    check_probability("confidence", confidence)
    if confidence <= 0.5:
        raise AnalysisError(
            explain("confidence", required="more than 0.5 for two one-sided tests", got=confidence, hint="")
        )
