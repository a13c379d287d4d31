"""What a null result excludes, what it would have taken to exclude more, and how many trials find a rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import pandas as pd
from scipy.stats import binom

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from ..frames import CELL_COLUMNS, check_grouping, coherent, injected, scored
from ..freezing import frozen_tuple
from .rates import Interval, Method, Sided, check_outcomes, check_probability, groups, outcome_interval, percent

#: The planner gives up beyond this many trials: no study of replies is that large.
MOST_TRIALS = 10**9


@guarded(AnalysisError)
@attrs.frozen
class Scope:
    """Which injected trials a statement is about; None leaves a field open.

    ``min_magnitude`` keeps magnitudes >= it and needs a frame with one unit only. ``coherent_only`` keeps the
    trials judged coherent. ``name`` overrides the description that :meth:`__str__` makes of the fields.
    """

    scaffold: str | None = None
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
        for column, value in (("scaffold", self.scaffold), ("concept", self.concept), ("layer", self.layer)):
            if value is not None:
                part = part[part[column] == value]
        if self.min_magnitude is not None:
            check_grouping(part, ["magnitude"])
            part = part[part["magnitude"] >= self.min_magnitude]
        return coherent(part) if self.coherent_only else part

    def __str__(self) -> str:
        if self.name:
            return self.name
        words = ["coherent trials" if self.coherent_only else "all injected trials"]
        words += [f"scaffold {self.scaffold}"] if self.scaffold is not None else []
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
    check_outcomes([outcome])
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
    cells = [(_cell_name(group), part) for group, part in groups(everything, by)]
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


@checked(AnalysisError)
def trials_to_bound(rate: float, *, confidence: float = 0.95, sided: Sided = "two", k: int = 0) -> int:
    """Return the fewest trials after which ``k`` successes put the Clopper-Pearson upper bound at or below ``rate``.

    Args:
        rate: the rate to be excluded, between 0 and 1.
        confidence: of the bound.
        sided: ``two`` (as the intervals of the tables) or ``upper`` (all of the error above).
        k: how many successes may come up on the way; 0 plans for a clean null.

    Raises:
        AnalysisError: an argument is out of range, or more than :data:`MOST_TRIALS` would be needed.
    """
    check_probability("rate", rate)
    check_probability("confidence", confidence)
    if sided not in ("two", "upper") or k < 0:
        raise AnalysisError(explain("sided, k", required="'two' or 'upper', and a count >= 0", got=(sided, k), hint=""))
    error = (1 - confidence) / (2 if sided == "two" else 1)
    return _first(lambda n: bool(binom.cdf(k, n, rate) <= error), start=k + 1)


@checked(AnalysisError)
def trials_to_find(rate: float, *, power: float = 0.9, at_least: int = 1) -> int:
    """Return the fewest trials that show at least ``at_least`` successes with probability ``power``.

    Raises :class:`AnalysisError` as :func:`trials_to_bound` does.
    """
    check_probability("rate", rate)
    check_probability("power", power)
    if at_least < 1:
        raise AnalysisError(explain("at_least", required="a count >= 1", got=at_least, hint=""))
    return _first(lambda n: bool(binom.sf(at_least - 1, n, rate) >= power), start=at_least)


@checked(AnalysisError)
def power_to_find(rate: float, trials: int, *, at_least: int = 1) -> float:
    """Return the exact probability of at least ``at_least`` successes in ``trials`` at the true rate ``rate``."""
    if not 0 <= rate <= 1 or trials < 0 or at_least < 0:
        raise AnalysisError(
            explain(
                "rate, trials, at_least",
                required="a rate 0 to 1 and counts >= 0",
                got=(rate, trials, at_least),
                hint="",
            )
        )
    return float(binom.sf(at_least - 1, trials, rate))


@checked(AnalysisError)
def power_against(rate: float, trials: int, *, null_rate: float, error: float = 0.05) -> float:
    """Return the exact power of the one-sided binomial test of ``rate`` against ``null_rate``.

    The test rejects at the smallest count whose probability under ``null_rate`` is at most ``error``: use it
    where false alarms happen (``null_rate`` from the controls). Raises :class:`AnalysisError`.
    """
    check_probability("error", error)
    if not 0 <= null_rate <= rate <= 1 or trials < 1:
        raise AnalysisError(
            explain("rate", required="0 <= null_rate <= rate <= 1, trials >= 1", got=(null_rate, rate, trials), hint="")
        )
    critical = int(binom.isf(error, trials, null_rate)) + 1
    return float(binom.sf(critical - 1, trials, rate))


@guarded(AnalysisError)
@attrs.frozen
class Plan:
    """How many trials per cell a question needs.

    ``to_find`` shows at least ``at_least`` successes with probability ``power`` at the true rate ``rate``;
    ``to_bound`` is enough for a clean null to exclude ``rate`` at ``confidence`` (``sided``), for ``cells``
    cells at once.
    """

    rate: float
    power: float
    at_least: int
    confidence: float
    sided: Sided
    cells: int
    to_find: int
    to_bound: int

    @property
    def trials(self) -> int:
        """The trials per cell that answer both."""
        return max(self.to_find, self.to_bound)

    @property
    def sentence(self) -> str:
        """The plan in words."""
        found = "one success" if self.at_least == 1 else f"{self.at_least} successes"
        at_once = f" in all {self.cells} cells at once" if self.cells > 1 else ""
        sides = "two-sided" if self.sided == "two" else "one-sided"
        return (
            f"At a true rate of {percent(self.rate)}, {self.to_find} trials per cell show at least {found} with "
            f"probability {percent(self.power)}; {self.to_bound} trials without any exclude that rate{at_once} "
            f"({percent(self.confidence)} {sides})."
        )


@checked(AnalysisError)
def plan(
    rate: float,
    *,
    power: float = 0.9,
    at_least: int = 1,
    confidence: float = 0.95,
    sided: Sided = "two",
    cells: int = 1,
) -> Plan:
    """Return the trials per cell needed to find ``rate``, and to exclude it if nothing comes up.

    ``cells`` > 1 makes the exclusion hold for all cells at once (Bonferroni). Raises :class:`AnalysisError`.
    """
    if cells < 1:
        raise AnalysisError(explain("cells", required="a count >= 1", got=cells, hint=""))
    check_probability("confidence", confidence)
    at_once = 1 - (1 - confidence) / cells
    return Plan(
        rate,
        power,
        at_least,
        confidence,
        sided,
        cells,
        to_find=trials_to_find(rate, power=power, at_least=at_least),
        to_bound=trials_to_bound(rate, confidence=at_once, sided=sided),
    )


def _first(enough: Callable[[int], bool], start: int) -> int:
    high = start
    while not enough(high):
        high *= 2
        if high > MOST_TRIALS:
            raise AnalysisError(
                explain("rate", required=f"a rate that {MOST_TRIALS} trials can settle", got="one too small", hint="")
            )
    low = max(start, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _rank(part: pd.DataFrame, outcome: str) -> tuple[float, int, int]:
    applies = part[outcome].dropna()
    whole, claims, names = (part[c].fillna(value=False) for c in ("coherent", "affirmative", "identifies"))
    rate = float(applies.mean()) if len(applies) else -math.inf
    return rate, int((whole & (claims | names)).sum()), int(whole.sum())


def _cell_name(group: Mapping[str, Any]) -> str:
    stated = {name: value for name, value in group.items() if name != "arm" and not pd.isna(value)}
    return ", ".join(f"{n} {v:g}" if isinstance(v, float) else f"{n} {v}" for n, v in stated.items())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
