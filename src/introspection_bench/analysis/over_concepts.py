"""A rate over several concepts, under both estimands side by side."""

from __future__ import annotations

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..results import Results, frame_of
from .binomial import bounds, percent
from .by_concept import ByConcept, by_concept
from .intervals import Estimate, like_these, these_concepts
from .selection import injected


@guarded(AnalysisError)
@attrs.frozen
class MeanRate:
    """The mean of the concepts' rates of one outcome, each concept weighing the same.

    ``these`` is about these concepts, ``like`` about concepts like these. ``whatever`` is the interval for these
    concepts that holds whatever the unscored trials would have been; None where all are scored.
    """

    outcome: str
    counts: ByConcept
    these: Estimate
    like: Estimate
    whatever: Estimate | None = None

    @property
    def sentence(self) -> str:
        """Both estimands in words."""
        these, like, trials = self.these, self.like, self.counts.counts
        sure = f"{percent(these.confidence)} two-sided"
        found = f"{self.outcome}: {trials}"
        if trials.concepts == 1:
            (concept,) = self.counts.concepts
            about = f"on the one concept, {concept}" if concept else "of concepts that are not stated"
            found += f" = {percent(these.estimate)}, {bounds(these.low, these.high)} {about} ({sure})"
            said = "which says nothing of others"
        else:
            found += (
                f", on average {percent(these.estimate)}: {bounds(these.low, these.high)} on these concepts ({sure})"
            )
            said = f"{bounds(like.low, like.high)} over concepts like these ({like.method})"
            if not like.said:
                said = f"over concepts like these an interval can't be said: {like.needs}"
        if self.whatever is not None:
            missing, most = sum(self.counts.missing), bounds(self.whatever.low, self.whatever.high)
            found += f"; {most} on these whatever the {missing} unscored trials would be"
        return f"{found}; {said}."


@checked(AnalysisError)
def mean_rate(frame: pd.DataFrame | Results, outcome: str, *, confidence: float = 0.95) -> MeanRate:
    """Return the rate of an outcome in the injected trials, the mean over concepts, under both estimands.

    Below :data:`~introspection_bench.analysis.FEWEST_CONCEPTS` concepts nothing is said of concepts like these but what
    it would take.

    Args:
        frame: results, or a frame of them from :func:`introspection_bench.analysis.records_frame`.
        outcome: a criterion, ``strict``, ``refused`` or ``unscored``.
        confidence: of the intervals.

    Raises:
        AnalysisError: the outcome applies to no injected trial, or an argument is out of range.
    """
    frame = frame_of(frame)
    found = by_concept(injected(frame), outcome)
    if found is None:
        raise AnalysisError(
            explain("frame", required=f"injected trials with {outcome!r}", got="none", hint="Judge the run first.")
        )
    return MeanRate(
        outcome,
        found,
        these_concepts(found.counts, confidence=confidence),
        like_these(found.counts, confidence=confidence),
        found.whatever(confidence=confidence) if any(found.missing) else None,
    )
