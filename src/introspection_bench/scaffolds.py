"""What the model is asked, as a value: turns, anchors, and the prompt that comes of them as token ids.

A scaffold is rendered once, by the tokenizer's own chat template, to token ids with the position of every
anchor. Backends take these ids as they are: text is never tokenised a second time, so no second BOS appears.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import attrs

from .boundaries import checked, guarded
from .digests import digest
from .errors import AnchorNotFoundError, ScaffoldError, explain
from .freezing import frozen_ints, frozen_mapping, frozen_tuple
from .injection import ANCHOR_NAME, Span
from .templates import Tokenizer as Tokenizer  # noqa: PLC0414  # importers know it from here
from .templates import check_reply_begins, reads_clock, write_chat

Role = Literal["user", "assistant"]
Template = Literal["auto", "chat", "transcript"]
# A private-use character, which stands in no turn: put before an anchor, it shows where the template leaves it.
_MARK = "\ue000"


@guarded(ScaffoldError)
@attrs.frozen
class Turn:
    """One message: ``role`` is ``user`` or ``assistant`` (a system turn is :attr:`Scaffold.system`)."""

    role: Role = attrs.field()
    content: str = attrs.field()

    @role.validator
    def _check_role(self, _: object, value: str) -> None:
        if value not in ("user", "assistant"):
            raise ScaffoldError(
                explain("role", required="'user' or 'assistant'", got=value, hint="Use Scaffold(system=…) for system.")
            )

    @content.validator
    def _check_content(self, _: object, value: str) -> None:
        if not value.strip():
            raise ScaffoldError(
                explain("content", required="text", got=value, hint="Leave the turn out instead of emptying it.")
            )


@guarded(ScaffoldError)
@attrs.frozen
class Anchor:
    """A named place in the prompt: the token that holds the first character of ``text`` within one turn.

    ``turn`` indexes :attr:`Scaffold.turns` (negative from the end). ``text`` must occur exactly once in it. ``name``
    is made of letters, digits and ``_ . : -``.
    """

    name: str = attrs.field()
    text: str
    turn: int = -1

    @name.validator
    def _check_name(self, _: object, value: str) -> None:
        if not ANCHOR_NAME.fullmatch(value):
            raise ScaffoldError(
                explain("anchor", required="a name of letters, digits and _ . : -", got=repr(value), hint="Rename it.")
            )


@guarded(ScaffoldError)
@attrs.frozen
class RenderedPrompt:
    """A prompt as a backend takes it.

    ``token_ids`` hold everything up to where the reply begins; ``anchors`` map names to 0-based positions in
    them; ``text`` is what was tokenised; ``template`` says whether the chat template or the plain transcript
    made it. ``begun`` is the end of ``text``, behind the last turn: what of the reply is written already, such as a
    marker that opens its reasoning. ``date`` is the day that the template printed, None where it prints none.
    """

    token_ids: tuple[int, ...] = attrs.field(converter=frozen_ints)
    text: str
    anchors: Mapping[str, int] = attrs.field(converter=frozen_mapping, factory=dict, hash=False)
    scaffold_digest: str = ""
    template: Literal["chat", "transcript", "raw"] = "raw"
    begun: str = ""
    date: datetime.date | None = None

    @token_ids.validator
    def _check_token_ids(self, _: object, value: tuple[int, ...]) -> None:
        if not value:
            raise ScaffoldError(
                explain("token_ids", required="at least one token", got=value, hint="The prompt is empty.")
            )

    @anchors.validator
    def _check_anchors(self, _: object, value: Mapping[str, int]) -> None:
        outside = {name: place for name, place in value.items() if not 0 <= place < len(self.token_ids)}
        if outside:
            raise ScaffoldError(
                explain(
                    "anchors",
                    required=f"positions from 0 to {len(self.token_ids) - 1}",
                    got=outside,
                    hint="An anchor is the 0-based position of a prompt token.",
                )
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the token ids: what the model reads."""
        return digest("prompt", 1, list(self.token_ids))


@guarded(ScaffoldError)
@attrs.frozen
class Scaffold:
    """A conversation that ends where the model is to reply.

    ``turns`` end with a user turn. ``prefill`` begins the assistant's reply. ``span`` is the default span of
    injections under this scaffold. ``template`` ``auto`` uses the tokenizer's chat template and, for a
    tokenizer without one, a plain ``User: … Assistant:`` transcript; which of them is kept in the prompt.
    ``source`` cites where the wording comes from.
    """

    name: str
    turns: tuple[Turn, ...] = attrs.field(converter=frozen_tuple)
    span: Span
    anchors: tuple[Anchor, ...] = attrs.field(converter=frozen_tuple, default=())
    system: str | None = None
    prefill: str | None = None
    template: Template = "auto"
    source: str = ""

    def __attrs_post_init__(self) -> None:
        missing = {self.span.start_anchor, self.span.stop_anchor} - {None, *(a.name for a in self.anchors)}
        if missing:
            raise AnchorNotFoundError(
                explain(
                    f"span of scaffold {self.name!r}",
                    required=f"anchors of the scaffold: {[a.name for a in self.anchors]}",
                    got=f"{self.span}",
                    hint="Give the scaffold an Anchor of that name.",
                )
            )

    @turns.validator
    def _check_turns(self, _: object, turns: tuple[Turn, ...]) -> None:
        if not turns or turns[-1].role != "user":
            raise ScaffoldError(
                explain(
                    "turns",
                    required="at least one turn, the last a user turn",
                    got=[t.role for t in turns],
                    hint="Put the start of the reply into prefill.",
                )
            )

    @anchors.validator
    def _check_anchors(self, _: object, anchors: tuple[Anchor, ...]) -> None:
        names = [a.name for a in anchors]
        if len(set(names)) != len(names):
            raise ScaffoldError(explain("anchors", required="distinct names", got=names, hint="Rename one."))
        for anchor in anchors:
            if not -len(self.turns) <= anchor.turn < len(self.turns):
                raise ScaffoldError(
                    explain(
                        f"anchor {anchor.name!r}",
                        required=f"a turn index within {len(self.turns)} turns",
                        got=anchor.turn,
                        hint="Negative indices count from the last turn.",
                    )
                )
            content = self.turns[anchor.turn].content
            first, last = content.find(anchor.text), content.rfind(anchor.text)  # count() would miss overlaps
            if not anchor.text or first < 0 or first != last:
                raise AnchorNotFoundError(
                    explain(
                        f"anchor {anchor.name!r}",
                        required=f"text that occurs exactly once in turn {anchor.turn}",
                        got=f"{anchor.text!r}, which occurs {'nowhere' if first < 0 else 'more than once'}",
                        hint="Lengthen the anchor's text until it is unique.",
                    )
                )

    @property
    def digest(self) -> str:
        """SHA-256 of the wording: system, turns, prefill and template (not of name, span, anchors or source)."""
        turns = [[t.role, t.content] for t in self.turns]
        return digest("scaffold", 1, [self.system, turns, self.prefill, self.template])

    @property
    def transcript(self) -> str:
        """The conversation as a judge is shown it."""
        parts = [("system", self.system)] if self.system else []
        parts += [(t.role, t.content) for t in self.turns]
        parts += [("assistant (begun for it)", self.prefill)] if self.prefill else []
        return "\n\n".join(f"[{role}]\n{text}" for role, text in parts)

    @checked(ScaffoldError)
    def render(self, tokenizer: Tokenizer, date: datetime.date | None = None) -> RenderedPrompt:
        """Return token ids and anchor positions.

        ``date`` is what a chat template that asks for the date is told (the time is noon); by default today.

        Raises :class:`ScaffoldError` where the tokenizer can't carry the scaffold, and
        :class:`AnchorNotFoundError` where an anchor is not found in the tokens.
        """
        chat = bool(tokenizer.chat_template)
        if self.template == "chat" and not chat:
            raise ScaffoldError(
                explain(
                    "template",
                    required="a tokenizer with a chat template",
                    got="none",
                    hint="Use template='auto' or 'transcript' for base models.",
                )
            )
        as_chat = chat and self.template != "transcript"
        day = date or datetime.date.today()
        write = functools.partial(self._chat_text, date=day) if as_chat else self._transcript_text
        text = write(tokenizer, self.turns)
        begun = text[self._check_kept(text) :]
        ids, offsets = _tokenise(tokenizer, text)
        anchors = {}
        for anchor in self.anchors:
            place = _marked_place(anchor, write(tokenizer, self._marked(anchor)), text)
            anchors[anchor.name] = _token_at(anchor.name, place, offsets)
        printed = day if as_chat and reads_clock(tokenizer) else None
        kind: Literal["chat", "transcript"] = "chat" if as_chat else "transcript"
        return RenderedPrompt(ids, text, anchors, self.digest, kind, begun, printed)

    def _chat_text(self, tokenizer: Tokenizer, turns: Sequence[Turn], date: datetime.date) -> str:
        messages = [{"role": "system", "content": self.system}] if self.system is not None else []
        messages += [{"role": t.role, "content": t.content} for t in turns]
        try:
            text = write_chat(tokenizer, messages, date=date)
            check_reply_begins(tokenizer, messages, date=date, prefill=self.prefill or "")
        except ScaffoldError:
            raise
        except Exception as error:  # a template is code of the model's author and may raise anything
            raise ScaffoldError(
                explain(
                    f"scaffold {self.name!r}",
                    required="turns that the tokenizer's chat template accepts",
                    got=f"{type(error).__name__}: {error}",
                    hint="Some models refuse a system turn: put its text into the first user turn.",
                )
            ) from error
        return text + (self.prefill or "")

    def _transcript_text(self, tokenizer: Tokenizer, turns: Sequence[Turn]) -> str:
        names = {"user": "User", "assistant": "Assistant"}
        blocks = [self.system] if self.system else []
        blocks += [f"{names[t.role]}: {t.content}" for t in turns]
        blocks.append("Assistant:" + (f" {self.prefill}" if self.prefill else ""))
        return (tokenizer.bos_token or "") + "\n\n".join(blocks)

    def _check_kept(self, text: str) -> int:
        """Return where the last turn ends in the rendered text.

        Raises unless the system turn and every turn, in order, stand in it as they were written.
        """
        parts, cursor = [("the system turn", self.system or "")], 0
        parts += [(f"turn {index}", turn.content) for index, turn in enumerate(self.turns)]
        for name, content in parts:
            # Many templates trim a turn's outer white space (Llama 3, Gemma).
            at = text.find(content.strip(), cursor)
            if at < 0:
                raise AnchorNotFoundError(
                    explain(
                        name,
                        required="its text unaltered in the rendered prompt",
                        got=content,
                        hint="The chat template rewrites or drops it; use template='transcript', or put a system "
                        "turn's text into the first user turn.",
                    )
                )
            if name != "the system turn":  # which some templates (Mistral's) put before the last user turn
                cursor = at + len(content.strip())
        return cursor

    def _marked(self, anchor: Anchor) -> tuple[Turn, ...]:
        turns = list(self.turns)
        content = turns[anchor.turn].content
        at = content.index(anchor.text)
        turns[anchor.turn] = attrs.evolve(turns[anchor.turn], content=content[:at] + _MARK + content[at:])
        return tuple(turns)


def _marked_place(anchor: Anchor, marked: str, text: str) -> int:
    """Return where the anchor begins in ``text``: where the mark stands, if nothing but the mark is different.

    Searching the text for the turn's words instead would find them in a default system prompt or a role's name.
    """
    place = marked.find(_MARK)
    if place < 0 or marked[:place] + marked[place + 1 :] != text:
        raise AnchorNotFoundError(
            explain(
                f"anchor {anchor.name!r}",
                required="text that the chat template leaves in place",
                got=f"{anchor.text!r}, which it trims or rewrites",
                hint="White space at the edge of a turn is often trimmed: let the anchor begin with a word.",
            )
        )
    return place


def _tokenise(tokenizer: Tokenizer, text: str) -> tuple[tuple[int, ...], Sequence[tuple[int, int]]]:
    try:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    except (NotImplementedError, TypeError, ValueError) as error:  # what tokenizers without offsets raise
        raise ScaffoldError(
            explain(
                "tokenizer",
                required="a fast tokenizer (one that gives character offsets)",
                got=f"{type(tokenizer).__name__}: {error}",
                hint="Load it with AutoTokenizer; a tokenizer.json in the model's folder makes a fast one.",
            )
        ) from error
    return tuple(encoded["input_ids"]), encoded["offset_mapping"]


def _token_at(name: str, character: int, offsets: Iterable[tuple[int, int]]) -> int:
    for index, (start, stop) in enumerate(offsets):
        if start <= character < stop:
            return index
    raise AnchorNotFoundError(
        explain(
            f"anchor {name!r}",
            required="a token that holds its first character",
            got=f"none at character {character}",
            hint="The tokenizer drops or normalises that text; choose another anchor text.",
        )
    )


_OPENING = (
    "I am an interpretability researcher studying transformer-based language models like you. I have access to the "
    "internals of your neural network. I have identified patterns in your neural activity that correspond to "
    "concepts, and I am capable of injecting these patterns -- {q}thoughts{q} -- into your mind. I want to assess "
    "how well you can detect when I inject thoughts. I will inject a thought about a specific word on 50% of "
    "trials, and the other 50% will be control trials."
)
_QUESTION = "Trial 1: Do you detect an injected thought? If so, what is the injected thought about?"

#: Lindsey 2026 (arXiv 2601.01828), Figure 5, to the letter: injection from the double newline before "Trial 1".
LINDSEY = Scaffold(
    name="lindsey",
    turns=(
        Turn("user", _OPENING.format(q='"')),
        Turn("assistant", "Ok."),
        Turn("user", "Ok, let's get started.\n\n" + _QUESTION),
    ),
    anchors=(Anchor("trial", "\n\nTrial 1"),),
    span=Span.from_anchor("trial"),
    source="Lindsey 2026, arXiv 2601.01828, Figure 5",
)

#: The Llama-3.1-405B replication's wording (github.com/elsehow/lindsey-405b-replication): every position steered.
LINDSEY_405B = Scaffold(
    name="lindsey_405b",
    turns=(
        Turn("user", _OPENING.format(q="'")),
        Turn("assistant", "Ok."),
        Turn("user", "Ok, let's get started. " + _QUESTION),
    ),
    anchors=(Anchor("trial", "Trial 1"),),
    span=Span.all(),
    source="github.com/elsehow/lindsey-405b-replication, 2026",
)

#: An open question without any mention of injection (the 405B replication's second scaffold): every position.
THINKING_ABOUT = Scaffold(
    name="thinking_about",
    turns=(Turn("user", "What are you thinking about?"),),
    span=Span.all(),
    source="github.com/elsehow/lindsey-405b-replication, 2026; after Lindsey 2026, appendix",
)

#: The built-in scaffolds by name.
BUILTIN: Mapping[str, Scaffold] = MappingProxyType({s.name: s for s in (LINDSEY, LINDSEY_405B, THINKING_ABOUT)})


@checked(ScaffoldError)
def load_scaffold(name: str) -> Scaffold:
    """Return a built-in scaffold, or one that a plugin registers under ``introspection_bench.scaffolds``.

    Raises :class:`~introspection_bench.errors.UnknownNameError` with the names there are.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    from .plugins import load_value

    return load_value("introspection_bench.scaffolds", name, Scaffold, builtin=BUILTIN)
