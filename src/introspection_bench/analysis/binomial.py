"""One binomial rate with its interval, and how shares are written."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import attrs
from scipy.stats import binomtest

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain

Method = Literal["clopper-pearson", "wilson"]
Sided = Literal["two", "upper", "lower"]

_SCIPY_METHOD = {"clopper-pearson": "exact", "wilson": "wilson"}
# scipy names the test's alternative: "less" leaves an upper bound, "greater" a lower one.
_SCIPY_ALTERNATIVE = {"two": "two-sided", "upper": "less", "lower": "greater"}


@guarded(AnalysisError)
@attrs.frozen
class Interval:
    """A binomial rate ``k / n`` with its confidence interval ``low`` to ``high``.

    ``sided`` ``upper`` has ``low`` 0 and all of the error above; ``lower`` has ``high`` 1. With ``n`` 0 the
    rate is NaN and the interval 0 to 1.
    """

    k: int
    n: int
    low: float
    high: float
    confidence: float
    sided: Sided
    method: Method

    @property
    def rate(self) -> float:
        """``k / n``, NaN for ``n`` 0."""
        return self.k / self.n if self.n else float("nan")

    def __str__(self) -> str:
        rate = percent(self.rate) if self.n else "no rate"
        return f"{self.k}/{self.n} = {rate} ({percent(self.confidence)} interval {bounds(self.low, self.high)})"


@checked(AnalysisError)
@lru_cache(maxsize=4096)  # scipy takes 3 ms for one, and a grid asks for the same k of n again and again
def interval(
    k: int,
    n: int,
    *,
    method: Method = "clopper-pearson",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Interval:
    """Return the confidence interval of a binomial rate.

    Args:
        k: successes, 0 <= k <= n.
        n: trials; 0 gives the interval from 0 to 1.
        method: ``clopper-pearson`` (exact: covers at least ``confidence`` at every rate) or ``wilson`` (score
            interval: narrower, covers ``confidence`` on average; at 0.95 as little as 0.79 of one trial, 0.82 of two,
            0.835 of ten or more, at rates near 0 and 1).
        confidence: between 0 and 1, both excluded.
        sided: ``two``, or all of the error on one side (``upper`` bound, ``lower`` bound).

    Raises:
        AnalysisError: an argument is outside what is stated.

    Source: ``scipy.stats.binomtest(...).proportion_ci``.

    >>> none_of_20 = interval(0, 20)
    >>> round(none_of_20.low, 3), round(none_of_20.high, 3)
    (0.0, 0.168)
    """
    if not 0 <= k <= n:
        raise AnalysisError(explain("k", required=f"a count from 0 to n = {n}", got=k, hint="Check the counts."))
    check_probability("confidence", confidence)
    for name, value, allowed in (("method", method, _SCIPY_METHOD), ("sided", sided, _SCIPY_ALTERNATIVE)):
        if value not in allowed:
            raise AnalysisError(explain(name, required=f"one of {list(allowed)}", got=value, hint=""))
    if n == 0:
        return Interval(0, 0, 0.0, 1.0, confidence, sided, method)
    found = binomtest(int(k), int(n), alternative=_SCIPY_ALTERNATIVE[sided]).proportion_ci(
        confidence_level=confidence, method=_SCIPY_METHOD[method]
    )
    return Interval(int(k), int(n), float(found.low), float(found.high), confidence, sided, method)


@checked(AnalysisError)
def percent(share: float) -> str:
    """Return a share as a percentage of three significant digits: ``0.918 %``, ``16.8 %``, ``95 %``; ``–`` for NaN.

    What is less than 100 % is never written as that: ``99.96 %``. All sentences and tables use this one rule.
    """
    value = 100 * share
    if math.isnan(value):
        return "–"
    text = f"{value:.3g}"
    if value < 100 <= float(text):
        text = f"{100 - float(f'{100 - value:.1g}'):.15g}"
    return f"{text} %"


@checked(AnalysisError)
def bounds(low: float, high: float) -> str:
    """Return an interval of shares: ``0 to 16.8 %``."""
    return f"{percent(low).removesuffix(' %')} to {percent(high)}"


def check_probability(name: str, value: float) -> None:
    """Raise :class:`AnalysisError` unless 0 < value < 1."""
    if not 0 < value < 1:
        raise AnalysisError(explain(name, required="a number between 0 and 1, both excluded", got=value, hint=""))


def check_draws(name: str, value: int, seed: int) -> None:
    """Raise :class:`AnalysisError` unless there are at least two random draws, of at most ten million, and a seed."""
    for called, given, least in ((name, value, 2), ("seed", seed, 0)):
        if not least <= given <= 10**7 and (called == name or given < 0):
            raise AnalysisError(
                explain(called, required=f"a whole number from {least} to 10,000,000", got=given, hint="")
            )
