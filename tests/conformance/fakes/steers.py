"""Broken injectors that treat a second steer otherwise than the first."""

# as in additions.py

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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


class FakeSteersOneLayerOfABand(FakeLying):
    """Hooks the first layer that is asked for."""

    caught_by = "a_band_of_layers_is_steered_at_once"

    def active(self, request: Request) -> Sequence[Steer]:
        return [steer for steer in request.steers if steer.layer == request.steers[0].layer]


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
    """Gives the receipts of two steers over the same positions in the wrong order."""

    caught_by = "each_steer_has_its_own_receipt"

    def receipts(self, row: LoopRow) -> list[Receipt]:
        told = super().receipts(row)
        for first, second in pairwise(range(len(told))):
            if row.steers[first].where == row.steers[second].where:
                told[first], told[second] = told[second], told[first]
        return told


class FakeOneReceiptForAll(FakeLying):
    """Repeats the receipt of the first steer with the others' counts."""

    caught_by = "each_steer_has_its_own_receipt"

    def receipt(self, row: LoopRow, one: LoopSteer) -> Receipt:
        del one
        return super().receipt(row, row.steers[0])
