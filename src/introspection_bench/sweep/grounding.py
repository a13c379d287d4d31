"""What a sweep has before it plans: the run's date, and the vectors that are given, kept or to be extracted."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from ..errors import StoreError, explain
from ..extraction import extract
from ..injectors.base import Injector
from ..notebook import Bars
from ..vectors import ConceptVector
from .design import Design
from .places import source_layers
from .store import Store
from .words import background_words


def vectors_of_words(
    design: Design, injector: Injector, known: Sequence[ConceptVector], day: datetime.date, progress: bool | Bars
) -> list[ConceptVector]:
    """Return the vectors of the words that random ones take after, extracted as a design's own are."""
    words = background_words(design)
    if not words or design.concepts is None:
        return []
    layers = sorted(set(source_layers(design, injector.model.n_layers).values()))
    baseline, how = design.concepts.baseline, design.recipe
    return extract(injector, words, layers, recipe=how, baseline=baseline, date=day, known=known, progress=progress)


def run_so_far(store: Store | None, design: Design) -> tuple[list[ConceptVector], datetime.date]:
    """Return the vectors that a run has already and the date of its prompts, or none and the design's day."""
    if store is None:
        return [], design.day
    stated = store.spec()["design"].get("date")
    try:
        day = None if stated is None else datetime.date.fromisoformat(stated)
    except (TypeError, ValueError) as error:
        raise StoreError(
            explain(f"{store.path}: design.date", required="a date, as 2026-07-26", got=stated, hint="It is damaged.")
        ) from error
    return store.vectors(), design.date or day or design.day


def vectors_of(
    design: Design, injector: Injector, known: Sequence[ConceptVector], day: datetime.date, progress: bool | Bars
) -> list[ConceptVector]:
    """Return all vectors of a design: given ones, the run's own, and extracted what is missing."""
    given = [*design.vectors, *(v for b in design.beside for v in b.vectors)]
    of = {v.concept for v in design.vectors}
    missing = [c for c in design.concepts or () if c.name not in of]
    if not missing or not design.layers or design.concepts is None:
        return given
    layers = sorted(set(source_layers(design, injector.model.n_layers).values()))
    for layer in layers:
        injector.check_layer(layer)
    baseline, how = design.concepts.baseline, design.recipe
    found = extract(injector, missing, layers, recipe=how, baseline=baseline, date=day, known=known, progress=progress)
    return [*given, *found]
