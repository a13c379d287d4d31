"""Models side by side: what differs between families, sizes, tunings or quantisations, matched where they can be."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import pandas as pd

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from ..results import Results
from .binomial import check_probability
from .by_concept import ByConcept, by_concept
from .cells import groups, is_missing
from .compare import holm
from .contrast import Contrast, contrast_pairs, in_words
from .model_runs import FACTORS, ModelRun, model_runs
from .rates import rates
from .selection import check_grouping, check_outcomes, shown_of

#: By which columns the cells of two models are matched; ``depth`` stands for the layers.
CELLS = ("scaffold", "arm", "depth", "magnitude", "unit", "span", "beside")
#: Facts by which models are matched while another one is compared.
_HELD = ("family", "architecture", "size", "tuning", "quantisation", "template")
#: What a factor brings with it, and is not held fast beside it.
_BRINGS = {"family": ("architecture",), "architecture": ("family",)}
_CONTRASTS = {
    "first": "string",
    "second": "string",
    "arm": "string",
    "unit": "string",
    "outcome": "string",
    "cells": "Int64",
    "k_first": "Int64",
    "n_first": "Int64",
    "rate_first": "float64",
    "k_second": "Int64",
    "n_second": "Int64",
    "rate_second": "float64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "low_like": "float64",
    "high_like": "float64",
    "p": "float64",
    "p_holm": "float64",
    "also": "string",
    "verdict": "string",
}


@guarded(AnalysisError)
@attrs.frozen
class FactorComparison:
    """What differs between the levels of a factor.

    ``factor`` is one of :data:`FACTORS` and ``levels`` are those that there are, sizes in ascending order. ``models``
    has one row per model with its facts and its number of ``trials``.

    ``rates`` is :func:`rates` by level and cell, with ``depth`` in the place of the layers.

    ``contrasts`` has one row per pair of levels, arm, unit and outcome over matching ``cells``: ``k n rate`` of the
    ``first`` and the ``second``; ``difference`` (second less first) with its interval ``low`` to ``high`` on these
    concepts and ``low_like`` to ``high_like`` over concepts like these; the exact ``p`` and ``p_holm``, adjusted over
    the rows of that outcome; ``also``, in which other facts the models differ; ``verdict``. All are NaN where no cell
    matches, or an arm has no verdict: then ``verdict`` is "can't be said".

    ``said`` are the sentences: what cannot be told apart, what is not known, and each contrast in words. The intervals
    are over concepts: of other models of a level nothing is said.
    """

    factor: str
    levels: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    models: pd.DataFrame = attrs.field(eq=False, repr=False)
    rates: pd.DataFrame = attrs.field(eq=False, repr=False)
    contrasts: pd.DataFrame = attrs.field(eq=False, repr=False)
    confidence: float
    said: tuple[str, ...] = attrs.field(converter=frozen_tuple)


@attrs.frozen
class _Sides:
    """The trials of two levels that are held against each other, block by block, and what the blocks do not hold."""

    blocks: Sequence[tuple[pd.DataFrame, pd.DataFrame]]
    also: tuple[str, ...]


@checked(AnalysisError)
def compare_models(
    results: Results | Sequence[Results],
    *,
    by: str = "model",
    judge: str | None = None,
    rubric: str | None = None,
    outcomes: Sequence[str] | None = None,
    confidence: float = 0.95,
    margin: float | None = None,
) -> FactorComparison:
    """Compare models by a factor: a study's, or those of several runs.

    Two levels are compared on models that are alike in all other facts, where there are such; else on models that
    differ in as few others as possible, which are then named: what is due to which can't be told. Within them cells are
    matched by scaffold, arm, depth, dose as asked for, span and further steers, and within cells concepts.

    Args:
        results: several, of one model each, or those of a study (:meth:`~introspection_bench.sweep.Study.results`).
        by: the factor, one of :data:`FACTORS`.
        judge: whose verdicts are compared; None where each trial has only one verdict.
        rubric: likewise.
        outcomes: which rates; None: ``strict`` and the criteria that some verdict answers.
        confidence: of the intervals.
        margin: the largest difference of rates that counts as none, given before the data; None claims no equivalence.

    Raises:
        AnalysisError: an unknown factor or outcome, fewer than two levels, a model of which the factor is not known,
            or an argument out of range.

    Source: :func:`contrast_pairs`; Holm 1979 (statsmodels).
    """
    check_probability("confidence", confidence)
    if margin is not None:
        check_probability("margin", margin)
    runs = model_runs(results, judge=judge, rubric=rubric)
    levels = _levels(runs, by)
    named = [run.frame.assign(level=run.levels[by], run=place) for place, run in enumerate(runs)]
    whole = pd.concat(named, ignore_index=True)
    whole["level"] = whole["level"].astype("string")
    check_grouping(whole, CELLS)
    outcomes = shown_of(whole) if outcomes is None else outcomes
    check_outcomes(whole, outcomes)
    rows, said = [], []
    # A ratio and an effect ask for different things: what is pooled is of one unit.
    arms = [group for group, _ in groups(whole, ["arm", "unit"])]
    for first, second in itertools.combinations(levels, 2):
        sides = _sides(runs, by, first, second)
        for arm, outcome in itertools.product(arms, outcomes):
            pairs = list(_pairs(sides, arm, outcome))
            found = contrast_pairs(pairs, margin=margin, confidence=confidence) if pairs else None
            rows.append({"first": first, "second": second, **arm, "outcome": outcome, **_row(found, pairs, sides)})
            said.append(_sentence((first, second), _arm_text(arm), outcome, found, len(pairs)))
    contrasts = pd.DataFrame(rows, columns=list(_CONTRASTS))
    contrasts["p_holm"] = contrasts.groupby("outcome", sort=False)["p"].transform(holm)
    shown = rates(whole, ["level", *CELLS], confidence=confidence, outcomes=outcomes).rename(columns={"level": by})
    return FactorComparison(
        by,
        levels,
        _models(runs),
        shown,
        contrasts.astype(_CONTRASTS),
        confidence,
        [*_cautions(runs, by, contrasts), *said],
    )


def _levels(runs: Sequence[ModelRun], by: str) -> tuple[str, ...]:
    if by not in FACTORS:
        raise AnalysisError(
            explain("by", required=f"one of {list(FACTORS)}", got=by, hint="See the docs' page studies.")
        )
    unknown = [run.name for run in runs if run.levels[by] is None]
    if unknown:
        raise AnalysisError(
            explain(
                f"by {by}",
                required=f"the {by} of every model",
                got=f"none of {unknown}",
                hint="State it in the study: [models.facts], see the docs' page studies.",
            )
        )
    ordered = sorted(runs, key=lambda run: run.facts.parameters or 0) if by == "size" else runs
    levels = tuple(dict.fromkeys(str(run.levels[by]) for run in ordered))
    if len(levels) < 2:
        raise AnalysisError(
            explain(f"by {by}", required="models of two levels at least", got=list(levels), hint="Add another model.")
        )
    return levels


def _sides(runs: Sequence[ModelRun], by: str, first: str, second: str) -> _Sides:
    """Return two levels' trials by blocks of models that differ in as few other facts as there are blocks for."""
    held = [fact for fact in _HELD if fact != by and fact not in _BRINGS.get(by, ())]
    for freed in range(len(held) + 1):
        for also in itertools.combinations(held, freed):
            blocks: dict[tuple[str | None, ...], tuple[list[pd.DataFrame], list[pd.DataFrame]]] = {}
            for run in runs:
                if run.levels[by] in (first, second):
                    alike = tuple(run.levels[fact] for fact in held if fact not in also)
                    blocks.setdefault(alike, ([], []))[run.levels[by] == second].append(run.frame)
            both = [(pd.concat(a), pd.concat(b)) for a, b in blocks.values() if a and b]
            if both:
                return _Sides(both, also)
    raise AssertionError("with every fact freed there is one block")


def _pairs(sides: _Sides, arm: Mapping[str, Any], outcome: str) -> Iterator[tuple[ByConcept, ByConcept]]:
    """Yield the matching cells of an arm as the second level and the first, where both have verdicts on the outcome."""
    for block in sides.blocks:
        cells = [
            {tuple(map(str, group.values())): part for group, part in groups(_of_arm(side, arm), CELLS)}
            for side in block
        ]
        for cell, part in cells[0].items():
            both = [by_concept(each, outcome) for each in (part, cells[1].get(cell)) if each is not None]
            if len(both) == 2 and both[0] is not None and both[1] is not None:
                yield both[1], both[0]


def _row(found: Contrast | None, pairs: Sequence[Any], sides: _Sides) -> dict[str, Any]:
    also = ", ".join(sides.also) or None
    if found is None:
        return {"cells": 0, "p": math.nan, "also": also, "verdict": "can't be said"}
    counted: dict[str, Any] = {}
    for side, counts in (("first", found.second), ("second", found.first)):
        k, n = sum(counts.successes), sum(counts.trials)
        counted |= {f"k_{side}": k, f"n_{side}": n, f"rate_{side}": counts.rate}
    like = (found.like.low, found.like.high) if found.like and found.like.said else (math.nan, math.nan)
    return {
        "cells": len(pairs),
        **counted,
        "difference": found.these.estimate,
        "low": found.these.low,
        "high": found.these.high,
        "low_like": like[0],
        "high_like": like[1],
        "p": found.p,
        "also": also,
        "verdict": found.verdicts[0].verdict if found.verdicts else in_words(found.these),
    }


def _of_arm(frame: pd.DataFrame, arm: Mapping[str, Any]) -> pd.DataFrame:
    unit = frame["unit"].isna() if is_missing(arm["unit"]) else (frame["unit"] == arm["unit"]).fillna(value=False)
    found: pd.DataFrame = frame[(frame["arm"] == arm["arm"]) & unit]
    return found


def _arm_text(arm: Mapping[str, Any]) -> str:
    return str(arm["arm"]) if is_missing(arm["unit"]) else f"{arm['arm']} ({arm['unit']})"


def _sentence(levels: tuple[str, str], arm: str, outcome: str, found: Contrast | None, cells: int) -> str:
    first, second = levels
    if found is None:
        return (
            f"{arm}, {outcome}: {second} less {first} can't be said: no cell of both has a verdict on it "
            "(they are matched by depth and by the dose that was asked for)."
        )
    counts = [f"{sum(c.successes):,} of {sum(c.trials):,}" for c in (found.first, found.second)]
    over = f" over {cells:,} matching cells" if cells > 1 else ""
    told = " ".join(found.sentences)
    return f"{arm}, {outcome}: {second} ({counts[0]}) less {first} ({counts[1]}){over}. {told}"


def _cautions(runs: Sequence[ModelRun], by: str, contrasts: pd.DataFrame) -> list[str]:
    """Return what a reader must know of these models before any number."""
    said = []
    for (first, second), part in contrasts.groupby(["first", "second"], sort=False):
        also = part["also"].dropna().unique()
        if len(also):
            differing = _listed(str(also[0]).split(", "))
            due = "to which of these" if by == "model" else f"to the {by}"
            said.append(
                f"{first} and {second} differ {'' if by == 'model' else 'also '}in {differing}: "
                f"what of a difference is due {due} can't be said."
            )
        else:
            said.append(f"{first} and {second} are compared on models that are alike in all other known facts.")
    for fact in _HELD:
        unknown = [run.name for run in runs if run.levels[fact] is None]
        if unknown:
            said.append(f"Not stated: {fact} of {_listed(unknown)}; whether it differs is not known.")
    designs = [{k: v for k, v in run.design.items() if k != "date"} for run in runs if run.design]
    other = sorted({k for d in designs for k in d if d[k] != designs[0].get(k)})
    if other:
        said.append(f"The designs differ in {_listed(other)}; only cells that match are compared.")
    if by != "model":
        each = _listed([f"{level} {n}" for level, n in Counter(run.levels[by] for run in runs).items()])
        said.append(f"Models of each level: {each}. Intervals are over concepts; of other models nothing is said.")
    tests = int(contrasts["p"].notna().sum())
    if tests > 1:
        said.append(f"{tests} contrasts: no interval is adjusted for choosing among them; p_holm is, by outcome.")
    return said


def _models(runs: Sequence[ModelRun]) -> pd.DataFrame:
    rows: list[Mapping[str, Any]] = [
        {**run.levels, "parameters": run.facts.parameters, "trials": len(run.frame)} for run in runs
    ]
    return pd.DataFrame(rows, columns=[*FACTORS, "parameters", "trials"]).astype(
        {**dict.fromkeys(FACTORS, "string"), "parameters": "Int64", "trials": "Int64"}
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
