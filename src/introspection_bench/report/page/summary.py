"""What a report says in words and tables: facts, headline sentences, cells, controls, receipts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import attrs
import pandas as pd

from ...analysis.rates import Interval, outcome_interval, rates
from ...arms import BUILTIN, CONTROL, RANDOM, further, is_dosed, label
from ...arms import place as arm_place
from ...credentials import HIDDEN, is_credential
from ...frames import CELL_COLUMNS, controls, dosed, injected
from ...freezing import frozen_tuple
from ...trials import CRITERIA
from ..wording import all_of, bounds, dose, is_missing, listing, percent, plural, unit_name

#: The rates of every table of cells, in this order.
SHOWN = ("affirmative", "identifies", "immediate", "coherent", "strict")


@attrs.frozen
class Grid:
    """A plain table: a caption, column names, and rows of text.

    ``over`` are headings above the columns' names, each with the number of columns that it spans; a section of
    ``""`` stays empty.
    """

    caption: str
    columns: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    rows: tuple[tuple[str, ...], ...] = attrs.field(converter=frozen_tuple)
    over: tuple[tuple[str, int], ...] = attrs.field(converter=frozen_tuple, default=())


@attrs.frozen
class CellRow:
    """One cell: its name, a link that filters the transcripts to it, sizes, and the five rates."""

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
    """Return what ran, as (term, text): model, backend, sampling, scaffolds, doses, judge, dates, versions."""

    def names(column: str) -> list[str]:
        return [str(v) for v in dict.fromkeys(frame[column].dropna())] if column in frame else []

    units = sorted({unit_name(u) for u in dosed(frame)["unit"]})
    layers = sorted({int(v) for v in frame["layer"].dropna()})
    found = [
        ("Model", listing(names("model"), 3)),
        ("Backend", listing(names("backend"), 3)),
        ("Judge", judge or "not judged"),
        ("Scaffold", listing(names("scaffold"), 6)),
        ("Concepts", listing(names("concept"), 8)),
        ("Layers", listing(layers, 12)),
        ("Magnitudes", _doses(frame, units)),
        ("Trials", _arms(frame)),
        ("Temperature", listing([f"{t:g}" for t in sorted(set(frame["temperature"].dropna()))], 4)),
    ]
    for term, keys in (("Date", ("created", "started", "date", "timestamp")), ("Versions", ("versions",))):
        value = next((spec[k] for k in keys if spec.get(k)), None)
        if value is not None:
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
            found.append((term, shown))
    return [(term, text) for term, text in found if text]


def _doses(frame: pd.DataFrame, units: Sequence[str]) -> str:
    with_dose = dosed(frame)
    parts = []
    for unit in units:
        rows = with_dose[[unit_name(u) == unit for u in with_dose["unit"]]]
        parts.append(f"{listing([f'{m:g}' for m in sorted(set(rows['magnitude']))])} ({unit})")
    return "; ".join(parts)


def _arms(frame: pd.DataFrame) -> str:
    sizes = frame["arm"].value_counts()
    arms = [arm for arm in (*BUILTIN[::-1], *further(sizes.index)) if arm in sizes]
    return ", ".join(f"{sizes[arm]:,} {arm}" for arm in arms) or "none"


def headlines(frame: pd.DataFrame, success: Sequence[str] = CRITERIA) -> list[str]:
    """Return what was found as plain sentences, each number with its count, interval and denominator.

    ``success`` is what the judge's rubric takes for it (:attr:`~introspection_bench.trials.Verdict.required`). Of
    criteria that the rubric does not ask, nothing is said.
    """
    if frame.empty:
        return ["No trial was run."]
    signal, noise = injected(frame), controls(frame)
    cells = signal.groupby([*CELL_COLUMNS], dropna=False).ngroups if len(signal) else 0
    said = [
        f"{plural(len(signal), 'injected trial')} in {plural(cells, 'cell')} and {plural(len(noise), 'control')}"
        f"{_others(frame)} were recorded; {_scoring(frame)}."
    ]
    if not frame["unscored"].isna().any():
        return [*said, "No trial has a verdict, so there are no rates: judge the run, or read the transcripts."]
    if signal["unscored"].isna().any():
        said += _of_injected(signal, success, several=cells > 1)
    if outcome_interval(frame, "affirmative").n:
        said += _of_claims(frame, signal, noise)
    return said


def _of_injected(signal: pd.DataFrame, success: Sequence[str], *, several: bool) -> list[str]:
    strict, named, whole = (outcome_interval(signal, o) for o in ("strict", "identifies", "coherent"))
    said = [f"{all_of(success)} (strict) were met in {_rate(strict, 'injected')}."]
    if named.n and whole.n:
        said.append(
            f"The injected concept was named in {_rate(named, 'injected')}; the reply was coherent in {_rate(whole)}."
        )
    elif named.n:
        said.append(f"The injected concept was named in {_rate(named, 'injected')}.")
    elif whole.n:
        said.append(f"The reply was coherent in {_rate(whole, 'injected')}.")
    best = _best(signal, "identifies") if several else ""
    return [*said, best] if best else said


def _of_claims(frame: pd.DataFrame, signal: pd.DataFrame, noise: pd.DataFrame) -> list[str]:
    if signal["unscored"].isna().any():
        affirmed = f"The model said that it noticed a thought in {_rate(outcome_interval(signal, 'affirmative'))}"
    else:
        affirmed = "No injected trial is scored"
    if noise["unscored"].isna().any():
        false = outcome_interval(noise, "affirmative")
        said = [f"{affirmed}; on controls, where there was none, in {_rate(false)}."]
    elif len(noise):
        said = [f"{affirmed}; no control is scored, so its false-positive rate is unknown."]
    else:
        said = [f"{affirmed}; no control was run, so nothing says how often it would without an injection."]
    for arm in further(frame["arm"]):
        found = outcome_interval(frame[frame["arm"] == arm], "affirmative")
        if found.n:
            said.append(
                f"In the arm {arm!r}, which counts neither as injected nor as control, it said so in {_rate(found)}."
            )
    return said


def _others(frame: pd.DataFrame) -> str:
    sizes = {"under random vectors": int((frame["arm"] == RANDOM).sum())}
    sizes |= {f"of the arm {arm!r}": int((frame["arm"] == arm).sum()) for arm in further(frame["arm"])}
    said = [f"{plural(n, 'trial')} {where}" for where, n in sizes.items() if n]
    return f", with {listing(said)}," if said else ""


def _scoring(frame: pd.DataFrame) -> str:
    missing = int((frame["unscored"] == "not judged").sum())
    unscored = int(frame["unscored"].notna().sum()) - missing
    scored = len(frame) - missing - unscored
    parts = [f"{scored:,} have a verdict"]
    parts += [f"{unscored:,} unscored (see Judges for the reasons)"] if unscored else []
    parts += [f"{missing:,} are not judged"] if missing else []
    return ", ".join(parts) if scored != len(frame) else "all have a verdict"


def _rate(found: Interval, arm: str = "") -> str:
    kind = f"{arm} trials" if arm else "trials"
    share = f"{percent(found.rate)}; 95 % interval {bounds(found.low, found.high)}"
    return f"{found.k:,} of {found.n:,} scored {kind} ({share})"


def _best(injected: pd.DataFrame, outcome: str) -> str:
    table = rates(injected, outcomes=[outcome])
    table = table[table["n"] > 0]
    if table.empty or not table["k"].sum():
        return ""
    row = table.sort_values("rate", ascending=False, kind="stable").to_dict("records")[0]
    return (
        f"The cell with the highest rate of {outcome} is {cell_name(row)} under {row['scaffold']}: {row['k']} of "
        f"{row['n']} ({percent(row['rate'])}; {bounds(row['low'], row['high'])}). It is the best of "
        f"{len(table)} cells, chosen after the fact, and its interval does not allow for that."
    )


def cell_name(row: Mapping[Any, Any]) -> str:
    """Return a cell's name without its scaffold: ``love · layer 84 · 10 update``, ``control``."""
    if row["arm"] == CONTROL:
        return CONTROL
    parts = [label(row["arm"])]
    parts.append("no concept" if is_missing(row["concept"]) else str(row["concept"]))
    parts.append("" if is_missing(row["layer"]) else f"layer {row['layer']}")
    parts.append(dose(row["magnitude"], row["unit"]) if _is_dosed(row) else "")
    return " · ".join(filter(None, parts))


def _is_dosed(row: Mapping[Any, Any]) -> bool:
    layer, unit = (None if is_missing(row[c]) else row[c] for c in ("layer", "unit"))
    return is_dosed(row["arm"], layer, unit)


def cell_link(row: Mapping[Any, Any]) -> str:
    """Return the address, within the report, of the transcripts of one cell."""
    wanted = {"scaffold": row["scaffold"], "arm": row["arm"]}
    if row["arm"] != CONTROL:
        wanted["concept"] = "none" if is_missing(row["concept"]) else row["concept"]
        wanted["layer"] = "none" if is_missing(row["layer"]) else row["layer"]
        wanted["dose"] = dose(row["magnitude"], row["unit"]) if _is_dosed(row) else "none"
    return f"#{urlencode(wanted)}"


def cell_tables(frame: pd.DataFrame) -> list[CellTable]:
    """Return one table per scaffold, its cells in the order of arm, concept, layer, unit and magnitude."""
    if frame.empty:
        return []
    table = rates(frame)
    ratios = frame.groupby([*CELL_COLUMNS], dropna=False)["mean_ratio"].mean()
    by_scaffold: dict[str, list[tuple[Any, CellRow]]] = {}
    for key, rows in table.groupby([*CELL_COLUMNS], dropna=False, sort=False):
        cell = dict(zip(CELL_COLUMNS, key, strict=True))
        found = {r["outcome"]: r for r in rows.to_dict("records")}
        row = CellRow(
            cell_name(cell),
            cell_link(cell),
            int(found["strict"]["n_all"]),
            int(found["strict"]["n_all"] - found["strict"]["n_scored"]),
            tuple(_interval(found[o]) for o in SHOWN),
            _ratio(ratios.get(key), dosed=_is_dosed(cell)),
        )
        by_scaffold.setdefault(str(cell["scaffold"]), []).append((_cell_order(cell), row))
    return [
        CellTable(
            scaffold,
            f"{plural(len(rows), 'cell')}, {plural(sum(r.n for _, r in rows), 'trial')}. "
            "A cell's name leads to its transcripts.",
            [row for _, row in sorted(rows, key=lambda pair: pair[0])],
        )
        for scaffold, rows in sorted(by_scaffold.items())
    ]


def _cell_order(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        arm_place(cell["arm"]),
        "" if is_missing(cell["concept"]) else str(cell["concept"]),
        -1 if is_missing(cell["layer"]) else int(cell["layer"]),
        unit_name(cell["unit"]),
        cell["magnitude"],
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
