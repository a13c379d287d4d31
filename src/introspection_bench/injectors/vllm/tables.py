"""The tables of one worker: what each request in flight asks for, what a step does where, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..steering import NOT_STEERED
from .wire import BASE, CACHED, CAPTURE, KIND, LAYER, NO_STAMP, STAMP, START, STEER, STOP, WIDTH, Order, Sizes, bits

#: Blocks are noted in words of so many bits.
WORD = 32


@attrs.define(eq=False)
class Stay:
    """One stay of a request in the engine's batch: preemption ends it.

    ``computed`` positions were there when it began; ``before`` is how many the request had run in earlier stays.
    """

    stamp: int
    computed: int
    before: int


@attrs.define(eq=False)
class Guest:
    """A request that a worker holds an entry for."""

    order: Order
    stays: list[Stay]


class Tables:
    """Tables on the device, at addresses that never change, and what the host knows of them.

    Requests have entries (:class:`.wire.Order`), which the injector hands out. A step's plan says for each of its
    tokens whose it is (``token_entry``) and at which blocks anything happens to it (``token_bits``), so that the op of
    a block looks at one number a token. Whatever is measured or captured is written down by position, with the stamp
    of the request's stay: what an earlier stay or an earlier request left behind has another one.
    """

    def __init__(
        self, sizes: Sizes, *, hidden: int, layers: int, dtype: torch.dtype, step: int, device: torch.device
    ) -> None:
        self.sizes, self.hidden, self.layers, self.device, self.step = sizes, hidden, layers, device, step
        # One more than there are blocks: what leaves the model.
        self.words = layers // WORD + 1

        def table(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.rows = table(sizes.entries, sizes.rows, WIDTH)
        # What is said of a request in one number each: as one table, so that they are written at once.
        self._facts = table(5, sizes.entries)
        self.counts, self.prompts, self.top_ks = self._facts[:3]
        self.temperatures, self.top_ps = self._facts[3:].view(torch.float32)
        self.vectors = table(max(sizes.vectors, 1), hidden, dtype=torch.float32)
        self.measured = table(max(sizes.measured, 1), 3, dtype=torch.float32)
        self.measured_stamps = table(max(sizes.measured, 1))
        self.captures = table(max(sizes.captures, 1), hidden, dtype=dtype)
        self.capture_stamps = table(max(sizes.captures, 1))
        self.token_entry = table(step)
        self.token_bits = table(step, self.words)
        self.token_position = table(step, dtype=torch.int64)
        self.branch_norms = table(step, dtype=torch.float32)
        # How the reply is sampled. The last column is for steps that nobody keeps.
        self.keys = table(sizes.entries, sizes.tokens + 1, dtype=torch.int64)
        # A token that nobody chose has no finite logit.
        self.largest = table(sizes.entries, sizes.tokens + 1, dtype=torch.float32).fill_(torch.nan)
        self.host_filtered = np.zeros(sizes.entries, dtype=bool)
        self.guests: dict[int, Guest] = {}
        self._staged: dict[int, Guest] = {}
        self._stamp = NO_STAMP

    # -- requests come and go ---------------------------------------------------------------------------------------

    def begin(self, order: Order, computed: int) -> None:
        """Note a new request, ``computed`` of whose positions come from the prefix cache."""
        self._stage(Guest(order, [Stay(self._next_stamp(), computed, 0)]))

    def resume(self, entry: int, computed: int, ran: int) -> None:
        """Note that a preempted request, which had run ``ran`` positions, goes on behind ``computed`` ones."""
        guest = self.guests[entry]
        guest.stays.append(Stay(self._next_stamp(), computed, ran))
        self._stage(guest)

    def forget(self, entries: Sequence[int]) -> None:
        """Drop what is known of requests."""
        for entry in entries:
            self.guests.pop(entry, None)

    def _stage(self, guest: Guest) -> None:
        self.guests[guest.order.entry] = self._staged[guest.order.entry] = guest

    def _next_stamp(self) -> int:
        self._stamp += 1
        return self._stamp

    def flush(self) -> None:
        """Upload what was noted since the last step: one copy, however many requests there are."""
        if not self._staged:
            return
        guests = list(self._staged.values())
        self._staged.clear()
        orders = [g.order for g in guests]
        entries = np.array([o.entry for o in orders], dtype=np.int64)
        rows = np.zeros((len(guests), max(len(o.rows) for o in orders), WIDTH), dtype=np.int32)
        keys = np.zeros((len(guests), max(len(o.keys) for o in orders)), dtype=np.int64)
        for number, guest in enumerate(guests):
            order = guest.order
            rows[number, : len(order.rows)] = order.rows
            rows[number, : len(order.rows), STAMP] = guest.stays[-1].stamp
            keys[number, : len(order.keys)] = order.keys
        self.host_filtered[entries] = [bool(o.temperature) and (o.top_k > 0 or o.top_p < 1) for o in orders]
        facts = np.zeros((len(self._facts), len(guests)), dtype=np.int32)
        facts[:3] = np.array([(len(o.rows), o.prompt, o.top_k) for o in orders]).T
        facts[3:] = bits([(o.temperature, o.top_p) for o in orders]).T
        index, on_keys, on_rows, on_facts = self._up(entries, keys, rows, facts)
        self._facts.index_copy_(1, index, on_facts)
        if rows.shape[1]:
            self.rows[:, : rows.shape[1]].index_copy_(0, index, on_rows)
        if keys.shape[1]:
            self.keys[:, : keys.shape[1]].index_copy_(0, index, on_keys)

    def _up(self, *arrays: npt.NDArray[Any]) -> list[Tensor]:
        """Return arrays as tensors on the device, brought there by one copy: those of wider numbers come first."""
        if self.device.type == "cpu":
            return [torch.from_numpy(array) for array in arrays]
        whole = torch.empty(sum(a.nbytes for a in arrays), dtype=torch.uint8, pin_memory=True)
        ends = np.cumsum([a.nbytes for a in arrays]).tolist()
        for array, end in zip(arrays, ends, strict=True):
            whole[end - array.nbytes : end].numpy()[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        there = whole.to(self.device, non_blocking=True)
        return [
            there[end - a.nbytes : end].view(torch.from_numpy(a[:0]).dtype).view(a.shape)
            for a, end in zip(arrays, ends, strict=True)
        ]

    def set_vectors(self, at: npt.NDArray[np.int64], directions: npt.NDArray[np.float32]) -> None:
        """Put directions (n, hidden_size) into some rows of the table of vectors."""
        index, rows = self._up(at.copy(), directions.copy())
        self.vectors.index_copy_(0, index, rows)

    # -- a step -----------------------------------------------------------------------------------------------------

    def plan(self, entries: Tensor, starts: Tensor, positions: Tensor, tokens: int) -> None:
        """Write down what happens to each token of a step.

        ``entries`` (requests,) are -1 for those that aren't ours, ``starts`` (requests + 1,) where each one's tokens
        begin, ``positions`` (at least ``tokens``,) their absolute positions. The tables are as large as any step:
        nothing happens to the rest of them, with which vLLM may fill a step up to a captured size.
        """
        self.token_bits.zero_()
        owner = torch.repeat_interleave(torch.arange(len(entries)), starts.diff().long(), output_size=tokens)
        entry = entries[owner].long()
        at = positions[:tokens]
        self.token_entry[:tokens] = entry.int()
        self.token_position[:tokens] = at
        ours = (entry >= 0).nonzero()[:, 0]
        most = int(self.counts[entry[ours]].max()) if len(ours) else 0
        if not most:
            return
        rows = self.rows[entry[ours], :most]
        there = torch.arange(most) < self.counts[entry[ours], None]
        there &= (rows[..., START] <= at[ours, None]) & (at[ours, None] < rows[..., STOP])
        token, number = there.nonzero(as_tuple=True)
        layer = rows[token, number, LAYER].long()
        # A token may have several rows at one block: each bit once.
        marks = torch.zeros(len(ours), self.words * WORD, dtype=torch.bool)
        marks[token, layer] = True
        powers = torch.ones(WORD, dtype=torch.int64) << torch.arange(WORD)
        words = (marks.view(len(ours), self.words, WORD) * powers).sum(dim=-1)
        self.token_bits[ours] = (words - ((words >> (WORD - 1)) << WORD)).int()

    # -- what came of it --------------------------------------------------------------------------------------------

    def pieces(self, entries: Sequence[int]) -> tuple[npt.NDArray[np.int64], list[int]]:
        """Return the places in the arena of all positions of some requests' steers, one behind the other.

        And how many positions each steer has.
        """
        rows = self._steers(entries)
        lengths = rows[:, STOP] - rows[:, START]
        return _runs(rows[:, BASE], lengths), lengths.tolist()

    def measurements(
        self, entries: Sequence[int], seen: npt.NDArray[np.float32], stamps: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """Return what was measured of some requests' steers: (3, positions), each from its START on, as in ``pieces``.

        ``seen`` (positions, 3) and ``stamps`` are what stands in the arena there. A position that no stay of a request
        wrote is ``NOT_STEERED``, or :data:`.wire.CACHED` where none ran it.
        """
        rows = self._steers(entries)
        lengths = rows[:, STOP] - rows[:, START]
        positions = _runs(rows[:, START], lengths)
        stays = [self.guests[e].stays for e in entries]
        counts = [int((self.guests[e].order.rows[:, KIND] == STEER).sum()) for e in entries]

        def each(numbers: Sequence[int]) -> npt.NDArray[np.int64]:
            """What is known of each request, for each of its positions."""
            return np.repeat(np.repeat(np.array(numbers, dtype=np.int64), counts), lengths)

        first = each([s[0].stamp for s in stays])
        needed = np.zeros_like(first)
        # Some stay began behind it, and no earlier one had come so far.
        cached = np.zeros(len(first), dtype=bool)
        for number in range(max(map(len, stays), default=0)):
            # A request of fewer stays has its last again: that alters nothing.
            at = [s[min(number, len(s) - 1)] for s in stays]
            computed, before = each([s.computed for s in at]), each([s.before for s in at])
            needed = np.where(positions >= computed, each([s.stamp for s in at]), needed)
            cached |= (positions < computed) & (positions >= before)
        wrote = (stamps >= needed) & (stamps >= first)
        return np.where(wrote, seen.T, np.where(cached, CACHED, NOT_STEERED)).astype(np.float32)

    def _steers(self, entries: Sequence[int]) -> npt.NDArray[np.int64]:
        rows = [self.guests[e].order.rows for e in entries]
        whole = np.concatenate([*rows, np.zeros((0, WIDTH), dtype=np.int32)]).astype(np.int64)
        steers: npt.NDArray[np.int64] = whole[whole[:, KIND] == STEER]
        return steers

    def captured(self, entry: int, layer: int, start: int, stop: int) -> tuple[Tensor, bool]:
        """Return the stream (positions, hidden_size) that a request's passes left at a block, and whether all of it.

        Positions from ``start`` on, as far as ``stop``.
        """
        guest = self.guests[entry]
        rows = guest.order.rows
        (row,) = rows[(rows[:, KIND] == CAPTURE) & (rows[:, LAYER] == layer)]
        at = int(row[BASE]) + start - int(row[START])
        piece = slice(at, at + stop - start)
        return self.captures[piece], bool((self.capture_stamps[piece] >= guest.stays[0].stamp).all())


def _runs(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the whole numbers from each start on, so many of each, one behind the other."""
    ends = np.cumsum(lengths)
    found: npt.NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(starts - (ends - lengths), lengths)
    return found
