"""What would explain a positive result away: a verdict in words, by stated rules, for noticing and for naming apart.

Each rule takes what remains of the result beside one other explanation, a difference of rates, and decides by its
interval: the explanation *holds* where less than the margin remains, it is *excluded* where something does, and between
them nothing is decided. docs/explaining_rules.md has every rule with its threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..conditions import INJECTED
from ..effects import Effects
from ..errors import AnalysisError
from ..freezing import frozen_tuple
from ..untrusted import encodable
from .arms_compared import Compared, counted
from .binomial import check_probability, percent
from .contrast import points
from .explaining_rules import OUTCOMES, RULES, Evidence, Rule, Task
from .intervals import Estimate, same_as_zero
from .live import LIVE_BY, live_cells
from .needed import needed
from .selection import require_columns

#: Whether an explanation holds, is excluded, is left open by the interval, or has no trials that could decide.
Decision = Literal["holds", "excluded", "not decided", "not run"]
#: Above this share of cells whose dose is not alive, a report can't be of the concept.
MOST_DEAD = 0.5
NOTHING_EXPLAINS = "nothing here explains it away"
_THESE_ALONE = "(of these concepts; not decided of concepts like these)"
_VERB = {"detection": "affirms", "naming": "names the concept"}


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


@guarded(AnalysisError)
@attrs.frozen
class Explained:
    """All findings on one task, and what they come to.

    ``rate`` is the injected trials' own (these concepts); ``silent`` that it lies below the margin, so that there is
    nothing to explain.
    """

    task: Task
    rate: Estimate
    silent: bool
    findings: tuple[Finding, ...] = attrs.field(converter=frozen_tuple)

    @checked(AnalysisError)
    def decided(self, decision: Decision) -> tuple[Finding, ...]:
        """Return the findings with this decision."""
        return tuple(f for f in self.findings if f.decision == decision)

    @property
    def clean(self) -> bool:
        """Whether every rule was run and decided, and none explains the result."""
        return not self.silent and all(f.decision == "excluded" for f in self.findings)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdict in words; empty where nothing is decided against the result and something is open or missing."""
        dose = tuple(f.sentence for f in self.findings if f.rule == "dose" and f.decision == "holds")
        if self.silent:
            never = {"detection": "hardly ever affirms a thought", "naming": "hardly ever names the concept"}[self.task]
            return (f"{never} under injection: nothing there to explain", *dose)
        if self.clean:
            beyond = all(f.alike is not False for f in self.findings)
            return (NOTHING_EXPLAINS if beyond else f"{NOTHING_EXPLAINS} {_THESE_ALONE}",)
        return tuple(f.sentence for f in self.decided("holds"))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, then what is not decided and what was not run, as sentences."""
        what = self.task.capitalize()
        said = [f"{what}: {verdict}." for verdict in self.verdicts]
        if self.silent:
            return tuple(said)
        said += [f"{what}, not decided: {f.sentence}." for f in self.decided("not decided")]
        said += [f"{what}: the unscored trials could change this: {f.rule}." for f in self.findings if f.open]
        missing = [f.sentence for f in self.decided("not run")]
        if missing:
            said.append(f"{what}, not run, so that nothing is claimed without it: {'; '.join(missing)}.")
        return tuple(said)


@checked(AnalysisError)
def explain_away(
    frame: pd.DataFrame,
    answers: pd.DataFrame | None = None,
    effects: Effects | None = None,
    *,
    margin: float = 0.1,
    confidence: float = 0.95,
    blinded: bool = True,
    arm: str = INJECTED,
) -> tuple[Explained, ...]:
    """Return what would explain the reports of injected trials away, for detection and for naming apart.

    Args:
        frame: one row per trial (:func:`records_frame`), with verdicts on reports: those of ``strict4``, say.
        answers: the same trials with verdicts on answers by yes or no (the rubric ``yesno``); None where there are
            none, and then the rules on other questions are not run.
        effects: what the doses do to neutral prompts (``Results.effects``); None or empty where that was not measured.
        margin: the largest difference of rates that counts as none, given before the data.
        confidence: of each interval. Rules are decided one at a time; that all of them exclude their explanations
            needs no adjustment, and that one of several holds is not adjusted for their number.
        blinded: whether the judge did not know what was injected. Where it did, names on controls compare with nothing.
        arm: whose reports they are.

    Returns:
        One for each task whose outcome some trial of the arm is scored for. Cells are matched by model, the design's
        scaffold, layers and the dose asked for.

    Raises:
        AnalysisError: a column is missing, or the margin or confidence is out of range.
    """
    for name, value in (("margin", margin), ("confidence", confidence)):
        check_probability(name, value)
    require_columns(frame, [*LIVE_BY, "scaffold", "arm", "truth", "asked", "unscored", *OUTCOMES.values()])
    if answers is not None:
        require_columns(answers, [*LIVE_BY, "scaffold", "arm", "asked", "unscored"])
        answers = answers if "says_yes" in answers.columns else None
    evidence = Evidence(frame, answers, effects, margin, confidence, blinded, encodable(arm))
    return tuple(found for task in OUTCOMES if (found := _explained(evidence, task)) is not None)


def _explained(evidence: Evidence, task: Task) -> Explained | None:
    mine = counted((evidence.frame, evidence.arm, OUTCOMES[task]))
    if mine is None:
        return None
    none = same_as_zero(mine.counts, evidence.margin, estimand="these concepts", confidence=evidence.confidence)
    silent = none.verdict == "equivalent"
    findings = [] if silent else [_finding(rule, evidence, task) for rule in RULES if task in rule.tasks]
    if task == "naming" and not silent:
        findings.append(parrot(evidence))
    return Explained(task, none.interval, silent, [*findings, dose(evidence, task)])


def _finding(rule: Rule, evidence: Evidence, task: Task) -> Finding:
    """Return what a rule says: that of its arms which speaks most for the explanation decides."""
    found = [(arm, c) for arm in rule.arms if (c := rule.remains(evidence, arm, task)) is not None]
    if not found:
        return Finding(rule.name, task, "not run", rule.missing, evidence.margin)
    order: tuple[Decision, ...] = ("holds", "not decided", "excluded")
    arm, compared = min(found, key=lambda each: order.index(_decision(each[1])))
    decision = _decision(compared)
    words = {"holds": rule.holds, "excluded": rule.excluded, "not decided": f"“{rule.holds}”"}[decision]
    words = words.format(verb=_VERB[task])
    more = "" if decision == "holds" else f" {_numbers(compared.these)}"
    if decision == "not decided":
        more += _would_need(compared.rate, evidence, compared.per_concept, compared.arms)
    alike = None if decision == "not decided" else _alike(compared, decision)
    more += f" {_THESE_ALONE}" if alike is False else ""
    return Finding(
        rule.name,
        task,
        decision,
        words + more,
        evidence.margin,
        arm,
        compared.these,
        compared.like,
        decision != "not decided" and _decision(compared, worst=True) != decision,
        alike,
        [(each, _decision(its)) for each, its in found],
    )


def _decision(compared: Compared, *, worst: bool = False) -> Decision:
    """Return whether less than the margin remains, or something does, or neither is shown."""
    verdict = compared.verdicts[0]
    if worst:
        if compared.whatever.high < verdict.margin:
            return "holds"
        return "excluded" if compared.whatever.low > 0 else "not decided"
    if verdict.within.high < verdict.margin:
        return "holds"
    return "excluded" if verdict.interval.low > 0 else "not decided"


def _alike(compared: Compared, decision: Decision) -> bool | None:
    """Return whether a decision is made of concepts like these, too; None where neither arm has concepts."""
    if not compared.verdicts[1:]:
        return None
    over = compared.verdicts[1]
    if not over.interval.said:
        return False
    return over.within.high < over.margin if decision == "holds" else over.interval.low > 0


def _numbers(found: Estimate) -> str:
    return f"({points(found.estimate)} points, {percent(found.confidence)} {points(found.low)} to {points(found.high)})"


def _would_need(rate: float, evidence: Evidence, per_concept: int, arms: int = 2) -> str:
    margin = evidence.margin * math.sqrt(2 / arms)  # a difference of differences varies as much more
    trials, concepts = needed(round(rate, 2), margin, per_concept, confidence=evidence.confidence)
    return (
        f": would need about {trials:,} trials an arm on these concepts, or {per_concept:,} trials on each of about "
        f"{concepts:,} concepts"
    )


def parrot(evidence: Evidence) -> Finding:
    """Say whether the concept is named without a thought being affirmed."""
    frame = evidence.frame
    both = frame.assign(identifies=frame["identifies"] & frame["affirmative"])
    by = counted((both, evidence.arm, "identifies"))
    if by is None:
        return Finding("parrot", "naming", "not run", "verdicts on affirming and naming", evidence.margin)
    found = same_as_zero(by.counts, evidence.margin, estimand="these concepts", confidence=evidence.confidence)
    decision: Decision = {"equivalent": "holds", "different": "excluded", "neither": "not decided"}[found.verdict]  # type: ignore[assignment]  # mypy widens the values
    words = {
        "holds": "repeats the concept without affirming: a parrot",
        "excluded": "names the concept in replies that affirm",
        "not decided": "“repeats the concept without affirming: a parrot”",
    }[decision]
    if decision == "not decided":
        words += _would_need(by.counts.rate, evidence, _per_concept(by.counts.trials))
    end = by.whatever(confidence=evidence.confidence)
    unsure = {"holds": end.high >= evidence.margin, "excluded": end.low <= evidence.margin}.get(decision, False)
    return Finding("parrot", "naming", decision, words, evidence.margin, evidence.arm, found.interval, None, unsure)


def _per_concept(trials: Iterable[int]) -> int:
    each = list(trials)
    return max(1, round(sum(each) / len(each)))


def dose(evidence: Evidence, task: Task) -> Finding:
    """Say in how many cells (concept, layers, dose) of the injected trials the dose was not alive."""
    alive = list(_cells_alive(evidence))
    if not alive or any(cell is None for cell in alive):
        lacks = "the doses' effects (sweep.measure_effects)"
        lacks += f", in {sum(cell is None for cell in alive)} of {len(alive)} cells" if any(alive) else ""
        return Finding("dose", task, "not run", lacks, MOST_DEAD)
    dead = sum(not cell for cell in alive)
    words = f"dose not alive in {dead} of {len(alive)} cells"
    return Finding("dose", task, "holds" if dead > MOST_DEAD * len(alive) else "excluded", words, MOST_DEAD)


def _cells_alive(evidence: Evidence) -> Iterator[bool | None]:
    mine = evidence.frame[evidence.frame["arm"] == evidence.arm]
    if evidence.effects is None or not len(evidence.effects) or mine.empty:
        return
    told = live_cells(mine, evidence.effects).groupby(list(LIVE_BY), dropna=False)["live"].first()
    yield from (None if pd.isna(value) else bool(value) for value in told)
