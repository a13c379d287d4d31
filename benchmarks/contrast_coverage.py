"""Check by simulation that the intervals of differences in differences keep the level that they state.

    python benchmarks/contrast_coverage.py                  # 2, 5, 10 and 50 concepts: some minutes on one core
    python benchmarks/contrast_coverage.py --sims 100       # fewer draws

Four arms: injected trials and a battery under the injection, by concept; controls and the battery unsteered, pooled.
Concepts' rates vary with an intra-class correlation, the two injected arms' together or apart. Exit status 1 where
misses as many as these have a probability below 1 in 10,000 at the stated level.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from scipy.stats import binom

from introspection_bench.analysis import ConceptCounts, difference_in_differences

CONCEPTS = (2, 5, 10, 50)
TRIALS = 10
CLEAN = 60
#: Mean rates of injected trials, controls, battery, battery unsteered.
RATES = ((0.5, 0.1, 0.3, 0.05), (0.9, 0.02, 0.02, 0.02), (0.1, 0.1, 0.5, 0.5))


def drawn(mean: float, icc: float, quantiles: np.ndarray) -> np.ndarray:
    """Concepts' rates at quantiles of their distribution: Beta, or all alike."""
    from scipy.stats import beta

    if icc == 0:
        return np.full(quantiles.shape, mean)
    return np.asarray(beta.ppf(quantiles, mean * (1 / icc - 1), (1 - mean) * (1 / icc - 1)))


def settings() -> Iterator[tuple[int, tuple[float, ...], float, bool]]:
    for concepts in CONCEPTS:
        for rates in RATES:
            for icc, together in ((0.0, True), (0.3, True), (0.3, False)):
                yield concepts, rates, icc, together


def main() -> int:
    """Print coverage and mean width of both estimands for each setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sims", type=int, default=400)
    sims = parser.parse_args().sims
    rng = np.random.default_rng(0)
    failed = False
    print("| concepts | rates | ICC | injected arms | estimand | coverage | width |\n|---|---|---|---|---|---|---|")
    for concepts, rates, icc, together in settings():
        true = rates[0] - rates[1] - rates[2] + rates[3]
        hits: dict[str, list[tuple[bool, float]]] = {"these concepts": [], "concepts like these": []}
        for _ in range(sims):
            at = rng.random(concepts)
            p = drawn(rates[0], icc, at)
            q = drawn(rates[2], icc, at if together else rng.random(concepts))
            a, c = (ConceptCounts(rng.binomial(TRIALS, x), [TRIALS] * concepts) for x in (p, q))
            b, d = (ConceptCounts([rng.binomial(CLEAN, x)], [CLEAN]) for x in (rates[1], rates[3]))
            own = float(p.mean()) - rates[1] - float(q.mean()) + rates[3]
            for estimand, value in (("these concepts", own), ("concepts like these", true)):
                found = difference_in_differences((a, b), (c, d), estimand=estimand, paired=True)
                if found.said:
                    hits[estimand].append((found.low - 1e-9 <= value <= found.high + 1e-9, found.high - found.low))
        for estimand, each in hits.items():
            kept = "can't be said | –"
            if each:
                missed = sum(not hit for hit, _ in each)
                low = bool(binom.sf(missed - 1, len(each), 0.05) < 1e-4)
                failed |= low
                width = np.mean([w for _, w in each])
                kept = f"{1 - missed / len(each):.3f}{' TOO LOW' if low else ''} | {width:.2f}"
            how = "together" if together else "apart"
            print(f"| {concepts} | {', '.join(f'{r:g}' for r in rates)} | {icc:g} | {how} | {estimand} | {kept} |")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
