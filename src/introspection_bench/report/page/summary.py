"""What a report says in words and tables: facts, headline sentences, cells, controls, receipts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import attrs
import pandas as pd

from ...analysis.binomial import Interval, bounds, percent
from ...analysis.cells import NAMED, cell_name, dose_text, groups, is_dosed, is_missing, rank, telling
from ...analysis.rates import outcome_interval, rates
from ...analysis.selection import controls, dosed, injected, shown_of
from ...conditions import CELL_COLUMNS, INJECTED, RANDOM, ordered
from ...credentials import HIDDEN, is_credential
from ...frames import NOT_JUDGED
from ...freezing import frozen_tuple
from ...verdicts import CRITERIA
from ..wording import all_of, listing, plural


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
    """Return what ran, as (term, text): model, backend, sampling, scaffolds, doses, judge, dates, versions."""

    def names(column: str) -> list[str]:
        return [str(v) for v in dict.fromkeys(frame[column].dropna())]

    layers = sorted(names("layers"), key=lambda text: rank("layers", text))
    found = [
        ("Model", listing(names("model"), 3)),
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
    arms = sorted(ordered(sizes.index), key=lambda arm: arm != INJECTED)  # what a run is about comes first
    return ", ".join(f"{sizes[arm]:,} {arm}" for arm in arms) or "none"


def headlines(frame: pd.DataFrame, success: Sequence[str] = CRITERIA) -> list[str]:
    """Return what was found as plain sentences, each number with its count, interval and denominator.

    ``success`` is what the judge's rubric takes for it (:attr:`~introspection_bench.verdicts.Verdict.success`). Arms on
    which a concept was injected are spoken of one by one. Of
    criteria that the rubric does not ask, nothing is said.
    """
    if frame.empty:
        return ["No trial was run."]
    signal, noise = injected(frame), controls(frame)
    plain = signal[signal["arm"] == INJECTED]
    said = [
        f"{plural(len(plain), 'injected trial')} in {plural(_cells(plain), 'cell')} and {plural(len(noise), 'control')}"
        f"{_others(frame)} were recorded; {_scoring(frame)}."
    ]
    if not frame["unscored"].isna().any():
        return [*said, "No trial has a verdict, so there are no rates: judge the run, or read the transcripts."]
    for arm in sorted(ordered(signal["arm"]), key=lambda arm: arm != INJECTED):
        part = signal[signal["arm"] == arm]
        if part["unscored"].isna().any():
            said += _of_injected(part, arm, success)
    if outcome_interval(frame, "affirmative").n:
        said += _of_claims(frame, signal, noise)
    return said


def _cells(frame: pd.DataFrame) -> int:
    return len(frame[[*CELL_COLUMNS]].drop_duplicates())


def _of_injected(part: pd.DataFrame, arm: str, success: Sequence[str]) -> list[str]:
    strict, named, whole = (outcome_interval(part, o) for o in ("strict", "identifies", "coherent"))
    said = [f"{all_of(success)} (strict) were met in {_rate(strict, _trials(arm))}."]
    if named.n:
        said.append(f"The injected concept was named in {_rate(named, _trials(arm))}")
        said[-1] += f"; the reply was coherent in {_rate(whole)}." if whole.n else "."
    elif whole.n:
        said.append(f"The reply was coherent in {_rate(whole, _trials(arm))}.")
    own = [o for o in shown_of(part) if o not in (*CRITERIA, "strict")]
    said += [f"{o} was true in {_rate(outcome_interval(part, o), _trials(arm))}." for o in own]
    best = _best(part, "identifies") if _cells(part) > 1 else ""
    return [*said, best] if best else said


def _trials(arm: str) -> str:
    return "injected trials" if arm == INJECTED else f"trials of the arm {arm!r}"


def _of_claims(frame: pd.DataFrame, signal: pd.DataFrame, noise: pd.DataFrame) -> list[str]:
    said = []
    for arm in sorted(ordered(signal["arm"]), key=lambda arm: arm != INJECTED):
        found = outcome_interval(signal[signal["arm"] == arm], "affirmative")
        if found.n:
            where = "" if arm == INJECTED else f" of the arm {arm!r}"
            said.append(f"noticed a thought in {_rate(found, f'trials{where}')}")
    affirmed = f"The model said that it {', and '.join(said)}" if said else "No injected trial is scored"
    if noise["unscored"].isna().any():
        false = outcome_interval(noise, "affirmative")
        said = [f"{affirmed}; on controls, where there was none, in {_rate(false)}."]
    elif len(noise):
        said = [f"{affirmed}; no control is scored, so its false-positive rate is unknown."]
    else:
        said = [f"{affirmed}; no control was run, so nothing says how often it would without an injection."]
    for arm, part in _other_arms(frame).items():
        found = outcome_interval(part, "affirmative")
        if found.n:
            said.append(
                f"In the arm {arm!r}, which counts neither as injected nor as control, it said so in {_rate(found)}."
            )
    return said


def _other_arms(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the trials of every arm on which something else was done."""
    others = frame[frame["truth"] == "other"]
    return {arm: others[others["arm"] == arm] for arm in ordered(others["arm"])}


def _others(frame: pd.DataFrame) -> str:
    sizes = frame.loc[(frame["arm"] != INJECTED) & (frame["truth"] != "nothing"), "arm"].value_counts()
    said = [
        f"{plural(int(sizes[arm]), 'trial')} " + ("under random vectors" if arm == RANDOM else f"of the arm {arm!r}")
        for arm in ordered(sizes.index)
    ]
    return f", with {listing(said)}," if said else ""


def _scoring(frame: pd.DataFrame) -> str:
    missing = int((frame["unscored"] == NOT_JUDGED).sum())
    unscored = int(frame["unscored"].notna().sum()) - missing
    scored = len(frame) - missing - unscored
    parts = [f"{scored:,} have a verdict"]
    parts += [f"{unscored:,} unscored (see Judges for the reasons)"] if unscored else []
    parts += [f"{missing:,} are not judged"] if missing else []
    return ", ".join(parts) if scored != len(frame) else "all have a verdict"


def _rate(found: Interval, kind: str = "trials") -> str:
    share = f"{percent(found.rate)}; 95 % interval {bounds(found.low, found.high)}"
    return f"{found.k:,} of {found.n:,} scored {kind} ({share})"


def _best(injected: pd.DataFrame, outcome: str) -> str:
    table = rates(injected, outcomes=[outcome])
    table = table[table["n"] > 0]
    if table.empty or not table["k"].sum():
        return ""
    row = table.sort_values("rate", ascending=False, kind="stable").to_dict("records")[0]
    name = cell_name(row, telling(table, elsewhere=["scaffold"]))
    return (
        f"The cell with the highest rate of {outcome} is {name} under {row['scaffold']}: {row['k']} of "
        f"{row['n']} ({percent(row['rate'])}; {bounds(row['low'], row['high'])}). It is the best of "
        f"{len(table)} cells, chosen after the fact, and its interval does not allow for that."
    )


def cell_link(row: Mapping[Any, Any], columns: Sequence[str] = NAMED) -> str:
    """Return the address, within the report, of a cell's transcripts; ``columns`` are those that tell it apart."""
    told = {"scaffold": row["scaffold"], "arm": row["arm"], "concept": row["concept"], "layer": row["layers"]}
    told["dose"] = dose_text(row) if is_dosed(row) else None
    told |= {c: row[c] for c in columns if c not in (*NAMED, "scaffold")}
    return f"#{urlencode({name: 'none' if is_missing(value) else value for name, value in told.items()})}"


def cell_tables(frame: pd.DataFrame) -> list[CellTable]:
    """Return one table per scaffold, its cells in the order of arm, concept, layer, magnitude and unit."""
    shown, tables = shown_of(frame), []
    for scaffold, part in groups(frame, ["scaffold"]):
        named = telling(part, elsewhere=["scaffold"])
        found = rates(part, outcomes=shown).to_dict("records")  # as many rows for each cell as outcomes are shown
        rows = []
        for number, (cell, trials) in enumerate(groups(part, CELL_COLUMNS)):
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
        note = f"{plural(len(rows), 'cell')}, {plural(len(part), 'trial')}. A cell's name leads to its transcripts."
        tables.append(CellTable(str(scaffold["scaffold"]), note, rows))
    return tables


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
