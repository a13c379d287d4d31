"""Dose and response in a report: the fitted curves of the figures, and the table of crossovers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pandas as pd

from ..analysis.cells import cell_name, is_missing, telling
from ..analysis.dose import DOSE_COLUMNS, crossovers, dose_response, migration, sweet_spots
from ..analysis.selection import injected, scored
from .tables import Section, TextTable
from .wording import unit_name

#: Below this p-value of the lack-of-fit test a logistic curve is not drawn: it would show what the data deny.
LEAST_FIT = 0.05
_POINTS = 101


@attrs.frozen
class Doses:
    """The dose-response results of a run: ``fits`` and ``crossings`` as :mod:`~introspection_bench.analysis.dose`."""

    fits: pd.DataFrame = attrs.field(eq=False, repr=False)
    crossings: pd.DataFrame = attrs.field(eq=False, repr=False)

    def of(self, wanted: Mapping[str, Any]) -> Doses:
        """Return those of one curve over all layers: with these values of columns of ``DOSE_COLUMNS``."""
        return Doses(_rows(self.fits, wanted), _rows(self.crossings, wanted))

    def fitted_layers(self) -> list[Any]:
        """Return the layers (None where unstated) whose fits are drawn: all exist, and the data contradict none."""
        return [
            _plain(layer)
            for layer, fits in self.fits.groupby("layers", dropna=False)
            if (fits["status"] == "fitted").all() and not (fits["lack_of_fit"] < LEAST_FIT).any()
        ]

    def curves(self) -> pd.DataFrame:
        """Return the drawn fits, each over its layer's own magnitudes: columns ``layers outcome magnitude rate``."""
        drawn = self.fitted_layers()
        ranges = {_plain(c["layers"]): (c["lowest"], c["highest"]) for c in self.crossings.to_dict("records")}
        spans = {layer: np.linspace(*ranges[layer], _POINTS) for layer in drawn}
        parts = [
            pd.DataFrame(
                {
                    "layers": row["layers"],
                    "outcome": row["outcome"],
                    "magnitude": spans[_plain(row["layers"])],
                    "rate": 1 / (1 + np.exp(-(row["intercept"] + row["slope"] * spans[_plain(row["layers"])]))),
                }
            )
            for row in self.fits.to_dict("records")
            if _plain(row["layers"]) in drawn
        ]
        return pd.concat(parts) if parts else pd.DataFrame(columns=["layers", "outcome", "magnitude", "rate"])

    def marks(self) -> pd.DataFrame:
        """Return where the drawn lines cross: columns ``layers crossing kind``, fitted where fits are drawn."""
        drawn = self.fitted_layers()
        rows = []
        for row in self.crossings.to_dict("records"):
            kind = "fitted" if _plain(row["layers"]) in drawn else "interpolated"
            inside = not is_missing(row[kind]) and row["lowest"] <= row[kind] <= row["highest"]
            rows.append({"layers": row["layers"], "crossing": row[kind] if inside else math.nan, "kind": kind})
        return pd.DataFrame(rows, columns=["layers", "crossing", "kind"])

    @property
    def sentence(self) -> str:
        """How the lines of a figure came about."""
        drawn, count = len(self.fitted_layers()), self.fits["layers"].nunique(dropna=False)
        if drawn == count:
            return "Lines are logistic fits."
        poor = (self.fits["lack_of_fit"] < LEAST_FIT).any()
        why = (
            f"a logistic curve does not describe the data (lack of fit p < {LEAST_FIT:g})" if poor else "no fit exists"
        )
        return f"Points are joined: {why}." if not drawn else f"Lines are logistic fits; points are joined where {why}."


def find_doses(frame: pd.DataFrame) -> Doses | None:
    """Return the dose-response results of a run, None without scored injected trials at two magnitudes.

    Nor where the rubric does not ask both criteria that cross.
    """
    used = scored(injected(frame))
    if used[["identifies", "coherent"]].isna().all().any():  # not asked, or no trial
        return None
    if used.groupby(list(DOSE_COLUMNS), dropna=False)["magnitude"].nunique().max() < 2:
        return None
    return Doses(dose_response(frame), crossovers(frame))


def dose_section(frame: pd.DataFrame, doses: Doses | None) -> Section | None:
    """Return where identification overtakes coherence, whether that moves with layer, and the sweet-spot rule."""
    if doses is None:
        return None
    named = telling(doses.crossings, ("arm", "concept"), ("scaffold", "layers", "unit"))
    rows = [
        (
            cell_name(row, named),
            str(row["scaffold"]),
            "–" if is_missing(row["layers"]) else str(row["layers"]),
            unit_name(row["unit"]),
            str(row["n"]),
            _with_interval(row, "interpolated"),
            _with_interval(row, "fitted"),
            "" if is_missing(row["note"]) else str(row["note"]),
        )
        for row in doses.crossings.to_dict("records")
    ]
    columns = ("Concept", "scaffold", "layer", "unit", "n", "interpolated", "fitted", "note")
    table = TextTable(
        "Where naming the concept (identifies) overtakes coherence: magnitude, with 95 % interval", columns, rows
    )
    return Section("Dose and response", [sweet_spots(frame).sentence], [table, *_moves(doses.crossings, named)])


def _moves(crossings: pd.DataFrame, named: Sequence[str]) -> list[TextTable]:
    rows = [
        (
            cell_name(row, named),
            str(row["scaffold"]),
            f"{row['from_layers']} to {row['to_layers']}",
            f"{_signed(row['difference'])} {unit_name(row['unit'])}",
            f"{_signed(row['low'])} to {_signed(row['high'])}",
            "yes" if row["moves"] else "not discernibly",
        )
        for row in migration(crossings).to_dict("records")
        if not is_missing(row["moves"])
    ]
    columns = ("Concept", "scaffold", "layers", "difference", "95 % interval", "moves")
    return [TextTable("Whether the interpolated crossover moves with layer", columns, rows)] if rows else []


def _with_interval(row: Mapping[Any, Any], name: str) -> str:
    if is_missing(row[name]):
        return "–"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if is_missing(low):
        return f"{row[name]:.2f}"
    return f"{row[name]:.2f} ({_end(low)} to {_end(high)})"


def _plain(value: Any) -> Any:
    return None if is_missing(value) else value


def _end(value: float) -> str:
    return ("−∞" if value < 0 else "∞") if math.isinf(value) else f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _rows(table: pd.DataFrame, wanted: Mapping[str, Any]) -> pd.DataFrame:
    for column, value in wanted.items():
        column_ = table[column]
        table = table[column_.isna() if is_missing(value) else (column_ == value).fillna(value=False)]
    return table
