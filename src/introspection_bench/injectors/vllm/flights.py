"""Requests in flight: where each one's things stand in the workers' tables, and what came back of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from ...errors import CaptureError, SilentInjectionError, SpecError, explain
from ...identity import Sampling
from ...measures.base import Read
from ..hf.sampling import step_keys
from ..receipts import unmeasured
from ..requests import Request
from ..steering import NOT_STEERED, coefficients
from .cells import Cell
from .pools import Arena, VectorRows
from .wire import (
    BASE,
    CACHED,
    CAPTURE,
    KIND,
    LAYER,
    START,
    STEER,
    STOP,
    VECTOR,
    WIDTH,
    A,
    D,
    Order,
    Sizes,
    bits,
    counted,
)

#: What is run in a replay: everything that is fed, and one token that nobody looks at.
REPLAYED = Sampling(0.0, max_new_tokens=1)
#: Reads of what leaves the model rather than of a block.
OF_END = frozenset(("logprobs", "likelihood", "distribution"))


def sampling_of(request: Request) -> Sampling:
    """Return how an engine samples a request."""
    return request.sampling if request.forced is None else REPLAYED


def read_layers(read: Read, last: int) -> tuple[int, ...]:
    """Return the numbers of the blocks whose captures a read needs; what leaves the model is one more than the last.

    The lens at the last block is the model's own prediction.
    """
    if read.kind in OF_END:
        return (last + 1,)
    return tuple(last + 1 if read.kind == "lens" and n == last else n for n in read.layers)


def layout(request: Request, last: int) -> npt.NDArray[np.int32]:
    """Return the rows of a request (n, WIDTH), by block, without their places in the tables.

    Steers whose span begins behind the last position that can be run have none.
    """
    end = _end(request)
    rows = []
    for number, steer in enumerate(request.steers):
        start, stop = steer.positions.start, _until(steer.positions, end)
        if start < stop:
            rows.append((start, stop, steer.layer, STEER, number, 0, 0, *coefficients(steer)))
    spans: dict[int, tuple[int, int]] = {}
    for read in request.reads:
        stop = _until(read.positions, end)
        if read.positions.start < stop:
            for layer in read_layers(read, last):
                lo, hi = spans.get(layer, (end, 0))
                spans[layer] = min(lo, read.positions.start), max(hi, stop)
    rows += [(lo, hi, layer, CAPTURE, 0, 0, 0, 0.0, 0.0, 0.0, 0.0) for layer, (lo, hi) in spans.items()]
    rows.sort(key=operator.itemgetter(LAYER, KIND))
    found = np.zeros((len(rows), WIDTH), dtype=np.int32)
    if rows:
        found[:, :A] = [row[:A] for row in rows]
        found[:, A : D + 1] = bits([row[A:] for row in rows])
    return found


def _end(request: Request) -> int:
    """How many positions of a request can be run."""
    return len(request.fed) + sampling_of(request).max_new_tokens - 1


def _until(positions: Any, end: int) -> int:
    """Where some positions stop, of so many that can be run."""
    return end if positions.stop is None else min(positions.stop, end)


@attrs.define(eq=False)
class Flight:
    """One request in flight. ``steers`` are the numbers of the steers that have rows, in the rows' order."""

    key: str
    request: Request
    order: Order
    cell: Cell
    steers: tuple[int, ...]
    output: Any = None
    measured: list[npt.NDArray[np.float32]] | None = None
    largest: npt.NDArray[np.float32] | None = None
    found: list[dict[int, npt.NDArray[np.float32]]] = attrs.field(factory=list)

    @cached_property
    def tokens(self) -> tuple[int, ...]:
        """The sampled tokens of a request that ended; to be asked of such a one alone."""
        (sampled,) = self.output.outputs
        return tuple(map(int, sampled.token_ids))

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """The positions of each steer's row: (start, stop)."""
        rows = self.order.rows
        return [(start, stop) for start, stop, _, kind in rows[:, : KIND + 1].tolist() if kind == STEER]

    def sizes(self, number: int, end: int) -> npt.NDArray[np.float32]:
        """What was measured of a steer before the position ``end``: (3, end)."""
        found = unmeasured(end)
        if number in self.steers and self.measured is not None:
            at = self.steers.index(number)
            start, _ = self.spans[at]
            sizes = self.measured[at][:, : max(end - start, 0)]
            found[:, start : start + sizes.shape[1]] = np.where(sizes[0] <= CACHED, NOT_STEERED, sizes)
        return found

    def prompts(self) -> list[int]:
        """How many positions of the prompt each steer's rows begin with."""
        length = len(self.request.prompt.token_ids)
        return [max(min(stop, length) - start, 0) for start, stop in self.spans]

    def processed(self) -> int:
        """How many positions count."""
        forced = self.request.forced
        return self.request.processed(len(self.tokens if forced is None else forced))


class Places:
    """The places of an engine's tables, and who holds them."""

    def __init__(self, sizes: Sizes, last: int) -> None:
        self.sizes, self.last = sizes, last
        self._entries = list(range(sizes.entries))[::-1]
        self._arenas = {STEER: Arena(sizes.measured), CAPTURE: Arena(sizes.captures)}
        self.vectors = VectorRows(sizes.vectors)

    def check(self, request: Request) -> None:
        """Raise :class:`SpecError` for a request that would not fit if it were the only one."""
        if self._surely_fits(request):
            return
        rows = layout(request, self.last)
        lengths = rows[:, STOP] - rows[:, START]
        steered, read = (int(lengths[rows[:, KIND] == k].sum()) for k in (STEER, CAPTURE))
        for name, wanted, most in (
            ("rows", len(rows), self.sizes.rows),
            ("measured", steered, self.sizes.measured),
            ("captures", read, self.sizes.captures),
            ("vectors", len({s.key.vector for s in request.steers}), self.sizes.vectors),
        ):
            if wanted > most:
                raise SpecError(
                    explain(
                        "request",
                        required=f"at most {most} {name} (steers and read blocks; steered, read positions; vectors)",
                        got=wanted,
                        hint=f"Open with tables={{'{name}': {wanted}}} or more, or ask for less at once.",
                    )
                )

    def _surely_fits(self, request: Request) -> bool:
        """Whether no layout of so many steers and reads could need more: asked of every request, before any is run."""
        end, steers = _end(request), len(request.steers)
        blocks = sum(max(len(r.layers), 1) for r in request.reads)
        sizes = self.sizes
        return (
            steers + blocks <= sizes.rows
            and steers * end <= sizes.measured
            and blocks * end <= sizes.captures
            and steers <= sizes.vectors
        )

    def take(self, key: str, request: Request, cell: Cell) -> Flight | None:
        """Return a request with its places; None where there is no room until others have been read."""
        if not self._entries:
            return None
        rows = layout(request, self.last)
        whole = rows.tolist()
        steers = tuple(row[VECTOR] for row in whole if row[KIND] == STEER)
        vectors = self.vectors.take([request.steers[n] for n in steers])
        if vectors is None:
            return None
        held: list[tuple[int, int, int]] = []
        for row in whole:
            length = row[STOP] - row[START]
            at = self._arenas[row[KIND]].take(length)
            if at is None:
                for kind, start, taken in held:
                    self._arenas[kind].give_back(start, taken)
                self.vectors.give_back([request.steers[n] for n in steers])
                return None
            held.append((row[KIND], at, length))
        held_by = iter(vectors)
        for number, (kind, at, _) in enumerate(held):
            rows[number, BASE] = at
            if kind == STEER:
                rows[number, VECTOR] = next(held_by)
        sampling = sampling_of(request)
        keys = step_keys(request.seed, sampling.max_new_tokens) if sampling.temperature else np.zeros(0, np.int64)
        order = Order(
            entry=self._entries.pop(),
            prompt=len(request.fed),
            temperature=sampling.temperature,
            top_k=sampling.top_k or 0,
            top_p=sampling.top_p,
            keys=keys,
            rows=rows,
        )
        cell.members.add(key)
        return Flight(key, request, order, cell, steers)

    def give_back(self, flight: Flight) -> None:
        """Free what a request held."""
        flight.cell.members.discard(flight.key)
        self._entries.append(flight.order.entry)
        for row in flight.order.rows.tolist():
            self._arenas[row[KIND]].give_back(row[BASE], row[STOP] - row[START])
        self.vectors.give_back([flight.request.steers[n] for n in flight.steers])


def merged(answers: Sequence[tuple[Mapping[str, Any], Any]], flights: Sequence[Flight]) -> None:
    """Put together what the workers tell of some requests (:meth:`.worker.SteeringWorker.introspection_take`).

    Raises :class:`SilentInjectionError` where tensor parallel workers saw different positions steered.
    """
    told = [arrays["sizes"] for arrays, head in answers if head["first"]]
    sizes = told[0].copy()
    for other in told[1:]:
        # Other pipeline stages: whoever holds the block has written something.
        sizes = np.where(~(other[1] < 0), other, sizes)
    lengths = [stop - start for f in flights for start, stop in f.spans]
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    parts = [sizes[:, end - length : end] for end, length in zip(ends, lengths, strict=True)]
    ran = counted(sizes, lengths)
    for arrays, head in answers:
        # A worker that doesn't hold a block saw nothing there.
        off = np.zeros(0) if head["first"] else np.flatnonzero((arrays["ran"] != 0) & (arrays["ran"] != ran))
        if len(off):
            raise SilentInjectionError(
                explain(
                    "receipts",
                    required=f"{ran[off[0]]} steered positions from all workers that share block",
                    got=int(arrays["ran"][off[0]]),
                    hint="Some worker did not steer; nothing is recorded.",
                )
            )
    largest = [arrays["largest"] for arrays, head in answers if head["first"] and head["samples"]]
    if not largest:
        raise CaptureError(
            explain("sampler", required="the largest logit behind each token", got="none", hint="It did not run.")
        )
    steers = iter(parts)
    for flight, row in zip(flights, largest[0], strict=True):
        # Copies: what came of others that were read together must not be kept by one that is.
        flight.measured = [next(steers).copy() for _ in flight.steers]
        flight.largest = row[: len(flight.tokens) if flight.output is not None else 0].copy()
