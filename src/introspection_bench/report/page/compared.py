"""Two runs side by side, for people: narrow tables, and a page of one static file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from ...analysis import Comparison
from ...analysis.cells import cell_name, is_missing, telling
from ...analysis.contrast import points
from ...boundaries import checked
from ...errors import AnalysisError
from ...files import write_file
from ...untrusted import encodable
from ..tables import TextTable
from ..wording import plural
from .assets import asset, source_hash, templates


@checked(AnalysisError)
def compared_tables(found: Comparison, *, alike: bool = False) -> dict[str, pd.DataFrame]:
    """Return what a comparison found of the cells, as narrow tables by title; empty ones are left out.

    Rows without a difference are left out unless ``alike``; the title says how many. ``cells`` of the comparison has
    all columns, with numbers as numbers.
    """
    cells = found.cells if alike else found.differing
    kept = len(found.cells) - len(cells)
    left_out = f" ({plural(kept, 'row')} with equal rates left out)" if kept else ""
    tables = {
        f"What differs in the outcome{left_out}" if not alike else "Outcomes": _outcomes(found, cells),
        f"Cells of {found.first} alone": _alone(found.only_first),
        f"Cells of {found.second} alone": _alone(found.only_second),
    }
    return {title: table for title, table in tables.items() if len(table)}


@checked(AnalysisError)
def write_comparison(found: Comparison, path: str | Path, *, alike: bool = False) -> Path:
    """Write a comparison of two runs as an HTML page of one file that makes no request and runs no script.

    What differs inside each field of the specification, what in the outcome, and which cells have no partner. Names,
    prompts and whatever else comes from the runs is escaped. An older file is replaced at once, never half.

    Args:
        found: from :func:`introspection_bench.compare`.
        path: the file; its folder is made.
        alike: show the cells whose rates are equal as well.

    Raises:
        OutputError: the file can't be written.
    """
    style = asset("report.css")
    page = (
        templates()
        .get_template("compare.html.j2")
        .render(
            title=f"{found.first} against {found.second}",
            found=found,
            tables=[_text_table(title, table) for title, table in compared_tables(found, alike=alike).items()],
            equal=bool(len(found.cells)) and found.differing.empty,
            version=metadata.version("introspection-bench"),
            style=Markup(style),  # noqa: S704  # our own asset; autoescape would break it
            style_hash=source_hash(style),
        )
    )
    return write_file(path, page.encode("utf-8", "xmlcharrefreplace"))


def _outcomes(found: Comparison, cells: pd.DataFrame) -> pd.DataFrame:
    names = _headings(found)
    rows = [
        [
            cell_name(row, telling(cells)),
            row["outcome"],
            f"{row['k_first']:.0f}/{row['n_first']:.0f}",
            f"{row['k_second']:.0f}/{row['n_second']:.0f}",
            ""
            if is_missing(row["difference"])
            else f"{points(row['difference'])} ({points(row['low'])} to {points(row['high'])})",
            "" if is_missing(row["p_holm"]) else f"{row['p_holm']:.2g}",
            row["verdict"].partition(",")[0],  # how much is not excluded stands in the interval
        ]
        for row in cells.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=["cell", "outcome", *names, "points", "p (Holm)", "verdict"])


def _headings(found: Comparison) -> tuple[str, str]:
    """Return what the runs are called in a column's head: two of one name must stay apart."""
    first, second = encodable(found.first), encodable(found.second)
    return (f"{first} (first)", f"{second} (second)") if first == second else (first, second)


def _alone(cells: pd.DataFrame) -> pd.DataFrame:
    rows = [[cell_name(row, telling(cells)), row["n_all"]] for row in cells.to_dict("records")]
    return pd.DataFrame(rows, columns=["cell", "trials"])


def _text_table(title: str, table: pd.DataFrame) -> TextTable:
    rows: Sequence[Sequence[Any]] = table.to_numpy().tolist()
    return TextTable(title, list(table.columns), [tuple(map(str, row)) for row in rows])
