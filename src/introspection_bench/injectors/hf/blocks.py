"""Finding a Hugging Face model's decoder blocks, and checking that their outputs are the residual stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from ...errors import ModelError, explain

#: Where decoder-only architectures keep their blocks, most common first.
KNOWN_PATHS = (
    "model.layers",  # Llama, Mistral, Qwen 2 and 3, Gemma, Phi-3, OLMo 2, and most others
    "model.language_model.layers",  # text half of multimodal checkpoints (Gemma 3, Llama 4)
    "language_model.model.layers",
    "transformer.h",  # GPT-2, GPT-J, Falcon, Bloom
    "transformer.blocks",  # MPT
    "gpt_neox.layers",  # Pythia
    "model.decoder.layers",  # OPT
    "backbone.layers",  # Mamba
    "backbone.blocks",  # xLSTM
    "transformer.blocks",  # MPT
    "rwkv.blocks",
)
#: Where a block keeps the branch that it adds last to the stream, by its name within the block; each that exists is
#: tried, and the first that passes :func:`check_update_module` is taken. A norm behind the MLP (Gemma 2 and 3, OLMo 2,
#: GLM 4) belongs to the branch: what is added is the norm's output. Inside an MLP that adds the residual itself (BLOOM,
#: MPT) the branch is its last projection.
UPDATE_PATHS = (
    "post_feedforward_layernorm",
    "post_mlp_layernorm",
    "post_ffn_norm",
    "mlp",
    "mlp.dense_4h_to_h",
    "feed_forward",
    "block_sparse_moe",
    "ffn",
    "ffn.down_proj",
    "fc2",
)
#: Length of the numbers that :func:`check_update_module` puts in, in lengths of the block's output; and the share of
#: them that a branch may hand on: a norm bounds what a branch answers, while a residual passes as it is.
_LOUD, _MOST_PASSED = 32.0, 0.1


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


def update_candidates(block: nn.Module, path: str | None = None) -> dict[str, nn.Module]:
    """Return the modules of a block that may be its last branch, by name: ``path`` alone, or all of UPDATE_PATHS.

    Raises :class:`ModelError` where there is none.
    """
    found = {name: module for name in ((path,) if path else UPDATE_PATHS) if (module := _submodule(block, name))}
    if not found:
        raise ModelError(
            explain(
                "update_module",
                required=f"a module of the block, one of {[n for n, _ in block.named_children()]}",
                got=path or f"none of {UPDATE_PATHS}",
                hint="Pass the name of the branch that the block adds last: open_injector(..., update_module='mlp').",
            )
        )
    return found


def first_that_passes(candidates: Mapping[str, Any], check: Callable[[Any], None]) -> Any:
    """Return the first candidate that ``check`` lets pass; raises :class:`ModelError` with what it said of each."""
    faults = []
    for name, candidate in candidates.items():
        try:
            check(candidate)
        except ModelError as error:
            faults.append(f"{name!r}: {error}")
        else:
            return candidate
    raise ModelError("\n".join(faults))


def find_update_module(model: nn.Module, block: nn.Module, ids: Tensor, path: str | None = None) -> nn.Module:
    """Return the module whose output the block adds last to the residual stream (unit ``update``), checked.

    Raises :class:`ModelError` where no candidate is that, with what each of them does instead.
    """
    found: nn.Module = first_that_passes(
        update_candidates(block, path), lambda update: check_update_module(model, block, update, ids)
    )
    return found


def check_residual_stream(model: nn.Module, blocks: Blocks, ids: Tensor) -> tuple[int, torch.dtype]:
    """Run ``ids`` (1, n) once; check that each block's output is the next one's input. Return width and dtype.

    This is what "residual stream" means here, seen in the model itself and not in its configuration: one vector for
    each position. Raises :class:`ModelError` otherwise, and for a model that can't run these tokens at all.
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
            model(input_ids=ids, use_cache=False)
    except Exception as error:  # a model whose parts don't fit together fails in any way
        raise ModelError(
            explain(
                "model",
                required="a causal language model that can run three tokens",
                got=f"{type(error).__name__}: {error}",
                hint="Check its configuration, and that this version of transformers supports it.",
            )
        ) from error
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
    check_stream_shape(tuple(outputs[0].shape), ids.shape[1])
    return int(outputs[0].shape[-1]), outputs[0].dtype


def check_stream_shape(shape: Sequence[int], positions: int) -> None:
    """Raise :class:`ModelError` unless one prompt's stream has one vector for each of so many positions."""
    if len(shape) != 3 or tuple(shape[:2]) != (1, positions):
        raise ModelError(
            explain(
                "model",
                required=f"a residual stream of one vector per position, (1, {positions}, hidden_size)",
                got=f"blocks that return {tuple(shape)}",
                hint="Models with several streams (Gemma 3n, DeepSeek-V4) have no one place to add to.",
            )
        )


@attrs.frozen(eq=False)
class BranchProbe:
    """What a block did in four passes over the same tokens; all tensors (1, tokens, hidden_size), float32, on the CPU.

    ``whole`` is its output and ``branch`` the branch's in a plain pass. ``without`` is its output with zeros in the
    branch's place, ``replaced`` with ``loud`` there (:func:`louder`). ``answer`` is the branch's output where the
    block was given ``loud`` as its input.
    """

    whole: Tensor
    branch: Tensor
    without: Tensor
    replaced: Tensor
    answer: Tensor
    loud: Tensor


def louder(whole: Tensor) -> Tensor:
    """Return random numbers, the same each time, much longer at each position than ``whole``, the block's output."""
    noise = torch.randn(whole.shape, generator=torch.Generator().manual_seed(0))
    loud: Tensor = noise / noise.norm(dim=-1, keepdim=True) * _LOUD * whole.norm(dim=-1, keepdim=True)
    return loud


def judge_branch(probe: BranchProbe, name: str, dtype: torch.dtype) -> None:
    """Raise :class:`ModelError` unless a branch is what the block adds last to the residual stream, and that alone.

    The block's output must lose exactly the branch's where that is silenced, and gain exactly what is put in its
    place: a model that scales or gates the branch (Granite's residual multiplier) would get magnitudes in another
    unit. The loud replacement shows this also where rounding drowns a branch that is small beside the stream. Without
    the branch something must be left, and the branch must not hand on what the block was given: else it holds the
    residual stream itself (BLOOM), and the unit would be ``residual`` in disguise.
    """
    # Sums are exact up to the rounding of the stream's dtype, of which a block does a few; float32 kernels need not
    # repeat their last bits.
    tolerance = max(4 * torch.finfo(dtype).eps, 1e-4)
    size = probe.whole.norm().clamp_min(1e-9)
    off = float((probe.whole - probe.without - probe.branch).norm() / size)
    scale = _along(probe.replaced - probe.without, probe.loud)
    left = float(probe.without.norm() / size)
    passed = _along(probe.answer, probe.loud)
    fault = None
    # Written so that NaN is a fault.
    if not left > tolerance or not abs(passed) <= _MOST_PASSED:
        fault = f"{name}, whose output holds the residual stream itself: the branch adds it, not the block"
    elif not abs(scale - 1) <= tolerance:
        fault = f"{name}, which the block multiplies by {scale:.3g} before it adds it"
    elif not off <= tolerance:
        fault = f"{name}, off by {off:.2g} of the stream: something else is added behind it, or depends on it"
    if fault is not None:
        raise ModelError(
            explain(
                "unit 'update'",
                required="a branch whose output is added to the residual stream as it is",
                got=fault,
                hint="Name the right module by update_module=…, or use the unit 'residual'.",
            )
        )


def _along(values: Tensor, direction: Tensor) -> float:
    return float((values * direction).sum() / (direction * direction).sum())


def check_update_module(model: nn.Module, block: nn.Module, update: nn.Module, ids: Tensor) -> None:
    """Run ``ids`` (1, n) four times and judge the branch ``update`` of ``block`` by :func:`judge_branch`."""
    name = type(update).__name__
    dtypes: list[torch.dtype] = []

    def run(*, given: Tensor | None = None, put: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the branch's own output and the block's, with ``given`` as block's input, ``put`` for the branch."""
        branch: list[Tensor] = []
        whole: list[Tensor] = []

        def on_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if given is None:
                return None
            if args:
                return (given.to(args[0], copy=True), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": given.to(kwargs["hidden_states"], copy=True)}

        def on_branch(_: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
            hidden = hidden_of(output)
            branch.append(copied(hidden))
            return None if put is None else with_hidden(output, put.to(hidden, copy=True).reshape(hidden.shape))

        def on_block(_: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            # The stream's own dtype: a model's parameters may be packed integers.
            dtypes.append(hidden_of(output).dtype)
            whole.append(copied(hidden_of(output)))

        handles = [
            block.register_forward_pre_hook(on_input, with_kwargs=True),
            update.register_forward_hook(on_branch),
            block.register_forward_hook(on_block),
        ]
        try:
            with torch.inference_mode():
                model(input_ids=ids)
        finally:
            for handle in handles:
                handle.remove()
        if len(branch) != 1 or branch[0].numel() != whole[0].numel():
            raise ModelError(
                explain(
                    "unit 'update'",
                    required="a branch that runs once in a pass and returns one vector for each position",
                    got=f"{name}, which ran {len(branch)} times"
                    + "".join(f" and returns the shape {tuple(b.shape)}" for b in branch[:1]),
                    hint="Name the right module by update_module=…, or use the unit 'residual'.",
                )
            )
        # A branch may flatten rows and positions (OPT's fc2); their order stays.
        return branch[0].reshape(whole[0].shape), whole[0]

    branch, whole = run()
    loud = louder(whole)
    _, without = run(put=torch.zeros_like(whole))
    _, replaced = run(put=loud)
    answer, _ = run(given=loud)
    judge_branch(BranchProbe(whole, branch, without, replaced, answer, loud), name, dtypes[0])


def copied(hidden: Tensor) -> Tensor:
    """Return hidden states as float32 on the CPU, never the tensor itself: a following module may write into it."""
    return hidden.detach().to("cpu", torch.float32, copy=True)


def embedding_of(model: nn.Module) -> tuple[torch.device, int | None]:
    """Return where token ids have to be, and how many there may be; None where the module doesn't tell."""
    embedding = model.get_input_embeddings()  # type: ignore[operator]  # every PreTrainedModel has it
    tensors = [*embedding.parameters(), *embedding.buffers(), *model.parameters(), *model.buffers()]
    weight = getattr(embedding, "weight", None)
    rows = getattr(embedding, "num_embeddings", weight.shape[0] if isinstance(weight, Tensor) else None)
    return tensors[0].device, rows


def _configured_layers(model: nn.Module) -> int | None:
    config = getattr(model, "config", None)
    if config is None:
        return None
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    layers = getattr(text, "num_hidden_layers", None)
    return None if layers is None else int(layers)


def _submodule(module: nn.Module, path: str) -> nn.Module | None:
    found = _descend(module, path)
    return found if isinstance(found, nn.Module) else None


def _descend(module: nn.Module, path: str) -> object:
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
