"""What the intervals are made from, and what they say: counts by concept, and an estimate that names its estimand."""

from __future__ import annotations

import math
from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt

from ...boundaries import guarded
from ...errors import AnalysisError, explain
from ...freezing import frozen_ints
from ..binomial import Sided, percent

Floats = npt.NDArray[np.float64]

#: What an interval is about. *These concepts*: the concepts are fixed, the trials could have come out otherwise.
#: *Concepts like these*: the concepts, too, could have been others of the same kind.
Estimand = Literal["these concepts", "concepts like these"]

#: Below this many concepts nothing is said about concepts like these: the interval would span most of 0 to 1.
FEWEST_CONCEPTS = 5


@guarded(AnalysisError)
@attrs.frozen
class ConceptCounts:
    """Successes and trials of one arm, an entry for each concept; an arm without concepts has one entry.

    Leave concepts without trials out. ``rate`` is the mean of the concepts' rates, each concept weighing the same:
    the estimand of all that is computed from it. With as many trials in each concept it is the pooled rate.

    Raises :class:`AnalysisError` for no entry, another number of successes than of trials, a concept without trials, or
    more successes than trials.
    """

    successes: tuple[int, ...] = attrs.field(converter=frozen_ints)
    trials: tuple[int, ...] = attrs.field(converter=frozen_ints)

    def __attrs_post_init__(self) -> None:
        if not self.trials or len(self.successes) != len(self.trials):
            raise AnalysisError(
                explain(
                    "successes, trials",
                    required="one entry for each concept in both, and at least one",
                    got=(len(self.successes), len(self.trials)),
                    hint="",
                )
            )
        wrong = [(k, n) for k, n in zip(self.successes, self.trials, strict=True) if not (n >= 1 and 0 <= k <= n)]
        if wrong or max(self.trials) > 10**9:
            raise AnalysisError(
                explain(
                    "successes, trials",
                    required="1 to 1,000,000,000 trials in each concept, and from 0 to all of them successes",
                    got=wrong[:3] or max(self.trials),
                    hint="Leave out a concept without trials.",
                )
            )

    @property
    def concepts(self) -> int:
        """How many concepts."""
        return len(self.trials)

    @property
    def rates(self) -> Floats:
        """Each concept's share of successes, shape (concepts,)."""
        return np.asarray(self.successes, dtype=np.float64) / np.asarray(self.trials, dtype=np.float64)

    @property
    def rate(self) -> float:
        """The mean of the concepts' rates."""
        return math.fsum(k / n for k, n in zip(self.successes, self.trials, strict=True)) / self.concepts

    @property
    def balanced(self) -> bool:
        """Whether each concept has as many trials."""
        return len(set(self.trials)) == 1

    @property
    def pooled(self) -> ConceptCounts:
        """All trials as those of one concept: where trials, not concepts, are what was sampled."""
        return ConceptCounts([sum(self.successes)], [sum(self.trials)])

    @property
    def failures(self) -> ConceptCounts:
        """The same trials with success and failure exchanged."""
        return ConceptCounts([n - k for k, n in zip(self.successes, self.trials, strict=True)], self.trials)

    def __str__(self) -> str:
        over = "" if self.concepts == 1 else f" on {self.concepts} concepts"
        return f"{sum(self.successes)} of {sum(self.trials)}{over}"


@guarded(AnalysisError)
@attrs.frozen
class Estimate:
    """A number with an interval that says what it is about and what it rests on.

    ``low`` and ``high`` are NaN where nothing can be said; ``needs`` then says what it would take, and is empty
    otherwise. A bound at the end of what the quantity can be (0, 1, an infinite d′) is no information on that side.
    ``method`` names the procedure and ``assumes`` what its confidence rests on, both in words.
    """

    quantity: str
    estimand: Estimand
    estimate: float
    low: float
    high: float
    confidence: float
    sided: Sided
    method: str
    assumes: str
    needs: str = ""

    @property
    def said(self) -> bool:
        """Whether there is an interval at all."""
        return not self.needs

    @property
    def sentence(self) -> str:
        """The estimate in words, with its estimand."""
        about = f"{self.quantity}, {self.estimand}: {self._show(self.estimate)}"
        if not self.said:
            return f"{about}; an interval can't be said: {self.needs}."
        sides = f"{percent(self.confidence)} {'two' if self.sided == 'two' else 'one'}-sided"
        return f"{about}, between {self._show(self.low)} and {self._show(self.high)} ({sides}; {self.method})."

    def _show(self, value: float) -> str:
        if not math.isfinite(value):
            return "no number" if math.isnan(value) else "no bound"
        return f"{value:.3g}" if self.quantity.startswith(UNSCALED) else percent(value)


#: Quantities that are no shares and are not shown as percentages.
UNSCALED = ("d′", "A′", "AUC", "kappa", "AC1", "log-odds")


def error_aside(confidence: float, sided: Sided) -> tuple[float, float]:
    """Return the error left below and above: half of it each, or all on one side."""
    error = 1 - confidence
    return {"two": (error / 2, error / 2), "upper": (0.0, error), "lower": (error, 0.0)}[sided]
