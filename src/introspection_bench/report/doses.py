"""Dose and response in a report: the fitted curves of the figures, and the table of crossovers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import pandas as pd

from ..analysis.dose import DOSE_COLUMNS, crossovers, dose_response, migration, sweet_spots
from ..analysis.frame import injected, scored
from .sections import Section
from .summary import Grid
from .wording import is_missing, unit_name

#: Below this p-value of the lack-of-fit test a logistic curve is not drawn: it would show what the data deny.
LEAST_FIT = 0.05
_POINTS = 101


@attrs.frozen
class Doses:
    """The dose-response results of a run: ``fits`` and ``crossings`` as :mod:`~introspection_bench.analysis.dose`."""

    fits: pd.DataFrame = attrs.field(eq=False, repr=False)
    crossings: pd.DataFrame = attrs.field(eq=False, repr=False)

    def of(self, scaffold: Any, concept: Any, unit: Any) -> Doses:
        """Return those of one scaffold, concept and unit, over all layers."""
        wanted = {"scaffold": scaffold, "concept": concept, "unit": unit}
        return Doses(_rows(self.fits, wanted), _rows(self.crossings, wanted))

    def drawn(self) -> pd.DataFrame:
        """Return the fits that are drawn: those that exist and that the data do not contradict."""
        fits = self.fits[self.fits["status"] == "fitted"]
        return fits[~(fits["lack_of_fit"] < LEAST_FIT)]

    def curves(self, lowest: float, highest: float) -> pd.DataFrame:
        """Return the drawn fits as points: columns ``layer outcome magnitude rate``."""
        at = np.linspace(lowest, highest, _POINTS)
        parts = [
            pd.DataFrame(
                {
                    "layer": row["layer"],
                    "outcome": row["outcome"],
                    "magnitude": at,
                    "rate": 1 / (1 + np.exp(-(row["intercept"] + row["slope"] * at))),
                }
            )
            for row in self.drawn().to_dict("records")
        ]
        return pd.concat(parts) if parts else pd.DataFrame(columns=["layer", "outcome", "magnitude", "rate"])

    @property
    def sentence(self) -> str:
        """How the lines of a figure came about."""
        drawn, count = len(self.drawn()), len(self.fits)
        poor = int((self.fits["lack_of_fit"] < LEAST_FIT).sum())
        if drawn == count:
            return "Lines are logistic fits."
        why = f" ({poor} contradicted by the data, lack of fit p < {LEAST_FIT:g})" if poor else ""
        if not drawn:
            return f"Points are joined: no logistic fit exists or holds{why}."
        return f"Lines are logistic fits where one exists and holds, else points are joined{why}."


def find_doses(frame: pd.DataFrame) -> Doses | None:
    """Return the dose-response results of a run, None without scored injected trials at two magnitudes."""
    used = scored(injected(frame))
    if used.empty or used.groupby(list(DOSE_COLUMNS), dropna=False)["magnitude"].nunique().max() < 2:
        return None
    return Doses(dose_response(frame), crossovers(frame))


def dose_section(frame: pd.DataFrame, doses: Doses | None) -> Section | None:
    """Return where identification overtakes coherence, whether that moves with layer, and the sweet-spot rule."""
    if doses is None:
        return None
    rows = [
        (
            "no concept" if is_missing(row["concept"]) else str(row["concept"]),
            str(row["scaffold"]),
            "–" if is_missing(row["layer"]) else str(row["layer"]),
            unit_name(row["unit"]),
            str(row["n"]),
            _with_interval(row, "interpolated"),
            _with_interval(row, "fitted"),
            "" if is_missing(row["note"]) else str(row["note"]),
        )
        for row in doses.crossings.to_dict("records")
    ]
    columns = ("Concept", "scaffold", "layer", "unit", "n", "interpolated", "fitted", "note")
    grid = Grid(
        "Where naming the concept (identifies) overtakes coherence: magnitude, with 95 % interval", columns, rows
    )
    return Section("Dose and response", (sweet_spots(frame).sentence, *_moves(doses.crossings)), (grid,))


def _moves(crossings: pd.DataFrame) -> list[str]:
    said = []
    for row in migration(crossings).to_dict("records"):
        if is_missing(row["moves"]):
            continue
        verb = "moves" if row["moves"] else "does not move discernibly"
        said.append(
            f"{row['concept']} under {row['scaffold']}: from layer {row['from_layer']} to {row['to_layer']} the "
            f"crossover {verb} ({_signed(row['difference'])} {unit_name(row['unit'])}; 95 % interval "
            f"{_signed(row['low'])} to {_signed(row['high'])})."
        )
    return said


def _with_interval(row: Mapping[Any, Any], name: str) -> str:
    if is_missing(row[name]):
        return "–"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if is_missing(low):
        return f"{row[name]:.2f}"
    return f"{row[name]:.2f} ({_end(low)} to {_end(high)})"


def _end(value: float) -> str:
    return ("−∞" if value < 0 else "∞") if math.isinf(value) else f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _rows(table: pd.DataFrame, wanted: Mapping[str, Any]) -> pd.DataFrame:
    for column, value in wanted.items():
        column_ = table[column]
        table = table[column_.isna() if is_missing(value) else (column_ == value).fillna(value=False)]
    return table
