"""What is stored of a trial: the reply, the verdicts, and the record that joins them with the trial's key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from .arms import CONTROL, check_arm
from .boundaries import checked, guarded
from .digests import digest
from .errors import SpecError, explain
from .freezing import frozen_ints, frozen_tuple, plain_int
from .identity import Sampling as Sampling  # noqa: PLC0414  # importers know the three from here
from .identity import SteerKey as SteerKey  # noqa: PLC0414  # as above
from .identity import TrialKey as TrialKey  # noqa: PLC0414  # as above
from .injection import Receipt, Unit
from .names import composed
from .reasoning import split
from .untrusted import encodable

#: An arm's name: a built-in one (:mod:`.arms`), or any other.
Arm = str
#: What of a reply is judged: its answer alone, or its reasoning and answer as one text.
Part = Literal["answer", "whole"]
#: What a judge that says so decided on: a plain claim, a plain denial, or neither.
Ground = Literal["claim", "denial", "neither"]
#: The four criteria of a verdict, in the order in which they are always shown.
CRITERIA = ("affirmative", "identifies", "immediate", "coherent")
#: What a verdict may say besides; a rubric need not ask about it.
FURTHER = ("refused", "names_as_thought")

VERDICT_KEY_VERSION = 2


@guarded(SpecError)
@attrs.frozen
class Reply:
    """What the model said. ``token_ids`` are the sampled tokens, the end-of-turn token included.

    ``finish_reason`` is ``stop`` (the model ended its turn), ``length`` (the token limit did), or ``unknown`` in
    results read from elsewhere that don't say, whose ``token_ids`` may be empty for the same reason.

    Where a model reasons before it answers, ``text`` is its answer and ``reasoning`` what its own markers set apart;
    None where there are none. ``unclear`` says why the two can't be told apart (:mod:`.reasoning`).
    """

    text: str
    token_ids: tuple[int, ...] = attrs.field(converter=frozen_ints)
    finish_reason: Literal["stop", "length", "unknown"]
    reasoning: str | None = None
    unclear: str | None = None

    @property
    def parted(self) -> Reply:
        """The reply with its reasoning set apart, where it came (from elsewhere) with markers in its text."""
        if self.reasoning is not None or self.unclear is not None:
            return self
        parts = split(self.text)
        return attrs.evolve(self, text=parts.answer, reasoning=parts.reasoning, unclear=parts.unclear)

    @property
    def is_plain(self) -> bool:
        """Whether the text is all answer, without any marker of reasoning."""
        return self.reasoning is None and self.parted.unclear is None and self.parted.reasoning is None

    @checked(SpecError)
    def to_judge(self, part: Part = "answer") -> tuple[str, str | None]:
        """Return the text of one part, and the reason why it can't be judged, None where it can."""
        mine = self.parted
        whole = mine.text if mine.reasoning is None else f"{mine.reasoning}\n\n{mine.text}"
        if part == "whole":
            return whole, None
        if mine.unclear is None and mine.reasoning is not None and self.finish_reason == "length" and not mine.text:
            return whole, "the token limit came before an answer"
        return (mine.text, None) if mine.unclear is None else (whole, mine.unclear)


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

    The criteria are True, False or None for "not applicable" (``immediate`` where no concept is named). A judge
    that failed gives ``unscored`` its reason and leaves every criterion None: never False. ``concept`` is what
    the judge was asked about: the trial's own, or the decoy on a control. ``names_as_thought`` is whether the concept
    is given as the content of the injected thought; ``identifies``, whether it is named anywhere. ``required`` holds
    what the rubric takes for success. ``judged`` is the part of the reply that was read: the answer, or the whole,
    reasoning included (the two with an empty line between them; places of ``evidence`` count in that text). ``ground``
    is what ``affirmative`` was decided on, where the judge says so: a plain claim, a plain denial, or neither, which is
    weak ground. ``raw`` is the judge's answer as it came; ``cost_usd`` what it cost, None where unknown.
    """

    judge: str
    rubric: str
    rubric_digest: str
    concept: str = attrs.field(converter=composed)
    affirmative: bool | None = None
    identifies: bool | None = None
    immediate: bool | None = None
    coherent: bool | None = None
    refused: bool | None = None
    names_as_thought: bool | None = None
    required: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=CRITERIA)
    judge_model: str | None = None
    blinded: bool = True
    unscored: str | None = None
    evidence: tuple[Evidence, ...] = attrs.field(converter=frozen_tuple, default=())
    notes: str = ""
    raw: str = ""
    cost_usd: float | None = None
    judged: Part = "answer"
    ground: Ground | None = None

    def __attrs_post_init__(self) -> None:
        for field in (*CRITERIA, *FURTHER):
            value = getattr(self, field)
            if value is not None and type(value) is not bool:  # a 1 or "false" would pass for a criterion met
                raise SpecError(
                    explain(f"verdict.{field}", required="True, False or None", got=repr(value), hint="Use bool().")
                )
        if not self.required or set(self.required) - {*CRITERIA, *FURTHER}:
            raise SpecError(
                explain("verdict.required", required=f"some of {(*CRITERIA, *FURTHER)}", got=self.required, hint="")
            )
        if self.unscored is not None and not self.unscored:
            raise SpecError(explain("verdict.unscored", required="a reason", got="", hint="None means scored."))
        given = [c for c in (*CRITERIA, *FURTHER) if getattr(self, c) is not None]
        if self.unscored is not None and given:
            raise SpecError(
                explain("verdict", required="no criteria on an unscored verdict", got=given, hint="Drop one of both.")
            )

    @property
    def strict(self) -> bool | None:
        """Whether all that the rubric requires is met (``strict4``: the four criteria); None where unscored.

        A criterion that does not apply is not met.
        """
        return None if self.unscored is not None else all(getattr(self, c) is True for c in self.required)

    @checked(SpecError)
    def key(self, trial: str, version: int = VERDICT_KEY_VERSION) -> str:
        """The identity: trial digest, judge, rubric, judge model, concept asked about, blinding, part that was read."""
        return verdict_key(
            trial,
            self.judge,
            self.rubric_digest,
            self.judge_model,
            concept=self.concept,
            blinded=self.blinded,
            judged=self.judged,
            version=version,
        )


def verdict_key(
    trial: str,
    judge: str,
    rubric_digest: str,
    judge_model: str | None,
    *,
    concept: str,
    blinded: bool,
    judged: Part = "answer",
    version: int = VERDICT_KEY_VERSION,
) -> str:
    """Return the 64-digit key under which a verdict is stored (in version 1 without the part that was read)."""
    told = [trial, judge, rubric_digest, judge_model, concept, blinded, judged]
    return digest("verdict", version, told if version > 1 else told[:-1])


@guarded(SpecError)
@attrs.frozen
class TrialRecord:
    """One finished trial with all its verdicts; what analysis and reports see.

    ``arm`` says what was done to it: a built-in one (:mod:`.arms`), or any other name, which tables and figures show as
    an arm of its own. ``concept`` is the injected concept's name (on a control the concept that it stands against, or
    None);
    ``receipt`` is None for results read from other people's files. ``seed`` is the sampling seed. ``repeat_of`` is the
    key of the trial whose very draw this one lists again, as some published files do; rates count a draw once.
    ``span`` is the written form of what :class:`SteerKey` holds as positions, None on controls; ``scaffold_digest``
    that of the wording, by which a report finds the conversation.
    """

    key: TrialKey
    arm: Arm = attrs.field(validator=lambda _, __, value: check_arm(value))
    concept: str | None = attrs.field(converter=composed)
    scaffold: str
    model_name: str
    reply: Reply
    receipt: Receipt | None = None
    seed: int | None = attrs.field(converter=plain_int, default=None)
    verdicts: tuple[Verdict, ...] = attrs.field(converter=frozen_tuple, default=())
    source: str = ""
    repeat_of: str | None = None
    span: str | None = None
    scaffold_digest: str = ""

    @property
    def unit(self) -> Unit | None:
        """The unit of the magnitude, None on controls."""
        return None if self.key.unit is None else Unit(self.key.unit)

    @property
    def cell(self) -> tuple[str, str, str | None, int | None, float, str | None]:
        """What trials of one cell share: (scaffold, arm, concept, layer, magnitude, unit)."""
        concept = None if self.arm == CONTROL else self.concept
        return (self.scaffold, self.arm, concept, self.key.layer, self.key.magnitude, self.key.unit)

    @checked(SpecError)
    def verdict(self, judge: str | None = None, rubric: str | None = None) -> Verdict | None:
        """The verdict of a judge and rubric; without names the only one there is.

        Of one judge's verdicts on the answer and on the whole reply, that on the answer. Returns None where there is
        none. Raises :class:`SpecError` where several match.
        """
        found = [v for v in self.verdicts if judge in (None, v.judge) and rubric in (None, v.rubric)]
        if len(found) > 1:
            found = [v for v in found if v.judged == "answer"] or found
        if len(found) > 1:
            found = _latest(found)
        if len(found) > 1:
            raise SpecError(
                explain(
                    "judge",
                    required="a judge and rubric that single out one verdict",
                    got=sorted({f"{v.judge}/{v.rubric}/{v.judge_model}" for v in found}),
                    hint="Name the judge and the rubric.",
                )
            )
        return found[0] if found else None


def _latest(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return of the verdicts by several versions of one judge ("rules/2", none before there were any) the latest."""
    versions = {v: _version(v) for v in verdicts}
    if len({(v.judge, v.rubric, v.concept) for v in verdicts}) > 1 or None in versions.values():
        return list(verdicts)
    return [max(verdicts, key=lambda v: versions[v] or 0)]


def _version(verdict: Verdict) -> int | None:
    name, _, number = (verdict.judge_model or f"{verdict.judge}/1").rpartition("/")
    return int(number) if name == verdict.judge and number.isdecimal() else None


def as_row(record: TrialRecord, verdict: Verdict | None) -> Mapping[str, Any]:
    """Return one flat row (for frames and Parquet): the trial's fields, then the verdict's.

    Half a surrogate pair in a text, which neither can hold, stands as an escape.
    """
    key, receipt, reply = record.key, record.receipt, record.reply.parted
    row: dict[str, Any] = {
        "trial": key.digest,
        "model": record.model_name,
        "model_fingerprint": key.model,
        "backend": key.backend,
        "scaffold": record.scaffold,
        "arm": record.arm,
        "concept": record.concept,
        "layer": key.layer,
        "magnitude": key.magnitude,
        "unit": key.unit,
        "span": record.span,
        "trial_index": key.draw,
        "seed": record.seed,
        "temperature": key.sampling.temperature,
        "reply": reply.text,
        "reasoning": reply.reasoning,
        "reply_tokens": len(record.reply.token_ids),
        "finish_reason": record.reply.finish_reason,
        "prompt_positions": receipt.prompt_positions if receipt else None,
        "generation_positions": receipt.generation_positions if receipt else None,
        "mean_ratio": receipt.mean_ratio if receipt else None,
        "max_ratio": receipt.max_ratio if receipt else None,
    }
    row["judge"] = verdict.judge if verdict else None
    row["rubric"] = verdict.rubric if verdict else None
    row["judge_model"] = verdict.judge_model if verdict else None
    row["judged_concept"] = verdict.concept if verdict else None
    row["judged"] = verdict.judged if verdict else None
    row["ground"] = verdict.ground if verdict else None
    for criterion in (*CRITERIA, "strict", *FURTHER):
        row[criterion] = getattr(verdict, criterion) if verdict else None
    row["unscored"] = verdict.unscored if verdict else "not judged"
    return {name: encodable(value) if isinstance(value, str) else value for name, value in row.items()}
