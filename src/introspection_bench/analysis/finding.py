"""What one rule says of one other explanation: the decision, the words for it, and what would decide it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import attrs

from ..boundaries import guarded
from ..errors import AnalysisError
from ..freezing import frozen_tuple
from .arms_compared import Compared
from .binomial import percent
from .by_concept import ByConcept
from .contrast import points
from .explaining_rules import Evidence, Task
from .intervals import Estimate, same_as_zero
from .needed import needed

#: Whether an explanation holds, is excluded, is left open by the interval, or has no trials that could decide.
Decision = Literal["holds", "excluded", "not decided", "not run"]
THESE_ALONE = "(of these concepts; not decided of concepts like these)"


@guarded(AnalysisError)
@attrs.frozen
class Finding:
    """What one rule says of one task.

    ``arm`` is the arm that decided (empty where none did), ``by_arm`` what each arm of the rule that has trials says.
    ``remains`` is what is left of the result beside the explanation, a difference on these concepts, and ``like`` the
    same over concepts like these: None where the rule rests on no interval. ``threshold`` is what is compared with: the
    margin, or a share of cells. ``open`` says that the unscored trials could change the verdict, ``alike`` that it is
    decided so of concepts like these, too (None where that is no question).
    """

    rule: str
    task: Task
    decision: Decision
    sentence: str
    threshold: float
    arm: str = ""
    remains: Estimate | None = None
    like: Estimate | None = None
    open: bool = False
    alike: bool | None = None
    by_arm: tuple[tuple[str, Decision], ...] = attrs.field(default=(), converter=frozen_tuple)


def decided(compared: Compared, *, worst: bool = False) -> Decision:
    """Return whether less than the margin remains, or something does, or neither is shown.

    ``worst`` asks it of the interval that holds whatever the unscored trials would have been.
    """
    verdict = compared.verdicts[0]
    within, interval = (compared.whatever,) * 2 if worst else (verdict.within, verdict.interval)
    if within.high < verdict.margin:
        return "holds"
    return "excluded" if interval.low > 0 else "not decided"


def remaining(
    rule: str,
    evidence: Evidence,
    task: Task,
    compared: Compared,
    *,
    words: tuple[str, str],
    arm: str = "",
    by_arm: Iterable[tuple[str, Decision]] = (),
) -> Finding:
    """Return what remains beside an explanation, in words: those where it holds, and those where it is excluded."""
    decision = decided(compared)
    holds, excluded = words
    said = {"holds": holds, "excluded": excluded, "not decided": f"“{holds}”"}[decision]
    if decision != "holds":
        said += f" {numbers(compared.these)}"
    if decision == "not decided":
        said += would_need(compared.rate, evidence, compared.per_concept, compared.arms)
    alike = None if decision == "not decided" else _alike(compared, decision)
    said += f" {THESE_ALONE}" if alike is False else ""
    unsure = decision != "not decided" and decided(compared, worst=True) != decision
    these, like = compared.these, compared.like
    return Finding(rule, task, decision, said, evidence.margin, arm, these, like, unsure, alike, by_arm)


def above_margin(
    rule: str, evidence: Evidence, by: ByConcept, words: tuple[str, str], threshold: float | None = None
) -> Finding:
    """Return whether the rate of naming that an explanation leaves lies below the margin, or above it.

    ``threshold`` stands in the margin's place where it is given.
    """
    margin = evidence.margin if threshold is None else threshold
    found = same_as_zero(by.counts, margin, estimand="these concepts", confidence=evidence.confidence)
    decisions: dict[str, Decision] = {"equivalent": "holds", "different": "excluded", "neither": "not decided"}
    decision = decisions[found.verdict]
    said = {"holds": words[0], "excluded": words[1], "not decided": f"“{words[0]}”"}[decision]
    if decision == "not decided":
        trials = by.counts.trials
        said += would_need(by.counts.rate, evidence, max(1, round(sum(trials) / len(trials))))
    end = by.whatever(confidence=evidence.confidence)
    unsure = {"holds": end.high >= margin, "excluded": end.low <= margin}.get(decision, False)
    return Finding(rule, "naming", decision, said, margin, evidence.arm, found.interval, None, unsure)


def numbers(found: Estimate) -> str:
    """Return a difference with its interval, in points."""
    return f"({points(found.estimate)} points, {percent(found.confidence)} {points(found.low)} to {points(found.high)})"


def would_need(rate: float, evidence: Evidence, per_concept: int, arms: int = 2) -> str:
    """Return how many trials, and how many concepts of as many trials as there are, would decide."""
    margin = evidence.margin * math.sqrt(2 / arms)  # a difference of differences varies as much more
    trials, concepts = needed(round(rate, 2), margin, per_concept, confidence=evidence.confidence)
    return (
        f": would need about {trials:,} trials an arm on these concepts, or {per_concept:,} trials on each of about "
        f"{concepts:,} concepts"
    )


def _alike(compared: Compared, decision: Decision) -> bool | None:
    """Return whether a decision is made of concepts like these, too; None where neither arm has concepts."""
    if not compared.verdicts[1:]:
        return None
    over = compared.verdicts[1]
    if not over.interval.said:
        return False
    return over.within.high < over.margin if decision == "holds" else over.interval.low > 0
