"""The rules on what would explain a result away: what remains of it beside each other explanation, and the words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs
import pandas as pd

from ..conditions import (
    CONTROL,
    COVARIANCE,
    COVARIANCE_IMPACT,
    EDITED_INPUT,
    IMPACT,
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
from .arms_compared import AS_TOLD, Compared, held_against, rises_against

Task = Literal["detection", "naming"]
#: The outcome of each task.
OUTCOMES: dict[Task, str] = {"detection": "affirmative", "naming": "identifies"}


@attrs.frozen(eq=False)
class Evidence:
    """What rules read.

    ``frame`` are trials with reports judged, ``answers`` with answers by yes or no judged, ``mismatched`` with the
    same reports judged for another concept; ``observed`` is what a reader of the text names, ``effects`` the doses'.
    """

    frame: pd.DataFrame
    answers: pd.DataFrame | None
    effects: Effects | None
    mismatched: pd.DataFrame | None
    observed: pd.DataFrame | None
    margin: float
    confidence: float
    blinded: bool
    arm: str

    @property
    def mine(self) -> pd.DataFrame:
        """The trials whose reports are to be explained."""
        return self.frame[self.frame["arm"] == self.arm]


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
