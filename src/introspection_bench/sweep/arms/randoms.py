"""Arms that inject directions without a concept: controls for "any perturbation would do"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs

from ...boundaries import guarded
from ...conditions import RANDOM
from ...digests import digest
from ...errors import SpecError
from ...vectors import ConceptVector
from .base import Arm, ArmTrial, Cell, Over, check_n


@guarded(SpecError)
@attrs.frozen
class RandomVector(Arm):
    """A random direction of a concept vector's norm is injected: a control for "any perturbation would do".

    Each trial has a direction of its own, uniform on the sphere, drawn from a seed that stands in its provenance; the
    same over scaffolds and doses. Source: Lindsey 2026, "random vectors".
    """

    name: ClassVar[str] = RANDOM
    n: int = attrs.field(validator=check_n)
    concepts: Over = "spread"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        for concept, number in cell.order(self.n, self.concepts):

            def drawn(vector: ConceptVector, concept: str = concept, number: int = number) -> ConceptVector:
                told = [cell.seed, concept, vector.layer, number]
                return vector.random_like(int(digest("random_vector", 1, told)[:13], 16))

            yield ArmTrial(None, cell.injections(concept, drawn), like=(concept, number))
