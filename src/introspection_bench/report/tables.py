"""What a page is made of besides figures: sections of sentences and plain tables."""

from __future__ import annotations

import attrs

from ..freezing import frozen_tuple


@attrs.frozen
class TextTable:
    """A plain table: a caption, column names, and rows of text.

    ``over`` are headings above the columns' names, each with the number of columns that it spans; a section of
    ``""`` stays empty.
    """

    caption: str
    columns: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    rows: tuple[tuple[str, ...], ...] = attrs.field(converter=frozen_tuple)
    over: tuple[tuple[str, int], ...] = attrs.field(converter=frozen_tuple, default=())


@attrs.frozen
class Section:
    """Sentences and tables under one heading."""

    title: str
    sentences: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())
    tables: tuple[TextTable, ...] = attrs.field(converter=frozen_tuple, default=())
