"""nnsight: the same steering as the torch injector, in nnsight's own idiom, on local models and on NDIF's.

One trace per batch; the traces themselves are in :mod:`~introspection_bench.injectors.nnsight.traces`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import numpy.typing as npt
import torch
from nnsight import TransformersModel
from torch import Tensor

from ...digests import digest
from ...errors import CaptureError, ModelError, explain
from ...injection import Receipt
from ...scaffolds import RenderedPrompt, Tokenizer
from ...trials import Sampling
from ..base import Completion, Injector, Limits, ModelInfo, Request, failures_last
from ..hf.blocks import (
    BranchProbe,
    check_stream_shape,
    embedding_of,
    find_blocks,
    first_that_passes,
    judge_branch,
    louder,
    update_candidates,
)
from ..hf.fingerprint import fingerprint_module, fingerprint_tokenizer, stable
from ..hf.limits import limits_of
from ..hf.loading import load, trusted
from ..hf.proving import require_proof
from ..hf.sampling import processors
from ..hf.stopping import EndTokens, ReplyReader, end_tokens_of
from ..hf.unchanged import Unchanged
from ..receipts import check_logits, make_receipt, unmeasured
from . import traces
from .ndif import Jobs, Saved, backend_for, check_remote, load_tokenizer, open_remote


@attrs.frozen(eq=False)
class _Batch:
    """Requests of one call that share prompt length, sampling and captured layers."""

    indices: tuple[int, ...]
    requests: tuple[Request, ...]
    sampling: Sampling
    layers: tuple[int, ...]
    length: int


class NnsightInjector(Injector):
    """Steers in nnsight traces, locally or on NDIF.

    A batch holds prompts of one length, so there is no padding; sampling is the torch injector's own, so that in
    float32 the same seed gives the same reply on both, but for ties within rounding. Prefill is not shared between
    requests, which makes it slower than the torch injector.
    """

    name: ClassVar[str] = "nnsight"
    numerics: ClassVar[int] = 1

    def __init__(
        self,
        model: TransformersModel,
        tokenizer: Any,
        *,
        name: str,
        fingerprint: str,
        ends: EndTokens,
        remote: bool | str = False,
        blocks: str | None = None,
        update_module: str | None = None,
        batch_size: int = 32,
        jobs: Jobs | None = None,
    ) -> None:
        if batch_size < 1:
            raise ModelError(explain("batch_size", required="at least 1", got=batch_size, hint=""))
        self._nn = model
        self._tokenizer = tokenizer
        self._reader = ReplyReader(tokenizer, ends)
        self._remote = remote
        self._jobs = jobs or Jobs(None)
        self._update_module = update_module
        self._batch_size = batch_size
        modules = find_blocks(model._module, blocks).modules
        self._envoys = {id(envoy._module): envoy for envoy in model.modules()}
        self._blocks = [self._envoys[id(module)] for module in modules]
        self._modules = modules
        self._updates: dict[int, Any] = {}
        width, dtype = self._check_blocks()
        self._limits = limits_of(model._module.config, embedding_of(model._module)[1])
        self._info = ModelInfo(name, fingerprint, len(modules), width, dtype)
        if not remote:
            require_proof(self, model._module, modules)
            self._unchanged = Unchanged(model._module)

    @classmethod
    def open(
        cls,
        model: Any,
        *,
        tokenizer: Any = None,
        dtype: str = "auto",
        device: str | None = None,
        device_map: Any = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        remote: bool | str = False,
        jobs: str | Path | None = None,
        poll_seconds: float = 2.0,
        blocks: str | None = None,
        update_module: str | None = None,
        batch_size: int = 32,
    ) -> Self:
        """Open a model here, or one that NDIF serves, and check it with one tiny trace.

        Args:
            model: a Hugging Face hub id, local folder, ``.gguf`` file, or ``PreTrainedModel`` in eval mode; with
                ``remote`` a hub id (only its configuration and tokenizer are loaded here).
            tokenizer: the tokenizer; needed beside a model object.
            dtype: "auto" or a torch name; on NDIF the server decides.
            device: "cpu", "cuda", "cuda:1"; by default CUDA where there is one.
            device_map: passed to Hugging Face for several GPUs ("auto").
            revision: a hub revision.
            trust_remote_code: whether code that comes with the checkpoint may run; it then counts in the fingerprint.
            remote: True for NDIF (key from the environment variable ``NDIF_API_KEY``), a URL for another server
                of its kind, or "local" for nnsight's simulation of it, which serialises every trace.
            jobs: a JSON file in which unfinished NDIF jobs are kept, so that a run that was killed collects them
                instead of submitting them again.
            poll_seconds: pause between two looks at the NDIF jobs that are still running.
            blocks: path of the ModuleList of decoder blocks, for architectures that are not known.
            update_module: name, within a block, of the branch that the block adds last (unit ``update``).
            batch_size: most rows of one trace, and of one NDIF job.

        Raises:
            ModelNotFoundError: the name leads nowhere.
            ModelError: it loads but can't be steered, or an option is wrong.
            BackendUnavailableError: ``remote`` without a key.
        """
        kept = Jobs(None if jobs is None else Path(jobs), poll_seconds)
        if not remote:
            loaded = load(
                model,
                tokenizer=tokenizer,
                dtype=dtype,
                device=device,
                device_map=device_map,
                revision=revision,
                trust_remote_code=trust_remote_code,
            )
            wrapped = TransformersModel(loaded.model, tokenizer=loaded.tokenizer, task="text-generation")
            name, tokenizer = loaded.name, loaded.tokenizer
            ends = end_tokens_of(loaded.model, tokenizer)
            fingerprint = fingerprint_module(loaded.model, tokenizer, stop_ids=ends.ids)
        else:
            check_remote(remote, model, {"dtype": dtype != "auto", "device": device, "device_map": device_map})
            trust = trusted(trust_remote_code)
            if tokenizer is None:
                tokenizer = load_tokenizer(str(model), revision, trust_remote_code=trust)
            wrapped = open_remote(str(model), tokenizer, revision, trust_remote_code=trust)
            name = str(model)
            # The weights are on the server; what can be known of them here is the name and the revision.
            stated = stable(wrapped._module.config.to_dict())
            ends = end_tokens_of(wrapped._module, tokenizer)
            told = [name, revision, stated, fingerprint_tokenizer(tokenizer), ends.ids, trust]
            fingerprint = digest("ndif", 3, told)
        ends.warn(tokenizer, name)
        return cls(
            wrapped,
            tokenizer,
            name=name,
            fingerprint=fingerprint,
            ends=ends,
            remote=remote,
            blocks=blocks,
            update_module=update_module,
            batch_size=batch_size,
            jobs=kept,
        )

    @property
    def model(self) -> ModelInfo:
        """What was opened; on NDIF the fingerprint covers name, revision, configuration and tokenizer alone."""
        return self._info

    @property
    def limits(self) -> Limits:
        """What the model's configuration and embedding allow."""
        return self._limits

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        tokenizer: Tokenizer = self._tokenizer
        return tokenizer

    # Generation

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for request in requests:
            if request.injection is not None and request.injection.unit == "update":
                self._update(request.injection.layer)  # a model that can't carry the unit fails before the first reply
        waiting = []
        for batch in self._batches(requests):
            keys = [self._request_key(r) for r in batch.requests]
            known = self._jobs.known(keys, lambda: backend_for(self._nn, self._remote)) if self._is_ndif else None
            saved = known or self._submit(batch, keys)
            if saved.values is None:
                waiting.append((batch, saved))
            else:
                yield from self._completions(batch, saved.values)
        for (batch, _), values in self._jobs.wait(waiting):
            yield from self._completions(batch, values)

    @property
    def _is_ndif(self) -> bool:
        return self._remote not in (False, "local")

    def _batches(self, requests: Sequence[Request]) -> Iterator[_Batch]:
        groups: dict[tuple[Sampling, tuple[int, ...], int], list[int]] = {}
        for index, request in enumerate(requests):
            key = (request.sampling, request.capture_layers, len(request.prompt.token_ids))
            groups.setdefault(key, []).append(index)
        for (sampling, layers, length), indices in groups.items():
            for start in range(0, len(indices), self._batch_size):
                some = indices[start : start + self._batch_size]
                yield _Batch(tuple(some), tuple(requests[i] for i in some), sampling, layers, length)

    def _submit(self, batch: _Batch, keys: Sequence[str]) -> Saved:
        """Trace one batch; on NDIF this returns as soon as the job is accepted."""
        stations = self._stations(batch)
        encoding = traces.encode([r.prompt.token_ids for r in batch.requests])
        backend = backend_for(self._nn, self._remote)
        options = {
            "generation_config": traces.generation_config(self._reader.ends.ids, batch.sampling.max_new_tokens),
            "logits_processor": processors(batch.sampling, [r.seed for r in batch.requests], batch.length),
        }
        with self._neutral_defaults():
            values = traces.steer(self._nn, backend, stations, encoding, options)
        return self._jobs.add(backend, keys) if self._is_ndif else Saved(values)

    def _stations(self, batch: _Batch) -> list[Any]:
        """Return what is to be done at which block: see :func:`.nnsight_traces.steer`."""
        steered: dict[int, list[int]] = {}
        for row, request in enumerate(batch.requests):
            # Magnitude 0 is a control: nothing is added, hence the same bits.
            if request.injection is not None and request.injection.magnitude != 0:
                steered.setdefault(request.injection.layer, []).append(row)
        stations = []
        for layer in sorted({*steered, *batch.layers}):
            rows = steered.get(layer, [])
            plan = traces.make_plan({r: batch.requests[r] for r in rows}) if rows else None
            units = {injection.unit for r in rows if (injection := batch.requests[r].injection) is not None}
            branch = self._update(layer) if "update" in units else None
            stations.append((self._blocks[layer], branch, plan, layer in batch.layers))
        return stations

    def _completions(self, batch: _Batch, saved: dict[str, Any]) -> Iterator[Completion]:
        """Turn what a trace saved into completions."""
        sampled = saved["tokens"][:, batch.length :].tolist()
        steps = len(sampled[0])
        positions = batch.length + steps - 1
        measured = unmeasured(len(batch.requests), positions)
        plans = [plan for _, _, plan, _ in self._stations(batch) if plan is not None]
        for number, (rows, *_) in enumerate(plans):
            measured[:, rows.numpy()] = _joined([p[number] for p in saved["measured"]], positions, "measurements", 2)
        captured = sorted(set(batch.layers))
        streams = [_joined([p[n] for p in saved["streams"]], positions, "residuals", 1) for n in range(len(captured))]
        largest = _joined([p[:, None] for p in saved["largest"]], steps, "largest logits", 1).numpy()

        def finish(row: int) -> Completion:
            request = batch.requests[row]
            reply = self._reader.read(sampled[row], batch.sampling.max_new_tokens, request.prompt)
            count = len(reply.token_ids)
            end = batch.length + count - 1
            receipt, injection = Receipt.nothing(), request.injection
            if injection is not None:
                own = measured[:, row, :end]
                receipt = make_receipt(own, batch.length, layer=injection.layer, dtype=self._info.dtype)
            check_logits(largest[row, :count], batch.length, batch.sampling.temperature)
            residuals = None
            if batch.layers:
                residuals = np.stack([streams[captured.index(layer)][row, :end].numpy() for layer in batch.layers])
            return Completion(batch.indices[row], reply, receipt, residuals)

        yield from failures_last(batch.indices, finish)

    @contextmanager
    def _neutral_defaults(self) -> Iterator[None]:
        """Replace the checkpoint's own generation defaults of a local model while we sample."""
        module = self._nn._module
        own = module.generation_config
        module.generation_config = traces.generation_config(self._reader.ends.ids)
        try:
            yield
        finally:
            module.generation_config = own

    def _request_key(self, request: Request) -> str:
        """Everything that decides a request's answer: under this an NDIF job's row is found again."""
        injection, where, steered = request.injection, request.positions, None
        if injection is not None and where is not None:
            steered = [injection.vector.digest, injection.layer, injection.magnitude, injection.unit.value]
            steered += [where.start, where.stop]
        sampling = attrs.asdict(request.sampling)
        asked = [list(request.prompt.token_ids), steered, sampling, request.seed, list(request.capture_layers)]
        return digest("ndif_request", 1, [self._info.fingerprint, str(self._remote), asked])

    # Capture and checks

    def _capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> npt.NDArray[np.float32]:
        found = np.empty((len(prompts), len(layers), self._info.hidden_size), dtype=np.float32)
        requests = [Request(p, None, Sampling(0.0, max_new_tokens=1), 0, layers) for p in prompts]
        for completion in self._generate(requests):
            if completion.residuals is None:
                raise CaptureError(explain("capture", required="residuals", got=None, hint="The trace saved nothing."))
            found[completion.index] = completion.residuals[:, -1]
        return found

    def _update(self, layer: int) -> Any:
        """Return the envoy of the block's MLP branch, checked once to be what the block adds last."""
        if layer not in self._updates:
            candidates = update_candidates(self._modules[layer], self._update_module)
            envoys = {name: self._envoys[id(module)] for name, module in candidates.items()}
            self._updates[layer] = first_that_passes(envoys, lambda branch: self._check_branch(branch, layer))
        return self._updates[layer]

    def _check_branch(self, branch: Any, layer: int) -> None:
        """Judge a branch by four traces, as :func:`.blocks.check_update_module` does with hooks."""

        def run(**changes: Tensor) -> tuple[Tensor, Tensor]:
            update, whole = self._result(traces.read_branch, branch, self._blocks[layer], **changes)
            if update.numel() != whole.numel():
                raise ModelError(
                    explain(
                        "unit 'update'",
                        required="a branch that returns one vector for each position",
                        got=f"{branch.path}, which returns the shape {tuple(update.shape)}",
                        hint="Name the right module by update_module=…, or use the unit 'residual'.",
                    )
                )
            return update.reshape(whole.shape), whole

        update, whole = run()
        loud = louder(whole)
        _, without = run(put=torch.zeros_like(whole))
        _, replaced = run(put=loud)
        answer, _ = run(given=loud)
        probe = BranchProbe(whole, update, without, replaced, answer, loud)
        judge_branch(probe, str(branch.path), getattr(torch, self._info.dtype))

    def _check_blocks(self) -> tuple[int, str]:
        """Check in a trace that each block's output is the next one's input; return width and dtype.

        Raises :class:`ModelError` where it is not: then the blocks are not those of the residual stream.
        """
        seen = self._result(traces.read_blocks, self._blocks)
        wrong = [n for n, (same, _, _) in enumerate(seen) if not same]
        if wrong or len(seen) != len(self._blocks):
            raise ModelError(
                explain(
                    "blocks",
                    required="blocks whose outputs are the next one's input (the residual stream)",
                    got=f"another tensor behind {wrong}, {len(seen)} of {len(self._blocks)} ran",
                    hint="Pass the right path: open_injector('nnsight', model, blocks='path.to.layers').",
                )
            )
        _, shape, dtype = seen[0]
        check_stream_shape(shape, positions=3)
        return shape[-1], dtype.removeprefix("torch.")

    def _result(self, trace: Any, *subjects: Any, **options: Any) -> Any:
        """Run a small trace that saves one value called ``found``, and wait for it wherever it runs."""
        backend = backend_for(self._nn, self._remote)
        found = trace(self._nn, backend, *subjects, **options)
        return self._jobs.result(backend)["found"] if self._is_ndif else found


def _joined(parts: Sequence[Tensor], length: int, what: str, axis: int) -> Tensor:
    """Join the passes' tensors along their axis of positions; there must be exactly as many as were processed."""
    joined = torch.cat(list(parts), dim=axis) if parts else torch.empty(0, 0, 0)
    if joined.shape[axis] != length:
        raise CaptureError(
            explain(
                f"{what} of the trace",
                required=f"{length} positions",
                got=joined.shape[axis],
                hint="The trace did not visit every pass; nothing was recorded.",
            )
        )
    return joined
