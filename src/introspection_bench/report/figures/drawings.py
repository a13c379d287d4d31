"""Figures as pure functions: a table of rates in, a matplotlib figure out; nothing is shown, saved or kept.

The tables are those of :func:`introspection_bench.analysis.rates`: one row per group and outcome, with ``k n
rate low high``. A figure shows one unit of magnitude; a table with two is an error, because they are different
axes. Colours are Okabe & Ito's; marker and line style carry the same meaning without colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...analysis.cells import cell_name, is_dosed, is_missing, layers_label, rank, telling
from ...boundaries import checked
from ...conditions import BUILTIN, CELL_COLUMNS
from ...errors import AnalysisError, explain
from ..wording import magnitude_axis
from .marks import colour_bar, dots, forest, grid, legend, magnitude_ticks
from .style import LIGHT, STROKES, Theme, drawing, lettering, looks, new_figure, rate_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Characters of a title; a concept, a scaffold and a layer fit in.
_TITLE = 120
_WIDTH = 6.4  # inches; a column of text at print size


@checked(AnalysisError)
def crossover(
    table: pd.DataFrame,
    *,
    outcomes: Sequence[str] = ("identifies", "coherent"),
    curves: pd.DataFrame | None = None,
    crossing: float | None = None,
    kind: str = "",
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Rates of a few outcomes against magnitude, for one concept at one layer.

    Args:
        table: rows of :func:`~introspection_bench.analysis.rates` grouped at least by ``magnitude`` and ``unit``;
            one row per outcome and magnitude.
        outcomes: which outcomes, in drawing order.
        curves: fitted rates to draw as lines: columns ``outcome magnitude rate``, optionally ``low high`` (drawn
            as a band). Without it the points are joined.
        crossing: the magnitude where the first two outcomes cross, marked with its value.
        kind: how the crossing was found, written beside it (``fitted``, ``interpolated``).
        title: what is shown; the number of trials is added.
        theme: the colours.

    Returns:
        A figure of 6.4 x 3.9 inches.

    Raises:
        AnalysisError: a column is missing, two units are mixed, or one outcome has two rows at one magnitude.
    """
    table = _checked(table, ["magnitude", "unit", "outcome", "k", "n", "rate", "low", "high"], outcomes, curves=curves)
    with drawing(theme):
        figure = new_figure(_WIDTH, 3.9)
        axes = figure.subplots()
        dots(axes, table, outcomes, theme, curves=curves, crossing=crossing, kind=kind)
        magnitude_ticks(axes, _sorted(table["magnitude"]))
        rate_axis(axes, headroom=_headroom(crossing is not None))
        axes.set_xlabel(magnitude_axis(_one_unit(table)))
        axes.set_title(_titled(title, table))
        legend(figure, axes)
    return figure


@checked(AnalysisError)
def layer_panels(
    table: pd.DataFrame,
    *,
    outcomes: Sequence[str] = ("identifies", "coherent"),
    curves: pd.DataFrame | None = None,
    crossings: pd.DataFrame | None = None,
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Rates against magnitude, one panel per layer, stacked over one magnitude axis (the deepest layer on top).

    Args:
        table: as for :func:`crossover`, grouped by ``layers`` too.
        outcomes: which outcomes.
        curves: as for :func:`crossover`, with a column ``layers``.
        crossings: columns ``layers``, ``crossing`` and optionally ``kind``, as for :func:`crossover`.
        title: what is shown; the number of trials is added.
        theme: the colours.

    Raises:
        AnalysisError: as :func:`crossover`.
    """
    needed = ["layers", "magnitude", "unit", "outcome", "k", "n", "rate", "low", "high"]
    table = _checked(table, needed, outcomes, also=["layers"], curves=curves)
    if crossings is not None and not {"layers", "crossing"} <= set(crossings.columns):
        raise AnalysisError(
            explain("crossings", required="the columns layers and crossing", got=list(crossings.columns), hint="")
        )
    layers = _sorted(table["layers"], "layers")[::-1]
    with drawing(theme):
        figure = new_figure(_WIDTH, 1.25 + 1.55 * len(layers))
        panels = figure.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
        for axes, layer in zip(panels, layers, strict=True):
            rows = _where(table, layer)
            lines = None if curves is None else _where(curves, layer)
            at = None if crossings is None else _where(crossings, layer)
            crossing = None if at is None or at.empty or is_missing(at["crossing"].iloc[0]) else at["crossing"].iloc[0]
            kind = "" if at is None or at.empty or "kind" not in at else str(at["kind"].iloc[0])
            dots(axes, rows, outcomes, theme, curves=lines, crossing=crossing, kind=kind)
            rate_axis(axes, "", headroom=_headroom(crossings is not None))
            name = "layer not stated" if layer is None else layers_label(layer)
            axes.set_title(name, fontsize=8.5, color=theme.muted, pad=3)
        figure.supylabel("rate (% of scored trials)", fontsize=9)
        magnitude_ticks(panels[-1], _sorted(table["magnitude"]))
        panels[-1].set_xlabel(magnitude_axis(_one_unit(table)))
        figure.suptitle(_titled(title, table), fontsize=9.5, x=0.01, ha="left")
        legend(figure, panels[0])
    return figure


@checked(AnalysisError)
def rate_map(table: pd.DataFrame, *, outcome: str = "identifies", title: str = "", theme: Theme = LIGHT) -> Figure:
    """One outcome's rate over layers (rows) and magnitudes (columns), every cell with its count ``k/n``.

    Args:
        table: rows of :func:`~introspection_bench.analysis.rates` grouped by ``layers``, ``magnitude`` and ``unit``.
        outcome: which outcome.
        title: what is shown.
        theme: the colours.

    Returns:
        A figure whose empty cells (no scored trial) are hatched, so that "no data" is not read as 0 %.

    Raises:
        AnalysisError: as :func:`crossover`.
    """
    table = _checked(table, ["layers", "magnitude", "unit", "outcome", "k", "n", "rate"], [outcome], also=["layers"])
    layers, magnitudes = _sorted(table["layers"], "layers")[::-1], _sorted(table["magnitude"])
    values = np.full((len(layers), len(magnitudes)), np.nan)
    counts: dict[tuple[int, int], str] = {}
    for row in table.itertuples(index=False):
        place = (layers.index(_plain(row.layers)), magnitudes.index(_plain(row.magnitude)))
        values[place] = np.nan if is_missing(row.rate) else row.rate
        counts[place] = f"{row.k}/{row.n}"
    with drawing(theme):
        figure = new_figure(max(3.4, 1.7 + 0.62 * len(magnitudes)), max(2.3, 1.25 + 0.36 * len(layers)))
        axes = figure.subplots()
        image = grid(axes, values, counts, theme)
        axes.set_xticks(range(len(magnitudes)), [f"{m:g}" for m in magnitudes])
        axes.set_yticks(range(len(layers)), ["not stated" if layer is None else layer for layer in layers])
        axes.set_xlabel(magnitude_axis(_one_unit(table)))
        axes.set_ylabel("layer (0-based block)")
        axes.set_title(lettering(title, _TITLE) or outcome)
        colour_bar(figure, axes, image, f"{outcome} (% of scored trials)")
    return figure


@checked(AnalysisError)
def against_controls(
    table: pd.DataFrame,
    *,
    outcomes: Sequence[str] = ("affirmative", "identifies", "coherent", "strict"),
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Rates with intervals, one line per group and one panel per outcome, over the controls' own interval.

    Args:
        table: rows of :func:`~introspection_bench.analysis.rates` grouped by ``arm`` and any other columns of cells
            (``concept``, ``layers``, ``magnitude`` with ``unit``); those that vary name the lines. Where nothing was
            done (by the column ``truth``; without it, in the arm ``control``) the interval is shaded through the
            panel. Every arm besides those and ``injected`` has a colour and a marker of its own, from
            :data:`~introspection_bench.report.figures.style.FURTHER_MARKERS` in turn.
        outcomes: which outcomes, one panel each; those of any rubric.
        title: what is shown.
        theme: the colours.

    Raises:
        AnalysisError: a column is missing.
    """
    table = _checked(table, ["arm", "outcome", "k", "n", "rate", "low", "high"], outcomes, one_row=False)
    truth = table["truth"] if "truth" in table else table["arm"].map(BUILTIN)
    table = table.assign(line=_line_names(table), nothing=(truth == "nothing").fillna(value=False).astype(bool))
    by = [c for c in ("arm", *(c for c in CELL_COLUMNS if c != "arm")) if c in table]
    order = sorted(
        table.drop_duplicates("line").to_dict("records"),
        key=lambda row: (not row["nothing"], [rank(c, row[c]) for c in by]),
    )
    lines = [row["line"] for row in order]
    with drawing(theme):
        figure = new_figure(2.2 + 2.05 * len(outcomes), max(1.9, 1.2 + 0.235 * len(lines)))
        panels = figure.subplots(1, len(outcomes), sharey=True, squeeze=False)[0]
        for axes, outcome in zip(panels, outcomes, strict=True):
            forest(axes, table, lines, outcome, looks(outcomes, theme)[outcome], theme=theme)
        panels[0].set_yticks(range(len(lines)), lines)
        panels[0].set_ylim(len(lines) - 0.4, -0.6)
        figure.supxlabel("rate (% of scored trials), with 95 % interval", fontsize=9)
        if title:
            figure.suptitle(lettering(title, _TITLE), fontsize=9.5, x=0.01, ha="left")
    return figure


@checked(AnalysisError)
def agreement_matrix(
    tables: Mapping[str, pd.DataFrame],
    *,
    judges: tuple[str, str] = ("first judge", "second judge"),
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """How two judges' answers fall together: one confusion matrix per criterion, every cell with its count.

    Args:
        tables: by panel title, confusion tables of counts
            (:meth:`~introspection_bench.analysis.agreement.Confusion.frame`): rows are the first judge's answers,
            columns the second's.
        judges: what rows and columns are called.
        title: what is shown; each panel adds its number of replies.
        theme: the colours.

    Raises:
        AnalysisError: there is no table, or an empty one.
    """
    if not tables or any(t.empty for t in tables.values()):
        raise AnalysisError(
            explain("tables", required="confusion tables with at least one cell", got=list(tables), hint="")
        )
    with drawing(theme):
        figure = new_figure(1.1 + 1.75 * len(tables), 2.75)
        panels = figure.subplots(1, len(tables), squeeze=False)[0]
        for number, (axes, (name, table)) in enumerate(zip(panels, tables.items(), strict=True)):
            counts = table.to_numpy(dtype=float)
            total = counts.sum()
            shares = counts / total if total else np.full_like(counts, np.nan)
            texts = {(int(i), int(j)): f"{int(counts[i, j])}" for i, j in np.ndindex(*counts.shape)}
            mesh = grid(axes, shares, texts, theme)
            axes.set_aspect("equal")
            axes.set_xticks(range(counts.shape[1]), [lettering(str(c)) for c in table.columns])
            axes.set_yticks(range(counts.shape[0]), [lettering(str(r)) for r in table.index] if number == 0 else [])
            axes.set_title(f"{lettering(str(name))}\nn = {int(total):,}", fontsize=8.5)
        figure.supxlabel(lettering(judges[1]), fontsize=9)
        figure.supylabel(lettering(judges[0]), fontsize=9)
        colour_bar(figure, list(panels), mesh, "share of replies (%)")
        if title:
            figure.suptitle(lettering(title, _TITLE), fontsize=9.5, x=0.01, ha="left")
    return figure


def _checked(
    table: pd.DataFrame,
    columns: Sequence[str],
    outcomes: Sequence[str],
    *,
    also: Sequence[str] = (),
    one_row: bool = True,
    curves: pd.DataFrame | None = None,
) -> pd.DataFrame:
    needed = ["outcome", "magnitude", "rate", *also]
    if curves is not None and not set(needed) <= set(curves.columns):
        raise AnalysisError(
            explain("curves", required=f"the columns {needed}", got=list(curves.columns), hint="See crossover.")
        )
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise AnalysisError(
            explain(
                "table",
                required=f"the columns {list(columns)}, as analysis.rates gives them",
                got=f"none called {missing}",
                hint="Add them to by= in analysis.rates.",
            )
        )
    there = set(table["outcome"])
    unknown = [o for o in outcomes if o not in {*STROKES, *there}]
    table = table[table["outcome"].isin([o for o in outcomes if o in there])]
    if table.empty or unknown:
        raise AnalysisError(
            explain(
                "table",
                required=f"rows of the outcomes {list(outcomes)}",
                got=f"none of {unknown or list(outcomes)}",
                hint="Nothing to draw.",
            )
        )
    if one_row:
        if len(_sorted(table["unit"])) > 1:
            raise AnalysisError(
                explain(
                    "table",
                    required="one unit of magnitude",
                    got=_sorted(table["unit"]),
                    hint="Draw one figure per unit: 5 raw and 5 residual are different doses.",
                )
            )
        twice = table[table.duplicated([*also, "outcome", "magnitude"])]
        if not twice.empty:
            raise AnalysisError(
                explain(
                    "table",
                    required="one row per outcome and magnitude" + "".join(f" and {a}" for a in also),
                    got=f"{len(twice)} more, the first at magnitude {twice['magnitude'].iloc[0]:g}",
                    hint="Select one concept and scaffold, or pool them in analysis.rates.",
                )
            )
    return table


def _headroom(crossing: bool) -> float:
    """Return the room above 100 %: the crossing's text stands there, clear of the points."""
    return 0.16 if crossing else 0.03


def _one_unit(table: pd.DataFrame) -> Any:
    return table["unit"].iloc[0]


def _plain(value: Any) -> Any:
    return None if is_missing(value) else value


def _sorted(column: pd.Series[Any], name: str = "") -> list[Any]:
    """Return the distinct values in order, a missing one (as None) last."""
    return sorted({_plain(v) for v in column}, key=lambda v: rank(name, v))


def _where(table: pd.DataFrame, layers: Any) -> pd.DataFrame:
    column = table["layers"]
    return table[column.isna() if layers is None else (column == layers).fillna(value=False)]


def _titled(title: str, table: pd.DataFrame) -> str:
    sizes = [int(n) for n in table["n"] if n]
    if not sizes:
        count = "no scored trial"
    elif min(sizes) == max(sizes):
        count = f"n = {sizes[0]} per point"
    else:
        count = f"n = {min(sizes)} to {max(sizes)} per point"
    return f"{lettering(title, _TITLE)} ({count})" if title else count


def _line_names(table: pd.DataFrame) -> list[str]:
    """Name each row by its arm and its dose, and by those other grouping columns that vary."""
    with_dose = table[[is_dosed(row) for row in table.to_dict("records")]]
    base = [c for c in ("concept", "layers") if c in table and len(_sorted(with_dose[c], c)) > 1]
    named = telling(table, ["arm", *base, "magnitude", "unit"], [c for c in ("concept", "layers") if c not in base])
    names = []
    for row in table.to_dict("records"):
        size = f" (n = {int(row['n_all'])})" if "n_all" in row else ""
        names.append(lettering(cell_name(row, named), _TITLE) + size)
    return names
