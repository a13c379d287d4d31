"""Which vector is injected where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..doses import Depth
from ..errors import SpecError, explain
from ..vectors import ConceptVector
from .bands import resolve_layers

if TYPE_CHECKING:
    from .design import Design


def source_layers(design: Design, n_layers: int) -> dict[int, int]:
    """Return where the vector of each injected layer is read: the recipe's layer, else that layer itself."""
    stated = None if design.recipe is None else design.recipe.layer
    source = stated.layer(n_layers) if isinstance(stated, Depth) else stated
    injected = sorted({n for band in resolve_layers(design.layers, n_layers) for n in band})
    return {layer: layer if source is None else source for layer in injected}


def own_vectors(design: Design, vectors: Sequence[ConceptVector]) -> tuple[ConceptVector, ...]:
    """Return the vectors of a design's concepts, out of all of a run's: random ones take after others."""
    concepts = {c.name for c in design.concepts or ()}
    return tuple(v for v in vectors if v.concept in concepts)


def by_place(design: Design, vectors: Sequence[ConceptVector], n_layers: int) -> dict[tuple[str, int], ConceptVector]:
    """Return the vectors by concept and by the layer that they are injected at.

    A given concept's only vector is injected at every layer; a design without doses needs none. Raises
    :class:`SpecError` for one that is missing.
    """
    if not design.is_dosed:
        return {}
    given: dict[str, dict[int, ConceptVector]] = {}
    for vector in vectors:
        given.setdefault(vector.concept, {})[vector.layer] = vector
    single = {v.concept for v in design.vectors if sum(o.concept == v.concept for o in design.vectors) == 1}
    found = {}
    for layer, source in source_layers(design, n_layers).items():
        for concept in design.concepts or ():
            mine = given.get(concept.name, {})
            chosen = next(iter(mine.values()), None) if concept.name in single else mine.get(source)
            if chosen is None:
                raise SpecError(
                    explain(
                        "design.vectors",
                        required=f"one of {concept.name!r} for layer {source}",
                        got=f"layers {sorted(mine)}",
                        hint="Give one for each layer, one for all, or none, and let them be extracted.",
                    )
                )
            found[concept.name, layer] = chosen
    return found
