"""What is stored of a trial: the reply, and the record that joins it with all that is known of the trial."""

from __future__ import annotations

from typing import Literal

import attrs

from .boundaries import checked, guarded
from .conditions import Condition
from .errors import SpecError, explain
from .freezing import frozen_ints, frozen_tuple, plain_int
from .identity import Sampling as Sampling  # noqa: PLC0414  # importers know the three from here
from .identity import SteerKey as SteerKey  # noqa: PLC0414  # as above
from .identity import TrialKey as TrialKey  # noqa: PLC0414  # as above
from .injection import Receipt
from .measures.readings import Reading
from .names import composed
from .reasoning import Split, split
from .showing import named, plural, quoted, shown
from .untrusted import one_line
from .verdicts import Asked, Part, Verdict, fits_rubric, latest

#: Which part of a run a trial belongs to, where one part chooses what the other one confirms.
TrialPart = Literal["selection", "confirmation"]


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

    def __repr__(self) -> str:
        reasoning = "" if self.reasoning is None else f"reasoning {quoted(self.reasoning)}"
        return shown(self, quoted(self.text), reasoning, plural(len(self.token_ids), "token"), self.finish_reason)

    @property
    def parted(self) -> Reply:
        """The reply with its reasoning set apart, where it came (from elsewhere) with markers in its text."""
        if self.reasoning is not None or self.unclear is not None:
            return self
        parts = split(self.text)
        if parts == Split(self.text, None):  # most replies, of which a copy would take most of a frame's time
            return self
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
class Trial:
    """One trial, before it is run: its key, its condition, and its place among those that are alike.

    ``item`` is the name of what filled the scaffold's slots, None where it has none. ``draw`` counts the trials of one
    condition and item. ``part`` says whether it chose what is confirmed, or confirms it; None in a run without these.
    It is no part of the key.
    """

    key: TrialKey
    condition: Condition
    item: str | None = attrs.field(converter=composed, default=None)
    draw: int = attrs.field(converter=plain_int, default=0)
    part: TrialPart | None = None

    def __repr__(self) -> str:
        return shown(self, one_line(str(self), 300))

    def __str__(self) -> str:
        item = "" if self.item is None else f", {self.item}"
        return f"trial {self.key.digest[:12]} ({self.condition}{item}, no. {self.draw})"


@guarded(SpecError)
@attrs.frozen
class TrialRecord:
    """One finished trial with all that is known of it; what analysis and reports see.

    ``receipts`` stand in the order of the key's steers; there are none in results read from other people's files, even
    where something was steered. ``repeat_of`` is the key of the trial whose very draw this one lists again, as some
    published files do; rates count a draw once. ``source`` says where the record was read from.
    """

    trial: Trial
    reply: Reply
    receipts: tuple[Receipt, ...] = attrs.field(converter=frozen_tuple, default=())
    verdicts: tuple[Verdict, ...] = attrs.field(converter=frozen_tuple, default=())
    readings: tuple[Reading, ...] = attrs.field(converter=frozen_tuple, default=())
    source: str = ""
    repeat_of: str | None = None

    def __repr__(self) -> str:
        verdicts = named("verdicts", [_told(v) for v in self.verdicts])
        receipts = plural(len(self.receipts), "receipt") if self.receipts else ""
        readings = named("readings", [r.measure for r in self.readings])
        trial, reply = one_line(str(self.trial), 200), f"reply {quoted(self.reply.text)}"
        return shown(self, trial, reply, receipts, verdicts, readings)

    @property
    def key(self) -> TrialKey:
        """The trial's identity."""
        return self.trial.key

    @property
    def condition(self) -> Condition:
        """What was done to it."""
        return self.trial.condition

    @property
    def arm(self) -> str:
        """The arm's name."""
        return self.condition.arm

    @property
    def concept(self) -> str | None:
        """The injected concept; None where none was injected."""
        return self.condition.concept

    @property
    def scaffold(self) -> str:
        """The scaffold's name."""
        return self.condition.scaffold

    @property
    def seed(self) -> int | None:
        """The sampling seed; None in results read from elsewhere, which don't say."""
        return self.key.seed if self.key.numerics or self.key.given_seed is not None else None

    @checked(SpecError)
    def verdict(self, judge: str | None = None, rubric: str | None = None, *, asked: Asked = "own") -> Verdict | None:
        """The verdict of a judge and rubric; without names the only one there is.

        ``asked`` chooses between a judge's verdict on the trial's own concept and that on another one. Of one judge's
        verdicts on the answer and on the whole reply, that on the answer. Returns None where there is
        none. Raises :class:`SpecError` where several match.
        """
        mine = [v for v in self.verdicts if v.asked == asked]
        found = [v for v in mine if judge in (None, v.judge) and fits_rubric(v.rubric, rubric)]
        if len(found) > 1:
            found = [v for v in found if v.judged == "answer"] or found
        if len(found) > 1:
            found = latest(found)
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


def _told(verdict: Verdict) -> str:
    met = [name for name, answer in verdict.answers.items() if answer]
    return f"{verdict.judge}/{verdict.rubric}: {'unscored' if verdict.unscored else ' + '.join(met) or 'none met'}"
