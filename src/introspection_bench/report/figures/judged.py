"""The figure of one run under several judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ...boundaries import checked
from ...conditions import CONTROL, INJECTED
from ...errors import AnalysisError, explain
from .marks import interval, rate_axis
from .style import FURTHER_MARKERS, LIGHT, Theme, drawing, lettering, looks, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("judgement", "arm", "outcome", "n", "rate", "low", "high")
_APART = 0.24  # of a line, between the arms on it


@checked(AnalysisError)
def judge_rates(
    table: pd.DataFrame,
    *,
    outcomes: Sequence[str] = ("strict", "affirmative", "identifies"),
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Rates with intervals under every judge, one line each, one panel per outcome; controls are hollow.

    Args:
        table: one row per ``judgement``, ``arm`` and ``outcome``, with ``n rate low high``.
        outcomes: which outcomes, in the order of the panels; those without a row get none.
        title: what varies between the lines.
        theme: the colours.

    Raises:
        AnalysisError: a column is missing, or there is no row of these outcomes.
    """
    missing = [c for c in _COLUMNS if c not in table.columns]
    shown = [] if missing else [o for o in outcomes if o in set(table["outcome"])]
    if not shown:
        raise AnalysisError(
            explain(
                "table",
                required=f"the columns {list(_COLUMNS)} and rows of {list(outcomes)}",
                got=f"none called {missing}" if missing else "no such row",
                hint="",
            )
        )
    lines = list(dict.fromkeys(table["judgement"]))
    arms = sorted(dict.fromkeys(table["arm"]), key=lambda arm: (arm == CONTROL, arm != INJECTED))
    with drawing(theme):
        figure = new_figure(3.0 + 2.05 * len(shown), max(1.9, 1.4 + 0.3 * len(lines) * max(1.0, len(arms) / 2)))
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, outcome in zip(panels, shown, strict=True):
            stroke, colour = looks(shown, theme)[outcome]
            for row in table[table["outcome"] == outcome].to_dict("records"):
                number = arms.index(row["arm"])
                at = lines.index(row["judgement"]) + _APART * (number - (len(arms) - 1) / 2) / max(1, len(arms) / 2)
                hollow = row["arm"] == CONTROL
                further = number if not hollow and row["arm"] != INJECTED else None
                marker = stroke.marker if further is None else FURTHER_MARKERS[further % len(FURTHER_MARKERS)]
                interval(axes, row, at, marker, colour, hollow=hollow, theme=theme)
            rate_axis(axes, outcome)
        panels[0].set_yticks(range(len(lines)), [lettering(line, 120) for line in lines])
        panels[0].set_ylim(len(lines) - 0.5, -0.5)
        figure.supxlabel("rate (% of scored trials), with 95 % interval, these concepts; hollow: controls", fontsize=9)
        if title:
            figure.suptitle(lettering(title, 120), fontsize=9.5, x=0.01, ha="left")
    return figure
