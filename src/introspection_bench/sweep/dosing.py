"""Doses by effect in a sweep: found once, stored with the run, and found again on resume."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

import attrs

from ..digests import digest
from ..doses import Dose, Effect, Unit
from ..dosing import FROM_TEXT, LEAST_KL, PROMPTS, Dosed, Probe, divergence, find_dose
from ..effects import Found, FoundDose, Moved
from ..errors import InjectionError, SpecError, explain
from ..injection import Injection, resolve
from ..prompts import RenderedPrompt
from ..vectors import ConceptVector
from .arms import Cell, Dosing
from .bands import resolve_layers
from .design import Design
from .planner import Ground

#: Raised where the search changes so that it would find another dose.
_SEARCH = 1


class FindsDoses(Dosing):
    """Finds doses on a model, or among those that a run found before.

    Args:
        known: what the run's store holds.
        probe: makes the model's; called where a dose is not known. None where no model may be asked: another one's
            tokenizer is there, say.
    """

    def __init__(self, known: Iterable[Found] = (), probe: Callable[[], Probe] | None = None) -> None:
        #: All that was found or asked for again, by key.
        self.found: dict[str, Found] = {one.key: one for one in known}
        self._probe = probe
        self._tried: dict[object, float] = {}

    def by_effect(self, vectors: tuple[ConceptVector, ...], layers: tuple[int, ...], dose: Dose) -> Dose:
        """Return the smallest ``residual`` dose that has the effect; see :func:`~introspection_bench.dosing.find_dose`.

        Raises :class:`InjectionError` where no magnitude of the search has it, :class:`SpecError` without a model.
        """
        key = digest("dose_by_effect", _SEARCH, [str(dose), list(layers), [v.digest for v in vectors], PROMPTS])
        if key not in self.found:
            probe = self._asked(f"dose {dose}")

            what = f"dose {dose} of {vectors[0].concept!r} at {_blocks(layers)}"
            found, reached = find_dose(
                functools.partial(self._neutral_kl, vectors, layers), dose.magnitude, what, probe.grid
            )
            told = (vectors[0].concept, layers, [v.digest for v in vectors], None, probe.injector.model.name)
            self.found[key] = FoundDose(key, dose, found, reached, reached, *told)
        return self._dose(key)

    def alike(
        self, injections: tuple[Injection, ...], vectors: tuple[ConceptVector, ...], prompt: RenderedPrompt
    ) -> Dose:
        """Return the smallest ``residual`` dose at which vectors move a prompt's answer as much as injections do.

        ``vectors`` stand in the place of those of ``injections``, at the same layers and spans. Raises as
        :meth:`by_effect`, and :class:`InjectionError` for injections that don't move the answer.
        """
        keys = [attrs.astuple(s.key) for s in resolve(injections, prompt)]
        steered = [[i.layer, str(i.span), v.digest] for i, v in zip(injections, vectors, strict=True)]
        key = digest("dose_alike", _SEARCH, [keys, steered, prompt.digest])
        if key not in self.found:
            probe = self._asked(f"a dose with the effect of {injections[0].dose}")
            layers = tuple(i.layer for i in injections)
            target = self.moved(prompt, injections)
            what = f"dose of {vectors[0].concept!r} at {_blocks(layers)} with the effect of {injections[0].dose}"
            if target < LEAST_KL:
                raise InjectionError(
                    explain(
                        what,
                        required=f"injections that move the answer by {LEAST_KL:g} nats or more",
                        got=f"{target:.2g} nats",
                        hint="Steer positions before the answer, at a larger dose, or leave the arm out.",
                    )
                )
            found, reached = find_dose(
                lambda m: probe.divergences([prompt], _in_place(injections, vectors, m))[0], target, what, probe.grid
            )
            neutral = probe.neutral_kl(_injections(vectors, layers, found.magnitude))
            told = (vectors[0].concept, layers, [v.digest for v in vectors], prompt.digest, probe.injector.model.name)
            self.found[key] = FoundDose(key, Dose(target, Effect.KL), found, reached, neutral, *told)
        return self._dose(key)

    def moved(self, prompt: RenderedPrompt, by: tuple[Injection, ...] | RenderedPrompt) -> float:
        """Return how far injections, or another prompt in its place, move the answer to a prompt, in nats.

        It is the KL divergence of the first token's distribution from that of the prompt as it is. Raises
        :class:`SpecError` without a model.
        """
        told = by.digest if isinstance(by, RenderedPrompt) else [attrs.astuple(s.key) for s in resolve(by, prompt)]
        key = digest("moved", 1, [prompt.digest, told])
        if key not in self.found:
            probe = self._asked("how far an answer is moved")
            if isinstance(by, RenderedPrompt):
                clean, other = probe.clean([prompt, by])
                kl = divergence(other, clean)
            else:
                (kl,) = probe.divergences([prompt], by)
            self.found[key] = Moved(key, kl)
        found = self.found[key]
        assert isinstance(found, Moved)  # noqa: S101  # its key says so
        return found.kl

    def _dose(self, key: str) -> Dose:
        found = self.found[key]
        assert isinstance(found, FoundDose)  # noqa: S101  # its key says so
        return found.dose

    def _neutral_kl(self, vectors: tuple[ConceptVector, ...], layers: tuple[int, ...], magnitude: float) -> float:
        """Return the median divergence on the neutral prompts; each is run once, whatever is looked for."""
        place = (tuple(v.digest for v in vectors), layers, magnitude)
        if place not in self._tried:
            self._tried[place] = self._asked("a dose").neutral_kl(_injections(vectors, layers, magnitude))
        return self._tried[place]

    def _asked(self, what: str) -> Probe:
        if self._probe is None:
            raise SpecError(
                explain(what, required="what the run found when it was planned", got="none in its store", hint="")
            )
        return self._probe()


def dosed_cases(design: Design, ground: Ground) -> list[Dosed]:
    """Return every dose of every concept in a design, resolved, as injections over neutral prompts; none of 0."""
    if not design.is_dosed:
        return []
    concepts = tuple(c.name for c in design.concepts or ())
    found = []
    for band in resolve_layers(design.layers, ground.model.n_layers):
        for dose in (d for d in design.doses if not d.is_null):
            cell = Cell(
                design.scaffolds[0], band, dose, FROM_TEXT, concepts, ground.vectors, design.seed, dosing=ground.dosing
            )
            asked = dose if dose.is_effect else None
            found += [Dosed(concept, cell.injections(concept), asked) for concept in concepts]
    return found


def _injections(vectors: Sequence[ConceptVector], layers: Sequence[int], magnitude: float) -> list[Injection]:
    dose = Dose(magnitude, Unit.RESIDUAL)
    return [Injection(v, layer, dose, FROM_TEXT) for v, layer in zip(vectors, layers, strict=True)]


def _in_place(injections: Sequence[Injection], vectors: Sequence[ConceptVector], magnitude: float) -> list[Injection]:
    dose = Dose(magnitude, Unit.RESIDUAL)
    return [attrs.evolve(i, vector=v, dose=dose) for i, v in zip(injections, vectors, strict=True)]


def _blocks(layers: Sequence[int]) -> str:
    return f"layers {list(layers)}" if len(layers) > 1 else f"layer {layers[0]}"
