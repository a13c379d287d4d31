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

from ..errors import SilentInjectionError, explain
from ..injection import Injection, Positions, Unit, delta_length
from .blocks import hidden_of, with_hidden


@attrs.frozen(eq=False)
class Row:
    """One row of a batch: its injection (None on a control) and the absolute positions that it steers."""

    injection: Injection | None
    positions: Positions | None


class BlockSteering:
    """Steers some rows of a batch at one block, and keeps what it did.

    ``ratios`` grows by one tensor of shape (rows here, positions of the pass) for each pass: ‖delta‖/‖h‖ where a
    position was steered and NaN elsewhere.
    """

    def __init__(self, rows: Sequence[int], batch: Sequence[Row], first_position: int) -> None:
        self.rows = list(rows)
        self.seen = first_position
        self.ratios: list[Tensor] = []
        self.update: Tensor | None = None
        steered = [batch[r] for r in rows]
        self._injections = [r.injection for r in steered if r.injection is not None]
        self._spans = [r.positions for r in steered if r.positions is not None]
        self._directions = torch.stack([torch.tensor(i.vector.unit.values) for i in self._injections])
        self._magnitudes = torch.tensor([[i.magnitude] for i in self._injections], dtype=torch.float32)
        self._norms = torch.tensor([[i.vector.norm] for i in self._injections], dtype=torch.float32)
        self._starts = torch.tensor([[s.start] for s in self._spans])
        # int64's largest value stands for "to the end of the reply".
        self._stops = torch.tensor([[2**63 - 1 if s.stop is None else s.stop] for s in self._spans])
        units = list(dict.fromkeys(i.unit for i in self._injections))
        # A list as index is copied to the device in each pass, which a GPU waits for: most batches have one unit.
        self._units: dict[Unit, Any] = {
            unit: [n for n, i in enumerate(self._injections) if i.unit is unit] if len(units) > 1 else slice(None)
            for unit in units
        }
        self._all_rows = self.rows == list(range(len(batch)))

    @property
    def needs_update(self) -> bool:
        """Whether a row's unit needs the norm of the MLP branch's output."""
        return Unit.UPDATE in self._units

    def on_update(self, _: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """Forward hook on the MLP branch: keeps its output for the block's own hook in the same pass."""
        self.update = hidden_of(output)

    def on_block(self, _: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        """Forward hook on the block: returns its output with the injections added."""
        hidden = hidden_of(output)
        first, count = self.seen, hidden.shape[1]
        self.seen += count
        if not any(s.start < first + count and (s.stop is None or first < s.stop) for s in self._spans):
            self.ratios.append(torch.full((len(self.rows), count), torch.nan))
            return None
        everywhere = all(s.start <= first and (s.stop is None or first + count <= s.stop) for s in self._spans)
        self._move_to(hidden.device)
        stream = hidden if self._all_rows else hidden[self.rows]
        stream_norms = stream.float().norm(dim=-1)
        lengths = self._lengths(stream_norms)
        delta = (lengths[..., None] * self._directions[:, None, :]).to(hidden.dtype)
        ratio = delta.float().norm(dim=-1) / stream_norms
        if everywhere:  # as in each decode step of most runs: saves a GPU five small kernels
            stream = stream + delta
        else:
            at = torch.arange(first, first + count, device=hidden.device)
            steered = (self._starts <= at) & (at < self._stops)
            # torch.where, not "+ 0": an unsteered position keeps its bits, signed zeros included.
            stream = torch.where(steered[..., None], stream + delta, stream)
            ratio = ratio.masked_fill(~steered, torch.nan)
        self.ratios.append(ratio)
        if self._all_rows:
            return with_hidden(output, stream)
        hidden = hidden.clone()
        hidden[self.rows] = stream
        return with_hidden(output, hidden)

    def _lengths(self, stream_norms: Tensor) -> Tensor:
        update_norms = None
        if self.needs_update:
            if self.update is None:
                raise SilentInjectionError(
                    explain(
                        "unit 'update'", required="an MLP branch that ran", got="none in this pass", hint="Report it."
                    )
                )
            update = self.update if self._all_rows else self.update[self.rows]
            update_norms = update.to(stream_norms.device).float().norm(dim=-1)
            self.update = None
        lengths = torch.empty_like(stream_norms)
        for unit, rows in self._units.items():
            lengths[rows] = delta_length(
                unit,
                self._magnitudes[rows],
                vector_norm=self._norms[rows],
                residual_norm=stream_norms[rows],
                update_norm=None if update_norms is None else update_norms[rows],
            ).expand_as(stream_norms[rows])
        return lengths

    def _move_to(self, device: torch.device) -> None:
        if self._directions.device != device:
            for name in ("_directions", "_magnitudes", "_norms", "_starts", "_stops"):
                setattr(self, name, getattr(self, name).to(device))


class BlockCapture:
    """Reads the residual stream that leaves one block, injection included, at every position of the session."""

    def __init__(self) -> None:
        self._passes: list[Tensor] = []

    def on_block(self, _: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """Forward hook on the block, registered behind the steering one."""
        self._passes.append(hidden_of(output).detach().float().cpu())

    def residuals(self) -> Tensor:
        """All that was read: (rows, positions, hidden_size), float32, on the CPU."""
        return torch.cat(self._passes, dim=1)


@attrs.frozen(eq=False)
class Session:
    """What the hooks of one session did; filled while the passes run."""

    first_position: int
    steering: dict[int, BlockSteering]
    captures: dict[int, BlockCapture]
    rows: int

    def ratios(self, positions: int) -> Tensor:
        """Return ‖delta‖/‖h‖ for all rows: (rows, positions), NaN where a position was not steered.

        Raises :class:`SilentInjectionError` where a hook saw another number of positions than were run.
        """
        table = torch.full((self.rows, positions), torch.nan)
        for layer, block in self.steering.items():
            seen = block.seen - self.first_position
            if seen != positions:
                raise SilentInjectionError(
                    explain(
                        f"steering hook at layer {layer}",
                        required=f"{positions} positions seen",
                        got=seen,
                        hint="The model did not run its blocks as expected; nothing was recorded.",
                    )
                )
            if positions:
                table[block.rows] = torch.cat([r.float().cpu() for r in block.ratios], dim=1)
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
        yield Session(first_position, steering, captures, len(batch))
    finally:
        for handle in handles:
            handle.remove()
