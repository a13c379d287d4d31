"""What a bridge found, for people: sections of a page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..analysis.attribution import SAME_REPLIES, Attribution
from ..analysis.binomial import percent
from ..analysis.contrast import points
from ..analysis.intervals import FEWEST_CONCEPTS, Estimate
from ..boundaries import checked
from ..errors import SpecError
from ..report.page.plain import write_sections
from ..report.tables import Section, TextTable
from .bridge import Bridge
from .bridging import Bridged

#: What the columns of a table of effects are called.
EFFECT_COLUMNS = ("effect", "what", "points", "these concepts", "concepts like these", "concepts")


@checked(SpecError)
def write_bridge(found: Bridged, path: str | Path) -> Path:
    """Write what a bridge found as one HTML page; returns the path."""
    planned = found.bridge
    return write_sections(
        path,
        f"From {planned.a.name} to {planned.b.name}",
        [
            _summary(found),
            _steps(planned),
            _rates(found),
            *(_effects(f"Read otherwise, {said}", each) for said, each in found.free),
            *(_effects(f"Other replies, {said}", each) for said, each in found.generated),
        ],
        facts=[
            ("Model", ", ".join(next(iter(found.results.values())).facts["model"]) or "not stated"),
            ("Settings", str(len(planned.settings))),
            ("How", planned.how),
            ("Intervals", f"{percent(found.confidence)}, one at a time"),
        ],
    )


def _summary(found: Bridged) -> Section:
    whole = found.whole
    said = [f"{found.bridge.b.name}, read as it reads itself, less {found.bridge.a.name}, read as it reads itself:"]
    said.append(whole.sentence)
    said.append(
        "It is the sum of what reading A's replies as B does changes, and of what B's replies change, read as B does; "
        "or the other way round. Both are below. An effect says nothing of why: a factor that changes much may do so "
        "by ending coherence alone."
    )
    return Section("The whole difference", said)


def _steps(planned: Bridge) -> Section:
    rows = [
        (step.name, "free" if step.free else "generated", "yes" if step.run else "no", step.a, step.b)
        for step in planned.steps
    ]
    said = [f"{step.name}{'' if step.run else ' (not taken)'}: {step.why}." for step in planned.steps if step.why]
    said += [planned.plan.sentence] if planned.plan else []
    return Section(
        "Steps",
        said,
        [TextTable("In what the two differ", ("step", "kind", "taken", planned.a.name, planned.b.name), rows)],
    )


def _rates(found: Bridged) -> Section:
    table = found.rates()
    rows = [
        (row["setting"], row["read as"], f"{row['k']}/{row['n']}", _rate(row["rate"]), row["controls"])
        for row in table.to_dict("records")
    ]
    columns = ("setting", "read as", "injected", "mean over concepts", "controls")
    return Section("Rates", [], [TextTable("Every setting, as either end reads it", columns, rows)])


def _rate(rate: float | None) -> str:
    return "–" if rate is None or pd.isna(rate) else percent(rate)


def _effects(title: str, found: Attribution) -> Section:
    caption = "Differences of rates in points, as in B less as in A"
    return Section(title, [found.sentence], [TextTable(caption, EFFECT_COLUMNS, effect_rows(found))])


def effect_rows(found: Attribution) -> list[tuple[str, ...]]:
    """Return an attribution as rows of text, in :data:`EFFECT_COLUMNS`."""
    rows = []
    for what, effect in found.lines:
        cells = ["–", effect.lacking, "", ""]
        if effect.these is not None and effect.like is not None:
            cells = [points(effect.these.estimate), *map(_between, (effect.these, effect.like)), str(effect.concepts)]
        rows.append((effect.name, what, *cells))
    return rows


def _between(found: Estimate) -> str:
    if found.said:
        return f"{points(found.low)} to {points(found.high)}"
    return "counted, not sampled" if found.needs == SAME_REPLIES else f"can't be said: it takes {FEWEST_CONCEPTS}"
