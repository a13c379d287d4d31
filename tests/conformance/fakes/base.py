"""What the broken injectors have in common."""

from __future__ import annotations

from typing import ClassVar

from introspection_bench.injection import Receipt
from introspection_bench.testing.loop import LoopInjector, LoopRow


class FakeBroken(LoopInjector):
    """Base of the broken injectors."""

    #: Name of the check that must fail.
    caught_by: ClassVar[str]


class FakeLying(FakeBroken):
    """Its receipts repeat the request's counts instead of what was done."""

    def receipts(self, row: LoopRow) -> list[Receipt]:
        honest = {one.steer.key: self.receipt(row, one) for one in row.steers}
        told = []
        for steer in row.request.steers:
            counts = steer.positions.expected(len(row.sampled))
            mine = honest.get(steer.key, Receipt.nothing())
            ratios = mine.mean_ratio or 0.5, mine.max_ratio or 0.5
            told.append(Receipt(*counts, *ratios) if any(counts) else Receipt.nothing())
        return told
