"""What a dose does to the next token, and which dose does as much: passes over the library's neutral prompts.

A prompt is one user turn, steered from the first token of its text to its end, the chat template's opening of the reply
included; what is read is the distribution of the reply's first token, over the whole vocabulary.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from .boundaries import checked, guarded
from .concepts import ConceptSet, as_concepts
from .digests import digest
from .doses import Dose, Effect, Unit, as_doses
from .effects import DoseEffect, Effects, effect_key
from .errors import InjectionError, ModelError, SpecError, explain
from .freezing import frozen_tuple, plain_int
from .identity import Sampling
from .injection import Injection
from .injectors.base import Injector
from .injectors.requests import Request
from .items import Battery, load_battery
from .measures.base import Read
from .measures.tokens import best_rank, first_tokens
from .measures.yes_no import entropy
from .prompts import RenderedPrompt
from .scaffolds import Anchor, Scaffold, Turn
from .spans import Positions, Span
from .vectors import ConceptVector

#: Of so many random vectors none may gain as much as a concept that counts as live: chance is 1 in 20.
RANDOM_VECTORS = 19
#: One user turn, and where it is steered: from the first token of its text on.
NEUTRAL = Scaffold("neutral", turns=[Turn("user", "{prompt}")], anchors=[Anchor("text", turn=0)])
FROM_TEXT = Span.from_anchor("text")
#: The magnitudes that a search tries first, upwards; each is twice the one before. Half precision would round the
#: smallest away.
GRID = tuple(2.0**n for n in range(-10, 5))
_LEAST = {"float16": 2**-8, "bfloat16": 2**-6}
#: A search ends where the effect lies so near to what was asked for (relative), or the magnitudes so near together.
TOLERANCE = 0.01
_NEAREST = 1e-4
#: Below this a divergence is the noise of float32.
LEAST_KL = 1e-4
#: Vectors read through the lens at a time: rows of a large vocabulary are many bytes.
_LENSED = 64
_GREEDY = Sampling(0.0, max_new_tokens=1)
_T = TypeVar("_T")
Logprobs = npt.NDArray[np.float64]


@guarded(SpecError)
@attrs.frozen
class Dosed:
    """One dose of one concept, as its injections over neutral prompts; ``effect`` is what was asked for, if it was."""

    concept: str
    injections: tuple[Injection, ...] = attrs.field(converter=frozen_tuple)
    effect: Dose | None = None

    @property
    def dose(self) -> Dose:
        """The dose."""
        return self.injections[0].dose

    @property
    def layers(self) -> tuple[int, ...]:
        """The steered blocks."""
        return tuple(i.layer for i in self.injections)

    def key(self, prompts: str, seed: int, n_random: int) -> str:
        """Return that of its :class:`DoseEffect`."""
        vectors = [i.vector.digest for i in self.injections]
        return effect_key(self.concept, self.layers, self.dose, vectors, prompts=prompts, seed=seed, n_random=n_random)


def prompts_digest(battery: Battery) -> str:
    """Return what identifies the prompts of a battery and where they are steered, whatever model reads them."""
    return digest("neutral_prompts", 1, [battery.digest, NEUTRAL.digest, str(FROM_TEXT)])


#: That of the library's own.
PROMPTS = prompts_digest(load_battery("neutral"))


class Probe:
    """A model with the neutral prompts: what it says to them unsteered is run once."""

    def __init__(self, injector: Injector, prompts: Battery | None = None, date: datetime.date | None = None) -> None:
        self.injector = injector
        self.battery = load_battery("neutral") if prompts is None else prompts
        day = date or datetime.date.today()
        self.prompts = [NEUTRAL.fill(item).render(injector.tokenizer, day) for item in self.battery.items]
        self.digest = prompts_digest(self.battery)
        self._clean: dict[str, Logprobs] = {}

    def read(
        self, asked: Sequence[tuple[RenderedPrompt, Sequence[Injection]]], reduce: Callable[[int, Logprobs], _T]
    ) -> list[_T]:
        """Return what ``reduce`` makes of the log-probabilities of the first token of each reply, by number."""
        requests = []
        for prompt, injections in asked:
            n = len(prompt.token_ids)
            read = Read("distribution", Positions(n - 1, n, n))
            requests.append(Request.of(prompt, injections, _GREEDY, forced=(), reads=(read,)))
        found: dict[int, _T] = {}
        for completion in self.injector.generate(requests):
            values = completion.readings[0][0].astype(np.float64)
            # float32 sums to 1 but for 1e-6; a small divergence is not to be that.
            found[completion.index] = reduce(completion.index, values - np.logaddexp.reduce(values))
        return [found[n] for n in range(len(requests))]

    def clean(self, prompts: Sequence[RenderedPrompt]) -> list[Logprobs]:
        """Return the unsteered log-probabilities after each prompt."""
        missing = [p for p in prompts if p.digest not in self._clean]
        self._clean |= zip(
            [p.digest for p in missing], self.read([(p, ()) for p in missing], lambda _, v: v), strict=True
        )
        return [self._clean[p.digest] for p in prompts]

    def divergences(self, prompts: Sequence[RenderedPrompt], injections: Sequence[Injection]) -> list[float]:
        """Return the divergence after each prompt under some injections."""
        clean = self.clean(prompts)
        return self.read([(p, injections) for p in prompts], lambda n, values: divergence(values, clean[n]))

    def neutral_kl(self, injections: Sequence[Injection]) -> float:
        """Return the median divergence over the neutral prompts under some injections."""
        return statistics.median(self.divergences(self.prompts, injections))

    @property
    def grid(self) -> tuple[float, ...]:
        """The magnitudes that a search on this model tries first."""
        return grid_of(self.injector.model.dtype)


def divergence(steered: Logprobs, clean: Logprobs) -> float:
    """Return the Kullback-Leibler divergence of one distribution from another, in nats, of their log-probabilities."""
    there = steered > -math.inf
    return max(float(np.sum(np.exp(steered[there]) * (steered[there] - clean[there]))), 0.0)


@checked(InjectionError)
def dose_effects(
    injector: Injector,
    vectors: Iterable[ConceptVector],
    layers: Sequence[int | Sequence[int]],
    doses: Sequence[Dose | str],
    *,
    concepts: ConceptSet | str | None = None,
    n_random: int = RANDOM_VECTORS,
    seed: int = 0,
    prompts: Battery | None = None,
    date: datetime.date | None = None,
) -> Effects:
    """Return what each dose of each vector does to the next token of the library's neutral prompts.

    Args:
        injector: the model; it must be able to read a ``distribution``.
        vectors: a concept's only one is injected at every layer, of several the one of that layer.
        layers: blocks, or several to be steered at once.
        doses: in any unit but an effect, also as they are written ("0.3 residual"); none of magnitude 0.
        concepts: a set, or its name, whose names and aliases are looked for; by default each concept's own name.
        n_random: how many random vectors a live concept must outdo: see :attr:`DoseEffect.live`.
        seed: of the random vectors. They are the same for all concepts.
        prompts: of a slot ``prompt`` each; by default the battery ``neutral``.
        date: what a chat template that prints the date is told; by default today.

    Raises:
        InjectionError: a dose that can't be injected, a concept without a vector of some layer, ``n_random`` below 1.
        SpecError: the backend can't read a ``distribution``.
    """
    by_concept: dict[str, dict[int, ConceptVector]] = {}
    stated: tuple[Dose, ...] = as_doses(doses)
    for vector in vectors:
        by_concept.setdefault(vector.concept, {})[vector.layer] = vector
    cases = []
    for band in layers:
        blocks = (band,) if isinstance(band, int) else tuple(band)
        for concept, own in by_concept.items():
            single = next(iter(own.values())) if len(own) == 1 else None
            chosen = [v for layer in blocks if (v := single or own.get(layer)) is not None]
            if len(chosen) < len(blocks) or not blocks:
                raise InjectionError(
                    explain("vectors", required=f"one of {concept!r} for each of {blocks}", got=sorted(own), hint="")
                )
            cases += [
                Dosed(concept, [Injection(v, n, dose, FROM_TEXT) for v, n in zip(chosen, blocks, strict=True)])
                for dose in stated
            ]
    names = {c.name: c.names for c in as_concepts(concepts) or ()}
    return measure_effects(Probe(injector, prompts, date), cases, names, n_random=n_random, seed=seed)


@checked(InjectionError)
def measure_effects(
    probe: Probe,
    cases: Sequence[Dosed],
    names: Mapping[str, Sequence[str]],
    *,
    n_random: int = RANDOM_VECTORS,
    seed: int = 0,
    known: Mapping[str, DoseEffect] | None = None,
) -> Effects:
    """Return the effects of some doses, in order; ``known`` ones, by key, are not measured again.

    ``names`` are those that concepts go by, by default their own. Otherwise as :func:`dose_effects`.
    """
    n_random, seed = plain_int(n_random), plain_int(seed)
    null = [case.concept for case in cases if case.dose.is_null]
    if null or n_random < 1 or seed < 0:
        raise InjectionError(
            explain(
                "doses, n_random and seed",
                required="doses other than 0, at least one random vector, a seed >= 0",
                got=f"dose 0 of {null[:3]}" if null else (n_random, seed),
                hint="A dose of 0 has no effect.",
            )
        )
    found = dict(known or {})
    keys = [case.key(probe.digest, seed, n_random) for case in cases]
    missing = {key: case for key, case in zip(keys, cases, strict=True) if key not in found}
    if missing:
        measured = _measured(probe, list(missing.values()), names, n_random, seed)
        found |= zip(missing, measured, strict=True)
    return Effects([found[key] for key in keys])


def _measured(
    probe: Probe, cases: Sequence[Dosed], names: Mapping[str, Sequence[str]], n_random: int, seed: int
) -> Iterator[DoseEffect]:
    clean, count = probe.clean(probe.prompts), len(probe.prompts)
    tokens = {
        c: first_tokens(names.get(c, (c.replace("_", " "),)), probe.injector.tokenizer)
        for c in {case.concept for case in cases}
    }
    before = [{c: _mass(values, ids) for c, ids in tokens.items()} for values in clean]

    def own(number: int, values: Logprobs) -> tuple[float, float, float]:
        concept, at = cases[number // count].concept, number % count
        gain = _mass(values, tokens[concept]) - before[at][concept]
        return divergence(values, clean[at]), entropy(values), gain

    def others(number: int, values: Logprobs) -> tuple[float, dict[str, float]]:
        at = number % count
        return divergence(values, clean[at]), {c: _mass(values, ids) - before[at][c] for c, ids in tokens.items()}

    told = probe.read([(p, case.injections) for case in cases for p in probe.prompts], own)
    randoms: dict[object, Sequence[Injection]] = {}
    compared = [_compared(case, cases[0], n_random, seed, randoms) for case in cases]
    flat = probe.read([(p, some) for some in randoms.values() for p in probe.prompts], others)
    by_key = {key: flat[n * count : (n + 1) * count] for n, key in enumerate(randoms)}
    entropies = [entropy(values) for values in clean]
    ranks = _ranks(probe.injector, cases, tokens)
    for number, case in enumerate(cases):
        kl, after, gain = zip(*told[number * count : (number + 1) * count], strict=True)
        beside = [by_key[key] for key in compared[number]]
        yield DoseEffect(
            case.concept,
            case.layers,
            case.dose,
            [i.vector.digest for i in case.injections],
            probe.digest,
            seed,
            kl,
            entropies,
            after,
            gain,
            [statistics.median(d for d, _ in some) for some in beside],
            [statistics.median(gains[case.concept] for _, gains in some) for some in beside],
            case.effect,
            probe.injector.model.name,
            ranks and [ranks[case.concept, i.vector.digest] for i in case.injections],
        )


def _compared(
    case: Dosed, like: Dosed, n_random: int, seed: int, made: dict[object, Sequence[Injection]]
) -> list[object]:
    """Return the keys of the random injections that a dose is compared with, which are added to ``made``.

    Their directions depend on seed, number and layer alone, so that concepts of one dose share the passes.
    """
    keys: list[object] = []
    for number in range(n_random):
        norms = [i.vector.norm if i.dose.unit is Unit.RAW else 1.0 for i in case.injections]
        key = (number, case.layers, case.dose, tuple(norms))
        keys.append(key)
        if key not in made:
            unit = like.injections[0].vector.unit
            made[key] = [
                attrs.evolve(i, vector=unit.random_like(_seed(seed, number, i.layer)) * norm)
                for i, norm in zip(case.injections, norms, strict=True)
            ]
    return keys


def _ranks(
    injector: Injector, cases: Sequence[Dosed], tokens: Mapping[str, Sequence[int]]
) -> dict[tuple[str, str], int] | None:
    """Return the rank of each concept's word under the lens of each of its vectors; None without such a lens."""
    if not injector.has_vector_lens or not all(tokens[case.concept] for case in cases):
        return None
    vectors = {(case.concept, i.vector.digest): i.vector for case in cases for i in case.injections}
    found: dict[tuple[str, str], int] = {}
    order = list(vectors)
    for start in range(0, len(order), _LENSED):
        keys = order[start : start + _LENSED]
        try:
            rows = injector.vector_logits([vectors[key] for key in keys])
        except ModelError:  # a model whose final norm is not found: its doses have effects all the same
            return None
        found |= {key: best_rank(row, tokens[key[0]])[0] for key, row in zip(keys, rows, strict=True)}
    return found


def _seed(seed: int, number: int, layer: int) -> int:
    return int(digest("effect_random", 1, [seed, number, layer])[:13], 16)


def _mass(logprobs: Logprobs, ids: Sequence[int]) -> float:
    return float(np.logaddexp.reduce(logprobs[list(ids)]))


def grid_of(dtype: str) -> tuple[float, ...]:
    """Return the magnitudes that a stream of this dtype can be steered by, of :data:`GRID`."""
    return tuple(m for m in GRID if m >= _LEAST.get(dtype, 0))


@checked(InjectionError)
def find_dose(
    effect_at: Callable[[float], float], target: float, what: str, grid: Sequence[float] = GRID
) -> tuple[Dose, float]:
    """Return the smallest dose (``residual``) that has an effect, and the effect that it has.

    ``effect_at`` returns the effect of a magnitude; it need not rise with it. The magnitudes of ``grid`` are run
    upwards until one has the effect. The interval below it is then narrowed, by turns where a straight line between its
    ends meets the effect and in its middle (both in logarithms), until the effect is met to 1 % or the interval is as
    narrow as 1 in 10,000. A crossing between two magnitudes of the grid that are both below the effect is not seen.
    Raises :class:`InjectionError` where none of the grid has the effect, and where the smallest has more already;
    ``what`` is asked for.
    """
    low, below, largest = 0.0, 0.0, 0.0
    for high in grid:
        reached = effect_at(high)
        largest = max(largest, reached)
        if reached >= target:
            break
        low, below = high, reached
    if largest < target or (not low and not _near(reached, target)):
        raise InjectionError(
            explain(
                what,
                required=f"an effect that some magnitude from {grid[0]:.3g} to {grid[-1]:.3g} residual has",
                got=f"{target:.3g} {Effect.KL.value} asked for, "
                + (f"at most {largest:.3g} found" if low else f"{largest:.3g} at the smallest of them already"),
                hint="Ask for another effect, or leave this concept or layer out.",
            )
        )
    on_line = True
    while not _near(reached, target) and high / low > 1 + _NEAREST:
        share = math.log(target / below) / math.log(reached / below) if on_line and below > 0 else 0.5
        # Rounded before it is run, so that what is stored and shown is what was measured.
        middle = float(f"{low * (high / low) ** share:.6g}")
        effect = effect_at(middle)
        if effect >= target or _near(effect, target):
            high, reached = middle, effect
        else:
            low, below = middle, effect
        on_line = not on_line
    return Dose(high, Unit.RESIDUAL), reached


def _near(reached: float, target: float) -> bool:
    return abs(reached - target) <= TOLERANCE * target
