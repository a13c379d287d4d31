"""Reading inside a pass: what each request asks for, reduced where the model is, layer by layer.

The stream of one layer's batch is all that is there at once: of each position that is read only what was asked for
leaves the device. Logits are made of some positions at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import SilentInjectionError, explain
from ...measures.base import Read, ReadKind
from ..reading import cosines, distribution, likelihoods, log_masses
from ..requests import Request
from .blocks import copied
from .hooks import Observer
from .unembedding import Unembedding

#: What is read of the model's own logits.
OF_LOGITS = frozenset[ReadKind](("logprobs", "likelihood", "distribution"))
#: Logits are made of so many positions at once that they have about this many numbers.
_PART = 2**24


@attrs.frozen(eq=False)
class _Job:
    """All reads of a batch that are alike, at all of their places: ``rows`` and ``columns`` say where (places,)."""

    read: Read
    rows: Tensor
    columns: Tensor
    following: Tensor
    #: Which request's which read has so many of the places, in order.
    owners: tuple[tuple[int, int, int], ...]
    #: What was found, (places, …), by layer; by None where it is not of a layer.
    found: dict[int | None, Tensor] = attrs.field(factory=dict)

    def places(self, values: Tensor) -> Tensor:
        """Return what of a batch's values (rows, positions, …) is read: (places, …)."""
        return values[self.rows.to(values.device), self.columns.to(values.device)]


class PassReading:
    """What one pass over a batch of replays reads; give :attr:`observers` to its session, its output to :meth:`found`.

    Args:
        batch: the replay of each row.
        first: the absolute position of the pass's first column.
        lens: returns what makes logits of the stream that leaves any block; called for ``lens`` alone.
    """

    def __init__(self, batch: Sequence[Request], first: int, lens: Callable[[], Unembedding]) -> None:
        self._batch, self._lens = batch, lens
        self._jobs = _jobs(batch, first)
        layers = {layer for job in self._jobs for layer in job.read.layers}
        #: What has to look at each block's output.
        self.observers: Mapping[int, Observer] = {layer: self._observer(layer) for layer in sorted(layers)}

    def _observer(self, layer: int) -> Observer:
        jobs = [job for job in self._jobs if layer in job.read.layers]

        def observe(hidden: Tensor) -> None:
            for job in jobs:
                job.found[layer] = self._of_stream(job, job.places(hidden))

        return observe

    def _of_stream(self, job: _Job, stream: Tensor) -> Tensor:
        match job.read.kind:
            case "cosines":
                vectors = torch.from_numpy(np.stack([v.values for v in job.read.vectors]))
                return cosines(stream, vectors.to(stream.device))
            case "lens":
                return _in_parts(self._lens(), stream, lambda logits, _: log_masses(logits, job.read.sets))
            case _:
                return copied(stream)

    def found(self, states: Tensor, unembedding: Callable[[], Unembedding]) -> list[list[npt.NDArray[np.float32]]]:
        """Return what each row's reads brought, of the shapes of :meth:`Read.shape`.

        ``states`` (rows, positions, width) are what the base model makes of the last block's stream; of them
        ``unembedding()`` makes its logits, called for reads of logits alone. Raises
        :class:`SilentInjectionError` where a block did not run.
        """
        results: list[list[Any]] = [[None] * len(request.reads) for request in self._batch]
        for job in self._jobs:
            if job.read.kind in OF_LOGITS:
                job.found[None] = _in_parts(unembedding(), job.places(states), _reduction(job))
            wanted: Sequence[int | None] = job.read.layers or (None,)
            missing = [layer for layer in wanted if layer not in job.found]
            if missing:
                raise SilentInjectionError(
                    explain(
                        f"reading hook of {job.read.kind}",
                        required=f"the output of the blocks {job.read.layers}",
                        got=f"nothing at {missing}",
                        hint="The model did not run its blocks as expected; nothing was recorded.",
                    )
                )
            values = torch.stack([job.found[layer].cpu() for layer in wanted])
            counts = [count for _, _, count in job.owners]
            for (row, number, _), own in zip(job.owners, torch.split(values, counts, dim=1), strict=True):
                results[row][number] = (own if job.read.layers else own[0]).numpy()
        return results


def _reduction(job: _Job) -> Callable[[Tensor, slice], Tensor]:
    if job.read.kind == "likelihood":
        return lambda logits, part: likelihoods(logits, job.following[part].to(logits.device))
    if job.read.kind == "distribution":
        return lambda logits, _: distribution(logits)
    return lambda logits, _: log_masses(logits, job.read.sets)


def _in_parts(to_logits: Unembedding, states: Tensor, reduce: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """Return what ``reduce`` makes of the logits of states (places, width), some places at a time."""
    size = max(1, _PART // to_logits.vocabulary)
    parts = [slice(start, start + size) for start in range(0, len(states), size)]
    if not parts:
        return reduce(states.new_empty((0, to_logits.vocabulary)), slice(0))
    return torch.cat([reduce(to_logits(states[part]), part) for part in parts])


def _jobs(batch: Sequence[Request], first: int) -> list[_Job]:
    alike: dict[Any, list[tuple[int, int, Read]]] = {}
    for row, request in enumerate(batch):
        for number, read in enumerate(request.reads):
            key = (read.kind, read.layers, read.sets, tuple(v.digest for v in read.vectors))
            alike.setdefault(key, []).append((row, number, read))
    return [_job(some, batch, first) for some in alike.values()]


def _job(some: Sequence[tuple[int, int, Read]], batch: Sequence[Request], first: int) -> _Job:
    rows: list[int] = []
    columns: list[int] = []
    following: list[int] = []
    owners = []
    for row, number, read in some:
        request = batch[row]
        at = _within(read, len(request.fed))
        rows += [row] * len(at)
        columns += [t - first for t in at]
        if read.kind == "likelihood":
            tokens = (*request.prompt.token_ids, *(request.forced or ()))
            following += [tokens[t + 1] for t in at]
        owners.append((row, number, len(at)))
    whole = functools.partial(torch.tensor, dtype=torch.long)
    return _Job(some[0][2], whole(rows), whole(columns), whole(following), tuple(owners))


def _within(read: Read, end: int) -> range:
    stop = end if read.positions.stop is None else min(read.positions.stop, end)
    return range(read.positions.start, max(stop, read.positions.start))
