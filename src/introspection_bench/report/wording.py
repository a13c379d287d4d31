"""How a report writes numbers, units and names: the same words in tables, figures, captions and filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..analysis.cells import is_missing
from ..showing import listing as listing  # noqa: PLC0414  # importers know both from here
from ..showing import plural as plural  # noqa: PLC0414  # as above
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


def all_of(success: Sequence[str]) -> str:
    """Return what a rubric takes for success, at the beginning of a sentence."""
    return "All four criteria" if tuple(success) == CRITERIA else f"All of {listing(success)}"
