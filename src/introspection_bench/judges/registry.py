"""Judges by name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from ..errors import PluginError, explain
from ..options import checked_options
from ..plugins import Lazy, resolve
from .base import Judge

GROUP = "introspection_bench.judges"

#: The built-in judges.
BUILTIN: Mapping[str, Lazy] = MappingProxyType(
    {
        "rules": Lazy("introspection_bench.judges.rules", "RulesJudge"),
        "claude": Lazy("introspection_bench.judges.models.claude", "ClaudeJudge", "claude", "anthropic"),
        "chat": Lazy("introspection_bench.judges.models.chat", "ChatJudge", "chat", "openai"),
        "local": Lazy("introspection_bench.judges.models.local", "LocalJudge"),
        "outcome": Lazy("introspection_bench.judges.outcomes", "OutcomeJudge"),
        "panel": Lazy("introspection_bench.judges.panel", "PanelJudge"),
    }
)


def open_judge(judge: str | type[Judge] | Judge, /, **options: Any) -> Judge:
    """Return a judge: by built-in or plugin name, by class, or an instance as it is.

    ``options`` are checked against the class's signature. Raises
    :class:`~introspection_bench.errors.OptionError` for one that is unknown, missing or of another type,
    :class:`~introspection_bench.errors.UnknownNameError`, and
    :class:`~introspection_bench.errors.BackendUnavailableError` (naming the extra to install).
    """
    if isinstance(judge, Judge):
        if options:
            raise PluginError(
                explain("judge", required="no options beside an instance", got=sorted(options), hint="Drop them.")
            )
        return judge
    found = judge_class(judge)
    opened = found(**checked_options(f"judge {found.name!r}", found, options))
    with suppress(AttributeError):  # a plugin's judge may be frozen; its options then count as not known
        opened.opened_with = MappingProxyType(options)
    return opened


def judge_class(judge: str | type[Judge]) -> type[Judge]:
    """Return a judge's class, by built-in or plugin name; raises as :func:`open_judge` does."""
    found = resolve(GROUP, BUILTIN, judge) if isinstance(judge, str) else judge
    if not (isinstance(found, type) and issubclass(found, Judge)):
        raise PluginError(
            explain("judge", required="a subclass of Judge", got=found, hint="See the docs' page judges.")
        )
    return found
