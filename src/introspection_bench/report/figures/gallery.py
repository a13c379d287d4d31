"""Which figures a run gets: one place decides, for the HTML report and for the files beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pandas as pd

from ...analysis.agreement import Agreement
from ...analysis.cells import cell_name, groups, is_missing, layers_label, telling
from ...analysis.dose import DOSE_COLUMNS
from ...analysis.rates import rates
from ...analysis.selection import controls, dosed, scored, shown_of
from ...conditions import CELL_COLUMNS, INJECTED, layers_text
from ...effects import DoseEffect, Effects
from ...results import JudgeName
from ..doses import Doses
from ..multiverse import OUTCOMES, Multiverse
from ..wording import listing, magnitude_axis, plural, unit_name
from .drawings import against_controls, agreement_matrix, crossover, layer_panels, rate_map
from .effects import effect_curves
from .judged import judge_rates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Beyond this many lines a forest plot is a wall; then concepts are pooled.
_MOST_LINES = 36
#: Beyond this many concepts a figure of all of them together comes first.
_MANY_CONCEPTS = 6


@attrs.frozen
class Plate:
    """One figure of a run: a file stem, a caption with n, a text that replaces it, and a function of ``theme``.

    ``wide`` is as wide as the page; ``ramped`` has cells filled by a share. ``one_judge``: what it shows is one judge's
    verdicts.
    """

    stem: str
    caption: str
    alt: str
    draw: Callable[..., Figure]
    wide: bool = False
    ramped: bool = False
    one_judge: bool = False


def gallery(
    frame: pd.DataFrame,
    doses: Doses | None = None,
    comparisons: Sequence[tuple[JudgeName, JudgeName, Agreement]] = (),
    judged: Multiverse | None = None,
    effects: Effects | None = None,
) -> list[Plate]:
    """Return the figures of a run, in reading order; where nothing is scored, those of ``effects`` alone.

    First, where there are several judgements, the rates under each (``judged``); then, per scaffold, rates against
    controls; then, per arm and concept, identifies and coherent against magnitude (stacked by layer where there are
    several); what the doses do to neutral prompts (``effects``); then how judges agree (``comparisons``); then, where
    both vary, maps of layer by magnitude.
    """
    scored_any = not frame.empty and frame["unscored"].isna().any()
    plates = [*_judged(judged), *_forests(frame), *_crossovers(frame, doses)] if scored_any else []
    plates += _effects(effects or Effects())
    plates += [*_agreements(comparisons), *_maps(frame)] if scored_any else []
    stems: Counter[str] = Counter()
    named = []
    for plate in plates:
        # Different names may leave the same letters; the second must not overwrite the first one's file.
        stems[plate.stem] += 1
        count = stems[plate.stem]
        named.append(plate if count == 1 else attrs.evolve(plate, stem=f"{plate.stem}--{count}"))
    return named


def _judged(found: Multiverse | None) -> Iterator[Plate]:
    if found is None:
        return
    names = list(dict.fromkeys(found.table["judgement"]))
    shown = [o for o in OUTCOMES if o in set(found.table["outcome"])]
    yield Plate(
        "judges",
        f"{found.title}. Rates under {plural(len(names), 'judgement')}, with 95 % intervals about these concepts; "
        "hollow marks are controls.",
        f"Dots with intervals: {listing(shown)} under {listing(names)}; the table under Judges has the numbers.",
        partial(judge_rates, found.table, outcomes=shown, title=found.title),
        wide=True,
    )


def _forests(frame: pd.DataFrame) -> Iterator[Plate]:
    for (scaffold,), part in frame.groupby(["scaffold"], sort=True):
        by = [*CELL_COLUMNS, "truth"]
        if part.groupby(by, dropna=False).ngroups > _MOST_LINES:
            by.remove("concept")
        if part.groupby(by, dropna=False).ngroups > _MOST_LINES:
            continue  # the maps show it
        outcomes = [o for o in _asked(part) if o != "immediate"]
        if not outcomes:
            continue
        table = rates(part, by, outcomes=outcomes)
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
            one_judge=True,
        )


@attrs.frozen
class _Series:
    """The scored trials of one curve over all layers: what one dose-response figure shows.

    ``cell`` holds the columns of :data:`~introspection_bench.analysis.dose.DOSE_COLUMNS` without ``layers``, and
    without ``concept`` where ``pooled`` concepts are taken together (0: it is one concept's own). ``who`` names it.
    """

    cell: Mapping[str, Any]
    who: str
    trials: pd.DataFrame
    pooled: int = 0

    @property
    def scaffold(self) -> str:
        return str(self.cell["scaffold"])

    @property
    def unit(self) -> Any:
        return self.cell["unit"]

    @property
    def stem(self) -> str:
        return "-".join(map(_slug, (self.who, self.scaffold, unit_name(self.unit))))


def _series(frame: pd.DataFrame) -> Iterator[_Series]:
    given = scored(dosed(frame))
    by = [c for c in DOSE_COLUMNS if c != "layers"]
    named = telling(given, ("arm", "concept"), ("scaffold", "layers", "magnitude", "unit"))
    for cell, part in groups(given, [c for c in by if c != "concept"]):
        concepts = part["concept"].nunique(dropna=False)
        if concepts > _MANY_CONCEPTS:
            # Injections need no name beside the concepts.
            others = cell_name(cell, named) if cell["arm"] != INJECTED or len(named) > 2 else ""
            who = " · ".join(filter(None, (f"{concepts} concepts pooled", others)))
            yield _Series(cell, who, part, concepts)
    for cell, part in groups(given, by):
        yield _Series(cell, cell_name(cell, named), part)


def _crossovers(frame: pd.DataFrame, doses: Doses | None) -> Iterator[Plate]:
    for series in _series(frame):
        part = series.trials
        if part["magnitude"].nunique() < 2 or len(_asked(part, ("identifies", "coherent"))) < 2:
            continue
        table = rates(part, ["layers", "magnitude", "unit"], outcomes=["identifies", "coherent"])
        layers = part["layers"].nunique(dropna=False)
        where = layers_label(part["layers"].iloc[0]) if layers == 1 and part["layers"].notna().all() else ""
        title = ", ".join(filter(None, (series.who, series.scaffold, where)))
        fitted = doses is not None and part["truth"].eq("injected").all() and not series.pooled
        found = doses.of(series.cell) if doses is not None and fitted else None
        draw = _crossover(table, found, title) if layers == 1 else _panels(table, found, title)
        yield Plate(
            f"crossover-{series.stem}",
            f"{series.who} under {series.scaffold}, {where or plural(layers, 'layer')}: how often the concept is named "
            f"(identifies) and how often the reply is coherent, against {magnitude_axis(series.unit)}. Exact 95 % "
            f"intervals; {plural(len(part), 'scored trial')}. "
            + ("Points are joined." if found is None else found.sentence)
            + (" The intervals treat trials of one concept as independent." if series.pooled else ""),
            f"Chart of identifies and coherent against magnitude for {series.who} under {series.scaffold}.",
            draw,
            one_judge=True,
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


def _effects(effects: Effects) -> Iterator[Plate]:
    found: dict[tuple[str, tuple[int, ...], str], list[DoseEffect]] = {}
    for row in effects:
        found.setdefault((row.model, row.layers, row.dose.unit.value), []).append(row)
    several = len({model for model, _, _ in found}) > 1
    for (model, layers, unit), rows in found.items():
        where = layers_label(layers_text(layers)) + (f" of {model}" if several else "")
        yield Plate(
            f"effects-{_slug(where)}-{unit}",
            f"What doses at {where} do to the next token of neutral prompts, against {magnitude_axis(unit)}; medians "
            "over the prompts, one line for each concept. A filled marker is a live dose: its gain exceeds that of "
            "every random vector of the same norm (grey dashes, below). Above, the divergence from the unsteered "
            "distribution, and its median over the random vectors.",
            f"Chart of divergence and gain against magnitude at {where}; the table of effects has the numbers.",
            partial(effect_curves, Effects(rows), title=where),
        )


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
            ramped=True,
        )


def _maps(frame: pd.DataFrame) -> Iterator[Plate]:
    for series in _series(frame):
        part = series.trials
        if part["layers"].nunique() < 2 or part["magnitude"].nunique() < 2:
            continue
        outcomes = [o for o in _asked(part) if o not in ("immediate", "strict")]
        if not outcomes:
            continue
        table = rates(part, ["layers", "magnitude", "unit"], outcomes=outcomes)
        for outcome in outcomes:
            yield Plate(
                f"map-{outcome}-{series.stem}",
                f"{series.who} under {series.scaffold}: {outcome} by layer and magnitude. Each cell gives count and "
                f"scored trials; hatched cells have none. {plural(len(part), 'scored trial')}.",
                f"Heat map of {outcome} over layer and magnitude for {series.who} under {series.scaffold}.",
                partial(rate_map, table, outcome=outcome, title=f"{series.who}, {series.scaffold}"),
                ramped=True,
                one_judge=True,
            )


def _asked(part: pd.DataFrame, outcomes: Sequence[str] | None = None) -> list[str]:
    """Return the outcomes, by default those of tables, that some verdict gives: a rubric need not ask all."""
    return [o for o in (shown_of(part) if outcomes is None else outcomes) if part[o].notna().any()]


def _slug(text: Hashable) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in str(text).lower())
    return "-".join(part for part in kept.split("-") if part)[:40] or "unnamed"
