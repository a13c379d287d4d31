"""How much is added: a magnitude with its unit, and what each unit stands for. Nothing here needs torch.

The definitions are those of docs/backends.md, "Definitions that every injector shares"; all backends take their numbers
from :func:`delta_length`, which is plain arithmetic and takes floats, NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from fractions import Fraction
from typing import Any

import attrs

from .boundaries import checked, guarded
from .errors import InjectionError, LayerError, explain
from .freezing import frozen_tuple, plain_float


class Unit(StrEnum):
    """The unit of a magnitude ``m``: what is added to the residual ``h`` at one position.

    With ``v`` the raw concept vector and ``û = v / ‖v‖``:

    - ``raw``: ``m · v`` (Lindsey 2026, "injection strength").
    - ``absolute``: ``m · û`` (repeng and steering-vectors, with unit vectors).
    - ``residual``: ``m · ‖h‖ · û``, the norm taken per token before adding, the sum not renormalised
      (``norm_match`` of vllm-lens >= 1.2).
    - ``update``: ``m · ‖u‖ · û`` with ``u`` the output of the block's MLP branch, which the block adds last to
      the residual stream (``norm_match`` of vllm-lens <= 1.1 on fused-residual models; the unit of the
      Llama-3.1-405B study's magnitudes).
    - ``projection``: ``m · (h · û) · û``; ``m = -1`` removes the direction from the stream (refusal ablation as in
      Macar 2026, whose weight w is ``m = -w``).
    """

    RAW = "raw"
    ABSOLUTE = "absolute"
    RESIDUAL = "residual"
    UPDATE = "update"
    PROJECTION = "projection"

    @classmethod
    def parse(cls, value: str | Unit) -> Unit:
        """Return the unit called ``value``; raises :class:`InjectionError` for any other name."""
        try:
            return cls(value)
        except ValueError:
            raise InjectionError(
                explain("unit", required=f"one of {[u.value for u in cls]}", got=value, hint="See ib.Unit.")
            ) from None


class Effect(StrEnum):
    """The unit of a dose that is stated by its effect, and resolved to a ``residual`` one before anything is injected.

    - ``kl``: nats, the Kullback-Leibler divergence of the next token's distribution from the unsteered one, over the
      whole vocabulary, as the median over the library's neutral prompts.
    """

    KL = "kl"


def delta_length(
    unit: Unit,
    magnitude: Any,
    *,
    vector_norm: Any,
    residual_norm: Any = None,
    update_norm: Any = None,
    along: Any = None,
) -> Any:
    """Return the signed length of what is added along ``û``, in the residual stream's own scale.

    ``magnitude`` and the rest are floats or arrays of one library that broadcast together (float32 by convention).
    ``residual_norm`` (‖h‖) is needed by ``residual`` alone, ``update_norm`` (‖u‖) by ``update``, ``along`` (h · û) by
    ``projection``. It is linear in all of them. Source: the table of units in docs/backends.md.
    """
    match unit:
        case Unit.RAW:
            return magnitude * vector_norm
        case Unit.ABSOLUTE:
            return magnitude
        case Unit.RESIDUAL:
            return magnitude * residual_norm
        case Unit.UPDATE:
            return magnitude * update_norm
        case Unit.PROJECTION:
            return magnitude * along


def _parse_unit(value: str | Unit | Effect) -> Unit | Effect:
    return Effect(value) if value in tuple(Effect) else Unit.parse(value)


def _parse_magnitude(value: Any) -> float:
    try:
        return plain_float(value)
    except (TypeError, ValueError):
        raise InjectionError(
            explain("magnitude", required="a number", got=repr(value), hint="Its unit is given by unit.")
        ) from None


@guarded(InjectionError)
@attrs.frozen(order=True)
class Dose:
    """A magnitude with its unit: ``Dose(2, "raw")``. Written ``2 raw``.

    ``Dose(0.5, "kl")`` asks for an effect (:class:`Effect`): a design takes it and finds the magnitude that has it; an
    injection does not. Raises :class:`InjectionError` for a magnitude that isn't finite, for an unknown unit, and for
    an effect that isn't above 0. Negative magnitudes are allowed.
    """

    magnitude: float = attrs.field(converter=_parse_magnitude)
    unit: Unit | Effect = attrs.field(converter=_parse_unit)

    @magnitude.validator
    def _check_magnitude(self, _: object, value: float) -> None:
        if not math.isfinite(value):
            raise InjectionError(
                explain("magnitude", required="a finite number", got=value, hint="Negative values are allowed.")
            )

    def __attrs_post_init__(self) -> None:
        if self.is_effect and self.magnitude <= 0:
            raise InjectionError(explain("dose", required="an effect above 0", got=str(self), hint="As in 0.5 kl."))

    @property
    def is_effect(self) -> bool:
        """Whether it is stated by its effect, and must be resolved before it is injected."""
        return isinstance(self.unit, Effect)

    @classmethod
    @checked(InjectionError)
    def parse(cls, value: str | Dose) -> Dose:
        """Return the dose that is written as ``0.3 residual``, as in TOML files; a dose as it is.

        >>> print(-Dose.parse("0.30 residual"))
        -0.3 residual
        """
        if isinstance(value, Dose):
            return value
        magnitude, _, unit = value.strip().partition(" ")
        if not unit.strip():
            raise InjectionError(
                explain(
                    "dose", required="a magnitude and its unit, as in '0.3 residual'", got=value, hint="See ib.Dose."
                )
            )
        return cls(magnitude, unit.strip())

    @property
    def is_null(self) -> bool:
        """Whether nothing is added: magnitude 0, a control."""
        return self.magnitude == 0

    def __neg__(self) -> Dose:
        return Dose(-self.magnitude, self.unit)

    def __str__(self) -> str:
        return f"{self.magnitude:.12g} {self.unit.value}"


def as_doses(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return doses, written or as values: a converter."""
    return tuple(Dose.parse(v) if isinstance(v, str) else v for v in frozen_tuple(values))


@guarded(LayerError)
@attrs.frozen
class Depth:
    """A layer by its share of the model's depth: ``Depth(2 / 3)``, as studies that compare models state it.

    It is the block nearest to ``fraction`` times their number (84 of 126, 20 of 30), the last one for 1. Raises
    :class:`~introspection_bench.errors.LayerError` for a fraction outside 0 to 1.

    >>> [Depth(2 / 3).layer(n_layers) for n_layers in (30, 80, 126)]
    [20, 53, 84]
    """

    fraction: float = attrs.field(converter=float)

    @fraction.validator
    def _check_fraction(self, _: object, value: float) -> None:
        if not 0 <= value <= 1:
            raise LayerError(explain("depth", required="a fraction from 0 to 1", got=value, hint="As in Depth(2 / 3)."))

    @checked(LayerError)
    def layer(self, n_layers: int) -> int:
        """Return the 0-based block of a model with ``n_layers`` blocks."""
        return min(round(self.fraction * n_layers), n_layers - 1)

    def __str__(self) -> str:
        stated = Fraction(self.fraction).limit_denominator(100)
        return f"depth {stated if float(stated) == self.fraction else self.fraction}"


@checked(LayerError)
def as_layer(value: int | str | Depth) -> int | Depth:
    """Return a layer as it is written on a command line: ``20`` is a block, ``2/3`` a depth; others as they are.

    Raises :class:`~introspection_bench.errors.LayerError` for a text that is neither.
    """
    if not isinstance(value, str):
        return value
    try:
        return int(value) if value.strip().isdecimal() else Depth(float(Fraction(value.strip())))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise LayerError(
            explain("layer", required="a 0-based block or a depth", got=repr(value), hint="As in 20 or 2/3.")
        ) from error
