"""A planner that asks for rounds of a design's trials until an anytime-valid bound has said enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from ..analysis.stopping import Stopping, stopped
from ..boundaries import guarded
from ..errors import SpecError, explain
from ..trials import TrialRecord
from .design import Design
from .planner import Ground, PlannedTrial, Planner, plan_cells


@guarded(SpecError)
@attrs.frozen
class Sequential(Planner):
    """Asks for a design's trials round by round, and for no more of a cell that has said enough.

    A round has as many trials as the design. After each, the cells of the rule's arm are bounded at any moment
    (:func:`introspection_bench.analysis.stopped`); those that have said enough get no further trials, and the run ends
    when all have, or after :attr:`Stopping.rounds`. Other arms go on as long as one cell does. All trials are those of
    one design with so many times the trials, in its order, so that a run which goes on asks for the same.
    """

    rounds_of: Design
    rule: Stopping

    @property
    def judge(self) -> str:
        """The rule's judge."""
        return self.rule.judge

    @property
    def design(self) -> Design:
        """The design of one round."""
        return self.rounds_of

    @property
    def stopping(self) -> Stopping:
        """When it stops."""
        return self.rule

    def ask(self, ground: Ground, done: Sequence[TrialRecord]) -> list[PlannedTrial]:
        """Return the next round's trials, or none at the end.

        Raises :class:`SpecError` where a cell of the rule's arm has no trial in the first round, and what planning
        raises.
        """
        rounds = self._rounds(ground)
        if not done:
            return rounds[0]
        asked = {r.key.digest for r in done}
        open_cells = {(c.condition, c.item) for c in stopped(done, self.rule).cells if c.said == "open"}
        following = next((r for r in rounds if not any(t.key.digest in asked for t in r)), None)
        if not open_cells or following is None:
            return []
        return [t for t in following if t.condition.arm != self.rule.arm or _cell(t) in open_cells]

    def most(self, ground: Ground) -> list[PlannedTrial]:
        """Return every trial that it may ask for."""
        return [trial for part in self._rounds(ground) for trial in part]

    def _rounds(self, ground: Ground) -> list[list[PlannedTrial]]:
        times = self.rule.rounds
        arms = [attrs.evolve(a, n=a.n * times) for a in self.rounds_of.arms]  # type: ignore[misc]  # an arm is a frozen attrs class
        longer = attrs.evolve(self.rounds_of, arms=arms)
        rounds: list[list[PlannedTrial]] = [[] for _ in range(times)]
        for one, whole in zip(plan_cells(self.rounds_of, ground), plan_cells(longer, ground), strict=True):
            for number, trial in _dealt(one, whole, times):
                rounds[number].append(trial)
        self._check(rounds[0], [trial for part in rounds for trial in part])
        return rounds

    def _check(self, first: Sequence[PlannedTrial], whole: Sequence[PlannedTrial]) -> None:
        cells, begun = ({_cell(t) for t in part if t.condition.arm == self.rule.arm} for part in (whole, first))
        if not cells or cells != begun:
            raise SpecError(
                explain(
                    "stopping.arm",
                    required="an arm of the design, each concept and item of which has a trial in the first round",
                    got=f"{self.rule.arm!r}, {len(begun)} of {len(cells)} cells",
                    hint="Raise the arm's n to the number of items, and of concepts where it is spread over them.",
                )
            )


def _cell(trial: PlannedTrial) -> tuple[Any, str | None]:
    return trial.condition.cell, trial.trial.item


def _dealt(
    one: Sequence[tuple[str | None, PlannedTrial]], whole: Sequence[tuple[str | None, PlannedTrial]], times: int
) -> Iterator[tuple[int, PlannedTrial]]:
    """Yield a cell's trials with the rounds that they are in."""
    size, total = Counter(concept for concept, _ in one), Counter(concept for concept, _ in whole)
    # Arms that go concept by concept have their rounds in each; those that spread over concepts, one after another.
    each = all(total[concept] == times * size[concept] for concept in total)
    seen: Counter[str | None] = Counter()
    for concept, trial in whole:
        group = concept if each else None
        yield min(seen[group] // max(size[group] if each else len(one), 1), times - 1), trial
        seen[group] += 1
