"""How a table is laid out in the width that there is: wrapped, or else in blocks; nothing of it is left out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.markup import render
from rich.table import Table

#: A column that is at most so wide is not wrapped: counts with their intervals, names, doses.
_WHOLE = 16


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, keys: int) -> list[Table]:
    """Return tables that together show all columns, each at most ``width`` characters wide where that can be.

    Wide columns are wrapped. Where even so they don't fit, the columns come in several tables, each with the first
    ``keys`` columns before its own. ``width`` None is one table, however wide. Texts are rich's markup.
    """
    natural = [_natural(name, [row[n] for row in rows]) for n, name in enumerate(columns)]
    if width is None or sum(natural) + len(natural) <= width:
        return [_table(columns, rows, natural)]
    least = [min(wide, _WHOLE) for wide in natural]
    first = list(range(min(keys, len(columns) - 1)))
    blocks: list[list[int]] = [[*first]]
    for n in range(len(first), len(columns)):
        if len(blocks[-1]) > len(first) and sum(least[c] + 1 for c in [*blocks[-1], n]) > width:
            blocks.append([*first])
        blocks[-1].append(n)
    # What is narrow stays whole; the wide columns share what is left.
    return [
        _table([columns[c] for c in block], [[row[c] for c in block] for row in rows], [least[c] for c in block])
        for block in blocks
    ]


def _natural(name: str, cells: Sequence[str]) -> int:
    lines = (line for text in (name, *cells) for line in render(text).plain.split("\n"))
    return max(map(cell_len, lines), default=0)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], least: Sequence[int]) -> Table:
    shown = Table(header_style="bold", box=None, padding=(0, 1, 0, 0))
    for name, wide in zip(columns, least, strict=True):
        # Folded, not cut: a path or an address without a space would end in an ellipsis.
        shown.add_column(name, overflow="fold", min_width=wide)
    for row in rows:
        shown.add_row(*row)
    return shown
