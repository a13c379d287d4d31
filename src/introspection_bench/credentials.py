"""Credentials: told by the names of settings, by the environment's values and by their form, and never written."""

from __future__ import annotations

import enum
import math
import os
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

HIDDEN = "(not shown: its name says that it may be a credential)"
_MASK = "(not shown)"
_NAME = re.compile(
    r"(^|[._-]|[a-z])(api[_-]?key|access[_-]?key|private[_-]?key|token|secret|passw(or)?d|authorization|auth|"
    r"credentials?)$",
    re.IGNORECASE,
)
# "Bearer …", keys as the usual services make them, and what stands before the host or after the "?" of an address.
_FORM = re.compile(
    r"(?i:\bbearer\s+)\S+|\b(?:sk|hf|ghp|xox[a-z])[-_][A-Za-z0-9_-]{8,}|(?<=://)[^/\s@]+(?=@)|(?<=\?)\S*=\S*"
)
_SHORTEST = 8


def is_credential(name: str) -> bool:
    """Say whether a setting of this name (dots between its levels) may hold a credential."""
    return _NAME.search(name) is not None


def without_credentials(value: Any) -> Any:
    """Return settings as plain JSON values in which no credential can be read.

    Hidden are values under names that :func:`is_credential` knows, the values of environment variables so named
    wherever they stand, and texts in the form of a key. What is no plain value is replaced by the name of its type.
    """
    secrets = [v for name, v in os.environ.items() if is_credential(name) and len(v) >= _SHORTEST]
    return _plain(value, sorted(secrets, key=len, reverse=True))


def _plain(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            _text(str(k), secrets): HIDDEN if v is not None and is_credential(str(k)) else _plain(v, secrets)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        items = list(value) if isinstance(value, list | tuple) else sorted(value, key=str)
        # Headers are often given as pairs.
        if len(items) == 2 and isinstance(items[0], str) and is_credential(items[0]):
            return [items[0], HIDDEN]
        return [_plain(v, secrets) for v in items]
    value = value.value if isinstance(value, enum.Enum) else value
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str | float | PurePath) or type(value).__name__ == "dtype":
        return _text(str(value), secrets)
    kind = value if isinstance(value, type) else type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"


def _text(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return _FORM.sub(_MASK, text)
