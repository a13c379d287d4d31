"""Sampling with a seed for each row, inside Hugging Face's own ``generate``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ..trials import Sampling


class SeededSampler(LogitsProcessor):
    """Chooses each row's next token by that row's own random numbers; ``generate`` then takes the argmax.

    Row ``r`` at step ``k`` uses the k-th number of ``numpy.random.default_rng(seeds[r])``, as the point at which
    its cumulative distribution is cut (inverse transform sampling, in float64). A row's choice thus depends on
    its own logits and seed alone: not on the batch, on the device's generator, or on other rows.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int], prompt_length: int) -> None:
        self._prompt_length = prompt_length
        self._points = np.stack([np.random.default_rng(s).random(sampling.max_new_tokens) for s in seeds])
        self._filters = filters(sampling)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores with 0 at the chosen token and -inf elsewhere: (rows, vocabulary)."""
        step = input_ids.shape[1] - self._prompt_length
        points = torch.from_numpy(self._points[:, step : step + 1]).to(scores.device)
        warped = self._filters(input_ids, scores.float())  # type: ignore[arg-type]  # transformers' own tensor names
        chosen = cut(torch.softmax(warped, dim=-1), points)
        choice = torch.full_like(scores, -torch.inf)
        return choice.scatter_(1, chosen, 0.0)


def filters(sampling: Sampling) -> LogitsProcessorList:
    """Return what shapes the distribution, in Hugging Face's order: temperature (above 0), top_k, top_p."""
    found = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        found.append(TopPLogitsWarper(sampling.top_p))
    return found


def cut(probabilities: Tensor, points: Tensor) -> Tensor:
    """Return the token at which each row's cumulative distribution passes its point: (rows, 1), int64.

    ``probabilities`` (rows, vocabulary) and ``points`` (rows, 1) in [0, 1), float64.
    """
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    # right=True takes the first token whose cumulative probability is above the point, so never one of
    # probability 0; a point at the very end is held below the total.
    total = cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, torch.minimum(points * total, total * (1 - 1e-15)), right=True)
    return chosen.clamp_max(probabilities.shape[1] - 1)


def processors(sampling: Sampling, seeds: Sequence[int], prompt_length: int) -> LogitsProcessorList:
    """Return what ``generate(do_sample=False, logits_processor=…)`` needs; empty for temperature 0 (greedy)."""
    if sampling.temperature == 0:
        return LogitsProcessorList()
    return LogitsProcessorList([SeededSampler(sampling, seeds, prompt_length)])
