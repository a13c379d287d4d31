"""How often the intervals of contrasts hold the truth: rates, d′ and log-odds, at 2, 5, 10 and 50 concepts.

    nice -n 19 python benchmarks/contrast_coverage.py              # some minutes on one core
    python benchmarks/contrast_coverage.py --small                 # a part of it, as the tests run it
    python benchmarks/contrast_coverage.py --only log-odds         # the rows whose name begins so
    python benchmarks/contrast_coverage.py --write FILE            # and keep the table

Exit status 1, with the settings named, where a level isn't kept: misses as many as these have a probability below 1 in
10,000 at the stated level. A row says "–" where nothing is said with so few concepts.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import betaincinv
from scipy.stats import binom

from introspection_bench.analysis import intervals as iv

CONCEPTS = (2, 5, 10, 50)
THESE, LIKE = "these concepts", "concepts like these"
WITH_SIX = (2, 5, 6, 10, 50)
TRIALS = 20


@attrs.frozen
class Row:
    """One kind of interval at one number of concepts: the worst of its settings."""

    contrast: str
    concepts: int
    coverage: float
    where: str
    sims: int
    width: float
    error: float = 0.05

    @property
    def kept(self) -> bool:
        """Whether the coverage is not below the level by more than chance."""
        if np.isnan(self.coverage):
            return True
        misses = round((1 - self.coverage) * self.sims)
        return bool(binom.sf(misses - 1, self.sims, self.error) >= 1e-4)


def rates(at: Any, mean: float, icc: float, kind: str) -> Any:
    """Return concepts' true rates at these quantiles: alike, by a Beta distribution, or some at 0, the rest at one."""
    if icc == 0 or mean == 0:
        return np.full(at.shape, mean)
    if kind == "Beta":
        return betaincinv(mean * (1 / icc - 1), (1 - mean) * (1 / icc - 1), at)
    rate = mean + icc * (1 - mean)
    return rate * (at < mean / rate)


#: The concepts: how they vary, and how.
VARIED = ((0.0, "alike"), (0.3, "Beta"), (0.5, "some never"))
#: Mean rates: an arm, and another one.
PAIRS = ((0.3, 0.05), (0.5, 0.5), (0.9, 0.2))
#: Mean rates: an arm and its controls, a battery under the injection and without.
FOURS = ((0.5, 0.05, 0.3, 0.1), (0.3, 0.02, 0.28, 0.0), (0.9, 0.5, 0.5, 0.1))


def counts(rng: np.random.Generator, true: Any) -> iv.ConceptCounts:
    return iv.ConceptCounts(rng.binomial(TRIALS, true), [TRIALS] * len(true))


def of_rates(estimand: str, four: bool, paired: bool) -> Callable[..., Iterator[tuple[str, bool, float]]]:
    """Return a simulation: setting, whether the interval held the truth (None where nothing was said), its width."""

    def simulate(rng: np.random.Generator, concepts: int, sims: int) -> Iterator[Any]:
        for (icc, kind), means in itertools.product(VARIED, FOURS if four else PAIRS):
            setting = f"{kind}, {', '.join(f'{m:g}' for m in means)}"
            for _ in range(sims):
                at = rng.random((len(means), concepts))
                if paired and rng.random() < 0.5:  # what a concept does in the two paired arms goes together
                    at[2 if four else 1] = at[0]
                true = [rates(u, m, icc, kind) for u, m in zip(at, means, strict=True)]
                found = [counts(rng, t) for t in true]
                real = [t.mean() if estimand == THESE else m for t, m in zip(true, means, strict=True)]
                if four:
                    got = iv.difference_in_differences(
                        (found[0], found[1]), (found[2], found[3]), estimand=estimand, paired=paired
                    )
                    target = real[0] - real[1] - real[2] + real[3]
                else:
                    got = iv.difference(*found, estimand=estimand, paired=paired)
                    target = real[0] - real[1]
                yield setting, None if not got.said else got.low <= target <= got.high, got.high - got.low

    return simulate


def of_d_prime(rng: np.random.Generator, concepts: int, sims: int) -> Iterator[Any]:
    """Concepts of fixed rates; the d′ that is meant is that of the mean rates."""
    from introspection_bench.analysis.intervals.discrimination import d_prime_of

    for (icc, kind), means in itertools.product(VARIED, FOURS[:1] + FOURS[2:]):
        for _ in range(sims):
            true = [rates(rng.random(concepts), m, icc, kind) for m in means]
            found = [counts(rng, t) for t in true]
            a, b, c, d = (t.mean() for t in true)
            of = d_prime_of(np.array([a, c]), np.array([b, d]))  # infinite where concepts never do it
            if not np.isfinite(of).all():
                continue
            target = float(of[0] - of[1])
            got = iv.d_prime_difference((found[0], found[1]), (found[2], found[3]))
            yield f"{kind}, {', '.join(f'{m:g}' for m in means)}", got.low <= target <= got.high, got.high - got.low


@attrs.frozen
class Population:
    """Concepts, or prompts of one, that are drawn from parts of a mixture: each part's weight and distribution."""

    parts: tuple[tuple[float, Any], ...]

    def draw(self, rng: np.random.Generator, n: int) -> Any:
        """Return so many independent ones."""
        of = rng.choice(len(self.parts), n, p=[weight for weight, _ in self.parts])
        drawn = [part.rvs(n, random_state=rng) for _, part in self.parts]
        return np.choose(of, drawn)

    def above(self, threshold: float) -> float:
        """Return the true share that lies above."""
        return float(sum(weight * part.sf(threshold) for weight, part in self.parts))

    @property
    def median(self) -> float:
        """The true median."""
        return float(brentq(lambda x: self.above(x) - 0.5, -100, 100))

    def mirrored(self) -> Population:
        """The same with the other sign."""
        return Population(tuple((weight, Mirrored(part)) for weight, part in self.parts))


@attrs.frozen
class Mirrored:
    """A distribution with the other sign, as far as a population asks it."""

    part: Any

    def rvs(self, n: int, random_state: np.random.Generator) -> Any:
        """As scipy's."""
        return -self.part.rvs(n, random_state=random_state)

    def sf(self, threshold: float) -> float:
        """As scipy's."""
        return float(self.part.cdf(-threshold))


def _mixed(*parts: tuple[float, Any]) -> Population:
    return Population(parts)


_NONE = stats.norm(0, 0.2)  # what is read of a concept that shows nothing
ASKEW = {
    "exponential": _mixed((1, stats.expon())),
    "lognormal": _mixed((1, stats.lognorm(1.5))),
    "an effect of 3.33 on 3 in 10": _mixed((0.3, stats.norm(3.33, 0.2)), (0.7, _NONE)),
    "an effect of 10 on 1 in 10": _mixed((0.1, stats.norm(10, 0.2)), (0.9, _NONE)),
}
#: Differences of concepts, in nats.
POPULATIONS = {
    "normal": _mixed((1, stats.norm(1, 1))),
    "no effect": _mixed((1, _NONE)),
    "heavy tails (t, 2 degrees)": _mixed((1, stats.t(2, 1))),
    "heavy tails (Cauchy)": _mixed((1, stats.cauchy(1))),
    "two kinds, one in two": _mixed((0.5, stats.norm(0, 0.2)), (0.5, stats.norm(2, 0.2))),
    **ASKEW,
    **{f"{name}, mirrored": each.mirrored() for name, each in ASKEW.items()},
}
MOVED = float(np.log(2))


def of_medians(rng: np.random.Generator, concepts: int, sims: int) -> Iterator[Any]:
    for setting, population in POPULATIONS.items():
        target = population.median
        for values in population.draw(rng, sims * concepts).reshape(sims, concepts):
            got = iv.median_of_unbounded(values)
            yield setting, None if not got.said else got.low <= target <= got.high, got.high - got.low


def of_shares(rng: np.random.Generator, concepts: int, sims: int) -> Iterator[Any]:
    for setting, population in POPULATIONS.items():
        target = population.above(MOVED)
        for values in population.draw(rng, sims * concepts).reshape(sims, concepts):
            got = iv.share_of_unbounded(values, MOVED)
            yield setting, None if not got.said else got.low <= target <= got.high, got.high - got.low


def of_ruling_out(rng: np.random.Generator, concepts: int, sims: int) -> Iterator[Any]:
    """Populations of which half move by nothing or less: how seldom it is said that half move by more."""
    for setting, population in POPULATIONS.items():
        target = population.median
        for values in population.draw(rng, sims * concepts).reshape(sims, concepts):
            got = iv.median_of_unbounded(values - target)
            yield setting, None if not got.said else got.low <= 0, np.nan


#: Prompts of one concept in two arms; a trial where the arms differ in spread or shape is no mere shift.
ONE_CONCEPT = {
    "normal": (_mixed((1, stats.norm(1, 1))), _mixed((1, stats.norm(0, 1)))),
    "normal, five times as wide": (_mixed((1, stats.norm(1, 5))), _mixed((1, stats.norm(0, 1)))),
    "exponential, and mirrored": (ASKEW["exponential"], ASKEW["exponential"].mirrored()),
    "an effect of 10 on 1 in 10, and none": (ASKEW["an effect of 10 on 1 in 10"], _mixed((1, _NONE))),
    "heavy tails (Cauchy)": (_mixed((1, stats.cauchy(1))), _mixed((1, stats.cauchy()))),
}


def of_one_concept(rng: np.random.Generator, concepts: int, sims: int) -> Iterator[Any]:  # noqa: ARG001  # the simulations' signature
    for prompts in ((7, 7), (20, 7), (20, 20)):
        for name, (mine, theirs) in ONE_CONCEPT.items():
            target = mine.median - theirs.median
            first, second = (
                p.draw(rng, sims * n).reshape(sims, n) for p, n in zip((mine, theirs), prompts, strict=True)
            )
            for a, b in zip(first, second, strict=True):
                got = iv.difference_of_unbounded(a, b)
                held = got.low <= target <= got.high
                yield f"{prompts[0]} and {prompts[1]} prompts, {name}", held, got.high - got.low


#: Name, simulation, its error, draws of each setting, numbers of concepts.
CASES: tuple[tuple[str, Callable[..., Iterator[Any]], float, int, tuple[int, ...]], ...] = (
    (f"difference of rates, {THESE}", of_rates(THESE, four=False, paired=False), 0.05, 300, CONCEPTS),
    (f"difference of rates, {LIKE}, paired", of_rates(LIKE, four=False, paired=True), 0.05, 100, CONCEPTS),
    (f"difference in differences, {THESE}", of_rates(THESE, four=True, paired=False), 0.05, 100, CONCEPTS),
    (f"difference in differences, {LIKE}, paired", of_rates(LIKE, four=True, paired=True), 0.05, 60, CONCEPTS),
    ("difference of d′, these concepts", of_d_prime, 0.05, 400, CONCEPTS),
    ("log-odds, median over concepts", of_medians, 0.05, 2000, WITH_SIX),
    ("log-odds, share of concepts moved", of_shares, 0.05, 2000, WITH_SIX),
    ("log-odds, nothing ruled out where half don't move", of_ruling_out, 0.025, 2000, WITH_SIX),
    ("log-odds, medians over prompts, one concept", of_one_concept, 0.05, 1000, (1,)),
)
#: Rows that can be tried alone have a stream of their own.
ALONE = "log-odds"


def row_of(name: str, simulated: Iterator[Any], concepts: int, sims: int, error: float) -> Row:
    seen: dict[str, list[tuple[bool | None, float]]] = {}
    for setting, held, width in simulated:
        seen.setdefault(setting, []).append((held, width))
    said = {setting: [e for e in each if e[0] is not None] for setting, each in seen.items()}
    if not any(said.values()):
        return Row(name, concepts, np.nan, "", 0, np.nan, error)
    held = {setting: float(np.mean([h for h, _ in each])) for setting, each in said.items()}
    # Of a setting with a few draws, where concepts seldom do it at all, nothing could be told.
    worst = min((s for s in held if len(said[s]) >= sims / 4), key=lambda setting: held[setting])
    width = float(np.median([w for each in said.values() for _, w in each]))
    return Row(name, concepts, held[worst], worst, len(said[worst]), width, error)


def table(rows: list[Row]) -> str:
    told = ["| contrast | concepts | lowest coverage | where | draws | median width |", "|---|---|---|---|---|---|"]
    for r in rows:
        none = np.isnan(r.coverage)
        numbers = (
            ("–",) * 3 if none else (f"{r.coverage:.3f}", str(r.sims), "–" if np.isnan(r.width) else f"{r.width:.2f}")
        )
        where = r.where or "nothing is said"
        told.append(f"| {r.contrast} | {r.concepts} | {numbers[0]} | {where} | {numbers[1]} | {numbers[2]} |")
    return "\n".join(told) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few concepts, few draws")
    parser.add_argument("--write", type=Path, help="file for the table")
    parser.add_argument("--only", default="", help="how the names of the rows begin")
    asked = parser.parse_args()
    rng = np.random.default_rng(13)
    rows = []
    for place, (name, simulate, error, sims, over) in enumerate(CASES):
        if not name.startswith(asked.only):
            continue
        for concepts in [c for c in over if c <= (6 if asked.small else 50)]:
            draws = max(4, sims // 100) if asked.small else sims
            stream = np.random.default_rng([13, place, concepts]) if name.startswith(ALONE) else rng
            rows.append(row_of(name, simulate(stream, concepts, draws), concepts, draws, error))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    if asked.write:
        asked.write.write_text(table(rows), encoding="utf-8")
    broken = [r for r in rows if not r.kept]
    for r in broken:
        print(f"NOT KEPT: {r.contrast}: {r.concepts} concepts, {r.where}: {r.coverage:.3f}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
