"""What of vLLM's second model runner (V2) we rely on: the one that it uses on GPUs from 0.26 on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import cuda
from .sampling import Chooser
from .tables import Tables
from .wire import Order


class RunnerV2:
    """Follows a V2 runner: which of its slots holds which of our requests, and what a step runs."""

    def __init__(self, runner: Any, tables: Tables, chooser: Chooser) -> None:
        self._runner, self._tables, self._chooser = runner, tables, chooser
        slots = int(runner.max_num_reqs)
        self._host = np.full(slots, -1, dtype=np.int64)
        self._entry_of = torch.full((slots,), -1, dtype=torch.int32, device=runner.device)
        self._stale = False
        self._slots: dict[str, int] = {}
        # Of requests that were preempted: their entry, and how many positions they had run.
        self._left: dict[str, int] = {}
        state = runner.model_state
        self._own = (state.add_request, state.remove_request, state.apply_staged_writes, state.prepare_inputs)
        state.add_request, state.remove_request = self._add, self._remove
        state.apply_staged_writes, state.prepare_inputs = self._apply, self._prepare
        if runner.sampler is not None:
            self._sample_own = runner.sampler.sample
            runner.sampler.sample = self._sample

    def _add(self, slot: int, new: Any) -> None:
        self._own[0](slot, new)
        params = new.sampling_params
        order = Order.of(params.extra_args) if params is not None else None
        self._set(slot, -1 if order is None else order.entry)
        if order is None:
            return
        self._slots[new.req_id] = slot
        computed, ran = int(new.num_computed_tokens), self._left.pop(new.req_id, None)
        guest = self._tables.guests.get(order.entry)
        # An entry that another request left behind unread never is this one's: places are handed out once.
        if ran is not None and guest is not None:
            self._tables.resume(order.entry, computed, ran)
        else:
            self._tables.begin(order, computed)

    def _remove(self, name: str) -> None:
        slot = self._slots.pop(name, None)
        if slot is not None:
            # Preemption comes this way as well; a request that has ended doesn't come back.
            if len(self._left) > 16 * len(self._host):
                self._left.clear()
            self._left[name] = int(self._runner.req_states.num_computed_tokens_np[slot])
            self._set(slot, -1)
        self._own[1](name)

    def _set(self, slot: int, entry: int) -> None:
        if self._host[slot] != entry:
            self._host[slot], self._stale = entry, True

    def _apply(self) -> None:
        self._own[2]()
        self._tables.flush()

    def _prepare(self, batch: Any, states: Any) -> Any:
        # Slots that were left are not in the batch: what their rows say matters when they are taken again.
        if self._stale:
            host = torch.from_numpy(self._host.astype(np.int32))
            self._entry_of.copy_(host.pin_memory() if self._entry_of.is_cuda else host, non_blocking=True)
            self._stale = False
        cuda.plan(self._tables, batch.idx_mapping, self._entry_of, batch.query_start_loc, batch.positions, batch)
        return self._own[3](batch, states)

    def _sample(
        self, logits: Tensor, expanded_idx_mapping: Tensor, *between: Any, return_logprobs: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Sample by our own numbers what is ours; vLLM's sampler still does for other requests.

        ``between`` differs by version: it ends in (idx_mapping_np, pos, input_ids, expanded_local_pos).
        """
        slots, positions = between[-4], between[-3]
        entries = self._host[slots]
        mine = np.flatnonzero(entries >= 0)
        if len(mine) == len(entries) and not return_logprobs:
            filtered = self._tables.host_filtered[entries]
            return self._chooser(logits, expanded_idx_mapping, self._entry_of, positions, filtered), logits
        # vLLM's sampler may write into the logits: ours come first.
        at = torch.from_numpy(mine).to(logits.device)
        chosen = None
        if len(mine):
            filtered = self._tables.host_filtered[entries[mine]]
            chosen = self._chooser(logits[at], expanded_idx_mapping[at], self._entry_of, positions[at], filtered)
        sampled, processed = self._sample_own(logits, expanded_idx_mapping, *between, return_logprobs=return_logprobs)
        if chosen is not None:
            sampled[at] = chosen.to(sampled.dtype)
        return sampled, processed
