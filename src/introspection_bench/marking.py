"""A prompt's tokens with those marked that a span steers: what to look at before a run."""

from __future__ import annotations

import datetime
import itertools
from html import escape

import attrs

from .boundaries import checked, guarded
from .errors import ScaffoldError, explain
from .freezing import frozen_tuple
from .items import Item
from .prompts import RenderedPrompt, Tokenizer
from .rendering import tokenise
from .scaffolds import Scaffold, load_scaffold
from .showing import plural, shown
from .spans import Positions, Span
from .untrusted import visible


@guarded(ScaffoldError)
@attrs.frozen
class MarkedPrompt:
    """A prompt in tokens, and which of them are steered.

    ``tokens`` are the texts of the prompt's tokens, which joined are its text (a special token that the tokenizer put
    before it has none). Printed, the steered part stands between ⟦ and ⟧; a notebook marks it, and says each token's
    position where it is pointed at.
    """

    name: str
    prompt: RenderedPrompt
    tokens: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    span: Span = attrs.field(validator=attrs.validators.instance_of(Span))

    def __attrs_post_init__(self) -> None:
        self.span.resolve(self.prompt)
        if len(self.tokens) != len(self.prompt.token_ids):
            raise ScaffoldError(
                explain(
                    "tokens",
                    required=f"the texts of the prompt's {len(self.prompt.token_ids)} tokens",
                    got=len(self.tokens),
                    hint="Make it with ib.mark_span.",
                )
            )

    @property
    def positions(self) -> Positions:
        """What the span comes to in this prompt."""
        return self.span.resolve(self.prompt)

    @property
    def steered(self) -> tuple[int, ...]:
        """The steered positions of the prompt."""
        stop = len(self.tokens) if self.positions.stop is None else self.positions.stop
        return tuple(range(self.positions.start, min(stop, len(self.tokens))))

    @property
    def steers_reply(self) -> bool:
        """Whether generated positions are steered too."""
        return self.positions.stop is None or self.positions.stop > len(self.tokens)

    def __repr__(self) -> str:
        reply = " and the reply" if self.steers_reply else ""
        told = f"{len(self.steered)} of {plural(len(self.tokens), 'prompt token')}{reply} steered"
        return shown(self, repr(self.name), str(self.span), told)

    def __str__(self) -> str:
        parts = [visible(token, keep="\n") for token in self.tokens]
        if self.steered:
            parts.insert(self.steered[0], "⟦")
            parts.insert(self.steered[-1] + 2, "⟧")
        return "".join(parts) + ("⟦reply⟧" if self.steers_reply else "")

    def _repr_html_(self) -> str:
        steered = frozenset(self.steered)
        places = {at: name for name, at in self.prompt.anchors.items()}
        parts = []
        for at, token in enumerate(self.tokens):
            title = f"{at}, {places[at]}" if at in places else str(at)
            tag = "mark" if at in steered else "span"
            text = escape(visible(token, keep="\n"))
            parts.append(f'<{tag} title="{escape(title)}">{text}</{tag}>')
        reply = "<mark>[reply]</mark>" if self.steers_reply else "[reply]"
        whole = "".join(parts)
        return f'<p>{escape(repr(self))}</p><pre style="white-space: pre-wrap">{whole}{reply}</pre>'


@checked(ScaffoldError)
def mark_span(
    scaffold: Scaffold | str,
    tokenizer: Tokenizer,
    span: Span | str = "from(trial)",
    *,
    item: Item | None = None,
    date: datetime.date | None = None,
) -> MarkedPrompt:
    """Return a scaffold's prompt in tokens, with those marked that a span steers.

    ``scaffold`` and ``span`` may be given by name and as written; ``tokenizer`` is the model's own
    (``injector.tokenizer``). ``item`` fills the scaffold's slots, ``date`` is what a template that prints the date is
    told. Raises what :meth:`Scaffold.render` and :meth:`Span.resolve` raise.
    """
    scaffold = load_scaffold(scaffold) if isinstance(scaffold, str) else scaffold
    span = Span.parse(span) if isinstance(span, str) else span
    prompt = scaffold.fill(item).render(tokenizer, date)
    _, offsets = tokenise(tokenizer, prompt.text, special_tokens=scaffold.special_tokens)
    # Tokens that share a character (bytes of one) or leave one between them still come to the whole text, once.
    ends = [0]
    for _, stop in offsets:
        ends.append(max(ends[-1], stop))
    ends[-1] = len(prompt.text)
    tokens = [prompt.text[start:stop] for start, stop in itertools.pairwise(ends)]
    return MarkedPrompt(scaffold.name, prompt, tokens, span)
