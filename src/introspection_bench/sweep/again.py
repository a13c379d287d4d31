"""A stored run planned again: the request of every trial, and whether a pass did what was recorded of it."""

from __future__ import annotations

import numpy as np

from ..errors import SpecError, explain
from ..injection import Receipt
from ..prompts import Tokenizer
from .confirming import Confirmed
from .dosing import FindsDoses
from .places import by_place
from .planner import Ground, PlannedTrial, Planner
from .searching import Searching
from .store import Store
from .words import background

#: How far the ratios of a pass may lie from the recorded ones, relative: what half precision and other batch shapes do
#: to the norm of a whole stream is well below it, and another dose, layer or span well above.
RATIO_TOLERANCE = 0.05


def planned_again(store: Store, tokenizer: Tokenizer) -> list[PlannedTrial]:
    """Return the trials of a stored run with their requests, made of its specification, vectors and date.

    No model is asked: doses by effect are those that the run found. Another tokenizer than the run's comes to other
    trials. Raises :class:`SpecError` for an imported run, which has no specification.
    """
    spec = store.run_spec()
    if spec.found is None or spec.numerics is None or spec.design.date is None:
        raise SpecError(explain(str(store.path), required="a run of ours", got="an imported one", hint="Run it first."))
    planner, stored = spec.planner, store.vectors()
    vectors = by_place(planner.whole, stored, spec.found.n_layers)
    words = background(planner.design, stored, spec.found.n_layers)
    told = (spec.found, spec.model.backend, spec.numerics, tokenizer, spec.design.date, vectors)
    dosing = FindsDoses(store.found())  # the run's own: another model may need others
    ground = Ground(*told, dosing=dosing, chosen=spec.chosen, background=words)
    planned = _planned(planner, ground, store)
    if isinstance(planner, Confirmed) and spec.chosen is not None and spec.chosen.cell is not None:
        planned += planner.confirming(ground, spec.chosen.cell, [t.trial for t in planned])
    return planned


def _planned(planner: Planner, ground: Ground, store: Store) -> list[PlannedTrial]:
    searching = planner.searching if isinstance(planner, Confirmed) else planner
    if isinstance(searching, Searching):
        return searching.again(ground, list(store.planned().values()))
    return planner.most(ground)


def receipts_alike(recorded: Receipt, again: Receipt) -> bool:
    """Whether a pass touched the positions that the recorded one did, by a ratio within :data:`RATIO_TOLERANCE`."""
    places = (recorded.prompt_positions, recorded.generation_positions)
    same = places == (again.prompt_positions, again.generation_positions)
    return same and bool(np.isclose(again.mean_ratio, recorded.mean_ratio, rtol=RATIO_TOLERANCE, atol=1e-6))
