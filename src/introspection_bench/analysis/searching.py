"""Runs that search over the dose: the rule, what each curve has said, and bounds that hold although it was adaptive."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import numpy as np

from ..boundaries import checked, guarded
from ..conditions import INJECTED, Condition, layers_text
from ..doses import Dose
from ..errors import AnalysisError, InjectionError, SpecError, explain
from ..freezing import frozen_ints, frozen_tuple, plain_float
from ..trials import TrialRecord
from .binomial import bounds, check_probability, percent
from .crossing import Crossing, fit_crossing
from .stopping import CellSoFar, anytime_bounds, met_by

#: ``found``: the crossing is known as well as the rule asks; ``nothing``: what rises is too rare wherever the other is
#: still there.
Settled = Literal["found", "nothing", "open"]
#: Curves that a sentence lists.
_LISTED = 8
#: Significant digits of a dose that is asked, so that it can be read and written.
_DIGITS = 3


@guarded(AnalysisError)
@attrs.frozen
class Search:
    """How a run searches over the dose, stated before anything is run.

    A curve is a scaffold, a concept and a layer (or band); its doses are ``steps`` ones, evenly spaced in their logs
    from the lower to the higher of the design's two.

    Attributes:
        trials: the budget: trials of the arm for each curve. What a settled curve leaves over goes to the others.
        steps: how many doses may be asked, the two limits among them.
        batch: trials of each open curve before verdicts are looked at again; the first are spread over all doses.
        rising: the outcome that grows with the dose; "not applicable" counts as not met.
        falling: the one that shrinks.
        precision: a curve is settled once its crossing is known within this factor to either side, twice in a row.
        floor: or once the rising outcome is shown to be no more frequent than this between onset and collapse.
        judge: whose verdicts steer, by name.
        rubric: of which rubric; None where that judge has one alone.
        arm: the arm that is searched.
        confidence: of what is said of a curve.
        seed: of the doses that are drawn.

    Raises :class:`AnalysisError` for what is out of range.
    """

    trials: int
    steps: int = 25
    batch: int = 5
    rising: str = "identifies"
    falling: str = "coherent"
    precision: float = attrs.field(converter=plain_float, default=1.3)
    floor: float = attrs.field(converter=plain_float, default=0.2)
    judge: str = "rules"
    rubric: str | None = None
    arm: str = INJECTED
    confidence: float = attrs.field(converter=plain_float, default=0.95)
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        check_probability("confidence", self.confidence)
        check_probability("floor", self.floor)
        for name, fine, required in (
            ("steps", 3 <= self.steps <= 1000, "from 3 to 1,000 doses"),
            ("batch", 3 <= self.batch <= self.steps, f"from 3 trials to one for each of the {self.steps} doses"),
            (
                "trials",
                0 < self.trials <= 100_000 and not self.trials % max(self.batch, 1),
                f"a multiple of {self.batch}",
            ),
            ("precision", 1 < self.precision < math.inf, "a factor above 1"),
            ("seed", self.seed >= 0, "a whole number >= 0"),
            ("rising, falling", self.rising != self.falling, "two outcomes"),
        ):
            if not fine:
                got = getattr(self, name, (self.rising, self.falling))
                raise AnalysisError(explain(f"search.{name}", required=required, got=got, hint="See ib.Search."))

    @property
    def rounds(self) -> int:
        """How often a curve is asked at most, if every curve stays open."""
        return self.trials // self.batch

    @checked(AnalysisError)
    def doses(self, limits: Sequence[Dose]) -> tuple[Dose, ...]:
        """Return the doses that may be asked; limits first and last.

        Raises :class:`AnalysisError` unless the limits are two doses of one unit, above 0, so far apart that the steps
        between them differ.
        """
        told, units = sorted(d.magnitude for d in limits), {d.unit for d in limits}
        if len(told) != 2 or len(units) > 1 or not 0 < told[0] < told[1]:
            raise AnalysisError(
                explain(
                    "design.doses",
                    required="of a search two doses, its limits: of one unit, above 0",
                    got=[str(d) for d in limits],
                    hint='As in doses = ["0.05 residual", "2 residual"].',
                )
            )
        between = [_rounded(m) for m in np.geomspace(told[0], told[1], self.steps)[1:-1]]
        found = [told[0], *between, told[1]]
        if any(second <= first for first, second in itertools.pairwise(found)):
            raise AnalysisError(
                explain(
                    "search.steps",
                    required=f"steps that differ in {_DIGITS} digits",
                    got=self.steps,
                    hint="Ask for fewer steps, or for limits that lie further apart.",
                )
            )
        (unit,) = units
        return tuple(Dose(magnitude, unit) for magnitude in found)


@guarded(AnalysisError)
@attrs.frozen
class CurveSoFar:
    """What one curve of a search has said by some moment; doses are magnitudes in the search's unit.

    ``n`` scored trials, ``unscored`` more. ``onset`` is the first dose at which anything happens (the rising outcome at
    10 %, or a tenth of the falling one lost), ``collapse`` the first at which the falling one is down to 10 %; NaN
    where no dose within the limits is. ``crossing`` is where the two are equally frequent, NaN beyond the limits, with
    the interval ``low`` to ``high``, 0 to infinity where nothing bounds it; ``height`` is the rate of either there.
    ``said`` is whether the rule has settled it.
    """

    scaffold: str
    concept: str
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints)
    n: int
    unscored: int
    onset: float
    collapse: float
    crossing: float
    low: float
    high: float
    height: float
    said: Settled

    def __str__(self) -> str:
        return f"{self.concept}, layer {layers_text(self.layers)}"


@guarded(AnalysisError)
@attrs.frozen
class Searched:
    """A search so far: its curves in the order of their first trials, and the cells that it asked.

    ``cells`` have bounds of ``strict`` that hold at any moment and for all ``possible`` cells at once, asked or not.
    """

    rule: Search
    unit: str
    curves: tuple[CurveSoFar, ...] = attrs.field(converter=frozen_tuple)
    cells: tuple[CellSoFar, ...] = attrs.field(converter=frozen_tuple)
    possible: int

    @property
    def sentence(self) -> str:
        """What a reader of the run's numbers must know: that they chose its doses, and the bounds that hold."""
        rule, curves = self.rule, self.curves
        settled = sum(curve.said != "open" for curve in curves)
        of = {_place(curve): [c for c in self.cells if _curve(c.condition) == _place(curve)] for curve in curves}
        most = [max(cells, key=_asked) for cells in of.values() if cells]
        more = (
            f"; and {len(curves) - _LISTED} more curves (introspection_bench.analysis.searched)"
            if len(curves) > _LISTED
            else ""
        )
        crossed = "; ".join(f"{curve}: {self._crossing(curve)}" for curve in curves[:_LISTED])
        listed = "; ".join(f"{c}: {c.k} of {c.n}, {bounds(c.low, c.high)}" for c in most[:_LISTED])
        return (
            f"This run chose its doses by what it saw: after every {rule.batch} trials of a curve it asked next where "
            f"{rule.rising} and {rule.falling} are likely to cross and where strict could occur, with up to "
            f"{rule.trials} trials for each of {len(curves)} curves on average ({settled} settled). Intervals for a "
            "fixed number of trials do not hold in its cells, and rates over several doses say where the search went. "
            f"Crossings by the fitted curves ({percent(rule.confidence)} each, approximate): {crossed}{more}. These "
            f"bounds of strict hold at any moment and for all {self.possible} cells that could have been asked at once "
            f"({percent(rule.confidence)}), here in the cell of each curve that was asked most: {listed}{more}. For a "
            "fixed number of trials, confirm a dose with fresh ones (`[confirm]`, or Sweep.confirm)."
        )

    def _crossing(self, curve: CurveSoFar) -> str:
        if curve.said == "nothing":
            return f"none, {self.rule.rising} is shown to be at most {percent(self.rule.floor)}"
        if math.isnan(curve.crossing):
            return "none within the limits"
        within = "not bounded" if math.isinf(curve.high) else f"{curve.low:.3g} to {curve.high:.3g}"
        return f"{curve.crossing:.3g} {self.unit} ({within}) at a rate of {percent(curve.height)}"


#: A curve: scaffold, concept, layers.
Place = tuple[str, str | None, tuple[int, ...]]


@checked(AnalysisError)
def searched(records: Sequence[TrialRecord], rule: Search, limits: Sequence[Dose]) -> Searched:
    """Return what a search has said so far.

    Args:
        records: the run's trials; those of the rule's arm count.
        rule: the search.
        limits: the two doses that it searches between.

    Raises:
        AnalysisError: the arm has no trials, or the limits are none (:meth:`Search.doses`).
        SpecError: several verdicts of a trial match.
    """
    doses, curves = rule.doses(limits), by_curve(records, rule)
    if not curves:
        raise AnalysisError(explain("rule.arm", required="an arm of the run", got=rule.arm, hint=""))
    found = [_so_far(place, mine, rule, doses) for place, mine in curves.items()]
    cells: dict[tuple[Condition, str | None], list[bool | None]] = {}
    for record in (r for mine in curves.values() for r in mine):
        met = met_by(record, "strict", rule.judge, rule.rubric)
        cells.setdefault((record.condition.cell, record.trial.item), []).append(met)
    possible = len(curves) * len(doses) * len({item for _, item in cells})
    confidence = 1 - (1 - rule.confidence) / possible
    told = []
    for (condition, item), met_ in cells.items():
        k, unscored, low, high = anytime_bounds(met_, confidence)
        told.append(CellSoFar(condition, item, k, len(met_) - unscored, unscored, low, high, "open"))
    return Searched(rule, doses[0].unit.value, found, told, possible)


def by_curve(records: Sequence[TrialRecord], rule: Search) -> dict[Place, list[TrialRecord]]:
    """Return the trials of a search by curve, in the order of the curves' first trials."""
    found: dict[Place, list[TrialRecord]] = {}
    for record in records:
        if record.arm == rule.arm and record.repeat_of is None and record.trial.part != "confirmation":
            found.setdefault(_curve(record.condition), []).append(record)
    return found


def crossing_of(records: Sequence[TrialRecord], rule: Search, doses: Sequence[Dose]) -> Crossing:
    """Return the fitted crossing of one curve's scored trials."""
    scored = [r for r in records if met_by(r, rule.rising, rule.judge, rule.rubric) is not None]
    at = [_magnitude(r) for r in scored]
    rises, falls = (
        [met_by(r, o, rule.judge, rule.rubric) is True for r in scored] for o in (rule.rising, rule.falling)
    )
    return fit_crossing([d.magnitude for d in doses], at, rises, falls)


def settled(records: Sequence[TrialRecord], rule: Search, doses: Sequence[Dose], crossing: Crossing) -> Settled:
    """Return whether the rule has settled a curve of such trials, of which this is the fitted crossing."""
    # Twice in a row: an interval that is looked at after every batch is narrow by chance at some time.
    if _is_known(crossing, rule) and _is_known(crossing_of(records[: -rule.batch], rule, doses), rule):
        return "found"
    first = -math.inf if math.isnan(crossing.onset) else crossing.onset
    last = math.inf if math.isnan(crossing.collapse) else crossing.collapse
    between = [r for r in records if first <= _magnitude(r) <= last]
    met = [met_by(r, rule.rising, rule.judge, rule.rubric) for r in between]
    return "nothing" if anytime_bounds(met, rule.confidence)[3] <= rule.floor else "open"


def _is_known(crossing: Crossing, rule: Search) -> bool:
    low, high = crossing.interval(rule.confidence)
    return not math.isnan(crossing.magnitude) and high <= low * rule.precision**2


def search_of(spec: Mapping[str, Any]) -> tuple[Search, tuple[Dose, ...]] | None:
    """Return the rule of a run that searched and its limits, from what its results say of it; None for another run."""
    told = spec.get("search")
    if not isinstance(told, Mapping):
        return None
    try:
        return Search(**told), tuple(Dose.parse(text) for text in spec["design"]["doses"])
    except (TypeError, KeyError, InjectionError) as error:
        raise AnalysisError(
            explain("spec.search", required="the fields of a Search, and a design with its limits", got=error, hint="")
        ) from error


def search_note(records: Sequence[TrialRecord], spec: Mapping[str, Any]) -> str:
    """Return what a reader of a run's numbers must know where it searched by what it saw; nothing for another run."""
    found = search_of(spec)
    if found is None or not by_curve(records, found[0]):
        return ""
    try:
        part = "In its selecting part: " if any(r.trial.part == "confirmation" for r in records) else ""
        return part + searched(records, *found).sentence
    except SpecError as error:  # several verdicts of one judge: which of them steered can't be told
        return f"This run chose its doses by what it saw; its bounds can't be given: {error}"


def _so_far(place: Place, records: Sequence[TrialRecord], rule: Search, doses: Sequence[Dose]) -> CurveSoFar:
    found = crossing_of(records, rule, doses)
    unscored = sum(met_by(r, "strict", rule.judge, rule.rubric) is None for r in records)
    scaffold, concept, layers = place
    return CurveSoFar(
        scaffold,
        concept or "",
        layers,
        len(records) - unscored,
        unscored,
        found.onset,
        found.collapse,
        found.magnitude,
        *found.interval(rule.confidence),
        found.height,
        settled(records, rule, doses, found),
    )


def _curve(condition: Condition) -> Place:
    return condition.scaffold, condition.concept, condition.layers


def _place(curve: CurveSoFar) -> Place:
    return curve.scaffold, curve.concept or None, curve.layers


def _asked(cell: CellSoFar) -> int:
    return cell.n + cell.unscored


def _magnitude(record: TrialRecord) -> float:
    dose = record.condition.stated_dose
    return math.nan if dose is None else dose.magnitude


def _rounded(magnitude: float) -> float:
    return float(f"{magnitude:.{_DIGITS}g}")
