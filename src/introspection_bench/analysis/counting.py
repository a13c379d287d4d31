"""What a published rate counts, and out of which trials: the outcome and the conditioning of a recorded verdict."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import pandas as pd

from ..boundaries import checked
from ..errors import AnalysisError, explain
from ..results import Results, frame_of
from .by_concept import ByConcept, by_concept
from .selection import require_columns

#: A claim to notice something; that and the concept's name, wherever it stands; the name alone; all that the rubric
#: calls success.
Counted = Literal["affirmed", "affirmed and named", "named", "strict"]
#: Out of all scored trials; of those whose reply is coherent; of those that are coherent or deny noticing anything.
Among = Literal["all", "coherent", "coherent or denies"]
#: The criteria that must all be met for an outcome.
COUNTED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "affirmed": ("affirmative",),
        "affirmed and named": ("affirmative", "identifies"),
        "named": ("identifies",),
        "strict": ("strict",),
    }
)
AMONG: tuple[Among, ...] = ("all", "coherent", "coherent or denies")
#: The criterion that says of an incoherent reply that it denies: ``coherent or denies`` needs it.
DENIES = "denies"


@checked(AnalysisError)
def counted(frame: pd.DataFrame | Results, outcome: Counted, among: Among = "all") -> pd.DataFrame:
    """Return the trials that a rate is out of, with the column ``counted``: whether each counts (``boolean``).

    Unscored trials stay among them, with NA: whatever they would have been is a matter of its own.

    Args:
        frame: results, or a frame of them from :func:`introspection_bench.analysis.records_frame`.
        outcome: what counts; ``strict`` is all that the verdict's rubric calls success.
        among: out of which trials. ``coherent or denies`` (as Lederman & Mahowald 2026, arXiv 2603.05414 v2, are said
            to do) needs the criterion ``denies``.

    Raises:
        AnalysisError: the frame lacks a criterion, or an argument is none of the words.
    """
    frame = frame_of(frame)
    for name, value, words in (("outcome", outcome, tuple(COUNTED)), ("among", among, AMONG)):
        if value not in words:
            raise AnalysisError(explain(name, required=f"one of {list(words)}", got=repr(value), hint=""))
    require_columns(frame, [*COUNTED[outcome], "unscored", "coherent"])
    kept = frame["unscored"].notna()
    if among == "all":
        kept |= True
    else:
        kept |= frame["coherent"].fillna(value=False)
    if among == "coherent or denies":
        if DENIES not in frame:
            raise AnalysisError(
                explain(
                    "among",
                    required=f"verdicts with the criterion {DENIES!r}, for 'coherent or denies'",
                    got="none",
                    hint="Judge the replies by a rubric that asks it, or condition on 'coherent'.",
                )
            )
        kept |= frame[DENIES].fillna(value=False)
    part = frame[kept.astype(bool)]
    met = pd.Series(True, index=part.index, dtype="boolean")
    for criterion in COUNTED[outcome]:
        met &= part[criterion]
    return part.assign(counted=met)


@checked(AnalysisError)
def counted_by_concept(frame: pd.DataFrame | Results, outcome: Counted, among: Among = "all") -> ByConcept | None:
    """Return an outcome by concept, out of some trials; None where no trial is left to count. As :func:`counted`."""
    frame = frame_of(frame)
    part = counted(frame, outcome, among)
    return None if part.empty else by_concept(part, "counted")
