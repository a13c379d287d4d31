"""Two arms on one outcome: their difference under both estimands, whatever the unscored trials were, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import attrs
import numpy as np
from scipy.stats import fisher_exact, hypergeom

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from .binomial import percent
from .by_concept import ByConcept, summed
from .intervals import FEWEST_CONCEPTS, ConceptCounts, Equivalence, Estimand, Estimate, difference, equivalence

THESE: Estimand = "these concepts"
LIKE: Estimand = "concepts like these"


@guarded(AnalysisError)
@attrs.frozen
class Contrast:
    """The first of two arms less the second, on one outcome.

    ``first`` and ``second`` have an entry for each concept of each cell; ``paired`` says that both arms have the same.
    ``these`` and ``like`` are the difference under the two estimands, ``like`` None where neither arm has concepts;
    ``p`` is Fisher's exact, two-sided, stratified by entry where paired. ``whatever`` is the interval (these concepts)
    that holds whatever the ``unscored`` trials would have been; without any it is ``these``. ``lost`` trials are
    unscored ones of concepts of which none is scored: they are in no number. ``verdicts`` are those of equivalence, of
    ``these`` and of ``like``; none without a margin.
    """

    first: ConceptCounts
    second: ConceptCounts
    paired: bool
    these: Estimate
    like: Estimate | None
    whatever: Estimate
    p: float
    unscored: int = 0
    lost: int = 0
    verdicts: tuple[Equivalence, ...] = attrs.field(default=(), converter=frozen_tuple)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is said of these concepts, of concepts like these, and of the unscored trials, in words."""
        if self.verdicts:
            said = [v.sentence if v.interval.said else in_words(v.interval) for v in self.verdicts]
        else:
            said = [in_words(e) for e in (self.these, self.like) if e]
        if self.unscored:
            said.append(
                f"Whatever the {self.unscored:,} unscored trials would have been, the difference lies between "
                f"{points(self.whatever.low)} and {points(self.whatever.high)} points ({THESE})."
            )
        if self.lost:
            said.append(f"{self.lost:,} more unscored trials are of concepts without a scored one, and in no number.")
        return tuple(said)


@checked(AnalysisError)
def contrast_pairs(
    pairs: Sequence[tuple[ByConcept, ByConcept]], *, margin: float | None = None, confidence: float = 0.95
) -> Contrast:
    """Return the first arm's mean rate less the second's, over one cell or several matched ones.

    Args:
        pairs: of each cell both arms by concept (:func:`by_concept`). Where both arms of some cell have a concept in
            common, they are compared on the common ones alone, each in each cell weighing the same; over concepts like
            these a concept's rate is the mean over its cells. Controls without a concept are one entry.
        margin: the largest difference that counts as none, given before the data; None claims no equivalence.
        confidence: of the intervals.

    Raises:
        AnalysisError: no cell, or the margin or the confidence is out of range.
    """
    if not pairs:
        raise AnalysisError(explain("pairs", required="at least one cell", got="none", hint=""))
    entries = [[_entries(arm) for arm in pair] for pair in pairs]
    common = [[c for c in a if c in b] for a, b in entries]
    paired = any(common)
    used = zip(entries, common, strict=True)
    kept = [[{c: arm[c] for c in (names if paired else arm)} for arm in cell] for cell, names in used]
    arms = [[(c, *e) for cell in kept for c, e in cell[side].items()] for side in (0, 1)]
    first, second = (ConceptCounts([e[1] for e in arm], [e[2] for e in arm]) for arm in arms)
    over = [_by_mean(arms[side]) if paired else summed(pair[side] for pair in pairs) for side in (0, 1)]
    asked: list[tuple[ConceptCounts, ConceptCounts, Estimand]] = [(first, second, THESE)]
    if any(concept for arm in arms for concept, *_ in arm):
        asked.append((over[0], over[1], LIKE))
    found = [_difference(*each, paired=paired, confidence=confidence) for each in asked]
    these = found[0]
    margins = () if margin is None else (margin,)
    unscored = sum(e[3] for arm in arms for e in arm)
    whatever = these
    if unscored:
        low = _difference(_as(arms[0], 0), _as(arms[1], 1), THESE, paired=paired, confidence=confidence).low
        high = _difference(_as(arms[0], 1), _as(arms[1], 0), THESE, paired=paired, confidence=confidence).high
        whatever = attrs.evolve(these, quantity=f"{these.quantity}, whatever the unscored are", low=low, high=high)
    return Contrast(
        first,
        second,
        paired,
        these,
        found[1] if len(found) > 1 else None,
        whatever,
        exact_p(first, second) if paired else exact_p(first.pooled, second.pooled),
        unscored,
        sum(arm.lost for pair in pairs for arm in pair),
        [_equivalence(*e, margin=m, paired=paired, confidence=confidence) for e in asked for m in margins],
    )


@lru_cache(maxsize=4096)  # a grid asks for the same two counts again and again
def _difference(
    first: ConceptCounts, second: ConceptCounts, estimand: Estimand, *, paired: bool, confidence: float
) -> Estimate:
    return difference(first, second, estimand=estimand, paired=paired, confidence=confidence)


@lru_cache(maxsize=4096)
def _equivalence(
    first: ConceptCounts, second: ConceptCounts, estimand: Estimand, *, margin: float, paired: bool, confidence: float
) -> Equivalence:
    return equivalence(first, second, margin, estimand=estimand, paired=paired, confidence=confidence)


_Entry = tuple[str, int, int, int]  # concept, successes, scored trials, unscored ones


def _entries(arm: ByConcept) -> dict[str, tuple[int, int, int]]:
    found = zip(arm.counts.successes, arm.counts.trials, arm.missing, strict=True)
    return dict(zip(arm.concepts, found, strict=True))


def _as(arm: Sequence[_Entry], success: int) -> ConceptCounts:
    """Return the counts with the unscored trials as failures (0) or successes (1)."""
    return ConceptCounts([k + success * missing for _, k, _, missing in arm], [n + missing for *_, n, missing in arm])


def _by_mean(arm: Sequence[_Entry]) -> ConceptCounts:
    """Return each concept's mean over its cells as a fraction; bounds over paired concepts read the rates alone."""
    rates: dict[str, list[Fraction]] = {}
    for concept, k, n, _ in arm:
        rates.setdefault(concept, []).append(Fraction(k, n))
    means = [(sum(each, Fraction(0)) / len(each)).limit_denominator(10**9) for each in rates.values()]
    return ConceptCounts([m.numerator for m in means], [m.denominator for m in means])


@lru_cache(maxsize=4096)
def exact_p(first: ConceptCounts, second: ConceptCounts) -> float:
    """Return the two-sided exact p of equal rates in every entry; of one entry it is Fisher's.

    The successes of the first arm are a sum of hypergeometric numbers, given each entry's successes in both arms
    together; what is at most as probable as the count that was seen counts.
    """
    table = list(zip(first.successes, first.trials, second.successes, second.trials, strict=True))
    if len(table) == 1:
        k, n, k2, n2 = table[0]
        return float(fisher_exact([[k, n - k], [k2, n2 - k2]]).pvalue)
    chances, least = np.ones(1), 0
    for k, n, k2, n2 in table:
        low, high = max(0, k + k2 - n2), min(n, k + k2)
        chances = np.convolve(chances, hypergeom.pmf(np.arange(low, high + 1), n + n2, k + k2, n))
        least += low
    seen = chances[sum(first.successes) - least]
    return float(min(chances[chances <= seen * (1 + 1e-7)].sum(), 1.0))


def excludes_zero(found: Estimate) -> bool:
    """Return whether there is an interval, and zero is not in it."""
    return found.said and (found.low > 0 or found.high < 0)


def points(share: float) -> str:
    """Return a difference of shares in points, signed: ``+12.5``."""
    return f"{share * 100:+.3g}".replace("-", "−")


def in_words(found: Estimate) -> str:
    """Return what a difference shows: that there is one, or how large a one is not excluded."""
    if not found.said:
        return f"Of {found.estimand} nothing can be said: it takes {FEWEST_CONCEPTS}."
    if excludes_zero(found):
        return (
            f"A difference is shown: {points(found.estimate)} points ({percent(found.confidence)} {points(found.low)} "
            f"to {points(found.high)}, {found.estimand})."
        )
    return (
        f"No difference shown, up to {unexcluded(found)} points not excluded (seen {points(found.estimate)}; "
        f"{percent(found.confidence)}, {found.estimand})."
    )


def unexcluded(found: Estimate) -> str:
    """Return the largest difference, in points, that an interval leaves standing."""
    return f"{max(abs(found.low), abs(found.high)) * 100:.3g}"
