"""The tables of a specification's file before they mean anything: read, with overrides, and where each key stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..errors import SpecError, explain
from ..structuring import Keys
from ..toml_lines import key_places, read_toml
from ..untrusted import parse_toml


@attrs.frozen
class Tables:
    """The ``data`` of a file and its overrides; ``text`` is the file's own."""

    data: dict[str, Any]
    text: str
    overrides: Sequence[str]

    def places(self) -> dict[Keys, str]:
        """Return where each key stands: "line 12" of the file, or the override that says it."""
        return key_places(self.text) | {_split(text)[0]: f"override {text}" for text in self.overrides}


def read_tables(path: Path, overrides: Sequence[str] = ()) -> Tables:
    """Read a TOML file; ``overrides`` are written ``design.arms.injected.n=5``. Raises :class:`SpecError`."""
    data, text = read_toml(path, SpecError, "See the docs' page sweeps.")
    for said in overrides:
        override(data, said)
    return Tables(data, text, overrides)


def override(data: dict[str, Any], text: str) -> None:
    """Put one ``key=value`` into the data of a file; raises :class:`SpecError`."""
    names, value = _split(text)
    table: Any = data
    for name in names[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise SpecError(
                explain(f"override {'.'.join(names)}", required="keys of tables", got=text, hint=f"{name} is none.")
            )
    table[names[-1]] = toml_value(value)


def _split(text: str) -> tuple[tuple[str, ...], str]:
    key, equals, value = text.partition("=")
    names = tuple(name.strip() for name in key.split("."))
    if not equals or not all(names):
        raise SpecError(
            explain(
                "override",
                required="key=value, as in design.arms.injected.n=5",
                got=text,
                hint="See the docs' page sweeps.",
            )
        )
    return names, value.strip()


def toml_value(text: str) -> Any:
    """Read a TOML value; what is none, a bare word, is text."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def as_written(data: Mapping[str, Any], path: Keys) -> Keys:
    """Return a path in a specification as its file has it: arms are tables by name there, and a list once read."""
    design = data.get("design")
    arms = design.get("arms") if isinstance(design, Mapping) else None
    if path[:2] == ("design", "arms") and len(path) > 2 and isinstance(arms, Mapping) and isinstance(path[2], int):
        return (*path[:2], list(arms)[path[2]], *path[3:])
    return path
