"""What to run, as a value: scaffolds, concepts, recipe, layers, doses, span and arms. Nothing here runs anything."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from ..boundaries import checked, guarded
from ..concepts import ConceptSet, as_concepts
from ..conditions import layers_text
from ..doses import Dose, as_doses, as_layer
from ..errors import LayerError, SpecError, explain
from ..freezing import frozen_tuple, plain_int
from ..identity import Sampling
from ..items import Battery, Item, load_battery
from ..names import composed
from ..recipes import Recipe, Word, as_recipe
from ..scaffolds import LINDSEY, Scaffold, load_scaffold
from ..showing import few, shown, table_html
from ..spans import Span
from ..trials import TrialRecord
from ..vectors import ConceptVector
from .arms import Arm
from .bands import Band, Block
from .planner import Ground, PlannedTrial, Planner, plan


def _band(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple | range) else (value,)


def _band_text(band: Band) -> str:
    whole = [b for b in band if isinstance(b, int)]
    return layers_text(whole).replace(",", "+") if len(whole) == len(band) else "+".join(map(str, band))


def as_bands(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return blocks, alone or several at once, as bands: a converter. A text is one block, as in ``2/3``."""
    try:
        return tuple(_band(as_layer(v) if isinstance(v, str) else v) for v in frozen_tuple(values))
    except LayerError as error:
        raise SpecError(f"design.layers: {error}") from error


def as_scaffolds(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return scaffolds, by name or as values: a converter."""
    return tuple(load_scaffold(v) if isinstance(v, str) else v for v in frozen_tuple(values))


def as_items(values: Any) -> tuple[Any, ...]:
    """Return items, of a battery by name, of one as a value, or as they are: a converter."""
    battery = load_battery(values) if isinstance(values, str) else values
    return battery.items if isinstance(battery, Battery) else frozen_tuple(battery)


def as_span(value: Any) -> Any:
    """Return a span, or one by scaffold, written or as values: a converter."""
    if isinstance(value, Mapping):
        return {name: as_span(v) for name, v in value.items()}
    return Span.parse(value) if isinstance(value, str) else value


def _dose(value: Any) -> Any:
    return Dose.parse(value) if isinstance(value, str) else value


@guarded(SpecError)
@attrs.frozen
class BesideSteer:
    """A further steer of every trial, named: a direction that is removed at each layer, say.

    ``vectors`` hold one vector for all of ``layers``, or one for each. It is given to unsteered trials as well: they
    differ from the others in the injection alone.
    """

    name: str = attrs.field(converter=composed)
    vectors: tuple[ConceptVector, ...] = attrs.field(converter=frozen_tuple)
    layers: tuple[Block, ...] = attrs.field(converter=frozen_tuple)
    dose: Dose = attrs.field(converter=_dose)
    span: Span = attrs.field(converter=as_span, factory=Span.all)

    def __attrs_post_init__(self) -> None:
        if not self.layers or len(self.vectors) not in (1, len(self.layers)) or self.dose.is_null:
            raise SpecError(
                explain(
                    f"beside {self.name!r}",
                    required="layers, a dose other than 0, and one vector or one for each layer",
                    got=f"{len(self.layers)} layers, {len(self.vectors)} vectors, dose {self.dose}",
                    hint="Leave it out for none.",
                )
            )


@guarded(SpecError)
@attrs.frozen
class Design(Planner):
    """Scaffolds x items x concepts x layers x doses x arms; the planner that asks once.

    Attributes:
        scaffolds: what is asked; by name where it is built in.
        concepts: what is injected, and what judges are asked about; a set, or its name. None where no arm needs any.
        recipe: how vectors are made, or its name; None takes of each concept the one that it is made for.
        layers: blocks to inject at: indices, :class:`Depth`, or several to be steered at once: a tuple, a range, or
            :class:`~introspection_bench.sweep.Blocks`, all from one to another. Where no arm injects, those whose
            vectors measures read.
        doses: how much; :class:`Dose` or its written form.
        span: where; by default from the anchor ``trial`` on, as in Lindsey 2026. One span, or one for each scaffold's
            name.
        arms: what is done and how often (:mod:`introspection_bench.sweep.arms`).
        items: what fills the slots of scaffolds that have some, or a battery of it, by name or the path of a TOML file;
            each concept's trials go through them in turn.
        vectors: vectors made beforehand, which are not extracted: a concept's only one is injected at every layer, of
            several the one of that layer.
        beside: further steers of every trial.
        sampling: how replies are sampled.
        seed: of everything that the design draws (orders, random vectors), and of paired trials.
        paired: ``"draw"`` gives all arms of one concept, item and draw the same random numbers; trials without a
            concept are paired with the injected ones one by one. None gives each trial its own.
        date: the day that a chat template which prints the date is told; None: the day of the given vectors' own
            prompts if they agree, else the day on which the run is planned. A run keeps its date.

    Raises :class:`SpecError` that names the field for what is missing, empty or twice.
    """

    scaffolds: tuple[Scaffold, ...] = attrs.field(converter=as_scaffolds, default=(LINDSEY,))
    concepts: ConceptSet | None = attrs.field(converter=as_concepts, default=None)
    recipe: Recipe | None = attrs.field(converter=as_recipe, default=None)
    layers: tuple[Band, ...] = attrs.field(converter=as_bands, default=())
    doses: tuple[Dose, ...] = attrs.field(converter=as_doses, default=())
    span: Span | dict[str, Span] = attrs.field(converter=as_span, factory=lambda: Span.from_anchor("trial"), hash=False)
    arms: tuple[Arm, ...] = attrs.field(converter=frozen_tuple, default=())
    items: tuple[Item, ...] = attrs.field(converter=as_items, default=())
    vectors: tuple[ConceptVector, ...] = attrs.field(converter=frozen_tuple, default=())
    beside: tuple[BesideSteer, ...] = attrs.field(converter=frozen_tuple, default=())
    sampling: Sampling = attrs.field(factory=Sampling)
    seed: int = attrs.field(converter=plain_int, default=0)
    paired: Literal["draw"] | None = None
    date: datetime.date | None = None

    def __attrs_post_init__(self) -> None:
        self._check_there()
        for name, values in (
            ("scaffolds", [s.name for s in self.scaffolds]),
            ("layers", list(self.layers)),
            ("doses", list(self.doses)),
            ("arms", [a.name for a in self.arms]),
            ("items", [i.name for i in self.items]),
            ("vectors (by concept and layer)", [(v.concept, v.layer) for v in self.vectors]),
            ("beside", [b.name for b in self.beside]),
        ):
            _check_distinct(name, values)
        self._check_items()
        known = {c.name for c in self.concepts or ()}
        strangers = sorted({v.concept for v in self.vectors} - known)
        if strangers:
            raise SpecError(
                explain(
                    "design.concepts",
                    required="the concept of every vector",
                    got=f"none called {strangers}",
                    hint="Judges need their names: pass the ConceptSet that the vectors were extracted from.",
                )
            )
        if isinstance(self.span, dict) and set(self.span) != {s.name for s in self.scaffolds}:
            raise SpecError(
                explain(
                    "design.span",
                    required=f"one span, or one for each of {[s.name for s in self.scaffolds]}",
                    got=sorted(self.span),
                    hint="Name every scaffold once.",
                )
            )

    def __repr__(self) -> str:
        return shown(self, *(f"{name} {told}" for name, told in self._told().items() if told))

    def _repr_html_(self) -> str:
        return table_html("Design", [(name, told) for name, told in self._told().items() if told])

    def _told(self) -> dict[str, str]:
        """What the design says, in words, by field."""
        spans = self.span.items() if isinstance(self.span, dict) else [("", self.span)]
        concepts = "" if self.concepts is None else f"{self.concepts.name}: {few(c.name for c in self.concepts)}"
        return {
            "scaffolds": few(s.name for s in self.scaffolds),
            "concepts": concepts,
            "recipe": "" if self.recipe is None else type(self.recipe).__name__,
            "layers": few(map(_band_text, self.layers)),
            "doses": few(self.doses),
            "span": few(f"{name}: {span}" if name else span for name, span in spans),
            "arms": few(f"{arm.name} {arm.n}" for arm in self.arms),
            "items": few(i.name for i in self.items),
            "vectors": few(f"{v.concept} at {v.layer}" for v in self.vectors),
            "beside": few(b.name for b in self.beside),
            "sampling": f"temperature {self.sampling.temperature:g}, {self.sampling.max_new_tokens} tokens",
            "seed": str(self.seed),
            "paired": self.paired or "",
            "date": "" if self.date is None else str(self.date),
        }

    @property
    def design(self) -> Design:
        """Itself."""
        return self

    @property
    def is_dosed(self) -> bool:
        """Whether some arm needs vectors, layers and doses."""
        return any(arm.dosed for arm in self.arms)

    @checked(SpecError)
    def span_of(self, scaffold: str) -> Span:
        """Return the span under a scaffold; raises :class:`SpecError` where spans go by scaffold, and it has none."""
        if not isinstance(self.span, dict):
            return self.span
        if scaffold not in self.span:
            raise SpecError(explain("scaffold", required=f"one of {list(self.span)}", got=scaffold, hint=""))
        return self.span[scaffold]

    @checked(SpecError)
    def items_of(self, scaffold: Scaffold) -> tuple[Item | None, ...]:
        """Return the items that fill a scaffold's slots; the one item None where it has none, or arms fill them all."""
        left = self.left_open(scaffold)
        return tuple(i for i in self.items if set(i.slots) == left) if left else (None,)

    @checked(SpecError)
    def left_open(self, scaffold: Scaffold) -> frozenset[str]:
        """Return the slots of a scaffold that no arm fills: the items' to fill."""
        by_arms = frozenset.intersection(*(arm.fills for arm in self.arms)) if self.arms else frozenset()
        return frozenset(scaffold.slots) - by_arms

    @property
    def day(self) -> datetime.date:
        """The date that prompts are rendered with: :attr:`date`, else that of the vectors' prompts, else today."""
        days = {v.provenance.date for v in self.vectors} - {None}
        if self.date is not None:
            return self.date
        return datetime.date.fromisoformat(str(*days)) if len(days) == 1 else datetime.date.today()

    @property
    def words(self) -> dict[str, str]:
        """How texts write each concept: its word as the recipe writes it, the name of one without a word."""
        recipe = self.recipe if isinstance(self.recipe, Word) else Word()
        return {c.name: c.name if c.word is None else recipe.written_word(c.word) for c in self.concepts or ()}

    def ask(self, ground: Ground, done: Sequence[TrialRecord]) -> list[PlannedTrial]:
        """Return every trial, once: none where some are done already."""
        return [] if done else plan(self, ground)

    def _check_there(self) -> None:
        lacking = [name for name in ("scaffolds", "arms") if not getattr(self, name)]
        if self.is_dosed:
            lacking += [name for name in ("concepts", "layers", "doses") if not getattr(self, name)]
        if lacking or () in self.layers:
            needs = [a.name for a in self.arms if a.dosed]
            raise SpecError(
                explain(
                    f"design.{', design.'.join(lacking or ['layers'])}",
                    required="at least one of each"
                    + (f", for the arms {needs}" if needs and "arms" not in lacking else ""),
                    got="none",
                    hint="There is nothing to run.",
                )
            )
        negative = [b for band in self.layers for b in band if isinstance(b, int) and b < 0]
        if negative:
            raise SpecError(
                explain("design.layers", required="0-based blocks", got=negative, hint="Or ib.Depth(2 / 3).")
            )
        if isinstance(self.seed, bool) or self.seed < 0:
            raise SpecError(explain("design.seed", required="a whole number >= 0", got=self.seed, hint=""))

    def _check_items(self) -> None:
        told: dict[str, Scaffold | Item] = {}
        asked = [f for scaffold in self.scaffolds for arm in self.arms for f in arm.asks(scaffold)]
        filled = [item for arm in self.arms for item in arm.items(self.words)]
        values: list[Scaffold | Item] = [*self.scaffolds, *self.items, *asked, *filled]
        for value in values:
            name = f"{type(value).__name__.lower()} {value.name!r}"
            if told.setdefault(name, value) != value:
                raise SpecError(
                    explain(
                        "design",
                        required="one wording under each name, those of arms included",
                        got=f"two under {name}",
                        hint="Rename the design's own.",
                    )
                )
        unfilled = [s.name for s in self.scaffolds if not self.items_of(s)]
        useless = [i.name for i in self.items if not any(set(i.slots) == self.left_open(s) for s in self.scaffolds)]
        if unfilled or useless:
            raise SpecError(
                explain(
                    "design.items",
                    required="items for every scaffold with slots that its arms don't fill, and no others",
                    got=f"none for {unfilled}" if unfilled else f"{useless}, whose slots no scaffold has",
                    hint="An item's slots are exactly those of its scaffold, less what every arm fills.",
                )
            )


def _check_distinct(name: str, values: Sequence[object]) -> None:
    twice = [v for n, v in enumerate(values) if v in values[:n]]
    if twice:
        raise SpecError(
            explain(f"design.{name}", required="each value once", got=f"twice: {twice}", hint="Drop the duplicates.")
        )
