"""Which concepts a vector is close to, among given vectors of the same model and layer."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from .boundaries import checked, guarded
from .errors import VectorError, explain
from .freezing import frozen_tuple
from .showing import few, plural, shown, table_html
from .vectors import ConceptVector


@guarded(VectorError)
@attrs.frozen
class NearestConcepts:
    """The vectors closest to ``vector`` by cosine, ``found``, the closest first, and what they were found among.

    ``compared`` counts the vectors that were compared, ``left_out`` those of another model or layer, which say nothing:
    each layer has a stream of its own. Vectors of one recipe share what their prompts share, so that all of their
    cosines may be high: look at which are highest, not at how high.
    """

    vector: ConceptVector
    found: tuple[ConceptVector, ...] = attrs.field(converter=frozen_tuple)
    compared: int
    left_out: int

    @property
    def cosines(self) -> tuple[float, ...]:
        """The cosine of each of ``found`` with the vector."""
        return tuple(self.vector.cosine(other) for other in self.found)

    @property
    def among(self) -> str:
        """What was compared, in words."""
        told = f"{plural(self.compared, 'vector')} of the same model at layer {self.vector.layer}"
        return f"{told}; {self.left_out:,} of another model or layer left out" if self.left_out else told

    def __repr__(self) -> str:
        pairs = [f"{v.concept} {c:.2f}" for v, c in zip(self.found, self.cosines, strict=True)]
        return shown(self, repr(self.vector.concept), few(pairs), f"among {self.among}")

    def _repr_html_(self) -> str:
        rows = [(v.concept, f"{c:.3f}", v.provenance.recipe) for v, c in zip(self.found, self.cosines, strict=True)]
        title = f"Nearest to {self.vector.concept}"
        return table_html(title, rows, ["concept", "cosine", "recipe"], [f"Among {self.among}."])


@checked(VectorError)
def nearest_concepts(vector: ConceptVector, vectors: Iterable[ConceptVector], most: int = 5) -> NearestConcepts:
    """Return the vectors of the same model and layer that are closest to one by cosine, at most so many.

    ``vectors`` may hold others as well, of other layers such as :func:`~introspection_bench.extraction.extract` returns
    them; they are counted and left out, and so is the vector itself. Raises :class:`VectorError` where none is left to
    compare, and for a ``most`` below 1.
    """
    others = [v for v in vectors if v is not vector and v != vector]
    alike = [v for v in others if _place(v) == _place(vector)]
    if not alike or most < 1:
        raise VectorError(
            explain(
                "vectors and most",
                required=f"another vector of {vector.provenance.model_name} at layer {vector.layer}, and at least 1",
                got=f"{plural(len(others), 'other vector')}, {len(alike)} of them of that model and layer; most {most}",
                hint="Extract several concepts at that layer: ib.extract(injector, concepts, [layer]).",
            )
        )
    closest = sorted(alike, key=vector.cosine, reverse=True)[:most]
    return NearestConcepts(vector, closest, len(alike), len(others) - len(alike))


def _place(vector: ConceptVector) -> tuple[str, int, int]:
    return vector.provenance.model_fingerprint, vector.layer, vector.values.size
