"""Bounds that hold at every moment of a run, so that it may stop when it has said enough."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

from ...boundaries import checked
from ...errors import AnalysisError, explain
from ..binomial import Sided, check_probability
from .values import Estimate, error_aside

#: The mixture's Beta(1/2, 1/2): it spreads its bets over all rates, somewhat more to those near 0 and 1.
PRIOR = (0.5, 0.5)

ANYTIME_ASSUMES = "trials of one cell are independent and of one rate; when the run stops may depend on what was seen"


@checked(AnalysisError)
def anytime(k: int, n: int, *, confidence: float = 0.95, sided: Sided = "two") -> Estimate:
    """Return the interval after ``k`` successes in the first ``n`` trials that may be looked at after every trial.

    With probability ``confidence`` the true rate lies in the intervals of all moments at once, so a run may be stopped
    for any reason: a null that is tight enough, a success, a budget. (A fixed interval that is looked at often enough
    misses almost surely.) Meant for the trials of one cell in the order of their draws. It doesn't hold for the pooled
    trials of concepts that differ.

    A rate p is excluded once the likelihood of the data under a Beta(1/2, 1/2) mixture of rates is more than 1 / error
    times that under p: such a ratio is a martingale under p and exceeds 1 / error at any time with at most the
    probability ``error`` (Ville). With ``sided`` ``upper`` or ``lower`` all of the error lies on one side, the mixture
    bounds both ends, and the other is not given.

    Source: Robbins 1970, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical
    Statistics 41; Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence
    sequences", Annals of Statistics 49, for the two-sided beta-binomial mixture. Their package ``confseq`` has had no
    release since January 2023 and has to be compiled.

    Raises:
        AnalysisError: impossible counts, or a confidence out of range.
    """
    check_probability("confidence", confidence)
    if not 0 <= k <= n:
        raise AnalysisError(explain("k", required=f"a count from 0 to n = {n}", got=k, hint="Check the counts."))
    low, high = (0.0, 1.0) if n == 0 else _ends(k, n, 1 - confidence)
    below, above = error_aside(confidence, sided)
    return Estimate(
        "rate",
        "these concepts",
        k / n if n else math.nan,
        low if below else 0.0,
        high if above else 1.0,
        confidence,
        sided,
        "beta-binomial mixture confidence sequence",
        ANYTIME_ASSUMES,
    )


@checked(AnalysisError)
def trials_to_stop(rate: float, *, confidence: float = 0.95, most: int = 10**7) -> int:
    """Return the trials after which a run without a success may stop, having excluded ``rate`` at any moment.

    Raises :class:`AnalysisError` for an argument out of range, or where more than ``most`` would be needed.
    """
    check_probability("rate", rate)
    check_probability("confidence", confidence)
    if not 1 <= most <= 10**9 or not _excludes(0, most, rate, 1 - confidence):
        raise AnalysisError(
            explain("rate", required=f"a rate that at most {most} trials can exclude", got=rate, hint="Raise most.")
        )
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _excludes(0, middle, rate, 1 - confidence) else (middle + 1, high)
    return low


def _log_ratio(k: int, n: int, rate: float) -> float:
    """Return the log of the mixture's likelihood over that of ``rate``."""
    a, b = PRIOR
    mixture = betaln(a + k, b + n - k) - betaln(a, b)
    return float(mixture - xlogy(k, rate) - xlog1py(n - k, -rate))


def _excludes(k: int, n: int, rate: float, error: float) -> bool:
    return _log_ratio(k, n, rate) >= -math.log(error)


def _ends(k: int, n: int, error: float) -> tuple[float, float]:
    """Return where the ratio, which is convex with its minimum at k / n, crosses 1 / error."""
    found = k / n

    def excess(rate: float) -> float:
        return _log_ratio(k, n, rate) + math.log(error)

    tiny = 1e-15
    low = 0.0 if k == 0 or excess(tiny) < 0 else float(brentq(excess, tiny, found, xtol=1e-12))
    high = 1.0 if k == n or excess(1 - tiny) < 0 else float(brentq(excess, found, 1 - tiny, xtol=1e-12))
    if k == 0:
        high = 1 - math.exp((betaln(PRIOR[0], PRIOR[1] + n) - betaln(*PRIOR) + math.log(error)) / n)
    if k == n:
        low = math.exp((betaln(PRIOR[0] + n, PRIOR[1]) - betaln(*PRIOR) + math.log(error)) / n)
    return low, high
