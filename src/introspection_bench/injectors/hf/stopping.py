"""Where a reply ends, and what it says: one rule for all backends.

Sources name a model's end tokens differently: a converted checkpoint may know only one of several, and a chat template
may end turns by a token that no configuration names. A reply ends at any of them.
"""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ...errors import EndTokenWarning, explain
from ...freezing import frozen_mapping
from ...prompts import RenderedPrompt
from ...reasoning import is_marker, split
from ...templates import Tokenizer, write_chat
from ...trials import Reply

#: Words that no template holds, so that they are found again in what it writes.
_ASKED, _REASONED, _ANSWERED, _WENT_ON = "Qzask", "Qzreason", "Qzanswer", "Qzgoon"
#: Harmony's tokens within a reply of several messages.
_IN_CHANNELS = "<|end|><|start|><|channel|><|message|><|constrain|>"
_ANY_DAY = datetime.date(2024, 7, 26)


@attrs.frozen
class EndTokens:
    """What ends a reply.

    ``named`` maps each source ("generation config", "configuration", "tokenizer", "chat template") to the ids that it
    names. ``text`` is what a chat template writes behind an assistant's turn where that is plain text rather than a
    token of its own; it can't stop the sampling, but the reply's text ends there.
    """

    named: Mapping[str, tuple[int, ...]] = attrs.field(converter=frozen_mapping, hash=False)
    text: str = ""

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them, in ascending order."""
        return tuple(sorted({token for tokens in self.named.values() for token in tokens}))

    def warn(self, tokenizer: Tokenizer, model: str) -> None:
        """Warn where a source names an end that the model's own ``generate`` would run past."""
        own = self.named["generation config"] or self.named["configuration"]
        if set(self.ids) <= set(own) and not self.text:
            return
        told = {source: [_shown(tokenizer, token) for token in tokens] for source, tokens in self.named.items()}
        if self.text:
            told["chat template"].append(f"the plain text {self.text!r}")
        warnings.warn(
            explain(
                f"end of a reply of {model}",
                required="one set of end tokens in generation config, configuration, tokenizer and chat template",
                got="; ".join(f"{source}: {', '.join(names) or 'none'}" for source, names in told.items()),
                hint="Replies end at any of these here; other programs may let them run on into a turn of their own.",
            ),
            EndTokenWarning,
            stacklevel=4,
        )


def end_tokens(tokenizer: Tokenizer, *, generation: Any, configuration: Any) -> EndTokens:
    """Return the tokens that end a reply: all that any source names.

    Args:
        tokenizer: for its own end token, and the end of an assistant's turn as its chat template writes it.
        generation: ``eos_token_id`` of the generation config: a number, several, or None.
        configuration: that of the model's (text) configuration.
    """
    token, text = turn_end(tokenizer)
    named = {
        "generation config": _ids(generation),
        "configuration": _ids(configuration),
        "tokenizer": _ids(getattr(tokenizer, "eos_token_id", None)),
        "chat template": _ids(token),
    }
    return EndTokens(named, text)


def end_tokens_of(model: Any, tokenizer: Tokenizer) -> EndTokens:
    """Return :func:`end_tokens` of a Hugging Face model."""
    config = model.config.get_text_config()
    return end_tokens(
        tokenizer,
        generation=getattr(getattr(model, "generation_config", None), "eos_token_id", None),
        configuration=getattr(config, "eos_token_id", None),
    )


def _ids(stated: Any) -> tuple[int, ...]:
    several = stated if isinstance(stated, Sequence) else [stated]
    return tuple(sorted({int(i) for i in several if i is not None and int(i) >= 0}))  # -1 stands for none, too


@attrs.frozen(eq=False)
class ReplyReader:
    """Makes a reply of sampled tokens."""

    tokenizer: Any
    ends: EndTokens
    _markers: Mapping[int, str] = attrs.field(init=False)

    @_markers.default
    def _find_markers(self) -> Mapping[int, str]:
        return {i: token for i, token in _added(self.tokenizer).items() if is_marker(token)}

    def read(self, tokens: Sequence[int], limit: int, prompt: RenderedPrompt) -> Reply:
        """Return the reply that a row of tokens holds.

        It is cut behind its first end token (what follows is padding), or at ``limit``; the text, which lacks that
        token, is cut where the template's plain-text end of a turn stands in it, and parted into reasoning and answer.
        """
        tokens = tokens[:limit]
        places = [tokens.index(end) for end in self.ends.ids if end in tokens]
        stop = min(places, default=None)
        kept = tokens if stop is None else tokens[: stop + 1]
        text = self._text(kept if stop is None else kept[:-1])
        if self.ends.text and prompt.template == "chat":
            text, found, _ = text.partition(self.ends.text)
            stop = 0 if found else stop
        parts = split(text, prompt.begun)
        return Reply(parts.answer, tuple(kept), "length" if stop is None else "stop", parts.reasoning, parts.unclear)

    def forced(self, tokens: Sequence[int], prompt: RenderedPrompt) -> Reply:
        """Return the reply that given tokens are, all of them."""
        found = self.read(tokens, len(tokens), prompt)
        return attrs.evolve(found, token_ids=tuple(tokens))

    def _text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens: without special tokens, but for the markers of reasoning."""
        if self._markers.keys().isdisjoint(tokens):  # most replies, token by token of which would take a while
            return self._decode(tokens)
        parts: list[str] = []
        start = 0
        for n, token in enumerate(tokens):
            if token in self._markers:
                parts += [self._decode(tokens[start:n]), self._markers[token]]
                start = n + 1
        return "".join([*parts, self._decode(tokens[start:])])

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)) if len(tokens) else ""


def turn_end(tokenizer: Tokenizer) -> tuple[int | None, str]:
    """Return the token by which the chat template ends an assistant's turn, and plain text that stands before it.

    Read from a dialogue that ends with the assistant, else from one that goes on: some templates end only past turns,
    by the token of the next role (GLM-4), others end the last one in a way of its own (harmony).
    """
    if not tokenizer.chat_template:
        return None, ""
    asked, said = {"role": "user", "content": _ASKED}, {"role": "assistant", "content": _ANSWERED}
    added = _added(tokenizer)
    # What also stands between reasoning and answer ends a message, not the reply.
    thought = {**said, "reasoning_content": _REASONED, "thinking": _REASONED}
    inner = _between(tokenizer, [asked, thought], _REASONED, _ANSWERED)
    inner += _IN_CHANNELS if "<|channel|>" in added.values() else ""
    text = ""
    for dialogue in ([asked, said], [asked, said, {"role": "user", "content": _WENT_ON}]):
        tail = _between(tokenizer, dialogue, _ANSWERED, _WENT_ON)
        # The first, and of those that begin in one place the longest.
        found = sorted((tail.find(t), -len(t), i) for i, t in added.items() if t in tail)
        if found and added[found[0][2]] in inner:
            return None, ""
        text = text or (tail[: found[0][0]] if found else tail).lstrip(" \t").rstrip()
        if found:
            return found[0][2], text
    return None, text


def _between(tokenizer: Tokenizer, dialogue: Sequence[Mapping[str, str]], first: str, then: str) -> str:
    """Return what the template writes between two words; up to the end without ``then``, nothing without ``first``."""
    try:
        text = write_chat(tokenizer, dialogue, date=_ANY_DAY, begin_reply=False)
    except Exception:  # a template is code of the model's author: it may refuse this dialogue in any way
        return ""
    _, _, behind = text.partition(first)
    return behind.partition(then)[0]


def _added(tokenizer: Any) -> dict[int, str]:
    """Return the tokens that stand for more than their text: special ones, and added ones that look like markup."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    found = {int(i): (str(getattr(t, "content", t)), bool(getattr(t, "special", True))) for i, t in added.items()}
    return {i: t for i, (t, special) in found.items() if t.strip() and (special or not re.fullmatch(r"[\w\s]*", t))}


def _shown(tokenizer: Any, token: int) -> str:
    return f"{tokenizer.convert_ids_to_tokens(token)} ({token})"
