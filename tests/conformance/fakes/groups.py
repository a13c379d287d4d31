"""Broken injectors that give the requests of a group what they would not get alone."""

# as in additions.py

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from introspection_bench.injection import Steer
from introspection_bench.injectors.requests import Completion, Request
from introspection_bench.spans import Positions

from .base import FakeBroken, FakeLying


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


class FakeFirstAnchors(FakeLying):
    """Steers what is injected alike at the places of the first such request, whatever the others' anchors say."""

    caught_by = "grouped_replies_equal_each_alone"

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        self._places: dict[object, Positions] = {}
        return super()._generate(requests)

    def place(self, request: Request, steer: Steer) -> Positions:
        return self._places.setdefault((request.prompt.token_ids, steer.injection), steer.positions)
