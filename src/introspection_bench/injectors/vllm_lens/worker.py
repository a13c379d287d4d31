"""vLLM's workers: the extension that puts our hooks around vllm-lens's, and answers for them.

A vllm-lens hook sees the summed residual stream of one request and nothing else. The extension adds what is missing
for a proof: at which position a pass begins, the block's output as it was (the MLP half for the unit ``update``),
whether vllm-lens really put the change into the block's output, and what leaves the model behind its last block.
"""

from __future__ import annotations

import json
from typing import Any

from torch import nn
from vllm.distributed import get_pp_group
from vllm_lens._worker_ext import HiddenStatesExtension, _discover_layer_modules

from ..vllm_engine import ask_for_amx
from .sampling import SeededSampling
from .sites import SITES, UPDATE_CHILD, Head, Site, Sites


class SteeringExtension(HiddenStatesExtension):  # type: ignore[misc]  # vllm-lens ships no types that mypy reads here
    """vllm-lens's worker extension, with a :class:`Site` around each block. Its methods are called by RPC."""

    def install_hooks(self) -> None:
        """Install vllm-lens's hooks with ours around them."""
        if self._hooks_installed:
            return
        ask_for_amx()  # a worker may be a process of its own
        blocks = _discover_layer_modules(self)
        sites = {layer: Site(block) for layer, block in blocks.items()}
        for layer, block in blocks.items():
            block.register_forward_hook(sites[layer].head, prepend=True)
        super().install_hooks()
        self._hooked_layers: frozenset[int] = frozenset()
        for layer, block in blocks.items():
            self._trim(layer, block)
            block.register_forward_hook(sites[layer].tail)
        model = self.model_runner.model
        SITES[model] = Sites(self.model_runner, sites, Head(model, list(blocks.values())))
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
        """Return, as JSON, this worker's blocks, whether each can carry the unit ``update``, who samples, and its end.

        ``ends`` says whether what leaves the model can be read, ``lens`` whether the stream at any block can be read
        through the final norm.
        """
        sites = SITES[self.model_runner.model]
        able = [[n, s.block, bool(s.fused) or s.block in UPDATE_CHILD] for n, s in sites.blocks.items()]
        return json.dumps(
            {
                "blocks": able,
                "sampler": bool(self._samplers()),
                "ends": sites.head.ends,
                "lens": sites.head.norm is not None,
            }
        )

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
