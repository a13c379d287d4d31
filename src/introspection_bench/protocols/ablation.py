"""Directions that a protocol removes in every trial, read on the model that it runs on."""

from __future__ import annotations

from typing import Any

import attrs

from ..boundaries import checked, guarded
from ..concepts import Concept, Pair
from ..doses import Depth, Dose
from ..errors import SpecError, explain
from ..extraction import extract
from ..freezing import frozen_tuple
from ..injection import Injection
from ..injectors.base import Injector
from ..recipes import Pairs
from ..sweep.bands import Band, Blocks, resolve_layers
from ..sweep.design import BesideSteer, Design
from ..sweep.places import source_layers


def _as_dose(value: Any) -> Any:
    return Dose.parse(value) if isinstance(value, str) else value


@guarded(SpecError)
@attrs.frozen
class Ablation:
    """A direction for each block, subtracted in part from the stream of every trial, controls included.

    A direction is the mean over the first prompts of ``pairs`` minus that over the second, read at the prompt token
    ``position``; ``dose`` is in the unit ``projection``: ``-0.0175 projection`` removes that share of it. ``layers``
    are by default all blocks. Concept vectors are extracted under the removal as well. Source: Macar 2026 (arXiv
    2603.21396, refusal directions). Raises :class:`SpecError` without pairs, and for another unit.
    """

    name: str
    pairs: tuple[Pair, ...] = attrs.field(converter=frozen_tuple)
    dose: Dose = attrs.field(converter=_as_dose)
    position: int = -2
    layers: Band = attrs.field(converter=frozen_tuple, factory=lambda: (Blocks(0, Depth(1)),))

    def __attrs_post_init__(self) -> None:
        if not self.pairs or self.dose.unit != "projection" or self.dose.is_null:
            raise SpecError(
                explain(
                    f"ablation {self.name!r}",
                    required="pairs, and a dose in the unit projection other than 0",
                    got=f"{len(self.pairs)} pairs, {self.dose}",
                    hint="As '-0.0175 projection'.",
                )
            )

    def __str__(self) -> str:
        return f"{self.name}: {self.dose}, from {len(self.pairs)} pairs at token {self.position}"

    @checked(SpecError)
    def applied(self, design: Design, model: Injector) -> Design:
        """Return a design with the removal beside its injections, its vectors extracted on the model under it.

        Raises what :func:`~introspection_bench.extract` raises.
        """
        (layers,) = resolve_layers([self.layers], model.model.n_layers)
        concept = Concept(self.name, pairs=self.pairs)
        directions = extract(model, [concept], layers, recipe=Pairs(position=self.position), date=design.day)
        removed = BesideSteer(self.name, directions, layers, self.dose)
        steers = [Injection(v, layer, self.dose, removed.span) for v, layer in zip(directions, layers, strict=True)]
        vectors = (
            extract(
                model,
                design.concepts,
                sorted(set(source_layers(design, model.model.n_layers).values())),
                recipe=design.recipe,
                date=design.day,
                beside=steers,
            )
            if design.is_dosed and design.concepts is not None
            else ()
        )
        return attrs.evolve(design, vectors=vectors, beside=[*design.beside, removed])
