"""An injector written as plainly as possible: one left-padded batch, a decode loop by hand, hooks on all blocks.

It shares no steering code with the torch injector, which makes it an independent reference for it, and its steps
are small methods, which the broken injectors of :mod:`~introspection_bench.testing.fakes` replace one at a time.
Slow, and for tests alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self, cast

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import ModelError
from ..injection import Injection, Positions, Receipt, delta_length
from ..injectors.base import Completion, Injector, ModelInfo, Request
from ..injectors.hf.blocks import find_blocks, find_update_module, hidden_of, with_hidden
from ..injectors.hf.fingerprint import fingerprint_module
from ..injectors.hf.sampling import processors
from ..injectors.hf.stopping import ReplyReader, end_tokens_of
from ..injectors.receipts import check_logits, make_receipt, unmeasured
from ..scaffolds import RenderedPrompt, Tokenizer
from ..trials import Sampling


@attrs.define(eq=False)
class LoopRow:
    """One row of the batch: its request, the positions to steer, its left padding, and what was done to it.

    ``measured`` maps absolute positions to (‖before‖, length asked for, ‖after - before‖); ``largest`` has the largest
    logit behind each token; ``captured`` one tensor (positions, hidden_size) per pass and captured layer.
    """

    index: int
    request: Request
    injection: Injection | None
    where: Positions | None
    padding: int
    sampled: list[int] = attrs.field(factory=list)
    measured: dict[int, tuple[float, ...]] = attrs.field(factory=dict)
    largest: list[float] = attrs.field(factory=list)
    captured: dict[int, list[Tensor]] = attrs.field(factory=dict)


class LoopInjector(Injector):
    """See the module. ``prefill_chunk`` runs the prompt in pieces of that many columns."""

    name: ClassVar[str] = "loop"

    def __init__(self, model: Any, tokenizer: Any, prefill_chunk: int | None = None) -> None:
        self.torch_model = model
        self._tokenizer = tokenizer
        self._prefill_chunk = prefill_chunk
        self._blocks = find_blocks(model).modules
        self._reader = ReplyReader(tokenizer, end_tokens_of(model, tokenizer))
        self._info = ModelInfo(
            type(model).__name__,
            fingerprint_module(model, tokenizer, stop_ids=self._reader.ends.ids),
            len(self._blocks),
            model.get_input_embeddings().weight.shape[1],
            str(model.dtype).removeprefix("torch."),
        )
        self._branches: dict[int, Any] = dict(self._find_branches())
        # What the running passes see; set by _generate.
        self.rows: list[LoopRow] = []
        self.column = 0
        self.updates: dict[int, Tensor] = {}

    @classmethod
    def open(cls, model: Any, *, tokenizer: Any = None, prefill_chunk: int | None = None) -> Self:
        """Take a loaded Transformers model and its tokenizer."""
        return cls(model, tokenizer, prefill_chunk)

    @property
    def model(self) -> ModelInfo:
        """What was opened."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        tokenizer: Tokenizer = self._tokenizer
        return tokenizer

    # Steps that a fake replaces

    def active(self, request: Request) -> Injection | None:
        """The injection that is carried out: None on controls, magnitude 0 included."""
        injection = request.injection
        return None if injection is None or injection.magnitude == 0 else injection

    def place(self, request: Request, injection: Injection) -> Positions:
        """The positions to steer."""
        return injection.span.resolve(request.prompt)

    def layer(self, injection: Injection) -> int:
        """The block to steer."""
        return injection.layer

    def positions(self, row: LoopRow, columns: int) -> Tensor:
        """The absolute positions of this pass's columns in a row (negative on padding)."""
        return torch.arange(self.column, self.column + columns) - row.padding

    def chosen(self, row: LoopRow, at: Tensor) -> Tensor:
        """Which of the positions ``at`` are steered."""
        assert row.where is not None  # noqa: S101  # for the type checker; only steered rows come here
        stop = torch.inf if row.where.stop is None else row.where.stop
        return (at >= row.where.start) & (at < stop)

    def delta(self, injection: Injection, h: Tensor, update: Tensor) -> Tensor:
        """The addition to h: (positions, hidden_size), float32."""
        vector = torch.from_numpy(np.array(injection.vector.values))
        length = delta_length(
            injection.unit,
            injection.magnitude,
            vector_norm=vector.norm(),
            residual_norm=h.float().norm(dim=-1, keepdim=True),
            update_norm=update.float().norm(dim=-1, keepdim=True),
        )
        delta: Tensor = length * (vector / vector.norm()).expand(len(h), -1)
        return delta

    def add(self, row: LoopRow, layer: int, hidden: Tensor, where: Tensor) -> Tensor:
        """The row's residuals with the addition: hidden is (columns, hidden_size), where marks the steered ones."""
        assert row.injection is not None  # noqa: S101  # as above
        h = hidden[where]
        delta = self.delta(row.injection, h, self.updates[layer][self.rows.index(row)][where])
        after = h + delta.to(h.dtype)
        sizes = torch.stack([h.float(), delta, after.float() - h.float()]).norm(dim=-1).T
        row.measured.update(
            zip(self.positions(row, len(hidden))[where].tolist(), map(tuple, sizes.tolist()), strict=True)
        )
        steered = hidden.clone()
        steered[where] = after
        return steered

    def written(self, before: Tensor, after: Tensor) -> Tensor:
        """What the model goes on with (the steered stream)."""
        del before
        return after

    def receipt(self, row: LoopRow) -> Receipt:
        """The receipt, of what was recorded."""
        if row.injection is None:
            return Receipt.nothing()
        n = len(row.request.prompt.token_ids)
        # Rows of a batch run on until the longest is done: positions behind a row's own reply don't count.
        measured = unmeasured(n + len(row.sampled) - 1)
        for position, sizes in row.measured.items():
            if position < measured.shape[1]:
                measured[:, position] = sizes
        return make_receipt(measured, n, layer=self.layer(row.injection), dtype=self.model.dtype)

    def check_logits(self, row: LoopRow) -> None:
        """Raise where a token of the reply was not chosen among finite logits."""
        largest = np.array(row.largest[: len(row.sampled)], dtype=np.float32)
        check_logits(largest, len(row.request.prompt.token_ids), row.request.sampling.temperature)

    def choose(self, sampling: Sampling, rows: Sequence[LoopRow], ids: Tensor, logits: Tensor, width: int) -> list[int]:
        """The next token of each row."""
        seeds = [r.request.seed for r in rows]
        scores = processors(sampling, seeds, width)(
            cast(torch.LongTensor, ids), cast(torch.FloatTensor, logits.float())
        )
        return list(scores.argmax(dim=-1).tolist())

    def prefilled(self, ids: Tensor, mask: Tensor, cache: Any) -> Any:
        """The cache with which decoding goes on after the prompt."""
        del ids, mask
        return cache

    # The loop

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        groups: dict[Sampling, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(request.sampling, []).append(index)
        for sampling, indices in groups.items():
            width = max(len(requests[i].prompt.token_ids) for i in indices)
            rows = []
            for i in indices:
                request, injection = requests[i], self.active(requests[i])
                where = None if injection is None else self.place(request, injection)
                rows.append(LoopRow(i, request, injection, where, width - len(request.prompt.token_ids)))
            with self.hooks(rows):
                yield from self._decode(sampling, rows, width)

    def _decode(self, sampling: Sampling, rows: list[LoopRow], width: int) -> Iterator[Completion]:
        padding = torch.tensor([[r.padding] for r in rows])
        ids = torch.tensor([[0] * r.padding + list(r.request.prompt.token_ids) for r in rows])
        cache, logits = None, torch.empty(0)
        chunk = self._prefill_chunk or width
        for start in range(0, width, chunk):
            logits, cache = self._pass(ids[:, start : start + chunk], start, padding, cache)
        cache = self.prefilled(ids, padding, cache)
        for step in range(sampling.max_new_tokens):
            for row, largest in zip(rows, logits.float().amax(dim=-1).tolist(), strict=True):
                row.largest.append(largest)
            tokens = self.choose(sampling, rows, ids, logits, width)
            ids = torch.cat([ids, torch.tensor(tokens)[:, None]], dim=1)
            for row, token in zip(rows, tokens, strict=True):
                finished = row.sampled and row.sampled[-1] in self._reader.ends.ids
                if not finished and len(row.sampled) == step:
                    row.sampled.append(token)
                    if token in self._reader.ends.ids or step + 1 == sampling.max_new_tokens:
                        yield self._completion(row)
            if step + 1 < sampling.max_new_tokens and any(len(r.sampled) == step + 1 for r in rows):
                logits, cache = self._pass(ids[:, -1:], width + step, padding, cache)

    def _pass(self, ids: Tensor, column: int, padding: Tensor, cache: Any) -> tuple[Tensor, Any]:
        self.column = column
        columns = torch.arange(column + ids.shape[1])
        with torch.inference_mode():
            output = self.torch_model(
                input_ids=ids,
                attention_mask=(columns >= padding).long(),
                position_ids=(columns[column:] - padding).clamp(min=0),
                past_key_values=cache,
                use_cache=True,
            )
        return output.logits[:, -1], output.past_key_values

    @contextmanager
    def hooks(self, rows: list[LoopRow]) -> Iterator[None]:
        """Hooks on all blocks, for these rows, taken off again whatever happens."""
        handles = self._install(rows)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _install(self, rows: list[LoopRow]) -> list[Any]:
        self.rows = rows
        handles = []
        for layer, block in enumerate(self._blocks):
            if layer in self._branches:
                # A copy: a block may go on to write into its branch's output.
                keep = lambda _m, _a, output, layer=layer: self.updates.__setitem__(layer, hidden_of(output).clone())  # noqa: E731  # binds the loop's layer
                handles.append(self._branches[layer].register_forward_hook(keep))
            hook = lambda _m, _a, output, layer=layer: self._on_block(layer, output)  # noqa: E731  # binds the loop's layer
            handles.append(block.register_forward_hook(hook))
        return handles

    def _find_branches(self) -> Iterator[tuple[int, Any]]:
        probe = torch.tensor([[0, 1, 2]])
        for layer, block in enumerate(self._blocks):
            # Without a branch that can be proved the unit ``update`` becomes NaN, which is an error of its own.
            with suppress(ModelError):
                yield layer, find_update_module(self.torch_model, block, probe)

    def _on_block(self, layer: int, output: Any) -> Any:
        hidden = hidden_of(output)
        after = []
        for row, before in zip(self.rows, hidden, strict=True):
            stream = before
            if row.injection is not None and self.layer(row.injection) == layer:
                where = self.chosen(row, self.positions(row, len(before)))
                stream = self.add(row, layer, before, where) if where.any() else before
            if layer in row.request.capture_layers:
                real = self.positions(row, len(before)) >= 0
                row.captured.setdefault(layer, []).append(stream[real].float())
            after.append(self.written(before, stream))
        return with_hidden(output, torch.stack(after))

    def _completion(self, row: LoopRow) -> Completion:
        captured = None
        if row.request.capture_layers:
            end = len(row.request.prompt.token_ids) + len(row.sampled) - 1
            captured = np.stack([torch.cat(row.captured[at])[:end].numpy() for at in row.request.capture_layers])
        receipt = self.receipt(row)
        self.check_logits(row)
        reply = self._reader.read(row.sampled, row.request.sampling.max_new_tokens, row.request.prompt)
        return Completion(row.index, reply, receipt, captured)

    def _capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> npt.NDArray[np.float32]:
        requests = [Request(p, None, Sampling(0.0, max_new_tokens=1), 0, layers) for p in prompts]
        found = {c.index: c.residuals for c in self._generate(requests)}
        return np.stack([residual[:, -1] for i in range(len(prompts)) if (residual := found[i]) is not None])
