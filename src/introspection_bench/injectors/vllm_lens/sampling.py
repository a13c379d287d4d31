"""Sampling inside vLLM by the same random numbers as in the torch injector: a custom logits processor.

vLLM's own seeded sampling draws from a generator that chunked prefill and preemption advance; on a CPU it fails
there (vLLM 0.30.0: "CPU Generator does not use offset"). Here the k-th token of a reply depends on its logits, its
seed and k alone. vLLM itself is told to be greedy, and takes the token that was chosen.
"""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import LogitsProcessor, MoveDirectionality

from ...identity import Sampling
from ..hf.sampling import filters, sampled_scores, step_keys

#: The key of ``SamplingParams.extra_args`` under which :func:`as_extra_args` travels.
_KEY = "introspection_bench"


def as_extra_args(key: str, sampling: Sampling, seed: int) -> dict[str, Any]:
    """Return the ``extra_args`` of the request with the id ``key``."""
    return {_KEY: {**attrs.asdict(sampling), "seed": seed, "key": key}}


@attrs.define(eq=False)
class _Row:
    """One request of the batch; ``tokens`` is vLLM's own list of what was sampled so far.

    ``largest`` has for each step the largest logits of the rows, and which row this was.
    """

    sampling: Sampling
    keys: Any
    tokens: list[int]
    largest: dict[int, tuple[Tensor, int]]

    @property
    def key(self) -> int:
        # An engine that schedules ahead may ask for one token beyond the limit, and drops it.
        return int(self.keys[min(len(self.tokens), len(self.keys) - 1)])


class SeededSampling(LogitsProcessor):  # type: ignore[misc]  # vLLM ships no types that mypy reads here
    """Leaves each sampled row only its chosen token, and keeps every row's largest logit, as LogitsWatch does.

    Rows at temperature 0 stay as they are: vLLM takes their largest logit itself.
    """

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:  # noqa: ARG002  # vLLM's own signature
        self._rows: dict[int, _Row] = {}
        # By the request's id, since a preempted request gets another row, and a finished one has none.
        self._largest: dict[str, dict[int, tuple[Tensor, int]]] = {}

    def take(self, key: str) -> list[float] | None:
        """Return the largest logit behind each token of a request so far and forget it; None if it is not known."""
        kept = self._largest.pop(key, None)
        if not kept:
            return None
        return [float(x) for x in torch.stack([kept[step][0][kept[step][1]] for step in sorted(kept)]).cpu()]

    def is_argmax_invariant(self) -> bool:
        """No: it decides which token is the greatest, so vLLM must run it before greedy sampling."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow vLLM's bookkeeping of rows: removed, then added, then moved ones."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._rows.pop(index, None)
        for index, params, _, tokens in batch_update.added:
            asked = (params.extra_args or {}).get(_KEY)
            self._rows.pop(index, None)
            if asked is not None:
                settings = {name: asked[name] for name in attrs.fields_dict(Sampling)}
                sampling = Sampling(**settings)
                keys = step_keys(asked["seed"], sampling.max_new_tokens)
                self._rows[index] = _Row(sampling, keys, tokens, self._largest.setdefault(asked["key"], {}))
        for source, target, direction in batch_update.moved:
            row, other = self._rows.pop(source, None), self._rows.pop(target, None)
            if row is not None:
                self._rows[target] = row
            if other is not None and direction == MoveDirectionality.SWAP:
                self._rows[source] = other

    def apply(self, logits: Tensor) -> Tensor:
        """Return ``logits`` (rows, vocabulary) with only the chosen token possible in each sampled row."""
        groups: dict[Sampling, list[int]] = {}
        largest = logits.amax(dim=-1)
        for index, row in self._rows.items():
            row.largest[len(row.tokens)] = largest, index
            if row.sampling.temperature == 0:
                continue
            groups.setdefault(attrs.evolve(row.sampling, max_new_tokens=1), []).append(index)
        for sampling, indices in groups.items():
            whole = indices == list(range(len(logits)))
            scores = logits if whole else logits[indices]
            keys = torch.tensor([self._rows[i].key for i in indices], device=logits.device)
            # No filter of ours reads the tokens so far.
            logits[indices] = sampled_scores(filters(sampling), None, scores, keys)
        return logits
