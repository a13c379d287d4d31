"""The arithmetic of readings, in torch alone: from logits and residuals to what a :class:`Read` asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def log_masses(logits: Tensor, sets: Sequence[Sequence[int]]) -> Tensor:
    """Return the log-probability of each set of token ids, and last that of all of them together.

    ``logits`` are (positions, vocabulary) in any dtype; the result is (positions, sets + 1), float32. Where
    different sets share ids, the last one counts those twice and is no probability.
    """
    logprobs = logits.float().log_softmax(dim=-1)
    parts = [logprobs[:, list(ids)].logsumexp(dim=-1) for ids in sets]
    joint = torch.stack(parts, dim=-1).logsumexp(dim=-1)
    return torch.stack([*parts, joint], dim=-1)


def likelihoods(logits: Tensor, following: Tensor) -> Tensor:
    """Return the log-probability of the token that does follow each position.

    ``logits`` are (positions, vocabulary), ``following`` (positions,) the token ids; the result is (positions,),
    float32.
    """
    return logits.float().log_softmax(dim=-1).gather(-1, following[:, None])[:, 0]


def distribution(logits: Tensor) -> Tensor:
    """Return the log-probability of every token: (positions, vocabulary) as ``logits``, float32."""
    return logits.float().log_softmax(dim=-1)


def cosines(stream: Tensor, vectors: Tensor) -> Tensor:
    """Return the cosines of residuals (positions, hidden) with vectors (vectors, hidden): (positions, vectors)."""
    normalize = torch.nn.functional.normalize
    return normalize(stream.float(), dim=-1) @ normalize(vectors.float(), dim=-1).T
