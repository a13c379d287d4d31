"""Broken injectors that give the requests of a group what they would not get alone."""

# ruff: noqa: D102  # as in fakes.py

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .fakes import FakeBroken


class FakeCapturesByLength(FakeBroken):
    """Captures come back in the order in which prompts were batched."""

    caught_by = "grouped_captures_equal_each_alone"

    def _capture(self, prompts: Sequence[Any], layers: Sequence[int]) -> Any:
        return super()._capture(sorted(prompts, key=lambda p: len(p.token_ids)), layers)


class FakeSharesOneCache(FakeBroken):
    """Rows of a batch decode from one cache, as if they had all been steered alike."""

    caught_by = "grouped_replies_equal_each_alone"

    def prefilled(self, ids: Tensor, mask: Tensor, cache: Any) -> Any:
        cache.reorder_cache(torch.zeros(len(mask), dtype=torch.long, device=ids.device))
        return cache
