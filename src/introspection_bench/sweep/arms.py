"""Arms as values: what is done to a set of trials, and how many of them there are.

An arm has a name, a truth (what the right answer is there) and :meth:`Arm.trials`, which says for one cell of a design
what is steered in each trial; planner, store, frames, figures and exports know nothing else of it. An arm of your own
is a subclass; registered under the entry-point group ``introspection_bench.arms`` it can also be named in TOML.
"""

from __future__ import annotations

import abc
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

import attrs

from ..boundaries import checked, guarded
from ..conditions import BUILTIN, CONTROL, INJECTED, NEGATED, PROMPT_ONLY, RANDOM, REMOVED, Truth
from ..digests import digest
from ..doses import Dose
from ..errors import SpecError, explain
from ..freezing import frozen_ints, frozen_mapping, frozen_tuple
from ..injection import Injection
from ..plugins import Lazy
from ..scaffolds import Scaffold
from ..spans import Span
from ..vectors import ConceptVector

GROUP = "introspection_bench.arms"
#: How an arm's trials go over the concepts: so many for each, or so many in all, spread over them.
Over = Literal["each", "spread"]


@guarded(SpecError)
@attrs.frozen
class Cell:
    """What an arm's trials of one cell have in common.

    ``layers`` are steered at once; they are empty and ``dose`` None for an arm that has no dose. ``vectors`` are by
    concept and by the layer that they are injected at. ``seed`` is the design's.
    """

    scaffold: Scaffold
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints)
    dose: Dose | None
    span: Span
    concepts: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    vectors: Mapping[tuple[str, int], ConceptVector] = attrs.field(converter=frozen_mapping)
    seed: int

    @checked(SpecError)
    def injections(
        self,
        concept: str,
        change: Callable[[ConceptVector], ConceptVector] | None = None,
        *,
        span: Span | None = None,
    ) -> tuple[Injection, ...]:
        """Return the injections of a concept, one for each layer: its vectors changed, over another span if given.

        Raises :class:`SpecError` in a cell without layers or dose, and for a concept that it has no vectors of.
        """
        if self.dose is None or not self.layers:
            raise SpecError(
                explain("arm", required="a cell with layers and a dose", got="one without", hint="Set dosed = True.")
            )
        if concept not in self.concepts:
            raise SpecError(explain("concept", required=f"one of {list(self.concepts)}", got=concept, hint=""))
        found = [self.vectors[concept, layer] for layer in self.layers]
        changed = found if change is None else [change(v) for v in found]
        dose, where = self.dose, self.span if span is None else span
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


@guarded(SpecError)
@attrs.frozen
class ArmTrial:
    """What one trial of an arm is: the injections, the concept that they inject (None where they inject none).

    ``asked`` is the concept that judges are asked about, by default the injected one, else a decoy. ``scaffold``, one
    of :attr:`Arm.scaffolds`, takes the place of the cell's. ``like`` is the concept and number that a paired design
    pairs it with, where it injects none.
    """

    concept: str | None
    injections: tuple[Injection, ...] = attrs.field(converter=frozen_tuple, default=())
    asked: str | None = None
    scaffold: Scaffold | None = None
    like: tuple[str, int] | None = None


def _check_n(_: object, attribute: attrs.Attribute[int], value: int) -> None:
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
    #: Whether there is a cell for each layer and dose, whose vectors the arm uses; else one for each scaffold.
    dosed: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What tables, figures and files call it."""

    @property
    def truth(self) -> Truth:
        """What is true on its trials: of an arm of your own ``other``, unless it says something else."""
        return BUILTIN.get(self.name, "other")

    @property
    def scaffolds(self) -> tuple[Scaffold, ...]:
        """The scaffolds that it asks in place of the cell's, so that a run can tell what its models were asked."""
        return ()

    @abc.abstractmethod
    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the arm's trials of one cell, in order."""


@guarded(SpecError)
@attrs.frozen
class Injected(Arm):
    """A concept's vector is injected: yes is right.

    ``concepts`` ``each``: n trials for every concept; ``spread``: n in all, the concepts in seeded balanced order.
    """

    name: ClassVar[str] = INJECTED
    n: int = attrs.field(validator=_check_n)
    concepts: Over = "each"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return cell.injected(self.n, self.concepts)


@guarded(SpecError)
@attrs.frozen
class Unsteered(Arm):
    """Nothing is done, once for each scaffold: yes is a false alarm."""

    name: ClassVar[str] = CONTROL
    dosed: ClassVar[bool] = False
    n: int = attrs.field(validator=_check_n)

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:  # noqa: ARG002  # the port's signature
        """Yield the trials."""
        for _ in range(self.n):
            yield ArmTrial(None)


@guarded(SpecError)
@attrs.frozen
class RandomVector(Arm):
    """A random direction of a concept vector's norm is injected: a control for "any perturbation would do".

    Each trial has a direction of its own, uniform on the sphere, drawn from a seed that stands in its provenance; the
    same over scaffolds and doses. Source: Lindsey 2026, "random vectors".
    """

    name: ClassVar[str] = RANDOM
    n: int = attrs.field(validator=_check_n)
    concepts: Over = "spread"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        for concept, number in cell.order(self.n, self.concepts):

            def drawn(vector: ConceptVector, concept: str = concept, number: int = number) -> ConceptVector:
                told = [cell.seed, concept, vector.layer, number]
                return vector.random_like(int(digest("random_vector", 1, told)[:13], 16))

            yield ArmTrial(None, cell.injections(concept, drawn), like=(concept, number))


@guarded(SpecError)
@attrs.frozen
class Negated(Arm):
    """The concept's vector is injected with its sign turned; judges are asked about the concept."""

    name: ClassVar[str] = NEGATED
    n: int = attrs.field(validator=_check_n)
    concepts: Over = "each"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return cell.injected(self.n, self.concepts, ConceptVector.__neg__)


@guarded(SpecError)
@attrs.frozen
class PromptOnly(Arm):
    """As :class:`Injected`, but no token of the reply is steered: what is named was read, not steered into the text."""

    name: ClassVar[str] = PROMPT_ONLY
    n: int = attrs.field(validator=_check_n)
    concepts: Over = "each"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return cell.injected(self.n, self.concepts, span=cell.span.in_prompt)


@guarded(SpecError)
@attrs.frozen
class Removed(Arm):
    """As :class:`Injected` up to the anchor ``at`` and without it: what came before stays in keys and values."""

    name: ClassVar[str] = REMOVED
    n: int = attrs.field(validator=_check_n)
    at: str = "trial"
    concepts: Over = "each"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        return cell.injected(self.n, self.concepts, span=cell.span.until(self.at))


#: The built-in arms by the word that a specification has for them.
ARMS: Mapping[str, Lazy] = MappingProxyType(
    {
        word: Lazy(__name__, kind)
        for word, kind in {
            "injected": "Injected",
            "unsteered": "Unsteered",
            "random": "RandomVector",
            "negated": "Negated",
            "prompt_only": "PromptOnly",
            "removed": "Removed",
        }.items()
    }
)
