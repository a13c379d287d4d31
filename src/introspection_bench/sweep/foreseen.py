"""What a run's number of trials comes to beforehand: calls to judges, and what it excludes if every trial fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from ..analysis.by_concept import ByConcept
from ..analysis.intervals import ConceptCounts, null_bound
from ..analysis.nulls import Bound
from ..conditions import Condition
from ..errors import BackendUnavailableError
from ..freezing import frozen_mapping
from ..judges.gate import control_replies, covers
from ..judges.registry import judge_class
from .spec import JudgeSpec, RunSpec


@attrs.frozen
class JudgeCalls:
    """The calls to a model that a judge makes on a run: ``least`` and ``most`` on its replies.

    ``control`` are those on the control replies, at most, which it has to pass first. All are None for a judge that
    isn't installed here. Alike replies are asked about once, so that there may be fewer.
    """

    judge: str
    least: int | None
    most: int | None
    control: int | None

    @property
    def sentence(self) -> str:
        """The calls in words."""
        if self.least is None or self.most is None:
            return f"Judge {self.judge}: not installed here, so its calls are not known"
        if not self.most:
            return f"Judge {self.judge}: no calls to a model"
        calls = f"{self.most:,}" if self.least == self.most else f"{self.least:,} to {self.most:,}"
        control = f", and at most {self.control:,} on control replies before" if self.control else ""
        return f"Judge {self.judge}: {calls} calls to a model (fewer where replies are alike){control}"


def judge_calls(spec: RunSpec, trials: int) -> list[JudgeCalls]:
    """Return the calls of a specification's judge and of its further verdicts, over so many trials with a concept."""
    return [_calls_of(told, trials) for told in (spec.judge, *spec.also_judged)]


def _calls_of(told: JudgeSpec, trials: int) -> JudgeCalls:
    name = told.name if told.asked == "own" else f"{told.name} ({told.asked})"
    try:
        found = judge_class(told.name)
    except BackendUnavailableError:
        return JudgeCalls(name, None, None, None)
    rubrics = found.rubrics_asked(told.options)
    least = sum(not call.when for rubric in rubrics for call in rubric.calls)
    control = sum(len(rubric.calls) * len(control_replies(rubric)) for rubric in rubrics if covers(rubric))
    most = sum(len(rubric.calls) for rubric in rubrics)
    return JudgeCalls(name, trials * least, trials * most, control if found.gated else 0)


@attrs.frozen
class Injected:
    """The trials of a plan on which a concept is injected: by concept, in all cells and in the smallest one.

    ``cells`` is how many cells there are, each of one arm, scaffold, band and dose.
    """

    trials: Mapping[str, int] = attrs.field(converter=frozen_mapping, hash=False)
    smallest: Mapping[str, int] = attrs.field(converter=frozen_mapping, hash=False)
    cells: int

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> Injected:
        """Count the conditions of a plan."""
        cells: dict[object, Counter[str]] = {}
        for each in conditions:
            if each.truth == "injected" and each.concept is not None:
                place = (each.arm, each.scaffold, each.layers, each.stated_dose)
                cells.setdefault(place, Counter())[each.concept] += 1
        together: Counter[str] = sum(cells.values(), Counter())
        return cls(together, min(cells.values(), key=lambda cell: sum(cell.values()), default=Counter()), len(cells))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is excluded where none of these trials succeeds, on these concepts and over concepts like these."""
        if not self.trials:
            return ()
        told = ["If every dose is live, every reply is scored and none succeeds:"]
        told += _bound("all injected trials", self.trials).sentences
        if self.cells > 1:
            told += _bound(f"the smallest of the {self.cells} cells", self.smallest).sentences[:2]
        return tuple(told)


def _bound(scope: str, trials: Mapping[str, int]) -> Bound:
    names: Sequence[str] = sorted(trials)
    counts = ConceptCounts([0] * len(names), [trials[name] for name in names])
    return Bound(scope, "strict", ByConcept(names, counts, [0] * len(names), 0), null_bound(counts), None, 1)
