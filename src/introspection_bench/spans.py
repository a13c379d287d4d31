"""Which positions of a sequence are steered or read: as a span of named places, and as numbers."""

from __future__ import annotations

import re
from typing import Literal

import attrs

from .boundaries import checked, guarded
from .errors import AnchorNotFoundError, EmptySpanError, InjectionError, explain
from .prompts import RenderedPrompt


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
#: Two anchors that every prompt has: its first token, and the first token of the reply.
START, REPLY = "start", "reply"
#: What an anchor may be called: a span is written with these names, and its written form is part of a trial's key.
ANCHOR_NAME = re.compile(r"[\w.:-]+")


@guarded(InjectionError)
@attrs.frozen
class Span:
    """Which positions are steered, stated in terms of the prompt's named anchors.

    Build one with :meth:`all`, :meth:`prompt`, :meth:`generation`, :meth:`from_anchor`, :meth:`between` or
    :meth:`parse`. ``stop_at_prompt_end`` leaves generated tokens alone. A span becomes numbers once, in
    :meth:`resolve`, when a trial is planned. Every prompt has the
    anchors ``start``, its first token, and ``reply``, the first token of the reply.
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

    @checked(InjectionError)
    def until(self, anchor: str) -> Span:
        """Return the span up to, and without, an anchor's token; it must begin before it in the prompt."""
        if self.kind in ("all", "prompt"):
            return Span.between(START, anchor)
        if self.start_anchor is None or self.stop_anchor not in (None, REPLY):
            # One with an end of its own might end before the anchor, which only a prompt can tell.
            raise EmptySpanError(
                explain(
                    "span",
                    required="one that begins in the prompt and has no end of its own",
                    got=str(self),
                    hint="Choose all or from(anchor).",
                )
            )
        return Span.between(self.start_anchor, anchor)

    @property
    def onwards(self) -> Span:
        """The span from its first position to the end of the reply."""
        if self.kind == "generation":
            return self
        return Span.all() if self.start_anchor is None else Span.from_anchor(self.start_anchor)

    @property
    def in_prompt(self) -> Span:
        """The span without the generated positions."""
        if self.kind == "prompt":
            return self
        return attrs.evolve(self, stop_at_prompt_end=True)

    @classmethod
    @checked(InjectionError)
    def parse(cls, text: str) -> Span:
        """Read the written form, as in TOML files: ``all``, ``from(trial)``, ``between(a, b) stop_at_prompt_end``.

        >>> Span.parse("from(trial)") == Span.from_anchor("trial")
        True
        """
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

    @checked(InjectionError)
    def resolve(self, prompt: RenderedPrompt) -> Positions:
        """Return the absolute positions for this prompt.

        Raises :class:`AnchorNotFoundError` for an anchor that the prompt lacks, and :class:`EmptySpanError`
        where no position is left to steer.
        """
        length = len(prompt.token_ids)
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
        return place_of(prompt, name)


def place_of(prompt: RenderedPrompt, anchor: str) -> int:
    """Return an anchor's position: one of the prompt's own, :data:`START` or :data:`REPLY`.

    Raises :class:`AnchorNotFoundError` for an anchor that the prompt lacks.
    """
    known = {**prompt.anchors, START: 0, REPLY: len(prompt.token_ids)}
    if anchor not in known:
        raise AnchorNotFoundError(
            explain(
                "anchor",
                required=f"one of the prompt's, {sorted(known)}",
                got=anchor,
                hint="Give the scaffold an Anchor of that name, or choose another span.",
            )
        )
    return known[anchor]
