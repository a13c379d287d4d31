"""What explains no result away and is to be read beside it: whether simple answers hold, what a direction carries."""

from __future__ import annotations

from collections.abc import Iterator

from ..conditions import PROJECTED_OTHER, PROJECTED_OUT, YES_QUESTIONS, YES_QUESTIONS_CLEAN
from .arms_compared import AS_TOLD, Compared, counted, held_against
from .binomial import percent
from .explaining_rules import OUTCOMES, Evidence, Task
from .finding import Decision, Finding, numbers

_DOES = {"detection": "affirming", "naming": "naming the concept"}


def simple_answers(evidence: Evidence) -> Finding:
    """Say whether yes where yes is true falls under the injection: then that a yes is missing says little."""
    rule, margin = "simple answers", evidence.margin
    clean, steered = ((evidence.answers, arm, "says_yes") for arm in (YES_QUESTIONS_CLEAN, YES_QUESTIONS))
    fall = held_against(clean, steered, margin=margin, confidence=evidence.confidence)
    rates = [counted(each) for each in (clean, steered)]
    if fall is None or rates[0] is None or rates[1] is None:
        missing = "questions whose answer is yes (Questions), with and without the injection, judged by yesno"
        return Finding(rule, "detection", "not run", missing, margin)
    verdict = fall.verdicts[0]
    decision: Decision = "not decided"
    if verdict.interval.low > margin:
        decision = "holds"
    elif verdict.within.high < margin:
        decision = "excluded"
    words = {
        "holds": "the dose breaks simple answers: yes where yes is true falls, too",
        "excluded": "where yes is true it is said under the injection as without it",
        "not decided": "whether yes where yes is true falls, too, is not decided",
    }[decision]
    said = f"{words} ({percent(rates[1].counts.rate)}, unsteered {percent(rates[0].counts.rate)})"
    open_ = {"holds": fall.whatever.low <= margin, "excluded": fall.whatever.high >= margin}.get(decision, False)
    return Finding(rule, "detection", decision, said, margin, YES_QUESTIONS, fall.these, fall.like, open_)


def own_direction(evidence: Evidence, task: Task) -> Iterator[Finding]:
    """Say what is left without the concept's own direction in later layers, by the first layer that lacks it."""
    arms = evidence.frame["arm"].dropna().unique()
    for arm in sorted(arm for arm in arms if arm.partition("@")[0] == PROJECTED_OUT):
        found = _own_direction(evidence, task, arm)
        if found is not None:
            yield found


def _own_direction(evidence: Evidence, task: Task, arm: str) -> Finding | None:
    other = arm.replace(PROJECTED_OUT, PROJECTED_OTHER, 1)
    mine, own, another = ((evidence.frame, name, OUTCOMES[task]) for name in (evidence.arm, arm, other))
    lost = _less(evidence, mine, own)
    left = counted(own)
    if lost is None or left is None:
        return None
    alone = _less(evidence, another, own)
    decision, words = _carries(lost, alone)
    where = arm.partition("@")[2]
    said = (
        f"with the concept's own direction removed from {f'layer {where} on' if where else 'all later layers'}, "
        f"{_DOES[task]} comes to {percent(left.counts.rate)}: {words}"
    )
    shown = lost if alone is None or decision == "excluded" else alone
    against = "injected" if shown is lost else "with another concept's direction removed"
    said += f"; {against} less that {numbers(shown.these)}"
    return Finding("own direction", task, decision, said, evidence.margin, arm, shown.these, shown.like)


def _carries(lost: Compared, alone: Compared | None) -> tuple[Decision, str]:
    """Return whether the direction carries the answer, and in words.

    ``lost`` is what its removal costs, ``alone`` what it costs beyond the removal of another concept's direction.
    """
    margin = lost.verdicts[0].margin
    if lost.verdicts[0].within.high < margin:
        return "excluded", "what is left in other directions suffices"
    if alone is None:
        return "not decided", "what any removal costs is not known (ProjectedOut with other = true)"
    if alone.verdicts[0].interval.low > 0:
        return "holds", "it is read there, in part at least, from that direction"
    if lost.verdicts[0].interval.low > 0 and alone.verdicts[0].within.high < margin:
        return "not decided", "another concept's direction costs as much, and nothing follows"
    return "not decided", "not decided whether it is read from that direction"


def _less(evidence: Evidence, first: AS_TOLD, second: AS_TOLD) -> Compared | None:
    return held_against(first, second, margin=evidence.margin, confidence=evidence.confidence)
