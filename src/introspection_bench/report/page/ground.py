"""What the verdicts of a judge that says so rest on, and what to do where that is little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from ...analysis.binomial import percent
from ...analysis.judge_error import judge_error
from ...conditions import ordered
from ...errors import AnalysisError, ResultsFormatError
from ...judges.labels import comparable, read_labels
from ...results import JudgeName, Results
from ...trials import TrialRecord
from ...verdicts import Verdict
from ..tables import TextTable

#: The models whose replies the rules judge was measured on (docs/rules_judge.md), as parts of their names.
MEASURED_ON = (
    "llama-3.1-405b",
    "qwen1.5-moe-a2.7b",
    "qwen2.5-7b",
    "qwen2.5-32b",
    "qwen2.5-coder-32b",
    "codellama-34b",
)
#: From this share of weak ground on the replies are called unlike those that the judge was measured on.
MOST_WEAK = 0.25


def ground_lines(results: Results, name: JudgeName) -> tuple[list[str], list[TextTable]]:
    """Return sentences and a table on how many verdicts of a judge rest on weak ground, by arm.

    Weak ground is a coherent reply in which neither a plain claim nor a plain denial decided. Nothing is returned for
    a judge that does not say what it decided on.
    """
    judged = [(r, v) for r in results for v in r.verdicts if name.gave(v) and v.ground is not None]
    if not judged:
        return [], []
    weak = [(r, v) for r, v in judged if _is_weak(v)]
    readable = sum(v.answer("coherent") is True for _, v in judged)
    said = [
        f"{name.judge} rests {len(weak):,} of its {readable:,} verdicts on coherent replies on weak ground: neither a "
        "plain claim nor a plain denial of an injected thought decided."
    ]
    unmeasured = sorted({r.condition.model for r, _ in judged if not _is_measured(r.condition.model)})
    strange = [f"it was not measured on replies of {', '.join(unmeasured)}"] if unmeasured else []
    if readable and len(weak) / readable > MOST_WEAK:
        strange.append(f"more than {percent(MOST_WEAK)} of the coherent replies give it weak ground")
    if strange:
        said.append(
            f"How far {name.judge} can be trusted here is not known: {', and '.join(strange)}. Label 50 replies "
            "(`introspection-bench label`) or judge with a second judge, and read `introspection-bench judge-check`."
        )
    said += _corrected(results, name, judged)
    return said, [_by_arm(name, judged)]


def _is_weak(verdict: Verdict) -> bool:
    return verdict.ground == "neither" and verdict.answer("coherent") is True


def _is_measured(model: str) -> bool:
    return any(part in model.lower() for part in MEASURED_ON)


def _by_arm(name: JudgeName, judged: Sequence[tuple[TrialRecord, Verdict]]) -> TextTable:
    rows = []
    for arm in ordered(r.arm for r, _ in judged):
        mine = [v for r, v in judged if r.arm == arm]
        counts = Counter(v.ground for v in mine if v.answer("coherent") is True)
        weak = sum(map(_is_weak, mine))
        if mine:
            cells = (counts["claim"], counts["denial"], weak, sum(v.answer("coherent") is not True for v in mine))
            rows.append((arm, *(f"{n:,}" for n in cells)))
    return TextTable(
        f"What {name} decided on, by arm",
        ("Arm", "a plain claim", "a plain denial", "neither", "reply not coherent"),
        rows,
    )


def _corrected(results: Results, name: JudgeName, judged: Sequence[tuple[TrialRecord, Verdict]]) -> list[str]:
    """Return what the labels in the run, where there are any, say of the rates of affirmative replies."""
    run = Path(results.source)
    # A results file has no folder of its own in which labels could lie.
    labels = read_labels(run / "labels.jsonl") if results.source and run.is_dir() else []
    if not labels:
        return []
    try:
        _, known = comparable({r.key.digest: v for r, v in judged}, labels)
        found = judge_error(Results(results.name, _only(judged)), known, judge=name.judge, rubric=name.rubric)
    except (AnalysisError, ResultsFormatError) as error:
        return [f"The {len(labels):,} labels of this run give no corrected rate. {error}"]
    return ["Affirmative replies and this judge's error, by stratum.", *found.sentences]


def _only(judged: Iterable[tuple[TrialRecord, Verdict]]) -> list[TrialRecord]:
    """Return the records with the verdict of the one judge that is spoken of."""
    return [attrs.evolve(record, verdicts=(verdict,)) for record, verdict in judged]
