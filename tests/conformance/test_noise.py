"""Engines whose arithmetic jumps at single positions, as FP8's does: they pass, and a fault in them does not."""

from __future__ import annotations

import pytest
import torch

from introspection_bench.testing import LoopInjector, run_conformance, tiny_model

CHECKS = (
    "leaves_positions_outside_the_span_alone",
    "left_padding_moves_nothing",
    "long_prompts_and_many_requests_are_steered_alike",
    "replays_give_their_receipts_again",
)


class FakeJumpy(LoopInjector):
    """Moves the stream of one position in forty by 3 % of its norm, another way in each pass."""

    size = 0.03

    def steered(self, row, layer, hidden):
        if not hasattr(self, "_noise"):
            self._noise = torch.Generator().manual_seed(0)
        apart = torch.randn(hidden.shape, generator=self._noise)
        apart *= (torch.rand(len(hidden), 1, generator=self._noise) < 1 / 40) * self.size / apart.norm(dim=-1)[:, None]
        noisy = hidden.float() + apart * hidden.float().norm(dim=-1, keepdim=True)
        return super().steered(row, layer, noisy.to(hidden.dtype))


class FakeJumpyAndTooMuch(FakeJumpy):
    """Adds a fifth too much."""

    def delta(self, steer, h, update):
        return 1.2 * super().delta(steer, h, update)


class FakeJumpyAndTooLate(FakeJumpy):
    """Begins one position late, and says that it did not."""

    def chosen(self, row, one, at):
        return super().chosen(row, one, at - 1)

    def receipts(self, row):
        for one in row.steers:
            if one.measured:
                first = min(one.measured)
                one.measured[first - 1] = one.measured[first]
                last = row.processed if one.where.stop is None else min(one.where.stop, row.processed)
                one.measured = {at: sizes for at, sizes in one.measured.items() if at < last}
        return super().receipts(row)


class FakeDeafening(FakeJumpy):
    """So noisy that a steer can't be told from it."""

    size = 0.3


def conformance(fake, *names):
    model, tokenizer = tiny_model("llama")
    return run_conformance(fake.open(model.to(torch.bfloat16), tokenizer=tokenizer), only=names)


def test_an_engine_that_jumps_at_single_positions_conforms_within_a_multiple_of_its_own_largest_jump():
    report = conformance(FakeJumpy, *CHECKS)
    assert report.passed, str(report)
    assert 0.06 < report.tolerance <= 0.45


@pytest.mark.parametrize(
    ("fake", "complaint"),
    [
        (FakeJumpyAndTooMuch, "at half of"),
        (FakeJumpyAndTooLate, "wrong at"),
        (FakeDeafening, "can't be told from noise"),
    ],
)
def test_a_fault_of_an_engine_that_jumps_is_still_found(fake, complaint):
    (result,) = conformance(fake, CHECKS[0]).results
    assert result.outcome == "failed"
    assert result.detail.startswith("ConformanceError")
    assert complaint in result.detail
