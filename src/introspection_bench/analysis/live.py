"""Which doses were alive: the effects of a run's doses as a table, and beside its trials."""

from __future__ import annotations

import statistics
from typing import Any

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..conditions import CELL_COLUMNS, layers_text
from ..effects import DoseEffect, Effects
from ..errors import AnalysisError, explain
from ..freezing import plain_int
from ..results import Results, frame_of
from .selection import injected, require_columns, scored

#: What tells the cells apart whose doses have effects, in a frame of trials as in one of effects.
LIVE_BY = ("model", "concept", "layers", "magnitude", "unit")
_DTYPES = {
    "model": "string",
    "concept": "string",
    "layers": "string",
    "magnitude": "float64",
    "unit": "string",
    "effect": "string",
    "resolved": "string",
    "kl": "float64",
    "kl_low": "float64",
    "kl_high": "float64",
    "kl_prompts": "object",
    "random_kl": "float64",
    "entropy_before": "float64",
    "entropy_after": "float64",
    "gain": "float64",
    "random_gain": "float64",
    "n_random": "Int64",
    "chance": "float64",
    "live": "boolean",
    "rank": "Int64",
    "reads_out": "boolean",
}


@checked(AnalysisError)
def effects_frame(effects: Effects) -> pd.DataFrame:
    """Return the effects of doses, one row for each; of one that was measured twice, that with more random vectors.

    Columns: :data:`LIVE_BY`, the dose being the one asked for; ``effect`` and ``resolved`` where it was asked for by
    its effect; ``kl``, the median over the prompts in nats, with the smallest and largest (``kl_low``, ``kl_high``)
    and all of them (``kl_prompts``); ``random_kl``, the median over ``n_random`` random vectors; the medians
    ``entropy_before``, ``entropy_after`` and ``gain`` (nats); ``random_gain``, the largest of the random vectors';
    ``chance`` and ``live`` as :class:`~introspection_bench.effects.DoseEffect` has them; ``rank``, the smallest of its
    vectors', and ``reads_out``, NA where the backend could not tell.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in sorted(effects, key=lambda e: len(e.random_gain)):
        row = _row(one)
        rows[tuple(row[c] for c in LIVE_BY)] = row
    # In the order in which they were measured.
    order = dict.fromkeys(tuple(_row(one)[c] for c in LIVE_BY) for one in effects)
    columns = {name: [rows[place][name] for place in order] for name in _DTYPES}
    return pd.DataFrame({name: pd.Series(values, dtype=_DTYPES[name]) for name, values in columns.items()})


@checked(AnalysisError)
def live_cells(frame: pd.DataFrame | Results, effects: Effects) -> pd.DataFrame:
    """Return a frame of trials with a column ``live``: whether the dose that was injected says its concept.

    A second one, ``reads_out``, says whether the vector itself reads out as the concept's word. Both are NA on trials
    where no concept was injected as it is, and where that of the dose was not measured or could not be told. So
    ``frame[frame["live"]]`` keeps the injected trials of live cells. ``frame`` is from
    :func:`~introspection_bench.analysis.records_frame`; raises :class:`AnalysisError` where it lacks columns.
    """
    frame = frame_of(frame)
    require_columns(frame, [*LIVE_BY, "truth"])
    table = effects_frame(effects)
    places = zip(*(table[c] for c in LIVE_BY), strict=True)
    there = frame["truth"].eq("injected").fillna(value=False)
    cells = list(zip(*(frame[c] for c in LIVE_BY), strict=True))
    known = {place: number for number, place in enumerate(places)}
    rows = [known.get(cell) if right else None for cell, right in zip(cells, there, strict=True)]
    told = {column: table[column].tolist() for column in ("live", "reads_out")}
    mine = {name: [None if row is None else values[row] for row in rows] for name, values in told.items()}
    return frame.assign(**{name: pd.array(values, dtype="boolean") for name, values in mine.items()})


@guarded(AnalysisError)
@attrs.frozen
class Liveness:
    """How many of the cells with scored injected trials have a live dose, and how many of these trials are theirs.

    ``unknown_cells`` and ``unknown_trials`` are those whose dose's effect was not measured; they are not live ones.
    Raises :class:`AnalysisError` for counts below 0, or parts that are more than the whole.
    """

    cells: int = attrs.field(converter=plain_int)
    trials: int = attrs.field(converter=plain_int)
    live_cells: int = attrs.field(converter=plain_int)
    live_trials: int = attrs.field(converter=plain_int)
    unknown_cells: int = attrs.field(converter=plain_int)
    unknown_trials: int = attrs.field(converter=plain_int)

    def __attrs_post_init__(self) -> None:
        fields = (self.live_cells, self.unknown_cells, self.live_trials, self.unknown_trials)
        over = self.live_cells + self.unknown_cells > self.cells or self.live_trials + self.unknown_trials > self.trials
        if min(fields) < 0 or over:
            raise AnalysisError(
                explain(
                    "cells, trials",
                    required="counts >= 0 of which the live and the unknown ones are parts",
                    got=attrs.astuple(self),
                    hint="Make it with liveness(frame, effects).",
                )
            )

    @property
    def some(self) -> bool:
        """Whether some cells are live and others are not known to be: what holds of all need not hold of these."""
        return 0 < self.live_trials < self.trials

    @property
    def sentence(self) -> str:
        """The counts in words; where nothing was measured, how it is."""
        if self.unknown_cells == self.cells:
            return (
                "Which of these doses are live was not measured, so nothing is stated over live cells alone: "
                "sweep.measure_effects(), or a table [effects] in the specification, measures it."
            )
        unmeasured = f"{self.unknown_cells:,} with {self.unknown_trials:,} of them were not measured"
        left = f" ({unmeasured})" if self.unknown_cells else ""
        if not self.live_cells:
            return (
                f"No cell is live, of {self.cells:,} with {self.trials:,} scored injected trials{left}: nothing is "
                "excluded of doses that say their concept."
            )
        if self.live_cells == self.cells:
            return (
                f"All {self.cells:,} cells of the {self.trials:,} scored injected trials are live: over live cells "
                "alone the same holds."
                if self.cells > 1
                else f"The one cell of the {self.trials:,} scored injected trials is live."
            )
        verb = "is" if self.live_cells == 1 else "are"
        return (
            f"{self.live_cells:,} of {self.cells:,} cells {verb} live, with {self.live_trials:,} of {self.trials:,} "
            f"scored injected trials{left}."
        )


@checked(AnalysisError)
def liveness(frame: pd.DataFrame | Results, effects: Effects) -> Liveness:
    """Return how many of a frame's cells with scored injected trials are live.

    Cells are told apart by all of :data:`~introspection_bench.conditions.CELL_COLUMNS`. ``frame`` is from
    :func:`~introspection_bench.analysis.records_frame`; raises :class:`AnalysisError` where it lacks columns.
    """
    frame = frame_of(frame)
    require_columns(frame, CELL_COLUMNS)
    part = live_cells(scored(injected(frame)), effects)
    told = part.groupby(list(CELL_COLUMNS), dropna=False, sort=False)["live"].agg(["first", "size"])
    live, unknown = told["first"].fillna(value=False).astype(bool), told["first"].isna()
    return Liveness(
        len(told),
        len(part),
        int(live.sum()),
        int(told.loc[live, "size"].sum()),
        int(unknown.sum()),
        int(told.loc[unknown, "size"].sum()),
    )


@checked(AnalysisError)
def live_trials(frame: pd.DataFrame | Results, effects: Effects) -> pd.DataFrame:
    """Return the injected trials of live cells, unscored ones too; errors as :func:`live_cells`."""
    frame = frame_of(frame)
    return frame[live_cells(frame, effects)["live"].fillna(value=False)]


def _row(one: DoseEffect) -> dict[str, Any]:
    asked = one.effect or one.dose
    return {
        "model": one.model,
        "concept": one.concept,
        "layers": layers_text(one.layers),
        "magnitude": asked.magnitude,
        "unit": asked.unit.value,
        "effect": None if one.effect is None else str(one.effect),
        "resolved": None if one.effect is None else str(one.dose),
        "kl": one.median_kl,
        "kl_low": min(one.kl),
        "kl_high": max(one.kl),
        "kl_prompts": one.kl,
        "random_kl": statistics.median(one.random_kl),
        "entropy_before": statistics.median(one.entropy_before),
        "entropy_after": statistics.median(one.entropy_after),
        "gain": one.median_gain,
        "random_gain": max(one.random_gain),
        "n_random": len(one.random_gain),
        "chance": one.chance,
        "live": one.live,
        "rank": None if one.ranks is None else min(one.ranks),
        "reads_out": one.reads_out,
    }
