"""How far an engine disagrees with itself where nothing is injected: what the conformance checks must put up with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..injectors.requests import Completion, Request
from ..prompts import RenderedPrompt

#: How many requests are run at once.
_TOGETHER = 64


def measured_noise(
    run: Callable[..., list[Completion]],
    ask: Callable[[RenderedPrompt, int], Request],
    prompts: Sequence[RenderedPrompt],
    tokens: int,
) -> npt.NDArray[np.float32]:
    """Return by how much the same tokens' residuals differ between shapes of batch, relative to their norm: (many,).

    Four shapes: fed as a prompt alone, decoded alone, fed beside many others, and decoded beside them.

    Args:
        run: runs some requests, and returns their completions in order.
        ask: makes the request of a prompt and a number of tokens whose first reading is the stream.
        prompts: at most half of :data:`_TOGETHER`, each decoded, and fed again with its reply.
        tokens: how many are decoded.
    """
    decoding = [ask(prompt, tokens) for prompt in prompts]
    decoded = [run(request)[0] for request in decoding]
    fed = [
        ask(RenderedPrompt((*p.token_ids, *d.reply.token_ids[:-1]), ""), 1)
        for p, d in zip(prompts, decoded, strict=True)
    ]
    bases = [run(request)[0].readings[0] for request in fed]
    beside = run(*decoding, *(fed[n % len(fed)] for n in range(_TOGETHER - len(decoding))))
    found = []
    for number, done in enumerate([*decoded, *beside]):
        own = number % len(prompts)
        base, other = bases[own], done.readings[0]
        count = base.shape[1]
        if number < 2 * len(prompts):
            # Beside others a reply may be another one: what they share is compared.
            same = len(prompts[own].token_ids) + _alike(done.reply.token_ids, decoded[own].reply.token_ids)
            count = min(count, same, other.shape[1])
        apart = np.linalg.norm(other[:, :count] - base[:, :count], axis=-1)
        found.append((apart / np.linalg.norm(base[:, :count], axis=-1)).ravel())
    return np.concatenate(found)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two replies begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
