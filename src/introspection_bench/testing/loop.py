"""An injector written as plainly as possible: one left-padded batch, a decode loop by hand, hooks on all blocks.

It shares no steering or reading code with the torch injector, which makes it an independent reference for it, and its
steps are small methods, so that a broken injector is one of them replaced. Slow, and for tests alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self, cast, get_args

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..doses import delta_length
from ..errors import ModelError
from ..identity import Sampling
from ..injection import Receipt, Steer
from ..injectors.base import Injector, ModelInfo
from ..injectors.hf.blocks import find_blocks, find_update_module, hidden_of, with_hidden
from ..injectors.hf.fingerprint import fingerprint_module
from ..injectors.hf.sampling import processors
from ..injectors.hf.stopping import ReplyReader, end_tokens_of
from ..injectors.receipts import check_logits, make_receipt, unmeasured
from ..injectors.requests import Completion, Request
from ..measures.base import Read, ReadKind
from ..prompts import Tokenizer
from ..spans import Positions


@attrs.define(eq=False)
class LoopSteer:
    """One steer of a row, where it is carried out, and what was done.

    ``measured`` maps absolute positions to (‖before‖, length asked for, ‖after - before‖).
    """

    steer: Steer
    where: Positions
    measured: dict[int, tuple[float, ...]] = attrs.field(factory=dict)


@attrs.define(eq=False)
class LoopRow:
    """One row of the batch: its request, its left padding, its steers, and what was seen of it.

    ``largest`` has the largest logit behind each token; ``captured`` one tensor (positions, hidden_size) per pass and
    layer that is read; ``logits`` one (positions, vocabulary) per pass, of replays.
    """

    index: int
    request: Request
    padding: int
    steers: list[LoopSteer]
    sampled: list[int] = attrs.field(factory=list)
    largest: list[float] = attrs.field(factory=list)
    captured: dict[int, list[Tensor]] = attrs.field(factory=dict)
    logits: list[Tensor] = attrs.field(factory=list)

    @property
    def limit(self) -> int:
        """How many tokens its reply has at most."""
        forced = self.request.forced
        return self.request.sampling.max_new_tokens if forced is None else len(forced)

    @property
    def processed(self) -> int:
        """How many positions its reply has made so far: the last token is not fed."""
        return self.request.processed(len(self.sampled))


class LoopInjector(Injector):
    """See the module. ``prefill_chunk`` runs the prompt in pieces of that many columns."""

    name: ClassVar[str] = "loop"
    reads: ClassVar[frozenset[ReadKind]] = frozenset(get_args(ReadKind))

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
        self._paused = False
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

    # Steps that a broken injector replaces

    def active(self, request: Request) -> Sequence[Steer]:
        """The steers that are carried out."""
        return request.steers

    def place(self, request: Request, steer: Steer) -> Positions:
        """The positions to steer."""
        del request
        return steer.positions

    def layer(self, steer: Steer) -> int:
        """The block to steer."""
        return steer.layer

    def positions(self, row: LoopRow, columns: int) -> Tensor:
        """The absolute positions of this pass's columns in a row (negative on padding)."""
        return torch.arange(self.column, self.column + columns) - row.padding

    def chosen(self, row: LoopRow, one: LoopSteer, at: Tensor) -> Tensor:
        """Which of the positions ``at`` are steered."""
        del row
        stop = torch.inf if one.where.stop is None else one.where.stop
        return (at >= one.where.start) & (at < stop)

    def delta(self, steer: Steer, h: Tensor, update: Tensor) -> Tensor:
        """The addition to h: (positions, hidden_size), float32."""
        vector = torch.from_numpy(np.array(steer.vector.values))
        unit = vector / vector.norm()
        length = delta_length(
            steer.unit,
            steer.dose.magnitude,
            vector_norm=vector.norm(),
            residual_norm=h.float().norm(dim=-1, keepdim=True),
            update_norm=update.float().norm(dim=-1, keepdim=True),
            along=(h.float() @ unit)[:, None],
        )
        delta: Tensor = length * unit.expand(len(h), -1)
        return delta

    def steered(self, row: LoopRow, layer: int, hidden: Tensor) -> Tensor:
        """The row's residuals (columns, hidden_size) behind all of its steers at this layer."""
        stream = hidden
        for one in row.steers:
            if self.layer(one.steer) == layer:
                stream = self.add(row, one, stream, hidden)
        return stream

    def add(self, row: LoopRow, one: LoopSteer, stream: Tensor, origin: Tensor) -> Tensor:
        """The stream with one steer added, which is computed from ``origin``, the stream before any of them."""
        at = self.positions(row, len(stream))
        where = self.chosen(row, one, at)
        if not where.any():
            return stream
        update = self.updates[self.layer(one.steer)][self.rows.index(row)]
        h, before = origin[where], stream[where]
        delta = self.delta(one.steer, h, update[where])
        after = before + delta.to(before.dtype)
        sizes = torch.stack([h.float(), delta, after.float() - before.float()]).norm(dim=-1).T
        one.measured.update(zip(at[where].tolist(), map(tuple, sizes.tolist()), strict=True))
        steered = stream.clone()
        steered[where] = after
        return steered

    def written(self, before: Tensor, after: Tensor) -> Tensor:
        """What the model goes on with (the steered stream)."""
        del before
        return after

    def receipts(self, row: LoopRow) -> list[Receipt]:
        """The receipts, in the order of the request's steers."""
        return [self.receipt(row, one) for one in row.steers]

    def receipt(self, row: LoopRow, one: LoopSteer) -> Receipt:
        """The receipt of one steer, of what was recorded."""
        # Rows of a batch run on until the longest is done: positions behind a row's own reply don't count.
        measured = unmeasured(row.processed)
        for position, sizes in one.measured.items():
            if position < measured.shape[1]:
                measured[:, position] = sizes
        return make_receipt(measured, one.steer, dtype=self.model.dtype)

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

    def forced(self, row: LoopRow, step: int, chosen: int) -> int:
        """The token that a row goes on with: on a replay the given one."""
        given = row.request.forced
        return chosen if given is None or step >= len(given) else given[step]

    def prefilled(self, ids: Tensor, mask: Tensor, cache: Any) -> Any:
        """The cache with which decoding goes on after the prompt."""
        del ids, mask
        return cache

    def read(self, row: LoopRow, read: Read) -> npt.NDArray[np.float32]:
        """What one read brings."""
        start, stop = read.positions.start, min(read.positions.stop or row.processed, row.processed)
        streams = [torch.cat(row.captured[layer])[start:stop] for layer in read.layers]
        match read.kind:
            case "logprobs":
                found = self.masses(torch.cat(row.logits)[start:stop], read.sets)
            case "likelihood":
                ids = (*row.request.prompt.token_ids, *row.sampled)
                logprobs = torch.log_softmax(torch.cat(row.logits)[start:stop].float(), dim=-1)
                found = torch.stack([logprobs[at - start, self.following(ids, at)] for at in range(start, stop)])
            case "distribution":
                found = torch.log_softmax(torch.cat(row.logits)[start:stop].double(), dim=-1)
            case "residuals":
                found = torch.stack(streams)
            case "cosines":
                found = torch.stack([self.cosines(s, [v.values for v in read.vectors]) for s in streams])
            case "lens":
                found = torch.stack([self.masses(self.unembed(s), read.sets) for s in streams])
        return found.numpy().astype(np.float32)

    def following(self, ids: Sequence[int], at: int) -> int:
        """The token that follows a position."""
        return ids[at + 1]

    def masses(self, logits: Tensor, sets: Sequence[Sequence[int]]) -> Tensor:
        """The log of the mass of each set of tokens, last of all of them: (positions, sets + 1)."""
        shares = torch.softmax(logits.double(), dim=-1)
        masses = [torch.stack([shares[:, token] for token in tokens]).sum(dim=0) for tokens in sets]
        return torch.stack([*masses, torch.stack(masses).sum(dim=0)], dim=-1).log()

    def cosines(self, stream: Tensor, vectors: Sequence[npt.NDArray[np.float32]]) -> Tensor:
        """The cosines of residuals with vectors: (positions, vectors)."""
        h = stream.double() / stream.double().norm(dim=-1, keepdim=True)
        v = torch.tensor(np.array([vector / np.linalg.norm(vector) for vector in vectors])).double()
        found: Tensor = h @ v.T
        return found

    def unembed(self, stream: Tensor) -> Tensor:
        """What the model would say if the stream (positions, hidden_size) were what leaves its last block: logits.

        Its own code goes on from there, so that nothing needs to be known of its final norm and its head.
        """

        def put(_module: Any, _args: Any, output: Any) -> Any:
            return with_hidden(output, stream[None].to(hidden_of(output).dtype))

        self._paused = True
        handle = self._blocks[-1].register_forward_hook(put)
        try:
            with torch.inference_mode():
                ids = torch.zeros((1, len(stream)), dtype=torch.long)
                logits: Tensor = self.torch_model(input_ids=ids, use_cache=False).logits[0]
                return logits
        finally:
            handle.remove()
            self._paused = False

    # The loop

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        groups: dict[tuple[Sampling, bool], list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault((request.sampling, request.forced is None), []).append(index)
        for (sampling, _), indices in groups.items():
            width = max(len(requests[i].prompt.token_ids) for i in indices)
            rows = []
            for i in indices:
                request = requests[i]
                steers = [LoopSteer(steer, self.place(request, steer)) for steer in self.active(request)]
                rows.append(LoopRow(i, request, width - len(request.prompt.token_ids), steers))
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
        yield from (self._completion(row) for row in rows if row.limit == 0)
        open_rows = [row for row in rows if row.limit > 0]
        for step in range(max(row.limit for row in rows)):
            for row, largest in zip(rows, logits.float().amax(dim=-1).tolist(), strict=True):
                row.largest.append(largest)
            chosen = self.choose(sampling, rows, ids, logits, width)
            tokens = [self.forced(row, step, token) for row, token in zip(rows, chosen, strict=True)]
            ids = torch.cat([ids, torch.tensor(tokens)[:, None]], dim=1)
            for row, token in zip(rows, tokens, strict=True):
                if row not in open_rows:
                    continue
                row.sampled.append(token)
                ended = row.request.forced is None and token in self._reader.ends.ids
                if ended or step + 1 == row.limit:
                    open_rows.remove(row)
                    yield self._completion(row)
            if not open_rows:
                return
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
        for row, logits in zip(self.rows, output.logits, strict=True):
            if row.request.forced is not None:
                row.logits.append(logits[self.positions(row, len(logits)) >= 0])
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
        if self._paused:
            return output
        hidden = hidden_of(output)
        after = []
        for row, before in zip(self.rows, hidden, strict=True):
            stream = self.steered(row, layer, before)
            if layer in row.request.read_layers:
                real = self.positions(row, len(before)) >= 0
                row.captured.setdefault(layer, []).append(stream[real].float())
            after.append(self.written(before, stream))
        return with_hidden(output, torch.stack(after))

    def _completion(self, row: LoopRow) -> Completion:
        request = row.request
        receipts = self.receipts(row)
        readings = [self.read(row, read) for read in request.reads]
        if request.forced is None:
            self.check_logits(row)
            reply = self._reader.read(row.sampled, row.limit, request.prompt)
        else:
            reply = self._reader.forced(row.sampled, request.prompt)
        return Completion(row.index, reply, receipts, readings)
