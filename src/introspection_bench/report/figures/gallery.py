"""Which figures a run gets: one place decides, for the HTML report and for the files beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pandas as pd

from ...analysis.agreement import Agreement
from ...analysis.rates import rates
from ...arms import INJECTED, RANDOM, label
from ...frames import controls, dosed, scored
from ...results import JudgeName
from ..doses import Doses
from ..wording import is_missing, listing, magnitude_axis, plural, unit_name
from .drawings import against_controls, agreement_matrix, crossover, layer_panels, rate_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GROUP = ["scaffold", "arm", "concept", "layer", "magnitude", "unit"]
#: Beyond this many lines a forest plot is a wall; then concepts are pooled.
_MOST_LINES = 36
#: Beyond this many concepts a figure of all of them together comes first.
_MANY_CONCEPTS = 6


@attrs.frozen
class Plate:
    """One figure of a run: a file stem, a caption with n, a text that replaces it, and a function of ``theme``."""

    stem: str
    caption: str
    alt: str
    draw: Callable[..., Figure]
    wide: bool = False


def gallery(
    frame: pd.DataFrame,
    doses: Doses | None = None,
    comparisons: Sequence[tuple[JudgeName, JudgeName, Agreement]] = (),
) -> list[Plate]:
    """Return the figures of a run, in reading order; none where nothing is scored.

    First, per scaffold, rates against controls; then, per concept, identifies and coherent against
    magnitude (stacked by layer where there are several); then how judges agree (``comparisons``); then, where both
    vary, maps of layer by magnitude.
    """
    if frame.empty or not frame["unscored"].isna().any():
        return []
    plates = [*_forests(frame), *_crossovers(frame, doses), *_agreements(comparisons), *_maps(frame)]
    stems: Counter[str] = Counter()
    named = []
    for plate in plates:
        # Different names may leave the same letters; the second must not overwrite the first one's file.
        stems[plate.stem] += 1
        count = stems[plate.stem]
        named.append(plate if count == 1 else attrs.evolve(plate, stem=f"{plate.stem}--{count}"))
    return named


def _forests(frame: pd.DataFrame) -> Iterator[Plate]:
    for (scaffold,), part in frame.groupby(["scaffold"], sort=True):
        by = list(_GROUP)
        if part.groupby(by, dropna=False).ngroups > _MOST_LINES:
            by.remove("concept")
        if part.groupby(by, dropna=False).ngroups > _MOST_LINES:
            continue  # the maps show it
        outcomes = _asked(part, ("affirmative", "identifies", "coherent", "strict"))
        if not outcomes:
            continue
        table = rates(part, by)
        pooled = "" if "concept" in by else " Concepts are pooled."
        noises = len(scored(controls(part)))
        shade = (
            f" The shaded band is the interval of the {plural(noises, 'scored control')}."
            if noises
            else " There is no scored control to compare with."
        )
        yield Plate(
            f"rates-{_slug(scaffold)}",
            f"Rates under {scaffold} with exact 95 % intervals, {plural(len(part), 'trial')}.{pooled}{shade}",
            f"Dots with intervals: {listing(outcomes)} by cell of {scaffold}; the table of cells has numbers.",
            partial(against_controls, table, outcomes=outcomes, title=str(scaffold)),
            wide=True,
        )


@attrs.frozen
class _Series:
    """The scored trials of one scaffold, arm, concept and unit: what one dose-response figure shows.

    ``pooled`` is how many concepts are taken together, 0 where it is one concept's own series.
    """

    scaffold: str
    arm: str
    concept: Any
    unit: Any
    trials: pd.DataFrame
    pooled: int = 0

    @property
    def who(self) -> str:
        name = "no concept" if is_missing(self.concept) else str(self.concept)
        name = f"{self.pooled} concepts pooled" if self.pooled else name
        arm = label(self.arm) + ("s" if self.pooled and self.arm == RANDOM else "")
        return f"{name} ({arm})" if arm else name


def _series(frame: pd.DataFrame) -> Iterator[_Series]:
    given = scored(dosed(frame))
    by = ["scaffold", "arm", "concept", "unit"]
    for (scaffold, arm, unit), part in given.groupby(["scaffold", "arm", "unit"], sort=True, dropna=False):
        concepts = part["concept"].nunique(dropna=False)
        if concepts > _MANY_CONCEPTS:
            yield _Series(str(scaffold), str(arm), None, unit, part, concepts)
    for (scaffold, arm, concept, unit), part in given.groupby(by, sort=True, dropna=False):
        yield _Series(str(scaffold), str(arm), concept, unit, part)


def _crossovers(frame: pd.DataFrame, doses: Doses | None) -> Iterator[Plate]:
    for series in _series(frame):
        part = series.trials
        if part["magnitude"].nunique() < 2 or len(_asked(part, ("identifies", "coherent"))) < 2:
            continue
        table = rates(part, ["layer", "magnitude", "unit"], outcomes=["identifies", "coherent"])
        layers = part["layer"].nunique(dropna=False)
        where = f"layer {part['layer'].iloc[0]}" if layers == 1 and part["layer"].notna().all() else ""
        title = ", ".join(filter(None, (series.who, series.scaffold, where)))
        found = (
            None
            if doses is None or series.arm != INJECTED or series.pooled
            else doses.of(series.scaffold, series.concept, series.unit)
        )
        draw = _crossover(table, found, title) if layers == 1 else _panels(table, found, title)
        yield Plate(
            f"crossover-{_slug(series.who)}-{_slug(series.scaffold)}-{_slug(unit_name(series.unit))}",
            f"{series.who} under {series.scaffold}, {where or plural(layers, 'layer')}: how often the concept is named "
            f"(identifies) and how often the reply is coherent, against {magnitude_axis(series.unit)}. Exact 95 % "
            f"intervals; {plural(len(part), 'scored trial')}. "
            + ("Points are joined." if found is None else found.sentence)
            + (" The intervals treat trials of one concept as independent." if series.pooled else ""),
            f"Chart of identifies and coherent against magnitude for {series.who} under {series.scaffold}.",
            draw,
        )


def _crossover(table: pd.DataFrame, doses: Doses | None, title: str) -> Callable[..., Figure]:
    if doses is None:
        return partial(crossover, table, title=title)
    mark = doses.marks().iloc[0]
    crossing = None if is_missing(float(mark["crossing"])) else float(mark["crossing"])
    return partial(crossover, table, curves=doses.curves(), crossing=crossing, kind=str(mark["kind"]), title=title)


def _panels(table: pd.DataFrame, doses: Doses | None, title: str) -> Callable[..., Figure]:
    if doses is None:
        return partial(layer_panels, table, title=title)
    return partial(layer_panels, table, curves=doses.curves(), crossings=doses.marks(), title=title)


def _agreements(comparisons: Sequence[tuple[JudgeName, JudgeName, Agreement]]) -> Iterator[Plate]:
    for number, (first, second, found) in enumerate(comparisons):
        tables = {
            f"{c.criterion}, κ = {'none' if math.isnan(c.kappa) else f'{c.kappa:.2f}'}": c.frame()
            for c in found.criteria
            if c.n
        }
        names = [f"{j.judge}/{j.rubric}" for j in (first, second)]
        if names[0] == names[1]:
            names = [str(first), str(second)]
        yield Plate(
            f"agreement-{number + 1}",
            f"How the answers of {first} (rows) and {second} (columns) fall together, "
            f"{found.both_scored:,} replies scored by both. κ is Cohen's.",
            f"Confusion matrices of {first} and {second}, one per criterion; the agreement table has the numbers.",
            partial(agreement_matrix, tables, judges=(names[0], names[1])),
            wide=True,
        )


def _maps(frame: pd.DataFrame) -> Iterator[Plate]:
    for series in _series(frame):
        part = series.trials
        if part["layer"].nunique() < 2 or part["magnitude"].nunique() < 2:
            continue
        outcomes = _asked(part, ("identifies", "coherent", "affirmative"))
        if not outcomes:
            continue
        table = rates(part, ["layer", "magnitude", "unit"], outcomes=outcomes)
        for outcome in outcomes:
            yield Plate(
                f"map-{outcome}-{_slug(series.who)}-{_slug(series.scaffold)}-{_slug(unit_name(series.unit))}",
                f"{series.who} under {series.scaffold}: {outcome} by layer and magnitude. Each cell gives count and "
                f"scored trials; hatched cells have none. {plural(len(part), 'scored trial')}.",
                f"Heat map of {outcome} over layer and magnitude for {series.who} under {series.scaffold}.",
                partial(rate_map, table, outcome=outcome, title=f"{series.who}, {series.scaffold}"),
            )


def _asked(part: pd.DataFrame, outcomes: Sequence[str]) -> list[str]:
    """Return the outcomes that some verdict gives: a rubric need not ask all."""
    return [o for o in outcomes if part[o].notna().any()]


def _slug(text: Hashable) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in str(text).lower())
    return "-".join(part for part in kept.split("-") if part)[:40] or "unnamed"
