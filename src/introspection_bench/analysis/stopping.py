"""Runs that stop once they have said enough: the rule, and the bounds that hold although it was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from ..boundaries import checked, guarded
from ..conditions import INJECTED, Condition
from ..errors import AnalysisError, SpecError, explain
from ..freezing import frozen_tuple, plain_float
from ..trials import TrialRecord
from .binomial import bounds, check_probability, percent
from .intervals import anytime

#: ``excluded``: the rule's rate lies above what is left standing; ``shown``: the rate is shown to be above it.
Said = Literal["excluded", "shown", "open"]
#: Cells that a sentence lists.
_LISTED = 8


@guarded(AnalysisError)
@attrs.frozen
class Stopping:
    """When a run has said enough, stated before anything is run.

    Attributes:
        rate: a cell has said enough once its rate is shown to be at most this, or above it.
        rounds: at most so many times the design's own number of trials.
        outcome: ``strict``, or a criterion of the rubric; "not applicable" counts as not met.
        judge: whose verdicts decide, by name.
        rubric: of which rubric; None where that judge has one alone.
        arm: the arm whose cells decide; the others go on as long as one of these does.
        confidence: that no cell is misjudged at any moment.

    Raises :class:`AnalysisError` for what is out of range.
    """

    rate: float = attrs.field(converter=plain_float)
    rounds: int = 10
    outcome: str = "strict"
    judge: str = "rules"
    rubric: str | None = None
    arm: str = INJECTED
    confidence: float = attrs.field(converter=plain_float, default=0.95)

    def __attrs_post_init__(self) -> None:
        check_probability("rate", self.rate)
        check_probability("confidence", self.confidence)
        if not 1 <= self.rounds <= 10_000:
            raise AnalysisError(explain("rounds", required="a whole number from 1 to 10,000", got=self.rounds, hint=""))


@guarded(AnalysisError)
@attrs.frozen
class CellSoFar:
    """What a cell has said by some moment: ``k`` of ``n`` scored trials, ``unscored`` more, and the anytime bounds.

    Unscored trials count as successes in ``high`` and as failures in ``low``: against whatever is said.
    """

    condition: Condition
    item: str | None
    k: int
    n: int
    unscored: int
    low: float
    high: float
    said: Said

    def __str__(self) -> str:
        told = [str(v) for v in (self.condition.concept, self.item, self.condition.stated_dose) if v is not None]
        layers = f"layer {'-'.join(map(str, self.condition.layers))}" if self.condition.layers else ""
        return ", ".join(filter(None, [*told[:-1], layers, *told[-1:]])) or self.condition.arm


@guarded(AnalysisError)
@attrs.frozen
class Stopped:
    """The cells that decide when a run stops, each with bounds that hold at every moment and for all cells at once."""

    rule: Stopping
    cells: tuple[CellSoFar, ...] = attrs.field(converter=frozen_tuple)

    @property
    def enough(self) -> bool:
        """Whether every cell has said enough."""
        return all(cell.said != "open" for cell in self.cells)

    @property
    def sentence(self) -> str:
        """What a reader of the run's numbers must know: that they were looked at, and the bounds that hold."""
        rule, cells = self.rule, self.cells
        words = {"excluded": f"at most {percent(rule.rate)}", "shown": f"above {percent(rule.rate)}", "open": "open"}
        listed = "; ".join(f"{c}: {c.k} of {c.n}, {bounds(c.low, c.high)}, {words[c.said]}" for c in cells[:_LISTED])
        more = (
            f"; and {len(cells) - _LISTED} more (introspection_bench.analysis.stopped)" if len(cells) > _LISTED else ""
        )
        ended = "every cell has" if self.enough else f"{sum(c.said == 'open' for c in cells)} of them have not"
        return (
            f"This run looked at its results to decide when to stop: once the rate of {rule.outcome} on the arm "
            f"{rule.arm} is shown to be at most, or above, {percent(rule.rate)} in each of its {len(cells)} cells "
            f"({ended}), or after {rule.rounds} rounds. Intervals for a fixed number of trials do not hold then; these "
            f"do, at any moment and for all cells at once ({percent(rule.confidence)}): {listed}{more}."
        )


@checked(AnalysisError)
def stopped(records: Sequence[TrialRecord], rule: Stopping) -> Stopped:
    """Return what each cell of a rule's arm has said so far.

    A cell is a condition and an item. Each has the confidence 1 - error / cells, so that all of them hold at once; the
    bounds are :func:`anytime`'s, which a run may look at after every trial. Trials without a verdict of the rule's
    judge count as unscored.

    Raises:
        AnalysisError: the arm has no trials.
        SpecError: several verdicts of a trial match.
    """
    cells: dict[tuple[Condition, str | None], list[bool | None]] = {}
    for record in records:
        if record.arm == rule.arm and record.repeat_of is None:
            met = met_by(record, rule.outcome, rule.judge, rule.rubric)
            cells.setdefault((record.condition.cell, record.trial.item), []).append(met)
    if not cells:
        raise AnalysisError(explain("rule.arm", required="an arm of the run", got=rule.arm, hint=""))
    confidence = 1 - (1 - rule.confidence) / len(cells)
    return Stopped(rule, [_so_far(*place, met, rule, confidence) for place, met in cells.items()])


@checked(AnalysisError)
def stopping_of(spec: Mapping[str, object]) -> Stopping | None:
    """Return the rule by which a run stopped, from what its results say of it (``Results.spec``); None for none."""
    told = spec.get("stopping")
    if not isinstance(told, Mapping):
        return None
    try:
        return Stopping(**told)
    except TypeError as error:
        raise AnalysisError(
            explain("spec.stopping", required="the fields of a Stopping", got=sorted(map(str, told))[:8], hint="")
        ) from error


def stopping_note(records: Sequence[TrialRecord], spec: Mapping[str, object]) -> str:
    """Return what a reader of a run's numbers must know where it stopped by what it saw; nothing for another run."""
    rule = stopping_of(spec)
    if rule is None or not any(r.arm == rule.arm for r in records):
        return ""
    try:
        return stopped(records, rule).sentence
    except SpecError as error:  # several verdicts of one judge: which of them decided can't be told
        return f"This run looked at its results to decide when to stop; its bounds can't be given: {error}"


def met_by(record: TrialRecord, outcome: str, judge: str, rubric: str | None) -> bool | None:
    """Return whether a trial has an outcome by a judge, "not applicable" being none; None for an unscored trial."""
    verdict = record.verdict(judge, rubric)
    if verdict is None or verdict.unscored is not None:
        return None
    return verdict.outcome(outcome) is True


def anytime_bounds(met: Sequence[bool | None], confidence: float) -> tuple[int, int, float, float]:
    """Return of a cell's trials the successes, the unscored ones, and bounds at any moment that count those against."""
    k, unscored = sum(m is True for m in met), sum(m is None for m in met)
    low = anytime(k, len(met), confidence=confidence).low
    return k, unscored, low, anytime(k + unscored, len(met), confidence=confidence).high


def _so_far(
    condition: Condition, item: str | None, met: Sequence[bool | None], rule: Stopping, confidence: float
) -> CellSoFar:
    k, unscored, low, high = anytime_bounds(met, confidence)
    said: Said = "excluded" if high <= rule.rate else "shown" if low > rule.rate else "open"
    return CellSoFar(condition, item, k, len(met) - unscored, unscored, low, high, said)
