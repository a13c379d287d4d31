"""Parts of a frame of trials, and which outcomes it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ..boundaries import checked
from ..errors import AnalysisError, explain
from ..results import Results, frame_of
from ..verdicts import CRITERIA, FURTHER


@checked(AnalysisError)
def outcomes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the frame's outcomes: its columns of dtype ``boolean`` (criteria and ``strict``), and ``unscored``."""
    answered = [str(name) for name, kind in frame.dtypes.items() if isinstance(kind, pd.BooleanDtype)]
    return (*answered, "unscored")


@checked(AnalysisError)
def shown_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the outcomes that tables show: ``strict`` and the criteria that some verdict was asked.

    ``refused`` and ``names_as_thought`` are left out. ``immediate`` applies where the concept is named, and counts as
    asked where it is named nowhere. Without any verdict they are ``strict`` and its four.
    """
    there = [c for c in outcomes_of(frame)[:-1] if c not in FURTHER]
    answered = {c for c in there if frame[c].notna().any()}
    if "identifies" in answered and not frame["identifies"].any():
        answered.add("immediate")
    return tuple(c for c in there if c in answered) or (*CRITERIA, "strict")


@checked(AnalysisError)
def injected(frame: pd.DataFrame | Results) -> pd.DataFrame:
    """Return the trials on which a concept was injected, whatever their arm: yes is right there."""
    frame = frame_of(frame)
    require_columns(frame, ["truth"])
    return frame[frame["truth"] == "injected"]


@checked(AnalysisError)
def controls(frame: pd.DataFrame | Results) -> pd.DataFrame:
    """Return the trials on which nothing was done, whatever their arm: yes is a false alarm there."""
    frame = frame_of(frame)
    require_columns(frame, ["truth"])
    return frame[frame["truth"] == "nothing"]


@checked(AnalysisError)
def dosed(frame: pd.DataFrame | Results) -> pd.DataFrame:
    """Return the trials that have a dose or a layer of their own, and are shown with it."""
    frame = frame_of(frame)
    require_columns(frame, ["layers", "unit"])
    return frame[frame["layers"].notna() | frame["unit"].notna()]


@checked(AnalysisError)
def scored(frame: pd.DataFrame | Results) -> pd.DataFrame:
    """Return the trials that have a verdict."""
    frame = frame_of(frame)
    require_columns(frame, ["unscored"])
    return frame[frame["unscored"].isna()]


@checked(AnalysisError)
def coherent(frame: pd.DataFrame | Results) -> pd.DataFrame:
    """Return the trials that a judge found coherent."""
    frame = frame_of(frame)
    require_columns(frame, ["coherent"])
    return frame[frame["coherent"].fillna(value=False)]


def without_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame without its replies, of which every part that is taken of it would carry a copy along."""
    return frame.drop(columns=["reply", "reasoning"], errors="ignore")


def check_outcomes(frame: pd.DataFrame, outcomes: Iterable[str]) -> None:
    """Raise :class:`AnalysisError` for no outcome, one that the frame lacks, and both parts of a run in one frame."""
    check_one_part(frame)
    require_columns(frame, ["unscored", "coherent"])
    there = outcomes_of(frame)
    unknown = [o for o in outcomes if o not in there]
    if unknown or not list(outcomes):
        raise AnalysisError(explain("outcomes", required=f"some of {list(there)}", got=unknown or "none", hint=""))


def require_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise :class:`AnalysisError` unless the frame has these columns."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise AnalysisError(
            explain(
                "frame",
                required=f"the columns {list(columns)}",
                got=f"none called {missing}",
                hint="Make the frame with records_frame or Results.frame.",
            )
        )


def check_one_part(frame: pd.DataFrame) -> None:
    """Raise :class:`AnalysisError` where trials that chose a cell stand among those that confirm it."""
    if "part" in frame.columns and {"selection", "confirmation"} <= set(frame["part"].dropna().unique()):
        raise AnalysisError(
            explain(
                "frame",
                required="trials that chose the cell, or trials that confirm it",
                got="both",
                hint="The first were chosen for being high. Results.frame() has those that confirm; "
                "Results.frame(part='selection') the others.",
            )
        )


def check_grouping(frame: pd.DataFrame, by: Sequence[str]) -> None:
    """Raise :class:`AnalysisError` for columns that are not there, for pooled units, and for pooled parts of a run.

    Trials that chose a cell are not pooled with those that confirm it (:func:`check_one_part`). A magnitude means
    nothing without its unit: groups by ``magnitude`` must also be groups by ``unit`` as soon as the frame holds two.
    """
    require_columns(frame, by)
    check_one_part(frame)
    if len(set(by)) < len(by):
        raise AnalysisError(explain("by", required="each column once", got=list(by), hint="Drop the duplicate."))
    units = sorted(frame["unit"].dropna().unique()) if "unit" in frame.columns else []
    if "magnitude" in by and "unit" not in by and len(units) > 1:
        raise AnalysisError(
            explain(
                "by",
                required="'unit' beside 'magnitude'",
                got=f"{list(by)} with the units {units}",
                hint="5 raw and 5 residual are different doses; group by both.",
            )
        )
