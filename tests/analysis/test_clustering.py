"""Intervals over concepts: closed forms, coverage where trials are correlated, and honesty where there are few."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student_t

from introspection_bench.analysis import bootstrap_rate, hierarchical_rate, interval, records_frame
from introspection_bench.errors import AnalysisError


@pytest.fixture
def frame_of_counts(record):
    def make(hits, n=10):
        return records_frame(
            [
                record(i, (False, bool(i < k), None, True), concept=f"concept {c}")
                for c, k in enumerate(hits)
                for i in range(n)
            ]
        )

    return make


def test_with_equal_clusters_the_estimate_is_the_pooled_rate_with_the_closed_form_error(frame_of_counts) -> None:
    hits = np.array([0, 1, 2, 4, 8, 3])
    found = hierarchical_rate(frame_of_counts(hits), "identifies")
    rate, clusters = hits.mean() / 10, len(hits)
    # Intercept only, equal sizes: each cluster's leverage is 1/m, so residuals grow by m / (m - 1).
    residuals = (hits - 10 * rate) * clusters / (clusters - 1)
    error = math.sqrt((residuals**2).sum()) / (60 * rate * (1 - rate))
    reach = student_t.ppf(0.975, clusters - 1) * error
    logit = math.log(rate / (1 - rate))
    assert found.status == "estimated"
    assert found.rate == pytest.approx(rate, abs=1e-5)
    assert [found.low, found.high] == pytest.approx(
        [1 / (1 + math.exp(-(logit + s * reach))) for s in (-1, 1)], abs=1e-4
    )
    assert found.correlation > 0.1


def test_correlated_trials_widen_both_intervals_beyond_the_naive_one(frame_of_counts) -> None:
    frame = frame_of_counts([0, 0, 0, 10, 10, 0, 10, 0])
    naive = interval(30, 80)
    for found in (bootstrap_rate(frame, "identifies"), hierarchical_rate(frame, "identifies")):
        assert found.low < naive.low
        assert found.high > naive.high


def test_the_regression_covers_a_rate_that_varies_over_concepts(frame_of_counts) -> None:
    rng = np.random.default_rng(11)
    # Beta(1, 3) over concepts: the population's rate is 0.25.
    found = [
        hierarchical_rate(frame_of_counts(rng.binomial(5, rng.beta(1, 3, 12)), n=5), "identifies") for _ in range(60)
    ]
    inside = [f.low <= 0.25 <= f.high for f in found if f.status == "estimated"]
    assert len(inside) >= 55
    assert 0.85 <= np.mean(inside) <= 1


def test_few_concepts_give_an_interval_that_is_called_conditional(frame_of_counts) -> None:
    frame = frame_of_counts([2, 7])
    found = bootstrap_rate(frame, "identifies")
    assert found.status == "few clusters"
    assert "conditional on these concepts" in found.sentence
    assert (found.low, found.high) == (0.2, 0.7)
    assert math.isnan(hierarchical_rate(frame, "identifies").low)


@pytest.mark.parametrize("estimate", [bootstrap_rate, hierarchical_rate])
def test_a_null_over_concepts_is_bounded_by_the_concepts_and_not_by_zero_to_zero(estimate, frame_of_counts) -> None:
    found = estimate(frame_of_counts([0] * 8), "identifies")
    assert found.status == "degenerate"
    assert math.isnan(found.high)
    assert (found.with_any.k, found.with_any.n) == (0, 8)
    assert found.with_any.high == pytest.approx(1 - 0.025 ** (1 / 8))


def test_the_bootstrap_is_the_same_for_the_same_seed(frame_of_counts) -> None:
    frame = frame_of_counts([1, 5, 3, 0, 2, 9])
    ends = [(e.low, e.high) for e in (bootstrap_rate(frame, "identifies", seed=s, resamples=99) for s in (4, 4, 5))]
    assert ends[0] == ends[1] != ends[2]


def test_controls_alone_have_no_concepts_to_resample(record) -> None:
    with pytest.raises(AnalysisError, match="injected"):
        bootstrap_rate(records_frame([record(0, (False,) * 4, arm="control")]), "identifies")
