"""Finding a Hugging Face model's decoder blocks, and checking that their outputs are the residual stream."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor, nn

from ..errors import ModelError, explain

#: Where decoder-only architectures keep their blocks, most common first.
KNOWN_PATHS = (
    "model.layers",  # Llama, Mistral, Qwen 2 and 3, Gemma, Phi-3, OLMo 2, and most others
    "model.language_model.layers",  # text half of multimodal checkpoints (Gemma 3, Llama 4)
    "language_model.model.layers",
    "transformer.h",  # GPT-2, GPT-J, Falcon, Bloom
    "gpt_neox.layers",  # Pythia
    "model.decoder.layers",  # OPT
    "backbone.layers",
)
#: The branch that a block adds last to the residual, by its name within the block. A norm behind the MLP (Gemma 2
#: and 3, OLMo 2) belongs to the branch: what is added is the norm's output.
UPDATE_PATHS = ("post_feedforward_layernorm", "mlp", "feed_forward", "block_sparse_moe", "ffn")


def hidden_of(output: Any) -> Tensor:
    """Return the hidden states of a block's output (a tensor, or a tuple that begins with one)."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """Return the block's output with its hidden states replaced."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


@attrs.frozen(eq=False)
class Blocks:
    """The decoder blocks of a model, in order, and where they were found."""

    path: str
    modules: tuple[nn.Module, ...]


def find_blocks(model: nn.Module, path: str | None = None) -> Blocks:
    """Return the decoder blocks; ``path`` names them for architectures that are not known.

    Raises :class:`ModelError` where no known place holds as many blocks as the configuration states.
    """
    wanted = _configured_layers(model)
    for candidate in (path,) if path else KNOWN_PATHS:
        found = _descend(model, candidate)
        if isinstance(found, nn.ModuleList) and len(found) and wanted in (None, len(found)):
            return Blocks(candidate, tuple(found))
    lists = {n: len(m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList)}
    raise ModelError(
        explain(
            "blocks",
            required=f"the path of a ModuleList with the model's {wanted} decoder blocks",
            got=f"{path or 'none of the known paths'} in {type(model).__name__}, whose lists are {lists}",
            hint="Pass it: open_injector('torch', model, blocks='path.to.layers').",
        )
    )


def find_update_module(block: nn.Module, path: str | None = None) -> nn.Module:
    """Return the module whose output the block adds last to the residual stream (unit ``update``)."""
    for candidate in (path,) if path else UPDATE_PATHS:
        found = _descend(block, candidate)
        if isinstance(found, nn.Module):
            return found
    raise ModelError(
        explain(
            "update_module",
            required=f"a module of the block, one of {[n for n, _ in block.named_children()]}",
            got=path or f"none of {UPDATE_PATHS}",
            hint="Pass the name of the branch that the block adds last: open_injector(..., update_module='mlp').",
        )
    )


def check_residual_stream(model: nn.Module, blocks: Blocks, ids: Tensor) -> int:
    """Run ``ids`` (1, n) once; check that each block's output is the next one's input. Return the width.

    This is what "residual stream" means here, seen in the model itself and not in its configuration. Raises
    :class:`ModelError` otherwise.
    """
    inputs: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}

    def on_input(index: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs[index] = (args[0] if args else kwargs["hidden_states"]).detach()

        return hook

    def on_output(index: int) -> Any:
        def hook(_: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            outputs[index] = hidden_of(output).detach()

        return hook

    handles = [
        *(m.register_forward_pre_hook(on_input(i), with_kwargs=True) for i, m in enumerate(blocks.modules)),
        *(m.register_forward_hook(on_output(i)) for i, m in enumerate(blocks.modules)),
    ]
    try:
        with torch.inference_mode():
            model(input_ids=ids)
    finally:
        for handle in handles:
            handle.remove()
    for index in range(len(blocks.modules)):
        following = inputs.get(index + 1)
        fired = index in outputs and (following is not None or index + 1 == len(blocks.modules))
        if not fired or (following is not None and not torch.equal(outputs[index].cpu(), following.cpu())):
            raise ModelError(
                explain(
                    f"block {index} at {blocks.path}",
                    required="an output that is the next block's input (the residual stream)",
                    got="no output" if not fired else "another tensor",
                    hint="Pass the right path: open_injector('torch', model, blocks='path.to.layers').",
                )
            )
    return int(outputs[0].shape[-1])


def check_update_module(model: nn.Module, block: nn.Module, update: nn.Module, ids: Tensor) -> None:
    """Check that the block's output loses exactly the branch's output when the branch is silenced.

    A model that scales or gates the branch before adding it (Granite's residual multiplier) fails with
    :class:`ModelError` rather than getting magnitudes in another unit.
    """
    seen: list[Tensor] = []
    branch: list[Tensor] = []
    silence = False

    def on_branch(_: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        hidden = hidden_of(output)
        if silence:
            return with_hidden(output, torch.zeros_like(hidden))
        branch.append(hidden.detach().float())
        return None

    def on_block(_: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        seen.append(hidden_of(output).detach().float())

    handles = [update.register_forward_hook(on_branch), block.register_forward_hook(on_block)]
    try:
        with torch.inference_mode():
            model(input_ids=ids)
            silence = True
            model(input_ids=ids)
    finally:
        for handle in handles:
            handle.remove()
    whole, without = seen
    error = (whole - without - branch[0]).norm() / whole.norm().clamp_min(1e-9)
    # The subtraction is exact up to the rounding of the stream's dtype, of which a block does a few.
    tolerance = 16 * torch.finfo(next(model.parameters()).dtype).eps
    if not error <= tolerance:
        raise ModelError(
            explain(
                "unit 'update'",
                required="a branch whose output is added to the residual stream as it is",
                got=f"{type(update).__name__}, off by {float(error):.2g} of the stream",
                hint="Name the right module by update_module=…, or use the unit 'residual'.",
            )
        )


def _configured_layers(model: nn.Module) -> int | None:
    config = getattr(model, "config", None)
    if config is None:
        return None
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    layers = getattr(text, "num_hidden_layers", None)
    return None if layers is None else int(layers)


def _descend(module: nn.Module, path: str) -> object:
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
