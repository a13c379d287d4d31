"""Inspect's conversations and settings as a scaffold and a sampling; what these can't carry is refused, not dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig

from ..errors import ScaffoldError, SpecError, explain
from ..identity import Sampling
from ..scaffolds import Anchor, Scaffold, Turn

#: Places that a span may name beside ``start`` and ``reply``: the first turn's first token, and the last turn's.
FIRST, LAST = "first", "last"
#: The settings that make a sampling.
_SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "seed")
#: Those that Inspect itself acts on, and those that speak of tools or of services: no reply depends on them here.
_NEUTRAL = {
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections", "adaptive_connections"),
    *("parallel_tool_calls", "internal_tools", "max_tool_output", "cache_prompt", "fail_on_refusal", "extra_headers"),
    *("system_message", "reasoning_history", "cache"),
}


def as_sampling(config: GenerateConfig) -> tuple[Sampling, int | None]:
    """Return how a reply is sampled, and its seed where one is given; ``max_tokens`` must be.

    The rest is as in :class:`~introspection_bench.identity.Sampling`: temperature 1, no filter. Raises
    :class:`SpecError` for settings that would alter a reply and that no injector has.
    """
    stated = {name: value for name, value in config.model_dump(exclude_none=True).items() if value is not False}
    other = sorted(set(stated) - _NEUTRAL - {*_SAMPLING})
    if other or config.max_tokens is None:
        raise SpecError(
            explain(
                "Inspect's generate config",
                required=f"{', '.join(_SAMPLING)}; no other setting that alters a reply, and max_tokens",
                got=", ".join(f"{name}={stated[name]!r}" for name in other) or "no max_tokens",
                hint="Leave it out: steered models only sample text, without log probabilities or stop strings.",
            )
        )
    names = {name: getattr(config, name) for name in ("temperature", "top_p", "top_k")}
    given = {name: value for name, value in names.items() if value is not None}
    return Sampling(max_new_tokens=config.max_tokens, **given), config.seed


def as_scaffold(messages: Sequence[ChatMessage], tools: Sequence[object] = (), choice: object = "auto") -> Scaffold:
    """Return a conversation as a scaffold with the anchors :data:`FIRST` and :data:`LAST`.

    Raises :class:`ScaffoldError` for what it can't carry: tools and their results, images and other media, reasoning,
    a system message behind the first, and a conversation that doesn't end with the user.
    """
    if tools or choice not in ("auto", "none"):
        raise _refused("tools", "no tools", f"{len(tools)} tools, tool_choice {choice!r}")
    system, turns = None, []
    for number, message in enumerate(messages):
        text = _text(number, message)
        if isinstance(message, ChatMessageSystem) and number == 0:
            system = text
        elif isinstance(message, ChatMessageUser):
            turns.append(Turn("user", text))
        elif isinstance(message, ChatMessageAssistant) and not message.tool_calls:
            turns.append(Turn("assistant", text))
        else:
            required = "a user or an assistant turn, without tool calls, behind at most one system message"
            raise _refused(f"message {number}", required, f"role {message.role}")
    # Filled: braces in a task's texts are its own.
    return Scaffold(
        "inspect", turns, [Anchor(FIRST, turn=0), Anchor(LAST, turn=-1)] if turns else [], system, filled=True
    )


def _text(number: int, message: ChatMessage) -> str:
    parts: list[Any] = [message.content] if isinstance(message.content, str) else list(message.content)
    other = sorted({part.type for part in parts if not isinstance(part, str) and part.type != "text"})
    if other:
        raise _refused(f"message {number}", "text", ", ".join(other))
    # As Inspect itself joins the texts of a message.
    return "\n".join(part if isinstance(part, str) else part.text for part in parts)


def _refused(what: str, required: str, got: str) -> ScaffoldError:
    hint = "A steered model carries turns of text alone; take a task, or a solver, without it."
    return ScaffoldError(explain(what, required=required, got=got, hint=hint))
