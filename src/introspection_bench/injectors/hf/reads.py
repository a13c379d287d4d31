"""Reading inside a pass: what each request asks for, reduced where the model is, layer by layer.

The stream of one layer's batch is all that is there at once: of each position that is read only what was asked for
leaves the device. Logits are made of some positions at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import SilentInjectionError, explain
from ...measures.base import Read
from ..reading import cosines, likelihoods, log_masses
from .blocks import copied
from .hooks import Observer
from .unembedding import Unembedding

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
    """What one pass over a batch reads; give :attr:`observers` to its session, and its output to :meth:`found`.

    Args:
        reads: what each row is to read.
        tokens: the token ids of each row from position 0, with the last one, which is not fed.
        ends: how many positions of each row are its own, without the padding.
        first: the absolute position of the pass's first column.
        lens: makes logits of the stream that leaves any block; needed for ``lens`` alone.
    """

    def __init__(
        self,
        reads: Sequence[Sequence[Read]],
        tokens: Sequence[Sequence[int]],
        ends: Sequence[int],
        first: int,
        lens: Unembedding | None = None,
    ) -> None:
        self._reads, self._lens = reads, lens
        self._jobs = _jobs(reads, tokens, ends, first)
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
                return cosines(
                    stream, torch.tensor(np.stack([v.values for v in job.read.vectors]), device=stream.device)
                )
            case "lens" if self._lens is not None:
                return _in_parts(self._lens, stream, lambda logits, _: log_masses(logits, job.read.sets))
            case _:
                return copied(stream)

    def found(self, states: Tensor, to_logits: Unembedding | None = None) -> list[list[npt.NDArray[np.float32]]]:
        """Return what each row's reads brought, of the shapes of :meth:`Read.shape`.

        ``states`` (rows, positions, width) are what the model makes of the last block's stream, of which ``to_logits``
        makes its logits; needed for ``logprobs`` and ``likelihood``. Raises :class:`SilentInjectionError` where a block
        did not run.
        """
        results: list[list[Any]] = [[None] * len(reads) for reads in self._reads]
        for job in self._jobs:
            if to_logits is not None and not job.read.layers:
                job.found[None] = _in_parts(to_logits, job.places(states), _reduction(job))
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
            values = torch.stack([job.found[layer].float().cpu() for layer in wanted])
            parts = values.numpy() if job.read.layers else values[0].numpy()
            start = 0
            for row, number, count in job.owners:
                results[row][number] = (
                    parts[..., start : start + count, :] if parts.ndim > 1 else parts[start : start + count]
                )
                start += count
        return results


def _reduction(job: _Job) -> Callable[[Tensor, slice], Tensor]:
    if job.read.kind == "likelihood":
        return lambda logits, part: likelihoods(logits, job.following[part].to(logits.device))
    return lambda logits, _: log_masses(logits, job.read.sets)


def _in_parts(to_logits: Unembedding, states: Tensor, reduce: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """Return what ``reduce`` makes of the logits of states (places, width), some places at a time."""
    size = max(1, _PART // to_logits.vocabulary)
    parts = [slice(start, start + size) for start in range(0, len(states), size)]
    if not parts:
        return reduce(states.new_empty((0, to_logits.vocabulary)), slice(0))
    return torch.cat([reduce(to_logits(states[part]), part) for part in parts])


def _jobs(
    reads: Sequence[Sequence[Read]], tokens: Sequence[Sequence[int]], ends: Sequence[int], first: int
) -> list[_Job]:
    alike: dict[Any, list[tuple[int, int, Read]]] = {}
    for row, some in enumerate(reads):
        for number, read in enumerate(some):
            key = (read.kind, read.layers, read.sets, tuple(v.digest for v in read.vectors))
            alike.setdefault(key, []).append((row, number, read))
    return [_job(some, tokens, ends, first) for some in alike.values()]


def _job(
    some: Sequence[tuple[int, int, Read]], tokens: Sequence[Sequence[int]], ends: Sequence[int], first: int
) -> _Job:
    rows: list[int] = []
    columns: list[int] = []
    following: list[int] = []
    owners = []
    for row, number, read in some:
        at = _within(read, ends[row])
        rows += [row] * len(at)
        columns += [t - first for t in at]
        if read.kind == "likelihood":
            following += [tokens[row][t + 1] for t in at]
        owners.append((row, number, len(at)))
    return _Job(some[0][2], *(torch.tensor(n, dtype=torch.long) for n in (rows, columns, following)), tuple(owners))


def _within(read: Read, end: int) -> range:
    stop = end if read.positions.stop is None else min(read.positions.stop, end)
    return range(read.positions.start, max(stop, read.positions.start))
