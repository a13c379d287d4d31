"""What doses do, as values: the effect of each on neutral prompts, and doses that were found by their effect."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import attrs

from .boundaries import checked, guarded
from .digests import digest
from .doses import Dose
from .errors import InjectionError, explain
from .freezing import frozen_ints, frozen_tuple, plain_int
from .names import composed

#: At a rank below this (from 0 on) a vector says its concept's word by itself.
READS_OUT_BELOW = 10


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(map(float, frozen_tuple(values)))


@guarded(InjectionError)
@attrs.frozen
class DoseEffect:
    """What one dose of one concept's vectors does to the next token on the neutral prompts.

    ``vectors`` are digests, one for each of ``layers``, which are steered at once; ``effect`` is what was asked for
    where ``dose`` was found by it. ``kl`` (nats, divergence of the steered distribution from the unsteered one),
    ``entropy_before`` and ``entropy_after`` (nats) and ``gain`` (nats, how much the log-probability of the concept's
    own first tokens rises) have one number for each prompt. ``random_kl`` and ``random_gain`` have one for each random
    vector of the same norm: the median over the prompts, of the same concept's tokens. ``ranks`` has
    one for each vector: that of the concept's likeliest first token, from 0, under the logit lens of the vector itself;
    None where the backend has no such lens. ``prompts`` is the battery's digest, ``seed`` that of the random vectors,
    ``model`` the model's name.
    """

    concept: str = attrs.field(converter=composed)
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints)
    dose: Dose
    vectors: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    prompts: str
    seed: int = attrs.field(converter=plain_int)
    kl: tuple[float, ...] = attrs.field(converter=_floats)
    entropy_before: tuple[float, ...] = attrs.field(converter=_floats)
    entropy_after: tuple[float, ...] = attrs.field(converter=_floats)
    gain: tuple[float, ...] = attrs.field(converter=_floats)
    random_kl: tuple[float, ...] = attrs.field(converter=_floats)
    random_gain: tuple[float, ...] = attrs.field(converter=_floats)
    effect: Dose | None = None
    model: str = ""
    ranks: tuple[int, ...] | None = attrs.field(default=None, converter=attrs.converters.optional(frozen_ints))

    def __attrs_post_init__(self) -> None:
        if self.ranks is not None and (len(self.ranks) != len(self.vectors) or min(self.ranks, default=0) < 0):
            raise InjectionError(
                explain(
                    f"ranks of {self.concept!r}",
                    required=f"one from 0 for each of {len(self.vectors)} vectors, or None",
                    got=self.ranks,
                    hint="",
                )
            )
        lengths = {len(self.kl), len(self.entropy_before), len(self.entropy_after), len(self.gain)}
        numbers = (*self.kl, *self.entropy_after, *self.gain, *self.random_kl, *self.random_gain)
        counts = {len(self.random_gain), len(self.random_kl)}
        uneven = len(lengths) != 1 or len(counts) != 1 or 0 in lengths | counts
        if uneven or not all(map(math.isfinite, numbers)):
            raise InjectionError(
                explain(
                    f"effect of {self.dose} of {self.concept!r}",
                    required="as many finite numbers of each kind as prompts, and random vectors to compare with",
                    got=f"{numbers[:8]} …, {len(self.random_gain)} random vectors",
                    hint="",
                )
            )

    @property
    def median_kl(self) -> float:
        """The median divergence over the prompts, in nats."""
        return statistics.median(self.kl)

    @property
    def median_gain(self) -> float:
        """The median gain in log-probability over the prompts, in nats."""
        return statistics.median(self.gain)

    @property
    def live(self) -> bool:
        """Whether the dose says its concept: its gain exceeds that of every random vector of the same norm."""
        return self.median_gain > max(self.random_gain)

    @property
    def reads_out(self) -> bool | None:
        """Whether one of the vectors says its concept's word by itself: naming may then be the steering.

        A rank below :data:`READS_OUT_BELOW` counts; None where the backend could not tell.
        """
        return None if self.ranks is None else min(self.ranks) < READS_OUT_BELOW

    @property
    def chance(self) -> float:
        """How often a vector that is itself a random direction would be called live: 1 / (random vectors + 1)."""
        return 1 / (len(self.random_gain) + 1)

    @property
    def key(self) -> str:
        """What was measured: SHA-256 of all that decides the numbers, the model apart."""
        count, shared = len(self.random_gain), (self.concept, self.layers, self.dose, self.vectors)
        return effect_key(*shared, prompts=self.prompts, seed=self.seed, n_random=count)


@checked(InjectionError)
def effect_key(
    concept: str,
    layers: Iterable[int],
    dose: Dose,
    vectors: Iterable[str],
    *,
    prompts: str,
    seed: int,
    n_random: int,
) -> str:
    """Return the key under which the effect of a dose is kept; see :class:`DoseEffect`."""
    told = [concept, list(layers), str(dose), list(vectors), prompts, seed, n_random]
    return digest("dose_effect", 1, told)


@guarded(InjectionError)
@attrs.frozen
class Effects:
    """The effects of a run's doses, one row for each concept, layers and dose."""

    rows: tuple[DoseEffect, ...] = attrs.field(converter=frozen_tuple, default=())

    def __iter__(self) -> Iterator[DoseEffect]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def live(self) -> tuple[DoseEffect, ...]:
        """The rows that are live."""
        return tuple(row for row in self.rows if row.live)


@guarded(InjectionError)
@attrs.frozen
class FoundDose:
    """A ``residual`` dose that was found by its effect: by ``key``, which says of what, it is found again.

    ``asked`` is the effect asked for: ``0.5 kl``, or what another injection did to the same answer. ``reached`` is the
    divergence in nats where it was asked for, ``neutral`` the median over the neutral prompts. ``vectors`` are digests,
    one for each of ``layers``. ``prompt`` is the digest of the prompt at whose answer it was matched, None where it
    was asked for on the neutral prompts. ``model`` is the model's name.
    """

    key: str
    asked: Dose
    dose: Dose
    reached: float = attrs.field(converter=float)
    neutral: float = attrs.field(converter=float)
    concept: str = attrs.field(converter=composed)
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints)
    vectors: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    prompt: str | None = None
    model: str = ""


@guarded(InjectionError)
@attrs.frozen
class Moved:
    """How far injections, or another prompt, move the answer to a prompt: ``kl`` nats, found again by ``key``."""

    key: str
    kl: float = attrs.field(converter=float)


@guarded(InjectionError)
@attrs.frozen
class Drawn:
    """A random vector that was drawn with the covariance of words' vectors, by ``key``, its digest.

    ``concept`` is the one that it stands for, at whose vector's norm it is injected, ``cosine`` that between the two,
    ``layer`` where it is injected. ``steps`` are those of its provenance: the seed, and what was drawn from.
    """

    key: str
    concept: str = attrs.field(converter=composed)
    layer: int = attrs.field(converter=plain_int)
    cosine: float = attrs.field(converter=float)
    steps: tuple[str, ...] = attrs.field(converter=frozen_tuple)


#: What is found on a model when a run is planned, and kept with it.
Found: TypeAlias = FoundDose | Moved | Drawn
