"""The best of many cells: intervals that hold for all at once, and an estimate that allows for the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import attrs
import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

from ...boundaries import checked, guarded
from ...errors import AnalysisError, explain
from ..binomial import Interval, Sided, check_probability, interval, percent
from .values import ConceptCounts, Floats, error_aside

#: The most trials of a cell that is corrected for being the best: its whole distribution is summed.
MOST_TRIALS = 100_000


@guarded(AnalysisError)
@attrs.frozen
class BestCell:
    """The cell of the highest observed rate, told as one that was chosen from ``cells``.

    ``unadjusted`` takes no account of the choice and must not stand alone. ``simultaneous`` holds for all cells at
    once, so for this one, too, however it was chosen. ``corrected`` is the rate at which so high a count would
    be as likely as not, given that the cell won; ``low`` and ``high`` are the interval from the same
    distribution. ``tied`` counts the cells that share the highest rate, of which this is the first.
    """

    index: int
    cells: int
    tied: int
    unadjusted: Interval
    simultaneous: Interval
    corrected: float
    low: float
    high: float
    confidence: float
    independent: bool

    @property
    def sentence(self) -> str:
        """The cell in words."""
        u, s = self.unadjusted, self.simultaneous
        tied = f", with {self.tied - 1} other{'s' if self.tied > 2 else ''} as high" if self.tied > 1 else ""
        chosen = "chosen from the highest" if tied else "chosen for being the highest"
        return (
            f"The best of {self.cells} cells{tied}: {u.k} of {u.n} = {percent(u.rate)}, {chosen}; "
            f"{percent(s.low)} to {percent(s.high)} at {percent(self.confidence)} for all cells at once; corrected for "
            f"the choice {percent(self.corrected)} ({percent(self.low)} to {percent(self.high)})."
        )


@checked(AnalysisError)
def each_of_many(
    successes: Sequence[int], trials: Sequence[int], *, confidence: float = 0.95, independent: bool = True
) -> tuple[Interval, ...]:
    """Return Clopper-Pearson intervals that hold for all cells at once.

    Args:
        successes: of each cell.
        trials: of each cell, at least 1.
        confidence: that no interval misses; the intervals carry it, not the one that each is computed with.
        independent: no trial belongs to two cells, and no shared random numbers join them: each interval then has the
            confidence to the power 1 / cells (Šidák 1967, exact); else 1 - error / cells (Bonferroni).

    Raises:
        AnalysisError: no cell, impossible counts, or a confidence out of range.
    """
    check_probability("confidence", confidence)
    cells = ConceptCounts(successes, trials)
    each = _each(confidence, cells.concepts, independent)
    found = (interval(k, n, confidence=each) for k, n in zip(cells.successes, cells.trials, strict=True))
    return tuple(attrs.evolve(i, confidence=confidence) for i in found)


@checked(AnalysisError)
def best_of_many(
    successes: Sequence[int],
    trials: Sequence[int],
    *,
    confidence: float = 0.95,
    independent: bool = True,
    sided: Sided = "two",
    ties: Literal["drawn", "ruled"] = "drawn",
) -> BestCell:
    """Return the cell of the highest observed rate, with what the choice does to it.

    The corrected figures are conditional on the cell having won against the others' counts: its count is then a
    binomial one cut off below the count that would have lost, with half or less of the weight at a tie where its winner
    is drawn at random. Where a rule that looks at the trials names it, the chance to win a tie is not known: the lower
    bound is then that of a cell that loses every tie, the upper bound that of one that wins it. Both hold, since the
    more often ties are won, the lower are the counts that come with a win. The interval has the stated level given the
    choice where cells are independent; the median-unbiased ``corrected`` rate is pulled down the more, the closer the
    runner-up. It is 0 where chance alone explains the win.

    Args and errors as :func:`each_of_many`; ``sided`` applies to the conditional interval. ``ties`` says how the winner
    of a tie, the first in order, came first: ``drawn`` at random, or ``ruled``. More than
    :data:`MOST_TRIALS` in the best cell are an error, too.
    """
    check_probability("confidence", confidence)
    cells = ConceptCounts(successes, trials)
    rates = cells.rates
    index = int(rates.argmax())
    k, n = cells.successes[index], cells.trials[index]
    if n > MOST_TRIALS:
        raise AnalysisError(
            explain(
                "trials",
                required=f"at most {MOST_TRIALS:,} in the best cell",
                got=n,
                hint="Use each_of_many, whose intervals hold for the best cell, too.",
            )
        )
    others = np.delete(rates, index)
    tied = int((others == rates[index]).sum())
    losing, winning = _win_weights(n, others, ties)
    below, above = error_aside(confidence, sided)
    low = _solve(k, n, losing, below, upper_tail=True) if below else 0.0
    high = _solve(k, n, winning, above, upper_tail=False) if above else 1.0
    middle = (_solve(k, n, losing, 0.5, upper_tail=True) + _solve(k, n, winning, 0.5, upper_tail=False)) / 2
    each = _each(confidence, cells.concepts, independent)
    return BestCell(
        index,
        cells.concepts,
        tied + 1,
        interval(k, n, confidence=confidence),
        attrs.evolve(interval(k, n, confidence=each), confidence=confidence),
        float(min(max(middle, low), high)),
        low,
        high,
        confidence,
        independent,
    )


def _each(confidence: float, cells: int, independent: bool) -> float:
    return confidence ** (1 / cells) if independent else 1 - (1 - confidence) / cells


def _win_weights(n: int, others: Floats, ties: str) -> tuple[Floats, Floats]:
    """Return the least and the largest probability to win with each count 0 to ``n`` against the others' rates."""
    if not len(others):
        return np.ones(n + 1), np.ones(n + 1)
    mine, top = np.arange(n + 1) / n, float(others.max())
    drawn = 1 / (1 + int((others == top).sum()))
    # Who loses each tie with a cell that always succeeds never wins: nothing is then conditional on how ties end.
    least, largest = (drawn, drawn) if ties == "drawn" else (0.0 if top < 1 else 1.0, 1.0)
    return tuple(np.where(mine > top, 1.0, np.where(mine == top, tied, 0.0)) for tied in (least, largest))  # type: ignore[return-value]  # two of them


def _solve(k: int, n: int, weights: Floats, error: float, *, upper_tail: bool) -> float:
    """Return the rate at which a count from ``k`` on (or up to it) has the probability ``error``, given a win."""
    counts = np.arange(n + 1)
    with np.errstate(divide="ignore"):
        fixed = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1) + np.log(weights)
    part = counts >= k if upper_tail else counts <= k

    def chance(rate: float) -> float:
        logs = fixed + counts * math.log(rate) + (n - counts) * math.log1p(-rate)
        return float(np.exp(logsumexp(logs[part]) - logsumexp(logs)))

    tiny = 1e-12
    # The probability rises with the rate from k on and falls up to k; where it never crosses, the bound is the end.
    if upper_tail:
        if chance(tiny) >= error:
            return 0.0
        return float(brentq(lambda p: chance(p) - error, tiny, 1 - tiny)) if chance(1 - tiny) > error else 1.0
    if chance(1 - tiny) >= error:
        return 1.0
    return float(brentq(lambda p: chance(p) - error, tiny, 1 - tiny)) if chance(tiny) > error else 0.0
