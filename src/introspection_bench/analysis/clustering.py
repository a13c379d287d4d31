"""Trials of one concept are not independent: intervals that treat the concept as the unit of sampling."""

from __future__ import annotations

import math
from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student_t

from ..boundaries import checked, guarded
from ..errors import AnalysisError, explain
from .binomial import Interval, bounds, check_draws, check_probability, interval, percent
from .selection import injected, require_columns, scored

Counts = npt.NDArray[np.int64]

#: Below this many concepts no between-concept variance is estimated.
FEWEST_CLUSTERS = 5


@guarded(AnalysisError)
@attrs.frozen
class ClusterEstimate:
    """A rate with an interval over clusters (concepts).

    ``low`` and ``high`` are NaN where nothing can be estimated. ``status`` says what came of it: ``estimated``;
    ``few clusters`` (the interval is conditional on the few concepts there are, or is not given);
    ``degenerate`` (all outcomes are equal, which no resampling and no regression can widen);
    ``not converged``. ``with_any`` is an exact interval for the share of clusters with at least one success: it
    treats the cluster as the trial, and is the statement that survives when the others fail. ``correlation`` is
    the within-cluster correlation, NaN where it was not estimated.
    """

    method: Literal["bootstrap", "gee"]
    outcome: str
    rate: float
    low: float
    high: float
    confidence: float
    trials: int
    clusters: int
    status: Literal["estimated", "few clusters", "degenerate", "not converged"]
    with_any: Interval
    correlation: float = math.nan

    @property
    def sentence(self) -> str:
        """The result in words."""
        any_ = self.with_any
        base = f"{self.outcome}: {percent(self.rate)} of {self.trials} trials over {self.clusters} concepts"
        base += "" if math.isnan(self.low) else f", {percent(self.confidence)} interval {bounds(self.low, self.high)}"
        reservation = {
            "estimated": f" over concepts ({self.method})",
            "few clusters": f". With fewer than {FEWEST_CLUSTERS} concepts this is conditional on these concepts and "
            "says nothing of others",
            "degenerate": ". All outcomes are equal, so neither resampling nor regression over concepts gives an "
            "interval",
            "not converged": ". The regression did not converge",
        }[self.status]
        return (
            f"{base}{reservation}; {any_.k} of {any_.n} concepts showed it at least once (at most "
            f"{percent(any_.high)} of concepts, {percent(any_.confidence)} two-sided)."
        )


@checked(AnalysisError)
def bootstrap_rate(
    frame: pd.DataFrame,
    outcome: str,
    *,
    cluster: str = "concept",
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ClusterEstimate:
    """Return the pooled rate with a percentile interval from resampling whole clusters.

    Args:
        frame: from :func:`introspection_bench.analysis.records_frame`; its scored injected trials to which the
            outcome applies are used.
        outcome: a criterion, ``strict`` or ``refused``.
        cluster: the column that names the cluster.
        resamples: how many resamples.
        confidence: of the interval.
        seed: of the resampling.

    Returns:
        The estimate. With fewer than :data:`FEWEST_CLUSTERS` clusters the interval is still given, with the
        status ``few clusters``: resampling two concepts can't show how concepts vary.

    Raises:
        AnalysisError: no such trial, or an argument out of range.
    """
    check_probability("confidence", confidence)
    check_draws("resamples", resamples, seed)
    k, n = _cluster_counts(frame, outcome, cluster)
    draws = np.random.default_rng(seed).integers(0, len(n), size=(resamples, len(n)))
    resampled = k[draws].sum(axis=1) / n[draws].sum(axis=1)
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    degenerate = k.sum() in (0, n.sum())
    status = "degenerate" if degenerate else "few clusters" if len(n) < FEWEST_CLUSTERS else "estimated"
    return _estimate(
        "bootstrap",
        outcome,
        (k, n),
        confidence=confidence,
        status=status,
        span=(math.nan, math.nan) if degenerate else (low, high),
    )


@checked(AnalysisError)
def hierarchical_rate(
    frame: pd.DataFrame, outcome: str, *, cluster: str = "concept", confidence: float = 0.95
) -> ClusterEstimate:
    """Return the population-average rate with an interval that accounts for correlation within clusters.

    The estimate is a generalised estimating equation (binomial, logit link, exchangeable correlation, intercept
    only). It was chosen over a mixed model because the rate that is reported everywhere else is the
    population-average one, which a logit-normal random intercept gives only after integration, and because
    statsmodels fits its binomial mixed model by a variational approximation without calibrated intervals. The
    variance is the bias-reduced sandwich (Mancl and DeRouen 2001, Biometrics 57) with a t reference of clusters
    - 1 degrees of freedom, since the plain sandwich is too small with few clusters.

    Args and errors as :func:`bootstrap_rate`. With fewer than :data:`FEWEST_CLUSTERS` clusters ``low`` and
    ``high`` are NaN and the status is ``few clusters``.

    Source: ``statsmodels.genmod.generalized_estimating_equations.GEE``.
    """
    check_probability("confidence", confidence)
    k, n = _cluster_counts(frame, outcome, cluster)
    if k.sum() in (0, n.sum()):
        return _estimate("gee", outcome, (k, n), confidence=confidence, status="degenerate")
    if len(n) < FEWEST_CLUSTERS:
        return _estimate("gee", outcome, (k, n), confidence=confidence, status="few clusters")
    import statsmodels.api as sm

    hits = np.concatenate([np.repeat([1.0, 0.0], [a, b - a]) for a, b in zip(k, n, strict=True)])
    model = sm.GEE(
        hits,
        np.ones((len(hits), 1)),
        groups=np.repeat(np.arange(len(n)), n),
        family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Exchangeable(),
    )
    fit = model.fit(cov_type="bias_reduced", maxiter=200)
    centre, error = float(fit.params[0]), float(fit.bse[0])
    if not fit.converged or not math.isfinite(centre) or not math.isfinite(error):
        return _estimate("gee", outcome, (k, n), confidence=confidence, status="not converged")
    reach = float(student_t.ppf((1 + confidence) / 2, len(n) - 1)) * error
    rate, low, high = (1 / (1 + math.exp(-x)) for x in (centre, centre - reach, centre + reach))
    found = _estimate("gee", outcome, (k, n), confidence=confidence, status="estimated", span=(low, high))
    return attrs.evolve(found, rate=rate, correlation=float(model.cov_struct.dep_params))


def _cluster_counts(frame: pd.DataFrame, outcome: str, cluster: str) -> tuple[Counts, Counts]:
    require_columns(frame, (outcome, cluster))
    used = scored(injected(frame)).dropna(subset=[outcome, cluster])
    if used.empty:
        raise AnalysisError(
            explain("frame", required=f"scored injected trials with {outcome!r} and {cluster!r}", got="none", hint="")
        )
    table = used.groupby(cluster, sort=True)[outcome].agg(["sum", "count"])
    return table["sum"].to_numpy(dtype=np.int64), table["count"].to_numpy(dtype=np.int64)


def _estimate(
    method: Literal["bootstrap", "gee"],
    outcome: str,
    counts: tuple[Counts, Counts],
    *,
    confidence: float,
    status: str,
    span: tuple[float, float] = (math.nan, math.nan),
) -> ClusterEstimate:
    k, n = counts
    return ClusterEstimate(
        method=method,
        outcome=outcome,
        rate=float(k.sum() / n.sum()),
        low=float(span[0]),
        high=float(span[1]),
        confidence=confidence,
        trials=int(n.sum()),
        clusters=len(n),
        status=status,  # type: ignore[arg-type]  # the callers above pass the literals
        with_any=interval(int((k > 0).sum()), len(k), confidence=confidence),
    )
