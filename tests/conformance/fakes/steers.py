"""Broken injectors that treat a second steer otherwise than the first."""

# as in additions.py

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from introspection_bench.doses import Unit
from introspection_bench.injection import Receipt, Steer
from introspection_bench.injectors.requests import Request
from introspection_bench.testing.loop import LoopRow, LoopSteer

from .base import FakeBroken, FakeLying


class FakeIgnoresTheSecondSteer(FakeLying):
    """Carries out the first steer of a request alone."""

    caught_by = "steers_of_one_layer_add_up"

    def active(self, request: Request) -> Sequence[Steer]:
        return request.steers[:1]


class FakeLastSteerWins(FakeLying):
    """Keeps its steers by layer: of several at one layer the last is left."""

    caught_by = "steers_of_one_layer_add_up"

    def active(self, request: Request) -> Sequence[Steer]:
        return tuple({steer.layer: steer for steer in request.steers}.values())


class FakeFromTheSteeredStream(FakeBroken):
    """Computes each steer of a layer from the stream that the one before it has left."""

    caught_by = "steers_of_one_layer_add_up"

    def add(self, row: LoopRow, one: LoopSteer, stream: Tensor, origin: Tensor) -> Tensor:
        del origin
        return super().add(row, one, stream, stream)


class FakeAddsOncePerLayer(FakeBroken):
    """Adds all steers of a band at its first layer."""

    caught_by = "a_band_of_layers_is_steered_at_once"

    def steered(self, row: LoopRow, layer: int, hidden: Tensor) -> Tensor:
        stream = hidden
        if row.steers and layer == min(one.steer.layer for one in row.steers):
            for one in row.steers:
                stream = self.add(row, one, stream, hidden)
        return stream

    def add(self, row: LoopRow, one: LoopSteer, stream: Tensor, origin: Tensor) -> Tensor:
        # Of a layer whose block has not run yet there is no update; none of these steers needs it.
        self.updates.setdefault(one.steer.layer, torch.zeros((len(self.rows), *stream.shape), dtype=stream.dtype))
        if self.updates[one.steer.layer].shape[1] != len(stream):
            self.updates[one.steer.layer] = torch.zeros((len(self.rows), *stream.shape), dtype=stream.dtype)
        return super().add(row, one, stream, origin)


class FakeLeavesBandsUnseen(FakeBroken):
    """The layers above in a band get their norms from a run without the lower steers: one hook per run."""

    caught_by = "a_band_of_layers_is_steered_at_once"

    def delta(self, steer: Steer, h: Tensor, update: Tensor) -> Tensor:
        bands = [row for row in self.rows if len({one.steer.layer for one in row.steers}) > 1]
        lowest = min((one.steer.layer for row in bands for one in row.steers), default=steer.layer)
        delta = super().delta(steer, h, update)
        return delta if steer.layer == lowest else delta * 0.8


class FakeProjectsFromTheSteeredStream(FakeBroken):
    """Removes a direction from the stream that other steers of its layer have changed, their part of it included."""

    caught_by = "projection_removes_the_direction"

    def add(self, row: LoopRow, one: LoopSteer, stream: Tensor, origin: Tensor) -> Tensor:
        return super().add(row, one, stream, stream if one.steer.dose.unit is Unit.PROJECTION else origin)


class FakeProjectsOnTheRawVector(FakeBroken):
    """Forgets to divide the product with the stream by the vector's norm."""

    caught_by = "projection_removes_the_direction"

    def delta(self, steer: Steer, h: Tensor, update: Tensor) -> Tensor:
        delta = super().delta(steer, h, update)
        return delta * steer.vector.norm if steer.dose.unit is Unit.PROJECTION else delta


class FakeSwapsReceipts(FakeBroken):
    """Gives receipts of one layer and span in another order than the request's steers."""

    caught_by = "each_steer_has_its_own_receipt"

    def receipts(self, row: LoopRow) -> list[Receipt]:
        told = super().receipts(row)
        order = sorted(range(len(told)), key=lambda n: (told[n].prompt_positions, told[n].generation_positions, -n))
        alike = sorted(range(len(told)), key=lambda n: (told[n].prompt_positions, told[n].generation_positions, n))
        found = dict(zip(alike, order, strict=True))
        return [told[found[n]] for n in range(len(told))]


class FakeOneReceiptForAll(FakeLying):
    """Repeats the receipt of the first steer with the others' counts."""

    caught_by = "each_steer_has_its_own_receipt"

    def receipt(self, row: LoopRow, one: LoopSteer) -> Receipt:
        del one
        return super().receipt(row, row.steers[0])
