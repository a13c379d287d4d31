"""The report's statistical sections: what a null excludes, controls and detection, judges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ...analysis.agreement import Agreement, Confusion, agreement
from ...analysis.binomial import bounds, percent
from ...analysis.by_concept import by_concept
from ...analysis.cells import NAMED, cell_name, groups, is_missing, telling
from ...analysis.detection import TASKS, default_guesses, detection
from ...analysis.intervals import these_concepts
from ...analysis.nulls import Exclusion, excludes
from ...analysis.over_concepts import mean_rate
from ...analysis.power import sample_size
from ...analysis.rates import rates
from ...analysis.selection import controls, injected, scored, shown_of
from ...effects import Effects
from ...results import JudgeName, Results
from ...trials import TrialRecord
from ...verdicts import CRITERIA, Verdict
from ..tables import Section, TextTable
from ..wording import all_of, plural
from .ground import ground_lines

#: Lindsey 2026, Claude Opus 4.1 at its best layer and strength; the rate that nulls are compared with.
PUBLISHED_RATE = 0.2
_MOST_GUESSES = 12


def null_section(
    frame: pd.DataFrame, success: Sequence[str] = CRITERIA, effects: Effects | None = None
) -> Section | None:
    """Return what the strict counts exclude, with the trials it would take; None without scored injected trials.

    With ``effects`` of the run's doses all of it is also stated over live cells alone.
    """
    if scored(injected(frame)).empty:
        return None
    found = excludes(frame, effects=effects)
    counts = found.pooled.counts
    clean = counts is not None and not any(counts.counts.successes)
    sentences = list(found.over_all_cells)
    if found.best is not None:
        sentences.append(
            f"{_in_the_best(found)} {percent(PUBLISHED_RATE)} is about what "
            "Lindsey 2026 reports for the best setting of Claude Opus 4.1, so it compares with a single cell, not with "
            "the pooled trials."
        )
    sentences.append(sample_size(PUBLISHED_RATE).sentence)
    sentences += found.live_sentences
    if found.live is not None and found.live.best is not None:
        said = _in_the_best(found.live)
        sentences.append(f"Over live cells alone: {said[:1].lower()}{said[1:]}")
    rows = [_excluded(row) for row in found.table().to_dict("records")]
    columns = ("Trials", "k/n", "rate", "excluded on these concepts", "over concepts like these", "cells", "chosen")
    return Section(
        "What this null excludes" if clean else "What these counts exclude",
        sentences,
        [
            TextTable(
                f"{all_of(success)} at once (strict): the mean rates that the trials exclude, at 95 % two-sided",
                columns,
                rows,
            )
        ],
    )


def _in_the_best(found: Exclusion) -> str:
    cell = "In that cell" if found.best is not None and found.best.cells > 1 else "In the one cell"
    return f"{cell}: {found.under(PUBLISHED_RATE).sentence}"


def _excluded(row: Mapping[Any, Any]) -> tuple[str, ...]:
    if not row["n"]:
        return (row["scope"], "0/0", "–", "nothing", "nothing", f"{row['cells']:,}", row["chosen"])
    ends = [f"above {percent(row['high'])}"] if row["high"] < 1 else []
    ends += [f"below {percent(row['low'])}"] if row["low"] > 0 else []
    like = row["high_like_these"]
    # A chosen cell's own rate never stands alone.
    corrected = "" if is_missing(row["corrected"]) else f"; corrected for the choice {percent(row['corrected'])}"
    return (
        row["scope"],
        f"{row['k']}/{row['n']}",
        percent(row["rate"]) + corrected,
        ", ".join(ends) or "nothing",
        "not said" if is_missing(like) else f"above {percent(like)}" if like < 1 else "nothing",
        f"{row['cells']:,}",
        row["chosen"],
    )


def clustered(frame: pd.DataFrame, outcomes: Sequence[str] = ("affirmative", "identifies")) -> list[str]:
    """Return mean rates of the injected trials under both estimands, these concepts and concepts like these."""
    used = scored(injected(frame))
    said = [mean_rate(frame, outcome).sentence for outcome in outcomes if used[outcome].notna().any()]
    opening = "Trials of one concept are not independent, so each rate says what it is about."
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
        sentences.append(_false_alarms(noise))
        tables.append(_false_positives(noise))
    if len(scored(injected(frame))) and len(scored(noise)):
        sentences.append(
            "Detection asks whether the model says that a thought is there (affirmative), identification whether it "
            "names it (identifies). d′ is the distance between injected and control trials in standard deviations, on "
            "these concepts; where every injected trial is a hit, or no control a false alarm, it has no upper bound. "
            "Its estimate is pulled towards 0 where trials are few: read the interval. The criterion c is above 0 for "
            "a tendency to say no; it has no interval, and is left out where a rate is 0 or 1."
        )
        tables.append(_detection(frame))
    if len(scored(frame)):
        guesses = default_guesses(frame)
        if len(guesses):
            tables.append(_guesses(guesses))
    return Section("Controls and detection", sentences, tables)


def _false_alarms(noise: pd.DataFrame) -> str:
    found = by_concept(noise, "affirmative")
    if found is None:
        return "No judge was asked whether controls claim a thought: false positives are unknown."
    false, most = these_concepts(found.counts), found.whatever()
    k, n = sum(found.counts.successes), sum(found.counts.trials)
    said = (
        f"False-positive rate: {k} of {n} scored controls were affirmative ({percent(false.estimate)}; "
        f"95 % interval {bounds(false.low, false.high)})."
    )
    if found.unscored:
        said += (
            f" Were all {plural(sum(found.missing), 'unscored control')} affirmative, too, rates up to "
            f"{percent(most.high)} would not be excluded."
        )
    return said


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
        lines.setdefault(name, []).extend(
            (
                f"{row['hits']}/{row['signals']}",
                f"{row['false_alarms']}/{row['noises']}",
                _number(row["d_prime"]) + _bounded(row["d_low"], row["d_high"]) + _unscored(row),
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


def _bounded(low: float, high: float) -> str:
    """Return an interval of d′; one-sided, and said so, where the data bound it on one side alone."""
    if is_missing(low):
        return ""
    ends = math.isfinite(low), math.isfinite(high)
    return {
        (True, True): f" ({_number(low)} to {_number(high)})",
        (True, False): f" (at least {_number(low)}; no upper bound)",
        (False, True): f" (at most {_number(high)}; no lower bound)",
        (False, False): " (no bound on either side)",
    }[ends]


def _unscored(row: Mapping[Any, Any]) -> str:
    if not row["unscored"] or is_missing(row["d_low"]):
        return ""
    return f"; whatever the {row['unscored']} unscored are{_bounded(row['d_low_whatever'], row['d_high_whatever'])}"


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
        sentences += [" ".join(c.sentences) for c in found.criteria if c.sentences]
        tables.append(_agreement(first, second, found))
    return Section("Judges", sentences, tables)


def _agreement(first: JudgeName, second: JudgeName, found: Agreement) -> TextTable:
    rows = [
        (
            c.criterion,
            f"{c.n:,}",
            f"{percent(c.agreement.rate)} ({bounds(c.agreement.low, c.agreement.high)})",
            *_coefficients(c),
            *(str(c.table[i][j]) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))),
        )
        for c in found.criteria
    ]
    return TextTable(
        f"Agreement of {first} (first) with {second} (second); kappa is Cohen's, AC1 Gwet's, with 95 % intervals",
        (
            "Criterion",
            "replies",
            "raw agreement",
            "kappa",
            "AC1",
            "prevalence index",
            "bias index",
            "both yes",
            "first only",
            "second only",
            "both no",
        ),
        rows,
    )


def _coefficients(found: Confusion) -> tuple[str, str, str, str]:
    pair = found.pair
    if pair is None:
        return (_number(found.kappa), "–", "–", "–")
    kappa, ac1 = (f"{_number(e.estimate)} ({_number(e.low)} to {_number(e.high)})" for e in (pair.kappa, pair.ac1))
    return kappa, ac1, _number(pair.prevalence_index), _number(pair.bias_index)
