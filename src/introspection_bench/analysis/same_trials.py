"""Two verdicts on the same trials, held against each other."""

from __future__ import annotations

import attrs
import pandas as pd

from .arms_compared import Compared, sized
from .by_concept import ByConcept, by_concept
from .contrast import THESE, contrast_pairs
from .intervals import ConceptCounts, Estimate, these_concepts
from .intervals.equivalence import equivalence_of


def same_trials(frame: pd.DataFrame, first: str, second: str, *, margin: float, confidence: float) -> Compared | None:
    """Return the first outcome's rate less the second's on the same trials; None where none is scored for both.

    A trial counts where it is scored for both. On these concepts the difference is that of the shares of trials of
    which one outcome alone is true; each is bounded with half the error (Bonferroni), as the two depend on each other
    in a way that arms do not. Over concepts like these it is that of each concept's rates, which may depend as they do.
    """
    both = frame[first].notna() & frame[second].notna()
    lacks = pd.Series("not scored twice", frame.index, dtype="string")
    told = frame.assign(
        **{name: frame[name].where(both) for name in (first, second)},
        gained=(frame[first] & ~frame[second]).where(both),
        lost=(~frame[first] & frame[second]).where(both),
        unscored=lacks.where(~both),
    )
    arms = [by_concept(told, outcome) for outcome in (first, second)]
    apart = [by_concept(told, outcome) for outcome in ("gained", "lost")]
    if arms[0] is None or arms[1] is None or apart[0] is None or apart[1] is None:
        return None
    whole = contrast_pairs([(arms[0], arms[1])], margin=margin, confidence=confidence)
    gained, lost = apart[0], apart[1]
    these = _apart(whole.these, gained.counts, lost.counts, confidence)
    verdict = equivalence_of(these, _apart(whole.these, gained.counts, lost.counts, 2 * confidence - 1), margin)
    return Compared(
        these, whole.like, _whatever(these, gained, lost), (verdict, *whole.verdicts[1:]), *sized([arms[0], arms[1]])
    )


def _whatever(these: Estimate, gained: ByConcept, lost: ByConcept) -> Estimate:
    def end(*, success: bool) -> Estimate:
        arms = gained.counted(success=success), lost.counted(success=not success)
        return _apart(these, *arms, these.confidence)

    return attrs.evolve(these, low=end(success=False).low, high=end(success=True).high)


def _apart(like: Estimate, gained: ConceptCounts, lost: ConceptCounts, confidence: float) -> Estimate:
    more, less = (these_concepts(counts, confidence=(1 + confidence) / 2) for counts in (gained, lost))
    low, high = max(more.low - less.high, -1.0), min(more.high - less.low, 1.0)
    return attrs.evolve(
        like,
        estimate=more.estimate - less.estimate,
        low=low,
        high=high,
        confidence=confidence,
        estimand=THESE,
        method="bounds of the two shares on which the outcomes differ, each with half the error (Bonferroni)",
        assumes="trials of a concept independent of each other",
    )
