"""Arms that inject directions without a concept: controls for "any perturbation would do"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs

from ...background import covariance_like
from ...boundaries import guarded
from ...conditions import COVARIANCE, COVARIANCE_IMPACT, IMPACT, PERMUTED, PERMUTED_IMPACT, RANDOM
from ...digests import digest
from ...errors import SpecError, explain
from ...injection import Injection
from ...vectors import ConceptVector
from .base import Arm, ArmTrial, Cell, Over, check_n

#: What a random vector has of the concept's beside its length: nothing, its components, or how words' vectors vary.
Kind = Literal["isotropic", "permuted", "covariance"]
_NAMES = {
    ("isotropic", "norm"): RANDOM,
    ("permuted", "norm"): PERMUTED,
    ("covariance", "norm"): COVARIANCE,
    ("isotropic", "impact"): IMPACT,
    ("permuted", "impact"): PERMUTED_IMPACT,
    ("covariance", "impact"): COVARIANCE_IMPACT,
}


@guarded(SpecError)
@attrs.frozen
class RandomVector(Arm):
    """A random vector of a concept vector's norm is injected: a control for "any perturbation would do".

    Each trial has a vector of its own, drawn from a seed that stands in its provenance; the same over scaffolds and
    doses. ``kind``:

    - ``isotropic``: uniform on the sphere. Source: Lindsey 2026, "random vectors".
    - ``permuted``: the concept vector's components in another order, one order at all layers of a band.
    - ``covariance``: as the vectors of words vary that are not the run's concepts
      (:class:`~introspection_bench.sweep.Background`), its cosine to the concept's vectors between -0.1 and 0.1.

    ``matched`` says how strong it is: by ``norm`` the cell's dose; by ``impact`` the ``residual`` dose at which it
    moves the answer to the trial's own prompt as far as the concept's injection at the cell's dose does. The trial then
    stands under the cell's dose, which is what it was matched to; its key holds the dose that was injected. Raises
    what :meth:`~introspection_bench.sweep.Dosing.alike` raises where none does.
    """

    n: int = attrs.field(validator=check_n)
    kind: Kind = "isotropic"
    matched: Literal["norm", "impact"] = "norm"
    concepts: Over = "spread"

    @property
    def name(self) -> str:
        """By kind and by what it is matched in."""
        return _NAMES[self.kind, self.matched]

    @property
    def needs_background(self) -> bool:
        """Where it is drawn with a covariance."""
        return self.kind == "covariance"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        for concept, number in cell.order(self.n, self.concepts):
            injections = cell.injections(concept)
            drawn = self._drawn(cell, injections, concept, number)
            dose = injections[0].dose
            if self.matched == "impact" and cell.dosing is not None and not dose.is_null:
                prompt = cell.rendered(cell.scaffold, cell.item(concept, number))
                dose = cell.dosing.alike(injections, drawn, prompt)
            changed = [attrs.evolve(i, vector=v, dose=dose) for i, v in zip(injections, drawn, strict=True)]
            yield ArmTrial(None, changed, like=(concept, number))

    def _drawn(
        self, cell: Cell, injections: tuple[Injection, ...], concept: str, number: int
    ) -> tuple[ConceptVector, ...]:
        """Return a random vector in the place of each injected one."""
        vectors = tuple(i.vector for i in injections)
        told = [cell.seed, concept, number]
        if self.kind == "isotropic":
            seeds = [_seed("random_vector", [cell.seed, concept, v.layer, number]) for v in vectors]
            return tuple(v.random_like(seed) for v, seed in zip(vectors, seeds, strict=True))
        if self.kind == "permuted":
            return tuple(v.permuted_like(_seed("permuted_vector", told)) for v in vectors)
        missing = [i.layer for i in injections if i.layer not in cell.background]
        if missing:
            raise SpecError(
                explain(
                    f"arm {self.name!r}",
                    required="a cell with the vectors of words at each layer",
                    got=f"none at {missing}",
                    hint="A sweep extracts them; of your own, give Cell.background.",
                )
            )
        return covariance_like(vectors, [cell.background[i.layer] for i in injections], _seed("covariance", told))


def _seed(what: str, told: list[object]) -> int:
    return int(digest(what, 1, told)[:13], 16)
