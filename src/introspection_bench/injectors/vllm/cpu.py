"""The ops on a CPU, in torch, by the arithmetic that all backends share."""

from __future__ import annotations

import torch
from torch import Tensor

from ..steering import steer
from .tables import WORD, Tables
from .wire import BASE, CAPTURE, KIND, LAYER, STAMP, START, STOP, VECTOR, A, C, D


class CpuEngine:
    """Carries out the ops on the tables of a CPU worker."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.halves = False

    def steer(self, hidden: Tensor, residual: Tensor | None, layer: Tensor) -> None:
        """Steer and capture what is asked for behind one block: all tokens of a kind at once."""
        tables, number = self._tables, int(layer)
        self.halves = self.halves or residual is not None
        bit = 1 << (number % WORD)
        words = tables.token_bits[: len(hidden), number // WORD]
        tokens = (words & (bit - (1 << WORD) if bit >> (WORD - 1) else bit)).nonzero()[:, 0]
        if not len(tokens):
            return
        entries = tables.token_entry[tokens].long()
        positions = tables.token_position[tokens]
        most = int(tables.counts[entries].max())
        rows = tables.rows[entries, :most]
        there = (torch.arange(most) < tables.counts[entries, None]) & (rows[..., LAYER] == number)
        there &= (rows[..., START] <= positions[:, None]) & (positions[:, None] < rows[..., STOP])
        before = hidden[tokens] if residual is None else hidden[tokens] + residual[tokens]
        after = before.clone()
        steered = torch.zeros(len(tokens), dtype=torch.bool)
        branch = tables.branch_norms[tokens] if residual is None else hidden[tokens].float().norm(dim=-1)
        for column in there.any(dim=0).nonzero()[:, 0]:
            at = there[:, column].nonzero()[:, 0]
            row = rows[at, column]
            where = (row[:, BASE] + positions[at] - row[:, START]).long()
            captured = row[:, KIND] == CAPTURE
            if captured.any():
                to = where[captured]
                tables.captures[to] = after[at[captured]].to(tables.captures.dtype)
                tables.capture_stamps[to] = row[captured, STAMP]
            if captured.all():
                continue
            at, row, where = at[~captured], row[~captured], where[~captured]
            lengths = row[:, A : D + 1].contiguous().view(torch.float32)
            stream, measured = steer(
                after[at, None],
                tables.vectors[row[:, VECTOR].long()],
                lengths,
                None,
                branch[at, None] if (lengths[:, C - A] != 0).any() else None,
                origin=before[at, None],
                projecting=bool((lengths[:, D - A] != 0).any()),
            )
            # A sum that isn't finite is an error already. It must not reach the engine's cache, whose pages other
            # requests get later: attention multiplies what is left in them by 0, and NaN by 0 is NaN.
            finite = measured[2].isfinite()
            after[at] = torch.where(finite, stream[:, 0], after[at])
            steered[at] = True
            tables.measured[where] = measured[:, :, 0].T
            tables.measured_stamps[where] = row[:, STAMP]
        changed = tokens[steered]
        hidden[changed] = after[steered]
        if residual is not None:
            residual[changed] = 0

    def note_branch(self, branch: Tensor, norms: Tensor) -> None:
        """Write down the norms of what a block is about to add last."""
        norms[: len(branch)] = branch.float().norm(dim=-1)
