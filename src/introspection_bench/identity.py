"""The identity of a trial: everything that can alter its reply, and nothing else."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import attrs

from .boundaries import guarded
from .digests import digest
from .errors import SpecError, explain
from .freezing import frozen_ints, frozen_tuple, plain_float, plain_int

#: Raised with every change of what is hashed.
KEY_VERSION = 2


@guarded(SpecError)
@attrs.frozen
class Sampling:
    """How a reply is sampled. ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 switch the filters off.

    The defaults are Lindsey 2026's: temperature 1, 100 tokens.
    """

    temperature: float = attrs.field(default=1.0, converter=plain_float)
    top_p: float = attrs.field(default=1.0, converter=plain_float)
    top_k: int = 0
    max_new_tokens: int = 100

    def __attrs_post_init__(self) -> None:
        checks = {
            "temperature": (0 <= self.temperature < float("inf"), "a finite number >= 0"),
            "top_p": (0 < self.top_p <= 1, "a number in (0, 1]"),
            "top_k": (type(self.top_k) is int and self.top_k >= 0, "a whole number >= 0"),
            "max_new_tokens": (type(self.max_new_tokens) is int and self.max_new_tokens >= 1, "a whole number >= 1"),
        }
        for name, (fine, required) in checks.items():
            if not fine:
                raise SpecError(explain(f"sampling.{name}", required=required, got=getattr(self, name), hint=""))


def _check_finite(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not math.isfinite(value):  # no digest holds such a number
        raise SpecError(explain(f"trial.{attribute.name}", required="a finite number", got=value, hint=""))


def _fields(value: attrs.AttrsInstance) -> dict[str, Any]:
    # attrs.asdict copies what is nested as well, which made the planning of large grids twice as slow.
    return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}


@guarded(SpecError)
@attrs.frozen
class SteerKey:
    """What of one steer stands in a trial's key: what is added, how much of it, and where.

    ``start`` and ``stop`` are the absolute positions that the span came to, ``stop`` None to the end; ``start``,
    ``layer`` and ``unit`` are None in results read from elsewhere that don't say. Names, and the text of the span, are
    no part of it.
    """

    vector: str
    layer: int | None = attrs.field(converter=plain_int)
    magnitude: float = attrs.field(converter=plain_float, validator=_check_finite)
    unit: str | None
    start: int | None = attrs.field(converter=plain_int)
    stop: int | None = attrs.field(converter=plain_int)

    @property
    def order(self) -> tuple[tuple[bool, Any], ...]:
        """By which steers of one trial are sorted: layer, position, then the rest, None first."""
        told = (self.layer, self.start, self.stop, self.unit, self.magnitude, self.vector)
        return tuple((value is not None, value if value is not None else 0) for value in told)


def in_order(steers: Iterable[SteerKey]) -> tuple[SteerKey, ...]:
    """Return steers in the one order that a key keeps them in."""
    found: tuple[SteerKey, ...] = frozen_tuple(steers)
    return tuple(sorted(found, key=lambda steer: steer.order)) if len(found) > 1 else found


@guarded(SpecError)
@attrs.frozen
class TrialKey:
    """The identity of one trial: everything that can alter its reply, and nothing else.

    ``model`` is the fingerprint of weights, configuration, tokenizer, dtype and the tokens that end a reply;
    ``numerics`` the version of the backend's arithmetic (``Injector.numerics``; 0 in results read from elsewhere);
    ``prompt`` the digest of the rendered token ids (a chat template that prints today's date makes another trial each
    day). ``steers`` is empty where nothing is steered; they are kept in one order, since theirs does not matter.
    ``draw`` counts the trials that are alike in all else. ``forced`` are token ids that are fed instead of sampled,
    None where the reply is sampled. ``given_seed`` is None where the seed derives from the rest.
    """

    model: str
    backend: str
    numerics: int = attrs.field(converter=plain_int)
    prompt: str
    steers: tuple[SteerKey, ...] = attrs.field(converter=in_order)
    sampling: Sampling
    draw: int = attrs.field(converter=plain_int)
    forced: tuple[int, ...] | None = attrs.field(converter=attrs.converters.optional(frozen_ints), default=None)
    given_seed: int | None = attrs.field(converter=plain_int, default=None)

    @functools.cached_property
    def digest(self) -> str:
        """64 hex digits; the primary key of the store."""
        told = _fields(self) | {"sampling": _fields(self.sampling)}
        told["steers"] = list(map(_fields, self.steers))
        return digest("trial", KEY_VERSION, told)

    @property
    def seed(self) -> int:
        """The trial's own sampling seed, in [0, 2**63): derived from the digest, unless the key holds one."""
        return int(self.digest[:16], 16) >> 1 if self.given_seed is None else self.given_seed
