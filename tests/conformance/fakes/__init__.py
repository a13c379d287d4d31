"""Injectors with one bug each, all of a kind that tools in this field have had; the suite must catch every one.

Each names in ``caught_by`` the check that is there for its bug. Where the port's own look at the receipts would
already catch the bug, the fake's receipts lie, as receipts do that are computed from what was asked for.
"""

from __future__ import annotations

from . import additions, groups, numbers, replays, requests, steers
from .base import FakeBroken, FakeLying

__all__ = ["FakeBroken", "FakeLying", "broken"]


def broken() -> tuple[type[FakeBroken], ...]:
    """All broken injectors."""
    modules = (additions, requests, numbers, groups, steers, replays)
    found = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return tuple(fake for fake in found if "caught_by" in vars(fake))
