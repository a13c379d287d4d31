"""How often the intervals of contrasts hold the truth: rates, d′ and log-odds, at 2, 5, 10 and 50 concepts.

    nice -n 19 python benchmarks/contrast_coverage.py              # some minutes on one core
    python benchmarks/contrast_coverage.py --small                 # a part of it, as the tests run it
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
from scipy.special import betaincinv
from scipy.stats import binom, norm

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

    @property
    def kept(self) -> bool:
        """Whether the coverage is not below the level by more than chance."""
        if np.isnan(self.coverage):
            return True
        misses = round((1 - self.coverage) * self.sims)
        return bool(binom.sf(misses - 1, self.sims, 0.05) >= 1e-4)


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


def _some(rng: np.random.Generator, n: int, share: float, effect: float) -> Any:
    return (rng.random(n) < share) * effect + rng.normal(0, 0.2, n)


def _median_of(share: float) -> float:
    """Of numbers of which most lie about 0 and this share far above: a quantile of the most alone."""
    return float(norm.ppf(0.5 / (1 - share))) * 0.2


#: How concepts' log-odds are drawn, and the median of that.
LOG_ODDS: dict[str, tuple[Callable[[np.random.Generator, int], Any], float]] = {
    "normal": (lambda rng, n: rng.normal(1, 1, n), 1.0),
    "heavy tails (t, 2 degrees)": (lambda rng, n: rng.standard_t(2, n), 0.0),
    "exponential": (lambda rng, n: rng.exponential(1, n), float(np.log(2))),
    "an effect of 3 on 3 in 10": (lambda rng, n: _some(rng, n, 0.3, 3.0), _median_of(0.3)),
    "an effect of 10 on 1 in 10": (lambda rng, n: _some(rng, n, 0.1, 10.0), _median_of(0.1)),
    "an effect of -10 on 1 in 10": (lambda rng, n: -_some(rng, n, 0.1, 10.0), -_median_of(0.1)),
}


def of_medians(rng: np.random.Generator, concepts: int, sims: int) -> Iterator[Any]:
    for setting, (draw, median) in LOG_ODDS.items():
        for _ in range(sims):
            got = iv.median_of_unbounded(draw(rng, concepts))
            yield setting, None if not got.said else got.low <= median <= got.high, got.high - got.low


def of_one_concept(rng: np.random.Generator, concepts: int, sims: int) -> Iterator[Any]:  # noqa: ARG001  # the simulations' signature
    for trials in ((4, 4), (5, 20), (20, 20)):
        for name, draw in (("normal", rng.normal), ("exponential", lambda *a: rng.exponential(1, a[-1]))):
            for _ in range(sims):
                first = draw(0, 1, trials[0]) + 1
                got = iv.difference_of_unbounded(first, draw(0, 1, trials[1]))
                yield f"{trials[0]} and {trials[1]} trials, {name}", got.low <= 1 <= got.high, got.high - got.low


#: Name, simulation, draws of each setting, numbers of concepts.
CASES: tuple[tuple[str, Callable[..., Iterator[Any]], int, tuple[int, ...]], ...] = (
    (f"difference of rates, {THESE}", of_rates(THESE, four=False, paired=False), 300, CONCEPTS),
    (f"difference of rates, {LIKE}, paired", of_rates(LIKE, four=False, paired=True), 100, CONCEPTS),
    (f"difference in differences, {THESE}", of_rates(THESE, four=True, paired=False), 100, CONCEPTS),
    (f"difference in differences, {LIKE}, paired", of_rates(LIKE, four=True, paired=True), 60, CONCEPTS),
    ("difference of d′, these concepts", of_d_prime, 400, CONCEPTS),
    ("log-odds of the median concept", of_medians, 2000, WITH_SIX),
    ("log-odds, trials of one concept", of_one_concept, 1000, (1,)),
)


def row_of(name: str, simulated: Iterator[Any], concepts: int, sims: int) -> Row:
    seen: dict[str, list[tuple[bool | None, float]]] = {}
    for setting, held, width in simulated:
        seen.setdefault(setting, []).append((held, width))
    said = {setting: [e for e in each if e[0] is not None] for setting, each in seen.items()}
    if not any(said.values()):
        return Row(name, concepts, np.nan, "", 0, np.nan)
    held = {setting: float(np.mean([h for h, _ in each])) for setting, each in said.items()}
    # Of a setting with a few draws, where concepts seldom do it at all, nothing could be told.
    worst = min((s for s in held if len(said[s]) >= sims / 4), key=lambda setting: held[setting])
    width = float(np.median([w for each in said.values() for _, w in each]))
    return Row(name, concepts, held[worst], worst, len(said[worst]), width)


def table(rows: list[Row]) -> str:
    told = ["| contrast | concepts | lowest coverage | where | draws | median width |", "|---|---|---|---|---|---|"]
    for r in rows:
        none = np.isnan(r.coverage)
        numbers = ("–",) * 3 if none else (f"{r.coverage:.3f}", str(r.sims), f"{r.width:.2f}")
        where = r.where or "nothing is said"
        told.append(f"| {r.contrast} | {r.concepts} | {numbers[0]} | {where} | {numbers[1]} | {numbers[2]} |")
    return "\n".join(told) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few concepts, few draws")
    parser.add_argument("--only", default="", help="contrasts whose name begins so")
    parser.add_argument("--write", type=Path, help="file for the table")
    asked = parser.parse_args()
    rng = np.random.default_rng(13)
    rows = []
    for name, simulate, sims, over in (case for case in CASES if case[0].startswith(asked.only)):
        for concepts in [c for c in over if c <= (6 if asked.small else 50)]:
            draws = max(4, sims // 100) if asked.small else sims
            rows.append(row_of(name, simulate(rng, concepts, draws), concepts, draws))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    if asked.write:
        asked.write.write_text(table(rows), encoding="utf-8")
    broken = [r for r in rows if not r.kept]
    for r in broken:
        print(f"NOT KEPT: {r.contrast}: {r.concepts} concepts, {r.where}: {r.coverage:.3f}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
