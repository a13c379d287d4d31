"""The report's statistical sections: what a null excludes, controls and detection, judges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ...analysis.agreement import Agreement, agreement
from ...analysis.binomial import bounds, percent
from ...analysis.cells import NAMED, cell_name, groups, is_missing, telling
from ...analysis.clustering import bootstrap_rate
from ...analysis.detection import TASKS, default_guesses, detection
from ...analysis.nulls import excludes
from ...analysis.power import sample_size
from ...analysis.rates import outcome_interval, rates
from ...analysis.selection import controls, injected, scored, shown_of
from ...results import JudgeName, Results
from ...trials import TrialRecord
from ...verdicts import CRITERIA, Verdict
from ..tables import Section, TextTable
from ..wording import all_of, plural
from .ground import ground_lines

#: Lindsey 2026, Claude Opus 4.1 at its best layer and strength; the rate that nulls are compared with.
PUBLISHED_RATE = 0.2
_MOST_GUESSES = 12


def null_section(frame: pd.DataFrame, success: Sequence[str] = CRITERIA) -> Section | None:
    """Return what the strict counts exclude, with the trials it would take; None without scored injected trials."""
    if scored(injected(frame)).empty:
        return None
    found = excludes(frame)
    clean = found.pooled.interval.k == 0
    best = found.best_cell
    sentences = []
    if best.interval.n:
        sentences.append(
            f"In the best cell: {best.under(PUBLISHED_RATE).sentence} {percent(PUBLISHED_RATE)} is about what "
            "Lindsey 2026 reports for the best setting of Claude Opus 4.1, so it compares with a single cell, not with "
            "the pooled trials."
        )
    sentences.append(sample_size(PUBLISHED_RATE).sentence)
    sentences += clustered(frame, ("strict",))
    rows = [
        (
            b.scope,
            f"{b.interval.k}/{b.interval.n}",
            percent(b.interval.rate),
            f"above {percent(b.interval.high)}" + (f", below {percent(b.interval.low)}" if b.interval.low > 0 else ""),
            f"{b.cells:,}" if b.simultaneous_over == 1 else f"any of {b.simultaneous_over:,}, all at once",
        )
        for b in found.bounds
    ]
    return Section(
        "What this null excludes" if clean else "What these counts exclude",
        sentences,
        [
            TextTable(
                f"{all_of(success)} at once (strict): the rates that the trials exclude, at 95 % two-sided, exact",
                ("Trials", "k/n", "rate", "excluded", "cells"),
                rows,
            )
        ],
    )


def clustered(frame: pd.DataFrame, outcomes: Sequence[str] = ("affirmative", "identifies")) -> list[str]:
    """Return pooled rates with intervals that take the concept, not the trial, as the unit of sampling."""
    used = scored(injected(frame)).dropna(subset=["concept"])
    if used["concept"].nunique() == 1:
        return ["All injected trials are of one concept: these rates say nothing of others."]
    said = [bootstrap_rate(frame, outcome).sentence for outcome in outcomes if used[outcome].notna().any()]
    opening = "Trials of one concept are not independent. With concepts as the unit of sampling:"
    return [" ".join([opening, *said])] if said else []


def control_section(frame: pd.DataFrame) -> Section:
    """Return false-positive rates by scaffold, d′ and criterion by cell, and what wrong answers name."""
    noise = controls(frame)
    sentences, tables = [], []
    if noise.empty:
        sentences.append("No control was run: false positives are unknown, and d′ does not exist.")
    elif scored(noise).empty:
        sentences.append("No control is scored: false positives are unknown, and d′ does not exist.")
    else:
        false = outcome_interval(noise, "affirmative")
        sentences.append(
            f"False-positive rate: {false.k} of {false.n} scored controls were affirmative ({percent(false.rate)}; "
            f"95 % interval {bounds(false.low, false.high)})."
        )
        tables.append(_false_positives(noise))
    if len(scored(injected(frame))) and len(scored(noise)):
        sentences.append(
            "Detection asks whether the model says that a thought is there (affirmative), identification whether it "
            "names it (identifies). d′ is the distance between injected and control trials in standard deviations, "
            "with the log-linear correction; criterion above 0 means a tendency to say no."
        )
        tables.append(_detection(frame))
    if len(scored(frame)):
        guesses = default_guesses(frame)
        if len(guesses):
            tables.append(_guesses(guesses))
    return Section("Controls and detection", sentences, tables)


def _false_positives(noise: pd.DataFrame) -> TextTable:
    shown = shown_of(noise)
    by = telling(noise, ("scaffold",))
    rows = [
        (cell_name(cell, by), str(part["n_all"].iloc[0]), *(_rate(r) for r in part.to_dict("records")))
        for cell, part in groups(rates(noise, by, outcomes=shown), by)
    ]
    return TextTable("Rates on controls, by scaffold, with exact 95 % intervals", ("Scaffold", "n", *shown), rows)


def _rate(row: Mapping[Any, Any]) -> str:
    if not row["n"]:
        return "not applicable" if row["n_scored"] else "none scored"
    return f"{row['k']}/{row['n']} · {percent(row['rate'])} ({bounds(row['low'], row['high'])})"


def _detection(frame: pd.DataFrame) -> TextTable:
    """One line per cell: both tasks side by side, never mixed."""
    lines: dict[str, list[str]] = {}
    table = detection(frame)
    named = telling(table, NAMED)
    for row in table.to_dict("records"):
        name = cell_name(row, named)
        interval = "" if is_missing(row["d_low"]) else f" ({_number(row['d_low'])} to {_number(row['d_high'])})"
        lines.setdefault(name, []).extend(
            (
                f"{row['hits']}/{row['signals']}",
                f"{row['false_alarms']}/{row['noises']}",
                _number(row["d_prime"]) + interval,
                _number(row["criterion"]),
            )
        )
    each = ("hits", "false alarms", "d′ (95 % interval)", "c")
    return TextTable(
        "Signal detection by cell",
        ("Cell", *each * len(TASKS)),
        [(name, *cells) for name, cells in lines.items()],
        [("", 1), *((f"{task} ({outcome})", len(each)) for task, outcome in TASKS.items())],
    )


def _guesses(table: pd.DataFrame) -> TextTable:
    top = table.sort_values("n", ascending=False, kind="stable").head(_MOST_GUESSES)
    rows = [
        (
            "(no word found)" if row["kind"] == "none" else str(row["guess"]),
            "another concept of this run" if row["kind"] == "concept" else "a word" if row["kind"] == "word" else "–",
            f"{row['scaffold']} · {row['arm']}",
            f"{row['n']}/{row['n_wrong']}",
            percent(row["share"]),
        )
        for row in top.to_dict("records")
    ]
    more = f" (the {len(rows)} most frequent of {len(table)})" if len(table) > len(rows) else ""
    return TextTable(
        f"What is named where the model claims a thought and the name is wrong{more}",
        ("Named", "kind", "where", "n", "share of wrong answers"),
        rows,
    )


def _number(value: float) -> str:
    return "–" if is_missing(value) else f"{value:.2f}".replace("-", "−")


def verdicts_by(records: Iterable[TrialRecord], name: JudgeName) -> dict[str, Verdict]:
    """Return one judge's verdicts by trial digest; of several on one trial (two decoys) the last counts."""
    return {r.key.digest: v for r in records for v in r.verdicts if name.gave(v)}


def judge_comparisons(results: Results, chosen: JudgeName | None) -> list[tuple[JudgeName, JudgeName, Agreement]]:
    """Return the chosen judge's agreement with every other judge that scored some of the same replies."""
    if chosen is None or len(results.judges) < 2:
        return []
    own = verdicts_by(results, chosen)
    found = []
    for other in results.judges:
        theirs = verdicts_by(results, other)
        shared = any(v.unscored is None and own[t].unscored is None for t, v in theirs.items() if t in own)
        if other != chosen and other.asked == chosen.asked and shared:
            found.append((chosen, other, agreement(own, theirs)))
    return found


def judge_section(results: Results, comparisons: Sequence[tuple[JudgeName, JudgeName, Agreement]]) -> Section | None:
    """Return who judged, how much was left unscored and why, what it cost, and how far judges agree."""
    if not results.judges:
        return None
    rows, reasons = [], []
    for name in results.judges:
        verdicts = [v for r in results for v in r.verdicts if name.gave(v)]
        costs = [v.cost_usd for v in verdicts if v.cost_usd is not None]
        unscored = Counter(v.unscored for v in verdicts if v.unscored is not None)
        rows.append(
            (
                name.judge,
                name.rubric,
                ", ".join(sorted({v.rubric_digest[:12] for v in verdicts})),
                name.model or "none",
                "yes" if name.blinded else "no",
                ("the answer" if name.judged == "answer" else "reasoning and answer")
                + ("" if name.asked == "own" else "; asked about another concept"),
                f"{len(verdicts):,}",
                f"{sum(unscored.values()):,}",
                f"{math.fsum(costs):.2f}" if costs else "not stated",
            )
        )
        reasons += [(str(name), reason, f"{n:,}") for reason, n in unscored.most_common(8)]
    columns = ("Judge", "rubric", "rubric digest", "model", "blinded", "read", "verdicts", "unscored", "cost (US$)")
    tables = [TextTable("Who judged", columns, rows)]
    if reasons:
        tables.append(
            TextTable("Why replies are unscored (never counted as false)", ("Judge", "reason", "replies"), reasons)
        )
    sentences = []
    for name in results.judges:
        said, grids = ground_lines(results, name)
        sentences += said
        tables += grids
    for first, second, found in comparisons:
        sentences.append(
            f"{first} and {second}: {plural(found.both_scored, 'reply').replace('replys', 'replies')} scored by both; "
            f"unscored by the first {found.unscored_first:,}, by the second {found.unscored_second:,}; judged by one "
            f"only {found.only_first + found.only_second:,}. 'Not applicable' counts as {found.not_applicable}."
        )
        tables.append(_agreement(first, second, found))
    return Section("Judges", sentences, tables)


def _agreement(first: JudgeName, second: JudgeName, found: Agreement) -> TextTable:
    rows = [
        (
            c.criterion,
            f"{c.n:,}",
            f"{percent(c.agreement.rate)} ({bounds(c.agreement.low, c.agreement.high)})",
            _number(c.kappa),
            f"{_number(c.low)} to {_number(c.high)}",
            *(str(c.table[i][j]) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))),
        )
        for c in found.criteria
    ]
    return TextTable(
        f"Agreement of {first} (first) with {second} (second); kappa is Cohen's, with a bootstrap 95 % interval",
        (
            "Criterion",
            "replies",
            "raw agreement",
            "kappa",
            "95 % interval",
            "both yes",
            "first only",
            "second only",
            "both no",
        ),
        rows,
    )
