"""Counts and rates with exact intervals, and every denominator beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..boundaries import checked
from ..conditions import CELL_COLUMNS
from ..errors import AnalysisError
from ..results import Results, frame_of
from .binomial import Interval, Method, Sided, interval
from .by_concept import Answers, answers_of
from .cells import groups
from .intervals import FEWEST_CONCEPTS, ConceptCounts, like_these
from .selection import check_grouping, check_outcomes, outcomes_of

#: What :func:`rates` says of concepts.
OVER_CONCEPTS = ("concepts", "low_like_these", "high_like_these")


@checked(AnalysisError)
def counts(frame: pd.DataFrame | Results, by: Sequence[str] = CELL_COLUMNS) -> pd.DataFrame:
    """Return one row per group: ``n_all n_scored n_coherent``, then how often each outcome was true.

    ``n_all`` are all trials, ``n_scored`` those with a verdict, ``n_coherent`` those judged coherent. The outcomes are
    the frame's criteria, ``strict`` and ``unscored``.
    """
    frame = frame_of(frame)
    check_grouping(frame, by)
    outcomes = outcomes_of(frame)
    check_outcomes(frame, outcomes)
    rows = [{**group, **_sizes(part), **{o: _hits(part, o) for o in outcomes}} for group, part in groups(frame, by)]
    table = pd.DataFrame(rows, columns=[*by, "n_all", "n_scored", "n_coherent", *outcomes])
    return _typed(table, frame, by, outcomes)


@checked(AnalysisError)
def rates(
    frame: pd.DataFrame | Results,
    by: Sequence[str] = CELL_COLUMNS,
    *,
    interval: Method = "clopper-pearson",
    confidence: float = 0.95,
    sided: Sided = "two",
    outcomes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the rate of every outcome in every group, with intervals and with all denominators.

    ``low`` and ``high`` are about *these concepts*: a count pooled over concepts is one of independent trials of
    unequal rates, for which Clopper and Pearson's interval of their average errs to the safe side (Hoeffding 1956).
    Nothing is adjusted for choosing among the rows; see :func:`introspection_bench.analysis.best_of_many`.

    Args:
        frame: results, or a frame of them from :func:`introspection_bench.analysis.records_frame`.
        by: the grouping columns; ``()`` pools everything.
        interval: the method of ``low`` and ``high``; Wilson's covers what it says on average, and 95 % intervals as
            little as 79 % (of one trial; 82 % of two, 83.5 % of ten or more).
        confidence: its confidence.
        sided: two-sided, or an upper or a lower bound.
        outcomes: which of the frame's criteria, ``strict`` and ``unscored``, in this order; None: all of them.

    Returns:
        One row per group and outcome: the columns of ``by``, then

        - ``outcome``; ``k`` and ``n`` (Int64), ``rate low high`` (float64): ``n`` counts the scored trials to
          which the criterion applies (``immediate`` does not apply where the judge says that no concept is
          named), and for ``unscored`` all trials;
        - ``concepts`` (Int64), how many named concepts these trials are of, and ``low_like_these``
          ``high_like_these``, the interval for concepts like these of the mean of the concepts' rates (which is
          ``rate`` where each has as many trials); NaN below five concepts, and where trials without a concept are in
          the group;
        - ``k_coherent n_coherent rate_coherent low_coherent high_coherent``: the same among the trials judged
          coherent; ``n_coherent`` counts those to which the criterion applies. NA for ``unscored``;
        - ``n_all`` and ``n_scored``: the group's trials, and those with a verdict.

    Raises:
        AnalysisError: an unknown column, outcome, method or side, or magnitudes pooled over units.
    """
    frame = frame_of(frame)
    check_grouping(frame, by)
    outcomes = outcomes_of(frame) if outcomes is None else outcomes
    check_outcomes(frame, outcomes)
    rows = []
    # A group's rows are counted by their places: cutting them out of a frame of text takes a hundred times as long.
    answers = {o: answers_of(frame, o) for o in dict.fromkeys((*outcomes, "coherent", "unscored"))}
    concepts = pd.factorize(frame["concept"], sort=True)[0] if "concept" in frame else None
    for group, part in groups(frame[[*by]].reset_index(drop=True), by):
        places = part.index.to_numpy()
        kept = places[answers["coherent"][places] == 1]
        scored = int((answers["unscored"][places] == 0).sum())
        for outcome in outcomes:
            whole, applies = _interval_of(answers[outcome][places], interval, confidence, sided)
            row = {
                **group,
                "outcome": outcome,
                **_columns(whole, ""),
                **_over_concepts(answers[outcome], places[applies], concepts, confidence, sided),
            }
            if outcome != "unscored":
                row |= _columns(_interval_of(answers[outcome][kept], interval, confidence, sided)[0], "_coherent")
            rows.append({**row, "n_all": len(places), "n_scored": scored})
    names = [*by, "outcome", *_names(""), *OVER_CONCEPTS, *_names("_coherent"), "n_all", "n_scored"]
    return _typed(pd.DataFrame(rows, columns=names), frame, by)


@checked(AnalysisError)
def outcome_interval(
    frame: pd.DataFrame | Results,
    outcome: str,
    *,
    method: Method = "clopper-pearson",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Interval:
    """Return one outcome's interval over all rows of the frame, among the trials to which it applies."""
    frame = frame_of(frame)
    check_outcomes(frame, [outcome])
    return _interval(frame, outcome, method, confidence, sided)


def _interval(frame: pd.DataFrame, outcome: str, method: Method, confidence: float, sided: Sided) -> Interval:
    n = len(frame) if outcome == "unscored" else int(frame[outcome].notna().sum())
    return interval(_hits(frame, outcome), n, method=method, confidence=confidence, sided=sided)


def _hits(frame: pd.DataFrame, outcome: str) -> int:
    column = frame[outcome]
    return int(column.notna().sum()) if outcome == "unscored" else int(column.fillna(value=False).sum())


def _sizes(frame: pd.DataFrame) -> dict[str, int]:
    return {
        "n_all": len(frame),
        "n_scored": int(frame["unscored"].isna().sum()),
        "n_coherent": _hits(frame, "coherent"),
    }


def _interval_of(
    answers: Answers, method: Method, confidence: float, sided: Sided
) -> tuple[Interval, npt.NDArray[np.bool_]]:
    """Return the rate of some trials' answers, and to which of them the outcome applies."""
    applies = answers >= 0
    k, n = int((answers == 1).sum()), int(applies.sum())
    return interval(k, n, method=method, confidence=confidence, sided=sided), applies


def _over_concepts(
    answers: Answers, places: npt.NDArray[np.intp], codes: npt.NDArray[np.intp] | None, confidence: float, sided: Sided
) -> dict[str, object]:
    """Return how many concepts a group's trials are of, and the interval for concepts like these.

    ``places`` are those of the group's trials to which the outcome applies, ``codes`` every trial's concept.
    """
    mine = np.empty(0, np.intp) if codes is None else codes[places]
    concepts = np.unique(mine[mine >= 0])
    low = high = math.nan
    # An entry without a concept is no draw from the concepts that are meant.
    if len(concepts) >= FEWEST_CONCEPTS and len(mine) == (mine >= 0).sum():
        n = np.bincount(mine)[concepts]
        k = np.bincount(mine, weights=answers[places])[concepts]
        among = like_these(ConceptCounts(k.astype(int).tolist(), n.tolist()), confidence=confidence, sided=sided)
        low, high = among.low, among.high
    return dict(zip(OVER_CONCEPTS, (len(concepts), low, high), strict=True))


def _names(suffix: str) -> list[str]:
    return [name + suffix for name in ("k", "n", "rate", "low", "high")]


def _columns(found: Interval, suffix: str) -> dict[str, object]:
    return dict(zip(_names(suffix), (found.k, found.n, found.rate, found.low, found.high), strict=True))


def _typed(table: pd.DataFrame, frame: pd.DataFrame, by: Sequence[str], counted: Sequence[str] = ()) -> pd.DataFrame:
    dtypes: dict[str, Any] = {name: frame[name].dtype for name in by}
    dtypes |= {c: "string" for c in ("outcome",) if c in table}
    whole = ("k", "n", "k_coherent", "n_coherent", "n_all", "n_scored", "concepts", *counted)
    dtypes |= {c: "Int64" for c in whole if c in table}
    real = ("rate", "low", "high", "rate_coherent", "low_coherent", "high_coherent", *OVER_CONCEPTS[1:])
    return table.astype(dtypes | {c: "float64" for c in real if c in table})
