"""Reads as jobs for the workers, and readings of what came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import SilentInjectionError, explain
from .flights import Flight, read_layers


def jobs_of(flights: Sequence[Flight], last: int) -> tuple[list[dict[str, Any]], dict[str, npt.NDArray[Any]]]:
    """Return the jobs of requests that ended, one for each read, and the operands of some by their number."""
    jobs: list[dict[str, Any]] = []
    operands: dict[str, npt.NDArray[Any]] = {}
    for flight in flights:
        request, end = flight.request, flight.processed()
        for read in request.reads:
            start = min(read.positions.start, end)
            stop = end if read.positions.stop is None else min(read.positions.stop, end)
            if read.kind == "cosines":
                operands[str(len(jobs))] = np.stack([v.values for v in read.vectors]).astype(np.float32)
            elif read.kind == "likelihood":
                tokens = (*request.prompt.token_ids, *(request.forced or ()))
                # Behind the last position nothing that was given follows.
                stop = min(stop, len(tokens) - 1)
                operands[str(len(jobs))] = np.array(tokens[start + 1 : stop + 1], dtype=np.int64)
            jobs.append(
                {
                    "entry": flight.order.entry,
                    "kind": read.kind,
                    "layers": list(read_layers(read, last)) if start < stop else [],
                    "start": start,
                    "stop": stop,
                    "sets": [list(ids) for ids in read.sets],
                }
            )
    return jobs, operands


def gathered(flights: Sequence[Flight], jobs: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    """Give each request what its reads found; raises :class:`SilentInjectionError` where something is missing."""
    numbers = iter(range(len(jobs)))
    for flight in flights:
        for _ in flight.request.reads:
            number = next(numbers)
            names = {layer: f"{number}/{layer}" for layer in jobs[number]["layers"]}
            missing = [layer for layer, name in names.items() if name not in found]
            if missing:
                raise SilentInjectionError(
                    explain(
                        f"reading {jobs[number]['kind']!r}",
                        required=f"positions {jobs[number]['start']} to {jobs[number]['stop']} at blocks {list(names)}",
                        got=f"not all of them at {missing}",
                        hint="Some position was not run by this request; nothing is recorded.",
                    )
                )
            flight.found.append({place: found[name] for place, name in enumerate(names.values())})
