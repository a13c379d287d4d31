"""How a run departs from the plan that was frozen before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ..boundaries import checked, guarded
from ..digests import canonical_json
from ..errors import AnalysisError, SpecError, explain
from ..plans import FrozenPlan
from ..results import JudgeName, Results
from ..structuring import plain
from ..trials import TrialPart
from .searching import search_of, searched
from .stopping import stopped, stopping_of

NOT_STATED = "(not stated)"
#: By which field a table in a list is told from the others.
_TAGS = ("arm", "name", "measure")
#: What the trials' verdicts say better than the specification: a run may be judged again by anybody.
_BY_VERDICTS = ("judge.name", "judge.judged")
#: Facts of a model by which it is compared, which alter no reply and may be stated at any time.
_NO_MATTER = "model.facts"
#: Settled by the plan only where the plan states it: else it is the day on which the run was planned.
_IF_STATED = ("design.date",)


@guarded(AnalysisError)
@attrs.frozen
class Departure:
    """One field in which a run is not what was frozen, with both values as text."""

    field: str
    frozen: str
    run: str

    @property
    def sentence(self) -> str:
        """The departure in words."""
        return f"{self.field}: frozen {self.frozen}, run {self.run}."


@checked(AnalysisError)
def frozen_plan(results: Results) -> FrozenPlan | None:
    """Return the plan that a run was begun under; None without one.

    Raises :class:`AnalysisError` where what stands there is not what was frozen.
    """
    told = results.spec.get("frozen")
    try:
        return None if told is None else FrozenPlan.from_told(told, f"{results.name}: frozen")
    except SpecError as error:
        raise AnalysisError(str(error)) from error


@checked(AnalysisError)
def departures(
    results: Results, frozen: FrozenPlan | None = None, *, judge: JudgeName | None = None
) -> tuple[Departure, ...]:
    """Return every field in which a run departs from a frozen plan; none where it is as frozen.

    Args:
        results: the whole run.
        frozen: the plan; None: the one that the run was begun under.
        judge: whose verdicts are analysed; None: whoever gave any.

    Returns:
        Fields of the specification by their dotted paths, arms, scaffolds, items, measures and the like by their names;
        ``judge.name`` and ``judge.judged`` from the verdicts; ``trials`` by part and arm, where there are fewer or more
        than planned; and ``frozen`` itself where the run was begun without this plan.

    Raises:
        AnalysisError: no plan was given, and the run was begun without one.
    """
    own = frozen_plan(results)
    plan = frozen or own
    if plan is None:
        raise AnalysisError(
            explain(
                "frozen",
                required="a frozen plan, or a run that was begun under one",
                got="neither",
                hint="introspection-bench freeze SPEC, then run SPEC --frozen FILE.",
            )
        )
    pairs = [("frozen", plan.digest, own.digest if own is not None else "begun without a frozen plan")]
    pairs += _specified(plan, results)
    pairs += _judged(plan, results, judge)
    pairs += _counted(plan, results)
    return tuple(Departure(field, str(before), str(now)) for field, before, now in pairs if before != now)


def _specified(plan: FrozenPlan, results: Results) -> Iterator[tuple[str, str, str]]:
    frozen, run = {**plan.spec}, {name: results.spec.get(name) for name in plan.spec}
    if results.spec.get("plan") is not None:  # a run from Python may leave it to the frozen plan alone
        frozen["plan"], run["plan"] = plain(plan.plan), results.spec["plan"]
    before, now = (dict(leaf for name, told in spec.items() for leaf in _leaves(told, name)) for spec in (frozen, run))
    for field in sorted({*before, *now} - {*_BY_VERDICTS}):
        if field.startswith(_NO_MATTER):
            continue
        if field not in _IF_STATED or before.get(field) != canonical_json(None):
            yield field, before.get(field, NOT_STATED), now.get(field, NOT_STATED)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield dotted paths with values as JSON; of lists of tables under these tables' names, or their numbers."""
    if isinstance(value, list | tuple) and value and all(isinstance(v, Mapping) for v in value):
        tags = [next((str(v[t]) for t in _TAGS if t in v), str(n)) for n, v in enumerate(value, 1)]
        if len(set(tags)) == len(tags):
            value = dict(zip(tags, value, strict=True))
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}")
    else:
        # An empty table and nothing at all say the same.
        yield path, canonical_json(plain(value) if value not in ({}, [], ()) else None)


def _judged(plan: FrozenPlan, results: Results, judge: JudgeName | None) -> Iterator[tuple[str, str, str]]:
    told = plan.spec.get("judge") or {}
    judges = tuple(j for j in results.judges if j.asked == "own") if judge is None else (judge,)
    yield "judge.name", str(told.get("name")), ", ".join(sorted({j.judge for j in judges})) or "not judged"
    if judges:
        yield "judge.judged", str(told.get("judged")), ", ".join(sorted({j.judged for j in judges}))


def _counted(plan: FrozenPlan, results: Results) -> Iterator[tuple[str, str, str]]:
    planned = Counter({(a.part, a.arm): a.trials for a in plan.arms})
    recorded = Counter((r.trial.part, r.arm) for r in results if r.repeat_of is None)
    fewest = {(a.part, a.arm): a.fewest for a in plan.arms}
    for place in dict.fromkeys([*planned, *recorded]):
        part, arm = place
        if not fewest.get(place, 1) <= recorded[place] <= planned[place]:
            yield ".".join(filter(None, ("trials", part, arm))), str(planned[place]), str(recorded[place])
    search = search_of(plan.spec)
    if search is not None:
        searching: TrialPart | None = "selection" if plan.spec.get("confirm") else None
        mine = (searching, search[0].arm)
        if 0 < recorded[mine] < planned[mine]:
            still = sum(curve.said == "open" for curve in searched(results.records, *search).curves)
            ended = "no curve open, or the whole budget"
            yield "trials", ended, f"{still} curves open, {recorded[mine]} trials" if still else ended
    rule = stopping_of(plan.spec)
    if rule is not None and 0 < recorded[None, rule.arm] < planned[None, rule.arm]:
        still = sum(cell.said == "open" for cell in stopped(results.records, rule).cells)
        ended = "no cell open, or all rounds"
        yield "trials", ended, f"{still} cells open, {recorded[None, rule.arm]} trials" if still else ended
