"""The port of arms: what is done to a set of trials, and how many of them there are.

An arm has a name, a truth (what the right answer is there) and :meth:`Arm.trials`, which says for one cell of a design
what is steered in each trial; planner, store, frames, figures and exports know nothing else of it. An arm of your own
is a subclass; registered under the entry-point group ``introspection_bench.arms`` it can also be named in TOML.
"""

from __future__ import annotations

import abc
import datetime
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import attrs

from ...background import Background
from ...boundaries import checked, guarded
from ...conditions import BUILTIN, Truth
from ...digests import digest
from ...doses import Dose, Unit
from ...errors import SpecError, explain
from ...freezing import frozen_ints, frozen_mapping, frozen_tuple
from ...injection import Injection
from ...items import Item
from ...prompts import RenderedPrompt, Tokenizer
from ...scaffolds import Scaffold
from ...spans import Span
from ...vectors import ConceptVector

#: How an arm's trials go over the concepts: so many for each, or so many in all, spread over them.
Over = Literal["each", "spread"]


class Dosing(abc.ABC):
    """What finds doses by their effect on the model; what it found once is stored with the run, and found again."""

    @abc.abstractmethod
    def by_effect(self, vectors: tuple[ConceptVector, ...], layers: tuple[int, ...], dose: Dose) -> Dose:
        """Return the ``residual`` dose at which vectors have an effect (``0.5 kl``) on the neutral prompts.

        There is one vector for each of ``layers``, which are steered at once.

        Raises :class:`~introspection_bench.errors.InjectionError` where no magnitude within the search has it.
        """

    @abc.abstractmethod
    def alike(
        self, injections: tuple[Injection, ...], vectors: tuple[ConceptVector, ...], prompt: RenderedPrompt
    ) -> Dose:
        """Return the ``residual`` dose at which other vectors move the answer to a prompt as much as injections do."""

    @abc.abstractmethod
    def moved(self, prompt: RenderedPrompt, by: tuple[Injection, ...] | RenderedPrompt) -> float:
        """Return how far injections, or another prompt in its place, move the answer to a prompt.

        It is the KL divergence, in nats, of the first token's distribution from that of the prompt as it is.
        """


@guarded(SpecError)
@attrs.frozen
class Cell:
    """What an arm's trials of one cell have in common.

    ``layers`` are steered at once; they are empty and ``dose`` None for an arm that has no dose. ``vectors`` are by
    concept and by the layer that they are injected at. ``seed`` is the design's. A ``dose`` by effect is another one
    for each concept: see :meth:`dose_of`. ``items`` are those of the design that fill the scaffold's slots, the one
    item None where it has none; ``words`` is how texts write each concept. ``background`` has, by injected layer, the
    words' vectors that random ones may take after, where an arm :attr:`~Arm.needs_background`; ``n_layers`` is how many
    blocks the model has.
    """

    scaffold: Scaffold
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints)
    dose: Dose | None
    span: Span
    concepts: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    vectors: Mapping[tuple[str, int], ConceptVector] = attrs.field(converter=frozen_mapping)
    seed: int
    tokenizer: Tokenizer | None = None
    day: datetime.date | None = None
    dosing: Dosing | None = None
    items: tuple[Item | None, ...] = attrs.field(converter=frozen_tuple, default=(None,))
    words: Mapping[str, str] = attrs.field(converter=frozen_mapping, factory=dict)
    background: Mapping[int, Background] = attrs.field(converter=frozen_mapping, factory=dict)
    n_layers: int | None = None
    #: What was rendered already, which cells of one plan share: an arm that measures prompts renders many.
    prompts: dict[tuple[Scaffold, Item | None], RenderedPrompt] = attrs.field(factory=dict, eq=False, repr=False)

    @checked(SpecError)
    def item(self, concept: str, number: int) -> Item | None:
        """Return the design's item of a concept's trial, which all trials like it have.

        A concept's trials go through the items in turn, each concept from another one on, so that few trials of many
        concepts have all items too.
        """
        return self.items[(self._known(concept) + number) % len(self.items)]

    @checked(SpecError)
    def word(self, concept: str) -> str:
        """Return how texts write a concept: its name where the design says no more."""
        return self.words.get(concept, concept)

    def _known(self, concept: str) -> int:
        if concept not in self.concepts:
            raise SpecError(explain("concept", required=f"one of {list(self.concepts)}", got=concept, hint=""))
        return self.concepts.index(concept)

    @checked(SpecError)
    def rendered(self, scaffold: Scaffold, item: Item | None = None) -> RenderedPrompt:
        """Return a scaffold's prompt, its slots filled; raises :class:`SpecError` in a cell without a tokenizer."""
        if self.tokenizer is None:
            raise SpecError(explain("cell", required="a tokenizer", got="none", hint="Plan on a model."))
        if (scaffold, item) not in self.prompts:
            self.prompts[scaffold, item] = scaffold.fill(item).render(self.tokenizer, self.day)
        return self.prompts[scaffold, item]

    @checked(SpecError)
    def dose_of(self, concept: str) -> Dose:
        """Return the dose at which a concept is injected: one by effect is resolved for its own vectors.

        Without :attr:`dosing` (a plan that no model was loaded for) a ``residual`` dose stands in for it. Raises as
        :meth:`injections`, and what :meth:`Dosing.by_effect` raises.
        """
        if self.dose is None or not self.layers:
            raise SpecError(
                explain("arm", required="a cell with layers and a dose", got="one without", hint="Set dosed = True.")
            )
        self._known(concept)
        if not self.dose.is_effect:
            return self.dose
        if self.dosing is None:
            return Dose(self.dose.magnitude, Unit.RESIDUAL)
        vectors = tuple(self.vectors[concept, layer] for layer in self.layers)
        return self.dosing.by_effect(vectors, self.layers, self.dose)

    @checked(SpecError)
    def injections(
        self,
        concept: str,
        change: Callable[[ConceptVector], ConceptVector] | None = None,
        *,
        span: Span | None = None,
    ) -> tuple[Injection, ...]:
        """Return the injections of a concept, one for each layer: its vectors changed, over another span if given.

        The dose is that of the vectors as they are, :meth:`dose_of`. Raises :class:`SpecError` in a cell without
        layers or dose, and for a concept that it has no vectors of.
        """
        dose, where = self.dose_of(concept), self.span if span is None else span
        found = [self.vectors[concept, layer] for layer in self.layers]
        changed = found if change is None else [change(v) for v in found]
        return tuple(Injection(v, layer, dose, where) for v, layer in zip(changed, self.layers, strict=True))

    @checked(SpecError)
    def injected(
        self,
        n: int,
        over: Over,
        change: Callable[[ConceptVector], ConceptVector] | None = None,
        *,
        span: Span | None = None,
    ) -> Iterator[ArmTrial]:
        """Yield trials that inject a concept each, as :meth:`order` says; those of one share their injections."""
        injections = functools.cache(functools.partial(self.injections, change=change, span=span))
        yield from (ArmTrial(concept, injections(concept)) for concept, _ in self.order(n, over))

    @checked(SpecError)
    def order(self, n: int, over: Over = "spread") -> Iterator[tuple[str, int]]:
        """Yield concepts and how often each came before: n times each one, or n in all, spread over them.

        Spread, they come in an order drawn by the design's seed, none twice before all came once; the same in every
        cell, so that cells and arms compare like with like. Raises :class:`SpecError` for n below 1.
        """
        if n < 1:
            raise SpecError(explain("n", required="a whole number >= 1", got=n, hint="Leave the arm out for none."))
        if over == "each":
            yield from ((concept, number) for concept in self.concepts for number in range(n))
            return
        for start in range(0, n, max(len(self.concepts), 1)):
            number = start // len(self.concepts)
            shuffled = sorted(self.concepts)
            random.Random(digest("spread", 1, [self.seed, number])).shuffle(shuffled)  # noqa: S311  # a design, no secret
            yield from ((concept, number) for concept in shuffled[: n - start])


def filling(scaffold: Scaffold, own: Item | None, further: Item | None) -> Item | None:
    """Return what fills a scaffold: an arm's item, beside the design's own where slots of that are left."""
    open_slots = set(scaffold.slots)
    if further is None:
        return own if open_slots else None
    if own is None or open_slots == set(further.slots):
        return further
    return further.beside(own)


@guarded(SpecError)
@attrs.frozen
class ArmTrial:
    """What one trial of an arm is: the injections, the concept that they inject (None where they inject none).

    ``asked`` is the concept that judges are asked about, by default the injected one, else a decoy. ``scaffold``, one
    of :meth:`Arm.asks`, takes the place of the cell's, and ``item``, one of :meth:`Arm.items`, fills what slots it
    has of its own; the design's item fills the others. ``like`` is the concept and number of the injected trial that it
    is paired with, where it injects none. ``beside`` are further injections by a name that tables show, of one dose
    and span each: a direction that is removed at later layers, say.
    """

    concept: str | None
    injections: tuple[Injection, ...] = attrs.field(converter=frozen_tuple, default=())
    asked: str | None = None
    scaffold: Scaffold | None = None
    like: tuple[str, int] | None = None
    item: Item | None = None
    beside: Mapping[str, tuple[Injection, ...]] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)

    def __attrs_post_init__(self) -> None:
        uneven = [name for name, some in self.beside.items() if len({(i.dose, i.span) for i in some}) != 1]
        if uneven:
            raise SpecError(
                explain(
                    "beside",
                    required="injections of one dose and span under each name",
                    got=f"none, or several, under {uneven}",
                    hint="Give those of another dose or span a name of their own.",
                )
            )


def check_n(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    """Raise :class:`SpecError` unless an arm has at least one trial: a validator."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(
            explain(
                f"arm.{attribute.name}", required="a whole number >= 1", got=value, hint="Leave the arm out for none."
            )
        )


class Arm(abc.ABC):
    """What is done to a set of trials.

    ``n`` counts the trials of one cell: of each scaffold, layer (or band) and dose, for an arm without a dose of each
    scaffold. A subclass is a frozen attrs class.
    """

    n: int

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What tables, figures and files call it."""

    @property
    def truth(self) -> Truth:
        """What is true on its trials: of an arm of your own ``other``, unless it says something else."""
        return BUILTIN.get(self.name, "other")

    @property
    def dosed(self) -> bool:
        """Whether there is a cell for each layer and dose, whose vectors it uses; else one for each scaffold."""
        return True

    @property
    def needs_background(self) -> bool:
        """Whether it draws from words' vectors, :attr:`Cell.background`, which a run then extracts and stores."""
        return False

    @property
    def fills(self) -> frozenset[str]:
        """The slots of a design's scaffolds that it fills by the concept, with what :meth:`items` returns."""
        return frozenset()

    def asks(self, scaffold: Scaffold) -> tuple[Scaffold, ...]:  # noqa: ARG002  # for subclasses
        """Return the scaffolds that it asks in place of a design's, so that a run can tell what its models were asked.

        Their names are the arm's own: no other arm asks something else under one of them.
        """
        return ()

    def items(self, words: Mapping[str, str]) -> tuple[Item, ...]:  # noqa: ARG002  # for subclasses
        """Return what it fills the slots of those scaffolds with, and those of :attr:`fills`, for the same reason.

        ``words`` is how texts write each of a design's concepts. The items' names are the arm's own, too.
        """
        return ()

    @abc.abstractmethod
    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the arm's trials of one cell, in order."""
