"""Broken injectors whose fault is in numbers: those that are not finite, and those that rounding ate."""

# as in additions.py

from __future__ import annotations

from introspection_bench.injection import Receipt
from introspection_bench.testing.loop import LoopRow, LoopSteer

from .base import FakeBroken, FakeLying


class FakeOverlooksOverflow(FakeLying):
    """Looks at neither its sums nor its logits: a stream that overflowed becomes a reply."""

    caught_by = "refuses_what_is_not_finite"

    def receipt(self, row: LoopRow, one: LoopSteer) -> Receipt:
        one.measured = dict.fromkeys(one.measured, (1.0, 0.5, 0.5))
        return super().receipt(row, one)

    def check_logits(self, row: LoopRow) -> None:
        del row


class FakeOverlooksNanLogits(FakeBroken):
    """Takes the largest logit, whatever it is: a NaN wins."""

    caught_by = "refuses_what_is_not_finite"

    def check_logits(self, row: LoopRow) -> None:
        del row


class FakeClaimsWhatRoundingAte(FakeBroken):
    """Its receipt is of the addition before the sum was rounded."""

    caught_by = "receipts_tell_what_rounding_left"

    def receipt(self, row: LoopRow, one: LoopSteer) -> Receipt:
        one.measured = {position: (before, asked, asked) for position, (before, asked, _) in one.measured.items()}
        return super().receipt(row, one)
