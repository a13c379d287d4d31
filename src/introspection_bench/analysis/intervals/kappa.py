"""Agreement of two judges on a yes-or-no criterion, with intervals that hold where hardly anything is a yes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import attrs
import numpy as np
from scipy.special import gammaincinv
from scipy.stats import qmc

from ...boundaries import checked, guarded
from ...errors import AnalysisError, explain
from ..binomial import Interval, Sided, check_probability, interval
from .confidence import NET
from .values import Estimate, Floats, error_aside

#: What is added to both, first only, second only, neither: for the lower bound one more of each disagreement, for the
#: upper half of each agreement. Chosen by exact coverage over every table: the smallest of the halves that holds.
LOWER_EXTRA = (0.0, 1.0, 1.0, 0.0)
UPPER_EXTRA = (0.5, 0.0, 0.0, 0.5)

ASSUMES = "replies are independent draws; both judges answered each of them"


@guarded(AnalysisError)
@attrs.frozen
class PairTable:
    """How often two judges said yes: both, the first only, the second only, neither.

    Raises :class:`AnalysisError` for negative counts or no reply.
    """

    both: int
    first_only: int
    second_only: int
    neither: int

    def __attrs_post_init__(self) -> None:
        if min(self.cells) < 0 or not 1 <= self.n <= 10**9:
            raise AnalysisError(
                explain("table", required="counts >= 0 of at least one reply", got=self.cells, hint="Check the counts.")
            )

    @property
    def cells(self) -> tuple[int, int, int, int]:
        """The four counts in the order of the fields."""
        return self.both, self.first_only, self.second_only, self.neither

    @property
    def n(self) -> int:
        """All replies."""
        return sum(self.cells)


@guarded(AnalysisError)
@attrs.frozen
class PairAgreement:
    """Agreement of two judges, and what kappa hides.

    ``kappa`` (NaN where a judge never varies and so chance agreement is complete) and Gwet's ``ac1``, each with its
    interval; ``agreement``, the share of equal answers. ``prevalence_index`` = (both - neither) / n: near -1 or 1 kappa
    is low at the same agreement. ``bias_index`` = (first only - second only) / n: how much more often the first judge
    says yes.
    """

    table: PairTable
    kappa: Estimate
    ac1: Estimate
    agreement: Interval
    prevalence_index: float
    bias_index: float


@checked(AnalysisError)
def pair_agreement(table: PairTable, *, confidence: float = 0.95, sided: Sided = "two") -> PairAgreement:
    """Return kappa and AC1 of a two-by-two table with intervals, and the prevalence and bias indices.

    The interval is made as Clopper and Pearson's is, of more than one number: the lower bound is a quantile of kappa
    when the four probabilities follow a Dirichlet distribution of the counts and one more of each disagreement, the
    upper bound with half of each agreement more. So 20 replies in agreement do not give 1.00 to 1.00. Coverage was
    summed over every table of 10, 20 and 40 replies for prevalences from .01 to .5, kappas from -.1 to 1 and judges of
    unequal rates: at least 0.965 for kappa at a stated 0.95.

    Raises:
        AnalysisError: a confidence out of range.

    Source: Cohen 1960, Educational and Psychological Measurement 20; the indices Byrt, Bishop and Carlin 1993, Journal
    of Clinical Epidemiology 46; AC1 Gwet 2008, British Journal of Mathematical and Statistical Psychology 61. The
    interval is our own.
    """
    check_probability("confidence", confidence)
    below, above = error_aside(confidence, sided)
    a, b, c, d = table.cells
    shares = np.array(table.cells, dtype=np.float64) / table.n
    lower, upper = _draws(table, LOWER_EXTRA), _draws(table, UPPER_EXTRA)

    def estimate(name: str, of: Callable[[Floats], Floats]) -> Estimate:
        found = float(of(shares))
        low = _quantile(np.nan_to_num(of(lower), nan=-1.0), below) if below else -1.0
        high = _quantile(np.nan_to_num(of(upper), nan=1.0), 1 - above) if above else 1.0
        if not math.isnan(found):
            low, high = min(low, found), max(high, found)
        method = "quantiles under Dirichlet weights"
        return Estimate(name, "these concepts", found, low, high, confidence, sided, method, ASSUMES)

    return PairAgreement(
        table,
        estimate("kappa", kappa_of),
        estimate("AC1", ac1_of),
        interval(a + d, table.n, confidence=confidence),
        (a - d) / table.n,
        (b - c) / table.n,
    )


def kappa_of(shares: Floats) -> Floats:
    """Return Cohen's kappa of shares (..., 4) in the order of :class:`PairTable`; NaN where it does not exist."""
    a, b, c, d = np.moveaxis(shares, -1, 0)
    chance = (a + b) * (a + c) + (c + d) * (b + d)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(1 - chance > 1e-12, (a + d - chance) / (1 - chance), np.nan))


def ac1_of(shares: Floats) -> Floats:
    """Return Gwet's AC1 of shares (..., 4)."""
    a, b, c, d = np.moveaxis(shares, -1, 0)
    yes = a + (b + c) / 2
    chance = 2 * yes * (1 - yes)
    return np.asarray((a + d - chance) / (1 - chance))


def _draws(table: PairTable, extra: tuple[float, float, float, float]) -> Floats:
    """Return draws (points, 4) of the probabilities: gamma variables from one fixed net, divided by their sum."""
    net = _net()
    shapes = [k + e for k, e in zip(table.cells, extra, strict=True)]
    gammas = np.stack(
        [gammaincinv(s, net[:, i]) if s > 0 else np.zeros(len(net)) for i, s in enumerate(shapes)], axis=-1
    )
    return np.asarray(gammas / gammas.sum(axis=-1, keepdims=True))


@lru_cache(maxsize=1)
def _net() -> Floats:
    return np.asarray(qmc.Sobol(4, rng=np.random.default_rng(0)).random_base2(NET))


def _quantile(values: Floats, level: float) -> float:
    return float(np.quantile(values, level))
