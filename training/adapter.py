"""The adapter: where it sits in a model, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from introspection_bench.errors import BackendUnavailableError, ModelError, explain
from introspection_bench.injectors.hf.blocks import find_blocks

from .cast import Role


def projections(model: nn.Module, first_block: int) -> list[str]:
    """Return the names of all projections in the decoder blocks from ``first_block`` on.

    For Llama and its like these are the seven that peft is told by name; elsewhere what it calls "all-linear".
    """
    names = {module: name for name, module in model.named_modules()}
    blocks = find_blocks(model).modules[first_block:]
    found = [names[m] for block in blocks for m in block.modules() if isinstance(m, nn.Linear | Conv1D)]
    if not found:
        raise ModelError(
            explain(
                "model",
                required="blocks with projections of the classes Linear or Conv1D",
                got=f"none in blocks {first_block} and above of {type(model).__name__}",
                hint="An adapter has no place in it.",
            )
        )
    return found


def adapted(base: Any, role: Role) -> Any:
    """Return a peft model with a role's fresh adapter in float32 around the base; torch's own generator draws it."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise BackendUnavailableError(
            explain(
                "training",
                required="the package peft",
                got=str(error),
                hint="pip install introspection-bench[training]",
            )
        ) from error
    places = projections(base, role.first_block)
    model = get_peft_model(
        base, LoraConfig(r=role.rank, lora_alpha=role.alpha, target_modules=places, task_type="CAUSAL_LM")
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def save(model: Any, path: Path, role: Role, base: str) -> None:
    """Write the adapter's matrices in bfloat16, named as the base names its modules; see introspection_bench.adapters.

    ``base`` is the digest of the base's weights, to which the file is tied.
    """
    from safetensors.torch import save_file

    matrices = {
        name.removeprefix("base_model.model.").replace(".default", ""): value.detach().to(torch.bfloat16).cpu()
        for name, value in model.state_dict().items()
        if "lora_" in name
    }
    save_file(
        {name: value.contiguous() for name, value in matrices.items()},
        path,
        metadata={"rank": str(role.rank), "alpha": str(role.alpha), "base": base},
    )
