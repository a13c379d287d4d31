"""Arms that inject a concept and remove a direction from all later layers: what is left without it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from ...boundaries import guarded
from ...conditions import PROJECTED_OTHER, PROJECTED_OUT
from ...digests import digest
from ...doses import Depth, Dose, Unit
from ...errors import SpecError, explain
from ...injection import Injection
from ...vectors import ConceptVector
from ..bands import Block
from .base import Arm, ArmTrial, Cell, Over, check_n

_REMOVED = Dose(-1, Unit.PROJECTION)
#: What is left of a vector beside others, relative, that has no direction of its own.
_SAME = 1e-3


@guarded(SpecError)
@attrs.frozen
class ProjectedOut(Arm):
    """As :class:`~introspection_bench.sweep.Injected`, with the concept's direction removed from every later layer.

    It shows what then remains of the answer.

    Removed is the injected vector's direction (of a band those of all its vectors), by the unit ``projection`` at -1,
    from ``from_layer`` (by default the block after the last injected one) to the last block, and from the span's first
    position to the end of the reply: attention may carry it to positions that were not steered. ``other`` removes
    another concept's instead, for each trial another one of the run: a control for what any removal does.

    Several first layers are several arms, whose names have them: ``projected_out@25``. Raises :class:`SpecError` for a
    first layer that isn't behind the injected ones, and for ``other`` where the run has one concept.
    """

    n: int = attrs.field(validator=check_n)
    from_layer: Block | None = None
    other: bool = False
    concepts: Over = "each"

    @property
    def name(self) -> str:
        """By whose direction is removed, and from which layer where that is stated."""
        kind = PROJECTED_OTHER if self.other else PROJECTED_OUT
        return kind if self.from_layer is None else f"{kind}@{str(self.from_layer).removeprefix('depth ')}"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        later = self._later(cell)
        for concept, number in cell.order(self.n, self.concepts):
            whose = another(cell, concept, number, self.name) if self.other else concept
            directions = _apart([i.vector for i in cell.injections(whose)])
            removed = tuple(Injection(v, n, _REMOVED, cell.span.onwards) for n in later for v in directions)
            name = "another concept's direction" if self.other else "its own direction"
            yield ArmTrial(concept, cell.injections(concept), beside={name: removed})

    def _later(self, cell: Cell) -> range:
        last = max(cell.layers, default=-1)
        count = cell.n_layers or 0
        first = self.from_layer.layer(count) if isinstance(self.from_layer, Depth) else self.from_layer
        first = last + 1 if first is None else first
        if not last < first < count:
            raise SpecError(
                explain(
                    f"arm {self.name!r} at layers {list(cell.layers)}",
                    required=f"a first layer from {last + 1} to {count - 1}, behind the injected ones",
                    got=first,
                    hint="Inject at earlier layers, or give these a design of their own.",
                )
            )
        return range(first, count)


def another(cell: Cell, concept: str, number: int, arm: str) -> str:
    """Return the concept that stands in another one's place: they come in turn, in an order drawn by the seed.

    Raises :class:`SpecError` that names the arm where the run has no other.
    """
    others = sorted(set(cell.concepts) - {concept})
    if not others:
        raise SpecError(
            explain(f"arm {arm!r}", required="two concepts or more", got=list(cell.concepts), hint="Add one.")
        )
    random.Random(digest("another", 1, [cell.seed, concept])).shuffle(others)  # noqa: S311  # a design, no secret
    return others[number % len(others)]


def _apart(vectors: Sequence[ConceptVector]) -> list[ConceptVector]:
    """Return vectors at right angles for the directions of some: removed together, each is removed once.

    The first is as it is; one that has no direction beside those before it is left out.
    """
    found: list[ConceptVector] = []
    units: list[npt.NDArray[np.float64]] = []
    for vector in vectors:
        values = rest = vector.values.astype(np.float64)
        for unit in units:
            rest = rest - math.fsum(rest * unit) * unit
        length = math.sqrt(math.fsum(rest * rest))
        if units and length < _SAME * math.sqrt(math.fsum(values * values)):
            continue
        found.append(vector.derived(rest, "less its part along the band's others") if units else vector)
        units.append(rest / length)
    return found
