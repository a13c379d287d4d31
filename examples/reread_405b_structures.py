"""The 405B study's replies under three groups' ways of judging and counting; a part of the page of ``reread_405b.py``.

What differs between 0 % and 4 to 32 % on these very replies: what is counted, by whom, and out of which trials.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from unittest.mock import patch

import attrs
import pandas as pd

from introspection_bench.analysis import Results, by_concept, controls, injected, interval, percent, render
from introspection_bench.analysis.attribution import attribute_factorial
from introspection_bench.analysis.counting import AMONG, Among, Counted, counted, counted_by_concept
from introspection_bench.analysis.fractions import fraction
from introspection_bench.concepts import load_concepts
from introspection_bench.frames import frame_with
from introspection_bench.judges import Case, open_judge
from introspection_bench.judges.cases import file_case_maker
from introspection_bench.judges.rules.read import ReadReply
from introspection_bench.judges.structural import with_structural_rules
from introspection_bench.verdicts import Verdict

#: Which verdicts, by the words of the tables: as published and by rules, each as given and under Lindsey's two rules.
JUDGES = ("published", "published, Lindsey's rules", "rules", "rules, Lindsey's rules")
#: What each group counts, out of what; and which of our verdicts on these replies come nearest to its judge's.
GROUPS: Mapping[str, tuple[str, Sequence[Counted], Among]] = {
    "Lindsey 2026": ("published, Lindsey's rules", ("strict",), "all"),
    "the 405B study": ("published", ("strict",), "all"),
    "Lederman & Mahowald 2026": ("published", ("affirmed", "affirmed and named"), "coherent or denies"),
}
OUTCOMES: tuple[Counted, ...] = ("affirmed", "affirmed and named", "strict")
#: Rubrics for judges that are language models, with a model: Lindsey's structure, and Lederman & Mahowald's.
NOT_RUN = (("paper2_rules", "claude-sonnet-4-6"), ("lenient", "claude-haiku-4-5"))
#: The two ends, as factors: what is counted, by whom, out of what.
FACTORS = ("outcome", "judge", "denominator")


def structures(runs: Sequence[Results]) -> Iterator[str]:
    told = {run.name: verdicts(run) for run in runs}
    yield "## The same replies under three groups' structures\n"
    yield (
        "The study counts *strict*, four criteria at once, out of all trials. Lindsey 2026 counts a claim followed by "
        "the right name in a coherent reply, with two structural rules: a reply whose first words already are the "
        "concept is a no, and one that denies having thoughts at all is incoherent. Lederman & Mahowald 2026 "
        "(arXiv 2603.05414 v2, by a third party's account) report *detection* of 4.3 to 31.7 % and *identification* of "
        "0.7 to 12.9 % on the same model, over layers and strengths, out of the replies that are coherent or deny, and "
        "their judge takes semantic neighbours of a name. Here all three are laid over the study's own replies to "
        "Lindsey's prompt, so that nothing differs but the judging and the counting.\n"
    )
    yield (
        "*Affirmed* is a claim to notice an injected thought, *affirmed and named* that and the concept's name, "
        "wherever it stands. *Denies*, garbled or not, is what `rules` finds to deny noticing anything or having a "
        "mind, and to claim nothing: the published judge was not asked, and what exactly Lederman & Mahowald count as "
        "a denial we have not read. Intervals are exact (Clopper-Pearson, 95 %), about these two concepts.\n"
    )
    yield render(pd.DataFrame(list(headlines(told))))
    yield "### Every outcome, judge and denominator\n"
    yield (
        "Injected trials, and in the last column the controls, out of all. On controls the published judge was told "
        "that nothing can be identified. The rule on denials goes by words: of the one coherent reply that it takes "
        "out here (63 to 62), we read that it denies an injection and no more.\n"
    )
    yield render(pd.DataFrame(list(every(told))))
    yield from explained(told)
    yield from over_cells(told)
    yield from not_run(runs)


def verdicts(run: Results) -> dict[str, pd.DataFrame]:
    """Return the run's trials under Lindsey's prompt with each judge's verdicts."""
    known = {concept.name: concept for concept in load_concepts("pairs")}
    records = [r for r in run if r.scaffold.startswith("lindsey")]
    make = file_case_maker(records, known.values())
    cases = [make(record) for record in records]
    by_rules = dict(open_judge("rules").judge(cases))
    found: dict[str, dict[str, Verdict]] = {name: {} for name in JUDGES}
    for number, (record, case) in enumerate(zip(records, cases, strict=True)):
        for name, given in zip(("published", "rules"), (record.verdicts[0], by_rules[number]), strict=True):
            verdict = with_denial(given, case)
            found[name][case.trial] = verdict
            ruled = with_structural_rules(verdict, case.reply, case.concept.names)
            found[f"{name}, Lindsey's rules"][case.trial] = ruled
    return {name: frame_with(records, lambda record, of=of: of[record.key.digest]) for name, of in found.items()}


def with_denial(verdict: Verdict, case: Case) -> Verdict:
    """Return the verdict with the one criterion that it lacks: whether the reply denies."""
    if verdict.unscored is not None:
        return verdict
    return attrs.evolve(verdict, answers={**verdict.answers, "denies": ReadReply.of(case).denies})


def shown(frame: pd.DataFrame, outcome: Counted, among: Among) -> str:
    part = counted(frame, outcome, among)["counted"].dropna()
    if part.empty:
        return "0/0"
    found = interval(int(part.sum()), len(part))
    return f"{found.k}/{found.n} = {percent(found.rate)} ({percent(found.low)} to {percent(found.high)})"


def headlines(told: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[dict[str, str]]:
    for group, (judge, outcomes, among) in GROUPS.items():
        for outcome in outcomes:
            for name, frames in told.items():
                yield {
                    "as": group,
                    "counts": outcome,
                    "out of": among,
                    "verdicts": judge,
                    "file": name,
                    "injected": shown(injected(frames[judge]), outcome, among),
                    "controls": shown(controls(frames[judge]), outcome, among),
                }


def every(told: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[dict[str, str]]:
    for name, frames in told.items():
        for judge, frame in frames.items():
            for outcome in OUTCOMES:
                row = {"file": name, "verdicts": judge, "counts": outcome}
                row |= {f"out of {among}": shown(injected(frame), outcome, among) for among in AMONG}
                yield row | {"controls": shown(controls(frame), outcome, "all")}


def explained(told: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[str]:
    yield "### What explains the difference\n"
    yield (
        "From *strict, published verdicts, out of all* to *affirmed, `rules`, out of coherent or denies*: the three "
        "factors at two levels each, all eight settings, on the same replies. `points` are differences of rates times "
        "100, the mean over concepts; the main effect is the mean over the settings of the other two, a pair's is half "
        "of what the one does to the other's. The settings share their replies, so the differences are counts and no "
        "samples; of concepts like these nothing can be said from two.\n"
    )
    yield from in_turn(told)
    plan = fraction(FACTORS)
    rows = []
    for name, frames in told.items():
        settings = {run: setting(frames, run) for run in plan.runs}
        found = attribute_factorial(settings, plan, same_replies=True)
        for what, effect in found.lines:
            if effect.these is not None:
                points = f"{effect.these.estimate * 100:+.1f}".replace("-", "−")
                rows.append({"effect": effect.name, "what": what, "file": name, "points": points})
    table = pd.DataFrame(rows)
    order = table[["effect", "what"]].drop_duplicates()
    wide = table.pivot(index=["effect", "what"], columns="file", values="points").reset_index()
    yield render(order.merge(wide, on=["effect", "what"])[["effect", "what", *told]])


def in_turn(told: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[str]:
    """The way from strict to the other end, one change after the other."""
    ways: tuple[tuple[str, str, Counted, Among], ...] = (
        ("*strict*, published verdicts, out of all", "published", "strict", "all"),
        ("*affirmed* in place of *strict*", "published", "affirmed", "all"),
        ("out of coherent or denies", "published", "affirmed", "coherent or denies"),
        ("the name asked for, too", "published", "affirmed and named", "coherent or denies"),
        ("`rules` in place of the published judge, affirmed", "rules", "affirmed", "coherent or denies"),
        ("`rules`, affirmed and named", "rules", "affirmed and named", "coherent or denies"),
    )
    for words, judge, outcome, among in ways:
        rates = "; ".join(f"{name} {shown(injected(frames[judge]), outcome, among)}" for name, frames in told.items())
        yield f"- {words}: {rates}"
    yield (
        "\nThe outcome makes the most of it; the denominator and the judge take part of that away again, and most "
        "affirmed replies are incoherent ones. What is left between these rates and 4.3 to 31.7 % can't be told from "
        "these replies: their judge takes more for a name, and the vectors, layers, unit, span and prompt differ too, "
        "which [the bridge](bridge.md) varies.\n"
    )


def setting(frames: Mapping[str, pd.DataFrame], run: frozenset[str]):  # by concept, or nothing to count
    outcome: Counted = "affirmed" if "outcome" in run else "strict"
    among: Among = "coherent or denies" if "denominator" in run else "all"
    frame = frames["rules" if "judge" in run else "published"]
    return counted_by_concept(injected(frame), outcome, among)


def over_cells(told: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[str]:
    """What a range over layers and strengths is, on these files."""
    yield "### A range over cells\n"
    yield (
        "4.3 to 31.7 % is the range of a rate over layers and strengths, the highest chosen for being the highest. The "
        "same of these files: each strength, both concepts together, out of coherent or denies.\n"
    )
    rows = []
    for name, frames in told.items():
        for judge in ("published", "rules"):
            frame = injected(frames[judge])
            for outcome in ("affirmed", "affirmed and named"):
                found = []
                for magnitude, part in frame.groupby("magnitude"):
                    trials = by_concept(counted(part, outcome, "coherent or denies"), "counted") if len(part) else None
                    if trials is not None:
                        k, n = sum(trials.counts.successes), sum(trials.counts.trials)
                        found.append((k / n, f"{k}/{n} at {magnitude:g}"))
                row = {"file": name, "verdicts": judge, "counts": outcome, "strengths": len(found)}
                yield_of = {"lowest": min(found), "highest": max(found)}
                rows.append(row | {side: f"{percent(rate)} ({text})" for side, (rate, text) in yield_of.items()})
    yield render(pd.DataFrame(rows))


def not_run(runs: Sequence[Results]) -> Iterator[str]:
    """What needs a language model as judge, and what it would cost."""
    yield "### Not run: a language model as judge\n"
    yield (
        "Whether a reply names a semantic neighbour of the concept, which Lederman & Mahowald's judge accepts, no rule "
        "decides; nor is Lindsey's judge of two separate calls asked here. Both need a language model, and neither was "
        "run:\n"
    )
    yield "```console\n$ introspection-bench import MAIN.judged.json OTHER.judged.json --to runs/405b"
    for rubric, model in NOT_RUN:
        yield f"$ introspection-bench judge runs/405b --judge claude --model {model} --rubric {rubric} --batch"
    yield "```\n"
    for rubric, model in NOT_RUN:
        yield f"- `{rubric}` by {model}: {cost(runs, rubric, model)}"
    yield ""


def cost(runs: Sequence[Results], rubric: str, model: str) -> str:
    known = {concept.name: concept for concept in load_concepts("pairs")}
    records = [record for run in runs for record in run]
    make = file_case_maker(records, known.values())
    # The judge wants a key when it is opened; an estimate sends nothing.
    with patch.dict(os.environ, {"ANTHROPIC_API_KEY": "none"}):
        judge = open_judge("claude", rubric=rubric, model=model, batch=True)
    found = judge.estimate([make(record) for record in records])  # type: ignore[attr-defined]  # of judges that ask a model
    dollars = "no known price" if found.usd is None else f"{found.usd:.2f} dollars"
    return f"{found.calls:,} to {found.calls_at_most:,} calls in batches, {dollars} at most ({found.priced})"
