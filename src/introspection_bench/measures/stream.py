"""Measures of the residual stream: its cosines with vectors, its logit lens, and the stream itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from ..boundaries import checked, guarded
from ..concepts import ConceptSet
from ..errors import SpecError, explain
from ..freezing import frozen_ints, frozen_tuple
from ..spans import REPLY, Span
from ..vectors import ConceptVector
from .base import Axes, Found, Measure, Pass, Read, Replayed, parse_span, places
from .naming import OfConcepts
from .readings import FloatArray
from .tokens import JOINT, before, check_sets, first_tokens, frozen_sets, token_sets


@guarded(SpecError)
@attrs.frozen
class Cosines(Measure):
    """Cosines of the residual stream with vectors, by layer and position, over a span of prompt and reply.

    ``vectors`` None: the run's own. ``at`` reads at one place in its stead, as :class:`Lens` does: where the token
    there is predicted (``reply``: at the answer). ``layers`` None reads at every block that one of the vectors is from.
    Axes: ``layer``, ``position`` (absolute), ``vector`` (the concept's name, with the layer where it has several).
    """

    name: ClassVar[str] = "cosines"
    vectors: tuple[ConceptVector, ...] | None = attrs.field(
        converter=attrs.converters.optional(frozen_tuple), default=None
    )
    over: Span = attrs.field(converter=parse_span, factory=Span.generation)
    layers: tuple[int, ...] | None = attrs.field(converter=attrs.converters.optional(frozen_ints), default=None)
    at: str | None = None

    @checked(SpecError)
    def of_run(
        self,
        concepts: ConceptSet | None,  # noqa: ARG002  # the port's
        vectors: Sequence[ConceptVector],
    ) -> Cosines:
        """Return it with the run's vectors, unless it has its own."""
        return attrs.evolve(self, vectors=vectors) if self.vectors is None and vectors else self

    def _stated(self) -> tuple[ConceptVector, ...]:
        if self.vectors is None:
            raise SpecError(
                explain(
                    "vectors",
                    required="those of a run, or some of your own",
                    got="none",
                    hint="Measure a run that injects some, or give them.",
                )
            )
        return self.vectors

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass over prompt and reply, over the prompt alone for one place."""
        vectors = self._stated()
        where = self.over.resolve(trial.prompt) if self.at is None else before(trial.prompt, self.at)
        chosen = self.layers or tuple(sorted({v.layer for v in vectors}))
        read = Read("cosines", where, trial.blocks(chosen), vectors=vectors)
        return (Pass(trial.reply if self.at is None else (), (read,)),)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:
        """Axes ``layer``, ``position`` and ``vector``."""
        read, values = passes[0].reads[0], found[0][0]
        vectors = self._stated()
        names = [v.concept for v in vectors]
        labels = [n if names.count(n) == 1 else f"{n} ({v.layer})" for n, v in zip(names, vectors, strict=True)]
        if len(set(labels)) < len(labels):
            labels = [f"{label} #{number}" for number, label in enumerate(labels)]
        return {"layer": read.layers, "position": places(read, values.shape[1]), "vector": tuple(labels)}, values


@guarded(SpecError)
@attrs.frozen
class Lens(Measure):
    """The logit lens of token sets, by layer and position: final norm and unembedding on the residual stream.

    At the last layer it equals the model's own log-probabilities. Read either at one place, ``at`` (as in
    :class:`TokenLogprobs`: what is predicted there), or ``over`` a span. ``layers`` None reads at every block. Axes:
    ``layer``, ``position`` (absolute, that which is read), ``set`` (last ``joint``). Source: nostalgebraist 2020.
    """

    name: ClassVar[str] = "lens"
    sets: Mapping[str, tuple[str, ...]] = attrs.field(converter=frozen_sets, validator=check_sets, hash=False)
    at: str = REPLY
    over: Span | None = attrs.field(converter=parse_span, default=None)
    layers: tuple[int, ...] | None = attrs.field(converter=attrs.converters.optional(frozen_ints), default=None)

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass, over the reply as well where a span may reach into it."""
        where = before(trial.prompt, self.at) if self.over is None else self.over.resolve(trial.prompt)
        forced = () if self.over is None else trial.reply
        sets = token_sets(self.sets, trial.tokenizer)
        return (Pass(forced, (Read("lens", where, trial.blocks(self.layers), sets),)),)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:
        """Axes ``layer``, ``position`` and ``set``."""
        read, values = passes[0].reads[0], found[0][0]
        return {"layer": read.layers, "position": places(read, values.shape[1]), "set": (*self.sets, JOINT)}, values


@guarded(SpecError)
@attrs.frozen
class ConceptLens(OfConcepts):
    """The logit lens of each concept's first tokens at one place, by layer: what it would have a reader name.

    ``concepts`` are as those of :class:`~introspection_bench.measures.Naming`. Other than in :class:`Lens` a word may
    have several tokens: it is looked for by its first one, in either case, after a space or not. Concepts that begin
    with the same token have its mass each, and nothing here tells them apart. ``at`` and ``layers`` are as in
    :class:`Lens`. Axes: ``layer``, ``concept``.
    """

    name: ClassVar[str] = "concept_lens"
    at: str = REPLY
    layers: tuple[int, ...] | None = attrs.field(converter=attrs.converters.optional(frozen_ints), default=None)

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass over the prompt."""
        sets = [first_tokens(names[:1], trial.tokenizer) for names in self.stated.values()]
        read = Read("lens", before(trial.prompt, self.at), trial.blocks(self.layers), sets)
        return (Pass((), (read,)),)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:
        """Axes ``layer`` and ``concept``."""
        axes: Axes = {"layer": passes[0].reads[0].layers, "concept": tuple(self.stated)}
        return axes, found[0][0][:, 0, :-1]


@guarded(SpecError)
@attrs.frozen
class Residuals(Measure):
    """The residual stream itself, steers included, by layer and position, over a span of prompt and reply.

    Axes: ``layer``, ``position`` (absolute), ``dimension``.
    """

    name: ClassVar[str] = "residuals"
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints)
    over: Span = attrs.field(converter=parse_span, factory=Span.all)

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass over prompt and reply."""
        read = Read("residuals", self.over.resolve(trial.prompt), trial.blocks(self.layers))
        return (Pass(trial.reply, (read,)),)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:
        """Axes ``layer``, ``position`` and ``dimension``."""
        read, values = passes[0].reads[0], found[0][0]
        axes: Axes = {
            "layer": read.layers,
            "position": places(read, values.shape[1]),
            "dimension": tuple(range(values.shape[2])),
        }
        return axes, values
