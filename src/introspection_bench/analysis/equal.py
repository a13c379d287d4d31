"""Whether injected trials do the same as nothing: as the controls, or as a rate of zero, within a margin."""

from __future__ import annotations

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..results import Results, frame_of
from .binomial import percent
from .by_concept import ByConcept, by_concept
from .contrast import LIKE, THESE, Contrast, contrast_pairs
from .intervals import Equivalence, Estimate, same_as_zero
from .selection import controls, injected, require_columns

#: What a control shares with the injected trials that it is set against.
SHARED = ("model", "scaffold", "beside")


@checked(AnalysisError)
def same_as_control(
    frame: pd.DataFrame | Results, outcome: str, margin: float | None = None, *, confidence: float = 0.95
) -> Contrast:
    """Return whether an outcome is as frequent on injected trials as on controls.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`, of one model, one scaffold and the same steers
            beside: controls of another scaffold answer another question. Select the arm, layers and doses that are
            meant, with the controls.
        outcome: a criterion, ``strict`` or ``unscored``.
        margin: the largest difference of rates that counts as none, given before the data. None claims no equivalence,
            and the sentences say how large a difference is not excluded.
        confidence: of the intervals; 1 less the error of each one-sided test.

    Returns:
        The injected trials' mean rate over concepts less that of the controls.

    Raises:
        AnalysisError: trials of several models, scaffolds or steers beside, no scored trial in one of the two, or an
            argument out of range.
    """
    frame = frame_of(frame)
    require_columns(frame, SHARED)
    arms = injected(frame), controls(frame)
    several = [c for c in SHARED if pd.concat([a[c] for a in arms]).nunique(dropna=False) > 1]
    if several:
        raise AnalysisError(
            explain(
                "frame",
                required="trials of one model, one scaffold and the same steers beside",
                got=f"several values of {several}",
                hint="Ask each apart: frame[frame['scaffold'] == 'lindsey'].",
            )
        )
    found = [_counted(arm, outcome, name) for arm, name in zip(arms, ("injected", "control"), strict=True)]
    return contrast_pairs([(found[0], found[1])], margin=margin, confidence=confidence)


@guarded(AnalysisError)
@attrs.frozen
class Zero:
    """Whether a rate is the same as zero within a margin, on ``these`` concepts and on concepts ``like`` these.

    ``whatever`` is the interval (these concepts) that holds whatever the ``unscored`` trials would have been.
    """

    these: Equivalence
    like: Equivalence
    whatever: Estimate
    unscored: int

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdicts in words."""
        said = [_zero(self.these), _zero(self.like)]
        if self.unscored:
            said.append(
                f"Whatever the {self.unscored:,} unscored trials would have been, the rate lies between "
                f"{percent(self.whatever.low)} and {percent(self.whatever.high)} ({THESE})."
            )
        return tuple(said)


@checked(AnalysisError)
def same_as_zero_in(frame: pd.DataFrame | Results, outcome: str, margin: float, *, confidence: float = 0.95) -> Zero:
    """Return whether an outcome's rate on the injected trials of a frame is zero within a margin.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`; its injected trials are looked at.
        outcome: a criterion, ``strict`` or ``unscored``.
        margin: the largest rate that counts as zero, given before the data.
        confidence: 1 less the error of the one-sided test.

    Raises:
        AnalysisError: no scored injected trial, or an argument out of range.
    """
    frame = frame_of(frame)
    found = _counted(injected(frame), outcome, "injected")
    these, like = (same_as_zero(found.counts, margin, estimand=e, confidence=confidence) for e in (THESE, LIKE))
    return Zero(these, like, found.whatever(confidence=confidence), found.unscored)


def _counted(trials: pd.DataFrame, outcome: str, name: str) -> ByConcept:
    found = by_concept(trials, outcome)
    if found is None:
        raise AnalysisError(
            explain(
                "frame",
                required=f"{name} trials that {outcome!r} is said of",
                got=f"{len(trials):,} {name} trials, none of them with a verdict on it",
                hint="Judge the run, or plan such trials.",
            )
        )
    return found


def _zero(found: Equivalence) -> str:
    wide, narrow = found.interval, found.within
    margin, about = percent(found.margin), wide.estimand
    if not wide.said:
        return f"Of {about} nothing can be said: {wide.needs}."
    seen = f"{percent(wide.estimate)} seen"
    if found.verdict == "equivalent":
        return (
            f"The same as zero within {margin} ({about}): {seen}, and a rate of {percent(narrow.high)} or more is "
            f"excluded ({percent(wide.confidence)} one-sided)."
        )
    if found.verdict == "different":
        return (
            f"Not the same as zero ({about}): {seen}, and at least {percent(wide.low)} is shown, more than the "
            f"margin of {margin} ({percent(wide.confidence)} two-sided)."
        )
    return (
        f"Neither ({about}): {seen}, and rates up to {percent(wide.high)} are not excluded, which is more than the "
        f"margin of {margin} ({percent(wide.confidence)} two-sided)."
    )
