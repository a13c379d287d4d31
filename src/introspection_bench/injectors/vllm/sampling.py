"""Sampling by the numbers that all backends share: what the host decides, and the arithmetic in torch.

A token is that of the largest logit after Gumbel noise, a function of the reply's seed, the token's place in it and its
id. The keys of all places of a reply are in :class:`~introspection_bench.injectors.vllm.tables.Tables`; on CUDA
:mod:`.kernels` adds the noise and takes the largest in one pass over the logits.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..hf.sampling import choose
from .tables import Tables


class Chooser(Protocol):
    """How tokens are chosen on a kind of device."""

    def __call__(
        self, logits: Tensor, index: Tensor, entry_of: Tensor, positions: Tensor, filtered: npt.NDArray[np.bool_]
    ) -> Tensor:
        """Return one token a row (rows,), int64, and note the rows' largest logits.

        ``logits`` are (rows, vocabulary), those of the requests ``entry_of[index]``, behind ``positions`` (rows,);
        ``filtered`` says which rows have a top-k or top-p.
        """


class TorchChooser:
    """Chooses in torch, on any device."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def __call__(
        self, logits: Tensor, index: Tensor, entry_of: Tensor, positions: Tensor, filtered: npt.NDArray[np.bool_]
    ) -> Tensor:
        """As :class:`Chooser` says."""
        tables, entries = self._tables, entry_of[index.long()].long()
        steps = steps_of(tables, entries, positions)
        note_largest(tables, logits, entries, steps)
        temperatures = tables.temperatures[entries]
        tokens = logits.argmax(dim=-1)
        sampled = (temperatures != 0).nonzero()[:, 0]
        if len(sampled):
            whose = entries[sampled]
            scores = logits[sampled].float() / temperatures[sampled, None]
            if filtered.any():
                scores = shaped(scores, tables.top_ks[whose], tables.top_ps[whose])
            tokens[sampled] = choose(scores, tables.keys[whose, steps[sampled]])
        return tokens


def steps_of(tables: Tables, entries: Tensor, positions: Tensor) -> Tensor:
    """Return which token of its reply is chosen behind a position: (rows,), int64.

    Behind the middle of a prompt nothing is kept, nor behind the end of a reply, which engines that schedule ahead run
    once more: such steps are the tables' last column.
    """
    steps = positions + 1 - tables.prompts[entries]
    last = tables.sizes.tokens
    return torch.where((steps < 0) | (steps > last), last, steps)


def note_largest(tables: Tables, logits: Tensor, entries: Tensor, steps: Tensor) -> None:
    """Keep each row's largest logit: NaN where one is, infinite where all are -inf or one is +inf."""
    tables.largest[entries, steps] = logits.amax(dim=-1).float()


def shaped(scores: Tensor, top_ks: Tensor, top_ps: Tensor) -> Tensor:
    """Return scores (rows, vocabulary) with -inf where a row's top-k or top-p leaves a token out.

    What Hugging Face's warpers do one behind the other, for a ``top_ks`` (0: none) and a ``top_ps`` (1: none) a row.
    """
    ordered, ids = scores.sort(dim=-1)
    vocabulary = scores.shape[-1]
    kth = (vocabulary - top_ks.long()).clamp(0, vocabulary - 1)
    least = ordered.gather(-1, kth[:, None])
    least = torch.where((top_ks > 0)[:, None], least, -torch.inf)
    ordered = ordered.masked_fill(ordered < least, -torch.inf)
    unlikely = ordered.softmax(dim=-1).cumsum(dim=-1) <= (1 - top_ps.double()).float()[:, None]
    unlikely[:, -1] = False
    unlikely &= (top_ps < 1)[:, None]
    dropped = torch.zeros_like(unlikely).scatter_(-1, ids, unlikely)
    return scores.masked_fill(dropped | (scores < least), -torch.inf)
