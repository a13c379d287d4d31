"""vLLM at its own speed: steering inside compiled and captured graphs, with prefix caching on."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from ...errors import CaptureError, ModelError, SilentInjectionError, explain
from ...loading import trusted
from ...measures.base import ReadKind
from .. import vllm_engine as engines
from ..base import ModelInfo
from ..hf.stopping import ReplyReader
from ..opened import OpenedInjector
from ..receipts import check_logits, make_receipt
from ..requests import Completion, Request, failures_last
from . import probe, supported
from .cells import Cells
from .flights import Flight, Places, merged, sampling_of
from .jobs import gathered, jobs_of
from .wire import KEY, Sizes, pack, unpack

_WORKER = "introspection_bench.injectors.vllm.worker.SteeringWorker"
_FIXED: engines.Fixed = {
    **engines.FIXED,
    "worker_cls": (_WORKER, "The injector needs its own worker."),
    "worker_extension_cls": ("", "An extension may alter what the worker runs."),
    "logits_processors": (None, "The injector samples by its own numbers; a processor would alter replies."),
    "kv_transfer_config": (None, "Keys and values that came from elsewhere have no receipts."),
    "enable_lora": (False, "An adapter isn't part of the model's fingerprint."),
}
#: How long a finished request waits at most until it is read together with others, in seconds; and of how many.
_PATIENCE, _TOGETHER = 0.25, 32
#: How many replies are made between two steps while others run: what a GPU's step leaves time for.
_BETWEEN = 16
#: What counts as the new tokens of a prompt that others have run already: a block of the cache.
_SHARED = 16


class VllmInjector(OpenedInjector):
    """Steers inside a vLLM engine that this object owns, by a worker of our own.

    One process holds one engine at a time. A reply depends on its own request and seed alone, up to the rounding of
    other batch shapes. Requests of one prompt and the same steers share a prefill through the prefix cache, where
    nothing is read and nothing is forced; those of other steers, and controls, never do.

    A steered position's stream is the halves' sum in the stream's dtype, plus delta cast to that dtype, rounded once;
    it is handed on as one half, the other zero. Unsteered positions keep their halves bit by bit. A replay is one
    prefill of prompt and reply. What is read behind the last block is what the engine samples from: ``reads`` of an
    open injector says what this very model can, without ``lens`` where its final norm was not found or other pipeline
    stages hold it.
    """

    name: ClassVar[str] = "vllm"
    numerics: ClassVar[int] = 1
    reads: ClassVar[frozenset[ReadKind]] = frozenset(
        ("logprobs", "likelihood", "distribution", "residuals", "cosines", "lens")
    )

    def __init__(self, engine: Any, info: ModelInfo, reader: ReplyReader) -> None:
        self._engine, self._info, self._reader = engine, info, reader
        self._tokenizer = reader.tokenizer
        config = engine.vllm_config
        self._step_tokens = int(config.scheduler_config.max_num_batched_tokens)
        self._window = int(config.scheduler_config.max_num_seqs)
        # A few more than run at once, so that a place that is left is filled in the engine's next step.
        self._most = self._window + max(1, self._window // 8)
        self._copies = int(config.parallel_config.tensor_parallel_size)
        self._limits = engines.limits_of(engine)
        sites = [json.loads(a) for a in engine.collective_rpc("introspection_sites")]
        self._places = Places(Sizes(**sites[0]["sizes"]), info.n_layers - 1)
        self._cells = Cells()
        self._next = 0
        self._flying: dict[str, Flight] = {}
        self._counts = engines.TokenCounts()
        self._ended: dict[str, Flight] = {}
        self._read: dict[str, Flight] = {}
        self._since: float | None = None
        self._updates = _updates_of(sites)
        self._check(sites)

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
        tables: Mapping[str, int] | None = None,
        engine_args: Mapping[str, Any] | None = None,
    ) -> Self:
        """Start an engine, and prove on a probe that every block of its graphs is steered and read.

        Args:
            model: a Hugging Face folder or hub id.
            tokenizer: a fast tokenizer object; by default the checkpoint's own.
            tensor_parallel_size: GPUs that share each block.
            pipeline_parallel_size: groups of GPUs that share the blocks.
            dtype: "auto" (as the checkpoint has it) or a torch name, "bfloat16".
            quantization: vLLM's name of a method; by default what the checkpoint's configuration says.
            max_model_len: most tokens of prompt and reply together; by default the model's own limit.
            max_num_seqs: most requests at once; by default vLLM's own choice.
            gpu_memory_utilization: share of each GPU's memory that vLLM may take.
            revision: a hub revision.
            trust_remote_code: whether code that comes with the checkpoint may run; it then counts in the fingerprint.
            tables: how much the workers' tables hold, by the names of :class:`.wire.Sizes`; what isn't named is chosen.
            engine_args: any other vLLM engine argument by its own name.

        Raises:
            ModelNotFoundError: a path leads nowhere.
            ModelError: vLLM can't load the model or refuses an argument, an argument would break the steering, or
                the probe was not steered or read as it should be.
            BackendUnavailableError: a version of vLLM that isn't known.
        """
        chosen = {
            "tensor_parallel_size": tensor_parallel_size,
            "pipeline_parallel_size": pipeline_parallel_size,
            "dtype": dtype,
            "quantization": quantization,
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "gpu_memory_utilization": gpu_memory_utilization,
            "revision": revision,
            "trust_remote_code": trusted(trust_remote_code),
            "additional_config": {KEY: dict(tables or {})},
        }
        with supported.without_lens():
            engine = engines.start(model, chosen, engine_args or {}, _FIXED)
        try:
            info, reader = engines.read_model(engine, model, tokenizer, quantization, engine_args or {})
            return cls(engine, info, reader)
        except BaseException:
            engines.shut_down(engine)
            raise

    def close(self) -> None:
        """Stop the engine and free its memory; the injector can't be used afterwards."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engines.shut_down(engine)

    def validate(self, request: Request) -> None:
        """Raise what is wrong with a request before anything runs.

        :class:`ModelError` for the unit ``update`` where a block can't carry it, and :class:`SpecError` for one that
        the workers' tables can't hold.
        """
        super().validate(request)
        engines.check_updates(request.steers, self._updates)
        self._places.check(request)

    def _check(self, sites: Sequence[Mapping[str, Any]]) -> None:
        """Prove the steering on a probe, and find out what this model can be read for."""
        if set(self._updates) != set(range(self._info.n_layers)):
            raise ModelError(
                explain(
                    "model",
                    required=f"blocks 0 to {self._info.n_layers - 1}",
                    got=sorted(self._updates),
                    hint="Use the torch backend.",
                )
            )
        lens = probe.prove(self, self._prove_norm) and len({tuple(b[0] for b in s["blocks"]) for s in sites}) == 1
        self._updates = _updates_of([json.loads(a) for a in self._engine.collective_rpc("introspection_sites")])
        if not lens:
            self.reads = type(self).reads - {"lens"}  # type: ignore[misc]  # the class says what any model can

    def _prove_norm(self, flight: Flight) -> bool:
        args = (flight.order.entry, flight.processed())
        return all(self._engine.collective_rpc("introspection_prove", args=args))

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        waiting = deque(enumerate(requests))
        mine: dict[str, int] = {}
        try:
            while waiting or mine:
                with engines.watched(self._engine):
                    self._submit(waiting, mine)
                    if self._flying or self._ended:
                        self._step()
                try:
                    # The rest is made while further steps run.
                    yield from self._completions(mine, _BETWEEN if self._flying else None)
                except SilentInjectionError:
                    # A reply that can't be proved costs none of those that are there already.
                    with contextlib.suppress(SilentInjectionError):
                        yield from self._completions(mine)
                    raise
        finally:
            self._abandon(mine)

    def _completions(self, mine: dict[str, int], most: int | None = None) -> Iterator[Completion]:
        """Yield what was read of some requests."""
        done = [key for key in self._read if key in mine][:most]
        indices = [mine.pop(key) for key in done]
        flights = [self._read.pop(key) for key in done]
        return failures_last(indices, lambda number: self._completion(indices[number], flights[number]))

    def _submit(self, waiting: deque[tuple[int, Request]], mine: dict[str, int]) -> None:
        """Hand to the engine what it can take up in its next step, as far as it can run and the tables can hold it.

        The rest of the host's work on requests is done while that step runs.
        """
        new, tokens = [], 0
        # An engine that stands still begins sooner with little.
        most = self._step_tokens if self._flying else self._step_tokens // 4
        while waiting and tokens < most and len(self._flying) < self._most:
            index, request = waiting[0]
            cell = self._cells.of(request)
            # Who shares a prefill with another costs a step next to nothing.
            tokens += _SHARED if cell.members or cell.proved else len(request.fed)
            flight = self._places.take(f"introspection-{self._next}", request, cell)
            if flight is None:
                break
            waiting.popleft()
            self._next += 1
            mine[flight.key] = index
            self._flying[flight.key] = flight
            new.append(flight)
        unsent, self._places.vectors.unsent = self._places.vectors.unsent, {}
        if unsent:
            values = np.stack([v.values for v in unsent.values()])
            norms = np.array([v.norm for v in unsent.values()])
            data = pack({
                "rows": np.array(list(unsent), dtype=np.int64),
                "directions": (values / norms[:, None]).astype(np.float32),
            })  # fmt: skip
            self._engine.collective_rpc("introspection_vectors", args=(data,))
        for flight in new:
            self._engine.add_request(
                flight.key,
                {"prompt_token_ids": list(flight.request.fed), "cache_salt": flight.cell.salt},
                SamplingParams(
                    n=1,
                    temperature=0,  # ours decides; a greedy request costs vLLM least
                    max_tokens=sampling_of(flight.request).max_new_tokens,
                    stop_token_ids=list(self._reader.ends.ids),
                    detokenize=False,
                    output_kind=RequestOutputKind.FINAL_ONLY,
                    extra_args=flight.order.extra_args(),
                    skip_clone=True,  # nobody else has it
                ),
            )

    def _step(self) -> None:
        """Run one step of the engine, and read what has ended, many requests at once."""
        if self._flying:
            outputs = self._engine.step()
            if self.on_tokens is not None:
                self._counts.step(self._engine, outputs, self.on_tokens)
            for output in outputs:
                # Another generator's request may finish here while that one is suspended.
                flight = self._flying.pop(output.request_id, None) if output.finished else None
                if flight is not None:
                    flight.output = output
                    self._ended[output.request_id] = flight
                    self._since = self._since or time.monotonic()
        if not self._ended:
            return
        late = self._since is not None and time.monotonic() - self._since > _PATIENCE
        if late or not self._flying or len(self._ended) >= max(1, min(_TOGETHER, self._window // 4)):
            self._take(list(self._ended.values()))
            self._since = None

    def _take(self, flights: list[Flight]) -> None:
        """Read what was measured of some requests that ended, and free their places."""
        self._measure(flights)
        # Whoever filled the cache for these may still be in flight: what it measured of the prompt is there already.
        short = [f for f in flights if f.steers and not f.cell.fill(f.measured or [])]
        others = {m: self._flying[m] for f in short for m in f.cell.members if m in self._flying}
        if others:
            self._measure(self._begun(list(others.values())))
            for flight in short:
                flight.cell.fill(flight.measured or [])
        self._gather([f for f in flights if f.request.reads])
        self._let_go(flights)
        for flight in flights:
            self._ended.pop(flight.key, None)
            self._read[flight.key] = flight

    def _begun(self, flights: list[Flight]) -> list[Flight]:
        """Return those whose first step is behind them on every worker: nothing is known of one that still waits."""
        answers = self._engine.collective_rpc("introspection_begun", args=([f.order.entry for f in flights],))
        begun = set.intersection(*map(set, answers))
        return [f for f in flights if f.order.entry in begun]

    def _measure(self, flights: list[Flight]) -> None:
        if not flights:
            return
        entries = np.array([f.order.entry for f in flights], dtype=np.int64)
        tokens = np.array([len(f.tokens) if f.output is not None else 0 for f in flights], dtype=np.int64)
        data = pack({"entries": entries, "tokens": tokens})
        answers = [unpack(a) for a in self._engine.collective_rpc("introspection_take", args=(data,))]
        merged(answers, flights)
        for flight in flights:
            if flight.steers:
                flight.cell.learn(flight.measured or [], flight.prompts())

    def _gather(self, flights: list[Flight]) -> None:
        """Read what some requests asked for."""
        if not flights:
            return
        jobs, operands = jobs_of(flights, self._info.n_layers - 1)
        answers = self._engine.collective_rpc("introspection_read", args=(pack(operands, jobs),))
        found: dict[str, npt.NDArray[Any]] = {}
        for answer in answers:
            found.update(unpack(answer)[0])
        gathered(flights, jobs, found)

    def _let_go(self, flights: list[Flight]) -> None:
        self._engine.collective_rpc("introspection_forget", args=([f.order.entry for f in flights],))
        for flight in flights:
            self._places.give_back(flight)

    def _abandon(self, mine: Mapping[str, int]) -> None:
        """Drop what a caller no longer waits for."""
        if not mine or engines.is_dead(self._engine):
            return
        flying = [self._flying.pop(key) for key in mine if key in self._flying]
        ended = [self._ended.pop(key) for key in mine if key in self._ended]
        for key in mine:
            self._read.pop(key, None)
        if flying or ended:
            # What they put into the prefix cache stays there, and so must the proof of it.
            self._measure(self._begun(flying) + ended)
            if flying:
                self._engine.abort_request([f.key for f in flying])
            self._let_go(flying + ended)

    def _completion(self, index: int, flight: Flight) -> Completion:
        request, tokens = flight.request, flight.tokens
        (sampled,) = flight.output.outputs
        if sampled.finish_reason not in ("stop", "length") or not tokens:
            raise CaptureError(
                explain(
                    f"request {index}",
                    required="a reply that ended by itself or at its limit",
                    got=f"finish_reason {sampled.finish_reason!r}, {len(tokens)} tokens",
                    hint="vLLM gave it up; nothing was recorded for it.",
                )
            )
        if request.forced is not None:
            reply = self._reader.forced(request.forced, request.prompt)
        else:
            reply = self._reader.read(tokens, request.sampling.max_new_tokens, request.prompt)
        end = request.processed(len(reply.token_ids))
        receipts = [
            make_receipt(flight.sizes(n, end), steer, dtype=self._info.dtype) for n, steer in enumerate(request.steers)
        ]
        if request.forced is None:
            assert flight.largest is not None  # noqa: S101  # for the type checker; it was measured before it got here
            largest = flight.largest[: len(reply.token_ids)]
            check_logits(largest, len(request.prompt.token_ids), request.sampling.temperature)
        readings = [self._reading(read, parts, end) for read, parts in zip(request.reads, flight.found, strict=True)]
        return Completion(index, reply, receipts, readings)

    def _reading(self, read: Any, parts: Mapping[int, npt.NDArray[np.float32]], end: int) -> npt.NDArray[np.float32]:
        """One reading: rows by layer where the kind has layers, no longer than what counts."""
        count = read.shape(end, self._info.hidden_size)[1 if read.layers else 0]
        rows = [parts[n][:count] for n in sorted(parts)]
        stacked = np.stack(rows) if read.layers else rows[0]
        return np.ascontiguousarray(stacked, dtype=np.float32)


def _updates_of(sites: Sequence[Mapping[str, Any]]) -> dict[int, tuple[str, bool]]:
    """The name of each block's class, and whether it can carry the unit ``update``."""
    return {layer: (block, able) for s in sites for layer, block, able in s["blocks"]}
