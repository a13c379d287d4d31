"""The marks that figures are made of: points with intervals, forest lines, annotated grids."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...conditions import INJECTED, ordered
from .style import FURTHER_MARKERS, Stroke, Theme, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def dots(
    axes: Axes,
    table: pd.DataFrame,
    outcomes: Sequence[str],
    theme: Theme,
    *,
    curves: pd.DataFrame | None,
    crossing: float | None,
    kind: str,
) -> None:
    """Draw each outcome's rates against magnitude with their intervals, and its curve or joining line."""
    from matplotlib.transforms import ScaledTranslation

    for number, outcome in enumerate(outcomes):
        rows = table[(table["outcome"] == outcome) & (table["n"] > 0)].sort_values("magnitude")
        stroke, colour = looks(outcomes, theme)[outcome]
        # Intervals at one magnitude stand side by side, or the later would hide the earlier.
        points = (number - (len(outcomes) - 1) / 2) * 5
        aside = axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)
        x = rows["magnitude"].to_numpy(float)
        y, low, high = (rows[c].to_numpy(float) for c in ("rate", "low", "high"))
        axes.vlines(x, low, high, color=colour, linewidth=1.2, transform=aside)
        fitted = None if curves is None else curves[curves["outcome"] == outcome].sort_values("magnitude")
        joined = fitted is None or fitted.empty
        axes.plot(
            x,
            y,
            marker=stroke.marker,
            linestyle=stroke.line if joined else "none",
            color=colour,
            markersize=6,
            markeredgecolor=theme.paper,
            markeredgewidth=0.7,
            linewidth=1.4,
            zorder=3,
            clip_on=False,
            transform=aside,
        )
        key = {"marker": stroke.marker, "linestyle": stroke.line, "markersize": 6, "linewidth": 1.4}
        axes.plot([], [], color=colour, label=outcome, **key)  # the legend shows marker and line also of fits
        if fitted is not None and not fitted.empty:
            at = fitted["magnitude"].to_numpy(float)
            axes.plot(at, fitted["rate"].to_numpy(float), linestyle=stroke.line, color=colour, linewidth=1.4)
            if {"low", "high"} <= set(fitted.columns):
                band = (fitted["low"].to_numpy(float), fitted["high"].to_numpy(float))
                axes.fill_between(at, *band, color=colour, alpha=0.13, linewidth=0)
    if crossing is not None:
        _mark_crossing(axes, f"crossing at {crossing:.2f}{f' ({kind})' if kind else ''}", crossing, theme)


def magnitude_ticks(axes: Axes, magnitudes: Sequence[float]) -> None:
    """Set the limits of a magnitude axis, and a tick at every magnitude where they are few and far enough apart."""
    # matplotlib's own limits leave no room for the points that stand aside.
    room = 0.045 * (magnitudes[-1] - magnitudes[0]) or 1.0
    axes.set_xlim(magnitudes[0] - room, magnitudes[-1] + room)
    steps = np.diff(magnitudes)
    if len(magnitudes) == 1 or (len(magnitudes) <= 12 and steps.min() > 0.045 * (magnitudes[-1] - magnitudes[0])):
        axes.set_xticks(magnitudes, [f"{m:g}" for m in magnitudes])


def _mark_crossing(axes: Axes, text: str, crossing: float, theme: Theme) -> None:
    axes.axvline(crossing, color=theme.muted, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    axes.annotate(
        text,
        (crossing, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -2),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=theme.muted,
        bbox={"facecolor": theme.paper, "edgecolor": "none", "pad": 1.0},
        zorder=4,
    )


def legend(figure: Figure, axes: Axes) -> None:
    """Put one legend for all panels under the figure, where it covers no point."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), handlelength=3.2)


def forest(
    axes: Axes, table: pd.DataFrame, lines: Sequence[str], outcome: str, look: tuple[Stroke, str], *, theme: Theme
) -> None:
    """Draw one outcome's rates as points with intervals, one line each; controls hollow, their interval shaded.

    Controls are the rows of ``nothing``. The other arms have a colour and a marker each, the same in all panels of a
    table; injections those of the outcome, ``look``.
    """
    arms = [arm for arm in ordered(table.loc[~table["nothing"], "arm"]) if arm != INJECTED]
    own = dict(zip(arms, itertools.cycle(zip(FURTHER_MARKERS, theme.further, strict=True)), strict=False))
    for row in table[table["outcome"] == outcome].to_dict("records"):
        at, control = lines.index(row["line"]), row["nothing"]
        marker, colour = own.get(row["arm"], (look[0].marker, look[1]))
        if not row["n"]:
            axes.annotate("no scored trial", (0.02, at), va="center", fontsize=8, color=theme.muted)
            continue
        if control:
            axes.axvspan(row["low"], row["high"], color=theme.rule, alpha=0.6, linewidth=0, zorder=0)
        interval(axes, row, at, marker, colour, hollow=control, theme=theme)
    rate_axis(axes, outcome)


def interval(
    axes: Axes, row: Mapping[Any, Any], at: float, marker: str, colour: str, *, hollow: bool, theme: Theme
) -> None:
    """Draw a row's ``rate`` as a point on the line ``at``, with its interval; ``hollow`` is how controls look."""
    edge = theme.ink if hollow else colour
    axes.hlines(at, row["low"], row["high"], color=edge, linewidth=1.3)
    axes.plot(
        [row["rate"]],
        [at],
        marker=marker,
        markersize=5.5,
        color=theme.paper if hollow else colour,
        markeredgecolor=edge,
        linestyle="none",
        zorder=3,
        clip_on=False,
    )


def rate_axis(axes: Axes, outcome: str) -> None:
    """Give a panel of horizontal lines its scale of rates, in percent, and the outcome as its title."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "50", "", "100"])
    axes.set_title(outcome)
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def grid(axes: Axes, values: npt.NDArray[np.float64], texts: Mapping[tuple[int, int], str], theme: Theme) -> Any:
    """Draw a matrix of shares (0 to 1) with a text in each cell; NaN cells are hatched. Returns the mesh."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    rows, columns = values.shape
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=LinearSegmentedColormap.from_list(theme.name, list(theme.ramp)),
        vmin=0,
        vmax=1,
        edgecolors=theme.paper,
        linewidth=1.5,
    )
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for i in range(rows):
        for j in range(columns):
            if np.isnan(values[i, j]):
                axes.add_patch(
                    Rectangle((j - 0.5, i - 0.5), 1, 1, hatch="////", fill=False, edgecolor=theme.rule, linewidth=0)
                )
                colour = theme.muted
            else:
                colour = _readable_on(mesh.cmap(mesh.norm(values[i, j])))
            axes.text(j, i, texts.get((i, j), "–"), ha="center", va="center", fontsize=8, color=colour)
    return mesh


def colour_bar(figure: Figure, axes: Axes | list[Axes], mesh: Any, label: str) -> None:
    """Put the scale of a grid beside it, in percent."""
    bar = figure.colorbar(mesh, ax=axes, ticks=[0, 0.25, 0.5, 0.75, 1], fraction=0.05, pad=0.03)
    bar.ax.set_yticklabels(["0", "25", "50", "75", "100"])
    bar.set_label(label)
    bar.outline.set_visible(False)


def _readable_on(rgba: Any) -> str:
    """Return black or white, whichever has the higher contrast on the colour (WCAG 2 relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3]]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return "#000000" if luminance > 0.179 else "#ffffff"
