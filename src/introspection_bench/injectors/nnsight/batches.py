"""From requests to what a trace is told, and from what it saved to completions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import CaptureError, explain
from ...identity import Sampling
from ...injection import Receipt
from ...measures.base import Read
from ..hf.caches import batches_by_length
from ..hf.reads import OF_LOGITS
from ..hf.stopping import ReplyReader
from ..receipts import check_logits, make_receipt
from ..requests import Completion, Request, failures_last
from ..steering import coefficients, needs_update, projects

#: int64's largest value stands for "to the end".
_NO_STOP = 2**63 - 1

#: A row of the batch with the number of one of its steers or reads.
_Member = tuple[int, int]


@attrs.frozen(eq=False)
class Group:
    """The same thing read of some rows."""

    read: Read
    members: tuple[_Member, ...]


@attrs.frozen(eq=False)
class Station:
    """What is done at one block: rounds of steers, at most one of each row in a round, then what is read."""

    layer: int
    rounds: tuple[tuple[_Member, ...], ...]
    groups: tuple[Group, ...]


@attrs.frozen(eq=False)
class Batch:
    """Requests of one call that one trace answers: all sampled alike behind prompts of one length, or all replayed.

    ``sampling`` is None on a replay, whose rows may be of several lengths.
    """

    indices: tuple[int, ...]
    requests: tuple[Request, ...]
    sampling: Sampling | None

    @property
    def length(self) -> int:
        """How many positions the first pass has."""
        return max(len(request.fed) for request in self.requests)

    @functools.cached_property
    def stations(self) -> tuple[Station, ...]:
        """What is done at which block, in the order of the forward pass."""
        rounds: dict[int, list[list[_Member]]] = {}
        for row, request in enumerate(self.requests):
            done: dict[int, int] = {}
            for number, steer in enumerate(request.steers):
                turn = done[steer.layer] = done.get(steer.layer, -1) + 1
                here = rounds.setdefault(steer.layer, [])
                here += [[] for _ in range(turn + 1 - len(here))]
                here[turn].append((row, number))
        layers = {*rounds, *(layer for request in self.requests for layer in request.read_layers)}
        return tuple(
            Station(layer, tuple(map(tuple, rounds.get(layer, ()))), self._groups(layer)) for layer in sorted(layers)
        )

    @functools.cached_property
    def of_logits(self) -> tuple[Group, ...]:
        """What is read of the logits."""
        return self._groups(None)

    def _groups(self, layer: int | None) -> tuple[Group, ...]:
        """Return what is read at a block, None for the logits: rows together that read the same."""
        found: dict[Any, tuple[Read, list[_Member]]] = {}
        for row, request in enumerate(self.requests):
            for number, read in enumerate(request.reads):
                if layer in (read.layers or (None,)):
                    where = (read.positions.start, read.positions.stop)
                    key = (read.kind, where, read.sets, tuple(v.digest for v in read.vectors))
                    found.setdefault(key, (read, []))[1].append((row, number))
        return tuple(Group(read, tuple(members)) for read, members in found.values())


def batches(requests: Sequence[Request], most: int, switch: int | None, pads: Callable[[], bool]) -> Iterator[Batch]:
    """Yield batches of at most so many rows, of one length each but for replays that may be padded on the right.

    Those are not padded that read logits, of which all rows would be made from the first place of any of them; nor
    across the ``switch`` of :class:`~introspection_bench.injectors.base.Limits`. ``pads()`` says whether the model
    bears it; it is asked only where there is something to pad.
    """
    found: dict[tuple[Sampling | None, bool, bool], list[int]] = {}
    for index, request in enumerate(requests):
        sampling = request.sampling if request.forced is None else None
        alike = sampling is not None or any(read.kind in OF_LOGITS for read in request.reads)
        beyond = switch is not None and len(request.fed) > switch
        found.setdefault((sampling, alike, beyond), []).append(index)
    for (sampling, alike, _), indices in found.items():
        rows = [requests[i].fed for i in indices]
        padded = not alike and len(set(map(len, rows))) > 1 and pads()
        for some in batches_by_length(rows, most, padded=padded):
            chosen = tuple(indices[n] for n in some)
            yield Batch(chosen, tuple(requests[i] for i in chosen), sampling)


def told_stations(batch: Batch, block: Callable[[int], Any], update: Callable[[int], Any]) -> list[Any]:
    """Return the stations as :func:`.traces.at_blocks` takes them; ``update(layer)`` is the block's MLP branch."""
    told = []
    for station in batch.stations:
        steers = [batch.requests[row].steers[n] for members in station.rounds for row, n in members]
        branch = update(station.layer) if needs_update(steers) else None
        rounds = [_told_round(batch, members) for members in station.rounds]
        told.append((block(station.layer), branch, rounds, told_groups(batch, station.groups)))
    return told


def _told_round(batch: Batch, members: Sequence[_Member]) -> tuple[Any, ...]:
    steers = [batch.requests[row].steers[n] for row, n in members]
    stops = [s.positions.stop for s in steers]
    return (
        torch.tensor([row for row, _ in members]),
        torch.stack([torch.tensor(s.vector.unit.values) for s in steers]),
        torch.tensor([coefficients(s) for s in steers], dtype=torch.float32),
        torch.tensor([[s.positions.start] for s in steers]),
        torch.tensor([[_NO_STOP if stop is None else stop] for stop in stops]),
        projects(steers),
    )


def told_groups(batch: Batch, groups: Sequence[Group]) -> list[Any]:
    """Return groups as :func:`.traces.at_blocks` takes them."""
    told = []
    for group in groups:
        read, where = group.read, group.read.positions
        stop = _NO_STOP if where.stop is None else where.stop
        what: Any = [list(ids) for ids in read.sets]
        if read.kind == "cosines":
            what = torch.stack([torch.tensor(v.values) for v in read.vectors])
        elif read.kind == "likelihood":
            what = [_following(batch, row, where.start, stop) for row, _ in group.members]
        told.append((read.kind, [row for row, _ in group.members], where.start, stop, what))
    return told


def _following(batch: Batch, row: int, start: int, stop: int) -> Tensor:
    """Return the token ids that follow the positions from ``start`` to ``stop``, as far as the batch is fed."""
    request = batch.requests[row]
    ids = (*request.prompt.token_ids, *(request.forced or ()))
    return torch.tensor(ids[start + 1 : min(stop, batch.length) + 1], dtype=torch.long)


def kept_logits(batch: Batch) -> int:
    """Return of how many of the last positions a replay needs the logits: the fewest that a model can make are 1."""
    starts = [group.read.positions.start for group in batch.of_logits]
    return max(1, batch.length - min(starts, default=batch.length))


@attrs.frozen(eq=False)
class Unravelled:
    """What one trace saved, by row: each steer's measurements (3, positions), each read's tensor for each block."""

    measured: Mapping[_Member, npt.NDArray[np.float32]]
    found: Mapping[_Member, Mapping[int | None, Tensor]]


def unravel(batch: Batch, saved: Mapping[str, Any], positions: int) -> Unravelled:
    """Sort what a trace saved, pass by pass, back into rows.

    Raises :class:`CaptureError` where a steered block ran for another number of positions.
    """
    measured: dict[_Member, npt.NDArray[np.float32]] = {}
    rounds = [members for station in batch.stations for members in station.rounds]
    for number, members in enumerate(rounds):
        sizes = joined([p[number] for p in saved["measured"]], "measurements", axis=2, length=positions).numpy()
        measured |= {member: sizes[:, line] for line, member in enumerate(members)}
    found: dict[_Member, dict[int | None, Tensor]] = {}
    groups = [(station.layer, group) for station in batch.stations for group in station.groups]
    for number, (layer, group) in enumerate([*groups, *((None, group) for group in batch.of_logits)]):
        whole = joined([p[number] for p in saved["found"]], group.read.kind, axis=1)
        for line, member in enumerate(group.members):
            found.setdefault(member, {})[layer] = whole[line]
    return Unravelled(measured, found)


def completions(batch: Batch, saved: Mapping[str, Any], reader: ReplyReader, dtype: str) -> Iterator[Completion]:
    """Turn what a trace saved into completions; ``dtype`` is the stream's."""
    sampled, largest = _sampled(batch, saved)
    positions = batch.length if sampled is None else batch.length + len(sampled[0]) - 1
    rows = unravel(batch, saved, positions)

    def finish(row: int) -> Completion:
        request = batch.requests[row]
        if sampled is None:
            reply = reader.forced(request.forced or (), request.prompt)
        else:
            reply = reader.read(sampled[row], request.sampling.max_new_tokens, request.prompt)
        end = request.processed(len(reply.token_ids))
        receipts: list[Receipt] = []
        for number, steer in enumerate(request.steers):
            receipts.append(make_receipt(rows.measured[row, number][:, :end], steer, dtype=dtype))
        if sampled is not None:
            check_logits(largest[row, : len(reply.token_ids)], batch.length, request.sampling.temperature)
        readings = [_reading(read, rows.found[row, number], end) for number, read in enumerate(request.reads)]
        return Completion(batch.indices[row], reply, receipts, readings)

    yield from failures_last(batch.indices, finish)


def _sampled(batch: Batch, saved: Mapping[str, Any]) -> tuple[list[list[int]] | None, npt.NDArray[np.float32]]:
    """Return each row's sampled tokens and the largest logit of each step (rows, steps); nothing on a replay."""
    if batch.sampling is None:
        return None, np.empty((0, 0), dtype=np.float32)
    tokens: list[list[int]] = saved["tokens"][:, batch.length :].tolist()
    steps = [step[:, None] for step in saved["largest"]]
    return tokens, joined(steps, "largest logits", axis=1, length=len(tokens[0])).numpy()


def _reading(read: Read, parts: Mapping[int | None, Tensor], end: int) -> npt.NDArray[np.float32]:
    """Return a reading up to the last position that was processed for this reply: rows of a batch may run on."""
    places = max(end - read.positions.start, 0)
    found = [parts[layer][:places].numpy() for layer in read.layers or (None,)]
    whole: npt.NDArray[np.float32] = np.stack(found) if read.layers else found[0].copy()
    return whole


def joined(parts: Sequence[Tensor], what: str, *, axis: int, length: int | None = None) -> Tensor:
    """Join the passes' tensors along their axis of positions; raises :class:`CaptureError` for another length."""
    whole = torch.cat(list(parts), dim=axis) if parts else torch.empty(0, 0, 0)
    if length is not None and whole.shape[axis] != length:
        raise CaptureError(
            explain(
                f"{what} of the trace",
                required=f"{length} positions",
                got=whole.shape[axis],
                hint="The trace did not visit every pass; nothing was recorded.",
            )
        )
    return whole
