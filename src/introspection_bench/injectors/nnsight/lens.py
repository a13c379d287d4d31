"""From the residual stream to logits, as a model does it behind its last block: the logit lens applies it anywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ModelError, explain
from ..hf.blocks import Blocks


def final_norms(model: nn.Module, blocks: Blocks) -> dict[str, nn.Module]:
    """Return the norms that stand beside a model's blocks, by name: one of them is the last.

    Which one shows in the numbers (:func:`judge_lens`). Raises :class:`ModelError` where there is none.
    """
    path = blocks.path.rpartition(".")[0]
    beside = model.get_submodule(path) if path else model
    found = {name: child for name, child in beside.named_children() if "norm" in type(child).__name__.lower()}
    if not found:
        children = [type(child).__name__ for child in beside.children()]
        raise ModelError(explain("lens", required=f"a final norm beside {blocks.path}", got=children, hint=_HINT))
    return found


def unembedding_of(model: nn.Module, width: int) -> nn.Module:
    """Return the module that makes logits of a stream of this width; raises :class:`ModelError` where there is none."""
    found = model.get_output_embeddings()  # type: ignore[operator]  # every PreTrainedModel has it
    takes = getattr(found, "in_features", width)
    if not isinstance(found, nn.Module) or takes != width:
        raise ModelError(
            explain(
                "lens",
                required=f"an unembedding that takes the stream's {width} numbers",
                got=f"{type(found).__name__}, which takes {takes}",
                hint=_HINT,
            )
        )
    return found


def softcap_of(config: Any) -> float:
    """Return at what the model caps its logits (Gemma 2), 0.0 where it doesn't."""
    return float(getattr(config.get_text_config(), "final_logit_softcapping", None) or 0.0)


def finished(logits: Tensor, scale: float, cap: float) -> Tensor:
    """Return what the model makes of its unembedding's output: multiplied by ``scale``, softly capped; float32."""
    scaled = logits.float() * scale
    return torch.tanh(scaled / cap) * cap if cap else scaled


def judge_lens(unembedded: Tensor, own: Tensor, cap: float, *, name: str, dtype: torch.dtype) -> float:
    """Return the number by which the model multiplies its logits (Cohere, Granite): 1.0 for most.

    ``unembedded`` are final norm and unembedding of the stream that leaves the last block, ``own`` the model's logits
    (positions, vocabulary), ``dtype`` that of the stream. Raises :class:`ModelError` unless the two are the same up to
    that number, ``cap`` and rounding.
    """
    raw, target = unembedded.double(), own.double()
    tolerance = max(4 * torch.finfo(dtype).eps, 1e-4)
    scale = 1.0 if cap else float((raw * target).sum() / (raw * raw).sum())
    scale = 1.0 if abs(scale - 1) <= tolerance else scale
    off = float((finished(unembedded, scale, cap).double() - target).abs().max() / target.abs().max().clamp_min(1e-9))
    if not off <= tolerance:  # written so that NaN is a fault
        raise ModelError(
            explain(
                "lens",
                required="final norm and unembedding that make the model's own logits of its last residual",
                got=f"{name}, off by {off:.2g} of the largest logit",
                hint=_HINT,
            )
        )
    return scale


_HINT = "This model has no logit lens here; read its residuals or cosines instead."
