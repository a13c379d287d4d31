"""Plain PyTorch: forward hooks on any Hugging Face decoder-only model, around its own ``generate``."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import GenerationMixin, LogitsProcessorList

from ...doses import Unit
from ...errors import ModelError, explain
from ...injection import Receipt
from ...loading import Loaded, load
from ...measures.base import ReadKind
from ...prompts import Tokenizer
from ..base import ModelInfo
from ..hf.blocks import Blocks, check_residual_stream, embedding_of, find_blocks, find_update_module
from ..hf.caches import Sharing, batches_by_length, beginning, cells, common_prefix, replays_alike, select
from ..hf.fingerprint import fingerprint_module
from ..hf.hooks import BlockCapture, Observer, Row, session
from ..hf.limits import limits_of
from ..hf.proving import ROWS, SharingProbe, unproved
from ..hf.reads import OF_LOGITS, PassReading
from ..hf.sampling import LogitsWatch, TokenCount, processors
from ..hf.stopping import ReplyReader, end_tokens_of
from ..hf.telling import facts_of
from ..hf.unchanged import Unchanged
from ..hf.unembedding import find_lens, find_unembedding
from ..opened import OpenedInjector
from ..receipts import check_logits, make_receipt, unmeasured
from ..requests import Completion, Request, failures_last


@attrs.frozen(eq=False)
class _Prefill:
    """The cache of a group's cells up to, and without, the last prompt token; and what was done on the way.

    ``measured``, (3, steers, positions) for each cell (see :func:`.steering.steer`), and ``residuals`` (layers, cells,
    positions, hidden) cover the first ``positions``. Without a cache there are none, and sampling runs the whole
    prompt.
    """

    cache: Any
    positions: int
    measured: list[Tensor]
    residuals: Tensor | None


class TorchInjector(OpenedInjector):
    """Steers with forward hooks; requests that share a prompt share its prefill.

    The prompt up to the first steered position is run once for all requests that share it, the rest of the prompt
    once per injection, and only sampling once per request. The last prompt token is always run per request, since
    its logits begin the reply. Batches never hold prompts of different length, so there is no padding. Where a
    model's caches don't carry that (:class:`Sharing`), less is shared.

    Floating-point effects of batching: matrix products of different batch shapes may round differently, so a
    sampled token can differ between batch sizes where two tokens are within rounding of each other.
    """

    name: ClassVar[str] = "torch"
    numerics: ClassVar[int] = 1
    reads: ClassVar[frozenset[ReadKind]] = frozenset(
        ("logprobs", "likelihood", "distribution", "residuals", "cosines", "lens")
    )

    def __init__(
        self,
        loaded: Loaded,
        *,
        blocks: str | None = None,
        update_module: str | None = None,
        batch_size: int = 64,
    ) -> None:
        if batch_size < 1:
            raise ModelError(explain("batch_size", required="at least 1", got=batch_size, hint=""))
        self._model = loaded.model
        self._tokenizer = loaded.tokenizer
        self._blocks: Blocks = find_blocks(loaded.model, blocks)
        self._update_module = update_module
        self._batch_size = batch_size
        ends = end_tokens_of(loaded.model, loaded.tokenizer)
        ends.warn(loaded.tokenizer, loaded.name)
        self._reader = ReplyReader(loaded.tokenizer, ends)
        # Before the first pass, which may leave states in the model.
        fingerprint = fingerprint_module(loaded.model, loaded.tokenizer, stop_ids=ends.ids)
        self._device, vocabulary = embedding_of(loaded.model)
        self._probe = torch.tensor([[0, 1, 2]], device=self._device)
        width, dtype = check_residual_stream(loaded.model, self._blocks, self._probe)
        self._info = ModelInfo(
            name=loaded.name,
            fingerprint=fingerprint,
            n_layers=len(self._blocks.modules),
            hidden_size=width,
            dtype=str(dtype).removeprefix("torch."),
            facts=facts_of(loaded.model, loaded.tokenizer, loaded.quantisation),
        )
        self._limits = limits_of(loaded.model.config, vocabulary)
        self._update = functools.cache(self._checked_update)
        self._unembedding = functools.cache(lambda: find_unembedding(loaded.model, self._blocks.modules, self._probe))
        self._lens = functools.cache(lambda: find_lens(loaded.model, self._blocks.modules, self._probe))
        self._sharing = Sharing.NOTHING
        self._prove_sharing()
        self._unchanged = Unchanged(loaded.model)

    @classmethod
    def open(
        cls,
        model: Any,
        *,
        tokenizer: Tokenizer | None = None,
        dtype: str = "auto",
        device: str | None = None,
        device_map: Any = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        blocks: str | None = None,
        update_module: str | None = None,
        batch_size: int = 64,
    ) -> Self:
        """Open a hub id, a folder, a GGUF file or a loaded model, and check it with one tiny forward pass.

        Args:
            model: a Hugging Face hub id, local folder, ``.gguf`` file, or ``PreTrainedModel`` in eval mode.
            tokenizer: the tokenizer; needed beside a model object, otherwise the model's own is loaded.
            dtype: "auto" (as the checkpoint has it) or a torch name, "bfloat16".
            device: "cpu", "cuda", "cuda:1"; by default CUDA where there is one.
            device_map: passed to Hugging Face for several GPUs ("auto"); needs accelerate.
            revision: a hub revision.
            trust_remote_code: whether code that comes with the checkpoint may run; it then counts in the fingerprint.
            blocks: path of the ModuleList of decoder blocks, for architectures that are not known.
            update_module: name, within a block, of the branch that the block adds last (unit ``update``).
            batch_size: most rows sampled at once.

        Raises:
            ModelNotFoundError: the name leads nowhere.
            ModelError: it loads but can't be steered, or an option is wrong.
        """
        loaded = load(
            model,
            tokenizer=tokenizer,
            dtype=dtype,
            device=device,
            device_map=device_map,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        return cls(loaded, blocks=blocks, update_module=update_module, batch_size=batch_size)

    @property
    def sharing(self) -> Sharing:
        """How much work requests share on this model."""
        return self._sharing

    def _prove_sharing(self) -> None:
        """Set the most sharing under which captures and replies equal uncached passes on a probe.

        Raises :class:`ModelError` where even unshared ones don't.
        """
        probe = SharingProbe(self._model, self._blocks.modules, self._info, self._limits)
        chosen, self._batch_size = self._batch_size, ROWS
        problems = []
        try:
            for sharing in Sharing:
                self._sharing = sharing
                problem = probe.problem(self, noisy=sharing is Sharing.NOTHING)
                if problem is None:
                    return
                problems.append(f"sharing {sharing.value}: {problem}")
        finally:
            self._batch_size = chosen
        raise ModelError(unproved("; ".join(problems)))

    def _sharing_for(self, positions: int) -> Sharing:
        """Return how much may be shared by sequences that end after so many positions."""
        # Behind the switch of its position encoding, what was computed for the beginning alone is another model's.
        beyond = self._limits.switch is not None and positions > self._limits.switch
        return Sharing.NOTHING if beyond else self._sharing

    def _checked_update(self, layer: int) -> nn.Module:
        block = self._blocks.modules[layer]
        return find_update_module(self._model, block, self._probe, self._update_module)

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        # A model that can't carry a unit or a reading fails before the first reply.
        for layer in {s.layer for r in requests for s in r.steers if s.dose.unit is Unit.UPDATE}:
            self._update(layer)
        kinds = {read.kind for request in requests for read in request.reads}
        if kinds & OF_LOGITS:
            self._unembedding()
        if "lens" in kinds:
            self._lens()
        groups: dict[Any, list[int]] = {}
        replays = []
        for index, request in enumerate(requests):
            if request.forced is not None:
                replays.append(index)
            else:
                key = (request.prompt.token_ids, request.sampling, request.read_layers)
                groups.setdefault(key, []).append(index)
        for indices in groups.values():
            yield from self._generate_group(requests, indices)
        yield from self._replay(requests, replays)

    def _generate_group(self, requests: Sequence[Request], indices: Sequence[int]) -> Iterator[Completion]:
        """Requests of one prompt: prefill its cells, then sample its requests, both in batches."""
        found = cells(requests, indices)
        for start in range(0, len(found), self._batch_size):
            some = found[start : start + self._batch_size]
            prefill = self._prefill(requests[indices[0]], [c.steers for c in some])
            rows = [(number, index) for number, cell in enumerate(some) for index in cell.indices]
            for first in range(0, len(rows), self._batch_size):
                yield from self._sample(requests, prefill, rows[first : first + self._batch_size])

    def _prefill(self, request: Request, rows: Sequence[Row]) -> _Prefill:
        """Run the prompt without its last token: the unsteered beginning once, the rest once per cell."""
        sharing = self._sharing_for(len(request.prompt.token_ids))
        if sharing is Sharing.NOTHING:
            return _Prefill(None, 0, _untouched(rows, 0), None)
        ids = torch.tensor([request.prompt.token_ids[:-1]], device=self._device)
        length = ids.shape[1]
        shared = min([length, *(steer.positions.start for row in rows for steer in row)])
        if sharing is Sharing.PROMPT and shared < length:
            shared = 0
        layers = request.read_layers
        cache: Any = None
        parts: list[Tensor] = []
        measured = _untouched(rows, shared)
        if shared:
            captures = _captures(layers)
            with self._session([()], 0, captures):
                cache = self._forward(ids[:, :shared], None).past_key_values
            if layers:
                parts.append(_residuals(captures).expand(-1, len(rows), -1, -1))
            cache = select(cache, [0] * len(rows))
        if shared < length:
            captures = _captures(layers)
            with self._session(rows, shared, captures) as record:
                cache = self._forward(ids[:, shared:].expand(len(rows), -1), cache).past_key_values
            if layers:
                parts.append(_residuals(captures))
            measured = _joined(measured, record.measured(length - shared))
        return _Prefill(cache, length, measured, torch.cat(parts, dim=2) if parts else None)

    def _sample(
        self, requests: Sequence[Request], prefill: _Prefill, rows: Sequence[tuple[int, int]]
    ) -> Iterator[Completion]:
        """Sample one batch; ``rows`` are (cell number, request index)."""
        batch = [requests[index] for _, index in rows]
        chosen = [cell for cell, _ in rows]
        prompt, sampling, layers = batch[0].prompt.token_ids, batch[0].sampling, batch[0].read_layers
        length, first = len(prompt), prefill.positions
        watch, told = LogitsWatch(), self._told(length)
        captures = _captures(layers)
        with self._session([r.steers for r in batch], first, captures) as record, self._neutral_defaults():
            # Not the model's own, which a checkpoint or a patch may have replaced.
            tokens: Any = GenerationMixin.generate(
                self._model,
                torch.tensor([prompt], device=self._device).expand(len(rows), -1),
                attention_mask=torch.ones((len(rows), length), dtype=torch.long, device=self._device),
                past_key_values=None if prefill.cache is None else select(prefill.cache, chosen),
                max_new_tokens=sampling.max_new_tokens,
                do_sample=False,
                logits_processor=LogitsProcessorList(
                    [watch, *told, *processors(sampling, [r.seed for r in batch], length)]
                ),
            )
        for count in told:
            count.last(tokens)
        sampled = tokens[:, length:].tolist()
        # The last sampled token is not fed back.
        measured = _joined([prefill.measured[c] for c in chosen], record.measured(tokens.shape[1] - 1 - first))
        largest = watch.largest()
        residuals = _residuals(captures) if layers else None

        def finish(number: int) -> Completion:
            cell, index = rows[number]
            request = batch[number]
            reply = self._reader.read(sampled[number], sampling.max_new_tokens, request.prompt)
            end = request.processed(len(reply.token_ids))
            receipts = self._receipts(request, measured[number], end)
            check_logits(largest[number, : len(reply.token_ids)], length, sampling.temperature)
            readings = []
            if residuals is not None:
                before = [] if prefill.residuals is None else [prefill.residuals[:, cell]]
                whole = torch.cat([*before, residuals[:, number]], dim=1)[:, :end].numpy()
                readings = [
                    whole[[layers.index(n) for n in read.layers], read.positions.start : read.positions.stop]
                    for read in request.reads
                ]
            return Completion(index, reply, receipts, readings)

        yield from failures_last([index for _, index in rows], finish)

    def _told(self, length: int) -> list[TokenCount]:
        # Only where somebody listens: counting makes a GPU wait.
        return [] if self.on_tokens is None else [TokenCount(self.on_tokens, self._reader.ends.ids, length)]

    @contextmanager
    def _neutral_defaults(self) -> Iterator[None]:
        """Replace the checkpoint's own generation defaults while we sample.

        ``generate`` fills whatever a call leaves open from them: a repetition penalty or a temperature shipped
        with a checkpoint would alter replies without standing in any spec.
        """
        from transformers import GenerationConfig

        own = self._model.generation_config
        stop = list(self._reader.ends.ids)
        self._model.generation_config = GenerationConfig(
            eos_token_id=stop or None, pad_token_id=stop[0] if stop else 0, bos_token_id=own.bos_token_id
        )
        try:
            yield
        finally:
            self._model.generation_config = own

    def _logits_of(self, streams: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        states = torch.from_numpy(streams).to(self._device, getattr(torch, self._info.dtype))
        return self._lens()(states).float().cpu().numpy()

    def _replay(self, requests: Sequence[Request], indices: Sequence[int]) -> Iterator[Completion]:
        """Feed replies again, in groups that share their unsteered, unread beginning, each reply in one pass."""
        for some in replays_alike({index: requests[index] for index in indices}):
            ids = {index: requests[index].fed for index in some}
            split = self._sharing_for(max(map(len, ids.values()))) is Sharing.PREFIX
            shared = min(common_prefix(list(ids.values())), *(beginning(requests[i]) for i in some)) if split else 0
            prefix: Any = None
            if shared:
                prefix = self._forward(torch.tensor([ids[some[0]][:shared]], device=self._device), None).past_key_values
            # Under a causal mask no token sees the padding behind it.
            for batch in batches_by_length(list(ids.values()), self._batch_size, padded=split):
                yield from self._replay_batch(requests, [some[n] for n in batch], prefix, shared)

    def _replay_batch(
        self, requests: Sequence[Request], indices: Sequence[int], prefix: Any, shared: int
    ) -> Iterator[Completion]:
        """Run what follows the first ``shared`` tokens, whose cache is ``prefix``, in one pass padded on the right."""
        batch = [requests[index] for index in indices]
        tails = [r.fed[shared:] for r in batch]
        width = max(map(len, tails))
        padded = torch.tensor([[*t, *[0] * (width - len(t))] for t in tails], device=self._device)
        reading = PassReading(batch, shared, self._lens)
        rows = [r.steers for r in batch]
        cache = None if prefix is None else select(prefix, [0] * len(batch))
        with self._session(rows, shared, reading.observers) as record:
            done = self._forward(padded, cache, keep=cache is not None)
        measured = _joined(_untouched(rows, shared), record.measured(width))
        readings = reading.found(done[0], self._unembedding)

        def finish(number: int) -> Completion:
            request = batch[number]
            reply = self._reader.forced(request.forced or (), request.prompt)
            receipts = self._receipts(request, measured[number], len(request.fed))
            return Completion(indices[number], reply, receipts, readings[number])

        yield from failures_last(indices, finish)

    def _receipts(self, request: Request, measured: Tensor, end: int) -> list[Receipt]:
        """Return the receipts of what was ``measured`` (3, steers, positions) before the position ``end``."""
        own = measured[..., :end].numpy()
        return [make_receipt(own[:, n], steer, dtype=self._info.dtype) for n, steer in enumerate(request.steers)]

    def _session(self, rows: Sequence[Row], first_position: int, observers: Mapping[int, Observer]) -> Any:
        return session(self._blocks.modules, self._update, rows, first_position, observers)

    def _forward(self, ids: Tensor, cache: Any, *, keep: bool = True) -> Any:
        """Run tokens behind a cache, without the vocabulary projection; the cache is kept in what is returned."""
        with torch.inference_mode():
            if not keep:
                return self._model.base_model(input_ids=ids, use_cache=False)
            return self._model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)


def _untouched(rows: Sequence[Row], positions: int) -> list[Tensor]:
    """Return the measurements of positions where nothing was steered: (3, its steers, positions) for each row."""
    return [torch.from_numpy(unmeasured(len(row), positions)) for row in rows]


def _joined(before: Sequence[Tensor], then: Sequence[Tensor]) -> list[Tensor]:
    return [torch.cat(pair, dim=2) for pair in zip(before, then, strict=True)]


def _captures(layers: Sequence[int]) -> dict[int, BlockCapture]:
    return {layer: BlockCapture() for layer in layers}


def _residuals(captures: Mapping[int, BlockCapture]) -> Tensor:
    """Return what was captured in a session: (layers, rows, positions, hidden_size)."""
    return torch.stack([capture.residuals() for capture in captures.values()])
