"""What a tokenizer's chat template makes of a dialogue, with the clock that a template may read held still.

A template that prints today's date would make other prompts after midnight: other vectors, and a run that can't be
continued. So whoever renders states the date, and a run keeps its own.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import ascii_letters
from typing import Any, Protocol

from .errors import ScaffoldError, explain

#: Hugging Face's name of the clock in a template.
_CLOCK = "strftime_now"
# Rendered values must be plain data, so the stated date goes in as a table of directives, and a macro that the
# template finds under the clock's name looks them up. It ends with the line, as every block's line does here.
_STILL_CLOCK = (
    "{% macro strftime_now(format) %}{% set told = namespace(text=format) %}"
    "{% for directive, value in introspection_bench_clock %}"
    "{% set told.text = told.text.replace(directive, value) %}{% endfor %}{{ told.text }}{% endmacro %}\n"
)
#: What else of Jinja gives another text each time.
_CHANCE = re.compile(r"\|\s*random\b|\blipsum\s*\(")

#: A word that no template holds.
_SAID = "Qzanswer"


class Tokenizer(Protocol):
    """The part of a Hugging Face (fast) tokenizer that rendering needs."""

    chat_template: Any
    bos_token: str | None

    def __call__(self, text: str, **options: Any) -> Any: ...  # noqa: D102  # Hugging Face's own call
    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...  # noqa: D102  # Hugging Face's own


def write_chat(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], *, date: datetime.date, begin_reply: bool = True
) -> str:
    """Return a dialogue as the tokenizer's chat template writes it on ``date``, at noon.

    ``begin_reply`` adds what precedes a reply (Hugging Face's generation prompt). Raises :class:`ScaffoldError` for a
    template that draws at random; what a template itself raises comes as it is.
    """
    template = _template(tokenizer)
    chance = _CHANCE.search(template)
    if chance:
        raise ScaffoldError(
            explain(
                "chat template",
                required="one that writes the same prompt each time",
                got=f"one that draws at random: {chance.group()!r}",
                hint="Give the tokenizer a chat_template without it; a run could not be continued or repeated.",
            )
        )
    options: dict[str, Any] = {}
    if reads_clock(tokenizer):
        options = {"chat_template": _STILL_CLOCK + template, "introspection_bench_clock": _directives(date)}
    text = tokenizer.apply_chat_template(
        [dict(m) for m in messages], tokenize=False, add_generation_prompt=begin_reply, **options
    )
    return str(text)


def reads_clock(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer's chat template prints the date or the time."""
    return _CLOCK in _template(tokenizer)


def check_reply_begins(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], *, date: datetime.date, prefill: str = ""
) -> None:
    """Raise :class:`ScaffoldError` for a template that does not write the header of a reply that it is to begin.

    A model would have to write it itself. ``prefill``, what follows the prompt, may hold it instead.
    """
    asked = write_chat(tokenizer, messages, date=date)
    if asked != write_chat(tokenizer, messages, date=date, begin_reply=False):
        return
    try:
        said = write_chat(tokenizer, [*messages, {"role": "assistant", "content": _SAID}], date=date, begin_reply=False)
    except Exception:  # some templates refuse to end with the assistant
        return
    missing = said[len(asked) :].partition(_SAID)[0].strip() if said.startswith(asked) else ""
    if missing and not prefill.lstrip().startswith(missing):
        raise ScaffoldError(
            explain(
                "chat template",
                required="one that begins the assistant's turn when it is asked to (add_generation_prompt)",
                got=f"one that leaves out {missing!r}",
                hint="Mend the chat_template, let prefill begin with that text, or use template='transcript'.",
            )
        )


def _template(tokenizer: Tokenizer) -> str:
    named = tokenizer.chat_template
    if isinstance(named, Mapping):  # several, by purpose; Hugging Face takes this one
        named = named.get("default", "")
    return named if isinstance(named, str) else ""


@lru_cache(maxsize=64)
def _directives(date: datetime.date) -> list[list[str]]:
    moment = datetime.datetime.combine(date, datetime.time(12))
    directives = [f"%{flag}{letter}" for flag in ("", "-", "_", "0", "^", "#") for letter in ascii_letters]
    return [["%%", "\0"], *([d, moment.strftime(d)] for d in directives), ["\0", "%"]]
