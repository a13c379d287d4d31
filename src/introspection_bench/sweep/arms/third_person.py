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
_ASKED = "Did that model detect an injected thought? If so, about what?"
#: Where the injection is so near to the answer that no more has room.
_BRIEFLY = "Did it detect an injected thought?"
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
_SHORT = (
    "So:",
    "Now:",
    "Then:",
    "Next:",
    "Tell me:",
    "Now tell:",
    "Then tell:",
    "Please say:",
    "Now tell me:",
    "Then tell me:",
    "Now please say:",
    "Please tell me:",
)
_OPENINGS = ("Read it", "Please read it")
_MANNERS = ("calmly", "slowly", "closely", "patiently", "thoroughly", "carefully")
_ENDINGS = ("now", "once", "again", "in full", "as it is")


@cache
def _fillings() -> tuple[tuple[Item, ...], ...]:
    """Return the question behind texts that say nothing of thoughts: in groups, each item longer or shorter by a bit.

    The first of a group is the shortest, and the groups are ever longer; the last ones ask more briefly.
    """
    lasts = list(_SHORT)
    for number in range(len(_MANNERS) + 1):
        for opening, ending in itertools.product(_OPENINGS, _ENDINGS):
            lasts.append(f"{opening} {', '.join([*_MANNERS[:number], ending])}.")
    counts = range(len(_SENTENCES) + 1)
    full = [[" ".join([*_SENTENCES[:count], last, _ASKED]) for last in lasts] for count in counts]
    groups = [*full, [f"{last} {_BRIEFLY}" for last in lasts]]
    return tuple(
        tuple(Item(f"third person {g}-{number}", {"asked": text}) for number, text in enumerate(group))
        for g, group in enumerate(groups)
    )


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
        content = _TRANSCRIPT.replace("{question}", scaffold.question or "") + f"{_MARK} {{asked}}"
        anchors = [a if a.turn == "reply" else Anchor(a.name, _MARK) for a in scaffold.anchors]
        name = f"{scaffold.name}:third_person"
        asked = attrs.evolve(
            scaffold, name=name, turns=[Turn("user", content)], anchors=anchors, question="{asked}", source=""
        )
        return (asked,)

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:  # noqa: ARG002  # the port's signature
        """Return the question behind each filler."""
        return tuple(item for group in _fillings() for item in group)

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        (scaffold,) = self.asks(cell.scaffold)
        chosen: dict[Item | None, Item] = {}
        for concept, number in cell.order(self.n, self.concepts):
            own = cell.item(concept, number)
            if own not in chosen:
                chosen[own] = _filling(cell, scaffold, own)
            yield ArmTrial(concept, cell.injections(concept), asked=concept, scaffold=scaffold, item=chosen[own])


def _filling(cell: Cell, scaffold: Scaffold, own: Item | None) -> Item:
    """Return the filling with which the steered positions are as far from the answer as in the cell's own prompt."""
    if cell.tokenizer is None:  # trials are counted, and no model is there
        return _fillings()[0][0]
    wanted = _distance(cell.span, cell.rendered(cell.scaffold, own))
    tried = []
    for group in _fillings():
        for number, item in enumerate(group):
            try:
                found = _distance(cell.span, cell.rendered(scaffold, filling(scaffold, own, item)))
            except EmptySpanError:  # two anchors that are one place here
                break
            tried.append(found[0])
            if found == wanted:
                return item
            if not number and found[0] > wanted[0]:
                break
    raise SpecError(
        explain(
            f"arm {THIRD_PERSON!r} under scaffold {cell.scaffold.name!r}",
            required=f"positions of {cell.span} that begin {wanted[0]} tokens before the answer, as in its own prompt",
            got=f"{min(tried)} to {max(tried)} tokens" if tried else "none: its anchors are one place here",
            hint="Choose a span that begins at one anchor of the last turn, as from(trial).",
        )
    )


def _distance(span: Span, prompt: RenderedPrompt) -> tuple[int, int | None]:
    """Return how many tokens before the answer the steered positions begin and end; None for no end."""
    places, length = span.resolve(prompt), len(prompt.token_ids)
    return length - places.start, None if places.stop is None else length - places.stop
