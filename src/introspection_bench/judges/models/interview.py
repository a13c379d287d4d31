"""The conversation about one case: which calls a rubric asks for, and what came of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import attrs

from ...concepts import Concept
from ...untrusted import parse_json
from ...verdicts import Verdict
from ..deciding import OutOfRubricError, decide
from ..rubrics import REASON, Call, Rubric
from .costs import Usage
from .prompting import printable


@attrs.frozen
class Answer:
    """What came back from one call: the text as it came, or why there is none to use (``problem``).

    ``usage`` is what the service reported, ``charged`` what was counted for it: one entry for each time it was sent.
    ``lasting`` says that the answer is final; False where it was paid for and can still be fetched later.
    """

    text: str = ""
    problem: str | None = None
    usage: Usage | None = None
    charged: tuple[Usage, ...] = ()
    lasting: bool = True


def parse(call: Call, text: str) -> tuple[dict[str, str], str]:
    """Return the answers and the reason in ``text``.

    Raises :class:`OutOfRubricError` for anything but one JSON object with exactly the call's keys, each once, and
    words that it allows: what is almost an answer is none. One code fence around the whole, and one block of
    reasoning marked ``<think>`` before it, are taken off, since what is meant can't be mistaken there. Where other
    text stands beside the object it can be: a judge may quote a reply that holds a verdict of its own.
    """
    try:
        data = parse_json(_bare(text))
    except ValueError as error:
        begun = text.strip()
        beside = "{" in begun and (begun[0] != "{" or str(error).startswith("Extra data"))
        told = f"text stands beside the JSON object (it begins {begun[:40]!r}): " if beside else ""
        raise OutOfRubricError(f"malformed answer: {told}{error}") from error
    if not isinstance(data, dict):
        raise OutOfRubricError(f"malformed answer: a JSON object was required, got {type(data).__name__}")
    expected = {REASON, *call.answers}
    if set(data) != expected:
        raise OutOfRubricError(f"malformed answer: required the keys {sorted(expected)}, got {sorted(data)}")
    for question, words in call.answers.items():
        if data[question] not in words:
            raise OutOfRubricError(f"out of rubric: {question} must be one of {words}, got {data[question]!r}")
    return {question: data[question] for question in call.answers}, str(data[REASON])


def _bare(text: str) -> str:
    """Return an answer without a marked block of reasoning before it and without a code fence around it."""
    thought, end, rest = text.strip().partition("</think>")
    if end and thought.startswith("<think>") and "</think>" not in rest and "<think>" not in thought[1:]:
        text = rest
    fenced = re.fullmatch(r"\s*```(?:json|JSON)?[ \t]*\n(.*)\n[ \t]*```\s*", text, flags=re.DOTALL)
    return fenced[1] if fenced and "```" not in fenced[1] else text


@attrs.define
class Interview:
    """The state of one case's conversation; ``due`` until it is finished, then ``verdict``."""

    rubric: Rubric
    answers: dict[str, str] = attrs.field(factory=dict)
    texts: dict[str, str] = attrs.field(factory=dict)
    reasons: list[str] = attrs.field(factory=list)
    usages: list[Usage] = attrs.field(factory=list)
    problem: str | None = None
    lasting: bool = True

    def due(self) -> list[Call]:
        """The calls that can be made now; none once everything is answered or something failed."""
        if self.problem is not None:
            return []
        return [
            call
            for call in self.rubric.calls
            if call.id not in self.texts and all(self.answers.get(q) == word for q, word in call.when.items())
        ]

    def hear(self, call: Call, answer: Answer) -> None:
        """Take in one call's answer."""
        self.texts[call.id] = answer.text
        self.lasting = self.lasting and answer.lasting
        self.usages.extend(answer.charged)
        problem = answer.problem
        if problem is None:
            try:
                answers, reason = parse(call, answer.text)
            except OutOfRubricError as error:
                problem = str(error)
            else:
                self.answers.update(answers)
                self.reasons.append(reason)
        if problem is not None and self.problem is None:
            self.problem = problem if len(self.rubric.calls) == 1 else f"{call.id}: {problem}"

    def verdict(
        self,
        *,
        judge: str,
        model: str | None,
        concept: Concept,
        blinded: bool,
        cost_usd: float | None,
        secrets: Sequence[str],
    ) -> Verdict:
        """Return what was found; unscored, with its reason, where anything went wrong.

        ``secrets`` are the API key and the like: they are struck out of every text that will be stored.
        """
        found: dict[str, bool | None] = {}
        problem = self.problem
        if problem is None:
            try:
                found = decide(self.rubric, self.answers)
            except OutOfRubricError as error:
                problem = str(error)
        raw = next(iter(self.texts.values()), "") if len(self.rubric.calls) == 1 else json.dumps(self.texts)
        return Verdict(
            judge=judge,
            rubric=self.rubric.id,
            rubric_digest=self.rubric.digest,
            concept=concept.name,
            answers=found,
            success=self.rubric.success,
            judge_model=model,
            blinded=blinded,
            unscored=None if problem is None else redact(problem, secrets)[:500],
            notes=redact(" ".join(self.reasons), secrets),
            raw=redact(raw, secrets),
            cost_usd=cost_usd,
        )


def redact(text: str, secrets: Sequence[str]) -> str:
    """Return ``text`` in which no secret (the API key and the like) can be read."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[key]")
    return printable(text)
