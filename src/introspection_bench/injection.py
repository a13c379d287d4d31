"""What is added to the residual stream, where, and the proof that it was: units, spans, injections, receipts.

The definitions are those of ``DESIGN.md``, "Definitions that every injector shares". Nothing here needs torch:
:func:`delta_length` is plain arithmetic and takes floats, NumPy arrays and torch tensors alike, so that every
backend applies the very same formula.
"""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .boundaries import checked, guarded
from .errors import AnchorNotFoundError, EmptySpanError, InjectionError, SilentInjectionError, explain
from .freezing import plain_float
from .vectors import ConceptVector

if TYPE_CHECKING:
    from .scaffolds import RenderedPrompt


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
    """

    RAW = "raw"
    ABSOLUTE = "absolute"
    RESIDUAL = "residual"
    UPDATE = "update"

    @classmethod
    def parse(cls, value: str | Unit) -> Unit:
        """Return the unit called ``value``; raises :class:`InjectionError` for any other name."""
        try:
            return cls(value)
        except ValueError:
            raise InjectionError(
                explain("unit", required=f"one of {[u.value for u in cls]}", got=value, hint="See ib.Unit.")
            ) from None


def delta_length(
    unit: Unit, magnitude: Any, *, vector_norm: Any, residual_norm: Any = None, update_norm: Any = None
) -> Any:
    """Return ‖delta‖, the length of what is added along ``û``, in the residual stream's own scale.

    ``magnitude`` and the norms are floats or arrays of one library that broadcast together (float32 by
    convention). ``residual_norm`` is needed by ``residual`` alone, ``update_norm`` by ``update`` alone.
    Source: DESIGN.md, table of units.
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


@attrs.frozen
class Positions:
    """The absolute token positions ``start <= t < stop`` of one sequence; ``stop`` None means to the end.

    Position 0 is the first prompt token; the first sampled token has the position ``prompt_length``.
    """

    start: int
    stop: int | None
    prompt_length: int

    def expected(self, sampled_tokens: int) -> tuple[int, int]:
        """Return how many positions a correct run steers: (in the prompt, while generating).

        A reply of ``k`` sampled tokens makes ``k - 1`` generated positions: the last token is never fed back.
        """
        end = self.prompt_length + max(sampled_tokens - 1, 0)
        stop = end if self.stop is None else min(self.stop, end)
        in_prompt = max(min(stop, self.prompt_length) - self.start, 0)
        generated = max(stop - max(self.start, self.prompt_length), 0)
        return in_prompt, generated


SpanKind = Literal["all", "prompt", "generation", "from", "between"]
#: What an anchor may be called: a span is written with these names, and its written form is part of a trial's key.
ANCHOR_NAME = re.compile(r"[\w.:-]+")


@guarded(InjectionError)
@attrs.frozen
class Span:
    """Which positions are steered, stated in terms of the prompt's named anchors.

    Build one with :meth:`all`, :meth:`prompt`, :meth:`generation`, :meth:`from_anchor`, :meth:`between` or
    :meth:`parse`. ``stop_at_prompt_end`` leaves generated tokens alone. A span becomes numbers once, in
    :meth:`resolve`, when a request is made of it and a prompt.
    """

    kind: SpanKind
    start_anchor: str | None = None
    stop_anchor: str | None = None
    stop_at_prompt_end: bool = False

    def __attrs_post_init__(self) -> None:
        needed = {"all": 0, "prompt": 0, "generation": 0, "from": 1, "between": 2}
        if self.kind not in needed:
            raise InjectionError(
                explain("span", required=f"one of {sorted(needed)}", got=self.kind, hint="See ib.Span.")
            )
        given = [a for a in (self.start_anchor, self.stop_anchor) if a is not None]
        for name in given:
            if not isinstance(name, str) or not ANCHOR_NAME.fullmatch(name):
                raise InjectionError(
                    explain(
                        f"span {self.kind!r}",
                        required="anchor names of letters, digits and _ . : -",
                        got=repr(name),
                        hint="Rename the scaffold's Anchor.",
                    )
                )
        if len(given) != needed[self.kind] or (self.kind == "from" and self.start_anchor is None):
            raise InjectionError(
                explain(
                    f"span {self.kind!r}",
                    required=f"{needed[self.kind]} anchor name(s)",
                    got=given,
                    hint="Use Span.from_anchor(name) or Span.between(first, last).",
                )
            )
        if self.kind == "generation" and self.stop_at_prompt_end:
            raise EmptySpanError(
                explain(
                    "span 'generation'",
                    required="no stop_at_prompt_end",
                    got=True,
                    hint="Together they steer nothing.",
                )
            )

    @classmethod
    @checked(InjectionError)
    def all(cls, *, stop_at_prompt_end: bool = False) -> Span:
        """Every position of prompt and reply."""
        return cls("all", stop_at_prompt_end=stop_at_prompt_end)

    @classmethod
    def prompt(cls) -> Span:
        """Every prompt position, no generated one."""
        return cls("prompt")

    @classmethod
    def generation(cls) -> Span:
        """Every generated position, no prompt position (the first sampled token is thus unsteered)."""
        return cls("generation")

    @classmethod
    @checked(InjectionError)
    def from_anchor(cls, anchor: str, *, stop_at_prompt_end: bool = False) -> Span:
        """From the anchor's token to the end of the reply (or of the prompt)."""
        return cls("from", anchor, stop_at_prompt_end=stop_at_prompt_end)

    @classmethod
    @checked(InjectionError)
    def between(cls, first: str, last: str, *, stop_at_prompt_end: bool = False) -> Span:
        """From the first anchor's token up to, and without, the last anchor's token."""
        return cls("between", first, last, stop_at_prompt_end=stop_at_prompt_end)

    @classmethod
    @checked(InjectionError)
    def parse(cls, text: str) -> Span:
        """Read the written form, as in TOML files: ``all``, ``from(trial)``, ``between(a, b) stop_at_prompt_end``."""
        body, _, flag = text.strip().partition(" stop_at_prompt_end")
        kind, _, rest = body.partition("(")
        anchors = [a.strip() for a in rest.rstrip(")").split(",") if a.strip()]
        if flag.strip() or len(anchors) > 2 or bool(rest) != body.endswith(")"):
            raise InjectionError(
                explain(
                    "span",
                    required="all, prompt, generation, from(anchor) or between(a, b), optionally with "
                    "' stop_at_prompt_end'",
                    got=text,
                    hint="See ib.Span.",
                )
            )
        start, stop = (*anchors, None, None)[:2]
        return cls(
            kind.strip(),  # type: ignore[arg-type]  # __attrs_post_init__ rejects any other word
            start,
            stop,
            stop_at_prompt_end=text.strip().endswith(" stop_at_prompt_end"),
        )

    def __str__(self) -> str:
        anchors = ", ".join(a for a in (self.start_anchor, self.stop_anchor) if a is not None)
        return (
            f"{self.kind}({anchors})" * bool(anchors)
            + self.kind * (not anchors)
            + (" stop_at_prompt_end" if self.stop_at_prompt_end else "")
        )

    def resolve(self, prompt: RenderedPrompt) -> Positions:
        """Return the absolute positions for this prompt.

        Raises :class:`AnchorNotFoundError` for an anchor that the prompt lacks, and :class:`EmptySpanError`
        where no position is left to steer.
        """
        length = len(_rendered(prompt).token_ids)
        start, stop = {
            "all": (0, None),
            "prompt": (0, length),
            "generation": (length, None),
            "from": (self._anchor(prompt, self.start_anchor), None),
            "between": (self._anchor(prompt, self.start_anchor), self._anchor(prompt, self.stop_anchor)),
        }[self.kind]
        if self.stop_at_prompt_end:
            stop = length if stop is None else min(stop, length)
        if stop is not None and stop <= start:
            raise EmptySpanError(
                explain(
                    "span",
                    required="at least one position",
                    got=f"{self} = positions {start} to {stop}",
                    hint="Check the order of the anchors.",
                )
            )
        return Positions(start, stop, length)

    @staticmethod
    def _anchor(prompt: RenderedPrompt, name: str | None) -> int:
        if name is None:
            return 0
        if name not in prompt.anchors:
            raise AnchorNotFoundError(
                explain(
                    "span",
                    required=f"an anchor of the prompt, one of {sorted(prompt.anchors)}",
                    got=name,
                    hint="Give the scaffold an Anchor of that name.",
                )
            )
        return prompt.anchors[name]


def _rendered(prompt: RenderedPrompt) -> RenderedPrompt:
    from .scaffolds import RenderedPrompt as Wanted  # which imports this module

    if not isinstance(prompt, Wanted):
        raise InjectionError(
            explain("prompt", required="a RenderedPrompt", got=type(prompt).__name__, hint="See Scaffold.render.")
        )
    return prompt


def _parse_unit(value: str | Unit) -> Unit:
    return Unit.parse(value)


def _parse_span(value: str | Span) -> Span:
    return Span.parse(value) if isinstance(value, str) else value


def _parse_magnitude(value: Any) -> float:
    try:
        return plain_float(value)
    except (TypeError, ValueError):
        raise InjectionError(
            explain("magnitude", required="a number", got=repr(value), hint="Its unit is given by unit.")
        ) from None


@guarded(InjectionError)
@attrs.frozen
class Injection:
    """One vector, added at the output of one decoder block, at one magnitude in a stated unit, over one span.

    ``layer`` is 0-based: the residual stream that leaves block ``layer``. ``magnitude`` 0 is a control. ``unit`` and
    ``span`` may be given in their written form (``"residual"``, ``"from(trial)"``). Raises :class:`InjectionError`.
    """

    vector: ConceptVector = attrs.field()
    layer: int = attrs.field()
    magnitude: float = attrs.field(converter=_parse_magnitude)
    unit: Unit = attrs.field(converter=_parse_unit)
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

    @span.validator
    def _check_span(self, _: object, value: Span) -> None:
        if not isinstance(value, Span):
            raise InjectionError(explain("span", required="a Span or its written form", got=value, hint="See ib.Span."))

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

    @magnitude.validator
    def _check_magnitude(self, _: object, value: float) -> None:
        if not math.isfinite(value):
            raise InjectionError(
                explain("magnitude", required="a finite number", got=value, hint="Negative values are allowed.")
            )


@guarded(InjectionError)
@attrs.frozen
class Receipt:
    """Proof of what one trial's injection did, made inside the forward passes that were steered.

    ``prompt_positions`` and ``generation_positions`` count the positions touched: those where the stream changed.
    ``mean_ratio`` and ``max_ratio`` are ‖after - before‖/‖before‖ over them, the residual stream as its own dtype
    holds it on both sides of the addition, norms and difference in float32. What rounding ate is thus not in them.
    """

    prompt_positions: int
    generation_positions: int
    mean_ratio: float
    max_ratio: float

    @classmethod
    def nothing(cls) -> Receipt:
        """The receipt of a control: nothing was touched."""
        return cls(0, 0, 0.0, 0.0)


def check_receipt(positions: Positions | None, sampled_tokens: int, receipt: Receipt | None) -> None:
    """Raise :class:`SilentInjectionError` unless the receipt proves the injection that was asked for.

    ``positions`` None, a control, must have touched nothing; an injection must have touched exactly its positions, by a
    finite ratio above zero. A position that kept every bit was not touched, and so is an error.
    """
    if receipt is None:
        raise SilentInjectionError(
            explain(
                "receipt",
                required="one for every reply",
                got=None,
                hint="The steering hook did not report; the reply is not recorded.",
            )
        )
    expected = (0, 0) if positions is None else positions.expected(sampled_tokens)
    touched = (receipt.prompt_positions, receipt.generation_positions)
    if touched != expected:
        raise SilentInjectionError(
            explain(
                "receipt",
                required=f"{expected[0]} prompt and {expected[1]} generated positions steered",
                got=f"{touched[0]} and {touched[1]}",
                hint="The backend steered something else than the span says, or rounding left positions as they were; "
                "the reply is not recorded.",
            )
        )
    ratios = (receipt.mean_ratio, receipt.max_ratio)
    if sum(touched) and not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise SilentInjectionError(
            explain(
                "receipt",
                required="a finite change above zero",
                got=f"‖after - before‖/‖before‖ = {receipt.mean_ratio} on average, {receipt.max_ratio} at most",
                hint="The magnitude may be lost in the model's dtype, or the vector may overflow it.",
            )
        )
