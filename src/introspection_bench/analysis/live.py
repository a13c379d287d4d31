"""Which doses were alive: the effects of a run's doses as a table, and beside its trials."""

from __future__ import annotations

import statistics
from typing import Any

import pandas as pd

from ..boundaries import checked
from ..conditions import layers_text
from ..effects import DoseEffect, Effects
from ..errors import AnalysisError
from .selection import require_columns

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
}


@checked(AnalysisError)
def effects_frame(effects: Effects) -> pd.DataFrame:
    """Return the effects of doses, one row for each; of one that was measured twice, that with more random vectors.

    Columns: :data:`LIVE_BY`, the dose being the one asked for; ``effect`` and ``resolved`` where it was asked for by
    its effect; ``kl``, the median over the prompts in nats, with the smallest and largest (``kl_low``, ``kl_high``)
    and all of them (``kl_prompts``); ``random_kl``, the median over ``n_random`` random vectors; the medians
    ``entropy_before``, ``entropy_after`` and ``gain`` (nats); ``random_gain``, the largest of the random vectors';
    ``chance`` and ``live`` as :class:`~introspection_bench.effects.DoseEffect` has them.
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
def live_cells(frame: pd.DataFrame, effects: Effects) -> pd.DataFrame:
    """Return a frame of trials with a column ``live``: whether the dose that was injected says its concept.

    It is NA on trials where no concept was injected as it is, and where the effect of the dose was not measured. So
    ``frame[frame["live"]]`` keeps the injected trials of live cells. ``frame`` is from
    :func:`~introspection_bench.analysis.records_frame`; raises :class:`AnalysisError` where it lacks columns.
    """
    require_columns(frame, [*LIVE_BY, "truth"])
    table = effects_frame(effects)
    places = zip(*(table[c] for c in LIVE_BY), strict=True)
    known = dict(zip(places, table["live"].tolist(), strict=True))
    injected = frame["truth"].eq("injected").fillna(value=False)
    cells = zip(*(frame[c] for c in LIVE_BY), strict=True)
    told = [known.get(cell) if right else None for cell, right in zip(cells, injected, strict=True)]
    return frame.assign(live=pd.array(told, dtype="boolean"))


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
    }
