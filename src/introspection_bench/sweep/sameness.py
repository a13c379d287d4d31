"""Whether what is to go on in a run directory is the run that is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreMismatchError, explain
from ..trials import Trial
from .spec import RunSpec


def check_same(
    directory: Path, mine: Mapping[str, Any], keys: Sequence[str], spec: RunSpec, planned: Sequence[Trial]
) -> None:
    """Raise :class:`StoreMismatchError` unless a run goes on under a specification and a plan.

    ``mine`` and ``keys`` are what the store says of the run, and the keys that it planned, in order.
    """
    other = spec.plain()
    facts: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "backend": lambda told: told["model"]["backend"],
        "numerics": lambda told: told["numerics"],
        "model": lambda told: f"{told['found']['name']} ({told['found']['fingerprint'][:12]})",
    }
    if spec.confirm is not None and mine.get("confirm") is not None:
        facts["confirmation"] = lambda told: told["confirm"]
    facts["stopping"] = lambda told: told.get("stopping")
    facts["search"] = lambda told: told.get("search")
    if spec.frozen is not None:
        facts["frozen plan"] = lambda told: (told.get("frozen") or {"digest": "none"})["digest"][:12]
    for field, read in facts.items():
        if read(mine) != read(other):
            raise StoreMismatchError(
                explain(
                    f"run {directory}",
                    required=f"{field} {read(mine)}, which made it",
                    got=read(other),
                    hint="Give this run another directory; nothing was changed.",
                )
            )
    if [t.key.digest for t in planned] != list(keys[: len(planned)]) or (keys and not planned):
        design = mine["design"]
        changed = sorted(k for k, v in other["design"].items() if design.get(k) != v)
        raise StoreMismatchError(
            explain(
                f"run {directory}",
                required="the design that made it",
                got=f"another one, different in {changed or 'the rendered prompts'}",
                hint="Give this design another directory; nothing was changed.",
            )
        )
