"""Broken injectors whose fault is in numbers: those that are not finite, and those that rounding ate."""

# ruff: noqa: D102  # as in fakes.py

from __future__ import annotations

from ..injection import Receipt
from .fakes import FakeBroken, FakeLying
from .loop import LoopRow


class FakeOverlooksOverflow(FakeLying):
    """Looks at neither its sums nor its logits: a stream that overflowed becomes a reply."""

    caught_by = "refuses_what_is_not_finite"

    def receipt(self, row: LoopRow) -> Receipt:
        row.measured = dict.fromkeys(row.measured, (1.0, 0.5, 0.5))
        return super().receipt(row)

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

    def receipt(self, row: LoopRow) -> Receipt:
        row.measured = {position: (before, asked, asked) for position, (before, asked, _) in row.measured.items()}
        return super().receipt(row)
