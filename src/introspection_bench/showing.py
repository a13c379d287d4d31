"""How values show themselves where Python or a notebook prints them: in a line, and as a small table.

Names, questions and replies come from anywhere: what can't be seen stands as an escape, and HTML is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .untrusted import one_line, visible

#: How many names of a list, and characters of a text, a line shows.
MOST_NAMES, MOST_TEXT = 5, 60


def plural(count: int, word: str) -> str:
    """Return ``1 trial``, ``2 trials``, ``10,000 trials``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def listing(items: Sequence[Any], most: int = 12) -> str:
    """Return items as ``a, b and c``; beyond ``most`` the rest are counted."""
    words = [str(i) for i in items]
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def few(items: Iterable[Any]) -> str:
    """Return the first few of some items, and how many more there are."""
    return listing([one_line(str(i), MOST_TEXT) for i in items], MOST_NAMES)


def named(kind: str, items: Sequence[Any]) -> str:
    """Return the first few of some items behind what they are, ``anchors a and b``; nothing for none."""
    return f"{kind} {few(items)}" if items else ""


def quoted(text: str) -> str:
    """Return the beginning of a text in quotation marks, in one line."""
    return f"“{one_line(text, MOST_TEXT)}”"


def shown(kind: object, *parts: str) -> str:
    """Return a value as ``Kind(part, part)``, of which empty parts are left out."""
    return f"{type(kind).__name__}({', '.join(part for part in parts if part)})"


def table_html(
    title: str, rows: Iterable[Sequence[object]], head: Sequence[str] = (), notes: Iterable[str] = ()
) -> str:
    """Return a table as HTML, every text escaped: the first of each row's cells is its heading; notes stand below."""
    lines = [f"<caption>{_safe(title)}</caption>"]
    if head:
        cells = "".join(f'<th scope="col">{_safe(name)}</th>' for name in head)
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    for first, *others in rows:
        cells = "".join(f'<td style="text-align: left; white-space: pre-wrap">{_safe(cell)}</td>' for cell in others)
        lines.append(f'<tr><th scope="row">{_safe(first)}</th>{cells}</tr>')
    told = "".join(f"<p>{_safe(note)}</p>" for note in notes if note)
    return f"<table>{''.join(lines)}</table>{told}"


def _safe(value: object) -> str:
    return escape(visible(f"{value:,}" if type(value) is int else str(value), keep="\n"))
