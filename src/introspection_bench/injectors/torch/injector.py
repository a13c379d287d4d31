"""Plain PyTorch: forward hooks on any Hugging Face decoder-only model, around its own ``generate``."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import GenerationMixin, LogitsProcessorList

from ...errors import ModelError, explain
from ...injection import Receipt
from ...scaffolds import RenderedPrompt, Tokenizer
from ...trials import Sampling
from ..base import Completion, Injector, Limits, ModelInfo, Request, failures_last
from ..hf.blocks import Blocks, check_residual_stream, embedding_of, find_blocks, find_update_module
from ..hf.caches import Sharing, batches_by_length, common_prefix, select
from ..hf.fingerprint import fingerprint_module
from ..hf.hooks import Row, Session, session
from ..hf.limits import limits_of
from ..hf.loading import Loaded, load
from ..hf.proving import ROWS, Probe, unproved
from ..hf.sampling import LogitsWatch, processors
from ..hf.stopping import ReplyReader, end_tokens_of
from ..hf.unchanged import Unchanged
from ..receipts import check_logits, make_receipt, unmeasured


@attrs.frozen(eq=False)
class _Cell:
    """The requests of one call that share prompt, sampling and injection, hence all work but the sampling."""

    row: Row
    indices: tuple[int, ...]


@attrs.frozen(eq=False)
class _Prefill:
    """The cache of a group's cells up to, and without, the last prompt token; and what was done on the way.

    ``measured`` (3, cells, positions), see :func:`.steering.steer`, and ``residuals`` (layers, cells, positions,
    hidden) cover those positions. Without a cache there are none, and sampling runs the whole prompt.
    """

    cache: Any
    measured: Tensor
    residuals: Tensor | None


class TorchInjector(Injector):
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
        )
        self._limits = limits_of(loaded.model.config, vocabulary)
        self._update = functools.cache(self._checked_update)
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
    def model(self) -> ModelInfo:
        """What was opened."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        tokenizer: Tokenizer = self._tokenizer
        return tokenizer

    @property
    def limits(self) -> Limits:
        """What the model's configuration and embedding allow."""
        return self._limits

    @property
    def sharing(self) -> Sharing:
        """How much work requests share on this model."""
        return self._sharing

    def _prove_sharing(self) -> None:
        """Set the most sharing under which captures and replies equal uncached passes on a probe.

        Raises :class:`ModelError` where even unshared ones don't.
        """
        probe = Probe(self._model, self._blocks.modules, self._info, self._limits)
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
        for injection in {r.injection for r in requests if r.injection is not None and r.injection.unit == "update"}:
            self._update(injection.layer)  # a model that can't carry the unit fails before the first reply
        groups: dict[tuple[tuple[int, ...], Sampling, tuple[int, ...]], list[int]] = {}
        for index, request in enumerate(requests):
            key = (request.prompt.token_ids, request.sampling, request.capture_layers)
            groups.setdefault(key, []).append(index)
        for indices in groups.values():
            yield from self._generate_group(requests, indices)

    def _generate_group(self, requests: Sequence[Request], indices: Sequence[int]) -> Iterator[Completion]:
        """Requests of one prompt: prefill its cells, then sample its requests, both in batches."""
        cells = _cells(requests, indices)
        for start in range(0, len(cells), self._batch_size):
            some = cells[start : start + self._batch_size]
            prefill = self._prefill(requests[indices[0]], [c.row for c in some])
            rows = [(number, index) for number, cell in enumerate(some) for index in cell.indices]
            for first in range(0, len(rows), self._batch_size):
                yield from self._sample(requests, some, prefill, rows[first : first + self._batch_size])

    def _prefill(self, request: Request, rows: Sequence[Row]) -> _Prefill:
        """Run the prompt without its last token: the unsteered beginning once, the rest once per cell."""
        sharing = self._sharing_for(len(request.prompt.token_ids))
        if sharing is Sharing.NOTHING:
            return _Prefill(None, torch.from_numpy(unmeasured(len(rows), 0)), None)
        ids = torch.tensor([request.prompt.token_ids[:-1]], device=self._device)
        length = ids.shape[1]
        shared = min([length, *(r.positions.start for r in rows if r.positions is not None)])
        if sharing is Sharing.PROMPT and shared < length:
            shared = 0
        layers = request.capture_layers
        cache: Any = None
        parts: list[Tensor] = []
        measured = torch.from_numpy(unmeasured(len(rows), shared))
        if shared:
            with self._session([Row(None, None)], 0, layers) as record:
                cache = self._forward(ids[:, :shared], None)
            if layers:
                parts.append(_residuals(record, layers).expand(-1, len(rows), -1, -1))
            cache = select(cache, [0] * len(rows))
        if shared < length:
            with self._session(rows, shared, layers) as record:
                cache = self._forward(ids[:, shared:].expand(len(rows), -1), cache)
            if layers:
                parts.append(_residuals(record, layers))
            measured = torch.cat([measured, record.measured(length - shared)], dim=2)
        return _Prefill(cache, measured, torch.cat(parts, dim=2) if parts else None)

    def _sample(
        self, requests: Sequence[Request], cells: Sequence[_Cell], prefill: _Prefill, rows: Sequence[tuple[int, int]]
    ) -> Iterator[Completion]:
        """Sample one batch; ``rows`` are (cell number, request index)."""
        batch = [requests[index] for _, index in rows]
        chosen = [cell for cell, _ in rows]
        prompt, sampling, layers = batch[0].prompt.token_ids, batch[0].sampling, batch[0].capture_layers
        length, first = len(prompt), prefill.measured.shape[2]
        watch = LogitsWatch()
        with self._session([cells[c].row for c in chosen], first, layers) as record, self._neutral_defaults():
            # Not the model's own, which a checkpoint or a patch may have replaced.
            tokens: Any = GenerationMixin.generate(
                self._model,
                torch.tensor([prompt], device=self._device).expand(len(rows), -1),
                attention_mask=torch.ones((len(rows), length), dtype=torch.long, device=self._device),
                past_key_values=None if prefill.cache is None else select(prefill.cache, chosen),
                max_new_tokens=sampling.max_new_tokens,
                do_sample=False,
                logits_processor=LogitsProcessorList([watch, *processors(sampling, [r.seed for r in batch], length)]),
            )
        sampled = tokens[:, length:].tolist()
        # The last sampled token is not fed back.
        here = record.measured(tokens.shape[1] - 1 - first)
        measured = torch.cat([prefill.measured[:, chosen], here], dim=2).numpy()
        largest = watch.largest()
        residuals = _residuals(record, layers) if layers else None

        def finish(number: int) -> Completion:
            cell, index = rows[number]
            reply = self._reader.read(sampled[number], sampling.max_new_tokens, batch[number].prompt)
            count = len(reply.token_ids)
            end = length + count - 1
            injection = cells[cell].row.injection
            receipt = Receipt.nothing()
            if injection is not None:
                own = measured[:, number, :end]
                receipt = make_receipt(own, length, layer=injection.layer, dtype=self._info.dtype)
            check_logits(largest[number, :count], length, sampling.temperature)
            captured = None
            if residuals is not None:
                before = [] if prefill.residuals is None else [prefill.residuals[:, cell]]
                captured = torch.cat([*before, residuals[:, number]], dim=1)[:, :end].numpy()
            return Completion(index, reply, receipt, captured)

        yield from failures_last([index for _, index in rows], finish)

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

    def _capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> npt.NDArray[np.float32]:
        """Run what all prompts begin with once, then the rest in right-padded batches.

        Under a causal mask no token sees the padding behind it, so a prompt's last token is exact. Where a model's
        caches can't be continued so, prompts are run whole, beside others of their length.
        """
        ids = [p.token_ids for p in prompts]
        split = self._sharing_for(max(map(len, ids))) is Sharing.PREFIX
        shared = common_prefix(ids) if split else 0
        prefix: Any = None
        if shared:
            prefix = self._forward(torch.tensor([ids[0][:shared]], device=self._device), None)
        found = np.empty((len(ids), len(layers), self._info.hidden_size), dtype=np.float32)
        for some in batches_by_length(ids, self._batch_size, padded=split):
            tails = [ids[n][shared:] for n in some]
            width = max(map(len, tails))
            padded = torch.tensor([[*t, *[0] * (width - len(t))] for t in tails], device=self._device)
            cache = None if prefix is None else select(prefix, [0] * len(some))
            with self._session([Row(None, None)] * len(some), shared, layers) as record:
                self._forward(padded, cache, keep=split)
            stream = _residuals(record, layers)
            last = torch.tensor([len(t) - 1 for t in tails])
            found[some] = stream[:, torch.arange(len(some)), last].transpose(0, 1).numpy()
        return found

    def _session(self, rows: Sequence[Row], first_position: int, layers: Sequence[int]) -> Any:
        return session(self._blocks.modules, self._update, rows, first_position, layers)

    def _forward(self, ids: Tensor, cache: Any, *, keep: bool = True) -> Any:
        """Run tokens behind a cache and return the cache, if it is to be kept; there is no vocabulary projection."""
        with torch.inference_mode():
            if not keep:
                self._model.base_model(input_ids=ids, use_cache=False)
                return None
            return self._model.base_model(input_ids=ids, past_key_values=cache, use_cache=True).past_key_values


def _cells(requests: Sequence[Request], indices: Sequence[int]) -> list[_Cell]:
    # By the positions as well: anchors may differ between prompts of equal tokens. Magnitude 0 is a control: no hook,
    # hence the same bits.
    members: dict[Row, list[int]] = {}
    for index in indices:
        injection, positions = requests[index].injection, requests[index].positions
        members.setdefault(Row(None if positions is None else injection, positions), []).append(index)
    return [_Cell(row, tuple(found)) for row, found in members.items()]


def _residuals(record: Session, layers: Sequence[int]) -> Tensor:
    """Return what a session captured: (layers, rows, positions, hidden_size)."""
    return torch.stack([record.captures[layer].residuals() for layer in layers])
