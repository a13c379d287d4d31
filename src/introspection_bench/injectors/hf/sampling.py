"""Sampling with a seed for each row, inside Hugging Face's own ``generate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

from ...identity import Sampling

#: SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): the step of its
#: counter, and the multipliers of its mixing function, as signed 64-bit numbers.
STEP, _FIRST, _SECOND = (
    int(np.uint64(c).astype(np.int64)) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
#: Rows are treated in parts of about this many numbers, so that large batches need no gigabyte of noise.
_PART = 2**23


class LogitsWatch(LogitsProcessor):
    """Keeps each row's largest logit at each step, and changes nothing.

    It is NaN where a logit is, infinite where one is +inf or all are -inf: such logits can't be sampled from, and
    whatever token comes out of them is no reply. Looked at once a batch, since a GPU waits for each look.
    """

    def __init__(self) -> None:
        self._largest: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002  # transformers' own signature
        """Return ``scores`` (rows, vocabulary) as they are."""
        self._largest.append(scores.amax(dim=-1))
        return scores

    def largest(self) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Return the largest logits so far: (rows, steps), float32."""
        kept: np.ndarray[tuple[int, int], np.dtype[np.float32]] = (
            torch.stack(self._largest, dim=1).float().cpu().numpy()
        )
        return kept


class TokenCount(LogitsProcessor):
    """Says at each step how many tokens the step before sampled, in rows that had not ended; changes nothing.

    ``ends`` are the ids that end a row. The step of the last tokens has none after it: :meth:`last` says these.
    """

    def __init__(self, on_tokens: Callable[[int], None], ends: Sequence[int], prompt_length: int) -> None:
        self._on_tokens, self._ends, self._prompt_length = on_tokens, ends, prompt_length
        self._going: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return ``scores`` (rows, vocabulary) as they are."""
        if input_ids.shape[1] > self._prompt_length:
            self.last(input_ids)
        return scores

    def last(self, input_ids: Tensor) -> None:
        """Say how many rows of ``input_ids`` (rows, positions) got their last token, and keep those that go on."""
        going = torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
        going = going if self._going is None else self._going
        self._on_tokens(int(going.sum()))
        ends = torch.tensor(list(self._ends), dtype=input_ids.dtype, device=input_ids.device)
        self._going = going & ~torch.isin(input_ids[:, -1], ends)


class SeededSampler(LogitsProcessor):
    """Chooses each row's next token by that row's own random numbers; ``generate`` then takes the argmax.

    Step ``k`` of row ``r`` uses the k-th key of :func:`step_keys` for ``seeds[r]``; the token is that of the largest
    logit after Gumbel noise. A row's choice thus depends on its own logits and seed alone: not on the batch, on the
    device's generator, or on other rows. Where another batch shape moves logits by a rounding error, the choice
    changes only where the two best noisy logits are that close.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int], prompt_length: int) -> None:
        self._prompt_length = prompt_length
        self._keys = torch.from_numpy(np.stack([step_keys(s, sampling.max_new_tokens) for s in seeds], axis=1))
        self._filters = filters(sampling)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores with 0 at the chosen token and -inf elsewhere: (rows, vocabulary)."""
        # Once: a copy to a GPU waits for all that was queued there.
        self._keys = self._keys.to(scores.device)
        step = input_ids.shape[1] - self._prompt_length
        return sampled_scores(self._filters, input_ids, scores, self._keys[step])


def sampled_scores(shaping: LogitsProcessorList, input_ids: Tensor | None, scores: Tensor, keys: Tensor) -> Tensor:
    """Return scores with 0 at the token chosen after ``shaping`` and -inf elsewhere: (rows, vocabulary)."""
    warped = shaping(input_ids, scores.float())  # type: ignore[arg-type]  # transformers' own tensor names
    return torch.full_like(scores, -torch.inf).scatter_(1, choose(warped, keys)[:, None], 0.0)


def step_keys(seed: int, steps: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return one key per sampled token, int64: the 64-bit numbers of ``numpy.random.default_rng(seed)``."""
    return np.random.default_rng(seed).integers(0, 2**64, steps, dtype=np.uint64).view(np.int64)


def choose(logits: Tensor, keys: Tensor) -> Tensor:
    """Return one token per row, drawn from the softmax of its logits by the Gumbel-max trick: (rows,), int64.

    ``logits`` (rows, vocabulary), float32, and ``keys`` (rows,), int64, on one device. The noise of a token is a
    function of the row's key and the token's id alone: half of a 64-bit number of SplitMix64 started at the key.
    """
    at_once = max(1, _PART // logits.shape[1])
    parts = [slice(first, first + at_once) for first in range(0, len(logits), at_once)]
    return torch.cat([noisy(logits[part], keys[part]).argmax(dim=-1) for part in parts])


def noisy(logits: Tensor, keys: Tensor) -> Tensor:
    """Return the logits with the noise of their keys, of which :func:`choose` takes the largest: (rows, vocabulary)."""
    vocabulary = logits.shape[1]
    counters = torch.arange(1, (vocabulary + 1) // 2 + 1, device=logits.device) * STEP
    return _gumbel(mixed(keys[:, None] + counters))[:, :vocabulary].add_(logits)


def mixed(z: Tensor) -> Tensor:
    """SplitMix64's mixing function, in place: (…), int64."""
    z = z.bitwise_xor_(_shifted(z, 30)).mul_(_FIRST)
    z = z.bitwise_xor_(_shifted(z, 27)).mul_(_SECOND)
    return z.bitwise_xor_(_shifted(z, 31))


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Shift to the right, filling with zeros: PyTorch's own shift of int64 keeps the sign."""
    return z.bitwise_right_shift(bits).bitwise_and_((1 << (64 - bits)) - 1)


def _gumbel(z: Tensor) -> Tensor:
    """Return two standard Gumbel numbers, float32, for each 64-bit number: (…, n) -> (…, 2 n)."""
    # 31 bits of each half as v in (0, 1). The largest noise comes from the smallest v, where float32 is finest;
    # v = 1, to which the largest few round, means -inf, and such a token would have lost anyway.
    v = z.view(torch.int32).bitwise_and(2**31 - 1).float().add_(0.5).mul_(-(2.0**-31))
    return v.log1p_().neg_().log_().neg_()


def filters(sampling: Sampling) -> LogitsProcessorList:
    """Return what shapes the distribution, in Hugging Face's order: temperature (above 0), top_k, top_p."""
    found = LogitsProcessorList()
    if sampling.temperature != 1:
        found.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        found.append(TopPLogitsWarper(sampling.top_p))
    return found


def processors(sampling: Sampling, seeds: Sequence[int], prompt_length: int) -> LogitsProcessorList:
    """Return what ``generate(do_sample=False, logits_processor=…)`` needs; empty for temperature 0 (greedy)."""
    if sampling.temperature == 0:
        return LogitsProcessorList()
    return LogitsProcessorList([SeededSampler(sampling, seeds, prompt_length)])
