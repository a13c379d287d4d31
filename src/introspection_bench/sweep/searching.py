"""A planner that searches over the dose: from no effect to collapse, and then where naming and coherence cross."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np

from ..analysis.crossing import Crossing
from ..analysis.searching import Place, Search, by_curve, crossing_of, settled
from ..boundaries import guarded
from ..digests import digest
from ..doses import Dose
from ..errors import SpecError, explain
from ..trials import Trial, TrialPart, TrialRecord
from .arms import Arm
from .choosing import Chosen
from .design import Design
from .planner import Ground, PlannedTrial, Planner, plan

#: Of a curve's trials in one round, the share that go where strict could occur; the others go where the crossing is
#: told best.
_FOR_STRICT = 0.4
#: Digits by which doses are compared: more would let the last bits of a fit decide, which differ between machines.
_DIGITS = 9


@guarded(SpecError)
@attrs.frozen
class Searching(Planner):
    """Asks of each curve (scaffold, concept, layer) first a few doses from one limit to the other, then where it tells.

    The design's two doses are the limits. After each round every curve that is not settled (:class:`Search`) is fitted
    anew (:func:`introspection_bench.analysis.crossing.fit_crossing`) and gets :attr:`Search.batch` further trials: some
    at the dose that would lower the variance of the crossing most, some at the dose at which both outcomes together
    could be most frequent under a curve drawn from what is known (Thompson sampling). The run ends when all curves are
    settled or the budget is spent. Arms without a dose are run in the first round, as often as the design says.

    Given the same trials and verdicts it asks for the same. ``part`` is what its trials are told to be in a run that
    confirms what it finds.

    Raises :class:`SpecError` unless the rule's arm is the design's only one with a dose, and
    :class:`~introspection_bench.errors.AnalysisError` for doses that are no limits.
    """

    over: Design
    rule: Search
    part: TrialPart | None = None

    def __attrs_post_init__(self) -> None:
        _ = self.doses  # limits that are none should be known before anything is run
        dosed = [arm.name for arm in self.over.arms if arm.dosed]
        if dosed != [self.rule.arm]:
            raise SpecError(
                explain(
                    "search.arm",
                    required=f"{self.rule.arm!r} as the only arm with a dose",
                    got=dosed or "none",
                    hint="Others can be run at what was found: state [confirm] beside [search].",
                )
            )

    @property
    def judge(self) -> str:
        """The rule's judge."""
        return self.rule.judge

    @property
    def design(self) -> Design:
        """The design with the limits as its doses."""
        return self.over

    @property
    def search(self) -> Search:
        """How it searches."""
        return self.rule

    @property
    def doses(self) -> tuple[Dose, ...]:
        """All doses that it may ask for."""
        return self.rule.doses(self.over.doses)

    def designs(self, chosen: Chosen | None) -> list[Design]:  # noqa: ARG002  # it chooses nothing
        """Return the design with all doses that it may ask for."""
        return [attrs.evolve(self.over, doses=self.doses)]

    @property
    def budget(self) -> int:
        """The most trials that the searched arm gets in all."""
        return self.rule.trials * len(self.over.scaffolds) * len(self.over.layers) * len(self.over.concepts or ())

    def ask(self, ground: Ground, done: Sequence[TrialRecord]) -> list[PlannedTrial]:
        """Return the next round's trials, or none at the end.

        Raises :class:`SpecError` for an arm that hasn't so many trials of each concept as it is asked for, and what
        planning raises.
        """
        if not done:
            return [*self._undosed(ground), *self._first(ground)]
        curves, fits = self._so_far(done)
        still = self._open(curves, fits)
        wanted = itertools.islice(self._wanted(curves, fits, still), max(self._left(curves), 0))
        asked = Counter((_place(r.trial), r.condition.stated_dose) for mine in curves.values() for r in mine)
        return self._trials(ground, Counter(wanted), asked)

    def is_over(self, done: Sequence[TrialRecord]) -> bool:
        """Return whether it would ask for nothing more behind these trials."""
        curves, fits = self._so_far(done)
        return bool(curves) and (self._left(curves) <= 0 or not self._open(curves, fits))

    def most(self, ground: Ground) -> list[PlannedTrial]:
        """Return as many trials as it may ask for, all at the lowest dose: what a run is at most."""
        arm = attrs.evolve(self._arm, n=self.rule.trials)  # type: ignore[misc]  # an arm is a frozen attrs class
        return [*self._undosed(ground), *plan(self._at(self.doses[0], [arm]), ground, part=self.part)]

    def again(self, ground: Ground, trials: Sequence[Trial]) -> list[PlannedTrial]:
        """Return the planned trials of a run that are of this search, planned anew."""
        mine = [t for t in trials if t.condition.arm == self.rule.arm and t.part != "confirmation"]
        wanted = Counter((_place(t), dose) for t in mine if (dose := t.condition.stated_dose) is not None)
        return [*self._undosed(ground), *self._trials(ground, wanted, Counter())]

    def _so_far(self, done: Sequence[TrialRecord]) -> tuple[dict[Place, list[TrialRecord]], dict[Place, Crossing]]:
        curves = by_curve(done, self.rule)
        return curves, {place: crossing_of(mine, self.rule, self.doses) for place, mine in curves.items()}

    def _open(self, curves: Mapping[Place, Sequence[TrialRecord]], fits: Mapping[Place, Crossing]) -> list[Place]:
        return [place for place, fit in fits.items() if settled(curves[place], self.rule, self.doses, fit) == "open"]

    @property
    def _arm(self) -> Arm:
        (arm,) = (a for a in self.over.arms if a.dosed)
        return arm

    def _at(self, dose: Dose, arms: Sequence[Arm]) -> Design:
        return attrs.evolve(self.over, doses=[dose], arms=arms)

    def _undosed(self, ground: Ground) -> list[PlannedTrial]:
        others = [a for a in self.over.arms if not a.dosed]
        return plan(attrs.evolve(self.over, arms=others), ground, part=self.part) if others else []

    def _first(self, ground: Ground) -> list[PlannedTrial]:
        spread = np.linspace(0, len(self.doses) - 1, self.rule.batch).round().astype(int)
        arm = attrs.evolve(self._arm, n=1)  # type: ignore[misc]  # an arm is a frozen attrs class
        found = [t for n in spread for t in plan(self._at(self.doses[n], [arm]), ground, part=self.part)]
        each = Counter(_place(t.trial) for t in found)
        if (
            len(each) * self.rule.trials != self.budget
            or set(each.values()) != {self.rule.batch}
            or None in {c for _, c, _ in each}
        ):
            raise SpecError(
                explain(
                    "search.arm",
                    required="an arm that injects each concept n times in a cell",
                    got=f"{self.rule.arm!r}, {len(found)} trials on {len(each)} curves",
                    hint='As Injected does; not with concepts = "spread".',
                )
            )
        return found

    def _left(self, curves: Mapping[Place, Sequence[TrialRecord]]) -> int:
        return self.budget - sum(len(mine) for mine in curves.values())

    def _wanted(
        self, curves: Mapping[Place, Sequence[TrialRecord]], fits: Mapping[Place, Crossing], still: Sequence[Place]
    ) -> Iterator[tuple[Place, Dose]]:
        """Yield the next trials of open curves in turn, so that a budget that ends among them ends fairly."""
        chosen = [self._next(place, len(curves[place]), fits[place]) for place in still]
        for turn in zip(*chosen, strict=True):
            yield from ((place, self.doses[n]) for place, n in zip(still, turn, strict=True))

    def _next(self, place: Place, n: int, fit: Crossing) -> list[int]:
        """Return the places of a curve's next doses."""
        batch, drawn = self.rule.batch, round(_FOR_STRICT * self.rule.batch)
        rng = np.random.default_rng(int(digest("search", 1, [self.rule.seed, *place, n])[:16], 16))
        strict = [_highest(fit.drawn(rng).both) for _ in range(drawn)]
        # The range's two ends in turn: each is told by trials that say little of the crossing.
        found = [_highest(fit.gains_at_collapse if n // batch % 2 else fit.gains_at_onset)]
        for turn in range(batch - drawn - 1):
            # Where it crosses is not known without how steeply it does.
            found.append(_highest(fit.spreads if turn % 2 else fit.gains))
            fit = fit.with_trial(found[-1])
        return [*found, *strict]

    def _trials(
        self, ground: Ground, wanted: Counter[tuple[Place, Dose]], asked: Counter[tuple[Place, Dose | None]]
    ) -> list[PlannedTrial]:
        """Return so many trials at doses of curves, behind those that were asked there already."""
        found: list[PlannedTrial] = []
        for dose in self.doses:
            here = {place: n for (place, at), n in wanted.items() if at == dose}
            if not here:
                continue
            arm = attrs.evolve(self._arm, n=max(n + asked[place, dose] for place, n in here.items()))  # type: ignore[misc]  # an arm is a frozen attrs class
            planned: dict[Place, list[PlannedTrial]] = {}
            for trial in plan(self._at(dose, [arm]), ground, part=self.part):
                planned.setdefault(_place(trial.trial), []).append(trial)
            for place, n in here.items():
                first = asked[place, dose]
                found += planned[place][first : first + n]
        return found


def _place(trial: Trial) -> Place:
    return trial.condition.scaffold, trial.condition.concept, trial.condition.layers


def _highest(values: np.ndarray) -> int:
    return int(np.argmax(np.round(values, _DIGITS)))
