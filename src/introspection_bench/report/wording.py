"""How a report writes numbers, units and names: the same words in tables, figures, captions and filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..analysis.cells import is_missing
from ..verdicts import CRITERIA

#: What one step on a magnitude axis means, by unit (docs/design.md).
UNIT_MEANING = {
    "raw": "raw: multiples of the concept vector v",
    "absolute": "absolute: length of the added vector",
    "residual": "residual: fraction of ‖h‖",
    "update": "update: multiples of the MLP update ‖u‖",
    "projection": "projection: multiples of the part h · û along v",
    "kl": "kl: nats asked for on neutral prompts",
}


def unit_name(unit: Any) -> str:
    """Return the unit's name; a unit that no one stated is said to be so."""
    return "unit not stated" if is_missing(unit) or not str(unit) else str(unit)


def magnitude_axis(unit: Any) -> str:
    """Return the label of a magnitude axis, with its unit."""
    name = unit_name(unit)
    return f"magnitude ({UNIT_MEANING.get(name, name)})"


def plural(count: int, word: str) -> str:
    """Return ``1 trial``, ``2 trials``, ``10,000 trials``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def all_of(success: Sequence[str]) -> str:
    """Return what a rubric takes for success, at the beginning of a sentence."""
    return "All four criteria" if tuple(success) == CRITERIA else f"All of {listing(success)}"


def listing(items: Sequence[Any], most: int = 12) -> str:
    """Return items as ``a, b and c``; beyond ``most`` the rest are counted."""
    words = [str(i) for i in items]
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
