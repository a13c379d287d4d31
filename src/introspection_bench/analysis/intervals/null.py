"""What a null excludes under both estimands, how that depends on how much concepts vary, and for which concepts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom

from ...boundaries import checked, guarded
from ...errors import AnalysisError, explain
from ...freezing import frozen_tuple
from ..binomial import Sided, check_probability, percent
from .confidence import binomial_bounds, mean_bounds
from .means import these_concepts
from .values import ConceptCounts, Estimate, Floats, error_aside

#: The intra-class correlations at which the bound is stated: 0 is no variation, 1 means that a concept does it always
#: or never.
CORRELATIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


#: The curve is computed up to so many concepts times successes (each plus one).
LARGEST = 4_000


@guarded(AnalysisError)
@attrs.frozen
class VariationBound:
    """The upper bound ``high`` on the mean rate, if the intra-class correlation of concepts is at most ``icc``."""

    icc: float
    high: float


@guarded(AnalysisError)
@attrs.frozen
class ToleranceBound:
    """At least ``share`` of the concepts like these have a rate below ``rate``, with ``confidence`` (one-sided).

    ``rate`` is 1 where the concepts are too few to say it; ``needs`` is then the number of concepts that it takes, 0
    otherwise. ``at_rate`` and ``below_it`` say the same the other way round: at least ``below_it`` of the concepts have
    a rate below ``at_rate``.
    """

    share: float
    rate: float
    at_rate: float
    below_it: float
    concepts: int
    confidence: float
    needs: int = 0

    @property
    def sentence(self) -> str:
        """The bound in words."""
        sure = f"({percent(self.confidence)} one-sided)"
        other = f"at least {percent(self.below_it)} of concepts like these lie below {percent(self.at_rate)} {sure}"
        if self.needs:
            return (
                f"That at least {percent(self.share)} of concepts like these lie below some rate can't be said from "
                f"{self.concepts} of them: it takes {self.needs}; {other}."
            )
        return f"At least {percent(self.share)} of concepts like these lie below {percent(self.rate)}; {other}."


@guarded(AnalysisError)
@attrs.frozen
class NullBound:
    """What a null, or a small count, excludes.

    ``these`` is the interval for these concepts. ``high`` bounds the mean over concepts like these whatever their
    distribution, and is given at any number of concepts, being exact at a count of zero. ``curve`` holds the same bound
    under assumed limits to the variation of concepts. ``tolerance`` bounds single concepts rather than their mean.
    """

    counts: ConceptCounts
    these: Estimate
    high: float
    curve: tuple[VariationBound, ...] = attrs.field(converter=frozen_tuple)
    tolerance: ToleranceBound
    confidence: float
    sided: Sided

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is excluded, each with what it assumes."""
        sides = f"{percent(self.confidence)} {'two' if self.sided == 'two' else 'one'}-sided"
        curve = [b for b in self.curve if 0 < b.icc < 1 and b.high < 1]
        some = ", ".join(f"{percent(b.high)} if it is at most {b.icc:g}" for b in curve)
        first, second = (f"those above {percent(h)} are" if h < 1 else "none is" for h in (self.these.high, self.high))
        return (
            f"{self.counts}: of mean rates on these concepts, {first} excluded ({sides}).",
            f"Of mean rates over concepts like these, {second} excluded, however concepts vary ({sides}).",
            *([f"It depends on the intra-class correlation of concepts: {some}."] if some else []),
            self.tolerance.sentence,
        )


@checked(AnalysisError)
def null_bound(
    counts: ConceptCounts,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
    correlations: Sequence[float] = CORRELATIONS,
    share: float = 0.9,
    at_rate: float = 0.5,
) -> NullBound:
    """Return what a null excludes under both estimands, side by side.

    Args:
        counts: successes and trials of each concept; made for few or no successes, right for any.
        confidence: of each bound.
        sided: ``two`` or ``upper``.
        correlations: intra-class correlations, 0 to 1, at which :func:`bound_if_varying` is stated.
        share: the share of concepts that the tolerance bound is about.
        at_rate: the rate at which the tolerance bound is turned round.

    Raises:
        AnalysisError: an argument is out of range.
    """
    check_probability("confidence", confidence)
    if sided == "lower":
        raise AnalysisError(
            explain("sided", required="'two' or 'upper'", got=sided, hint="A lower bound excludes nothing above it.")
        )
    error = error_aside(confidence, sided)[1]
    return NullBound(
        counts,
        these_concepts(counts, confidence=confidence, sided=sided),
        mean_bounds(*np.unique(counts.rates, return_counts=True), 0, error)[1],
        [VariationBound(float(r), bound_if_varying(counts, float(r), error=error)) for r in correlations],
        tolerance_bound(counts, share=share, at_rate=at_rate, confidence=confidence),
        confidence,
        sided,
    )


@checked(AnalysisError)
def bound_if_varying(counts: ConceptCounts, icc: float, *, error: float = 0.025) -> float:
    """Return the upper bound on the mean rate over concepts like these, if their correlation is at most ``icc``.

    The correlation is Var(p) / (m (1 - m)) of the concepts' true rates p with mean m. At a count of zero the bound is
    exact for every distribution over concepts: of all with mean m and that variance, the one that is most likely to
    show nothing leaves some concepts at 0 and gives the others the rate m + icc (1 - m), since (1 - p)^n has
    derivatives of alternating sign (a Chebyshev system). At other counts it is the bound for the total under the least
    favourable distribution of two rates (a search among those of three found none worse); where trials differ between
    concepts, their harmonic mean stands for them. Beyond :data:`LARGEST` counts, where a curve is of no use, it is the
    bound that assumes nothing.

    Args:
        counts: successes and trials of each concept.
        icc: 0 (concepts are alike; the Clopper-Pearson bound of the pooled count) to 1 (a concept always or never
            does it).
        error: left above the bound; 0.025 belongs to a two-sided 95 %.

    Raises:
        AnalysisError: an argument is out of range.
    """
    check_probability("error", error)
    if not 0 <= icc <= 1:
        raise AnalysisError(explain("icc", required="a correlation from 0 to 1", got=icc, hint=""))
    seen, n = sum(counts.successes), np.asarray(counts.trials, dtype=np.float64)
    alike = binomial_bounds(seen, sum(counts.trials), 0, error)[1]
    if icc == 0:
        return alike
    if seen and (counts.concepts + 1) * (seen + 1) > LARGEST:
        return max(alike, mean_bounds(*np.unique(counts.rates, return_counts=True), 0, error)[1])

    def excess(mean: float) -> float:
        chance = _log_at_most(counts, mean, icc) if seen else _log_none(n, mean, icc)
        return chance - math.log(error)

    least, most = max(counts.rate, 1e-12), 1 - 1e-12
    if least >= most or excess(most) > 0:
        return 1.0
    return float(brentq(excess, least, most, xtol=1e-10)) if excess(least) > 0 else least


def _log_none(n: Floats, mean: float, icc: float) -> float:
    """Return the log of the largest probability of no success at all, over the distributions of concepts' rates."""
    rate = mean + icc * (1 - mean)
    active = mean / rate
    none = np.expm1(n * math.log1p(-rate)) if rate < 1 else -np.ones_like(n)
    return float(np.log1p(active * none).sum())


def _log_at_most(counts: ConceptCounts, mean: float, icc: float) -> float:
    """Return the log of the largest probability of no more successes than seen, over the distributions of two rates."""
    concepts = counts.concepts
    trials = max(math.floor(concepts / sum(1 / n for n in counts.trials) + 1e-9), 1)
    seen = math.ceil(counts.rate * concepts * trials - 1e-9)
    # The lower rate; the upper one and its share follow from mean and variance, and it must not exceed 1.
    lower = (np.linspace(0, 1, 17) * mean * (1 - icc))[:, None, None]
    upper = np.minimum(mean + icc * mean * (1 - mean) / (mean - lower), 1.0)
    active = (mean - lower) / (upper - lower)
    some, part = np.arange(concepts + 1)[None, :, None], np.arange(seen + 1)[None, None, :]
    at_most = binom.pmf(part, some * trials, upper) * binom.cdf(seen - part, (concepts - some) * trials, lower)
    totals = (binom.pmf(some, concepts, active)[..., 0] * at_most.sum(axis=-1)).sum(axis=-1)
    most = float(totals.max())
    return math.log(most) if most > 0 else -math.inf


@checked(AnalysisError)
def tolerance_bound(
    counts: ConceptCounts, *, share: float = 0.9, at_rate: float = 0.5, confidence: float = 0.95
) -> ToleranceBound:
    """Return the rate below which at least a share of the concepts like these lie.

    A concept whose rate is above x shows more than j successes in n trials with at least the probability P(Bin(n, x) >
    j). With j the largest count seen, no concept showed more, which has at most the probability
    (1 - s P(Bin(n, x) > j))^c where a share s of concepts lies above x; so s is excluded where this is below the error.
    That holds although j is taken from the data, since the bound grows with j. With many concepts some of the highest
    counts may be set aside, how many being fixed by the number of concepts and the share alone (a nonparametric
    tolerance limit for what is seen with binomial noise). No distribution over concepts is assumed.

    Raises:
        AnalysisError: an argument is out of range.
    """
    for name, value in (("share", share), ("at_rate", at_rate), ("confidence", confidence)):
        check_probability(name, value)
    error = 1 - confidence
    aside = _set_aside(counts.concepts, 1 - share, error)
    fewest = math.ceil(math.log(error) / math.log(share) - 1e-9)

    def above(rate: float, aside: int) -> float:
        return _share_above(counts, rate, aside, error)

    rate = 1.0
    if above(1.0, aside) <= 1 - share:
        # Seen from above the highest rate kept, the share is a falling function of the rate.
        tiny = 1e-12
        settled = above(tiny, aside) <= 1 - share  # at a confidence of almost 0 nothing is left standing
        rate = tiny if settled else float(brentq(lambda x: min(above(x, aside), 2.0) - (1 - share), tiny, 1, xtol=1e-9))
    return ToleranceBound(
        share,
        rate,
        at_rate,
        1 - min(above(at_rate, 0), 1.0),
        counts.concepts,
        confidence,
        needs=max(fewest, counts.concepts + 1) if rate == 1.0 else 0,
    )


def _set_aside(concepts: int, share: float, error: float) -> int:
    """Return how many of the highest counts may be set aside: so many that 80 % detection would still suffice."""
    aside = 0
    # One count is always kept: at an error of almost 1 any number may be set aside.
    while aside + 1 < concepts and binom.cdf(aside + 1, concepts, 0.8 * share) <= error:
        aside += 1
    return aside


def _share_above(counts: ConceptCounts, rate: float, aside: int, error: float) -> float:
    """Return the largest share of concepts above ``rate`` that is not excluded; above 1 where all may be."""
    highest = np.sort(counts.rates)[::-1][aside]
    n = np.asarray(counts.trials)
    most = np.floor(highest * n + 1e-9)
    shown = binom.sf(most, n, rate)  # a concept at the rate shows more than the highest count kept
    # With trials that differ, the concept least likely to show it stands for all.
    least = float(shown.min())
    if least <= 0:
        return math.inf
    return binomial_bounds(aside, counts.concepts, 0, error)[1] / least
