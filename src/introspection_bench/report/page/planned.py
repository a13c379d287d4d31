"""What a run says of its own making: its plan, what it searched, and the trials that chose what others confirm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...analysis.binomial import percent
from ...analysis.departures import Departure, departures, frozen_plan
from ...analysis.searching import CurveSoFar, by_curve, search_of, searched
from ...errors import SpecError
from ...results import JudgeName, Results
from ..tables import Section, TextTable
from ..wording import plural


def plan_section(results: Results, judge: JudgeName | None) -> Section | None:
    """Return what is said of a run's frozen plan, of its search and of its selecting part; None where it has none.

    ``results`` is the whole run, ``judge`` whose verdicts the page uses.
    """
    sentences, tables = _selection(results)
    tables += _searched(results)
    plan = frozen_plan(results)
    if plan is not None:
        found = departures(results, plan, judge=judge)
        on = f"on {plan.date} (digest {plan.digest[:12]})"
        if found:
            sentences.append(f"The plan was frozen {on}; the run departs from it in {plural(len(found), 'field')}.")
            tables.append(_departures(found))
        else:
            sentences.append(f"As frozen {on}.")
    return Section("Plan", sentences, tables) if sentences or tables else None


def _departures(found: Sequence[Departure]) -> TextTable:
    rows = [(d.field, d.frozen, d.run) for d in found]
    return TextTable("Each departure from the frozen plan", ("Field", "frozen", "run"), rows)


def _searched(results: Results) -> list[TextTable]:
    found = search_of(results.spec)
    if found is None or not by_curve(results.records, found[0]):
        return []
    try:
        told = searched(results.records, *found)
    except SpecError:  # several verdicts of one judge, which the page's notes say
        return []
    rows = [_curve_row(curve, told.unit) for curve in told.curves]
    columns = ("Curve", "trials", "first effect", "collapse", "crossing", "rate there", "settled")
    return [
        TextTable(
            f"What a search found on each curve: where {told.rule.rising} and {told.rule.falling} cross, and where "
            f"anything happens (fitted; intervals of {percent(told.rule.confidence)}, approximate)",
            columns,
            rows,
        )
    ]


def _curve_row(curve: CurveSoFar, unit: str) -> tuple[str, ...]:
    def dose(magnitude: float) -> str:
        return "none" if math.isnan(magnitude) else f"{magnitude:.3g} {unit}"

    bounded = math.isfinite(curve.high) and curve.low > 0
    crossing = dose(curve.crossing) + (f" ({curve.low:.3g} to {curve.high:.3g})" if bounded else "")
    words = {"found": "yes", "nothing": "nothing rises", "open": "no"}
    name = f"{curve.scaffold} · {curve}"
    told = (dose(curve.onset), dose(curve.collapse), crossing, percent(curve.height), words[curve.said])
    return (name, str(curve.n + curve.unscored), *told)


def _selection(results: Results) -> tuple[list[str], list[TextTable]]:
    count = len(results.of_part("selection"))
    confirming = len(results.of_part("confirmation"))
    if not count:
        return [], []
    chosen: Mapping[str, Any] = results.spec.get("chosen") or {}
    candidates = chosen.get("candidates", [])
    if chosen and chosen.get("index") is None:
        return [
            f"No cell had enough coherent replies to be chosen: nothing is confirmed. The {plural(count, 'trial')} on "
            "this page were to choose one."
        ], []
    if not confirming:
        return [
            f"The {plural(count, 'trial')} on this page choose a cell; no trial confirms it yet. The highest rate "
            "among them is high by choice."
        ], []
    sentences = [
        f"This page is about the {plural(confirming, 'trial')} that confirm a cell. {plural(count, 'trial')} that "
        "chose it had no part in its numbers; the export has them (`part`)."
    ]
    if not candidates:
        return sentences, []
    rows = [
        (
            _name(c) + (" (chosen)" if n == chosen["index"] else ""),
            f"{c['met']} of {c['trials']}",
            f"{c['coherent']} of {c['trials']}",
        )
        for n, c in enumerate(candidates)
    ]
    outcome = ((results.spec.get("confirm") or {}).get("rule") or {}).get("outcome", "the outcome")
    return sentences, [
        TextTable(
            "What the choice was made from; the chosen count is high by choice", ("Cell", outcome, "coherent"), rows
        )
    ]


def _name(candidate: Mapping[str, Any]) -> str:
    layers = ",".join(map(str, candidate["layers"]))
    told = (candidate["scaffold"], layers and f"layer {layers}", candidate["dose"])
    return " · ".join(str(part) for part in told if part)
