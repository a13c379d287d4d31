"""How far a rate depends on the wording of the question, where a run asks it in several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ...analysis.binomial import bounds, percent
from ...analysis.cells import groups
from ...analysis.rates import rates
from ...analysis.selection import scored
from ...conditions import injected_first
from ...items import Item
from ...results import Results
from ..tables import Section, TextTable
from .conversations import values_in

#: The heading, and what docs/report.md calls it.
TITLE = "By wording of the question"
#: The slot that a wording fills, as in the battery ``wordings``.
SLOT = "question"
_OUTCOMES = ("affirmative", "identifies", "strict")


def wordings_of(results: Results) -> tuple[str, ...]:
    """Return the names of the wordings in which a run's design asks its question; empty where it asks in one."""
    design = results.spec.get("design")
    if not isinstance(design, Mapping):  # others' files say it otherwise, or not at all
        return ()
    items = [item for item in values_in(design, "items", Item) if set(item.slots) == {SLOT}]
    return tuple(item.name for item in items) if len(items) > 1 else ()


def by_wording(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the trials that ask in one of these wordings, with its name in the column ``asked_in``.

    An item of an arm's own stands before a wording: ``m2: Bread + w3``.
    """
    told = [
        None if pd.isna(item) else next((n for n in names if n in str(item).split(" + ")), None)
        for item in frame["item"]
    ]
    return frame.assign(asked_in=pd.array(told, dtype="string")).dropna(subset=["asked_in"])


def spread(frame: pd.DataFrame, names: Sequence[str], outcome: str = "affirmative") -> str:
    """Return ``from 0 % (w3, 0 of 4) to 50 % (w1, 2 of 4)``; ``0 % in each of 8 wordings`` where none differs.

    Empty where fewer than two wordings have scored trials.
    """
    if not names:
        return ""
    table = rates(by_wording(frame, names), ["asked_in"], outcomes=[outcome])
    there = table[table["n"] > 0].sort_values("rate", kind="stable")
    if len(there) < 2:
        return ""
    least, most = there.iloc[0], there.iloc[-1]
    if least["rate"] == most["rate"]:
        return f"{percent(least['rate'])} in each of {len(there)} wordings of the question"
    ends = [f"{percent(e['rate'])} ({e['asked_in']}, {e['k']} of {e['n']})" for e in (least, most)]
    return f"from {ends[0]} to {ends[1]} over {len(there)} wordings of the question"


def wording_section(frame: pd.DataFrame, names: Sequence[str]) -> Section | None:
    """Return the rates of each arm by the wording of the question; None where there is one, or nothing is scored."""
    there = scored(by_wording(frame, names)) if names else frame.iloc[:0]
    arms = injected_first(there["arm"])
    outcomes = [o for o in _OUTCOMES if o in there and there[o].notna().any()]
    tables, told = [], []
    for arm in arms:
        mine = there[there["arm"] == arm]
        asked = [o for o in outcomes if mine[o].notna().any()]
        if not asked:
            continue
        name = arm.replace("_", " ")
        ranges = [(o, spread(mine, names, o)) for o in asked]
        told += [f"{name}, {o}: {said}." for o, said in ranges if said]
        rows = [
            (str(cell["asked_in"]), *(rate_text(row) for row in part.to_dict("records")))
            for cell, part in groups(rates(mine, ["asked_in"], outcomes=asked), ["asked_in"])
        ]
        tables.append(TextTable(f"{name}: rates by wording, with exact 95 % intervals", ("Wording", *asked), rows))
    if not told:
        return None
    opening = (
        "A model may know the published question by heart, so it was asked in several wordings. The ends of a range "
        "lie apart by chance alone where each wording has few trials: read the intervals."
    )
    return Section(TITLE, [opening, *told], tables)


def rate_text(row: Mapping[Any, Any]) -> str:
    """Return ``3/20 · 15 % (3 % to 38 %)`` of a row of rates; a dash where nothing applies."""
    if not row["n"]:
        return "–"
    return f"{row['k']}/{row['n']} · {percent(row['rate'])} ({bounds(row['low'], row['high'])})"
