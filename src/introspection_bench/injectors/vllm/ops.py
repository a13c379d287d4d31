"""The custom ops that stand behind each decoder block, in vLLM's compiled and captured graphs, and who puts them there.

An op changes a block's output in place and says so in its schema, so that compilers neither drop nor move it. What it
does beside that is the tables' affair: their addresses never change, so a captured graph finds them again.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

_LIBRARY = torch.library.Library("introspection_bench", "DEF")
_LIBRARY.define("steer_halves(Tensor(a!) hidden, Tensor(b!) residual, Tensor layer) -> ()")
_LIBRARY.define("steer_whole(Tensor(a!) hidden, Tensor layer) -> ()")
_LIBRARY.define("note_branch(Tensor branch, Tensor(a!) norms) -> ()")


class Engine(Protocol):
    """What carries out the ops of this process's engine: :mod:`.cpu` or :mod:`.cuda`.

    ``halves``: whether blocks were seen that return the stream in two halves.
    """

    halves: bool

    def steer(self, hidden: Tensor, residual: Tensor | None, layer: Tensor) -> None:
        """Steer and capture what is asked for behind one block."""

    def note_branch(self, branch: Tensor, norms: Tensor) -> None:
        """Write down the norms of what a block is about to add last."""


_current: Engine | None = None


def use(engine: Engine) -> None:
    """Let the ops of this process be carried out by ``engine``: vLLM runs one engine in a worker process."""
    global _current  # noqa: PLW0603  # an op has no object that it belongs to
    _current = engine


def _steer_halves(hidden: Tensor, residual: Tensor, layer: Tensor) -> None:
    if _current is not None:
        _current.steer(hidden, residual, layer)


def _steer_whole(hidden: Tensor, layer: Tensor) -> None:
    if _current is not None:
        _current.steer(hidden, None, layer)


def _note_branch(branch: Tensor, norms: Tensor) -> None:
    if _current is not None:
        _current.note_branch(branch, norms)


def _nothing(*_: Tensor) -> None:
    """What the ops do to the shapes of tensors that hold no numbers."""


for _name, _function in (
    ("steer_halves", _steer_halves),
    ("steer_whole", _steer_whole),
    ("note_branch", _note_branch),
):
    for _key in ("CPU", "CUDA"):
        _LIBRARY.impl(_name, _function, dispatch_key=_key)
    torch.library.register_fake(f"introspection_bench::{_name}", _nothing, lib=_LIBRARY)


def hook_block(block: nn.Module, number: int, device: torch.device) -> None:
    """Let the op stand behind a block. The number is a tensor: as a constant it would make each block its own graph."""
    _number(block, number, device)
    block.register_forward_hook(_behind_block)


def hook_branch(branch: nn.Module, norms: Tensor) -> None:
    """Let the norms of a branch's output be noted, where a block returns the sum alone."""
    branch.register_buffer("introspection_norms", norms, persistent=False)
    branch.register_forward_hook(_behind_branch)


def hook_end(model: nn.Module, number: int, device: torch.device) -> None:
    """Let what leaves the model be captured as if it were one more block's output."""
    _number(model, number, device)
    model.register_forward_hook(_behind_model)


def _number(module: nn.Module, number: int, device: torch.device) -> None:
    layer = torch.tensor([number], dtype=torch.int32, device=device)
    module.register_buffer("introspection_layer", layer, persistent=False)


def _behind_block(module: nn.Module, _args: Any, output: Any) -> None:
    if isinstance(output, tuple):
        hidden, residual = output
        torch.ops.introspection_bench.steer_halves(hidden, residual, module.introspection_layer)
    else:
        torch.ops.introspection_bench.steer_whole(output, module.introspection_layer)


def _behind_branch(module: nn.Module, _args: Any, output: Any) -> None:
    branch = output[0] if isinstance(output, tuple) else output
    torch.ops.introspection_bench.note_branch(branch, module.introspection_norms)


def _behind_model(module: nn.Module, _args: Any, output: Any) -> None:
    if isinstance(output, Tensor):
        torch.ops.introspection_bench.steer_whole(output, module.introspection_layer)
