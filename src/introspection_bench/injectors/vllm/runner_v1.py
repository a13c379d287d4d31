"""What of vLLM's first model runner (V1) we rely on: the one that its CPU build uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.distributed import get_pp_group
from vllm.v1.outputs import SamplerOutput

from ...errors import ModelError, explain
from .sampling import Chooser
from .tables import Tables
from .wire import Order


class RunnerV1:
    """Follows a V1 runner: whose rows a step has, and where each begins."""

    def __init__(self, runner: Any, tables: Tables, chooser: Chooser) -> None:
        if runner.device.type != "cpu":
            raise ModelError(
                explain(
                    "model runner",
                    required="V2 on a GPU",
                    got="V1, which we know on CPUs alone",
                    hint="Unset VLLM_USE_V2_MODEL_RUNNER.",
                )
            )
        self._runner, self._tables, self._chooser = runner, tables, chooser
        self._entries: dict[str, int] = {}
        self._ran: dict[str, int] = {}
        # The rows of the step that is running: their entries, and the position that each one's logits stand behind.
        self._rows: tuple[np.ndarray[Any, np.dtype[np.int64]], Tensor] | None = None
        update, prepare = runner._update_states, runner._prepare_inputs

        def update_states(scheduled: Any) -> Any:
            found = update(scheduled)
            self._follow(scheduled)
            return found

        def prepare_inputs(scheduled: Any, counts: Any) -> Any:
            found = prepare(scheduled, counts)
            self._plan(counts, found[0])
            return found

        runner._update_states, runner._prepare_inputs = update_states, prepare_inputs
        if getattr(runner, "sampler", None) is not None:
            runner.sampler.forward = self._sampler(runner.sampler.forward)
        self._make_intermediate_tensors()

    def _make_intermediate_tensors(self) -> None:
        """Make what a later pipeline stage receives into: vLLM does so in a profile run, which CPUs may skip."""
        runner = self._runner
        if runner.intermediate_tensors is None and not get_pp_group().is_first_rank:
            runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=runner.device
            )

    def _follow(self, scheduled: Any) -> None:
        for name in scheduled.finished_req_ids:
            self._entries.pop(name, None)
            self._ran.pop(name, None)
        for new in scheduled.scheduled_new_reqs:
            order = Order.of(new.sampling_params.extra_args) if new.sampling_params is not None else None
            if order is not None:
                self._entries[new.req_id] = order.entry
                self._tables.begin(order, int(new.num_computed_tokens))
        again = scheduled.scheduled_cached_reqs
        for name, computed in zip(again.req_ids, again.num_computed_tokens, strict=True):
            if name in again.resumed_req_ids and name in self._entries:
                self._tables.resume(self._entries[name], int(computed), self._ran.get(name, 0))
        # Where the step begins that may be each request's last before it is preempted.
        self._ran.update(zip(again.req_ids, map(int, again.num_computed_tokens), strict=True))
        self._tables.flush()

    def _plan(self, counts: Any, ends: Tensor) -> None:
        names = self._runner.input_batch.req_ids[: len(counts)]
        entries = np.array([self._entries.get(name, -1) for name in names], dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)])
        positions = self._runner.positions
        self._tables.plan(torch.from_numpy(entries), torch.from_numpy(starts), positions, int(starts[-1]))
        self._rows = entries, positions[ends.long()]

    def _sampler(self, own: Callable[..., Any]) -> Callable[..., Any]:
        """Return what samples instead of vLLM's own sampler: that one still does for requests that aren't ours."""

        def sample(logits: Tensor, sampling_metadata: Any, **others: Any) -> Any:
            rows, self._rows = self._rows, None
            if rows is None or (rows[0] < 0).all():
                return own(logits=logits, sampling_metadata=sampling_metadata, **others)
            mine = np.flatnonzero(rows[0] >= 0)
            at, entry_of = torch.from_numpy(mine), torch.from_numpy(rows[0])
            part = logits if len(mine) == len(logits) else logits[at]
            chosen = self._chooser(part, at, entry_of, rows[1][at], self._tables.host_filtered[rows[0][mine]])
            if len(mine) == len(logits):
                return SamplerOutput(chosen.int()[:, None], None)
            found = own(logits=logits, sampling_metadata=sampling_metadata, **others)
            found.sampled_token_ids[at, 0] = chosen.to(found.sampled_token_ids.dtype)
            return found

        return sample
