"""vLLM with vllm-lens: steering at serving speed, tensor and pipeline parallel, quantised checkpoints."""

from __future__ import annotations

import functools
import itertools
import json
import pickle
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm_lens import Hook

from ...errors import CaptureError, ModelError, explain
from ...injection import Injection, Positions, Receipt, Unit
from ...scaffolds import RenderedPrompt, Tokenizer
from ...trials import Sampling
from ..base import Completion, Injector, Limits, ModelInfo, Request, failures_last
from ..hf.loading import trusted
from ..hf.stopping import ReplyReader
from ..receipts import check_logits, make_receipt
from . import engine as engines
from .records import LayerRecord, merge_ranks
from .sampling import as_extra_args
from .worker import Steering


class VllmLensInjector(Injector):
    """Steers through vllm-lens hooks inside a vLLM engine that this object owns.

    One process holds one engine at a time. A reply depends on its own request and seed alone, up to the rounding
    of other batch shapes, which vLLM changes from step to step: in float32 a sampled token differs between batches
    only where two tokens are within rounding of each other, in bfloat16 more often.

    In models that carry the stream in two halves (most of vLLM's), a steered position's stream is the halves' sum
    in the stream's dtype, plus delta cast to that dtype, rounded once; it is handed on as one half, the other zero.
    Unsteered positions keep their own halves bit by bit.
    """

    name: ClassVar[str] = "vllm-lens"
    numerics: ClassVar[int] = 1

    def __init__(self, engine: Any, info: ModelInfo, reader: ReplyReader, copies: int) -> None:
        self._engine = engine
        self._info = info
        self._tokenizer = reader.tokenizer
        self._copies = copies
        config = engine.vllm_config
        self._window = int(config.scheduler_config.max_num_seqs)
        self._longest = int(config.model_config.max_model_len)
        self._reader = reader
        # Positions are vLLM's own affair: max_model_len.
        self._limits = Limits(vocabulary=int(config.model_config.get_vocab_size()))
        self._keys = itertools.count()
        self._flying: set[str] = set()
        self._done: dict[str, Any] = {}
        self._updates: dict[int, tuple[str, bool]] = {}
        try:
            engine.collective_rpc("install_hooks")
        except Exception as error:  # what a worker raises arrives as a plain Exception where workers are processes
            raise ModelError(
                explain(
                    "model",
                    required="an architecture whose blocks vllm-lens can find",
                    got=f"{type(error).__name__}: {error}",
                    hint="Use the torch backend.",
                )
            ) from error
        self._check()

    @classmethod
    def open(
        cls,
        model: Any,
        *,
        tokenizer: Any = None,
        tensor_parallel_size: int = 1,
        pipeline_parallel_size: int = 1,
        dtype: str = "auto",
        quantization: str | None = None,
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        gpu_memory_utilization: float | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        engine_args: Mapping[str, Any] | None = None,
    ) -> Self:
        """Start an engine, and check with one forward pass that the hooks see every block.

        Args:
            model: a Hugging Face folder or hub id.
            tokenizer: a fast tokenizer object; by default the checkpoint's own.
            tensor_parallel_size: GPUs that share each block.
            pipeline_parallel_size: groups of GPUs that share the blocks.
            dtype: "auto" (as the checkpoint has it) or a torch name, "bfloat16".
            quantization: vLLM's name of a method; by default what the checkpoint's configuration says.
            max_model_len: most tokens of prompt and reply together; by default the model's own limit.
            max_num_seqs: most requests at once (64 by default: vllm-lens's work per step grows with its square).
            gpu_memory_utilization: share of each GPU's memory that vLLM may take.
            revision: a hub revision.
            trust_remote_code: whether code that comes with the checkpoint may run; it then counts in the fingerprint.
            engine_args: any other vLLM engine argument by its own name.

        Raises:
            ModelNotFoundError: a path leads nowhere.
            ModelError: vLLM can't load the model or refuses an argument, an argument would break the steering, or
                the model's blocks can't be hooked.
        """
        chosen = {
            "tensor_parallel_size": tensor_parallel_size,
            "pipeline_parallel_size": pipeline_parallel_size,
            "dtype": dtype,
            "quantization": quantization,
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs or engines.DEFAULT_SEQUENCES,
            "gpu_memory_utilization": gpu_memory_utilization,
            "revision": revision,
            "trust_remote_code": trusted(trust_remote_code),
        }
        engine = engines.start(model, chosen, engine_args or {})
        try:
            config = engine.vllm_config.model_config
            tokenizer = engines.load_tokenizer(config) if tokenizer is None else tokenizer
            reader = ReplyReader(tokenizer, engines.find_ends(config, tokenizer))
            info = engines.describe(model, config, reader, quantization, engine_args or {})
            reader.ends.warn(tokenizer, info.name)
            return cls(engine, info, reader, tensor_parallel_size)
        except BaseException:
            engines.shut_down(engine)
            raise

    @property
    def model(self) -> ModelInfo:
        """What was opened."""
        return self._info

    @property
    def limits(self) -> Limits:
        """Which token ids the embedding has."""
        return self._limits

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        tokenizer: Tokenizer = self._tokenizer
        return tokenizer

    def close(self) -> None:
        """Stop the engine and free its memory; the injector can't be used afterwards."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engines.shut_down(engine)

    def validate(self, request: Request) -> None:
        """Raise what is wrong with a request, vLLM's own limits included, before anything runs."""
        super().validate(request)
        tokens = len(request.prompt.token_ids) + request.sampling.max_new_tokens
        if tokens > self._longest:
            raise ModelError(
                explain(
                    "prompt and max_new_tokens",
                    required=f"at most {self._longest} tokens together (max_model_len)",
                    got=tokens,
                    hint="vLLM would end the reply early; open with a larger max_model_len or ask for fewer tokens.",
                )
            )
        injection = request.injection
        if injection is not None and injection.unit is Unit.UPDATE:
            block, able = self._updates[injection.layer]
            if not able:
                raise ModelError(
                    explain(
                        "unit 'update'",
                        required="a block that hands on its MLP's output apart from the residual",
                        got=f"{block}, which returns their sum",
                        hint="Use the unit 'residual', or the torch backend.",
                    )
                )

    def _check(self) -> None:
        """Run one token with every block read; find out which blocks can carry the unit ``update``."""
        layers = tuple(range(self._info.n_layers))
        self._updates = dict.fromkeys(layers, ("", False))
        try:
            shape: tuple[int, ...] | str = self._capture([RenderedPrompt((0,), "")], layers).shape
        except ValueError as error:  # of another width than the configuration says
            shape = str(error)
        sampled = True
        for answer in self._engine.collective_rpc("introspection_sites"):
            found = json.loads(answer)
            self._updates.update({layer: (block, able) for layer, block, able in found["blocks"]})
            sampled = sampled and found["sampler"]
        expected = (1, len(layers), self._info.hidden_size)
        if shape != expected or not sampled:
            raise ModelError(
                explain(
                    "model",
                    required=f"blocks whose outputs are the residual stream, {expected}, and our own sampler",
                    got=f"{shape}, sampler installed: {sampled}",
                    hint="vllm-lens can't hook this architecture; use the torch backend.",
                )
            )

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        waiting = deque(enumerate(requests))
        mine: dict[str, int] = {}
        try:
            while waiting or mine:
                while waiting and len(self._flying) < self._window:
                    index, request = waiting.popleft()
                    mine[self._submit(request, 0)] = index
                ended = self._finished(mine)
                finish = functools.partial(self._completion, requests, mine, ended)
                yield from failures_last([mine[key] for key, _ in ended], finish)
        finally:
            self._abandon(mine)

    def _capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> npt.NDArray[np.float32]:
        """Run each prompt once and read its last token at all layers."""
        distinct = tuple(dict.fromkeys(layers))
        waiting = deque(enumerate(prompts))
        mine: dict[str, int] = {}
        found = np.full((len(prompts), len(layers), self._info.hidden_size), np.nan, dtype=np.float32)
        try:
            while waiting or mine:
                while waiting and len(self._flying) < self._window:
                    index, prompt = waiting.popleft()
                    request = Request(prompt, None, Sampling(0.0, max_new_tokens=1), capture_layers=distinct)
                    self.validate(request)
                    mine[self._submit(request, len(prompt.token_ids) - 1)] = index
                for key, _ in self._finished(mine):
                    index = mine.pop(key)
                    length = len(prompts[index].token_ids)
                    records = self._records(key)
                    self._largest(key)  # no token of it is kept; only to be forgotten
                    for column, layer in enumerate(layers):
                        found[index, column] = _at(records, layer).residuals(length - 1, length)[0]
        finally:
            self._abandon(mine)
        return found

    def _submit(self, request: Request, capture_from: int) -> str:
        """Hand a request to the engine under an id of its own; return the id."""
        # vllm-lens matches ids by prefix: a fixed width keeps "1" from matching "10".
        key = f"{next(self._keys):016x}"
        injection = _effective(request)
        if injection is not None or request.capture_layers:
            self._send_hook(key, injection, request.positions, request.capture_layers, capture_from)
        self._flying.add(key)
        self._engine.add_request(
            key,
            {"prompt_token_ids": list(request.prompt.token_ids)},
            # New parameters for every request: vllm-lens and vLLM both write into them.
            SamplingParams(
                n=1,
                temperature=0,  # greedy over what SeededSampling leaves
                max_tokens=request.sampling.max_new_tokens,
                stop_token_ids=list(self._reader.ends.ids),
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
                extra_args=as_extra_args(key, request.sampling, request.seed),
            ),
        )
        return key

    def _send_hook(
        self,
        key: str,
        injection: Injection | None,
        positions: Positions | None,
        capture_layers: tuple[int, ...],
        capture_from: int,
    ) -> None:
        steering = Steering(key, injection, positions, capture_layers, capture_from)
        hooks = [Hook(fn=steering, layer_indices=steering.layers)]
        self._engine.collective_rpc("set_hook_data", args=(key, pickle.dumps(hooks)))

    def _finished(self, mine: Mapping[str, int]) -> list[tuple[str, Any]]:
        """Run one step of the engine unless some of ``mine`` are done already; return those that are."""
        if not any(key in self._done for key in mine):
            for output in self._engine.step():
                # Another generator's request may finish here while that one is suspended.
                if output.finished and output.request_id in self._flying:
                    self._flying.discard(output.request_id)
                    self._done[output.request_id] = output
        return [(key, self._done.pop(key)) for key in list(mine) if key in self._done]

    def _abandon(self, mine: Mapping[str, int]) -> None:
        """Drop what a caller no longer waits for."""
        if not mine or self._engine is None:
            return
        flying = [key for key in mine if key in self._flying]
        self._flying.difference_update(flying)
        if flying:
            self._engine.abort_request(flying)
        for key in mine:
            self._done.pop(key, None)
            self._engine.collective_rpc("introspection_forget", args=(key,))

    def _records(self, key: str) -> dict[int, LayerRecord]:
        answers = self._engine.collective_rpc("introspection_take", args=(key,))
        # vllm-lens packs ctx.saved with pickle; the bytes come from this engine's own workers.
        ranks = [None if a is None else pickle.loads(a)["0"] for a in answers]  # noqa: S301  # as above
        return merge_ranks(ranks, self._copies)

    def _largest(self, key: str) -> npt.NDArray[np.float32]:
        """The largest logit behind each token of a request; every worker that samples tells the same."""
        answers = self._engine.collective_rpc("introspection_logits", args=(key,))
        found = [largest for answer in answers for largest in json.loads(answer)]
        if not found:
            raise CaptureError(
                explain(
                    "sampler",
                    required="the largest logit behind each token",
                    got="none from any worker",
                    hint="Our sampler did not run; nothing was recorded.",
                )
            )
        return np.array(found[0], dtype=np.float32)

    def _completion(
        self, requests: Sequence[Request], mine: dict[str, int], ended: Sequence[tuple[str, Any]], number: int
    ) -> Completion:
        """The completion of one request that ended, which is then no longer one of ``mine``."""
        key, output = ended[number]
        index = mine.pop(key)
        request = requests[index]
        largest = self._largest(key)
        (sampled,) = output.outputs
        tokens = tuple(int(t) for t in sampled.token_ids)
        if sampled.finish_reason not in ("stop", "length") or not tokens:
            raise CaptureError(
                explain(
                    f"request {index}",
                    required="a reply that ended by itself or at its limit",
                    got=f"finish_reason {sampled.finish_reason!r}, {len(tokens)} tokens",
                    hint="vLLM gave it up; nothing was recorded for it.",
                )
            )
        length = len(request.prompt.token_ids)
        end = length + len(tokens) - 1
        injection = _effective(request)
        records = self._records(key) if injection is not None or request.capture_layers else {}
        receipt = Receipt.nothing()
        if injection is not None:
            sizes = _at(records, injection.layer).sizes(end)
            receipt = make_receipt(sizes, length, layer=injection.layer, dtype=self._info.dtype)
        check_logits(largest[: len(tokens)], length, request.sampling.temperature)
        residuals = None
        if request.capture_layers:
            residuals = np.stack([_at(records, layer).residuals(0, end) for layer in request.capture_layers])
        reply = self._reader.read(tokens, request.sampling.max_new_tokens, request.prompt)
        return Completion(index, reply, receipt, residuals)


def _effective(request: Request) -> Injection | None:
    """Magnitude 0 is a control: no hook, hence the same bits."""
    return None if request.positions is None else request.injection


def _at(records: Mapping[int, LayerRecord], layer: int) -> LayerRecord:
    """The record of a layer, or an empty one where no hook reported: its receipt then proves nothing."""
    return records.get(layer, LayerRecord(0, 0, (), ()))
