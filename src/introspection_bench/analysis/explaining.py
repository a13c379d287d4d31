"""What would explain a positive result away: a verdict in words, by stated rules, for noticing and for naming apart.

Each rule takes what remains of the result beside one other explanation, a difference of rates, and decides by its
interval: the explanation *holds* where less than the margin remains, it is *excluded* where something does, and between
them nothing is decided. docs/explaining_rules.md has every rule with its threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..conditions import (
    CONTROL,
    COVARIANCE,
    COVARIANCE_IMPACT,
    EDITED_INPUT,
    IMPACT,
    INJECTED,
    MENTION,
    NEUTRAL_LABELS,
    NEUTRAL_LABELS_CLEAN,
    NO_QUESTIONS,
    NO_QUESTIONS_CLEAN,
    PERMUTED,
    PERMUTED_IMPACT,
    PROMPT_ONLY,
    RANDOM,
    RANDOMS,
    REMOVED,
    THIRD_PERSON,
)
from ..effects import Effects
from ..errors import AnalysisError
from ..freezing import frozen_tuple
from .arms_compared import AS_TOLD, Compared, counted, held_against, rises_against
from .binomial import check_probability, percent
from .contrast import points
from .intervals import Estimate, same_as_zero
from .live import LIVE_BY, live_cells
from .needed import needed
from .selection import require_columns

Task = Literal["detection", "naming"]
#: Whether an explanation holds, is excluded, is left open by the interval, or has no trials that could decide.
Decision = Literal["holds", "excluded", "not decided", "not run"]
#: The outcome of each task.
OUTCOMES: dict[Task, str] = {"detection": "affirmative", "naming": "identifies"}
#: Above this share of cells whose dose is not alive, a report can't be of the concept.
MOST_DEAD = 0.5
NOTHING_EXPLAINS = "nothing here explains it away"
_VERB = {"detection": "affirms", "naming": "names the concept"}


@guarded(AnalysisError)
@attrs.frozen
class Finding:
    """What one rule says of one task.

    ``arm`` is the arm that decided (empty where none did). ``remains`` is what is left of the result beside the
    explanation, a difference on these concepts, and ``like`` the same over concepts like these: None where the rule
    rests on no interval. ``threshold`` is what is compared with: the margin, or a share of cells. ``open`` says that
    the unscored trials could change the verdict.
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
            return (NOTHING_EXPLAINS,)
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


@attrs.frozen(eq=False)
class Evidence:
    """What rules read: trials with reports judged, trials with answers by yes or no judged, and the doses' effects."""

    frame: pd.DataFrame
    answers: pd.DataFrame | None
    effects: Effects | None
    margin: float
    confidence: float
    blinded: bool
    arm: str


@attrs.frozen
class Rule:
    """One other explanation: what remains beside it, by arm, and the words for it.

    ``arms`` are those that can decide, each of them enough. ``holds``, ``excluded`` and ``missing`` are the words where
    it holds, where it does not, and where no such arm has trials; ``{verb}`` stands for what the task is about.
    """

    name: str
    tasks: tuple[Task, ...]
    arms: tuple[str, ...]
    remains: Callable[[Evidence, str, Task], Compared | None]
    holds: str
    excluded: str
    missing: str


def beside_arm(evidence: Evidence, arm: str, task: Task) -> Compared | None:
    """How much more often the injected trials show it than the arm does."""
    outcome = OUTCOMES[task]
    if arm in (CONTROL, *RANDOMS) and task == "naming" and not evidence.blinded:
        return None  # a judge that knows of no concept finds no name by construction
    return _held(evidence, (evidence.frame, evidence.arm, outcome), (evidence.frame, arm, outcome))


def beside_answers(evidence: Evidence, arm: str, task: Task) -> Compared | None:
    """How much more often the injected trials show it than the arm's answer is yes."""
    return _held(evidence, (evidence.frame, evidence.arm, OUTCOMES[task]), (evidence.answers, arm, "says_yes"))


def over_control(evidence: Evidence, arm: str, task: Task) -> Compared | None:
    """How much more often the arm shows it than the controls do."""
    if task == "naming" and not evidence.blinded:
        return None
    outcome = OUTCOMES[task]
    return _held(evidence, (evidence.frame, arm, outcome), (evidence.frame, CONTROL, outcome))


def over_clean(evidence: Evidence, arm: str, task: Task) -> Compared | None:  # noqa: ARG001  # the rules' signature
    """How much more often the arm's answer is yes than without the injection."""
    return _held(evidence, (evidence.answers, arm, "says_yes"), (evidence.answers, NEUTRAL_LABELS_CLEAN, "says_yes"))


def beside_rise(evidence: Evidence, arm: str, task: Task) -> Compared | None:
    """How much more it rises over the controls than yes to the battery rises over the battery without the injection."""
    outcome = OUTCOMES[task]
    mine = ((evidence.frame, evidence.arm, outcome), (evidence.frame, CONTROL, outcome))
    other = ((evidence.answers, arm, "says_yes"), (evidence.answers, NO_QUESTIONS_CLEAN, "says_yes"))
    return rises_against(mine, other, margin=evidence.margin, confidence=evidence.confidence)


def _held(evidence: Evidence, first: AS_TOLD, second: AS_TOLD) -> Compared | None:
    return held_against(first, second, margin=evidence.margin, confidence=evidence.confidence)


_DETECTION: tuple[Task, ...] = ("detection",)
_NAMING: tuple[Task, ...] = ("naming",)
_BOTH: tuple[Task, ...] = ("detection", "naming")
_YESNO = "and judge it by the rubric yesno"
#: Every rule that rests on arms, in the order in which they are said.
RULES: tuple[Rule, ...] = (
    Rule(
        "no injection",
        _BOTH,
        (CONTROL,),
        beside_arm,
        "{verb} as often without any injection",
        "{verb} more often than without an injection",
        "controls (Unsteered), judged blind",
    ),
    Rule(
        "disturbance of equal norm",
        _DETECTION,
        (RANDOM, PERMUTED),
        beside_arm,
        "affirms as often under random vectors of equal norm: a disturbance alarm, no content",
        "affirms more often than under random vectors of equal norm",
        "random vectors of equal norm (RandomVector)",
    ),
    Rule(
        "disturbance like words",
        _DETECTION,
        (COVARIANCE, COVARIANCE_IMPACT),
        beside_arm,
        "affirms as often under random vectors that vary as words' do: a disturbance alarm, no content",
        "affirms more often than under random vectors that vary as words' do",
        'random vectors with the words\' covariance (RandomVector(kind="covariance"))',
    ),
    Rule(
        "disturbance of equal effect",
        _DETECTION,
        (IMPACT, PERMUTED_IMPACT, COVARIANCE_IMPACT),
        beside_arm,
        "affirms as often under random vectors of equal effect: a disturbance alarm, no content",
        "affirms more often than under random vectors of equal effect",
        'random vectors of equal effect (RandomVector(matched="impact"))',
    ),
    Rule(
        "guess",
        _NAMING,
        RANDOMS,
        beside_arm,
        "names a concept as often under random vectors that hold none: a guess",
        "names the concept more often than under random vectors",
        "random vectors (RandomVector)",
    ),
    Rule(
        "yes-bias",
        _DETECTION,
        (NO_QUESTIONS,),
        beside_rise,
        "yes to no-questions rises as much: yes-bias",
        "affirms by more than yes to no-questions rises",
        f"no-questions with and without the injection (Questions, steered = false beside it), {_YESNO}",
    ),
    Rule(
        "somebody else",
        _DETECTION,
        (THIRD_PERSON,),
        beside_answers,
        "says yes as often of somebody else's trial: no look at its own state",
        "affirms more often than of somebody else's trial",
        f"somebody else's trial (ThirdPerson), {_YESNO}",
    ),
    Rule(
        "the word yes",
        _DETECTION,
        (NEUTRAL_LABELS,),
        over_clean,
        "affirms only by the word yes: under other labels nothing rises",
        "affirms under other labels than yes and no, too",
        f"other labels with and without the injection (NeutralLabels, steered = false beside it), {_YESNO}",
    ),
    Rule(
        "mention",
        _BOTH,
        (MENTION,),
        beside_arm,
        "{verb} as often when the concept only stands in the text",
        "{verb} more often than where the concept only stands in the text",
        "the concept in the text instead (Mention)",
    ),
    Rule(
        "edited input",
        _BOTH,
        (EDITED_INPUT,),
        beside_arm,
        "{verb} as often when a paragraph on the concept only stands in the text",
        "{verb} more often than where a paragraph on the concept only stands in the text",
        "a paragraph on the concept instead (EditedInput)",
    ),
    Rule(
        "steered reply",
        _BOTH,
        (PROMPT_ONLY, REMOVED),
        over_control,
        "{verb} only while its reply is steered",
        "{verb} with no token of its reply steered, too",
        "the injection on the prompt alone (PromptOnly or Removed), and controls",
    ),
)


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
    evidence = Evidence(frame, answers, effects, margin, confidence, blinded, arm)
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
    words = {"holds": rule.holds, "excluded": rule.excluded, "not decided": f"whether it {rule.holds}"}[decision]
    words = words.format(verb=_VERB[task])
    more = "" if decision == "holds" else f" {_numbers(compared.these)}"
    if decision == "not decided":
        more += _would_need(compared.rate, evidence, compared.per_concept)
    if decision != "not decided" and compared.verdicts[1:]:
        more += _likewise(compared, decision)
    unsure = decision != "not decided" and _decision(compared, worst=True) != decision
    like = compared.like
    return Finding(rule.name, task, decision, words + more, evidence.margin, arm, compared.these, like, unsure)


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


def _likewise(compared: Compared, decision: Decision) -> str:
    over = compared.verdicts[1]
    if not over.interval.said:
        return " (of these concepts alone: there are too few to speak of others like them)"
    same = over.within.high < over.margin if decision == "holds" else over.interval.low > 0
    return "" if same else " (of these concepts; not decided of concepts like these)"


def _numbers(found: Estimate) -> str:
    return (
        f"({points(found.estimate)} points, {percent(found.confidence)} {points(found.low)} to {points(found.high)})"
    )


def _would_need(rate: float, evidence: Evidence, per_concept: int) -> str:
    trials, concepts = needed(round(rate, 2), evidence.margin, per_concept, confidence=evidence.confidence)
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
        "not decided": "whether it repeats the concept without affirming",
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
