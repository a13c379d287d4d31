"""nnsight: the same steering as the torch injector, in nnsight's own idiom, on local models and on NDIF's.

One trace per batch; the traces themselves are in :mod:`~introspection_bench.injectors.nnsight.traces`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from nnsight import TransformersModel
from torch import Tensor

from ...digests import digest
from ...doses import Unit
from ...errors import ModelError, explain
from ...identity import Sampling
from ...loading import load, trusted
from ...measures.base import Read, ReadKind
from ...prompts import RenderedPrompt
from ...spans import Positions
from ..base import ModelInfo
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
from ..hf.proving import ROUNDING, apart, require_proof
from ..hf.sampling import processors
from ..hf.stopping import EndTokens, ReplyReader, end_tokens_of
from ..hf.telling import facts_of
from ..hf.unchanged import Unchanged
from ..opened import OpenedInjector
from ..requests import Completion, Request
from . import traces
from .batches import Batch, batches, completions, kept_logits, told_groups, told_stations
from .lens import final_norms, finished, judge_lens, softcap_of, unembedding_of
from .ndif import Jobs, Saved, backend_for, check_remote, load_tokenizer, open_remote, request_key


class NnsightInjector(OpenedInjector):
    """Steers in nnsight traces, locally or on NDIF (fingerprint there: name, revision, configuration, tokenizer).

    A batch holds prompts of one length, so there is no padding; sampling is the torch injector's own, so that in
    float32 the same seed gives the same reply on both, but for ties within rounding. Prefill is not shared between
    requests, which makes it slower than the torch injector.
    """

    name: ClassVar[str] = "nnsight"
    numerics: ClassVar[int] = 1
    reads: ClassVar[frozenset[ReadKind]] = frozenset(
        ("logprobs", "likelihood", "distribution", "residuals", "cosines", "lens")
    )

    def __init__(
        self,
        model: TransformersModel,
        tokenizer: Any,
        *,
        name: str,
        fingerprint: str,
        ends: EndTokens,
        quantisation: str | None = None,
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
        self._found = find_blocks(model._module, blocks)
        self._modules = self._found.modules
        # Envoys by the modules that they have now: a remote model's are replaced when it is first used.
        self._envoys = {id(envoy._module): envoy for envoy in model.modules()}
        self._whole = model._module
        self._blocks = [self._envoys[id(module)] for module in self._modules]
        self._update = functools.cache(self._find_update)
        self._lens = functools.cache(self._find_lens)
        self._pads = functools.cache(self._prove_padding)
        self._keeps_logits = "logits_to_keep" in inspect.signature(type(model._module).forward).parameters
        width, dtype = self._check_blocks()
        self._limits = limits_of(model._module.config, embedding_of(model._module)[1])
        self._info = ModelInfo(
            name, fingerprint, len(self._modules), width, dtype, facts_of(model._module, tokenizer, quantisation)
        )
        if not remote:
            require_proof(self, model._module, self._modules)
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
            name, tokenizer, rounded = loaded.name, loaded.tokenizer, loaded.quantisation
            ends = end_tokens_of(loaded.model, tokenizer)
            fingerprint = fingerprint_module(loaded.model, tokenizer, stop_ids=ends.ids)
        else:
            check_remote(remote, model, {"dtype": dtype != "auto", "device": device, "device_map": device_map})
            trust = trusted(trust_remote_code)
            if tokenizer is None:
                tokenizer = load_tokenizer(str(model), revision, trust_remote_code=trust)
            wrapped = open_remote(str(model), tokenizer, revision, trust_remote_code=trust)
            name, rounded = str(model), None
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
            quantisation=rounded,
            remote=remote,
            blocks=blocks,
            update_module=update_module,
            batch_size=batch_size,
            jobs=kept,
        )

    # Generation

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        # A model that can't carry a unit or a reading fails before the first reply.
        for layer in {s.layer for r in requests for s in r.steers if s.dose.unit is Unit.UPDATE}:
            self._update(layer)
        if any(read.kind == "lens" for request in requests for read in request.reads):
            self._lens()
        waiting = []
        for batch in batches(requests, self._batch_size, self._limits.switch, self._pads):
            keys = [request_key(r, [self._info.fingerprint, str(self._remote)]) for r in batch.requests]
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

    def _submit(self, batch: Batch, keys: Sequence[str]) -> Saved:
        """Trace one batch; on NDIF this returns as soon as the job is accepted."""
        backend = backend_for(self._nn, self._remote)
        values = (
            self._replay(batch, backend) if batch.sampling is None else self._sample(batch, batch.sampling, backend)
        )
        return self._jobs.add(backend, keys) if self._is_ndif else Saved(values)

    def _sample(self, batch: Batch, sampling: Sampling, backend: Any) -> dict[str, Any]:
        options = {
            "generation_config": traces.generation_config(self._reader.ends.ids, sampling.max_new_tokens),
            "logits_processor": processors(sampling, [r.seed for r in batch.requests], batch.length),
        }
        stations, encoding = self._stations(batch), traces.encode([r.fed for r in batch.requests])
        with self._neutral_defaults():
            return traces.sample(self._nn, backend, stations, encoding, options)

    def _replay(self, batch: Batch, backend: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"use_cache": False}
        if self._keeps_logits:
            options["logits_to_keep"] = kept_logits(batch)
        lens = self._lens() if any(g.read.kind == "lens" for s in batch.stations for g in s.groups) else None
        stations, encoding = self._stations(batch), traces.encode([r.fed for r in batch.requests])
        groups = told_groups(batch, batch.of_logits)
        return traces.replay(self._nn, backend, stations, encoding, groups=groups, lens=lens, options=options)

    def _stations(self, batch: Batch) -> list[Any]:
        return told_stations(batch, self._blocks.__getitem__, self._update)

    def _completions(self, batch: Batch, saved: dict[str, Any]) -> Iterator[Completion]:
        return completions(batch, saved, self._reader, self._info.dtype)

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

    def _logits_of(self, streams: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        norm, unembed, scale, cap = self._lens()
        raw = self._result(traces.vector_lens, self._blocks[-1], norm, unembed, streams=torch.from_numpy(streams))
        return finished(raw, scale, cap).numpy()

    # Checks

    def _find_lens(self) -> tuple[Any, Any, float, float]:
        """Return envoys of the final norm and the unembedding, and what is done to logits behind them, checked."""
        module = self._whole
        unembed, cap = self._envoys[id(unembedding_of(module, self._info.hidden_size))], softcap_of(module.config)
        scales = {}

        def check(norm: Any) -> None:
            raw, own = self._result(traces.read_lens, self._blocks[-1], norm, unembed)
            scales[norm.path] = judge_lens(raw, own, cap, name=norm.path, dtype=getattr(torch, self._info.dtype))

        norms = {name: self._envoys[id(norm)] for name, norm in final_norms(module, self._found).items()}
        norm = first_that_passes(norms, check)
        return norm, unembed, scales[norm.path], cap

    def _prove_padding(self) -> bool:
        """Return whether a replay beside a longer one, hence padded on the right, reads what it reads alone."""
        prompts = [RenderedPrompt(ids, "") for ids in ((0, 1, 2, 2, 1), (0, 1, 2, 2, 1, 0, 2, 0, 1))]
        read = Read("residuals", Positions(0, 5, 5), (self._info.n_layers - 1,))
        asked = [Request(prompt, (), Sampling(0.0), forced=(), reads=(read,)) for prompt in prompts]
        found = []
        for some in ((asked[0],), tuple(asked)):
            batch, backend = Batch(tuple(range(len(some))), some, None), backend_for(self._nn, self._remote)
            values = self._replay(batch, backend)
            values = self._jobs.result(backend) if self._is_ndif else values
            found.append(next(self._completions(batch, values)).readings[0])
        return apart(*found) <= ROUNDING.get(self._info.dtype, ROUNDING["bfloat16"])

    def _find_update(self, layer: int) -> Any:
        """Return the envoy of the block's MLP branch, checked to be what the block adds last."""
        candidates = update_candidates(self._modules[layer], self._update_module)
        envoys = {name: self._envoys[id(module)] for name, module in candidates.items()}
        return first_that_passes(envoys, lambda branch: self._check_branch(branch, layer))

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
