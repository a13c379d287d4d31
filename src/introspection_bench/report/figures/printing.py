"""Figures as files for a paper: as wide as a column and as a page, with their captions as text beside them.

A figure keeps its letters when it is made narrower: they are of 8 points or more at these widths.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...files import write_file
from .gallery import Plate
from .style import Theme, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Widths of a column and of a page's text, in inches, as journals and conferences have them.
COLUMN, FULL = 3.4, 7.0
#: A map needs so many inches beside its cells, and so many for a cell's count.
_BESIDE, _CELL = 1.7, 0.42
#: About how wide a letter of a title is, in inches.
_LETTER = 0.078


def save_plate(plate: Plate, folder: Path, *, formats: Sequence[str]) -> list[Path]:
    """Write a plate as wide as a page and, as ``<stem>-column``, as a column where it fits; its caption as text.

    Returns the paths: the figures, then the caption, ``<stem>.txt``.
    """
    paths = []
    for width, stem in ((FULL, plate.stem), (COLUMN, f"{plate.stem}-column")):
        figure = plate.draw()
        if width == FULL or _fits_column(plate, figure):
            paths += save_figure(_resized(figure, width), folder / stem, formats=formats)
    caption = folder / f"{plate.stem}.txt"
    return [*paths, write_file(caption, f"{plate.caption}\n".encode("utf-8", "backslashreplace"))]


def as_wide_as_paper(plate: Plate, *, theme: Theme) -> Figure:
    """Return a plate no wider than a page's text: printing must not make its letters smaller."""
    figure = plate.draw(theme=theme)
    return _resized(figure, FULL) if figure.get_size_inches()[0] > FULL else figure


def _fits_column(plate: Plate, figure: Figure) -> bool:
    if plate.ramped:
        return not plate.wide and len(figure.axes[0].get_xticks()) * _CELL + _BESIDE <= COLUMN
    return not plate.wide


def _resized(figure: Figure, width: float) -> Figure:
    """Return the figure at another width, its lines broken and its legend folded to fit."""
    from matplotlib.text import Text

    height = figure.get_size_inches()[1]
    most = int(width / _LETTER)
    lines = 0
    for text in figure.findobj(Text):
        told = textwrap.wrap(text.get_text(), most) if not text.get_rotation() else []
        if len(told) > 1:
            text.set_text("\n".join(told))
            lines = max(lines, len(told) - 1)
    for legend in figure.legends:
        legend.set_ncols(max(1, min(len(legend.get_texts()), int(width / 1.4))))
    figure.set_size_inches(width, height + 0.16 * lines)
    return figure
