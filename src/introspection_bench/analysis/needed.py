"""About how many trials it takes to decide whether two arms are the same: at once, where the planner simulates."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.special import ndtri

from .intervals import FEWEST_CONCEPTS, ConceptCounts, difference
from .intervals.confidence import mean_bounds
from .intervals.equivalence import MOST


@lru_cache(maxsize=512)
def needed(
    rate: float, margin: float, per_concept: int, *, confidence: float = 0.95, power: float = 0.8, icc: float = 0.1
) -> tuple[int, int]:
    """Return about how many trials an arm, and how many concepts of so many trials, show two arms equivalent.

    What :func:`plan_equivalence` simulates is here the upper bound at a difference of none, plus as much as the
    difference varies at that power. The numbers agree to about a fifth; :data:`MOST` where more would be needed.
    """
    reach = float(ndtri((1 + power) / 2))
    spread = 2 * rate * (1 - rate)

    def on_these(n: int) -> bool:
        arm = ConceptCounts([round(rate * n)], [n])
        high = difference(arm, arm, estimand="these concepts", confidence=2 * confidence - 1).high
        return high + reach * math.sqrt(spread / n) < margin

    def on_like_these(concepts: int) -> bool:
        deviation = math.sqrt(spread * (1 - icc) / per_concept)
        apart = ndtri((np.arange(concepts) + 0.5) / concepts) * deviation
        _, high = mean_bounds(np.clip((apart + 1) / 2, 0, 1), np.ones(concepts), 0.0, 1 - confidence)
        return 2 * high - 1 + reach * deviation / math.sqrt(concepts) < margin

    return _first(on_these, 1), _first(on_like_these, FEWEST_CONCEPTS)


def _first(enough: Callable[[int], bool], start: int) -> int:
    """Return about the first size that is enough: growing by a half, then halving to within a twentieth."""
    low, high = start - 1, start
    while not enough(high):
        low, high = high, high * 3 // 2 + 1
        if high > MOST:
            return MOST
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
