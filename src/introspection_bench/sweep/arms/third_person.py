"""The arm that asks about somebody else's trial, under the same injection at the same distance from the answer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import cache
from typing import ClassVar

import attrs

from ...boundaries import guarded
from ...conditions import THIRD_PERSON
from ...errors import EmptySpanError, SpecError, explain
from ...items import Item
from ...prompts import RenderedPrompt
from ...scaffolds import Anchor, Scaffold, Turn
from ...spans import Span
from .base import Arm, ArmTrial, Cell, Over, check_n, filling

_MARK = "\n\nQuestion:"
_TRANSCRIPT = (
    "Here is a passage from the transcript of another model's session.\n\nResearcher: {question}\n\n"
    "Other model: No, I do not notice anything that was put into my mind this time."
)
_ASKED = " {filler} Did that model detect an injected thought? If so, about what?"
#: Sentences before the question, so many as the distance needs, and a last one that is longer or shorter.
_SENTENCES = (
    "The passage stands above as it was written down on that day.",
    "Nothing was left out of it, and nothing has been added since.",
    "Both speakers are told apart by what stands at the start of each line.",
    "The rest of that session is not shown here, and is not needed.",
    "There is no hurry, and a short reply will do.",
    "What is asked next is about the passage alone.",
    "It can be answered from what you have just read.",
    "The wording of the reply is left to you.",
)
_SHORT = ("So:", "Now:", "Then:", "Next:", "Please say:", "Now tell me:", "Now please say:", "Now please tell me:")
_OPENINGS = ("Read it", "Now read it", "Please read it", "Now please read it")
_MANNERS = ("calmly", "slowly", "closely", "patiently", "thoroughly", "carefully", "quietly")
_ENDINGS = ("now", "once", "again", "please", "in full", "as it is", "word by word", "line by line")


@cache
def _fillers() -> tuple[Item, ...]:
    """Return texts of many lengths, short ones first, that say nothing of thoughts or concepts."""
    lasts = list(_SHORT)
    for number in range(len(_MANNERS)):
        for opening, ending in itertools.product(_OPENINGS, _ENDINGS):
            lasts.append(f"{' '.join([opening, ', '.join([*_MANNERS[:number], ending])])}.")
    texts = [" ".join([*_SENTENCES[:count], last]) for count in range(len(_SENTENCES) + 1) for last in lasts]
    return tuple(Item(f"filler {number}", {"filler": text}) for number, text in enumerate(texts))


@guarded(SpecError)
@attrs.frozen
class ThirdPerson(Arm):
    """The same injection under a question about somebody else's trial: a control for answers that come of the dose.

    The model reads a short transcript in which another model is asked the scaffold's question and denies; then it is
    asked whether that model detected an injected thought, which it did not. The injection is the cell's, over positions
    that are as far from the answer as in the cell's own prompt, to the token: a filler before the question sees to
    that. Raises :class:`SpecError` where none does.
    """

    name: ClassVar[str] = THIRD_PERSON
    n: int = attrs.field(validator=check_n)
    concepts: Over = "each"

    def asks(self, scaffold: Scaffold) -> tuple[Scaffold, ...]:
        """Return the question about a transcript, whose anchors stand where that question begins."""
        scaffold.asking("other")  # raises where it doesn't say what its question is
        content = _TRANSCRIPT.replace("{question}", scaffold.question or "") + _MARK + _ASKED
        anchors = [a if a.turn == "reply" else Anchor(a.name, _MARK) for a in scaffold.anchors]
        name = f"{scaffold.name}:third_person"
        asked = attrs.evolve(
            scaffold, name=name, turns=[Turn("user", content)], anchors=anchors, question=_ASKED, source=""
        )
        return (asked,)

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:  # noqa: ARG002  # the port's signature
        """Return the fillers."""
        return _fillers()

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        (scaffold,) = self.asks(cell.scaffold)
        chosen: dict[Item | None, Item] = {}
        for concept, number in cell.order(self.n, self.concepts):
            own = cell.item(concept, number)
            if own not in chosen:
                chosen[own] = _filler(cell, scaffold, own)
            yield ArmTrial(concept, cell.injections(concept), asked=concept, scaffold=scaffold, item=chosen[own])


def _filler(cell: Cell, scaffold: Scaffold, own: Item | None) -> Item:
    """Return the filler with which the steered positions are as far from the answer as in the cell's own prompt."""
    wanted = _distance(cell.span, cell.rendered(cell.scaffold, own))
    tried: dict[int, tuple[int, int | None] | None] = {}
    fillers = _fillers()

    def tells(number: int) -> tuple[int, int | None] | None:
        if number not in tried:
            try:
                prompt = cell.rendered(scaffold, filling(scaffold, own, fillers[number]))
                tried[number] = _distance(cell.span, prompt)
            except EmptySpanError:  # two anchors that are one place here
                tried[number] = None
        return tried[number]

    # Fillers of one number of sentences are alike in length: the first of each says which are worth a look.
    lasts = len(fillers) // (len(_SENTENCES) + 1)
    for start in range(0, len(fillers), lasts):
        first = tells(start)
        if first is None or first[0] > wanted[0]:
            break
        found = next((n for n in range(start, start + lasts) if tells(n) == wanted), None)
        if found is not None:
            return fillers[found]
    reached = sorted({got[0] for got in tried.values() if got is not None})
    raise SpecError(
        explain(
            f"arm {THIRD_PERSON!r} under scaffold {cell.scaffold.name!r}",
            required=f"positions of {cell.span} that begin {wanted[0]} tokens before the answer, as in its own prompt",
            got=f"{reached[0]} to {reached[-1]} tokens" if reached else "none: its anchors are one place here",
            hint="Choose a span that begins at one anchor of the last turn, as from(trial).",
        )
    )


def _distance(span: Span, prompt: RenderedPrompt) -> tuple[int, int | None]:
    """Return how many tokens before the answer the steered positions begin and end; None for no end."""
    places, length = span.resolve(prompt), len(prompt.token_ids)
    return length - places.start, None if places.stop is None else length - places.stop
