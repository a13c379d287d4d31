"""What a null result excludes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs
import pandas as pd
from scipy.stats import binom

from ..boundaries import checked, guarded
from ..conditions import CELL_COLUMNS
from ..errors import AnalysisError, explain
from ..freezing import frozen_tuple
from .binomial import Interval, Method, Sided, percent
from .cells import NAMED, cell_name, groups, telling
from .rates import outcome_interval
from .selection import check_grouping, check_outcomes, coherent, injected, scored


@guarded(AnalysisError)
@attrs.frozen
class Scope:
    """Which injected trials a statement is about; None leaves a field open.

    ``min_magnitude`` keeps magnitudes >= it and needs a frame with one unit only. ``coherent_only`` keeps the
    trials judged coherent. ``name`` overrides the description that :meth:`__str__` makes of the fields.
    """

    scaffold: str | None = None
    arm: str | None = None
    concept: str | None = None
    layer: int | None = None
    min_magnitude: float | None = None
    coherent_only: bool = False
    name: str = ""

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the scored injected trials within the scope.

        Raises :class:`AnalysisError` for ``min_magnitude`` over several units.
        """
        part = scored(injected(frame))
        for column in ("scaffold", "arm", "concept", "layer"):
            value = getattr(self, column)
            if value is not None:
                part = part[(part[column] == value).fillna(value=False)]
        if self.min_magnitude is not None:
            check_grouping(part, ["magnitude"])
            part = part[part["magnitude"] >= self.min_magnitude]
        return coherent(part) if self.coherent_only else part

    def __str__(self) -> str:
        if self.name:
            return self.name
        words = ["coherent trials" if self.coherent_only else "all injected trials"]
        words += [f"scaffold {self.scaffold}"] if self.scaffold is not None else []
        words += [f"arm {self.arm}"] if self.arm is not None else []
        words += [f"concept {self.concept}"] if self.concept is not None else []
        words += [f"layer {self.layer}"] if self.layer is not None else []
        words += [f"magnitude >= {self.min_magnitude:g}"] if self.min_magnitude is not None else []
        return ", ".join(words)


@guarded(AnalysisError)
@attrs.frozen
class Alternative:
    """How probable it is to see at most ``k`` of ``n`` where the true rate is ``rate``."""

    k: int
    n: int
    rate: float
    probability: float

    @property
    def sentence(self) -> str:
        """The result in words."""
        seen = f"{self.k}" if self.k == 0 else f"at most {self.k}"
        chance = percent(self.probability)
        return (
            f"If the true rate were {percent(self.rate)}, {seen} of {self.n} would come up with probability {chance}."
        )


@guarded(AnalysisError)
@attrs.frozen
class Bound:
    """What one set of trials says about a rate: its interval, and where it comes from.

    ``cells`` is how many cells the trials span; ``simultaneous_over`` is 1 for an ordinary interval, else the
    number of cells over which the confidence holds at once (Bonferroni).
    """

    scope: str
    outcome: str
    interval: Interval
    cells: int
    simultaneous_over: int = 1

    @property
    def sentence(self) -> str:
        """The result in words."""
        i = self.interval
        if i.n == 0:
            return f"{_capital(self.scope)}: no trial to which {self.outcome!r} applies, so nothing is excluded."
        at_once = f", for all {self.simultaneous_over} cells at once" if self.simultaneous_over > 1 else ""
        sides = f"{percent(i.confidence)} {'two' if i.sided == 'two' else 'one'}-sided{at_once}"
        below = f" and below {percent(i.low)}" if i.low > 0 else ""
        return f"{_capital(self.scope)}: {i.k} of {i.n}; rates above {percent(i.high)}{below} are excluded ({sides})."

    def under(self, rate: float) -> Alternative:
        """Return the probability of this count, or a smaller one, were the true rate ``rate``."""
        return probability_under(self.interval.k, self.interval.n, rate)


@guarded(AnalysisError)
@attrs.frozen
class Exclusion:
    """What the injected trials of a run exclude about one outcome.

    ``pooled``: all scored injected trials as one sample (the weakest cells dilute it: it bounds the average
    over cells, not any cell). ``coherent``: only those judged coherent. ``best_cell``: the one cell with the
    highest observed rate; among equals the one that comes nearest, with the most coherent trials that claim a
    thought or name the concept, then the one with the most coherent trials. ``every_cell``: the largest upper
    bound of any cell, at a confidence that holds for all cells at once. ``scopes``: those asked for.
    """

    outcome: str
    pooled: Bound
    coherent: Bound
    best_cell: Bound
    every_cell: Bound
    scopes: tuple[Bound, ...] = attrs.field(converter=frozen_tuple, default=())

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """All bounds, in the order in which they are shown."""
        return (self.pooled, self.coherent, *self.scopes, self.best_cell, self.every_cell)

    @property
    def sentences(self) -> tuple[str, ...]:
        """One plain sentence per bound."""
        return tuple(b.sentence for b in self.bounds)

    def table(self) -> pd.DataFrame:
        """Return one row per bound: ``scope outcome k n rate low high confidence sided cells simultaneous_over``."""
        rows = [
            {
                "scope": b.scope,
                "outcome": b.outcome,
                "k": b.interval.k,
                "n": b.interval.n,
                "rate": b.interval.rate,
                "low": b.interval.low,
                "high": b.interval.high,
                "confidence": b.interval.confidence,
                "sided": b.interval.sided,
                "cells": b.cells,
                "simultaneous_over": b.simultaneous_over,
            }
            for b in self.bounds
        ]
        return pd.DataFrame(rows)


@checked(AnalysisError)
def excludes(
    frame: pd.DataFrame,
    outcome: str = "strict",
    *,
    scopes: Iterable[Scope] = (),
    by: Sequence[str] = CELL_COLUMNS,
    confidence: float = 0.95,
    sided: Sided = "two",
    method: Method = "clopper-pearson",
) -> Exclusion:
    """Return what the injected trials exclude about the rate of ``outcome``; a count above 0 works too.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`; unscored trials are left out.
        outcome: a criterion, ``strict`` or ``refused``.
        scopes: further sets of trials to state a bound for.
        by: what makes a cell.
        confidence: of each bound.
        sided: ``two`` or ``upper``.
        method: of the intervals.

    Raises:
        AnalysisError: there is no scored injected trial, or an argument is out of range.
    """
    check_outcomes(frame, [outcome])
    check_grouping(frame, by)
    if sided == "lower":
        raise AnalysisError(
            explain("sided", required="'two' or 'upper'", got=sided, hint="A lower bound excludes nothing above it.")
        )

    def bound(part: pd.DataFrame, scope: str) -> Bound:
        found = outcome_interval(part, outcome, method=method, confidence=confidence, sided=sided)
        return Bound(scope, outcome, found, sum(1 for _ in groups(part, by)) if len(part) else 0)

    everything = Scope().apply(frame)
    if everything.empty:
        raise AnalysisError(
            explain("frame", required="at least one scored injected trial", got="none", hint="Judge the run first.")
        )
    columns = telling(everything, [*NAMED, "scaffold"])
    cells = [(cell_name(group, columns), part) for group, part in groups(everything, by)]
    name, part = max(cells, key=lambda cell: _rank(cell[1], outcome))
    at_once = 1 - (1 - confidence) / len(cells)
    highest = max(
        (outcome_interval(p, outcome, method=method, confidence=at_once, sided=sided) for _, p in cells),
        key=lambda i: i.high,
    )
    # The confidence shown is the family's; the one computed with is each cell's share of it.
    highest = attrs.evolve(highest, confidence=confidence)
    return Exclusion(
        outcome,
        pooled=bound(everything, str(Scope())),
        coherent=bound(coherent(everything), str(Scope(coherent_only=True))),
        best_cell=bound(part, f"single cell ({name})"),
        every_cell=Bound("the cell that is bounded least", outcome, highest, 1, len(cells)),
        scopes=tuple(bound(s.apply(frame), str(s)) for s in scopes),
    )


@checked(AnalysisError)
def probability_under(k: int, n: int, rate: float) -> Alternative:
    """Return the exact probability of at most ``k`` of ``n`` where the true rate is ``rate`` (0 to 1).

    0 of 20 under a rate of 20 % has 0.8**20 = 1.15 %. Raises :class:`AnalysisError` for impossible counts.
    """
    if not (0 <= k <= n and 0 <= rate <= 1):
        raise AnalysisError(explain("k, n, rate", required="0 <= k <= n, 0 <= rate <= 1", got=(k, n, rate), hint=""))
    return Alternative(k, n, rate, float(binom.cdf(k, n, rate)))


def _rank(part: pd.DataFrame, outcome: str) -> tuple[float, int, int]:
    applies = part[outcome].dropna()
    whole, claims, names = (part[c].fillna(value=False) for c in ("coherent", "affirmative", "identifies"))
    rate = float(applies.mean()) if len(applies) else -math.inf
    return rate, int((whole & (claims | names)).sum()), int(whole.sum())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
