"""Difference in differences: how much more one question's yes rises under an injection than another's."""

from __future__ import annotations

import attrs

from ..boundaries import checked, guarded
from ..errors import AnalysisError
from ..freezing import frozen_tuple
from .binomial import check_probability
from .by_concept import ByConcept, only
from .contrast import LIKE, THESE, in_words, points
from .intervals import ConceptCounts, Equivalence, Estimand, Estimate, difference_in_differences
from .intervals.equivalence import equivalence_of


@guarded(AnalysisError)
@attrs.frozen
class RiseContrast:
    """(arm - its base) - (other arm - its base), on one outcome each.

    ``these`` and ``like`` are it under the two estimands, ``like`` None where no arm has concepts; ``whatever`` is the
    interval (these concepts) that holds whatever the ``unscored`` trials would have been. ``paired`` says that the two
    arms share concepts, on which they are compared. ``verdicts`` are those of equivalence with zero; none without a
    margin.
    """

    these: Estimate
    like: Estimate | None
    whatever: Estimate
    paired: bool
    unscored: int = 0
    verdicts: tuple[Equivalence, ...] = attrs.field(default=(), converter=frozen_tuple)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is said of these concepts, of concepts like these, and of the unscored trials, in words."""
        said = [
            in_words(e).replace("A difference", "A difference in differences") for e in (self.these, self.like) if e
        ]
        if self.these.low > 0:
            said.append(
                f"It rises more than that of the other question: no bias towards any yes accounts for all ({THESE})."
            )
        if self.unscored:
            said.append(
                f"Whatever the {self.unscored:,} unscored trials would have been, it lies between "
                f"{points(self.whatever.low)} and {points(self.whatever.high)} points ({THESE})."
            )
        return tuple(said)


@checked(AnalysisError)
def rise_contrast(
    first: tuple[ByConcept, ByConcept],
    second: tuple[ByConcept, ByConcept],
    *,
    margin: float | None = None,
    confidence: float = 0.95,
) -> RiseContrast:
    """Return how much more the first arm's rate differs from its base than the second's does.

    Args:
        first: an arm and its base by concept (:func:`by_concept`): injected trials and controls, say.
        second: the same of another question, ``no_questions`` and ``no_questions_clean`` say. Where the two arms have
            concepts in common, they are compared on these alone.
        margin: the largest difference that counts as none, given before the data; None claims no equivalence.
        confidence: of the intervals.

    Raises:
        AnalysisError: the margin or the confidence is out of range.
    """
    check_probability("confidence", confidence)
    if margin is not None:
        check_probability("margin", margin)
    shared = [c for c in first[0].concepts if c and c in second[0].concepts]
    arms = [each for arm, base in (first, second) for each in (only(arm, shared) if shared else arm, base)]

    def found(estimand: Estimand, level: float, fill: tuple[int, ...] | None = None) -> Estimate:
        a, b, c, d = (_filled(arm, None if fill is None else fill[i]) for i, arm in enumerate(arms))
        return difference_in_differences((a, b), (c, d), estimand=estimand, paired=bool(shared), confidence=level)

    these = found(THESE, confidence)
    like = found(LIKE, confidence) if any(any(arm.concepts) for arm in arms) else None
    unscored = sum(sum(arm.missing) for arm in arms)
    whatever = these
    if unscored:
        low, high = found(THESE, confidence, (0, 1, 1, 0)).low, found(THESE, confidence, (1, 0, 0, 1)).high
        whatever = attrs.evolve(these, quantity=f"{these.quantity}, whatever the unscored are", low=low, high=high)
    verdicts = []
    if margin is not None:
        narrow = 2 * confidence - 1
        verdicts = [equivalence_of(e, found(e.estimand, narrow), margin) for e in (these, like) if e]
    return RiseContrast(these, like, whatever, bool(shared), unscored, verdicts)


def _filled(arm: ByConcept, success: int | None) -> ConceptCounts:
    return arm.counts if success is None else arm.counted(success=bool(success))
