"""Rates corrected for a judge whose error is known (Rogan and Gladen)."""

from __future__ import annotations

import math

import attrs
import numpy as np

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from .binomial import Interval, check_draws, check_probability, interval


@guarded(AnalysisError)
@attrs.frozen
class JudgeAccuracy:
    """How a judge did against labels: of ``positives`` true cases it found ``true_positives``, and so on.

    Counts are of replies in a labelled sample that was drawn without regard to the judge's verdicts.
    """

    true_positives: int
    positives: int
    true_negatives: int
    negatives: int

    @property
    def sensitivity(self) -> Interval:
        """The share of true cases that it calls true."""
        return interval(self.true_positives, self.positives)

    @property
    def specificity(self) -> Interval:
        """The share of false cases that it calls false."""
        return interval(self.true_negatives, self.negatives)


@guarded(AnalysisError)
@attrs.frozen
class CorrectedRate:
    """A rate after correction for the judge's error.

    ``raw`` is what the judge said. ``rate`` = (raw + specificity - 1) / (sensitivity + specificity - 1), cut to
    0..1 (``unclipped`` is the value before the cut). ``low`` and ``high`` carry the uncertainty of the rate and
    of the judge's error. ``informative`` is False where the labels can't tell the judge from a coin; the
    interval is then 0 to 1.
    """

    raw: Interval
    rate: float
    unclipped: float
    low: float
    high: float
    confidence: float
    informative: bool


@checked(AnalysisError)
def corrected_rate(
    k: int, n: int, error: JudgeAccuracy, *, confidence: float = 0.95, draws: int = 100_000, seed: int = 0
) -> CorrectedRate:
    """Return the Rogan-Gladen estimate of the true rate with an interval.

    Args:
        k: replies that the judge calls true.
        n: replies that it scored.
        error: the judge's counts against labels; both kinds of cases must be in the sample.
        confidence: of the interval.
        draws: Monte Carlo draws behind the interval.
        seed: of the draws.

    Returns:
        The estimate. The interval is the equal-tailed one of the corrected rate when raw rate, sensitivity and
        specificity are drawn independently from their Jeffreys posteriors, Beta(k + 1/2, n - k + 1/2).

    Raises:
        AnalysisError: no labelled case of one kind, or sensitivity + specificity <= 1 (a judge that is no better than
            chance carries no information about the rate).

    Source: Rogan and Gladen 1978, American Journal of Epidemiology 107.
    """
    check_probability("confidence", confidence)
    check_draws("draws", draws, seed)
    raw = interval(k, n, confidence=confidence)
    if n == 0 or error.positives == 0 or error.negatives == 0:
        raise AnalysisError(
            explain(
                "error",
                required="scored replies, and labelled cases of both kinds",
                got=(n, error),
                hint="Label more replies: 'introspection-bench label RUN'.",
            )
        )
    gain = error.sensitivity.rate + error.specificity.rate - 1
    if gain <= 0:
        raise AnalysisError(
            explain(
                "error",
                required="sensitivity + specificity above 1",
                got=f"{gain + 1:.3f}",
                hint="This judge is no better than chance on this criterion; no correction can mend that.",
            )
        )
    unclipped = (raw.rate + error.specificity.rate - 1) / gain
    rng = np.random.default_rng(seed)
    rate, sensitivity, specificity = (
        rng.beta(hits + 0.5, total - hits + 0.5, size=draws)
        for hits, total in ((k, n), (error.true_positives, error.positives), (error.true_negatives, error.negatives))
    )
    gains = sensitivity + specificity - 1
    informative = bool(np.mean(gains <= 0) < (1 - confidence) / 2)
    low, high = 0.0, 1.0
    if informative:
        kept = gains > 0
        corrected = np.clip((rate[kept] + specificity[kept] - 1) / gains[kept], 0, 1)
        low, high = (float(q) for q in np.quantile(corrected, [(1 - confidence) / 2, (1 + confidence) / 2]))
        point = min(max(unclipped, 0.0), 1.0)
        # The cut can leave the point estimate at the very edge of the parameter space, outside the quantiles.
        low, high = min(low, point), max(high, point)
    if math.isnan(low) or math.isnan(high):
        raise AnalysisError(explain("draws", required="enough draws for an interval", got=draws, hint=""))
    return CorrectedRate(raw, min(max(unclipped, 0.0), 1.0), unclipped, low, high, confidence, informative)
