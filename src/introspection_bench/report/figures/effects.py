"""The figure of what doses do to neutral prompts: effect against magnitude, concept by concept."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...boundaries import checked
from ...effects import DoseEffect, Effects
from ...errors import AnalysisError, explain
from ..wording import magnitude_axis
from .marks import legend, magnitude_ticks
from .style import LIGHT, Theme, drawing, lettering, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: With more concepts than this one can't tell their lines apart: all are drawn alike.
_MOST_NAMED = 6
_NOISE = 1e-7


@checked(AnalysisError)
def effect_curves(effects: Effects, *, title: str = "", theme: Theme = LIGHT) -> Figure:
    """Return what doses of one unit at the same layers do, against magnitude: one line for each concept.

    Above, the median divergence from the unsteered distribution (nats, logarithmic), with that of the random vectors as
    grey dashes; below, the median gain in log-probability of the concept's own tokens, and the largest of the random
    vectors as grey dashes. A filled marker is a live dose. Of doses found by their effect, the magnitude is the one
    found.

    Raises:
        AnalysisError: there is no row, or rows of several units, layers or models.
    """
    rows = list(effects)
    alike = {(row.model, row.layers, row.dose.unit) for row in rows}
    if len(alike) != 1:
        raise AnalysisError(
            explain(
                "effects",
                required="rows of one model, one unit and the same layers",
                got=f"{len(alike)} combinations of them",
                hint="Draw each on its own: ib.Effects([row for row in effects if …]).",
            )
        )
    from matplotlib.ticker import FuncFormatter

    concepts = list(dict.fromkeys(row.concept for row in rows))
    with drawing(theme):
        figure = new_figure(6.4, 5.2)
        above, below = figure.subplots(2, 1, sharex=True)
        for concept, stroke in _strokes(concepts, theme).items():
            mine = sorted((row for row in rows if row.concept == concept), key=lambda row: row.dose.magnitude)
            # A logarithmic axis has no 0: what moves nothing stands at the noise of float32.
            _line(above, mine, [max(row.median_kl, _NOISE) for row in mine], stroke)
            _line(below, mine, [row.median_gain for row in mine], stroke)
            if len(concepts) <= _MOST_NAMED:
                above.plot([], [], label=lettering(concept), linewidth=1.1, markersize=5, **stroke)
        beside = sorted({(row.dose.magnitude, statistics.median(row.random_kl)) for row in rows})
        rising = [(m, max(kl, _NOISE)) for m, kl in beside]
        above.plot(*zip(*rising, strict=True), **_grey(theme), label="random vectors")
        most = sorted({(row.dose.magnitude, max(row.random_gain)) for row in rows})
        below.plot(*zip(*most, strict=True), **_grey(theme))
        above.set_yscale("log")
        above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        above.minorticks_off()
        magnitude_ticks(below, sorted({row.dose.magnitude for row in rows}))
        above.set_ylabel("divergence (nats)")
        below.set_ylabel("gain of own tokens (nats)")
        below.set_xlabel(magnitude_axis(rows[0].dose.unit.value))
        for axes in (above, below):
            axes.grid(visible=True, axis="y")
            axes.set_axisbelow(True)
        live = sum(row.live for row in rows)
        above.set_title(f"{lettering(title, 100)} ({live} of {len(rows)} live)".strip())
        legend(figure, above)
    return figure


def _strokes(concepts: Sequence[str], theme: Theme) -> dict[str, dict[str, Any]]:
    if len(concepts) > _MOST_NAMED:
        return {c: {"marker": "o", "color": theme.outcomes["identifies"]} for c in concepts}
    looks = zip(("o", "s", "^", "D", "v", "P"), theme.further, strict=True)
    return {c: {"marker": marker, "color": colour} for c, (marker, colour) in zip(concepts, looks, strict=False)}


def _line(axes: Axes, rows: Sequence[DoseEffect], values: Sequence[float], stroke: Mapping[str, Any]) -> None:
    x, y = np.array([row.dose.magnitude for row in rows]), np.array(values)
    live = np.array([row.live for row in rows])
    axes.plot(x, y, linewidth=1.1, markersize=5, markerfacecolor="none", **stroke)
    axes.plot(x[live], y[live], linestyle="none", markersize=5, **stroke)


def _grey(theme: Theme) -> dict[str, Any]:
    return {"color": theme.muted, "linestyle": "none", "marker": "_", "markersize": 9, "markeredgewidth": 1.2}
