"""Steering in training, as the library steers, and sampling under it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor

from introspection_bench.injectors.hf.blocks import find_blocks, hidden_of, with_hidden
from introspection_bench.injectors.steering import steer

from .examples import end_of_reply

#: A column that no row reaches: the span of a row that is steered to its end.
_NEVER = 10**9


@attrs.frozen(eq=False)
class Injected:
    """What is added to one row: ``share`` of the residual's norm along ``direction``, (hidden_size,) of unit length.

    It is added to the output of block ``layer``, at the row's positions from ``start`` up to ``stop``, or to the end.
    """

    layer: int
    share: float
    direction: Tensor
    start: int
    stop: int | None


class _Hook:
    """Steers some rows of the passes of one block, and counts the columns that have passed: a cache holds them."""

    def __init__(self, rows: Mapping[int, Injected], pads: Sequence[int], device: torch.device) -> None:
        self.rows = torch.tensor(list(rows), device=device)
        self.directions = torch.stack([i.direction for i in rows.values()]).float()
        self.lengths = torch.tensor([[0.0, i.share, 0.0, 0.0] for i in rows.values()], device=device)
        self.first, self.last = (
            torch.tensor(columns, device=device)[:, None]
            for columns in (
                [i.start + pads[row] for row, i in rows.items()],
                [_NEVER if i.stop is None else i.stop + pads[row] for row, i in rows.items()],
            )
        )
        self.seen = 0

    def __call__(self, _: Any, __: Any, output: Any) -> Any:
        hidden = hidden_of(output)
        columns = torch.arange(self.seen, self.seen + hidden.shape[1], device=hidden.device)[None]
        self.seen += hidden.shape[1]
        inside = (columns >= self.first) & (columns < self.last)
        after, _measured = steer(hidden[self.rows], self.directions, self.lengths, inside)
        return with_hidden(output, hidden.index_copy(0, self.rows, after))


@contextmanager
def hooked(hooks: Mapping[int, Any], model: Any) -> Iterator[None]:
    """Call hooks on the outputs of a model's blocks, by block, and remove them at the end."""
    blocks = find_blocks(model.get_base_model() if hasattr(model, "get_base_model") else model).modules
    handles = [blocks[layer].register_forward_hook(hook) for layer, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def steered(model: Any, rows: Sequence[Injected | None], pads: Sequence[int] | None = None) -> Iterator[None]:
    """Steer the rows of one batch in the passes that run within; ``pads`` are the columns in front of each row."""
    at: dict[int, dict[int, Injected]] = defaultdict(dict)
    for row, injected in enumerate(rows):
        if injected is not None:
            at[injected.layer][row] = injected
    fronts = [0] * len(rows) if pads is None else pads
    with hooked({layer: _Hook(some, fronts, model.device) for layer, some in at.items()}, model):
        yield


@torch.no_grad()
def sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    injected: Sequence[Injected | None] | None = None,
    *,
    new_tokens: int = 32,
    temperature: float = 1.0,
    rows: int = 256,
    seed: int = 0,
) -> list[str]:
    """Return a reply to each prompt (token ids), sampled ``rows`` at a time; temperature 0 is greedy."""
    torch.manual_seed(seed)
    end = end_of_reply(tokenizer)
    replies: list[str] = []
    for begin in range(0, len(prompts), rows):
        some = prompts[begin : begin + rows]
        steers = [None] * len(some) if injected is None else injected[begin : begin + rows]
        longest = max(map(len, some))
        pads = [longest - len(p) for p in some]
        ids, mask = (
            torch.tensor([[front] * n + own for n, own in zip(pads, real, strict=True)], device=model.device)
            for front, real in ((end, [list(p) for p in some]), (0, [[1] * len(p) for p in some]))
        )
        with steered(model, steers, pads):
            made = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new_tokens,
                do_sample=temperature > 0,
                temperature=temperature or None,
                top_p=1.0,
                top_k=0,
                pad_token_id=end,
                eos_token_id=end,
            )
        replies += tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
    return replies
