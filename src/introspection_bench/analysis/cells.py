"""Cells: how they are grouped, ordered and named; the same in sentences, tables, figures and on the page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ..conditions import CELL_COLUMNS, INJECTED, label, place

#: What a cell's name always says; the other columns are said where they tell cells apart.
NAMED = ("arm", "concept", "layers", "magnitude", "unit")


def is_missing(value: Any) -> bool:
    """Return whether ``value`` is None, NaN or pandas' NA."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield (group values by column, rows) for every group, NA being a value like any other.

    An empty ``by`` yields the whole frame once. Order: that of :func:`rank`, column by column.
    """
    if not by:
        yield {}, frame
        return
    found = [
        (dict(zip(by, values, strict=True)), rows)
        for values, rows in frame.groupby(list(by), dropna=False, sort=False, observed=True)
    ]
    yield from sorted(found, key=lambda pair: [rank(column, value) for column, value in pair[0].items()])


def rank(column: str, value: Any) -> tuple[bool, Any]:
    """Return by what a column's values are sorted: arms as in :mod:`~introspection_bench.conditions`, layers by number.

    NA comes last, but first of what is steered beside.
    """
    if is_missing(value):
        return column != "beside", 0
    if column == "arm":
        return False, place(value)
    key = tuple(map(int, re.findall(r"\d+", value))) if column == "layers" else value
    return column == "beside", key


def is_dosed(row: Mapping[Any, Any]) -> bool:
    """Return whether a cell has a dose or a layer of its own, and is shown with it."""
    return not (is_missing(row.get("layers")) and is_missing(row.get("unit")))


def dose_text(row: Mapping[Any, Any]) -> str:
    """Return a cell's dose: ``10 update``; a magnitude never goes without its unit."""
    return "dose not stated" if is_missing(row["unit"]) else f"{row['magnitude']:.12g} {row['unit']}"


def layers_label(layers: Any) -> str:
    """Return the blocks of a cell in words: ``layer 19``, ``layers 18-22``."""
    text = str(layers)
    return f"layer {text}" if text.isdecimal() else f"layers {text}"


def telling(frame: pd.DataFrame, named: Sequence[str] = NAMED, elsewhere: Sequence[str] = ()) -> tuple[str, ...]:
    """Return ``named`` and those further columns without which two cells of the frame would have one name.

    ``elsewhere`` are columns that are said beside the name.
    """
    cells = frame[[c for c in CELL_COLUMNS if c in frame.columns]].drop_duplicates()
    told = [c for c in cells.columns if c in named or c in elsewhere]
    for column in cells.columns:
        if column not in told and len(cells[[*told, column]].drop_duplicates()) > len(cells[told].drop_duplicates()):
            told.append(column)
    return tuple(c for c in told if c not in elsewhere)


def cell_name(row: Mapping[Any, Any], columns: Sequence[str] = NAMED) -> str:
    """Return a cell's name by some of its columns: ``love · layer 84 · 10 update``, ``control``.

    ``row`` maps columns to values; what it lacks is not said.
    """
    said = {c: row[c] for c in columns if c in row and not is_missing(row[c])}
    arm = label(said["arm"]) if "arm" in said else ""
    parts = [arm]
    if "concept" in columns and "concept" in row:
        parts.append(str(said.get("concept", "" if arm else "no concept")))
    parts.append(layers_label(said["layers"]) if "layers" in said else "")
    parts.append(dose_text(row) if "magnitude" in said and "unit" in row and is_dosed(row) else "")
    parts.append(str(said.get("span", "")))
    parts.append(f"beside {said['beside']}" if "beside" in said else "")
    parts += [str(said.get("model", "")), str(said.get("scaffold", ""))]
    return " · ".join(filter(None, parts)) or INJECTED
