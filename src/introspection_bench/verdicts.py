"""Verdicts: what a judge says of a reply, in the words of its rubric."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from .boundaries import checked, guarded
from .digests import digest
from .errors import SpecError, explain
from .freezing import frozen_mapping, frozen_tuple
from .names import composed

#: What of a reply is judged: its answer alone, or its reasoning and answer as one text.
Part = Literal["answer", "whole"]
#: Which concept a judge is asked about: the trial's own (a decoy where it has none), or another one of the run's.
Asked = Literal["own", "mismatched"]
#: What a judge that says so decided on: a plain claim, a plain denial, or neither.
Ground = Literal["claim", "denial", "neither"]
#: The four criteria of the rubric ``strict4``, in the order in which they are always shown; a rubric may have others.
CRITERIA = ("affirmative", "identifies", "immediate", "coherent")
#: What built-in rubrics ask besides. ``names_as_thought``: whether the concept is given as the content of the injected
#: thought (``identifies``: whether it is named anywhere).
FURTHER = ("refused", "names_as_thought")
_CRITERION = re.compile(r"[a-z][a-z0-9_]{0,40}")
#: Names that tables use for something else (:data:`introspection_bench.frames.COLUMNS` and their counts).
TAKEN = frozenset(
    [
        "arm",
        "asked",
        "backend",
        "beside",
        "concept",
        "draw",
        "effect",
        "finish_reason",
        "generation_positions",
        "ground",
        "item",
        "judge",
        "judge_model",
        "judged",
        "judged_concept",
        "layer",
        "layers",
        "live",
        "magnitude",
        "max_ratio",
        "mean_ratio",
        "model",
        "model_fingerprint",
        "n_all",
        "n_coherent",
        "n_scored",
        "outcome",
        "part",
        "prompt_positions",
        "reasoning",
        "record",
        "reply",
        "reply_tokens",
        "resolved",
        "rubric",
        "scaffold",
        "seed",
        "source",
        "span",
        "steers",
        "strict",
        "temperature",
        "trial",
        "truth",
        "unit",
        "unscored",
    ]
)


def check_criterion(name: str) -> None:
    """Raise :class:`SpecError` for what no criterion may be called: tables have a column of that name."""
    if not _CRITERION.fullmatch(name) or name in TAKEN:
        raise SpecError(
            explain(
                "criterion",
                required=f"a lower-case word, none of {sorted(TAKEN)}",
                got=repr(name),
                hint="Rename the rubric's criterion.",
            )
        )


@guarded(SpecError)
@attrs.frozen
class Evidence:
    """The place in the reply that decided a criterion: characters ``start`` to ``stop`` and why."""

    criterion: str
    start: int
    stop: int
    why: str


@guarded(SpecError)
@attrs.frozen
class Verdict:
    """One judge's answer about one reply.

    ``answers`` are the rubric's criteria, by name, each True, False or None for "not applicable" (``immediate``
    where no concept is named); ``success`` names those that must all be met for the reply to count. A judge that
    failed gives ``unscored`` its reason and leaves every answer None: never False. ``concept`` is what the judge
    was asked about: the trial's own, or the decoy on a control. ``judged`` is the part of the reply that was read:
    the answer, or the whole, reasoning included (the two with an empty line between them; places of ``evidence``
    count in that text). ``asked`` says whether ``concept`` is the trial's own or another one of the run's. ``ground``
    is what ``affirmative`` was decided on, where the judge says so: a plain claim, a plain denial, or neither, which is
    weak ground. ``raw`` is the judge's answer as it came; ``cost_usd`` what it
    cost, None where unknown.
    """

    judge: str
    rubric: str
    rubric_digest: str
    concept: str = attrs.field(converter=composed)
    answers: Mapping[str, bool | None] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    success: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=CRITERIA)
    judge_model: str | None = None
    blinded: bool = True
    unscored: str | None = None
    evidence: tuple[Evidence, ...] = attrs.field(converter=frozen_tuple, default=())
    notes: str = ""
    raw: str = ""
    cost_usd: float | None = None
    judged: Part = "answer"
    ground: Ground | None = None
    asked: Asked = "own"

    def __attrs_post_init__(self) -> None:
        for name, value in self.answers.items():
            check_criterion(name)
            if value is not None and type(value) is not bool:  # a 1 or "false" would pass for a criterion met
                raise SpecError(
                    explain(f"verdict.{name}", required="True, False or None", got=repr(value), hint="Use bool().")
                )
        if not self.success:
            raise SpecError(explain("verdict.success", required="the criteria of success", got=self.success, hint=""))
        if self.unscored is not None and not self.unscored:
            raise SpecError(explain("verdict.unscored", required="a reason", got="", hint="None means scored."))
        given = [name for name, value in self.answers.items() if value is not None]
        if self.unscored is not None and given:
            raise SpecError(
                explain("verdict", required="no answers on an unscored verdict", got=given, hint="Drop one of both.")
            )

    @checked(SpecError)
    def answer(self, criterion: str) -> bool | None:
        """The answer to one criterion; None where it does not apply, was not asked, or the verdict is unscored."""
        return self.answers.get(criterion)

    @property
    def strict(self) -> bool | None:
        """Whether all that the rubric counts as success is met (``strict4``: the four criteria); None where unscored.

        A criterion that does not apply is not met.
        """
        return None if self.unscored is not None else all(self.answers.get(c) is True for c in self.success)

    @checked(SpecError)
    def outcome(self, name: str) -> bool | None:
        """What is counted under a name: :attr:`strict` for ``strict``, else the answer to that criterion."""
        return self.strict if name == "strict" else self.answers.get(name)

    @checked(SpecError)
    def key(self, trial: str) -> str:
        """The identity: trial digest, judge, rubric, judge model, concept asked about, blinding, part that was read."""
        return verdict_key(
            trial,
            self.judge,
            self.rubric_digest,
            self.judge_model,
            concept=self.concept,
            blinded=self.blinded,
            judged=self.judged,
        )


def fits_rubric(rubric: str, wanted: str | None) -> bool:
    """Return whether a rubric is the one that is asked for: by its name, of any version, or as in "strict4/1"."""
    return wanted in (None, rubric, rubric.partition("/")[0])


def verdict_key(
    trial: str,
    judge: str,
    rubric_digest: str,
    judge_model: str | None,
    *,
    concept: str,
    blinded: bool,
    judged: Part = "answer",
) -> str:
    """Return the 64-digit key under which a verdict is stored."""
    return digest("verdict", 2, [trial, judge, rubric_digest, judge_model, concept, blinded, judged])


def latest(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return of the verdicts by several versions of one judge ("rules/2", none before there were any) the latest."""
    versions = {v: _version(v) for v in verdicts}
    if len({(v.judge, v.rubric, v.concept) for v in verdicts}) > 1 or None in versions.values():
        return list(verdicts)
    return [max(verdicts, key=lambda v: versions[v] or 0)]


def _version(verdict: Verdict) -> int | None:
    name, _, number = (verdict.judge_model or f"{verdict.judge}/1").rpartition("/")
    return int(number) if name == verdict.judge and number.isdecimal() else None
