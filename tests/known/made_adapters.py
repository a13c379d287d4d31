"""Adapters made in code for tiny models, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from introspection_bench.adapters import weights_digest

MODULES = ("model.layers.1.self_attn.q_proj", "model.layers.3.mlp.down_proj")
RANK, ALPHA = 3, 6


def made_tensors(model: Any, modules: tuple[str, ...] = MODULES) -> dict[str, torch.Tensor]:
    """Random pairs for some linear layers of a model."""
    noise = torch.Generator().manual_seed(5)
    tensors = {}
    for name in modules:
        out, into = model.get_submodule(name).weight.shape
        tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, into, generator=noise)
        tensors[f"{name}.lora_B.weight"] = torch.randn(out, RANK, generator=noise)
    return tensors


def made_settings(model: Any) -> dict[str, str]:
    """The metadata that an adapter for a model has."""
    return {"rank": str(RANK), "alpha": str(ALPHA), "base": weights_digest(model)}


def made_adapter(model: Any, path: Path) -> Path:
    """Write an adapter for a model and return its path."""
    path.write_bytes(save(made_tensors(model), made_settings(model)))
    return path
