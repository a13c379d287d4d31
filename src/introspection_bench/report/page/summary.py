"""What a report shows of a run: facts, cells with their rates, settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import attrs
import pandas as pd

from ...analysis.binomial import Interval
from ...analysis.cells import NAMED, cell_name, dose_text, groups, is_dosed, is_missing, rank, telling
from ...analysis.rates import rates
from ...analysis.selection import dosed, shown_of
from ...conditions import CELL_COLUMNS, injected_first
from ...credentials import HIDDEN, is_credential
from ...freezing import frozen_tuple
from ..wording import listing, plural
from .making import model_facts


@attrs.frozen
class CellRow:
    """One cell: its name, a link that filters the transcripts to it, sizes, and the rates shown."""

    name: str
    link: str
    n: int
    unscored: int
    cells: tuple[Interval, ...]
    ratio: str


@attrs.frozen
class CellTable:
    """The cells of one scaffold."""

    scaffold: str
    note: str
    rows: tuple[CellRow, ...] = attrs.field(converter=frozen_tuple)


def facts(frame: pd.DataFrame, spec: Mapping[str, Any], judge: str | None) -> list[tuple[str, str]]:
    """Return what ran, as (term, text): model, revision, dtype, backend, scaffolds, doses, judge, dates, versions."""

    def names(column: str) -> list[str]:
        return [str(v) for v in dict.fromkeys(frame[column].dropna())]

    layers = sorted(names("layers"), key=lambda text: rank("layers", text))
    found = [
        ("Model", listing(names("model"), 3)),
        *model_facts(spec),
        ("Backend", listing(names("backend"), 3)),
        ("Judge", judge or "not judged"),
        ("Scaffold", listing(names("scaffold"), 6)),
        ("Items", listing(names("item"), 6)),
        ("Concepts", listing(names("concept"), 8)),
        ("Layers", listing(layers, 12)),
        ("Magnitudes", _doses(frame)),
        ("Beside", listing(names("beside"), 4)),
        ("Trials", _arms(frame)),
        ("Temperature", listing([f"{t:g}" for t in sorted(set(frame["temperature"].dropna()))], 4)),
    ]
    for term, keys in (("Date", ("created", "started", "date", "timestamp")), ("Versions", ("versions",))):
        value = next((spec[k] for k in keys if spec.get(k)), None)
        if value is not None:
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
            found.append((term, shown))
    return [(term, text) for term, text in found if text]


def _doses(frame: pd.DataFrame) -> str:
    parts = [
        "not stated"
        if is_missing(unit["unit"])
        else f"{listing([f'{m:.12g}' for m in sorted(set(part['magnitude']))])} ({unit['unit']})"
        for unit, part in groups(dosed(frame), ["unit"])
    ]
    return "; ".join(parts)


def _arms(frame: pd.DataFrame) -> str:
    sizes = frame["arm"].value_counts()
    arms = injected_first(sizes.index)
    return ", ".join(f"{sizes[arm]:,} {arm}" for arm in arms) or "none"


def cell_link(row: Mapping[Any, Any], columns: Sequence[str] = NAMED) -> str:
    """Return the address, within the report, of a cell's transcripts; ``columns`` are those that tell it apart."""
    told = {"scaffold": row["scaffold"], "arm": row["arm"], "concept": row["concept"], "layer": row["layers"]}
    told["dose"] = dose_text(row) if is_dosed(row) else None
    told |= {c: row[c] for c in columns if c not in (*NAMED, "scaffold")}
    return f"#{urlencode({name: 'none' if is_missing(value) else value for name, value in told.items()})}"


def cell_tables(frame: pd.DataFrame) -> list[CellTable]:
    """Return one table per scaffold, its cells in the order of arm, concept, layer, magnitude and unit."""
    shown, tables = shown_of(frame), []
    cells = len(frame[[*CELL_COLUMNS]].drop_duplicates())
    for scaffold, part in groups(frame, ["scaffold"]):
        named = telling(part, elsewhere=["scaffold"])
        found = rates(part, outcomes=shown).to_dict("records")  # as many rows for each cell as outcomes are shown
        rows = []
        for number, (cell, trials) in enumerate(groups(part[[*CELL_COLUMNS, "unscored", "mean_ratio"]], CELL_COLUMNS)):
            mine = found[number * len(shown) : (number + 1) * len(shown)]
            rows.append(
                CellRow(
                    cell_name(cell, named),
                    cell_link(cell, named),
                    len(trials),
                    int(trials["unscored"].notna().sum()),
                    tuple(map(_interval, mine)),
                    _ratio(trials["mean_ratio"].mean(), dosed=is_dosed(cell)),
                )
            )
        sizes = f"{plural(len(rows), 'cell')}, {plural(len(part), 'trial')}."
        note = f"{sizes}{one_at_a_time(cells)} A cell's name leads to its transcripts."
        tables.append(CellTable(str(scaffold["scaffold"]), note, rows))
    return tables


def one_at_a_time(cells: int) -> str:
    """Return what a caption says of the intervals in a table of so many cells; nothing for one cell."""
    if cells < 2:
        return ""
    return (
        " Each interval is of its cell's own trials, one cell at a time, and is not adjusted for looking at many: "
        f"there are {cells:,} on this page."
    )


def _interval(row: Mapping[Any, Any]) -> Interval:
    return Interval(int(row["k"]), int(row["n"]), row["low"], row["high"], 0.95, "two", "clopper-pearson")


def _ratio(value: Any, *, dosed: bool) -> str:
    if not dosed:
        return "–"
    return "no receipt" if is_missing(value) else f"{value:.3g}"


def flatten(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return nested settings as (dotted key, text); values that look like credentials by key are not shown."""
    return list(_flat(spec, ""))


def _flat(value: Any, prefix: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(v, Mapping) for v in value):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{prefix}[{number}]")
    elif is_credential(prefix):
        yield prefix, HIDDEN
    elif isinstance(value, (list, tuple)):
        yield prefix, ", ".join(str(v) for v in value) or "(empty)"
    else:
        yield prefix, "(none)" if value is None else str(value)


def place(rate: float) -> str:
    """Return the x coordinate of a rate on the small interval drawings of the tables (3 to 105)."""
    return f"{3 + 102 * (0 if math.isnan(rate) else rate):.1f}"
