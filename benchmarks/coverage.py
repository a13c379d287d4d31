"""Check by simulation, or by exact enumeration, that every printed interval keeps the level that it states.

    nice -n 19 python benchmarks/coverage.py                       # all of it: some 10 minutes on one core
    python benchmarks/coverage.py --small                          # a part of the grid, as the tests run it
    python benchmarks/coverage.py --write benchmarks/results/...   # and keep the tables

Exit status 1, with the settings named, where a level isn't kept: for simulated settings where misses as many as these
have a probability below 1 in 10,000 at the stated level (there are some hundreds of settings), for enumerated ones
where the coverage is below the stated one by more than 0.002, the error of the quadrature behind melded bounds.

Concepts' true rates are drawn from three kinds of distribution with the same mean and intra-class correlation: Beta;
some concepts at 0 and the rest at one rate ("some never"); some concepts at 1 and the rest at one rate ("some always").
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from scipy.stats import binom, norm

from introspection_bench.analysis import JudgeAccuracy
from introspection_bench.analysis import intervals as iv
from introspection_bench.analysis.intervals.confidence import mean_exceeds

sys.path.insert(0, str(Path(__file__).parent))
from coverage_candidates import BetaBinomial, bootstrap, logit_t

QUADRATURE = 0.002
KINDS = ("Beta", "some never", "some always")
RANDOM = "concepts like these"
FIXED = "these concepts"


@attrs.frozen
class Result:
    """One setting: how often the statement was right; ``sims`` 0 where that was summed exactly."""

    statement: str
    setting: str
    nominal: float
    coverage: float
    sims: int
    width: float = math.nan

    @property
    def kept(self) -> bool:
        """Whether the coverage is not below the level by more than the error of its computation."""
        if self.sims == 0:
            return self.coverage >= self.nominal - QUADRATURE
        misses = round((1 - self.coverage) * self.sims)
        return bool(binom.sf(misses - 1, self.sims, 1 - self.nominal) >= 1e-4)


def concept_rates(rng: np.random.Generator, kind: str, mean: float, icc: float, size: tuple[int, ...]) -> Any:
    if icc == 0:
        return np.full(size, mean)
    if kind == "Beta":
        return rng.beta(mean * (1 / icc - 1), (1 - mean) * (1 / icc - 1), size=size)
    if kind == "some always":
        return 1 - concept_rates(rng, "some never", 1 - mean, icc, size)
    rate = mean + icc * (1 - mean)
    return rate * (rng.random(size) < mean / rate)


def draws(small: bool, many: int, few: int) -> int:
    return few if small else many


# --- a mean over concepts -------------------------------------------------------------------------------------------


def like_these(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    designs = [(5, 20), (20, 20)] if small else [(5, 4), (5, 20), (5, 100), (10, 20), (20, 20), (50, 20)]
    designs += [] if small else [(200, 4), (500, 20)]
    means = (0.02, 0.3) if small else (0.005, 0.02, 0.1, 0.3, 0.5)
    for concepts, n in designs:
        sims = draws(small, 1000 if concepts <= 50 else 300, 200)
        for mean in means:
            for icc, kind in varied((0, 0.5) if small else (0, 0.1, 0.3, 0.5)):
                k = rng.binomial(n, concept_rates(rng, kind, mean, icc, (sims, concepts)))
                missed, width = gaffke(k, n, mean)
                yield Result(
                    "rate, concepts like these",
                    f"{concepts} concepts of {n}, {mean:g}, ICC {icc:g}, {kind}",
                    0.95,
                    1 - missed,
                    sims,
                    width,
                )


def varied(correlations: tuple[float, ...]) -> Iterator[tuple[float, str]]:
    for icc in correlations:
        yield from ((icc, kind) for kind in (KINDS if icc else ("Beta",)))


def gaffke(k: Any, n: int, mean: float, widths: int = 4) -> tuple[float, float]:
    """Return how often the interval missed (from its tail probabilities at the true mean), and its mean width."""
    rows, often = np.unique(np.sort(k, axis=1), axis=0, return_counts=True)
    if k.shape[1] > n + 1:
        seen = np.stack([(rows == j).sum(axis=1) for j in range(n + 1)], axis=1).astype(float)
        x = np.broadcast_to(np.arange(n + 1) / n, seen.shape)
    else:
        x, seen = rows / n, np.ones(rows.shape)
    missed = np.zeros(len(rows), dtype=bool)
    for part in np.array_split(np.arange(len(rows)), max(1, len(rows) // 500)):
        here = np.full(len(part), mean)
        missed[part] = (mean_exceeds(x[part], seen[part], here) < 0.025 - 1e-9) | (
            mean_exceeds(1 - x[part], seen[part], 1 - here) < 0.025 - 1e-9
        )
    some = [iv.like_these(iv.ConceptCounts(row, [n] * k.shape[1])) for row in k[:widths]]
    return float(often[missed].sum() / len(k)), float(np.mean([e.high - e.low for e in some]))


def like_these_unequal(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    for concepts in (8,) if small else (5, 8, 20):
        trials = np.resize([3, 10, 40, 100], concepts)
        for mean in (0.05,) if small else (0.02, 0.1, 0.3):
            for icc, kind in varied((0.3,) if small else (0, 0.1, 0.5)):
                sims = draws(small, 2000, 300)
                k = rng.binomial(trials, concept_rates(rng, kind, mean, icc, (sims, concepts)))
                here = np.full(sims, mean)
                missed = (mean_exceeds(k / trials, np.ones(k.shape), here) < 0.025) | (
                    mean_exceeds(1 - k / trials, np.ones(k.shape), 1 - here) < 0.025
                )
                yield Result(
                    "rate, concepts like these",
                    f"{concepts} concepts of 3 to 100, {mean:g}, ICC {icc:g}, {kind}",
                    0.95,
                    1 - float(missed.mean()),
                    sims,
                )


def these_concepts(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    """Concepts of fixed unequal rates: the total is Poisson-binomial, so the coverage is a sum."""
    for concepts, n in [(5, 4), (8, 20)] if small else [(2, 4), (5, 4), (5, 20), (10, 20), (50, 20), (500, 4)]:
        total = concepts * n
        ends = [(e.low, e.high) for e in (fixed_interval(k, total) for k in range(total + 1))]
        for mean in (0.02, 0.3) if small else (0.005, 0.02, 0.05, 0.1, 0.3, 0.5):
            for icc, kind in varied((0, 0.3) if small else (0, 0.1, 0.3, 0.5)):
                p = concept_rates(rng, kind, mean, icc, (concepts,))
                pmf = np.array([1.0])
                for rate in p:
                    pmf = np.convolve(pmf, binom.pmf(np.arange(n + 1), n, rate))
                covered = sum(
                    pmf[k] for k, (low, high) in enumerate(ends) if low <= p.mean() + 1e-12 and p.mean() - 1e-12 <= high
                )
                yield Result(
                    "rate, these concepts",
                    f"{concepts} concepts of {n}, {mean:g}, ICC {icc:g}, {kind}",
                    0.95,
                    float(covered),
                    0,
                    float(sum(w * (h - low) for w, (low, h) in zip(pmf, ends, strict=True))),
                )


def fixed_interval(k: int, n: int) -> iv.Estimate:
    return iv.these_concepts(iv.ConceptCounts([k], [n]))


def these_concepts_unequal(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    sizes = (
        [(3, [5, 20, 100])] if small else [(c, of) for c in (2, 3, 8, 20) for of in ([5, 20, 100], [16, 20], [19, 20])]
    )
    for concepts, of in sizes:
        trials = np.resize(of, concepts)
        for mean in (0.05, 0.3) if small else (0.01, 0.05, 0.3, 0.5, 0.9):
            for icc, kind in varied((0.3,) if small else (0, 0.3, 0.8)):
                sims = draws(small, 1000, 300)
                p = concept_rates(rng, kind, mean, icc, (concepts,))
                k = rng.binomial(trials, p, size=(sims, concepts))
                found = [iv.these_concepts(iv.ConceptCounts(row, trials)) for row in k]
                hit = np.mean([e.low <= p.mean() + 1e-12 and p.mean() - 1e-12 <= e.high for e in found])
                yield Result(
                    "rate, these concepts",
                    f"{concepts} concepts of {of[0]} to {of[-1]}, {mean:g}, ICC {icc:g}, {kind}",
                    0.95,
                    float(hit),
                    sims,
                    float(np.mean([e.high - e.low for e in found])),
                )


# --- nulls ----------------------------------------------------------------------------------------------------------


def null_if_varying(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    """The bound at an assumed correlation, where the concepts vary by just so much."""
    for concepts, n in [(5, 20)] if small else [(2, 200), (5, 20), (20, 20), (50, 8)]:
        for icc in (0.1, 0.5) if small else (0.05, 0.1, 0.3, 0.5):
            bounds = cached_bounds(concepts, n, icc)
            at = [min(bounds(total) + 1e-6, 0.99) for total in (0, 1, 4)]  # where these totals just fail to cover
            for mean in at[:1] if small else [0.03, 0.1, *at]:
                for kind in KINDS:
                    sims = draws(small, 5000, 2000)
                    k = rng.binomial(n, concept_rates(rng, kind, mean, icc, (sims, concepts))).sum(axis=1)
                    hit = np.mean([bounds(t) >= mean for t in k])
                    yield Result(
                        "null's bound, if concepts vary no more",
                        f"{concepts} concepts of {n}, {mean:g}, ICC {icc:g}, {kind}",
                        0.975,
                        float(hit),
                        sims,
                        bounds(0),
                    )


def cached_bounds(concepts: int, n: int, icc: float) -> Callable[[int], float]:
    @cache
    def bound(total: int) -> float:
        spread = [total // concepts + (i < total % concepts) for i in range(concepts)]
        return iv.bound_if_varying(iv.ConceptCounts(spread, [n] * concepts), icc)

    return bound


def null_free(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    """A clean null's bound over any number of concepts, at the rate where it just fails to be covered: exact."""
    for concepts, n in ((2, 200), (5, 20), (50, 8)):
        high = iv.null_bound(iv.ConceptCounts([0] * concepts, [n] * concepts)).high
        for icc in (0.0, 0.1, 0.5, 0.9, 1.0):
            mean = min(high + 1e-6, 1 - 1e-9)
            rate = mean + icc * (1 - mean)
            none = (1 - mean / rate * (1 - (1 - rate) ** n)) ** concepts
            yield Result(
                "null's bound, however concepts vary",
                f"0 on {concepts} concepts of {n}, ICC {icc:g}, some never",
                0.975,
                1 - float(none),
                0,
                high,
            )


def tolerance(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    from scipy.stats import beta

    for concepts, n in [(30, 20)] if small else [(30, 20), (60, 10), (100, 50)]:
        for mean in (0.1,) if small else (0.02, 0.1, 0.3):
            for icc in (0.3,) if small else (0.1, 0.3, 0.5):
                a, b = mean * (1 / icc - 1), (1 - mean) * (1 / icc - 1)
                sims = draws(small, 1000, 200)
                right = [0, 0]
                for _ in range(sims):
                    k = rng.binomial(n, rng.beta(a, b, size=concepts))
                    found = tolerance_of(tuple(np.sort(k)), n)
                    right[0] += beta.cdf(found.rate, a, b) >= 0.9 - 1e-12
                    right[1] += beta.cdf(0.5, a, b) >= found.below_it - 1e-12
                for name, count in zip(("90 % of concepts lie below", "share below 50 %"), right, strict=True):
                    yield Result(
                        "tolerance bound",
                        f"{name}: {concepts} concepts of {n}, {mean:g}, ICC {icc:g}, Beta",
                        0.95,
                        count / sims,
                        sims,
                    )


@cache
def tolerance_of(k: tuple[int, ...], n: int) -> iv.ToleranceBound:
    return iv.tolerance_bound(iv.ConceptCounts(k, [n] * len(k)))


# --- best of many ---------------------------------------------------------------------------------------------------


def best(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    for cells in (10,) if small else (10, 40, 90):
        for n in (20,) if small else (10, 20, 50):
            for name, rates in (
                ("0.05 each", np.full(cells, 0.05)),
                ("0.3 each", np.full(cells, 0.3)),
                ("0 to 0.5", np.linspace(0, 0.5, cells)),
            ):
                sims = draws(small, 300, 100)
                k = rng.binomial(n, rates, size=(sims, cells))
                hits = np.zeros(3)
                wide = np.zeros(3)
                for row in k:
                    found = best_of(tuple(row), n)
                    # The library names the first of tied cells; which of them it is, is chance among equals.
                    tied = np.flatnonzero(row == row.max())
                    true = rates[rng.choice(tied)]
                    spans = (
                        (found.simultaneous.low, found.simultaneous.high),
                        (found.low, found.high),
                        (found.unadjusted.low, found.unadjusted.high),
                    )
                    hits += [low <= true <= high for low, high in spans]
                    wide += [high - low for low, high in spans]
                label = f"{cells} cells of {n}, {name}"
                yield Result("best of many, all cells at once", label, 0.95, hits[0] / sims, sims, wide[0] / sims)
                yield Result(
                    "best of many, corrected for the choice", label, 0.95, hits[1] / sims, sims, wide[1] / sims
                )
                yield Result("(unadjusted interval of the best cell)", label, 0.0, hits[2] / sims, sims, wide[2] / sims)


@cache
def best_of(k: tuple[int, ...], n: int) -> iv.BestCell:
    return iv.best_of_many(k, [n] * len(k))


# --- two arms -------------------------------------------------------------------------------------------------------


def two_arms(of: Callable[..., iv.Estimate | None], size: tuple[int, int]) -> tuple[Any, Any]:
    """Return low and high for every pair of counts; NaN where ``of`` has nothing to say."""
    n, m = size
    pairs = [[of(iv.ConceptCounts([i], [n]), iv.ConceptCounts([j], [m])) for j in range(m + 1)] for i in range(n + 1)]
    return tuple(np.array([[getattr(e, end, math.nan) for e in row] for row in pairs]) for end in ("low", "high"))


def exact(low: Any, high: Any, p: float, q: float, true: float) -> tuple[float, float]:
    n, m = (s - 1 for s in low.shape)
    chance = np.outer(binom.pmf(np.arange(n + 1), n, p), binom.pmf(np.arange(m + 1), m, q))
    return float(chance[(low <= true + 1e-9) & (true - 1e-9 <= high)].sum()), float(
        (chance * np.minimum(high - low, 99)).sum()
    )


RATES = (0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.999)


def difference_fixed(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    for size in [(8, 12)] if small else [(5, 5), (10, 10), (20, 20), (20, 50), (10, 100)]:
        low, high = two_arms(lambda a, b: iv.difference(a, b, estimand=FIXED), size)
        for p in RATES:
            for q in RATES:
                found, width = exact(low, high, p, q, p - q)
                yield Result(
                    "difference, one stratum an arm",
                    f"{size[0]} and {size[1]} trials, {p:g} and {q:g}",
                    0.95,
                    found,
                    0,
                    width,
                )


def difference_fixed_concepts(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    """Concepts of fixed unequal rates in both arms."""
    for concepts in (5,) if small else (5, 20):
        for kind in KINDS:
            for means in ((0.1, 0.3),) if small else ((0.02, 0.1), (0.3, 0.3)):
                sims = draws(small, 300, 80)
                p, q = (concept_rates(rng, kind, m, 0.5, (concepts,)) for m in means)
                n = [10] * concepts
                k, j = (rng.binomial(10, r, size=(sims, concepts)) for r in (p, q))
                found = [
                    iv.difference(iv.ConceptCounts(a, n), iv.ConceptCounts(b, n), estimand=FIXED)
                    for a, b in zip(k, j, strict=True)
                ]
                true = p.mean() - q.mean()
                yield Result(
                    "difference, these concepts",
                    f"{concepts} concepts of 10, {means}, {kind}",
                    0.95,
                    float(np.mean([e.low <= true <= e.high for e in found])),
                    sims,
                    float(np.mean([e.high - e.low for e in found])),
                )


def difference_random(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    for concepts in (5,) if small else (5, 20):
        for icc, kind in varied((0.3,) if small else (0, 0.1, 0.5)):
            for p, q in ((0.2, 0.05),) if small else ((0.02, 0.02), (0.5, 0.3)):
                sims, n = draws(small, 40, 15), 20
                name = f"{concepts} concepts of {n}, {p:g} and {q:g}, ICC {icc:g}, {kind}"
                k = rng.binomial(n, concept_rates(rng, kind, p, icc, (sims, concepts)))
                j = rng.binomial(n, concept_rates(rng, kind, q, icc, (sims, concepts)))
                control = rng.binomial(50, q, size=sims)
                for label, other in (
                    ("both arms over concepts", lambda i, j=j: iv.ConceptCounts(j[i], [n] * concepts)),
                    ("against controls of one stratum", lambda i, c=control: iv.ConceptCounts([c[i]], [50])),
                ):
                    found = [
                        iv.difference(iv.ConceptCounts(k[i], [n] * concepts), other(i), estimand=RANDOM)
                        for i in range(sims)
                    ]
                    yield Result(
                        f"difference, concepts like these, {label}",
                        name,
                        0.95,
                        float(np.mean([e.low <= p - q <= e.high for e in found])),
                        sims,
                        float(np.mean([e.high - e.low for e in found])),
                    )
                # Paired: a concept's rates in both arms go together.
                sims = draws(small, 2000, 300)
                base = concept_rates(rng, kind, q, icc, (sims, concepts))
                effect = p - q
                k, j = rng.binomial(n, np.minimum(base + effect, 1)), rng.binomial(n, base)
                true = float(np.minimum(base + effect, 1).mean() - base.mean()) if kind != "Beta" and icc else effect
                if base.max() + effect > 1:
                    continue  # the effect would be cut, and its mean be another
                x = (k / n - j / n + 1) / 2
                here = np.full(sims, (true + 1) / 2)
                missed = (mean_exceeds(x, np.ones(x.shape), here) < 0.025) | (
                    mean_exceeds(1 - x, np.ones(x.shape), 1 - here) < 0.025
                )
                found = [
                    iv.difference(
                        iv.ConceptCounts(k[i], [n] * concepts),
                        iv.ConceptCounts(j[i], [n] * concepts),
                        estimand=RANDOM,
                        paired=True,
                    )
                    for i in range(10)
                ]
                yield Result(
                    "difference, concepts like these, paired",
                    name,
                    0.95,
                    1 - float(missed.mean()),
                    sims,
                    float(np.mean([e.high - e.low for e in found])),
                )


def equivalence(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    """How often "equivalent" is not said where the difference is the margin: at least 95 %."""
    margins = (0.1, 0.2)

    def near(a: iv.ConceptCounts, b: iv.ConceptCounts) -> iv.Estimate | None:
        # An interval holds the difference that was seen, so beyond the margins it says nothing of equivalence.
        seen = abs(a.rate - b.rate)
        return iv.difference(a, b, estimand=FIXED, confidence=0.9) if seen < max(margins) else None

    for size in [(30, 30)] if small else [(50, 50), (30, 80)]:
        low, high = two_arms(near, size)
        for margin in margins:
            said = (low > -margin) & (high < margin)
            for q in (0.001, 0.05, 0.3, 0.5):
                chance = np.outer(
                    binom.pmf(np.arange(size[0] + 1), size[0], q + margin),
                    binom.pmf(np.arange(size[1] + 1), size[1], q),
                )
                yield Result(
                    "equivalence not said at the margin",
                    f"{size[0]} and {size[1]} trials, {q:g}, margin {margin:g}",
                    0.95,
                    1 - float(chance[said].sum()),
                    0,
                )


def d_prime(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    sizes = [(8, 12)] if small else [(10, 10), (20, 20), (50, 100)]
    for size in sizes:
        for measure in ("d′",) if small else ("d′", "A′"):
            if measure == "A′" and size[1] > 20:
                continue
            low, high = two_arms(lambda a, b, m=measure: iv.discrimination(a, b, measure=m), size)
            for p in RATES:
                for q in RATES:
                    true = float(norm.ppf(p) - norm.ppf(q)) if measure == "d′" else a_prime(p, q)
                    found, _ = exact(low, high, p, q, true)
                    yield Result(measure, f"{size[0]} signals, {size[1]} noises, {p:g} and {q:g}", 0.95, found, 0)


def a_prime(p: float, q: float) -> float:
    from introspection_bench.analysis.intervals.discrimination import a_prime_of

    return float(a_prime_of(np.asarray(p), np.asarray(q)))


# --- sequential -----------------------------------------------------------------------------------------------------


def anytime(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    """Whether the interval missed at any of the moments of a run."""
    from scipy.special import betaln

    from introspection_bench.analysis.intervals.sequential import PRIOR

    length, sims = (300, 300) if small else (2000, 3000)
    for p in (0.05, 0.5) if small else (0.005, 0.02, 0.05, 0.2, 0.5):
        k = (rng.random((sims, length)) < p).cumsum(axis=1)
        n = np.arange(1, length + 1)
        ratio = betaln(PRIOR[0] + k, PRIOR[1] + n - k) - betaln(*PRIOR) - k * math.log(p) - (n - k) * math.log1p(-p)
        yield Result(
            "anytime-valid bound",
            f"looked at after each of {length} trials, {p:g}",
            0.95,
            1 - float((ratio >= math.log(20)).any(axis=1).mean()),
            sims,
        )
    for k, n in ((0, 100), (3, 50), (50, 50)):  # the interval's ends are where the ratio above crosses 20
        e = iv.anytime(k, n)
        for end in (e.low, e.high):
            if 0 < end < 1:
                at = betaln(0.5 + k, 0.5 + n - k) - betaln(0.5, 0.5) - k * math.log(end) - (n - k) * math.log1p(-end)
                assert abs(at - math.log(20)) < 1e-6, (k, n, end, at)


# --- judges ---------------------------------------------------------------------------------------------------------


def judged(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    for sensitivity, specificity in ((0.8, 0.95),) if small else ((0.8, 0.95), (0.95, 1.0), (0.7, 0.8)):
        for labels in ((30, 50),) if small else ((15, 30), (50, 200)):
            for p, q in ((0.1, 0.0),) if small else ((0.0, 0.0), (0.1, 0.0), (0.3, 0.3), (0.9, 0.05)):
                sims, n, m = draws(small, 60, 20), 50, 100
                true = (
                    p,
                    p - q,
                    math.inf if p != q and q == 0 else float(norm.ppf(p) - norm.ppf(q)) if p != q else 0.0,
                )
                hits, used = np.zeros(3), 0
                wide = np.zeros(3)
                for _ in range(sims):
                    accuracy = JudgeAccuracy(
                        int(rng.binomial(labels[0], sensitivity)),
                        labels[0],
                        int(rng.binomial(labels[1], specificity)),
                        labels[1],
                    )
                    if accuracy.sensitivity.rate + accuracy.specificity.rate <= 1:
                        continue
                    seen = [
                        iv.ConceptCounts(
                            [int(rng.binomial(size, r * sensitivity + (1 - r) * (1 - specificity)))], [size]
                        )
                        for r, size in ((p, n), (q, m))
                    ]
                    found = (
                        iv.judged_rate(seen[0], accuracy),
                        iv.judged_difference(*seen, accuracy),
                        iv.judged_d_prime(*seen, accuracy),
                    )
                    used += 1
                    hits += [e.low - 1e-9 <= t <= e.high + 1e-9 for e, t in zip(found, true, strict=True)]
                    wide += [e.high - e.low for e in found]
                for name, hit, width in zip(("rate", "difference", "d′"), hits, wide, strict=True):
                    if name == "d′" and q == 0:
                        continue  # infinite, or no number
                    yield Result(
                        f"{name}, corrected for the judge",
                        f"sens. {sensitivity:g}, spec. {specificity:g}, "
                        f"labels {labels[0]} + {labels[1]}, {p:g} and {q:g}",
                        0.95,
                        hit / used,
                        used,
                        width / used,
                    )


def powered(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    for labels in (30,) if small else (20, 50, 200):
        for rate in (0.05,) if small else (0.0, 0.02, 0.1, 0.4):
            for sensitivity, specificity in ((0.7, 0.97),) if small else ((0.7, 0.97), (0.95, 0.9)):
                sims = draws(small, 100, 30)
                table = rate * np.array([sensitivity, 0, 1 - sensitivity, 0]) + (1 - rate) * np.array(
                    [0, 1 - specificity, 0, specificity]
                )
                hits = wide = 0.0
                for _ in range(sims):
                    e = powered_of(
                        int(rng.binomial(300, table[0] + table[1])), 300, tuple(rng.multinomial(labels, table).tolist())
                    )
                    hits, wide = hits + (e.low <= rate <= e.high), wide + e.high - e.low
                yield Result(
                    "prediction-powered rate",
                    f"{labels} labels, 300 more, rate {rate:g}, sens. {sensitivity:g}, spec. {specificity:g}",
                    0.95,
                    hits / sims,
                    sims,
                    wide / sims,
                )


@cache
def powered_of(k: int, n: int, cells: tuple[int, int, int, int]) -> iv.Estimate:
    return iv.prediction_powered(k, n, iv.PairTable(*cells))


def kappa(rng: np.random.Generator, small: bool) -> Iterator[Result]:
    from introspection_bench.analysis.intervals.kappa import ac1_of, kappa_of

    for n in (20,) if small else (20, 50, 100):
        for prevalence in (0.05,) if small else (0.02, 0.05, 0.5):
            for true in (0.6,) if small else (0.0, 0.6, 0.95):
                for bias in (0.0,) if small else (0.0, 0.4 * min(prevalence, 1 - prevalence)):
                    cells = pair_cells(prevalence, true, bias)
                    if min(cells) < -1e-12:
                        continue
                    cells = np.maximum(cells, 0)
                    sims = draws(small, 200, 200)
                    tables = rng.multinomial(n, cells, size=sims)
                    kinds, often = np.unique(tables, axis=0, return_counts=True)
                    found = [iv.pair_agreement(iv.PairTable(*row.tolist())) for row in kinds]
                    for name, of in (("kappa", kappa_of), ("AC1", ac1_of)):
                        spans = [getattr(f, name.lower()) for f in found]
                        hit = np.array([e.low - 1e-9 <= of(cells) <= e.high + 1e-9 for e in spans])
                        width = np.array([e.high - e.low for e in spans])
                        yield Result(
                            name,
                            f"{n} replies, prevalence {prevalence:g}, kappa {true:g}, bias {bias:.3g}",
                            0.95,
                            float(often[hit].sum() / sims),
                            sims,
                            float((often * width).sum() / sims),
                        )


def pair_cells(prevalence: float, kappa: float, bias: float) -> Any:
    p, q = prevalence + bias, prevalence - bias
    chance = p * q + (1 - p) * (1 - q)
    both = (chance + kappa * (1 - chance) - 1 + p + q) / 2
    return np.array([both, p - both, q - both, 1 - p - q + both])


# --- the comparison over concepts -----------------------------------------------------------------------------------


def compare(rng: np.random.Generator) -> list[tuple[str, float, float, dict[int, float]]]:
    """Return for each method: its lowest coverage where concepts are Beta, in all kinds, and its widths by concepts."""
    n, sims = 20, 300
    model = BetaBinomial(n)
    methods = {
        "Gaffke's bound over concepts": lambda k, n, mean, rng: None,
        "percentile bootstrap": bootstrap,
        "t on logits, CR2": logit_t,
        "beta-binomial, Bayes (Jeffreys, uniform ICC)": model.bayes,
        "beta-binomial, profile likelihood, t": model.profile,
        "beta-binomial, parametric bootstrap test": model.parametric,
    }
    lowest = {name: dict.fromkeys(KINDS, 1.0) for name in methods}
    width: dict[str, dict[int, list[float]]] = {name: {5: [], 20: [], 50: []} for name in methods}
    for concepts in (5, 20, 50):
        for mean in (0.005, 0.1, 0.5):
            for icc, kind in varied((0, 0.1, 0.5)):
                k = rng.binomial(n, concept_rates(rng, kind, mean, icc, (sims, concepts)))
                for name, method in methods.items():
                    if name.startswith("Gaffke"):
                        missed, wide = gaffke(k, n, mean, widths=40)
                    else:
                        low, high = method(k, n, mean, rng)
                        missed = float(((low > mean) | (high < mean)).mean())
                        wide = float((high - low).mean())
                    lowest[name][kind] = min(lowest[name][kind], 1 - missed)
                    if kind == "Beta" and mean == 0.1 and icc == 0.1:
                        width[name][concepts].append(wide)
    return [
        (name, low["Beta"], min(low.values()), {c: float(np.mean(w)) for c, w in width[name].items()})
        for name, low in lowest.items()
    ]


CHECKS = (
    these_concepts,
    these_concepts_unequal,
    like_these,
    like_these_unequal,
    null_free,
    null_if_varying,
    tolerance,
    best,
    difference_fixed,
    difference_fixed_concepts,
    difference_random,
    equivalence,
    d_prime,
    anytime,
    judged,
    powered,
    kappa,
)


def summary(results: list[Result]) -> str:
    lines = [
        "| statement | settings | nominal | lowest coverage | where | mean coverage |",
        "|---|---|---|---|---|---|",
    ]
    for statement in dict.fromkeys(r.statement for r in results):
        mine = [r for r in results if r.statement == statement]
        worst = min(mine, key=lambda r: r.coverage)
        how = (
            "exact"
            if worst.sims == 0
            else f"± {1.96 * math.sqrt(max(worst.coverage * (1 - worst.coverage), 1e-9) / worst.sims):.3f}"
        )
        nominal = f"{worst.nominal:g}" if worst.nominal else "–"
        lines.append(
            f"| {statement} | {len(mine)} | {nominal} | {worst.coverage:.3f} ({how}) | {worst.setting} | "
            f"{np.mean([r.coverage for r in mine]):.3f} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a part of the grid, under 20 seconds")
    parser.add_argument("--only", nargs="*", help="names of checks, or 'compare'")
    parser.add_argument("--write", type=Path, help="write the tables to this Markdown file, after each check anew")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results: list[Result] = []
    text = ""
    for check in CHECKS:
        if options.only is not None and check.__name__ not in options.only:
            continue
        started = time.process_time()
        found = list(check(np.random.default_rng(options.seed), options.small))
        results += found
        spent = time.process_time() - started
        print(f"{check.__name__}: {len(found)} settings, lowest {min(r.coverage for r in found):.3f}, {spent:.1f} s")
        text = summary(results)
        write(options.write, text)
    if not options.small and (options.only is None or "compare" in options.only):
        text += "\n\n" + compared(np.random.default_rng(options.seed))
        write(options.write, text)
    print(text)
    broken = [r for r in results if not r.kept]
    for r in broken:
        print(f"NOT KEPT: {r.statement}: {r.setting}: {r.coverage:.4f} of {r.nominal:g} ({r.sims or 'exact'})")
    return 1 if broken else 0


def write(path: Path | None, text: str) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.strip() + "\n", encoding="utf-8")


def compared(rng: np.random.Generator) -> str:
    lines = [
        "| method over concepts | lowest coverage, Beta | lowest, all kinds | width, 5 / 20 / 50 concepts |",
        "|---|---|---|---|",
    ]
    for name, low, every, width in compare(rng):
        shown = "–" if "test" in name else " / ".join(f"{w:.2f}" for w in width.values())
        lines.append(f"| {name} | {low:.3f} | {every:.3f} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
