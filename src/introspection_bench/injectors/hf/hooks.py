"""The forward hooks that steer and read the residual stream of one batched forward session.

A session is a run of forward passes over the same rows: a prefill, or the steps of one ``generate`` call. A hook
counts the positions that it has seen, from the session's first one on; which positions are steered was resolved
before, when the prompt was rendered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from ...errors import SilentInjectionError, explain
from ...injection import Injection, Positions, Unit
from ..steering import NOT_STEERED, coefficients, steer
from .blocks import copied, hidden_of, with_hidden


@attrs.frozen(eq=False)
class Row:
    """One row of a batch: its injection (None on a control) and the absolute positions that it steers."""

    injection: Injection | None
    positions: Positions | None


class BlockSteering:
    """Steers some rows of a batch at one block, and keeps what it measured.

    Each pass leaves its number of positions and what :func:`.steering.steer` measured, (3, rows here, positions), or
    None where none of them was steered.
    """

    def __init__(self, rows: Sequence[int], batch: Sequence[Row], first_position: int) -> None:
        self.rows = list(rows)
        self.seen = first_position
        self._first = first_position
        self._passes: list[tuple[int, Tensor | None]] = []
        self._update: Tensor | None = None
        steered = [batch[r] for r in rows]
        injections = [r.injection for r in steered if r.injection is not None]
        self._spans = [r.positions for r in steered if r.positions is not None]
        self._directions = torch.stack([torch.tensor(i.vector.unit.values) for i in injections])
        self._lengths = torch.tensor([coefficients(i) for i in injections], dtype=torch.float32)
        self._starts = torch.tensor([[s.start] for s in self._spans])
        # int64's largest value stands for "to the end of the reply".
        self._stops = torch.tensor([[2**63 - 1 if s.stop is None else s.stop] for s in self._spans])
        self._all_rows = self.rows == list(range(len(batch)))
        #: Whether a row's unit needs the norm of the MLP branch's output.
        self.needs_update = any(i.unit is Unit.UPDATE for i in injections)

    def on_update(self, _: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """Forward hook on the MLP branch: keeps its output's norms for the block's own hook in the same pass."""
        update = hidden_of(output)
        # At once: blocks that add attention and MLP in place (Falcon) write into this very tensor.
        self._update = update.float().norm(dim=-1)

    def on_block(self, _: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        """Forward hook on the block: returns its output with the injections added."""
        hidden = hidden_of(output)
        first, count = self.seen, hidden.shape[1]
        self.seen += count
        if not any(s.start < first + count and (s.stop is None or first < s.stop) for s in self._spans):
            self._passes.append((count, None))
            return None
        self._move_to(hidden.device)
        mask = None
        # As in each decode step of most runs: saves a GPU some small kernels.
        if not all(s.start <= first and (s.stop is None or first + count <= s.stop) for s in self._spans):
            at = torch.arange(first, first + count, device=hidden.device)
            mask = (self._starts <= at) & (at < self._stops)
        update_norms = self._update_norms(hidden)
        stream = hidden if self._all_rows else hidden[self.rows]
        stream, measured = steer(stream, self._directions, self._lengths, mask, update_norms)
        self._passes.append((count, measured))
        if self._all_rows:
            return with_hidden(output, stream)
        hidden = hidden.clone()
        hidden[self.rows] = stream
        return with_hidden(output, hidden)

    def measured(self, positions: int, layer: int) -> Tensor:
        """Return all that was measured: (3, rows here, positions), on the CPU.

        Raises :class:`SilentInjectionError` where the hook saw another number of positions than were run.
        """
        if self.seen - self._first != positions:
            raise SilentInjectionError(
                explain(
                    f"steering hook at layer {layer}",
                    required=f"{positions} positions seen",
                    got=self.seen - self._first,
                    hint="The model did not run its blocks as expected; nothing was recorded.",
                )
            )
        device = self._directions.device
        parts = [
            torch.full((3, len(self.rows), count), NOT_STEERED, device=device) if measured is None else measured
            for count, measured in self._passes
        ]
        # One copy from the device, not one for each pass.
        return torch.cat(parts, dim=2).cpu() if parts else torch.empty(3, len(self.rows), 0)

    def _update_norms(self, hidden: Tensor) -> Tensor | None:
        if not self.needs_update:
            return None
        norms, self._update = self._update, None
        if norms is None:
            raise SilentInjectionError(
                explain("unit 'update'", required="an MLP branch that ran", got="none in this pass", hint="Report it.")
            )
        # A branch may flatten rows and positions (OPT's fc2); their order stays.
        norms = norms.reshape(hidden.shape[:-1]).to(hidden.device)
        return norms if self._all_rows else norms[self.rows]

    def _move_to(self, device: torch.device) -> None:
        if self._directions.device != device:
            for name in ("_directions", "_lengths", "_starts", "_stops"):
                setattr(self, name, getattr(self, name).to(device))


class BlockCapture:
    """Reads the residual stream that leaves one block, injection included, at every position of the session."""

    def __init__(self) -> None:
        self._passes: list[Tensor] = []

    def on_block(self, _: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """Forward hook on the block, registered behind the steering one."""
        self._passes.append(copied(hidden_of(output)))

    def residuals(self) -> Tensor:
        """All that was read: (rows, positions, hidden_size), float32, on the CPU."""
        return torch.cat(self._passes, dim=1)


@attrs.frozen(eq=False)
class Session:
    """What the hooks of one session did; filled while the passes run."""

    steering: dict[int, BlockSteering]
    captures: dict[int, BlockCapture]
    rows: int

    def measured(self, positions: int) -> Tensor:
        """Return what was measured on all rows (see :func:`.steering.steer`): (3, rows, positions), on the CPU.

        Raises :class:`SilentInjectionError` where a hook saw another number of positions than were run.
        """
        table = torch.full((3, self.rows, positions), NOT_STEERED)
        for layer, block in self.steering.items():
            table[:, block.rows] = block.measured(positions, layer)
        return table


@contextmanager
def session(
    blocks: Sequence[nn.Module],
    updates: Any,
    batch: Sequence[Row],
    first_position: int,
    capture_layers: Sequence[int] = (),
) -> Iterator[Session]:
    """Install the hooks for a batch, yield what they record, and take them off again whatever happens.

    ``updates(layer)`` returns the MLP branch of a block; it is called only where the unit ``update`` is used.
    """
    layers: dict[int, list[int]] = {}
    for index, row in enumerate(batch):
        if row.injection is not None:
            layers.setdefault(row.injection.layer, []).append(index)
    steering = {layer: BlockSteering(rows, batch, first_position) for layer, rows in layers.items()}
    captures = {layer: BlockCapture() for layer in dict.fromkeys(capture_layers)}
    handles = []
    try:
        for layer, hook in steering.items():
            if hook.needs_update:
                handles.append(updates(layer).register_forward_hook(hook.on_update))
            handles.append(blocks[layer].register_forward_hook(hook.on_block))
        # Behind the steering hooks, so that what is read is the stream as the next block gets it.
        handles += [blocks[layer].register_forward_hook(c.on_block) for layer, c in captures.items()]
        yield Session(steering, captures, len(batch))
    finally:
        for handle in handles:
            handle.remove()
