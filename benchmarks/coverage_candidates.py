"""The methods for a mean rate over concepts that were compared with the one that the library uses.

Each takes counts of shape (datasets, concepts), the trials of each concept, and the true mean, and says for each data
set whether its two-sided 95 % interval lies below or above that mean; where it exists in closed form, also its ends.
``benchmarks/coverage.py`` runs them.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, gammaln
from scipy.stats import t as student_t

ERROR = 0.05


def bootstrap(k, n, mean, rng, resamples=400):
    """Percentiles of resampled concepts: what was printed before."""
    x = k / n
    drawn = rng.integers(0, k.shape[1], size=(resamples, k.shape[1]))
    means = x[:, drawn].mean(axis=2)
    return np.quantile(means, ERROR / 2, axis=1), np.quantile(means, 1 - ERROR / 2, axis=1)


def logit_t(k, n, mean, rng):
    """A t interval on the logit of the mean, CR2 variance, Satterthwaite's concepts - 1 degrees of freedom.

    For an intercept alone and equal trials CR2 is the variance of the concepts' rates over their number, and
    Satterthwaite's degrees of freedom are exactly concepts - 1. Counts of none and all, where the logit does not exist,
    get 0 of the concepts' exact bound, which favours the method.
    """
    x, concepts = k / n, k.shape[1]
    centre, error = x.mean(axis=1), x.std(axis=1, ddof=1) / np.sqrt(concepts)
    with np.errstate(all="ignore"):
        reach = student_t.ppf(1 - ERROR / 2, concepts - 1) * error / (centre * (1 - centre))
        logit = np.log(centre / (1 - centre))
        low, high = 1 / (1 + np.exp(reach - logit)), 1 / (1 + np.exp(-reach - logit))
    end = 1 - (ERROR / 2) ** (1 / concepts)
    none, every = centre == 0, centre == 1
    return np.where(none, 0, np.where(every, 1 - end, low)), np.where(none, end, np.where(every, 1, high))


class BetaBinomial:
    """The likelihood of a beta-binomial model on a grid of mean and intra-class correlation."""

    def __init__(self, n: int) -> None:
        self.n = n
        small = np.geomspace(1e-4, 0.02, 40)[:-1]
        self.mean = np.concatenate([small, np.linspace(0.02, 0.98, 97), 1 - small[::-1]])
        self.icc = np.linspace(0.005, 0.995, 50)
        mean, icc = np.meshgrid(self.mean, self.icc, indexing="ij")
        a, b = mean * (1 / icc - 1), (1 - mean) * (1 / icc - 1)
        k = np.arange(n + 1)[:, None, None]
        choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        self.logs = (choose + betaln(a + k, b + n - k) - betaln(a, b)).reshape(n + 1, -1)

    def likelihood(self, k):
        """Return log likelihoods of shape (datasets, means, correlations)."""
        seen = np.stack([(k == j).sum(axis=1) for j in range(self.n + 1)], axis=1).astype(float)
        return (seen @ self.logs).reshape(len(k), len(self.mean), len(self.icc))

    def bayes(self, k, n, mean, rng):
        """Equal-tailed credible interval; Jeffreys' Beta(1/2, 1/2) for the mean, uniform for the correlation."""
        width = np.gradient(self.mean)
        logs = self.likelihood(k) + (np.log(width) - 0.5 * np.log(self.mean * (1 - self.mean)))[None, :, None]
        mass = np.exp(logs - logs.max(axis=(1, 2), keepdims=True)).sum(axis=2)
        below = mass.cumsum(axis=1) / mass.sum(axis=1, keepdims=True)
        return self._at(below >= ERROR / 2), self._at(below >= 1 - ERROR / 2)

    def profile(self, k, n, mean, rng):
        """Profile likelihood ratio, with the squared t quantile of concepts - 1 in place of chi squared."""
        ratio = self._ratio(k)
        return self._ends(ratio <= student_t.ppf(1 - ERROR / 2, k.shape[1] - 1) ** 2)

    def parametric(self, k, n, mean, rng, draws=200):
        """Inversion of a parametric bootstrap test: the ratio's quantile at the true mean, at the fitted correlation.

        Only the true mean is tested, so the ends are that mean or nothing, and no width can be told.
        """
        at = int(np.argmin(abs(self.mean - mean)))
        fitted = self.likelihood(k)[:, at].argmax(axis=1)
        ratio = self._ratio(k)[:, at]
        low, high = np.zeros(len(k)), np.ones(len(k))
        for which in np.unique(fitted):
            icc = self.icc[which]
            p = rng.beta(mean * (1 / icc - 1), (1 - mean) * (1 / icc - 1), size=(draws, k.shape[1]))
            limit = np.quantile(self._ratio(rng.binomial(n, p))[:, at], 1 - ERROR)
            low[(fitted == which) & (ratio > limit)] = 1.0
        return low, high

    def _ratio(self, k):
        best = self.likelihood(k).max(axis=2)
        return 2 * (best.max(axis=1, keepdims=True) - best)

    def _at(self, reached):
        return self.mean[reached.argmax(axis=1)]

    def _ends(self, kept):
        last = kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
        step = kept.argmax(axis=1)
        return self.mean[np.maximum(step - 1, 0)], self.mean[np.minimum(last + 1, len(self.mean) - 1)]
