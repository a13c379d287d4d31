"""Whether what is to go on in a run directory is the run that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import StoreMismatchError, explain
from ..trials import Trial
from ..untrusted import one_line
from .spec import RunSpec

_Facts = Mapping[str, Callable[[Mapping[str, Any]], Any]]
#: What of a specification is the same as long as a run goes on, and how a message tells it.
_FACTS: _Facts = MappingProxyType(
    {
        "backend": lambda told: told["model"]["backend"],
        "numerics": lambda told: told["numerics"],
        "model": lambda told: f"{told['found']['name']} ({told['found']['fingerprint'][:12]})",
        "stopping": lambda told: told.get("stopping"),
        "search": lambda told: told.get("search"),
    }
)
_CONFIRMATION: _Facts = MappingProxyType({"confirmation": lambda told: told.get("confirm")})
_FROZEN: _Facts = MappingProxyType(
    {"frozen plan": lambda told: (told.get("frozen") or {"digest": "none"})["digest"][:12]}
)
#: Characters of a value that a message shows.
_SHOWN = 200


def check_same(
    directory: Path, mine: Mapping[str, Any], keys: Sequence[str], spec: RunSpec, planned: Sequence[Trial]
) -> None:
    """Raise :class:`StoreMismatchError` unless a run goes on under a specification and a plan.

    ``mine`` and ``keys`` are what the store says of the run, and the keys that it planned, in order.
    """
    other = spec.plain()
    confirms = spec.confirm is not None and mine.get("confirm") is not None
    facts = {**_FACTS, **(_CONFIRMATION if confirms else {}), **(_FROZEN if spec.frozen is not None else {})}
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


def runs_apart(mine: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each field in which two specifications are not of one run, with both values as a message shows them.

    How a run is judged and measured, and where its model's weights lie, may differ.
    """
    for field, read in {**_FACTS, **_CONFIRMATION, **_FROZEN}.items():
        yield from fields_apart({field: read(mine)}, {field: read(other)})
    yield from fields_apart(mine["design"], other["design"], "design.")


def fields_apart(mine: Mapping[str, Any], other: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield each name under which two mappings differ, behind ``before``, with both values as a message shows them."""
    for name in dict.fromkeys((*mine, *other)):
        if mine.get(name) != other.get(name):
            one, another = (one_line(str(told.get(name)), _SHOWN) for told in (mine, other))
            yield f"{before}{name}", one, another
