"""Broken injectors whose fault is in what they add, and at which positions."""

# a fake replaces documented steps of LoopInjector; its class says what is wrong with it

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor

from introspection_bench.doses import Dose
from introspection_bench.injection import Steer
from introspection_bench.injectors.requests import Request
from introspection_bench.spans import Positions
from introspection_bench.testing.loop import LoopInjector, LoopRow, LoopSteer

from .base import FakeBroken, FakeLying


class FakeZeroIsSomething(FakeBroken):
    """Adds next to nothing to the controls beside a steered row, where it should not add at all."""

    caught_by = "zero_magnitude_equals_no_injection"

    def steered(self, row: LoopRow, layer: int, hidden: Tensor) -> Tensor:
        if row.steers or not any(other.steers for other in self.rows):
            return super().steered(row, layer, hidden)
        return hidden * (1 + 1e-6)


class FakeNextLayer(FakeBroken):
    """Counts layers from 1."""

    caught_by = "steers_only_its_layer"

    def layer(self, steer: Steer) -> int:
        return (steer.layer + 1) % self.model.n_layers


class FakeRenormalises(FakeBroken):
    """Scales the steered residual back to its old norm."""

    caught_by = "steers_only_its_layer"

    def steered(self, row: LoopRow, layer: int, hidden: Tensor) -> Tensor:
        stream = super().steered(row, layer, hidden)
        scaled: Tensor = stream * (hidden.norm(dim=-1, keepdim=True) / stream.norm(dim=-1, keepdim=True))
        return scaled


class FakeWritesNothing(FakeBroken):
    """Computes and reports the steered stream, but the model goes on with the old one."""

    caught_by = "steers_only_its_layer"

    def written(self, before: Tensor, after: Tensor) -> Tensor:
        del after
        return before


class FakeOffByOne(FakeLying):
    """Begins and ends every span one position late."""

    caught_by = "leaves_positions_outside_the_span_alone"

    def place(self, request: Request, steer: Steer) -> Positions:
        where = super().place(request, steer)
        return attrs.evolve(where, start=where.start + 1, stop=None if where.stop is None else where.stop + 1)


class FakePromptOnly(FakeLying):
    """Steers the prefill alone, as a hook does that recognises it by its length."""

    caught_by = "fires_once_per_generated_token"

    def chosen(self, row: LoopRow, one: LoopSteer, at: Tensor) -> Tensor:
        return super().chosen(row, one, at) & (at < len(row.request.prompt.token_ids))


class FakeHonestPromptOnly(FakePromptOnly):
    """The same with receipts of what was done, which the port itself refuses."""

    receipts = LoopInjector.receipts


class FakeFiresTwice(FakeBroken):
    """Two hooks sit on the block while generating, one left over."""

    caught_by = "fires_once_per_generated_token"

    def steered(self, row: LoopRow, layer: int, hidden: Tensor) -> Tensor:
        stream = super().steered(row, layer, hidden)
        return stream if len(hidden) > 1 else super().steered(row, layer, stream)


class FakeOneColumnIsDecode(FakeLying):
    """Takes every pass of one column for a generated token."""

    caught_by = "steers_one_token_prompts_and_tails"

    def positions(self, row: LoopRow, columns: int) -> Tensor:
        at = super().positions(row, columns)
        return at + 1 if columns == 1 and self.column == 0 else at


class FakeIgnoresTheSign(FakeBroken):
    """Adds abs(m): an inhibition becomes an injection."""

    caught_by = "additions_are_additive_and_antisymmetric"

    def delta(self, steer: Steer, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(redosed(steer, Dose(abs(steer.dose.magnitude), steer.dose.unit)), h, update)


class FakeClips(FakeBroken):
    """Clips the addition at half the residual's norm."""

    caught_by = "additions_are_additive_and_antisymmetric"

    def delta(self, steer: Steer, h: Tensor, update: Tensor) -> Tensor:
        delta = super().delta(steer, h, update)
        most = 0.5 * h.float().norm(dim=-1, keepdim=True)
        clipped: Tensor = delta * (most / delta.norm(dim=-1, keepdim=True)).clamp(max=1)
        return clipped


class FakeCountsPadding(FakeLying):
    """Counts positions in columns of the padded batch."""

    caught_by = "left_padding_moves_nothing"

    def positions(self, row: LoopRow, columns: int) -> Tensor:
        at = super().positions(row, columns)
        return torch.where(at < 0, at, at + row.padding)


class FakeCleanCache(FakeBroken):
    """Steers the pass that it sees, but decodes on a cache of the unsteered prompt."""

    caught_by = "cached_steps_equal_one_pass"

    def prefilled(self, ids: Tensor, mask: Tensor, cache: Any) -> Any:
        del cache
        rows = self.rows
        # Copies, so that the second pass is not read.
        self.rows = [attrs.evolve(row, steers=[], captured={}, logits=[]) for row in rows]
        try:
            return self._pass(ids, 0, mask, None)[1]
        finally:
            self.rows = rows


class FakeWidens(FakeBroken):
    """Adds in float32 and keeps the sum wide."""

    caught_by = "keeps_the_dtype_of_the_stream"

    def add(self, row: LoopRow, one: LoopSteer, stream: Tensor, origin: Tensor) -> Tensor:
        super().add(row, one, stream, origin)
        where = self.chosen(row, one, self.positions(row, len(stream)))
        update = self.updates[self.layer(one.steer)][self.rows.index(row)]
        steered = stream.float().clone()
        steered[where] += self.delta(one.steer, origin[where], update[where])
        return steered

    def written(self, before: Tensor, after: Tensor) -> Tensor:
        return after.to(before.dtype)


class FakeRestartsChunks(FakeLying):
    """Counts positions from 0 in each prefill chunk of 64 columns, as ``position_indices`` of vllm-lens does."""

    caught_by = "long_prompts_and_many_requests_are_steered_alike"

    def __init__(self, model: Any, tokenizer: Any, prefill_chunk: int | None = None) -> None:
        super().__init__(model, tokenizer, prefill_chunk or 64)

    def chosen(self, row: LoopRow, one: LoopSteer, at: Tensor) -> Tensor:
        n = len(row.request.prompt.token_ids)
        return super().chosen(row, one, torch.where(at < n, at % 64, at))


def redosed(steer: Steer, dose: Dose) -> Steer:
    """The steer with another dose."""
    return attrs.evolve(steer, injection=attrs.evolve(steer.injection, dose=dose))
