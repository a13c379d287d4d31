"""Where a vLLM model is steered and read: its decoder blocks, the branch they add last, its final norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from ...errors import ModelError, explain

#: Blocks that return one tensor, and the child whose output they add last. Blocks that return (hidden_states,
#: residual) need no entry: their first half is that output.
UPDATE_CHILD: Mapping[str, str] = {"GPT2Block": "mlp", "GPTNeoXLayer": "mlp"}
#: By how much the final norm of the summed stream may differ from that of its two halves: both round.
ROUNDING = 0.02


@attrs.frozen(eq=False)
class Sites:
    """The blocks of a worker's model by their number; a pipeline stage holds some. ``norms`` may be the final norm."""

    blocks: Mapping[int, nn.Module]
    norms: tuple[nn.Module, ...]


def find(model: nn.Module, count: int, hidden: int) -> Sites:
    """Return where a model of ``count`` blocks is steered; raises :class:`ModelError` unless that is one place."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    # A list of lists, or of what stands inside blocks, is none of blocks: these are the outermost of their kind.
    inner = {id(c) for found in lists for m in found for c in m.modules() if c is not m}
    lists = [found for found in lists if id(found) not in inner]
    if len(lists) != 1:
        raise ModelError(
            explain(
                "model",
                required=f"one list of {count} decoder blocks",
                got=f"{len(lists)} such lists in {type(model).__name__}",
                hint="Use the torch backend.",
            )
        )
    blocks = {n: block for n, block in enumerate(lists[0]) if type(block).__name__ != "PPMissingLayer"}
    inside = {id(m) for block in blocks.values() for m in block.modules()}
    norms = tuple(m for m in model.modules() if id(m) not in inside and _is_norm(m, hidden))
    return Sites(blocks, norms)


def _is_norm(module: nn.Module, hidden: int) -> bool:
    weight = getattr(module, "weight", None)
    return not any(module.children()) and isinstance(weight, Tensor) and tuple(weight.shape) == (hidden,)


def branch_of(block: nn.Module) -> nn.Module | None:
    """Return the child that a block of one tensor adds last; None where that isn't known."""
    name = UPDATE_CHILD.get(type(block).__name__)
    return None if name is None else block.get_submodule(name)


def normed(norm: nn.Module, stream: Tensor) -> Tensor:
    """Return a norm of rows of the stream (rows, hidden_size)."""
    found: Any = norm(stream.contiguous())
    rows: Tensor = found[0] if isinstance(found, tuple) else found
    return rows


def prove(norms: tuple[nn.Module, ...], stream: Tensor, end: Tensor) -> nn.Module | None:
    """Return the norm that makes what leaves the model of what leaves the last block, both (rows, hidden_size)."""
    for norm in norms:
        with torch.inference_mode():
            again = normed(norm, stream).float()
        if bool((again - end.float()).norm() <= ROUNDING * end.float().norm()):
            return norm
    return None
