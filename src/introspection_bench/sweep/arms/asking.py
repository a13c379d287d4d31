"""Arms that ask another question: under the same injection, or under none, what yes means there is known."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import attrs

from ...boundaries import guarded
from ...conditions import (
    NEUTRAL_LABELS,
    NEUTRAL_LABELS_CLEAN,
    NO_QUESTIONS,
    NO_QUESTIONS_CLEAN,
    YES_QUESTIONS,
    YES_QUESTIONS_CLEAN,
)
from ...digests import digest
from ...errors import SpecError, explain
from ...items import Battery, Item, load_battery
from ...labelled import Labels
from ...scaffolds import Scaffold
from .base import Arm, ArmTrial, Cell, Over, check_n


def as_battery(value: Any) -> Any:
    """Return the battery of a name or path: a converter."""
    return load_battery(value) if isinstance(value, str) else value


def ours(name: str) -> Callable[[], Battery]:
    """Return what makes the default of a battery: a built-in one."""
    return partial(load_battery, name)


def with_slots(*slots: str) -> Callable[[object, attrs.Attribute[Battery], Battery], None]:
    """Return a validator: the battery's items have these slots."""

    def check(_: object, attribute: attrs.Attribute[Battery], value: Battery) -> None:
        found = sorted(value.items[0].slots) if isinstance(value, Battery) else value
        if found != sorted(slots):
            raise SpecError(
                explain(
                    f"arm.{attribute.name}",
                    required=f"a battery whose items have the slots {sorted(slots)}",
                    got=found,
                    hint="The docs' page explaining_arms shows one.",
                )
            )

    return check


def dealt(kinds: Sequence[Sequence[Item]], seed: int) -> Iterator[Item]:
    """Yield items again and again: each once a round, the kinds in turn, in an order drawn by the seed.

    The order is the same in each round, so that none comes twice within as many trials as there are items.
    """
    shuffled = []
    for number, kind in enumerate(kinds):
        mine = sorted(kind, key=lambda item: item.name)
        random.Random(digest("dealt", 1, [seed, number])).shuffle(mine)  # noqa: S311  # a design, no secret
        shuffled.append(mine)
    turn = [i for together in itertools.zip_longest(*shuffled) for i in together if i is not None]
    return itertools.cycle(turn)


class _Asking(Arm):
    """Another question in the place of the scaffold's own, under the trial's injection or (``steered`` False) none."""

    steered: bool
    concepts: Over

    @property
    def dosed(self) -> bool:
        """Without an injection there is no dose."""
        return self.steered

    def _trials(self, cell: Cell, items: Iterator[Item]) -> Iterator[ArmTrial]:
        (scaffold,) = self.asks(cell.scaffold)
        for concept, number in cell.order(self.n, self.concepts):
            item = next(items)
            if self.steered:
                yield ArmTrial(concept, cell.injections(concept), asked=concept, scaffold=scaffold, item=item)
            else:
                yield ArmTrial(None, asked=concept, scaffold=scaffold, item=item, like=(concept, number))


@guarded(SpecError)
@attrs.frozen
class Questions(_Asking):
    """The same injection under questions whose true answer is no (or yes): a control for a bias towards yes.

    The questions take the place of the scaffold's own. Those of the ``battery`` whose ``answer`` it is are dealt over
    concepts and trials, half of them about the world and half about the model's own situation. ``steered`` False asks
    the same ones in the same numbers, once for each scaffold, with nothing injected.
    """

    n: int = attrs.field(validator=check_n)
    answer: Literal["no", "yes"] = "no"
    steered: bool = True
    battery: Battery = attrs.field(
        converter=as_battery,
        validator=with_slots("question", "answer", "about"),
        factory=ours("questions"),
    )
    concepts: Over = "each"

    def __attrs_post_init__(self) -> None:
        answers = {item.slots["answer"] for item in self.battery.items}
        if self.answer not in answers or not answers <= {"no", "yes"}:
            raise SpecError(
                explain(
                    "arm.battery",
                    required=f"questions whose answer is {self.answer!r}, all answers being 'no' or 'yes'",
                    got=sorted(answers),
                    hint="The docs' page explaining_arms shows a battery.",
                )
            )

    @property
    def name(self) -> str:
        """By the answer, and by whether something is injected."""
        steered, clean = {"no": (NO_QUESTIONS, NO_QUESTIONS_CLEAN), "yes": (YES_QUESTIONS, YES_QUESTIONS_CLEAN)}[
            self.answer
        ]
        return steered if self.steered else clean

    def asks(self, scaffold: Scaffold) -> tuple[Scaffold, ...]:
        """Return the scaffold with a slot in its question's place."""
        return (scaffold.asking(f"{scaffold.name}:questions"),)

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:  # noqa: ARG002  # the port's signature
        """Return the questions."""
        return tuple(_question(item) for item in self.battery.items if item.slots["answer"] == self.answer)

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        mine = [item for item in self.battery.items if item.slots["answer"] == self.answer]
        about = dict.fromkeys(item.slots["about"] for item in mine)
        kinds = [[_question(item) for item in mine if item.slots["about"] == kind] for kind in about]
        return self._trials(cell, dealt(kinds, cell.seed))


def _question(item: Item) -> Item:
    return Item(item.name, {"question": item.slots["question"]})


@guarded(SpecError)
@attrs.frozen
class NeutralLabels(_Asking):
    """The scaffold's own question, to be answered by two arbitrary words in the place of yes and no.

    Which word is which, and which is told first, goes evenly over concepts and trials: an injection that makes the
    model say "yes" raises neither. ``battery`` has pairs of words, ``one`` and ``other``.
    """

    n: int = attrs.field(validator=check_n)
    steered: bool = True
    battery: Battery = attrs.field(converter=as_battery, validator=with_slots("one", "other"), factory=ours("labels"))
    concepts: Over = "each"

    @property
    def name(self) -> str:
        """By whether something is injected."""
        return NEUTRAL_LABELS if self.steered else NEUTRAL_LABELS_CLEAN

    def asks(self, scaffold: Scaffold) -> tuple[Scaffold, ...]:
        """Return the scaffold with a slot behind its question."""
        return (scaffold.asking(f"{scaffold.name}:labels", f"{scaffold.question} {{labels}}"),)

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:  # noqa: ARG002  # the port's signature
        """Return the sentences that tell the labels: for each pair both assignments, in both orders."""
        return tuple(item for kind in self._kinds() for item in kind)

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return self._trials(cell, dealt(self._kinds(), cell.seed))

    def _kinds(self) -> list[list[Item]]:
        pairs = [Labels(item.slots["one"], item.slots["other"]) for item in self.battery.items]
        return [
            [_label_item(labels, yes_first=yes_first) for labels in assigned]
            for yes_first in (True, False)
            for assigned in (pairs, [labels.swapped for labels in pairs])
        ]


def _label_item(labels: Labels, *, yes_first: bool) -> Item:
    order = "yes first" if yes_first else "no first"
    return Item(f"yes={labels.yes}, no={labels.no}, {order}", {"labels": labels.sentence(yes_first=yes_first)})
