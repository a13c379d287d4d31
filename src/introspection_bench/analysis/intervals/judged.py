"""The judge as a source of error: corrected rates, differences and d′, labels by hand, and trials without a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np

from ...boundaries import checked, guarded
from ...errors import AnalysisError, explain
from ..binomial import Sided, check_probability
from ..calibration import JudgeAccuracy
from .confidence import Confidence, binomial_confidence, mean_confidence, meld, melded, quantiles, spread
from .discrimination import bounds_of, d_prime_of, smoothed
from .kappa import PairTable
from .means import concepts_needed, confidence_of, like_these, these_concepts
from .values import FEWEST_CONCEPTS, ConceptCounts, Estimand, Estimate, Floats, error_aside

JUDGE_ASSUMES = (
    "the judge errs in these trials as it did in the labelled replies, and independently of one reply to the next"
)
METHOD = "Rogan-Gladen, melded from exact bounds"


@checked(AnalysisError)
def judged_rate(
    counts: ConceptCounts,
    judge: JudgeAccuracy,
    *,
    estimand: Estimand = "these concepts",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the true rate behind a judge's verdicts (Rogan and Gladen 1978), a null included.

    Args:
        counts: what the judge called true.
        judge: its counts against labels, from replies like these (the same arm, as coherent); see
            :func:`curve_over_sensitivity` where there are no such labels.
        estimand: whether the concepts are fixed or could have been others.
        confidence: of the interval.
        sided: two-sided, or one bound.

    Returns:
        The corrected rate, cut to 0..1. The interval is melded from the exact bounds of the raw rate, the sensitivity
        and the false-positive rate. Where the labels can't tell the judge from a coin it is 0 to 1; nothing is an error
        of the input as long as labelled cases of both kinds exist.

    Raises:
        AnalysisError: no labelled case of one kind, sensitivity not above the false-positive rate in the labels, or an
            argument out of range.
    """
    check_probability("confidence", confidence)
    sensitivity, alarm = _informative(judge)
    below, above = error_aside(confidence, sided)
    found = _corrected(counts.rate, sensitivity, alarm)
    needs = _needs(counts, estimand, confidence, sided)
    low = high = math.nan
    if not needs:
        parts = (confidence_of(counts, estimand), *_judge_parts(judge))
        rises = (True, False, False)
        low = max(meld(_or_none, parts, rises, below=below, above=0)[0], 0.0)
        high = min(meld(_or_all, parts, rises, below=0, above=above)[1], 1.0)
    return _estimate(
        "corrected rate", estimand, float(found), (low, high), confidence=confidence, sided=sided, needs=needs
    )


@checked(AnalysisError)
def judged_difference(
    first: ConceptCounts,
    second: ConceptCounts,
    judge: JudgeAccuracy,
    *,
    second_judge: JudgeAccuracy | None = None,
    estimand: Estimand = "these concepts",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the first arm's true rate less the second's, both corrected for the judge's error.

    With one ``judge`` for both arms the difference of the raw rates is divided by sensitivity less false-positive rate.
    Give ``second_judge`` where the labels are by arm: sensitivity on garbled injected text is not that on controls.
    Other arguments and errors as :func:`judged_rate`.
    """
    check_probability("confidence", confidence)
    error = error_aside(confidence, sided)
    raw = (confidence_of(first, estimand), confidence_of(second, estimand))
    needs = _needs(first, estimand, confidence, sided, second)
    rates = [_informative(judge), _informative(second_judge or judge)]
    one, two = (float(_corrected(arm.rate, s, f)) for arm, (s, f) in zip((first, second), rates, strict=True))
    low = high = math.nan
    if not needs and second_judge is None:
        gain = melded(np.subtract, _judge_parts(judge), (True, False))
        low, high = _ratio_bounds(melded(np.subtract, raw, (True, False)), gain, error)
    elif not needs and second_judge is not None:
        parts = (_true_rate(raw[0], judge), _true_rate(raw[1], second_judge))
        low, high = meld(np.subtract, parts, (True, False), below=error[0], above=error[1])
    return _estimate(
        "corrected difference of rates",
        estimand,
        one - two,
        (max(low, -1.0), min(high, 1.0)) if not needs else (low, high),
        confidence=confidence,
        sided=sided,
        needs=needs,
    )


@checked(AnalysisError)
def judged_d_prime(
    signal: ConceptCounts,
    noise: ConceptCounts,
    judge: JudgeAccuracy,
    *,
    noise_judge: JudgeAccuracy | None = None,
    estimand: Estimand = "these concepts",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return d′ of the true rates behind a judge's verdicts.

    Each rate is corrected by itself, ``noise`` by ``noise_judge`` where there is one. With one judge for both, its
    error is taken against the claim on both sides although it is the same error, which makes the interval wider than it
    need be. A rate that can't be told from 0 or 1 leaves d′ without a bound on that side. Other arguments and errors as
    :func:`judged_rate`.
    """
    check_probability("confidence", confidence)
    needs = _needs(signal, estimand, confidence, sided, noise)
    judges = (judge, noise_judge or judge)
    accuracies = [_informative(j) for j in judges]
    pulled = [_corrected(rate, s, f) for rate, (s, f) in zip(smoothed(signal, noise), accuracies, strict=True)]
    edge = 1 / (2 + sum(signal.trials) + sum(noise.trials))
    found = float(d_prime_of(*(np.clip(p, edge, 1 - edge) for p in pulled)))
    low = high = math.nan
    if not needs:
        hit, alarm = (
            _true_rate(confidence_of(arm, estimand), j) for arm, j in zip((signal, noise), judges, strict=True)
        )
        low, high = bounds_of("d′", (hit, alarm), error_aside(confidence, sided))
    return _estimate("d′, corrected", estimand, found, (low, high), confidence=confidence, sided=sided, needs=needs)


@guarded(AnalysisError)
@attrs.frozen
class AtSensitivity:
    """The corrected rate and its interval, if the judge's sensitivity were ``sensitivity``."""

    sensitivity: float
    rate: float
    low: float
    high: float


@checked(AnalysisError)
def curve_over_sensitivity(
    counts: ConceptCounts,
    sensitivities: Sequence[float] = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0),
    *,
    false_positive_rate: float = 0.0,
    estimand: Estimand = "these concepts",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> tuple[AtSensitivity, ...]:
    """Return the corrected rate under each assumed sensitivity, for strata that the labels say nothing of.

    Args:
        counts: what the judge called true.
        sensitivities: shares of the true cases that the judge might find, above ``false_positive_rate`` to 1.
        false_positive_rate: the share of the false cases that it calls true, likewise assumed.
        estimand: whether the concepts are fixed or could have been others.
        confidence: of each interval, given the sensitivity.
        sided: two-sided, or one bound.

    Raises:
        AnalysisError: an argument is out of range, or concepts like these are too few.
    """
    if not 0 <= false_positive_rate < 1 or any(not false_positive_rate < s <= 1 for s in sensitivities):
        raise AnalysisError(
            explain(
                "sensitivities, false_positive_rate",
                required="0 <= false_positive_rate < sensitivity <= 1",
                got=(list(sensitivities)[:8], false_positive_rate),
                hint="A judge at or below its false-positive rate says nothing.",
            )
        )
    raw = (these_concepts if estimand == "these concepts" else like_these)(counts, confidence=confidence, sided=sided)
    if not raw.said:
        raise AnalysisError(explain("counts", required="enough concepts", got=raw.needs, hint=""))

    def corrected(rate: float, sensitivity: float) -> float:
        return min(max((rate - false_positive_rate) / (sensitivity - false_positive_rate), 0.0), 1.0)

    return tuple(
        AtSensitivity(float(s), *(corrected(r, s) for r in (raw.estimate, raw.low, raw.high))) for s in sensitivities
    )


@checked(AnalysisError)
def prediction_powered(
    k: int, n: int, labelled: PairTable, *, confidence: float = 0.95, sided: Sided = "two"
) -> Estimate:
    """Return the rate that a person would find, from a judge's verdicts on all replies and a person's on some.

    The judge's rate on the unlabelled replies, plus the mean of person less judge on the labelled ones (prediction-
    powered inference for a mean). It needs no assumption on the judge, only that the labelled replies were drawn at
    random from the same ones. The interval is melded from Clopper and Pearson's for the first part and Gaffke's for the
    second, so that it holds with few labels and at rates of 0, where the normal interval of ``ppi-python`` has no
    width.

    Args:
        k: unlabelled replies that the judge calls true.
        n: unlabelled replies that it scored, at least 1.
        labelled: the labelled replies, the judge being the first and the person the second.
        confidence: of the interval.
        sided: two-sided, or one bound.

    Raises:
        AnalysisError: impossible counts, or a confidence out of range.

    Source: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, Science 382.
    """
    check_probability("confidence", confidence)
    if not (n >= 1 and 0 <= k <= n):
        raise AnalysisError(explain("k, n", required="0 <= k <= n and n >= 1", got=(k, n), hint="Check the counts."))
    below, above = error_aside(confidence, sided)
    found = k / n + (labelled.second_only - labelled.first_only) / labelled.n
    seen = (labelled.first_only, labelled.both + labelled.neither, labelled.second_only)
    rectifier = mean_confidence((0.0, 0.5, 1.0), seen).scaled(2.0, -1.0)
    low, high = meld(np.add, (binomial_confidence(k, n), rectifier), (True, True), below=below, above=above)
    found = min(max(found, 0.0), 1.0)
    return Estimate(
        "rate by a person's measure",
        "these concepts",
        found,
        min(max(low, 0.0), found),
        max(min(high, 1.0), found),
        confidence,
        sided,
        "prediction-powered, melded from exact bounds",
        "the labelled replies are a random part of all; replies are independent",
    )


@checked(AnalysisError)
def worst_case(
    counts: ConceptCounts,
    unscored: Sequence[int],
    *,
    estimand: Estimand = "these concepts",
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate:
    """Return the interval that holds whatever the unscored and excluded trials would have been.

    Its lower bound counts all of them as failures, its upper bound as successes. For false alarms read it the other way
    round: what speaks for an effect is the lower bound of the hits against the upper bound of the false alarms.

    Args:
        counts: of the scored trials.
        unscored: how many more trials each concept has, scored or not being all that differs.
        estimand: whether the concepts are fixed or could have been others.
        confidence: of the interval.
        sided: two-sided, or one bound.

    Raises:
        AnalysisError: another number of concepts, a negative count, or an argument out of range.
    """
    if len(unscored) != counts.concepts or min(unscored) < 0:
        raise AnalysisError(
            explain(
                "unscored", required=f"{counts.concepts} counts >= 0, one a concept", got=list(unscored)[:8], hint=""
            )
        )
    trials = [n + u for n, u in zip(counts.trials, unscored, strict=True)]
    failed = ConceptCounts(counts.successes, trials)
    succeeded = ConceptCounts([k + u for k, u in zip(counts.successes, unscored, strict=True)], trials)
    of = these_concepts if estimand == "these concepts" else like_these
    low, high = (of(c, confidence=confidence, sided=sided) for c in (failed, succeeded))
    return attrs.evolve(
        low,
        quantity="rate, whatever the unscored are",
        estimate=counts.rate,
        high=high.high,
        method=f"{low.method}, unscored as failures below and as successes above",
    )


def _informative(judge: JudgeAccuracy) -> tuple[float, float]:
    """Return the labels' sensitivity and false-positive rate, or raise where no correction exists."""
    if judge.positives < 1 or judge.negatives < 1:
        raise AnalysisError(
            explain(
                "judge",
                required="labelled cases of both kinds",
                got=judge,
                hint="Label more replies: 'introspection-bench label RUN'.",
            )
        )
    sensitivity, alarm = judge.sensitivity.rate, 1 - judge.specificity.rate
    if sensitivity <= alarm:
        raise AnalysisError(
            explain(
                "judge",
                required="a sensitivity above the false-positive rate",
                got=f"{sensitivity:.3f} and {alarm:.3f}",
                hint="This judge is no better than chance on this criterion; no correction can mend that.",
            )
        )
    return sensitivity, alarm


def _judge_parts(judge: JudgeAccuracy) -> tuple[Confidence, Confidence]:
    """Return what is known of sensitivity and false-positive rate."""
    return (
        binomial_confidence(judge.true_positives, judge.positives),
        binomial_confidence(judge.negatives - judge.true_negatives, judge.negatives),
    )


def _corrected(
    raw: float | Floats, sensitivity: float | Floats, alarm: float | Floats, uninformative: float = 0.0
) -> Floats:
    gain = sensitivity - alarm
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(gain > 0, np.clip((raw - alarm) / gain, 0, 1), uninformative))


def _or_none(raw: Floats, sensitivity: Floats, alarm: Floats) -> Floats:
    return _corrected(raw, sensitivity, alarm, uninformative=0.0)


def _or_all(raw: Floats, sensitivity: Floats, alarm: Floats) -> Floats:
    return _corrected(raw, sensitivity, alarm, uninformative=1.0)


def _true_rate(raw: Confidence, judge: JudgeAccuracy) -> Confidence:
    parts, rises = (raw, *_judge_parts(judge)), (True, False, False)
    return Confidence(melded(_or_none, parts, rises).lower, melded(_or_all, parts, rises).upper)


def _ratio_bounds(apart: Confidence, gain: Confidence, error: tuple[float, float]) -> tuple[float, float]:
    """Return bounds of a difference over a gain: a small gain makes it larger, whichever sign it has."""

    def outwards(difference: Floats, worst: Floats, best: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            large = np.where(worst > 0, difference / worst, 1.0)
            return np.asarray(np.where(difference > 0, large, difference / np.maximum(best, 1e-12)))

    def bound(one: Confidence, left: float) -> float:
        if left == 0:
            return math.inf
        (far, index), weights = spread([one.upper, np.arange(len(gain.lower), dtype=np.float64)])
        at = index.astype(np.int64)
        return float(quantiles(outwards(far, gain.lower[at], gain.upper[at]), weights, [1 - left])[0])

    return -bound(apart.opposite, error[0]), bound(apart, error[1])


def _needs(
    counts: ConceptCounts, estimand: Estimand, confidence: float, sided: Sided, other: ConceptCounts | None = None
) -> str:
    arms = [counts] if other is None else [arm for arm in (counts, other) if arm.concepts > 1]
    fewest = min((arm.concepts for arm in arms), default=1)
    few = estimand == "concepts like these" and fewest < FEWEST_CONCEPTS
    return concepts_needed(fewest, confidence, sided) if few else ""


def _estimate(
    quantity: str,
    estimand: Estimand,
    found: float,
    span: tuple[float, float],
    *,
    confidence: float,
    sided: Sided,
    needs: str,
) -> Estimate:
    low, high = span if needs else (min(span[0], found), max(span[1], found))
    return Estimate(quantity, estimand, found, low, high, confidence, sided, METHOD, JUDGE_ASSUMES, needs)
