"""Arms that fill slots of the design's own scaffolds by the concept: its word, or a list of words that it stands in."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from ...boundaries import guarded
from ...conditions import BUILTIN, CONTROL, INJECTED, RANDOM, Truth
from ...digests import digest
from ...errors import SpecError, explain
from ...items import Item, load_battery
from ...spans import Span
from .base import Arm, ArmTrial, Cell, Over, check_n
from .randoms import RandomVector
from .removing import another

#: What is injected where a concept's word stands in the text: the concept, another one, a random vector, or nothing.
What = Literal["injected", "other", "random", "nothing"]
OTHER_CONCEPT = "other_concept"
_NAMES = {"injected": INJECTED, "other": OTHER_CONCEPT, "random": RANDOM, "nothing": CONTROL}
#: The slots that are filled.
WORD, WORDS = "word", "words"
#: The fewest and the most words that are offered.
_FEWEST, _MOST = 2, 50


class _ByConcept(Arm):
    """An arm whose text depends on the concept, which judges are asked about in every trial, whatever is injected."""

    n: int
    what: What
    concepts: Over
    span: Span | None
    label: str

    @property
    def name(self) -> str:
        """By what is injected, with the label behind an @."""
        kind = _NAMES[self.what]
        return f"{kind}@{self.label}" if self.label else kind

    @property
    def truth(self) -> Truth:
        """That of the built-in arm which injects the same."""
        return BUILTIN.get(_NAMES[self.what], "other")

    @property
    def dosed(self) -> bool:
        """Without an injection there is no dose."""
        return self.what != "nothing"

    def _trials(self, cell: Cell, slot: str, items: Mapping[str, tuple[Item, ...]]) -> Iterator[ArmTrial]:
        """Yield a trial for each concept and number, with its items in turn where the scaffold has the slot."""
        drawn = RandomVector(self.n, concepts=self.concepts).trials(cell) if self.what == "random" else None
        for concept, number in cell.order(self.n, self.concepts):
            mine = items[concept]
            item = mine[number % len(mine)] if slot in cell.scaffold.slots else None
            like = (concept, number)
            if drawn is not None:
                injections = next(drawn).injections
                moved = injections if self.span is None else [attrs.evolve(i, span=self.span) for i in injections]
                yield ArmTrial(None, moved, asked=concept, item=item, like=like)
            elif self.what == "nothing":
                yield ArmTrial(None, asked=concept, item=item, like=like)
            else:
                whose = concept if self.what == "injected" else another(cell, concept, number, self.name)
                yield ArmTrial(
                    whose if self.what == "injected" else None,
                    cell.injections(whose, span=self.span),
                    asked=concept,
                    item=item,
                    like=None if self.what == "injected" else like,
                )


@guarded(SpecError)
@attrs.frozen
class Worded(_ByConcept):
    """The concept's word stands in the text, in the slot ``word``; ``what`` says what is injected beside it.

    ``injected`` is the concept itself, ``other`` another concept of the run (for each trial another one), ``random`` a
    random vector of its norm, ``nothing`` none. ``span`` takes the place of the design's. ``label`` tells two such
    arms of one design apart, by their names: ``injected@after``. Judges are asked about the concept in the text. n
    trials for each concept (or in all, spread), all paired.
    """

    n: int = attrs.field(validator=check_n)
    what: What = "injected"
    span: Span | None = None
    label: str = ""
    concepts: Over = "each"

    @property
    def fills(self) -> frozenset[str]:
        """The slot ``word``."""
        return frozenset({WORD})

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:
        """Return each concept's word."""
        return tuple(i for mine in _worded(words).values() for i in mine)

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return self._trials(cell, WORD, _worded({c: cell.word(c) for c in cell.concepts}))


def _worded(words: Mapping[str, str]) -> dict[str, tuple[Item, ...]]:
    return {concept: (Item(f"word {concept}", {WORD: word}),) for concept, word in words.items()}


@guarded(SpecError)
@attrs.frozen
class Offered(_ByConcept):
    """A list of ``size`` words stands in the slot ``words``, one of them the concept's: one of them is to be picked.

    The concept's word goes through all places of the list in turn. The others are the words of other concepts of the
    run, and where these are too few, of the battery ``words``; they are drawn by the concept's name, the same in all
    arms, so that a list says nothing of what is injected. A scaffold without that slot is asked as it is. ``what``,
    ``span`` and ``label`` are as those of :class:`Worded`; judges are asked about the concept whose list it is. Chance
    is 1 / ``size`` for whoever picks without regard to the injection.
    """

    n: int = attrs.field(validator=check_n)
    what: What = "injected"
    size: int = 10
    span: Span | None = None
    label: str = ""
    concepts: Over = "each"

    def __attrs_post_init__(self) -> None:
        if isinstance(self.size, bool) or not _FEWEST <= self.size <= _MOST:
            raise SpecError(explain("arm.size", required=f"{_FEWEST} to {_MOST} words", got=self.size, hint=""))

    @property
    def fills(self) -> frozenset[str]:
        """The slot ``words``."""
        return frozenset({WORDS})

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:
        """Return each concept's lists, one for each place of its word."""
        return tuple(i for mine in self._lists(words).values() for i in mine)

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return self._trials(cell, WORDS, self._lists({c: cell.word(c) for c in cell.concepts}))

    def _lists(self, words: Mapping[str, str]) -> dict[str, tuple[Item, ...]]:
        return {concept: self._list(concept, words) for concept in words}

    def _list(self, concept: str, words: Mapping[str, str]) -> tuple[Item, ...]:
        own = words[concept].lower()  # as all of them: a capital would tell the run's own words from the others
        rng = random.Random(digest("offered", 1, [concept, self.size]))  # noqa: S311  # a design, no secret
        others = sorted({w.lower() for c, w in words.items() if c != concept} - {own})
        rng.shuffle(others)
        spare = [w for w in _spare() if w not in {own, *others}]
        chosen = [*others, *rng.sample(spare, max(0, min(self.size - 1 - len(others), len(spare))))][: self.size - 1]
        rng.shuffle(chosen)
        start = rng.randrange(self.size)  # concepts begin at different places, so that few trials cover them too
        places = [(start + k) % self.size for k in range(self.size)]
        return tuple(
            Item(f"list {concept} {place + 1}", {WORDS: ", ".join([*chosen[:place], own, *chosen[place:]])})
            for place in places
        )


def _spare() -> list[str]:
    return [text.lower() for item in load_battery("words").items for text in item.slots.values()]
