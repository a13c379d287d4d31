"""What to run, as a value; and the plan that comes of it: one key for each trial. Nothing here runs anything."""

from __future__ import annotations

import datetime
import functools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from ..arms import CONTROL, INJECTED, RANDOM, check_arm, is_dosed
from ..boundaries import checked, guarded
from ..concepts import Concept
from ..errors import SpecError, explain
from ..freezing import frozen_tuple
from ..injection import Injection, Positions, Span, Unit
from ..injectors.base import ModelInfo, Request
from ..names import folded
from ..scaffolds import LINDSEY, RenderedPrompt, Scaffold, Tokenizer, load_scaffold
from ..trials import Arm, Sampling, SteerKey, TrialKey
from ..vectors import ConceptVector

#: Relative distance of one extraction's vectors that bfloat16 explains (8 bits per number, and other batch shapes).
_ROUNDING = 0.05


def _unit(value: str | Unit) -> Unit:
    return Unit.parse(value)


def _magnitudes(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _scaffolds(values: Iterable[Scaffold | str]) -> tuple[Scaffold, ...]:
    return tuple(load_scaffold(value) if isinstance(value, str) else value for value in frozen_tuple(values))


def check_numbers(trials: int, controls: int, magnitudes: Sequence[float]) -> None:
    """Raise :class:`SpecError` for counts and magnitudes that no grid can have; needs no model."""
    for name, value in (("trials", trials), ("controls", controls)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise SpecError(explain(f"grid.{name}", required="a whole number >= 0", got=value, hint=""))
    if not all(math.isfinite(m) for m in magnitudes):
        raise SpecError(explain("grid.magnitudes", required="finite numbers", got=magnitudes, hint=""))
    _check_distinct("magnitudes", magnitudes)


def _check_distinct(name: str, values: Sequence[object]) -> None:
    twice = [v for n, v in enumerate(values) if v in values[:n]]
    if twice:
        raise SpecError(
            explain(f"grid.{name}", required="each value once", got=f"twice: {twice}", hint="Drop the duplicates.")
        )


@guarded(SpecError)
@attrs.frozen
class Grid:
    """Vectors x layers x magnitudes x scaffolds x trials, and controls for each scaffold.

    Attributes:
        vectors: what is injected; a :meth:`~introspection_bench.ConceptVector.random_like` vector makes the
            trials' arm ``random``.
        concepts: the concepts behind the vectors' names, which judges are asked about.
        magnitudes: in ``unit``, of which there is one for the whole grid.
        scaffolds: each with its own default span; by name where it is built in.
        layers: 0-based blocks to inject at; None injects each vector at the layer that it was extracted from.
        trials: per vector, layer, magnitude and scaffold.
        controls: uninjected trials per scaffold.
        span: overrides the scaffolds' default spans.
        date: the day that a chat template which prints the date is told; None: the day of the vectors' own prompts if
            they agree, else the day on which the run is planned. A run keeps its date.

    Raises :class:`SpecError` that names the field for empty, negative or duplicate values.
    """

    vectors: tuple[ConceptVector, ...] = attrs.field(converter=frozen_tuple)
    concepts: tuple[Concept, ...] = attrs.field(converter=frozen_tuple)
    magnitudes: tuple[float, ...] = attrs.field(converter=_magnitudes)
    unit: Unit = attrs.field(converter=_unit)
    scaffolds: tuple[Scaffold, ...] = attrs.field(converter=_scaffolds, default=(LINDSEY,))
    layers: tuple[int, ...] | None = attrs.field(converter=attrs.converters.optional(frozen_tuple), default=None)
    trials: int = 20
    controls: int = 20
    sampling: Sampling = attrs.field(factory=Sampling)
    span: Span | None = None
    date: datetime.date | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(datetime.date))
    )

    def __attrs_post_init__(self) -> None:
        check_numbers(self.trials, self.controls, self.magnitudes)
        if not self.scaffolds or not (self.trials or self.controls):
            raise SpecError(
                explain(
                    "grid",
                    required="at least one scaffold, and trials or controls",
                    got=f"{len(self.scaffolds)} scaffolds, {self.trials} trials, {self.controls} controls",
                    hint="There is nothing to run.",
                )
            )
        if self.trials and not (self.vectors and self.magnitudes and self.layers != ()):
            raise SpecError(
                explain(
                    "grid",
                    required="vectors, magnitudes and layers for injected trials",
                    got=f"{len(self.vectors)} vectors, {len(self.magnitudes)} magnitudes, layers {self.layers}",
                    hint="Set trials = 0 to run controls alone.",
                )
            )
        _check_distinct("scaffolds", [s.name for s in self.scaffolds])
        _check_distinct("layers", self.layers or ())
        _check_distinct("vectors (by content and layer)", [(v.digest, v.layer) for v in self.vectors])
        _check_distinct("concepts", [folded(c.name) for c in self.concepts])
        unknown = sorted({v.concept for v in self.vectors} - {c.name for c in self.concepts})
        if unknown:
            raise SpecError(
                explain(
                    "grid.concepts",
                    required="the concept of every vector",
                    got=f"none called {unknown}",
                    hint="Judges need their names: pass the ConceptSet that the vectors were extracted from.",
                )
            )

    @property
    def day(self) -> datetime.date:
        """The date that prompts are rendered with: :attr:`date`, else that of the vectors' prompts, else today."""
        days = {v.provenance.date for v in self.vectors} - {None}
        if self.date is not None:
            return self.date
        return datetime.date.fromisoformat(str(*days)) if len(days) == 1 else datetime.date.today()

    @checked(SpecError)
    def with_vectors_of(self, known: Iterable[ConceptVector]) -> Grid:
        """Return the grid with each vector replaced by the same extraction's in ``known``, if that is there.

        A run from a spec has its vectors from the store already. A script that extracts again, on another number of
        threads say, gets vectors that differ in their last bits, and would make other trials. Same are vectors of one
        concept and layer with one provenance (model, recipe, prompts, algebra) that are no further apart than
        half-precision arithmetic explains; or that were extracted on another day by a chat template that prints the
        date, since a run goes on with the date that it began with.
        """
        stored = {_origin(v): v for v in known}
        return attrs.evolve(self, vectors=[_same_or(v, stored.get(_origin(v))) for v in self.vectors])

    def spec(self) -> dict[str, Any]:
        """Return the grid as plain JSON values, vectors by digest: what is kept in the run's store."""
        return {
            "vectors": [
                {"digest": v.digest, "concept": v.concept, "layer": v.layer, "norm": v.norm}
                | {"provenance": attrs.asdict(v.provenance)}
                for v in self.vectors
            ],
            "concepts": [attrs.asdict(c) for c in self.concepts],
            "magnitudes": list(self.magnitudes),
            "unit": self.unit.value,
            "scaffolds": [
                attrs.asdict(s) | {"span": str(s.span), "digest": s.digest, "transcript": s.transcript}
                for s in self.scaffolds
            ],
            "layers": None if self.layers is None else list(self.layers),
            "trials": self.trials,
            "controls": self.controls,
            "sampling": attrs.asdict(self.sampling),
            "span": None if self.span is None else str(self.span),
            "date": None if self.date is None else self.date.isoformat(),
        }


def _origin(vector: ConceptVector) -> tuple[object, ...]:
    return vector.concept, vector.layer, attrs.evolve(vector.provenance.origin, date=None)


def _same_or(vector: ConceptVector, stored: ConceptVector | None) -> ConceptVector:
    if stored is None or stored.values.shape != vector.values.shape:
        return vector
    if stored.provenance.date != vector.provenance.date:
        return stored
    distance = float(np.linalg.norm(stored.values - vector.values))
    return stored if distance <= _ROUNDING * stored.norm else vector


@guarded(SpecError)
@attrs.frozen
class PlannedTrial:
    """One trial to run: its key, what a table calls it, and the request that an injector takes.

    ``arm`` may be any name; :func:`plan` makes the built-in ones (:mod:`introspection_bench.arms`).
    """

    key: TrialKey
    arm: Arm = attrs.field(validator=lambda _, __, value: check_arm(value))
    concept: str | None
    scaffold: str
    request: Request

    @property
    def span(self) -> str | None:
        """The written form of what is steered; None on a control."""
        injection = self.request.injection
        return None if injection is None else str(injection.span)

    @property
    def scaffold_digest(self) -> str:
        """The digest of the scaffold's wording."""
        return self.request.prompt.scaffold_digest

    @property
    def shown(self) -> str:
        """The trial as an error names it: key, cell and number."""
        key = self.key
        cell: str = self.arm
        if self.concept is not None:
            cell += f" {self.concept!r}"
        if is_dosed(self.arm, key.layer, key.unit):
            cell += f", layer {key.layer}, {key.magnitude:g} {key.unit}"
        return f"trial {key.digest[:12]} ({cell}, {self.scaffold}, no. {key.draw})"


@checked(SpecError)
def plan(grid: Grid, model: ModelInfo, backend: str, numerics: int, tokenizer: Tokenizer) -> list[PlannedTrial]:
    """Return every trial of the grid, controls first within each scaffold, for a backend and its ``numerics``.

    Prompts are rendered and spans resolved here, so that what can't be run raises before anything does:
    :class:`ScaffoldError`, :class:`AnchorNotFoundError`, :class:`EmptySpanError`, and :class:`SpecError` that names
    both where two scaffolds come to the same tokens and the same steered positions, or two vectors to the same values.

    Scaffolds of the same tokens that steer other positions have controls that are alike in all but their numbers: those
    of the second one go on counting where the first one's end.
    """
    if type(numerics) is not int or numerics < 1:
        raise SpecError(
            explain(
                f"numerics of backend {backend!r}",
                required="a whole number >= 1",
                got=numerics,
                hint="Set the class variable of the injector (docs/backends.md).",
            )
        )
    planned: list[PlannedTrial] = []
    asked: dict[object, str] = {}
    controls: Counter[str] = Counter()
    day = grid.day
    for scaffold in grid.scaffolds:
        prompt = scaffold.render(tokenizer, day)
        span = grid.span or scaffold.span
        where = span.resolve(prompt) if grid.trials else None
        _check_apart(asked.setdefault((prompt.digest, where), scaffold.name), scaffold.name)
        key = functools.partial(TrialKey, model.fingerprint, backend, numerics, prompt.digest, sampling=grid.sampling)
        first = controls[prompt.digest]
        controls[prompt.digest] += grid.controls
        planned += [
            _planned(key(steers=(), draw=draw), CONTROL, scaffold.name, prompt, None)
            for draw in range(first, first + grid.controls)
        ]
        for injection in _injections(grid, span):
            arm = RANDOM if injection.vector.is_random else INJECTED
            steers = (_steer_key(injection, injection.span.resolve(prompt)),)
            planned += [
                _planned(key(steers=steers, draw=draw), arm, scaffold.name, prompt, injection)
                for draw in range(grid.trials)
            ]
    _check_once(planned)
    return planned


def _check_apart(first: str, second: str) -> None:
    if first != second:
        raise SpecError(
            explain(
                "grid.scaffolds",
                required="scaffolds that differ in the prompt's tokens or in the positions that are steered",
                got=f"{first!r} and {second!r}, whose trials are the same on this model",
                hint="Leave one out; for more trials of it raise grid.trials and grid.controls.",
            )
        )


def _check_once(planned: Sequence[PlannedTrial]) -> None:
    seen: dict[str, PlannedTrial] = {}
    for trial in planned:
        other = seen.setdefault(trial.key.digest, trial)
        if other is not trial:
            raise SpecError(
                explain(
                    "grid.vectors",
                    required="trials that differ in what alters the reply",
                    got=f"the same trial twice: {other.shown} and {trial.shown}",
                    hint="Their vectors have the same values: leave one out.",
                )
            )


def _injections(grid: Grid, span: Span) -> Iterator[Injection]:
    for vector in grid.vectors:
        for layer in (vector.layer,) if grid.layers is None else grid.layers:
            for magnitude in grid.magnitudes:
                yield Injection(vector, layer, magnitude, grid.unit, span)


def _steer_key(injection: Injection, where: Positions) -> SteerKey:
    return SteerKey(
        vector=injection.vector.digest,
        layer=injection.layer,
        magnitude=injection.magnitude,
        unit=injection.unit.value,
        start=where.start,
        stop=where.stop,
    )


def _planned(
    key: TrialKey, arm: Arm, scaffold: str, prompt: RenderedPrompt, injection: Injection | None
) -> PlannedTrial:
    concept = None if injection is None else injection.vector.concept
    return PlannedTrial(key, arm, concept, scaffold, Request(prompt, injection, key.sampling, key.seed))
