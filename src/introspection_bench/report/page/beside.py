"""The section that shows a run beside one of a model whose truth is known: would we have seen it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ...analysis.binomial import percent
from ...analysis.rates import rates
from ...analysis.selection import dosed
from ...errors import AnalysisError, explain
from ...results import Results
from ..tables import Section, TextTable
from .judged import choose_judge, verdict_frame

TITLE = "Would we have seen it?"
_SHOWN = ("affirmative", "identifies", "strict")
_DOSE = ["layer", "magnitude", "unit"]


def beside_section(results: Results, frame: pd.DataFrame, other: Results) -> Section:
    """Return the rates of both by arm, of the run's own at the doses that the other has too.

    Args:
        results: the run of the page.
        frame: its verdicts.
        other: the run of a model whose truth is known; its verdicts are those of its first judge.

    Raises:
        AnalysisError: no verdict is in one of them, or no steered trial of the run has a layer and dose of the other.
    """
    theirs = verdict_frame(other.records, choose_judge(other, None, None))
    both = (results.name, frame), (other.name, theirs)
    for name, each in both:
        if not len(each) or not each["unscored"].isna().any():
            raise AnalysisError(
                explain("beside", required="two judged runs", got=f"{name}, without a verdict", hint="Judge it first.")
            )
    own, known = _model(frame, results.name), _model(theirs, other.name)
    tables = ((own, _by_arm(_at_doses_of(frame, theirs))), (known, _by_arm(theirs)))
    arms = dict.fromkeys(arm for _, table in tables for arm in table)
    rows = [(arm.replace("_", " "), name, *table[arm]) for arm in arms for name, table in tables if arm in table]
    return Section(
        TITLE,
        [
            f"{known} is known: it was trained to affirm and name an injected concept, and nothing else. What the same "
            f"chain finds on it would have been found on {own} too, had it been there in that measure. It shows that a "
            "report which the injection causes is seen; not that a model introspects."
        ],
        [
            TextTable(
                f"Replies of both models by arm; of {own} at the layers and doses that {known} was run at",
                ("Arm", "model", *_SHOWN),
                rows,
            )
        ],
    )


def _at_doses_of(frame: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return the trials without a dose, and those at a layer and dose of the other."""
    wanted = {tuple(row) for row in dosed(other)[_DOSE].itertuples(index=False)}
    given = dosed(frame)
    kept = given[[tuple(row) in wanted for row in given[_DOSE].itertuples(index=False)]]
    if len(given) and not len(kept):
        raise AnalysisError(
            explain(
                "beside",
                required="steered trials at a layer and dose that both runs have",
                got=f"{len(given)} steered trials, at none of {sorted(wanted, key=str)}",
                hint="Run the model of known truth at a layer and dose of this run.",
            )
        )
    return frame[~frame.index.isin(given.index) | frame.index.isin(kept.index)]


def _by_arm(frame: pd.DataFrame) -> Mapping[str, list[str]]:
    told: dict[str, list[str]] = {}
    for row in rates(frame, ["arm"], outcomes=_SHOWN).to_dict("records"):
        told.setdefault(str(row["arm"]), []).append(_rate(row))
    return told


def _rate(row: Mapping[Any, Any]) -> str:
    if not row["n"]:
        return "–"
    return f"{row['k']}/{row['n']} ({percent(row['low'])} to {percent(row['high'])})"


def _model(frame: pd.DataFrame, otherwise: str) -> str:
    names = frame["model"].dropna().unique()
    return str(names[0]) if len(names) == 1 else otherwise
