"""What runs inside vLLM's workers: the vllm-lens ``Hook`` that steers, and the worker extension it needs.

A vllm-lens hook sees the summed residual stream of one request and nothing else. The extension adds what is missing
for a proof: at which position a pass begins, the block's output as it was (the MLP half for the unit ``update``), and
whether vllm-lens really put the change into the block's output.
"""

from __future__ import annotations

import json
from typing import Any
from weakref import WeakKeyDictionary

import attrs
import torch
from torch import Tensor, nn
from vllm.distributed import get_pp_group, get_tensor_model_parallel_rank
from vllm_lens._worker_ext import HiddenStatesExtension, _discover_layer_modules

from ...errors import ModelError, SilentInjectionError, explain
from ...injection import Injection, Positions, Unit
from ..steering import coefficients, steer
from .records import LayerLog
from .sampling import SeededSampling

#: Blocks that return one tensor, and the child whose output they add last. Blocks that return (hidden_states,
#: residual) need no entry: their first half is that output.
UPDATE_CHILD = {"GPT2Block": "mlp", "GPTNeoXLayer": "mlp"}


@attrs.define(eq=False)
class Claim:
    """One request's change of the rows ``row`` to ``row + count`` of a pass; steered were ``lo`` to ``hi`` of them."""

    log: LayerLog
    row: int
    count: int
    lo: int
    hi: int


class Site:
    """One decoder block of a worker: its output before vllm-lens touches it, and the changes that were claimed."""

    def __init__(self, block: nn.Module) -> None:
        self.block = type(block).__name__
        self.fused: bool | None = None
        self.raw: Any = None
        self.branch_norms: Tensor | None = None
        self.claims: list[Claim] = []
        child = UPDATE_CHILD.get(self.block)
        if child is not None:
            block.get_submodule(child).register_forward_hook(self._on_branch)

    def _on_branch(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        # At once: a block may go on to write into its branch's output.
        self.branch_norms = output.float().norm(dim=-1)

    def head(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """First hook of the block: keep its output."""
        self.raw = output
        self.fused = isinstance(output, tuple) and len(output) == 2 and output[1] is not None
        self.claims = []

    def tail(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """Last hook of the block: make sure that what was claimed is in the output, and nothing else is.

        vllm-lens logs an exception at a block and goes on with the block's own output: then no claim holds. It also
        rewrites all rows of a steered request as (sum, 0); rows outside the span get their own two halves back, so
        that the next norm, which may add the halves in float32, sees the same bits as without steering.
        """
        for claim in self.claims:
            if output is self.raw:
                claim.log.error = claim.log.error or "vllm-lens dropped the change of this block's output (see its log)"
                continue
            halves = zip(output, self.raw, strict=True) if isinstance(output, tuple) else [(output, self.raw)]
            for changed, own in halves:
                for start, stop in ((0, claim.lo), (claim.hi, claim.count)):
                    rows = slice(claim.row + start, claim.row + stop)
                    changed[rows] = own[rows]
        self.raw, self.branch_norms, self.claims = None, None, []

    def update_norms(self, rows: slice) -> Tensor:
        """The norms of what the block added last to the stream, at these rows of the pass; float32."""
        if self.fused:
            half: Tensor = self.raw[0]
            norms: Tensor = half[rows].float().norm(dim=-1)
            return norms
        if self.branch_norms is None:
            raise ModelError(
                explain(
                    "unit 'update'",
                    required=f"a block that returns its last addition apart, or one of {sorted(UPDATE_CHILD)}",
                    got=self.block,
                    hint="Use the unit 'residual', or the torch backend.",
                )
            )
        return self.branch_norms[rows]


@attrs.frozen(eq=False)
class Sites:
    """The blocks of one worker's model, and the model runner, which knows where each request stands."""

    runner: Any
    blocks: dict[int, Site]

    def first_position(self, key: str) -> int:
        """The position of the request's first token in the pass that is running."""
        batch = self.runner.input_batch
        index = next(i for name, i in batch.req_id_to_index.items() if name.startswith(f"{key}-"))
        return int(batch.num_computed_tokens_cpu[index])


_SITES: WeakKeyDictionary[nn.Module, Sites] = WeakKeyDictionary()


class Steering:
    """The function of one request's vllm-lens ``Hook``: steers at one layer, reads at others, writes down both.

    It never raises: vllm-lens would drop the changes of all requests at that block and go on.
    """

    def __init__(
        self,
        key: str,
        injection: Injection | None,
        positions: Positions | None,
        capture_layers: tuple[int, ...],
        capture_from: int,
    ) -> None:
        self.key = key
        self.layer = None if injection is None else injection.layer
        self.capture_layers = capture_layers
        self.capture_from = capture_from
        if injection is not None and positions is not None:
            self.unit = injection.unit
            self.direction = torch.tensor(injection.vector.unit.values)[None]
            self.lengths = torch.tensor([coefficients(injection)], dtype=torch.float32)
            self.start, self.stop = positions.start, positions.stop

    @property
    def layers(self) -> list[int]:
        """The blocks that the hook is needed at."""
        return sorted({*self.capture_layers, *([] if self.layer is None else [self.layer])})

    def __call__(self, ctx: Any, hidden: Tensor) -> Tensor | None:
        """Return the changed rows (tokens of this pass, hidden_size), or None where nothing is steered."""
        log: LayerLog = ctx.saved.setdefault(ctx.layer_idx, LayerLog())
        if log.error is not None:
            return None
        try:
            return self._run(ctx, log, hidden)
        except Exception as error:  # see the class: reported through the log instead
            log.error = f"{type(error).__name__}: {error}"
            return None

    def _run(self, ctx: Any, log: LayerLog, hidden: Tensor) -> Tensor | None:
        sites = _SITES[ctx.model]
        first, count = sites.first_position(self.key), ctx.seq_len
        if hidden.ndim != 2 or len(hidden) != count:
            raise SilentInjectionError(
                explain(
                    f"output of block {ctx.layer_idx}",
                    required=f"shape ({count}, hidden_size)",
                    got=f"{tuple(hidden.shape)}",
                    hint="This model's blocks can't be steered through vllm-lens.",
                )
            )
        log.begin(first, count)
        changed = None
        if ctx.layer_idx == self.layer:
            lo = min(max(self.start - first, 0), count)
            hi = count if self.stop is None else min(max(self.stop - first, 0), count)
            if lo < hi:
                # ``hidden`` is a slice of the whole pass's rows, so its offset says which rows these are.
                claim = Claim(log, hidden.storage_offset() // hidden.stride(0), count, lo, hi)
                changed = self._steer(claim, sites.blocks[ctx.layer_idx], hidden, first)
        if ctx.layer_idx in self.capture_layers and get_tensor_model_parallel_rank() == 0:
            skip = max(self.capture_from - first, 0)
            if skip < count:
                rows = hidden if changed is None else changed
                log.captured(first + skip, rows[skip:].to("cpu", torch.float32, copy=True))
        return changed

    def _steer(self, claim: Claim, site: Site, hidden: Tensor, first: int) -> Tensor:
        lo, hi = claim.lo, claim.hi
        update_norms = None
        if self.unit is Unit.UPDATE:
            update_norms = site.update_norms(slice(claim.row + lo, claim.row + hi))[None]
        self.direction, self.lengths = self.direction.to(hidden.device), self.lengths.to(hidden.device)
        stream, measured = steer(hidden[None, lo:hi], self.direction, self.lengths, None, update_norms)
        changed = hidden.clone()
        # A sum that isn't finite is an error already. It must not reach the engine's cache, whose pages other requests
        # get later: attention multiplies what is left in them by 0, and NaN by 0 is NaN.
        changed[lo:hi] = torch.where(measured[2, 0].isfinite()[:, None], stream[0], hidden[lo:hi])
        claim.log.steered(first + lo, measured[:, 0].T)
        site.claims.append(claim)
        return changed


class SteeringExtension(HiddenStatesExtension):  # type: ignore[misc]  # vllm-lens ships no types that mypy reads here
    """vllm-lens's worker extension, with a :class:`Site` around each block. Its methods are called by RPC."""

    def install_hooks(self) -> None:
        """Install vllm-lens's hooks with ours around them."""
        if self._hooks_installed:
            return
        blocks = _discover_layer_modules(self)
        sites = {layer: Site(block) for layer, block in blocks.items()}
        for layer, block in blocks.items():
            block.register_forward_hook(sites[layer].head, prepend=True)
        super().install_hooks()
        self._hooked_layers: frozenset[int] = frozenset()
        for layer, block in blocks.items():
            self._trim(layer, block)
            block.register_forward_hook(sites[layer].tail)
        _SITES[self.model_runner.model] = Sites(self.model_runner, sites)
        self._make_intermediate_tensors()

    def _make_intermediate_tensors(self) -> None:
        """Make what a later pipeline stage receives into: vLLM does so in a profile run, which CPUs skip."""
        runner = self.model_runner
        if runner.intermediate_tensors is None and not get_pp_group().is_first_rank:
            runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=runner.device
            )

    def _trim(self, layer: int, block: nn.Module) -> None:
        """Take off vllm-lens's pre-hook, and let its hook run only where a request in flight asks for the layer.

        Each of the two compares all requests with all hooks, at every block and step; we have no pre-hooks, and
        theirs fails on blocks that don't take the positions first (GPT-2).
        """
        block._forward_pre_hooks.clear()
        for number, hook in list(block._forward_hooks.items()):
            if getattr(hook, "__module__", None) == HiddenStatesExtension.__module__:
                block._forward_hooks[number] = self._gated(layer, hook)

    def _gated(self, layer: int, hook: Any) -> Any:
        def run(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            return hook(module, args, output) if layer in self._hooked_layers else None

        return run

    def set_hook_data(self, key: str, pickled_data: bytes) -> None:
        """Store a request's hook, as vllm-lens does."""
        super().set_hook_data(key, pickled_data)
        self._note_layers()

    def clear_hook_data(self, key: str) -> None:
        """Drop a request's hook, as vllm-lens does."""
        super().clear_hook_data(key)
        self._note_layers()

    def _note_layers(self) -> None:
        self._hooked_layers = frozenset(n for hooks in self._hook_data.values() for h in hooks for n in h.layer_indices)

    def introspection_sites(self) -> str:
        """Return, as JSON, this worker's blocks, whether each can carry the unit ``update``, and who samples."""
        sites = _SITES[self.model_runner.model].blocks
        able = [[n, s.block, bool(s.fused) or s.block in UPDATE_CHILD] for n, s in sites.items()]
        return json.dumps({"blocks": able, "sampler": bool(self._samplers())})

    def introspection_take(self, key: str) -> bytes | None:
        """Return what the request's hook wrote down (vllm-lens's pickled ``ctx.saved``), and drop it."""
        for name, contexts in self._hook_contexts.items():
            if name.startswith(f"{key}-"):
                for context in contexts.values():
                    context.saved = {layer: log.packed() for layer, log in context.saved.items()}
        found: bytes | None = self.get_hook_results(key)
        self.clear_hook_data(key)
        self.clear_hook_contexts(key)
        return found

    def introspection_logits(self, key: str) -> str:
        """Return, as JSON, the largest logit behind each token of the request where this worker samples; forget them.

        Texts, since JSON has no NaN.
        """
        found = [sampler.take(key) for sampler in self._samplers()]
        return json.dumps([[str(x) for x in largest] for largest in found if largest is not None])

    def _samplers(self) -> list[SeededSampling]:
        processors = self.model_runner.input_batch.logitsprocs.non_argmax_invariant
        return [p for p in processors if isinstance(p, SeededSampling)]

    def introspection_forget(self, key: str) -> None:
        """Drop the request's hook and all that was written down of it."""
        self.clear_hook_data(key)
        self.clear_hook_contexts(key)
        for sampler in self._samplers():
            sampler.take(key)
