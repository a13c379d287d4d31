"""From a frame of trials to successes and trials by concept, which the intervals are made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..freezing import frozen_ints, frozen_tuple
from ..results import Results, frame_of
from .binomial import Sided
from .intervals import ConceptCounts, Estimand, Estimate, worst_case
from .selection import check_outcomes, require_columns

Answers = npt.NDArray[np.int8]


@guarded(AnalysisError)
@attrs.frozen
class ByConcept:
    """One outcome of a set of trials, by concept.

    ``concepts`` names the entries of ``counts``; trials without a concept (controls) are one entry, named ``""``.
    ``missing`` counts for each entry the trials without a verdict; concepts of which no trial is scored are left out,
    and counted in ``lost``.

    Raises :class:`AnalysisError` for another number of names or missing trials than of entries, or a negative count.
    """

    concepts: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    counts: ConceptCounts
    missing: tuple[int, ...] = attrs.field(converter=frozen_ints)
    lost: int

    def __attrs_post_init__(self) -> None:
        entries = self.counts.concepts
        if {len(self.concepts), len(self.missing)} != {entries} or min(*self.missing, self.lost) < 0:
            raise AnalysisError(
                explain(
                    "concepts, missing, lost",
                    required=f"{entries} names and {entries} counts >= 0, as counts has, and a count >= 0",
                    got=(len(self.concepts), list(self.missing)[:8], self.lost),
                    hint="Make it with by_concept(frame, outcome).",
                )
            )

    @property
    def unscored(self) -> int:
        """All trials without a verdict."""
        return sum(self.missing) + self.lost

    @checked(AnalysisError)
    def counted(self, *, success: bool) -> ConceptCounts:
        """Return the counts with the unscored trials of these concepts as successes, or as failures."""
        k = [k + success * missing for k, missing in zip(self.counts.successes, self.missing, strict=True)]
        return ConceptCounts(k, [n + missing for n, missing in zip(self.counts.trials, self.missing, strict=True)])

    def whatever(
        self, estimand: Estimand = "these concepts", *, confidence: float = 0.95, sided: Sided = "two"
    ) -> Estimate:
        """Return the interval that holds whatever the unscored trials would have been."""
        return worst_case(self.counts, self.missing, estimand=estimand, confidence=confidence, sided=sided)


@checked(AnalysisError)
def by_concept(frame: pd.DataFrame | Results, outcome: str) -> ByConcept | None:
    """Return an outcome's successes and trials by concept; None where it applies to no trial.

    A criterion counts where it applies (``immediate`` does not where no concept is named); ``unscored`` in all trials.
    Raises :class:`AnalysisError` for an outcome that the frame lacks.
    """
    frame = frame_of(frame)
    check_outcomes(frame, [outcome])
    require_columns(frame, ["concept"])
    answers = answers_of(frame, outcome)
    places, names = pd.factorize(frame["concept"].fillna(""), sort=True)
    unscored = np.zeros(len(frame), bool) if outcome == "unscored" else frame["unscored"].notna().to_numpy(bool)
    k, n, missing = (np.bincount(places[of], minlength=len(names)) for of in (answers == 1, answers >= 0, unscored))
    there = n > 0
    if not there.any():
        return None
    return ByConcept(
        tuple(map(str, names[there])),
        ConceptCounts(k[there].tolist(), n[there].tolist()),
        tuple(missing[there].tolist()),
        int(missing[~there].sum()),
    )


def answers_of(frame: pd.DataFrame, outcome: str) -> Answers:
    """Return an outcome of every trial as 1 and 0, and -1 where it does not apply."""
    if outcome == "unscored":
        return np.asarray(frame["unscored"].notna(), dtype=np.int8)
    return np.asarray(frame[outcome].astype("Int8").fillna(-1), dtype=np.int8)


@checked(AnalysisError)
def matched(first: ByConcept, second: ByConcept, within: Sequence[str] = ()) -> tuple[ConceptCounts, ConceptCounts]:
    """Return both arms' counts of the concepts that both have, entry by entry the same concept.

    ``within`` keeps these concepts alone. Raises :class:`AnalysisError` where they have none in common.
    """
    shared = [c for c in first.concepts if c in second.concepts and (not within or c in within)]
    if not shared:
        raise AnalysisError(
            explain(
                "first, second",
                required="a concept that both have",
                got=(list(first.concepts)[:8], list(second.concepts)[:8]),
                hint="Compare them unpaired.",
            )
        )
    return only(first, shared).counts, only(second, shared).counts


def only(arm: ByConcept, concepts: Sequence[str]) -> ByConcept:
    """Return an arm with these concepts alone, all of which it has, in this order."""
    places = [arm.concepts.index(c) for c in concepts]
    counts = ConceptCounts([arm.counts.successes[i] for i in places], [arm.counts.trials[i] for i in places])
    return ByConcept(concepts, counts, [arm.missing[i] for i in places], arm.lost)


def summed(arms: Iterable[ByConcept]) -> ConceptCounts:
    """Return the counts by concept over several parts of an arm."""
    sums: dict[str, tuple[int, int]] = {}
    for arm in arms:
        for concept, k, n in zip(arm.concepts, arm.counts.successes, arm.counts.trials, strict=True):
            before = sums.get(concept, (0, 0))
            sums[concept] = (before[0] + k, before[1] + n)
    return ConceptCounts([k for k, _ in sums.values()], [n for _, n in sums.values()])
