"""TOML files, and where in one each key stands, for errors that name its line; the standard library reads them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import IntrospectionBenchError, explain
from .structuring import Keys
from .untrusted import parse_toml, read_text

#: What the text of a valid file is made of, as far as lines and brackets go. Strings and comments may hold brackets.
_PIECE = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|\n|[\[{]|[\]}]|=|[^"'\#\n\[\]{}=]+''',
    re.DOTALL,
)


def read_toml(path: Path, error: type[IntrospectionBenchError], hint: str) -> tuple[dict[str, Any], str]:
    """Return a TOML file's data, and its text for :func:`key_places`; raises ``error``, which names the file."""
    try:
        text = read_text(path)
        return parse_toml(text), text
    except (OSError, ValueError) as fault:
        raise error(explain(str(path), required="a readable TOML file", got=str(fault), hint=hint)) from fault


def key_places(text: str) -> dict[Keys, str]:
    """Return for each table and key of a valid TOML file where it stands: ``("design", "layers")`` on "line 12".

    Items of arrays of tables have their index; what stands within an inline table or a list has the place of its key.
    """
    found: dict[Keys, str] = {}
    counts: dict[Keys, int] = {}
    table: Keys = ()
    for number, head in _heads(text):
        at = f"line {number}"
        header = head.startswith("[")
        names = _names(head.strip("[] \t") if header else head)
        keys = () if header else table
        for place, name in enumerate(names):
            keys = (*keys, name)
            found.setdefault(keys, at)
            if header and head.startswith("[[") and place == len(names) - 1:
                counts[keys] = counts.get(keys, -1) + 1
            if header and keys in counts:
                keys = (*keys, counts[keys])
                found.setdefault(keys, at)
        if header:
            found[keys] = at  # a table of its own says more than the first one within it
            table = keys
    return found


def _heads(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement's line and what names it: a header as it is, of a key and its value the key."""
    number, depth, start = 1, 0, 0
    head: str | None = None
    for piece in _PIECE.finditer(text):
        told = piece[0]
        if head is None and depth == 0 and told == "=":
            head = text[start : piece.start()].strip()
            yield number, head
        elif told in ("[", "{"):
            depth += 1
        elif told in ("]", "}"):
            depth -= 1
            line = text[start : piece.end()].strip()
            if head is None and depth == 0 and line.startswith("["):
                head = line
                yield number, head
        number += told.count("\n")
        if told == "\n" and depth == 0:
            start, head = piece.end(), None


def _names(key: str) -> list[str]:
    """Return the parts of a dotted key, as the standard library reads them."""
    names: list[str] = []
    value: Any = tomllib.loads(f"{key} = 0")
    while isinstance(value, dict):
        ((name, value),) = value.items()
        names.append(name)
    return names
