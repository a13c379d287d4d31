"""Arms that inject nothing and put the concept into the text: what reading of it does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

import attrs

from ...boundaries import checked, guarded
from ...conditions import EDITED_INPUT, EDITED_INPUT_CLEAN, MENTION
from ...errors import SpecError, explain
from ...items import Battery, Item
from ...prompts import RenderedPrompt
from ...scaffolds import Scaffold
from .asking import as_battery, dealt, ours, with_slots
from .base import Arm, ArmTrial, Cell, Over, check_n, filling

_WORD = "{word}"
#: What stands in a neutral paragraph in the concept's place, one of them as many tokens long as the concept's word.
NEUTRAL = (
    "things",
    "this",
    "items",
    "topics",
    "matters",
    "objects",
    "subjects",
    "something",
    "everything",
    "many things",
    "some of this",
    "bits",
    "pages",
    "pieces",
    "records",
    "passages",
    "materials",
    "particulars",
    "other things",
    "various things",
    "this and that",
    "things of that sort",
    "things of one sort or another",
    "all sorts of things and matters",
    "things of one sort and of another",
    "various other things of that sort",
    "things of one sort and things of another",
)


def _check_word(_: object, attribute: attrs.Attribute[Battery], value: Battery) -> None:
    without = [item.name for item in value.items if not all(_WORD in text for text in item.slots.values())]
    if without:
        raise SpecError(
            explain(
                f"arm.{attribute.name}",
                required=f"{_WORD} in every text",
                got=f"none in {without}",
                hint="Put it there.",
            )
        )


def _written(item: Item, told: str, word: str) -> Item:
    return Item(f"{item.name}: {told}", {slot: text.replace(_WORD, word) for slot, text in item.slots.items()})


def _with_first(scaffold: Scaffold, name: str, turn: int, text: str) -> Scaffold:
    """Return a scaffold with a text of its own before a turn's."""
    turns = list(scaffold.turns)
    turns[turn] = attrs.evolve(turns[turn], content=f"{text}\n\n{turns[turn].content}")
    return attrs.evolve(scaffold, name=f"{scaffold.name}:{name}", turns=turns)


@guarded(SpecError)
@attrs.frozen
class Mention(Arm):
    """Nothing is injected; the concept's word stands in an ordinary sentence before the trial.

    A control for naming what stands in the text. Judges are asked about the mentioned concept, which is the trial's
    ``asked``. There is no dose: n trials for each concept (or in all, spread) and scaffold, paired with the injected.
    """

    name: ClassVar[str] = MENTION
    n: int = attrs.field(validator=check_n)
    battery: Battery = attrs.field(
        converter=as_battery, validator=[with_slots("mention"), _check_word], factory=ours("mentions")
    )
    concepts: Over = "each"

    @property
    def dosed(self) -> bool:
        """There is no dose."""
        return False

    def asks(self, scaffold: Scaffold) -> tuple[Scaffold, ...]:
        """Return the scaffold with a sentence before its last turn's text."""
        return (_with_first(scaffold, "mention", -1, "{mention}"),)

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:
        """Return each sentence with each concept's word."""
        return tuple(_written(s, concept, word) for concept, word in words.items() for s in self.battery.items)

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        (scaffold,) = self.asks(cell.scaffold)
        sentences = dealt([self.battery.items], cell.seed)
        for concept, number in cell.order(self.n, self.concepts):
            item = _written(next(sentences), concept, cell.word(concept))
            yield ArmTrial(None, asked=concept, scaffold=scaffold, item=item, like=(concept, number))


@guarded(SpecError)
@attrs.frozen
class Match:
    """A paragraph beside the injection that it stands for: how far each moves the answer, in nats; None if unknown."""

    concept: str
    item: str
    wanted: float | None
    reached: float | None


@guarded(SpecError)
@attrs.frozen
class EditedInput(Arm):
    """Nothing is injected; a paragraph on the concept stands in the first turn instead.

    Of the ``battery`` of paragraphs that one is taken which moves the answer most nearly as far as the cell's injection
    does: KL divergence of the answer's first token, from the same paragraph with a neutral word in the concept's place
    and as many tokens, as the injection's is from the unsteered prompt (:meth:`matches`). Where no model is loaded the
    first one stands in. ``neutral`` gives these counterparts as an arm of their own. Judges are asked about the
    concept in both.
    """

    n: int = attrs.field(validator=check_n)
    neutral: bool = False
    battery: Battery = attrs.field(
        converter=as_battery,
        validator=[with_slots("paragraph"), _check_word],
        factory=ours("paragraphs"),
    )
    concepts: Over = "each"

    @property
    def name(self) -> str:
        """By whether the paragraph is on the concept."""
        return EDITED_INPUT_CLEAN if self.neutral else EDITED_INPUT

    def asks(self, scaffold: Scaffold) -> tuple[Scaffold, ...]:
        """Return the scaffold with a paragraph before its first turn's text."""
        return (_with_first(scaffold, "paragraph", 0, "{paragraph}"),)

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:
        """Return each paragraph with each concept's word, or with each neutral one."""
        told = {word: word for word in NEUTRAL} if self.neutral else words
        return tuple(_written(p, name, word) for p in self.battery.items for name, word in told.items())

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        (scaffold,) = self.asks(cell.scaffold)
        chosen: dict[tuple[str, Item | None], Item] = {}
        for concept, number in cell.order(self.n, self.concepts):
            own = cell.item(concept, number)
            if (concept, own) not in chosen:
                about, neutral, _ = self._chosen(cell, concept, own)
                chosen[concept, own] = neutral if self.neutral else about
            item = chosen[concept, own]
            yield ArmTrial(None, asked=concept, scaffold=scaffold, item=item, like=(concept, number))

    @checked(SpecError)
    def matches(self, cell: Cell) -> list[Match]:
        """Return for each concept the paragraph that its first trial has, and how near its effect is."""
        return [self._chosen(cell, concept, cell.item(concept, 0))[2] for concept in cell.concepts]

    def _chosen(self, cell: Cell, concept: str, own: Item | None) -> tuple[Item, Item, Match]:
        """Return the paragraph on a concept, its neutral counterpart, and how near it comes to the injection."""
        word = cell.word(concept)
        about = [_written(p, concept, word) for p in self.battery.items]
        if cell.dosing is None:
            stand_in = self._counterpart(cell, self.battery.items[0], about[0], own, word)
            return about[0], stand_in, Match(concept, about[0].name, None, None)
        wanted = cell.dosing.moved(cell.rendered(cell.scaffold, own), cell.injections(concept))
        found = []
        for paragraph, item in zip(self.battery.items, about, strict=True):
            neutral = self._counterpart(cell, paragraph, item, own, word)
            reached = cell.dosing.moved(self._prompt(cell, neutral, own), self._prompt(cell, item, own))
            found.append((item, neutral, Match(concept, item.name, wanted, reached)))
        return min(found, key=lambda f: abs((f[2].reached or 0.0) - wanted))

    def _prompt(self, cell: Cell, item: Item, own: Item | None) -> RenderedPrompt:
        (scaffold,) = self.asks(cell.scaffold)
        return cell.rendered(scaffold, filling(scaffold, own, item))

    def _counterpart(self, cell: Cell, paragraph: Item, item: Item, own: Item | None, word: str) -> Item:
        if cell.tokenizer is None:  # trials are counted, and no model is there
            return _written(paragraph, NEUTRAL[0], NEUTRAL[0])
        length = len(self._prompt(cell, item, own).token_ids)
        lengths: list[int] = []
        told = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
        for neutral_word in NEUTRAL:
            neutral = _written(paragraph, neutral_word, neutral_word)
            if any(told.search(text) for text in neutral.slots.values()):
                continue
            lengths.append(len(self._prompt(cell, neutral, own).token_ids))
            if lengths[-1] == length:
                return neutral
        raise SpecError(
            explain(
                f"arm {self.name!r}: {item.name!r}",
                required=f"a neutral paragraph of as many tokens ({length} with the prompt) without {word!r}",
                got=f"lengths of {sorted(set(lengths))}",
                hint="Give the concept a shorter word, or the battery another paragraph.",
            )
        )
