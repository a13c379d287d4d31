"""What is added to the residual stream, and the proof that it was: injections, steers, receipts.

An :class:`Injection` says what is asked for, in names; a :class:`Steer` is an injection whose positions are settled
for one prompt, which is what a backend takes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from .boundaries import checked, guarded
from .doses import Dose, Unit
from .errors import InjectionError, SilentInjectionError, explain
from .identity import SteerKey
from .prompts import RenderedPrompt
from .showing import shown
from .spans import Positions, Span
from .vectors import ConceptVector


def _parse_dose(value: Any) -> Any:
    return Dose.parse(value) if isinstance(value, str) else value


def _parse_span(value: Any) -> Any:
    return Span.parse(value) if isinstance(value, str) else value


@guarded(InjectionError)
@attrs.frozen
class Injection:
    """One vector, added at the output of one decoder block, at one dose, over one span.

    ``layer`` is 0-based: the residual stream that leaves block ``layer``. ``dose`` and ``span`` may be given in their
    written form (``"0.3 residual"``, ``"from(trial)"``). Raises :class:`InjectionError`.
    """

    vector: ConceptVector = attrs.field()
    layer: int = attrs.field()
    dose: Dose = attrs.field(converter=_parse_dose)
    span: Span = attrs.field(converter=_parse_span)

    @vector.validator
    def _check_vector(self, _: object, value: ConceptVector) -> None:
        if not isinstance(value, ConceptVector):
            raise InjectionError(
                explain(
                    "vector",
                    required="a ConceptVector",
                    got=type(value).__name__,
                    hint="Extract one, load one, or wrap an array: ConceptVector(values, concept, layer, provenance).",
                )
            )

    @layer.validator
    def _check_layer(self, _: object, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InjectionError(
                explain(
                    "layer",
                    required="a 0-based block index >= 0",
                    got=value,
                    hint="Negative indices are not resolved: name the block itself.",
                )
            )

    @dose.validator
    def _check_dose(self, _: object, value: Dose) -> None:
        if value.is_effect:
            raise InjectionError(
                explain(
                    "dose",
                    required="a magnitude in one of ib.Unit",
                    got=str(value),
                    hint="Give doses by effect to a design; it finds their magnitudes.",
                )
            )

    def __repr__(self) -> str:
        where = f"layer {self.layer}", str(self.dose), str(self.span)
        return shown(self, repr(self.vector.concept), *where, f"vector {self.vector.digest[:8]}")

    @property
    def is_null(self) -> bool:
        """Whether it adds nothing: magnitude 0, a control."""
        return self.dose.is_null


@guarded(InjectionError)
@attrs.frozen
class Steer:
    """An injection that adds something, with the absolute positions that its span came to in one prompt.

    Made by :func:`resolve`. Raises :class:`InjectionError` for an injection that adds nothing: a request has none.
    """

    injection: Injection = attrs.field()
    positions: Positions

    @injection.validator
    def _check_injection(self, _: object, value: Injection) -> None:
        if value.is_null:
            raise InjectionError(
                explain(
                    "injection",
                    required="one that adds something",
                    got=f"dose {value.dose}",
                    hint="Make steers with ib.resolve, which drops those of magnitude 0.",
                )
            )

    @property
    def vector(self) -> ConceptVector:
        """What is added."""
        return self.injection.vector

    @property
    def layer(self) -> int:
        """At which block."""
        return self.injection.layer

    @property
    def dose(self) -> Dose:
        """How much of it."""
        return self.injection.dose

    @property
    def unit(self) -> Unit:
        """The unit of its dose; no injection has one that is stated by its effect."""
        return Unit(self.injection.dose.unit)

    @functools.cached_property
    def key(self) -> SteerKey:
        """What of it stands in a trial's key."""
        return SteerKey(
            vector=self.vector.digest,
            layer=self.layer,
            magnitude=self.dose.magnitude,
            unit=self.unit.value,
            start=self.positions.start,
            stop=self.positions.stop,
        )


@checked(InjectionError)
def resolve(injections: Iterable[Injection], prompt: RenderedPrompt) -> tuple[Steer, ...]:
    """Return the steers of a request: spans as positions, those of magnitude 0 left out, in the order of their keys.

    Order never matters to what is added; this one makes requests of the same steers equal. Raises what
    :meth:`Span.resolve` raises, for spans of magnitude 0 as well.
    """
    found = [(i, i.span.resolve(prompt)) for i in injections]
    steers = [Steer(injection, where) for injection, where in found if not injection.is_null]
    return tuple(sorted(steers, key=lambda steer: steer.key.order)) if len(steers) > 1 else tuple(steers)


@guarded(InjectionError)
@attrs.frozen
class Receipt:
    """Proof of what one steer did, made inside the forward passes that were steered.

    ``prompt_positions`` and ``generation_positions`` count the positions touched: those where the stream changed, and
    for the unit ``projection`` also those where nothing that the stream's dtype could hold was left to remove.
    ``mean_ratio`` and ``max_ratio`` are ‖after - before‖/‖before‖ over them, the residual stream as its own dtype holds
    it on both sides of this steer's addition, norms and difference in float32. What rounding ate is thus not in them.
    """

    prompt_positions: int
    generation_positions: int
    mean_ratio: float
    max_ratio: float

    @classmethod
    def nothing(cls) -> Receipt:
        """The receipt of a steer without positions: nothing was touched."""
        return cls(0, 0, 0.0, 0.0)


def check_receipts(steers: Sequence[Steer], reply_tokens: int, receipts: Sequence[Receipt]) -> None:
    """Raise :class:`SilentInjectionError` unless there is a receipt for each steer, and each proves what was asked for.

    A steer must have touched exactly its positions, by a finite ratio above zero; without steers there must be no
    receipt. A position that kept every bit was not touched, and so is an error.
    """
    if len(receipts) != len(steers):
        raise SilentInjectionError(
            explain(
                "receipts",
                required=f"one for each of the {len(steers)} steers",
                got=len(receipts),
                hint="The steering hook did not report; the reply is not recorded.",
            )
        )
    for steer, receipt in zip(steers, receipts, strict=True):
        _check_receipt(steer, reply_tokens, receipt)


def _check_receipt(steer: Steer, reply_tokens: int, receipt: Receipt) -> None:
    expected = steer.positions.expected(reply_tokens)
    touched = (receipt.prompt_positions, receipt.generation_positions)
    where = f"receipt of the steer at layer {steer.layer} ({steer.dose})"
    if touched != expected:
        raise SilentInjectionError(
            explain(
                where,
                required=f"{expected[0]} prompt and {expected[1]} generated positions steered",
                got=f"{touched[0]} and {touched[1]}",
                hint="The backend steered something else than the span says, or rounding left positions as they were; "
                "the reply is not recorded.",
            )
        )
    ratios = (receipt.mean_ratio, receipt.max_ratio)
    least = 0.0 if steer.dose.unit == "projection" else math.ulp(0.0)
    if sum(touched) and not all(math.isfinite(ratio) and ratio >= least for ratio in ratios):
        raise SilentInjectionError(
            explain(
                where,
                required="a finite change above zero",
                got=f"‖after - before‖/‖before‖ = {receipt.mean_ratio} on average, {receipt.max_ratio} at most",
                hint="The magnitude may be lost in the model's dtype, or the vector may overflow it.",
            )
        )
