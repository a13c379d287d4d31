"""What is expected of a model of known truth, as values, and how often each expectation would decide wrongly."""

from __future__ import annotations

from typing import Literal

import attrs
from scipy.stats import binom

from ..boundaries import guarded
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from ..sweep.arms import Arm


@guarded(AnalysisError)
@attrs.frozen(kw_only=True)
class Count:
    """How many of an arm's ``n`` trials meet an outcome: at ``least``, or at ``most``.

    ``truth`` is the rate that the model has at worst, seen rightly (docs/known.md has what was counted); ``wrong`` the
    rate at which the instrument is not to be trusted. Concepts differ in their rates, so that the sum of their trials
    varies less than a binomial of the same mean (Hoeffding 1956, Annals of Mathematical Statistics 27): what the two
    probabilities say is no less than what is true.
    """

    arm: str
    outcome: str
    n: int
    truth: float
    wrong: float
    least: int | None = None
    most: int | None = None

    def __attrs_post_init__(self) -> None:
        if (self.least is None) == (self.most is None):
            raise AnalysisError(
                explain("count", required="one of least and most", got=f"{self.least}, {self.most}", hint="")
            )

    def holds(self, found: int) -> bool:
        """Whether so many are as expected."""
        return found >= self.least if self.least is not None else found <= (self.most or 0)

    @property
    def wrongly_failed(self) -> float:
        """The largest probability that a right instrument does not find it so."""
        return self._outside(self.truth)

    @property
    def wrongly_passed(self) -> float:
        """The largest probability that an instrument which sees the rate ``wrong`` finds it so."""
        return 1 - self._outside(self.wrong)

    def _outside(self, rate: float) -> float:
        if self.least is not None:
            return float(binom.cdf(self.least - 1, self.n, rate))
        return float(binom.sf(self.most, self.n, rate))

    def __str__(self) -> str:
        bound = f"at least {self.least}" if self.least is not None else f"at most {self.most}"
        return f"{self.arm.replace('_', ' ')}: {self.outcome} in {bound} of {self.n}"


@guarded(AnalysisError)
@attrs.frozen(kw_only=True)
class Decided:
    """What a rule on what would explain the reports away must say (:func:`~introspection_bench.analysis.explain_away`).

    ``among`` are the decisions that are as expected.
    """

    task: Literal["detection", "naming"]
    rule: str
    among: tuple[str, ...] = attrs.field(converter=frozen_tuple)

    def __str__(self) -> str:
        return f"{self.task}, “{self.rule}”: {' or '.join(self.among)}"


@guarded(AnalysisError)
@attrs.frozen(kw_only=True)
class Member:
    """One model of the cast: what is run on it, and what must be found.

    ``clean`` is whether its detection or naming may be said to be explained by nothing: of no imitation.
    """

    name: str
    model: str
    layer: int
    arms: tuple[Arm, ...] = attrs.field(converter=frozen_tuple)
    expected: tuple[Count | Decided, ...] = attrs.field(converter=frozen_tuple)
    imitates: bool = True

    @property
    def counts(self) -> tuple[Count, ...]:
        """The expectations that are numbers of trials."""
        return tuple(each for each in self.expected if isinstance(each, Count))
