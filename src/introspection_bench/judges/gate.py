"""The gate before a run is judged: replies whose verdict nobody doubts, which every judge must get right.

They are replies to the question of Lindsey 2026, labelled by ``strict4``; for a rubric whose success is a yes
(``yesno``), answers to other questions. A rubric whose success rests on none of those criteria can't be checked by them
(:func:`covers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import attrs

from ..concepts import BUILTIN as CONCEPT_SETS
from ..concepts import Concept, load_concepts
from ..conditions import CONTROL, INJECTED, Condition
from ..digests import digest
from ..errors import JudgeError, ResultsFormatError, explain
from ..freezing import frozen_tuple
from ..scaffolds import LINDSEY
from ..structuring import strict_converter, worded
from ..untrusted import parse_json
from ..verdicts import CRITERIA, FURTHER, Verdict
from .base import Case, Disclosure, Judge
from .rubrics import Rubric, load_rubric

#: What the control replies say of themselves.
_STRICT4 = (*CRITERIA, "refused")
_LABELLED = (*_STRICT4, "says_yes")


@attrs.frozen
class ControlReply:
    """A reply with its verdict by ``strict4``, and why; ``kind`` is ``positive`` (a success) or ``negative``.

    ``question`` is another one than that of Lindsey 2026, and ``says_yes`` whether the reply answers it by yes.
    """

    id: str
    concept: str
    reply: str
    affirmative: bool
    identifies: bool
    immediate: bool | None
    coherent: bool
    refused: bool
    kind: str
    why: str
    says_yes: bool | None = None
    question: str | None = None

    @property
    def strict(self) -> bool:
        """Whether all four criteria are met."""
        return self.meets(CRITERIA)

    def meets(self, criteria: Sequence[str]) -> bool:
        """Whether all of these are met; what no control reply is labelled by is left out."""
        return all(getattr(self, c) is True for c in criteria if c in _LABELLED)


@attrs.frozen
class ControlFailure:
    """One criterion that a judge got wrong on one control reply; ``got`` is its answer or why it gave none."""

    control: ControlReply
    criterion: str
    expected: bool | None
    got: bool | str | None


@attrs.frozen
class ControlReport:
    """What a judge made of the control replies: how many, which criteria were compared, what went wrong."""

    judge: str
    rubric: str
    judge_model: str | None
    replies: int
    compared: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    failures: tuple[ControlFailure, ...] = attrs.field(converter=frozen_tuple)
    verdicts: tuple[Verdict, ...] = attrs.field(converter=frozen_tuple)

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return not self.failures

    @property
    def cost_usd(self) -> float | None:
        """What the check cost; None where that is not known."""
        costs = [v.cost_usd for v in self.verdicts]
        return None if None in costs else sum(c for c in costs if c is not None)


def control_replies(rubric: Rubric | None = None) -> tuple[ControlReply, ...]:
    """Return the packaged control replies for a rubric, by default ``strict4``.

    Raises :class:`ResultsFormatError` where the file is damaged.
    """
    name = "control_answers.jsonl" if rubric is not None and "says_yes" in rubric.success else "control_replies.jsonl"
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    converter = strict_converter()
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        with worded(
            ResultsFormatError,
            f"{name} line {number}",
            root="reply",
            required="a control reply",
            hint="Install the package again.",
            also=(ValueError,),
        ):
            found.append(converter.structure(parse_json(line), ControlReply))
    return tuple(found)


def covers(rubric: Rubric) -> bool:
    """Whether the control replies can check a judge by this rubric: its success needs a criterion of ``strict4``."""
    return not set(rubric.success).isdisjoint(_LABELLED)


def control_report(judge: Judge, replies: Sequence[ControlReply] | None = None) -> ControlReport:
    """Return what a judge makes of the control replies; see :func:`check_judge`."""
    replies = control_replies(judge.rubric) if replies is None else tuple(replies)
    success = judge.rubric.success
    if not covers(judge.rubric):
        raise JudgeError(
            explain(
                f"rubric {judge.rubric.id}",
                required=f"success by some of {_LABELLED}, which the control replies are labelled by",
                got=list(success),
                hint="No control reply can check this judge: judge without (check=False, --no-check), and label some "
                "replies yourself.",
            )
        )
    cases = [_case(control, blinded=judge.blinded) for control in replies]
    # Under another rubric than strict4 the criteria mean something else, but success is success: as far as it rests on
    # criteria that the control replies say, or imply by being a success.
    required = [c for c in success if c in (*CRITERIA, *FURTHER, "says_yes")]
    compared = _STRICT4 if judge.rubric.digest == load_rubric("strict4").digest else ("strict",)
    verdicts: dict[int, Verdict] = dict(judge.live().judge(cases))
    if sorted(verdicts) != list(range(len(cases))):
        raise JudgeError(
            explain(
                f"judge {judge.name!r}",
                required=f"one verdict for each of {len(cases)} control replies",
                got=f"verdicts on {sorted(verdicts)}",
                hint="See the contract in the docs' page judges.",
            )
        )
    failures = []
    for index, control in enumerate(replies):
        verdict = verdicts[index]
        if verdict.unscored is not None:
            failures.append(ControlFailure(control, "unscored", None, verdict.unscored))
            continue
        for criterion in compared:
            expected: bool | None = getattr(control, criterion)
            got = verdict.answer(criterion)
            if criterion == "strict":
                expected, got = control.meets(success), all(verdict.answer(c) is True for c in required)
            if expected != got and not (criterion == "refused" and got is None):  # a rubric need not ask about it
                failures.append(ControlFailure(control, criterion, expected, got))
    return ControlReport(
        judge.name,
        judge.rubric.id,
        judge.model,
        len(cases),
        compared,
        failures,
        [verdicts[i] for i in sorted(verdicts)],
    )


def check_judge(judge: Judge, replies: Sequence[ControlReply] | None = None) -> ControlReport:
    """Return the report of a judge that gets every control reply right.

    Run this before a run is judged: a broken judge is noticed on a dozen replies, not on all. Under ``strict4``
    every criterion must be right; under another rubric, whether the reply is a success by those of its criteria that
    the control replies are labelled by. A judge that works in batches is asked directly here. Raises
    :class:`JudgeError` that names the first failure, or that no control reply can check this rubric (:func:`covers`).
    """
    report = control_report(judge, replies)
    if not report.passed:
        first = report.failures[0]
        raise JudgeError(
            explain(
                f"judge {judge.name!r} on control reply {first.control.id!r}",
                required=f"{first.criterion} = {first.expected} ({first.control.why})"
                if first.criterion != "unscored"
                else "a verdict",
                got=first.got,
                hint=f"{len(report.failures)} of its answers on {report.replies} control replies are wrong or missing; "
                f"nothing was judged. The reply: {first.control.reply[:120]!r}",
            )
        )
    return report


def _case(control: ControlReply, *, blinded: bool) -> Case:
    condition = Condition(INJECTED if control.strict else CONTROL, LINDSEY.name)
    disclosure = None if blinded else Disclosure(condition)
    trial = digest("control_reply", 1, [control.id, control.reply])
    question = LINDSEY.transcript if control.question is None else f"[user]\n{control.question}"
    return Case(trial, question, control.reply, _concept(control.concept), disclosure)


def _concept(name: str) -> Concept:
    for concepts in map(load_concepts, CONCEPT_SETS):
        for concept in concepts:
            if concept.name == name:
                return concept
    return Concept(name, word=name)
