"""vLLM with vllm-lens: steering at serving speed, tensor and pipeline parallel, quantised checkpoints."""

from __future__ import annotations

import contextlib
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

from ...errors import CaptureError, ModelError, SilentInjectionError, explain
from ...identity import Sampling
from ...loading import trusted
from ...measures.base import Read, ReadKind
from ...prompts import RenderedPrompt
from ...spans import Positions
from ...trials import Reply
from .. import vllm_engine as engines
from ..base import ModelInfo
from ..hf.stopping import ReplyReader
from ..opened import OpenedInjector
from ..receipts import check_logits, make_receipt
from ..requests import Completion, Request, failures_last
from .hook import Steering
from .records import LayerRecord, gather, merge_ranks
from .sampling import as_extra_args

#: What is run in a replay: everything that is fed, and one token that nobody looks at.
_REPLAYED = Sampling(0.0, max_new_tokens=1)
_PROBE = RenderedPrompt((0,), "")
#: Fills the engine, while vllm-lens's work per step, which grows with the square of it, stays small.
DEFAULT_SEQUENCES = 64
_EXTENSION = "introspection_bench.injectors.vllm_lens.worker.SteeringExtension"
_SAMPLER = "introspection_bench.injectors.vllm_lens.sampling:SeededSampling"
_FIXED: engines.Fixed = {
    **engines.FIXED,
    "enable_prefix_caching": (
        False,
        "Steered requests write their keys and values to the prefix cache under the plain token hashes, and a later "
        "control with the same prompt would read them.",
    ),
    "enforce_eager": (True, "Compiled graphs skip the hooks."),
    "worker_extension_cls": (_EXTENSION, "The injector needs its own worker extension."),
    "logits_processors": ([_SAMPLER], "The injector samples by one of its own; another one would alter replies."),
}


class VllmLensInjector(OpenedInjector):
    """Steers through vllm-lens hooks inside a vLLM engine that this object owns.

    One process holds one engine at a time. A reply depends on its own request and seed alone, up to the rounding
    of other batch shapes, which vLLM changes from step to step: in float32 a sampled token differs between batches
    only where two tokens are within rounding of each other, in bfloat16 more often.

    In models that carry the stream in two halves (most of vLLM's), a steered position's stream is the halves' sum
    in the stream's dtype, plus delta cast to that dtype, rounded once; it is handed on as one half, the other zero.
    Unsteered positions keep their own halves bit by bit.

    A replay is one prefill of prompt and reply, so that its rounding is that of a prefill. What is read behind the last
    block is what the engine samples from: its own final hidden states and logits. ``reads`` of an open injector says
    what this very model can: without ``lens`` where its final norm was not found or other pipeline stages hold it, and
    without ``logprobs`` and ``likelihood`` where what leaves the model is not its final hidden states.
    """

    name: ClassVar[str] = "vllm-lens"
    numerics: ClassVar[int] = 1
    reads: ClassVar[frozenset[ReadKind]] = frozenset(
        ("logprobs", "likelihood", "distribution", "residuals", "cosines", "lens")
    )

    def __init__(self, engine: Any, info: ModelInfo, reader: ReplyReader, copies: int) -> None:
        self._engine = engine
        self._info = info
        self._tokenizer = reader.tokenizer
        self._copies = copies
        config = engine.vllm_config
        self._window = int(config.scheduler_config.max_num_seqs)
        self._reader = reader
        self._limits = engines.limits_of(engine)
        self._keys = itertools.count()
        self._flying: set[str] = set()
        self._counts = engines.TokenCounts()
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
            "max_num_seqs": max_num_seqs or DEFAULT_SEQUENCES,
            "gpu_memory_utilization": gpu_memory_utilization,
            "revision": revision,
            "trust_remote_code": trusted(trust_remote_code),
        }
        engine = engines.start(model, chosen, engine_args or {}, _FIXED)
        try:
            info, reader = engines.read_model(engine, model, tokenizer, quantization, engine_args or {})
            return cls(engine, info, reader, tensor_parallel_size)
        except BaseException:
            engines.shut_down(engine)
            raise

    def close(self) -> None:
        """Stop the engine and free its memory; the injector can't be used afterwards."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engines.shut_down(engine)

    def validate(self, request: Request) -> None:
        """Raise what is wrong with a request before anything runs: the unit ``update`` where a block can't carry it."""
        super().validate(request)
        engines.check_updates(request.steers, self._updates)

    def _check(self) -> None:
        """Run one token with every block and the end read; find out what this model can carry and be read for."""
        layers = tuple(range(self._info.n_layers))
        try:
            shape: tuple[int, ...] | str = self._capture([_PROBE], layers).shape
        except ValueError as error:  # of another width than the configuration says
            shape = str(error)
        with contextlib.suppress(SilentInjectionError):  # what leaves this model can't be read
            end = Read("logprobs", Positions(0, 1, 1), sets=((0,),))
            list(self._generate([Request(_PROBE, (), _REPLAYED, forced=(), reads=(end,))]))
        answers = [json.loads(a) for a in self._engine.collective_rpc("introspection_sites")]
        self._updates = {layer: (block, able) for a in answers for layer, block, able in a["blocks"]}
        expected = (1, len(layers), self._info.hidden_size)
        sampled = all(a["sampler"] for a in answers)
        if shape != expected or not sampled or set(self._updates) != set(layers):
            raise ModelError(
                explain(
                    "model",
                    required=f"blocks whose outputs are the residual stream, {expected}, and our own sampler",
                    got=f"{shape}, sampler installed: {sampled}",
                    hint="vllm-lens can't hook this architecture; use the torch backend.",
                )
            )
        lacking: set[ReadKind] = set()
        if not any(a["ends"] for a in answers):
            lacking |= {"logprobs", "likelihood", "distribution", "lens"}
        if not all(a["lens"] for a in answers):
            lacking.add("lens")
        self.reads = type(self).reads - lacking  # type: ignore[misc]  # the class says what any model can

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        waiting = deque(enumerate(requests))
        mine: dict[str, int] = {}
        try:
            while waiting or mine:
                with engines.watched(self._engine):
                    while waiting and len(self._flying) < self._window:
                        index, request = waiting.popleft()
                        mine[self._submit(request)] = index
                    ended = self._finished(mine)
                finish = functools.partial(self._completion, requests, mine, ended)
                yield from failures_last([mine[key] for key, _ in ended], finish)
        finally:
            self._abandon(mine)

    def _submit(self, request: Request) -> str:
        """Hand a request to the engine under an id of its own; return the id."""
        # vllm-lens matches ids by prefix: a fixed width keeps "1" from matching "10".
        key = f"{next(self._keys):016x}"
        if request.steers or request.reads:
            self._send_hook(key, request)
        self._flying.add(key)
        sampling = _sampling(request)
        self._engine.add_request(
            key,
            {"prompt_token_ids": list(request.fed)},
            # New parameters for every request: vllm-lens and vLLM both write into them.
            SamplingParams(
                n=1,
                temperature=0,  # greedy over what SeededSampling leaves
                max_tokens=sampling.max_new_tokens,
                stop_token_ids=list(self._reader.ends.ids),
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
                extra_args=as_extra_args(key, sampling, request.seed),
            ),
        )
        return key

    def _send_hook(self, key: str, request: Request) -> None:
        steering = Steering(key, request, self._info.n_layers - 1)
        hooks = [Hook(fn=steering, layer_indices=steering.layers)]
        self._engine.collective_rpc("set_hook_data", args=(key, pickle.dumps(hooks)))

    def _finished(self, mine: Mapping[str, int]) -> list[tuple[str, Any]]:
        """Run one step of the engine unless some of ``mine`` are done already; return those that are."""
        if not any(key in self._done for key in mine):
            outputs = self._engine.step()
            if self.on_tokens is not None:
                self._counts.step(self._engine, outputs, self.on_tokens)
            for output in outputs:
                # Another generator's request may finish here while that one is suspended.
                if output.finished and output.request_id in self._flying:
                    self._flying.discard(output.request_id)
                    self._done[output.request_id] = output
        return [(key, self._done.pop(key)) for key in list(mine) if key in self._done]

    def _abandon(self, mine: Mapping[str, int]) -> None:
        """Drop what a caller no longer waits for."""
        if not mine or engines.is_dead(self._engine):
            return
        flying = [key for key in mine if key in self._flying]
        self._flying.difference_update(flying)
        if flying:
            self._engine.abort_request(flying)
        for key in mine:
            self._done.pop(key, None)
            self._engine.collective_rpc("introspection_forget", args=(key,))

    def _told(self, method: str, key: str) -> list[Any]:
        """What every worker says of a request."""
        with engines.watched(self._engine):
            answers: list[Any] = self._engine.collective_rpc(method, args=(key,))
            return answers

    def _records(self, key: str) -> dict[int, LayerRecord]:
        answers = self._told("introspection_take", key)
        # vllm-lens packs ctx.saved with pickle; the bytes come from this engine's own workers.
        ranks = [None if a is None else pickle.loads(a)["0"] for a in answers]  # noqa: S301  # as above
        return merge_ranks(ranks, self._copies)

    def _largest(self, key: str) -> npt.NDArray[np.float32]:
        """The largest logit behind each token of a request; every worker that samples tells the same."""
        answers = self._told("introspection_logits", key)
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
        records = self._records(key) if request.steers or request.reads else {}
        reply = self._reply(request, tokens, largest)
        end = request.processed(len(reply.token_ids))
        receipts = [
            make_receipt(_at(records, steer.layer).sizes(number, end), steer, dtype=self._info.dtype)
            for number, steer in enumerate(request.steers)
        ]
        settled = {"processed": end, "last": self._info.n_layers - 1, "width": self._info.hidden_size}
        readings = [gather(records, number, read, **settled) for number, read in enumerate(request.reads)]
        return Completion(index, reply, receipts, readings)

    def _reply(self, request: Request, tokens: Sequence[int], largest: npt.NDArray[np.float32]) -> Reply:
        """The reply of a request: what was sampled, or what was replayed."""
        if request.forced is not None:
            return self._reader.forced(request.forced, request.prompt)
        check_logits(largest[: len(tokens)], len(request.prompt.token_ids), request.sampling.temperature)
        return self._reader.read(tokens, request.sampling.max_new_tokens, request.prompt)


def _sampling(request: Request) -> Sampling:
    return request.sampling if request.forced is None else _REPLAYED


def _at(records: Mapping[int, LayerRecord], layer: int) -> LayerRecord:
    """The record of a layer, or an empty one where no hook reported: its receipt then proves nothing."""
    return records.get(layer, LayerRecord())
