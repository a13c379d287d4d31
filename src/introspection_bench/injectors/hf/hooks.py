"""The forward hooks that steer and read the residual stream of one batched forward session.

A session is a run of forward passes over the same rows: a prefill, or the steps of one ``generate`` call. A hook
counts the positions that it has seen, from the session's first one on; which positions are steered was resolved
before, when the trial was planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import attrs
import torch
from torch import Tensor, nn

from ...errors import SilentInjectionError, explain
from ...injection import Steer
from ..steering import NOT_STEERED, coefficients, needs_update, projects, steer
from .blocks import copied, hidden_of, with_hidden

#: One row of a batch: its steers, none on a control.
Row: TypeAlias = tuple[Steer, ...]
#: What looks at the stream that leaves a block: (rows, positions, hidden_size), steers included.
Observer: TypeAlias = Callable[[Tensor], None]


@attrs.frozen(eq=False)
class _Lane:
    """One steer of one row; ``number`` counts all of a batch."""

    number: int
    row: int
    steer: Steer


class _Round:
    """One steer each of some rows of a batch at one block, and what was measured on it.

    Each pass leaves its number of positions and what :func:`.steering.steer` measured, (3, rows here, positions), or
    None where none of them was steered.
    """

    def __init__(self, lanes: Sequence[_Lane], rows: int) -> None:
        steers = [lane.steer for lane in lanes]
        self.rows = [lane.row for lane in lanes]
        self.needs_update = needs_update(steers)
        self._passes: list[tuple[int, Tensor | None]] = []
        self._projecting = projects(steers)
        self._spans = [s.positions for s in steers]
        self._directions = torch.stack([torch.tensor(s.vector.unit.values) for s in steers])
        self._lengths = torch.tensor([coefficients(s) for s in steers], dtype=torch.float32)
        self._starts = torch.tensor([[s.start] for s in self._spans])
        # int64's largest value stands for "to the end of the reply".
        self._stops = torch.tensor([[2**63 - 1 if s.stop is None else s.stop] for s in self._spans])
        self._all_rows = self.rows == list(range(rows))

    def add(self, stream: Tensor, origin: Tensor, first: int, update_norms: Tensor | None) -> Tensor:
        """Return the stream with these steers added; what they measure is taken from ``origin``.

        ``stream`` and ``origin`` (rows, positions, hidden_size) begin at the absolute position ``first`` and are left
        as they are; ``update_norms`` (rows, positions).
        """
        count = stream.shape[1]
        if not any(s.start < first + count and (s.stop is None or first < s.stop) for s in self._spans):
            self._passes.append((count, None))
            return stream
        self._move_to(stream.device)
        mask = None
        # As in each decode step of most runs: saves a GPU some small kernels.
        if not all(s.start <= first and (s.stop is None or first + count <= s.stop) for s in self._spans):
            at = torch.arange(first, first + count, device=stream.device)
            mask = (self._starts <= at) & (at < self._stops)
        after, measured = steer(
            self._own(stream),
            self._directions,
            self._lengths,
            mask,
            self._own(update_norms) if self.needs_update and update_norms is not None else None,
            origin=None if stream is origin else self._own(origin),
            projecting=self._projecting,
        )
        self._passes.append((count, measured))
        if self._all_rows:
            return after
        stream = stream.clone()
        stream[self.rows] = after
        return stream

    def measured(self) -> Tensor:
        """Return all that was measured: (3, rows here, positions), where the block is."""
        empty = torch.empty((3, len(self.rows), 0), device=self._directions.device)
        parts = [
            empty.new_full((3, len(self.rows), count), NOT_STEERED) if measured is None else measured
            for count, measured in self._passes
        ]
        return torch.cat(parts, dim=2) if parts else empty

    def _own(self, values: Tensor) -> Tensor:
        return values if self._all_rows else values[self.rows]

    def _move_to(self, device: torch.device) -> None:
        if self._directions.device != device:
            for name in ("_directions", "_lengths", "_starts", "_stops"):
                setattr(self, name, getattr(self, name).to(device))


class BlockSteering:
    """Steers rows of a batch at one block: each row's steers there one after the other, all from the same stream."""

    def __init__(self, lanes: Sequence[_Lane], rows: int, first_position: int) -> None:
        rounds: list[list[_Lane]] = []
        for lane in lanes:
            free = next((r for r in rounds if all(other.row != lane.row for other in r)), None)
            if free is None:
                rounds.append([lane])
            else:
                free.append(lane)
        #: Which of the batch's steers :meth:`measured` is about, in its order.
        self.numbers = [lane.number for some in rounds for lane in some]
        self._rounds = [_Round(some, rows) for some in rounds]
        self._seen = self._first = first_position
        self._update: Tensor | None = None
        #: Whether a steer's unit needs the norm of the MLP branch's output.
        self.needs_update = any(some.needs_update for some in self._rounds)

    def on_update(self, _: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """Forward hook on the MLP branch: keeps its output's norms for the block's own hook in the same pass."""
        update = hidden_of(output)
        # At once: blocks that add attention and MLP in place (Falcon) write into this very tensor.
        self._update = update.float().norm(dim=-1)

    def on_block(self, _: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        """Forward hook on the block: returns its output with the steers added."""
        stream = origin = hidden_of(output)
        first = self._seen
        self._seen += origin.shape[1]
        update_norms = self._update_norms(origin)
        for some in self._rounds:
            stream = some.add(stream, origin, first, update_norms)
        return None if stream is origin else with_hidden(output, stream)

    def measured(self, positions: int, layer: int) -> Tensor:
        """Return all that was measured: (3, steers here, positions), on the CPU.

        Raises :class:`SilentInjectionError` where the hook saw another number of positions than were run.
        """
        if self._seen - self._first != positions:
            raise SilentInjectionError(
                explain(
                    f"steering hook at layer {layer}",
                    required=f"{positions} positions seen",
                    got=self._seen - self._first,
                    hint="The model did not run its blocks as expected; nothing was recorded.",
                )
            )
        # One copy from the device, not one for each pass.
        return torch.cat([some.measured() for some in self._rounds], dim=1).cpu()

    def _update_norms(self, hidden: Tensor) -> Tensor | None:
        if not self.needs_update:
            return None
        norms, self._update = self._update, None
        if norms is None:
            raise SilentInjectionError(
                explain("unit 'update'", required="an MLP branch that ran", got="none in this pass", hint="Report it.")
            )
        # A branch may flatten rows and positions (OPT's fc2); their order stays.
        return norms.reshape(hidden.shape[:-1]).to(hidden.device)


class BlockCapture:
    """Keeps the residual stream that leaves one block at every position of the session: an :data:`Observer`."""

    def __init__(self) -> None:
        self._passes: list[Tensor] = []

    def __call__(self, hidden: Tensor) -> None:
        """Keep what one pass brought."""
        self._passes.append(copied(hidden))

    def residuals(self) -> Tensor:
        """All that was read: (rows, positions, hidden_size), float32, on the CPU."""
        return torch.cat(self._passes, dim=1)


@attrs.frozen(eq=False)
class Session:
    """What the steering hooks of one session did; filled while the passes run."""

    _steering: Mapping[int, BlockSteering]
    _batch: Sequence[Row]

    def measured(self, positions: int) -> list[Tensor]:
        """Return what was measured on each row (see :func:`.steering.steer`): (3, its steers, positions), on the CPU.

        Raises :class:`SilentInjectionError` where a hook saw another number of positions than were run.
        """
        counts = [len(row) for row in self._batch]
        table = torch.empty(3, sum(counts), positions)
        for layer, block in self._steering.items():
            table[:, block.numbers] = block.measured(positions, layer)
        return list(torch.split(table, counts, dim=1))


@contextmanager
def session(
    blocks: Sequence[nn.Module],
    updates: Any,
    batch: Sequence[Row],
    first_position: int,
    observers: Mapping[int, Observer] | None = None,
) -> Iterator[Session]:
    """Install the hooks for a batch, yield what they record, and take them off again whatever happens.

    ``updates(layer)`` returns the MLP branch of a block; it is called only where the unit ``update`` is used.
    ``observers`` see the stream that leaves the blocks which they stand for.
    """
    lanes: dict[int, list[_Lane]] = {}
    for number, (row, one) in enumerate((row, one) for row, steers in enumerate(batch) for one in steers):
        lanes.setdefault(one.layer, []).append(_Lane(number, row, one))
    steering = {layer: BlockSteering(found, len(batch), first_position) for layer, found in lanes.items()}
    handles = []
    try:
        for layer, hook in steering.items():
            if hook.needs_update:
                handles.append(updates(layer).register_forward_hook(hook.on_update))
            handles.append(blocks[layer].register_forward_hook(hook.on_block))
        # Behind the steering hooks, so that what is read is the stream as the next block gets it.
        handles += [blocks[layer].register_forward_hook(_observing(o)) for layer, o in (observers or {}).items()]
        yield Session(steering, batch)
    finally:
        for handle in handles:
            handle.remove()


def _observing(observer: Observer) -> Any:
    def hook(_: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        observer(hidden_of(output).detach())

    return hook
