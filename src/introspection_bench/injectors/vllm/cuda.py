"""The ops, a step's plan and the sampler on CUDA: launches of :mod:`.kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from . import kernels
from .sampling import note_largest, shaped, steps_of
from .tables import Tables
from .wire import WIDTH

#: Tokens that a program of the plan treats at a time; numbers of the vocabulary that one of the sampler does.
_TOKENS, _NUMBERS = 64, 2048


def _power(count: int) -> int:
    return max(16, 1 << (count - 1).bit_length())


class CudaEngine:
    """Carries out the ops on the tables of a CUDA worker."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self.halves = tables, False
        self._block = _power(tables.hidden)
        self._warps = max(1, min(16, self._block // 256))
        # The same bits, read as the numbers that some columns hold.
        self._reals = tables.rows.view(torch.float32)

    def steer(self, hidden: Tensor, residual: Tensor | None, layer: Tensor) -> None:
        """Steer and capture what is asked for behind one block."""
        tables = self._tables
        self.halves = self.halves or residual is not None
        other = hidden if residual is None else residual
        kernels.steer_kernel[(hidden.shape[0],)](
            hidden, other, layer, tables.token_entry, tables.token_bits, tables.token_position, tables.rows,
            self._reals, tables.counts, tables.vectors, tables.measured, tables.measured_stamps, tables.captures,
            tables.capture_stamps, tables.branch_norms, hidden.stride(0), other.stride(0),
            HIDDEN=tables.hidden, BLOCK=self._block, ROWS=tables.sizes.rows, WIDTH=WIDTH, WORDS=tables.words,
            HALVES=residual is not None, num_warps=self._warps,
        )  # fmt: skip

    def note_branch(self, branch: Tensor, norms: Tensor) -> None:
        """Write down the norms of what a block is about to add last."""
        kernels.branch_kernel[(branch.shape[0],)](
            branch, norms, branch.stride(0), HIDDEN=self._tables.hidden, BLOCK=self._block, num_warps=self._warps
        )


def plan(tables: Tables, index: Tensor, entry_of: Tensor, starts: Tensor, positions: Tensor, batch: Any) -> None:  # noqa: PLR0917  # as the kernel
    """As :meth:`.tables.Tables.plan`, for the requests ``entry_of[index]`` of a V2 batch."""
    kernels.plan_kernel[(batch.num_reqs + 1, tables.words)](
        index, entry_of, starts, positions, tables.rows, tables.counts, tables.token_entry, tables.token_bits,
        tables.token_position, batch.num_reqs, batch.num_tokens, batch.num_tokens_after_padding,
        ROWS=tables.sizes.rows, WIDTH=WIDTH, WORDS=tables.words, BLOCK=_TOKENS, num_warps=2,
    )  # fmt: skip


class CudaChooser:
    """Chooses tokens in one pass over the logits; rows with a top-k or top-p are shaped by torch before."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def __call__(
        self, logits: Tensor, index: Tensor, entry_of: Tensor, positions: Tensor, filtered: npt.NDArray[np.bool_]
    ) -> Tensor:
        """As :class:`.sampling.Chooser` says."""
        if not filtered.any():
            return self._chosen(logits, index, entry_of, positions, done=False)
        tables, entries = self._tables, entry_of[index.long()].long()
        note_largest(tables, logits, entries, steps_of(tables, entries, positions))
        # Greedy rows are left as they are by a temperature of 1 and no filter.
        temperatures = tables.temperatures[entries]
        scores = logits.float() / torch.where(temperatures == 0, 1.0, temperatures)[:, None]
        scores = shaped(scores, tables.top_ks[entries], tables.top_ps[entries])
        return self._chosen(scores, index, entry_of, positions, done=True)

    def _chosen(self, logits: Tensor, index: Tensor, entry_of: Tensor, positions: Tensor, *, done: bool) -> Tensor:
        tables = self._tables
        rows, vocabulary = logits.shape
        pieces = -(-vocabulary // _NUMBERS)
        best = torch.empty(rows, pieces, dtype=torch.float32, device=logits.device)
        largest, at = torch.empty_like(best), torch.empty(rows, pieces, dtype=torch.int32, device=logits.device)
        tokens = torch.empty(rows, dtype=torch.int64, device=logits.device)
        last = tables.sizes.tokens + 1
        kernels.sample_kernel[(rows, pieces)](
            logits, logits.stride(0), index, entry_of, positions, tables.prompts, tables.keys, tables.temperatures,
            best, at, largest, pieces, vocabulary, LAST=last, BLOCK=_NUMBERS, SHAPED=done, num_warps=4,
        )  # fmt: skip
        kernels.reduce_kernel[(rows,)](
            best, at, largest, index, entry_of, positions, tables.prompts, tables.largest, tokens, pieces,
            LAST=last, BLOCK=_power(pieces), SHAPED=done, num_warps=1,
        )  # fmt: skip
        return tokens
