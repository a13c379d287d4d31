"""Tables for people: counts with their denominators, as plain, Markdown, LaTeX or CSV text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import pandas as pd

from ..boundaries import checked
from ..conditions import CELL_COLUMNS, INJECTED
from ..errors import AnalysisError, explain
from ..results import Results, frame_of
from ..untrusted import no_formula, one_line, visible
from .binomial import Method, Sided, bounds, percent
from .cells import layers_label, telling
from .intervals import FEWEST_CONCEPTS
from .rates import rates
from .selection import dosed, shown_of

Format = Literal["text", "markdown", "latex", "csv"]
#: Characters of a cell in a text table; other formats give it whole.
_WIDEST = 60


@checked(AnalysisError)
def rates_table(
    frame: pd.DataFrame | Results,
    by: Sequence[str] = CELL_COLUMNS,
    *,
    outcomes: Sequence[str] | None = None,
    method: Method = "clopper-pearson",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> pd.DataFrame:
    """Return one row per group with a text "k/n (low–high %)" per outcome.

    The interval is for these concepts. Where a row is of five concepts or more, the one for concepts like these stands
    behind it: "k/n (low–high %; like these low–high %)". ``trials``, ``scored`` and ``coherent n`` stand before the
    outcomes, so that each denominator is in view; ``concepts`` does where a row is of several.
    Columns that are NA throughout are left out. ``outcomes`` None: ``strict`` and the criteria that some verdict was
    asked. Other arguments and errors as :func:`introspection_bench.analysis.rates.rates`.
    """
    frame = frame_of(frame)
    outcomes = shown_of(frame) if outcomes is None else outcomes
    tidy = rates(frame, by, interval=method, confidence=confidence, sided=sided, outcomes=[*outcomes, "coherent"])
    rows = []
    for start in range(0, len(tidy), len(outcomes) + 1):
        part = tidy.iloc[start : start + len(outcomes) + 1]
        first, coherent = part.iloc[0], part.iloc[-1]
        row = {name: first[name] for name in by}
        row |= {"concepts": part["concepts"].max()}
        row |= {"trials": first["n_all"], "scored": first["n_scored"], "coherent n": coherent["k"]}
        row |= {str(r["outcome"]): _cell(r) for _, r in part.iloc[:-1].iterrows()}
        rows.append(row)
    table = pd.DataFrame(rows, columns=[*by, "concepts", "trials", "scored", "coherent n", *outcomes])
    useless = [name for name in by if len(table) and table[name].isna().all()]
    return table.drop(columns=[*useless, *([] if (table["concepts"] > 1).any() else ["concepts"])])


@checked(AnalysisError)
def table_heading(table: pd.DataFrame, *, method: Method = "clopper-pearson", confidence: float = 0.95) -> str:
    """Return what the intervals of a :func:`rates_table` are about, and that no row was adjusted for being chosen."""
    exact = "exact (Clopper-Pearson)" if method == "clopper-pearson" else "Wilson"
    kept = "" if method == "clopper-pearson" else ", which may cover as little as 79 %,"
    over = ""
    if "concepts" in table.columns:
        enough = (table["concepts"] >= FEWEST_CONCEPTS).any()
        over = (
            "; behind it the interval for concepts like these, where they are at least five"
            if enough
            else "; of concepts like these nothing is said, which takes at least five"
        )
    return (
        f"k/n with {exact} {percent(confidence)} intervals{kept} for these concepts, whose trials alone vary{over}. "
        f"{chosen_note(len(table))}"
    )


@checked(AnalysisError)
def chosen_note(cells: int) -> str:
    """Return that the intervals of so many cells are each for itself; nothing for a single one."""
    if cells < 2:
        return ""
    return (
        f"{cells} cells; no interval is adjusted for choosing among them: "
        "that of the highest misses more often than it says."
    )


@checked(AnalysisError)
def narrow_table(frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return the cells of a run for a terminal: what all cells share, and a table of the rest.

    Each outcome reads "k/n low–high": exact two-sided 95 % Clopper-Pearson bounds in whole percent, of each cell for
    itself (:func:`chosen_note`). Controls stand under the concept "control", the trials of every other arm under their
    own with the arm behind it.
    Errors as :func:`introspection_bench.analysis.rates.rates`.
    """
    shown = shown_of(frame)
    tidy = rates(frame, CELL_COLUMNS, outcomes=shown)
    with_dose, told = dosed(tidy), telling(tidy)
    shared, varying = [], []
    others = (tidy["arm"] != INJECTED).any()  # their names stand in the concept's column
    for name in CELL_COLUMNS:
        among = with_dose if name in ("layers", "unit", "span") else tidy  # others have none of these
        values = list(among[name].drop_duplicates())
        stated = not all(map(_missing, values)) or (name == "concept" and others)
        if name == "arm" or not stated:
            continue
        if len(values) == 1 and name not in ("concept", "magnitude"):
            shared.append(_shared(name, values[0]))
        elif name in told:
            varying.append(name)
    rows = []
    for start in range(0, len(tidy), len(shown)):
        part = tidy.iloc[start : start + len(shown)]
        first = part.iloc[0]
        row = {name: short(first[name], 6) for name in varying}
        if first["arm"] != INJECTED:
            row["concept"] = first["arm"] if _missing(first["concept"]) else f"{first['concept']} ({first['arm']})"
        rows.append(row | {str(r["outcome"]): _narrow_cell(r) for _, r in part.iterrows()})
    return ", ".join(shared), pd.DataFrame(rows, columns=[*varying, *shown])


def _shared(column: str, value: Any) -> str:
    if column == "layers":
        return layers_label(value)
    return str(value) if column in ("scaffold", "model") else f"{column} {value}"


@checked(AnalysisError)
def render(table: pd.DataFrame, format: Format = "markdown", *, digits: int = 3) -> str:  # noqa: A002  # the option's name
    """Return any table as text.

    Args:
        table: its index is not shown.
        format: ``text`` (aligned columns), ``markdown`` (a pipe table; ``|`` escaped), ``latex`` (a ``tabular`` of
            booktabs, special characters escaped) or ``csv`` (RFC 4180, numbers in full; text that a spreadsheet
            would take for a formula stands behind an apostrophe). In all of them what can't be seen, or would steer a
            terminal, stands as an escape.
        digits: significant digits of floats, except in CSV.

    Raises:
        AnalysisError: another format.
    """
    if not 1 <= digits <= 17:
        raise AnalysisError(explain("digits", required="a whole number from 1 to 17", got=digits, hint=""))
    if format not in _FORMATS:
        raise AnalysisError(explain("format", required=f"one of {list(_FORMATS)}", got=format, hint=""))
    shown: Callable[[Any], str] = _plain if format == "csv" else lambda value: short(value, digits)
    # What comes from files must not move the reader's cursor; only CSV has quotes that hold a line break.
    keep = "\n\t" if format == "csv" else "\n"
    header = [visible(shown(name), keep) for name in table.columns]
    body = [[visible(shown(value), keep) for value in row] for row in table.itertuples(index=False, name=None)]
    return _FORMATS[format](header, body)


def _cell(row: Any) -> str:
    if not row["n"]:
        return "0/0"
    like = ""
    if not math.isnan(row["low_like_these"]):
        like = f"; like these {_dashed(row['low_like_these'], row['high_like_these'])}"
    return f"{row['k']}/{row['n']} ({_dashed(row['low'], row['high'])}{like})"


def _dashed(low: float, high: float) -> str:
    return bounds(low, high).replace(" to ", "–")


def _narrow_cell(row: Any) -> str:
    return f"{row['k']}/{row['n']} {row['low']:.0%}–{row['high']:.0%}".replace("%", "") if row["n"] else "0/0"


def _missing(value: Any) -> bool:
    # Lists, such as a specification's field, are values too.
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _plain(value: Any) -> str:
    if _missing(value):
        return ""
    return no_formula(value) if isinstance(value, str) else str(value)  # "-0.5" as a number is no formula


def short(value: Any, digits: int = 3) -> str:
    """Return a cell for people: – for NA, floats of so many significant digits."""
    if _missing(value):
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")
    return str(value)


def _text(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rows = [[one_line(cell, _WIDEST) for cell in row] for row in [header, *body]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(line.rstrip() + "\n" for line in lines)


# The text of a cell, never markup: other people's names could hold a link, an image or HTML.
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*[]|$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " "})


def _markdown(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(c.translate(_MARKDOWN) for c in cells) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, body)]) + "\n"


_TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "\n": " "}
    | {"∞": r"$\infty$", "−": "$-$"}
)


def _latex(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return " & ".join(c.translate(_TEX) for c in cells) + r" \\"

    rows = [line(header), r"\midrule", *map(line, body)]
    return (
        "\n".join([rf"\begin{{tabular}}{{{'l' * len(header)}}}", r"\toprule", *rows, r"\bottomrule", r"\end{tabular}"])
        + "\n"
    )


def _csv(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([header, *body])
    return out.getvalue()


_FORMATS: dict[str, Callable[[Sequence[str], Iterable[Sequence[str]]], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
}
