"""The steering arithmetic, in torch alone: what the torch backend's hooks and vLLM's workers both do to the stream.

Two copies of it exist on purpose: the nnsight traces carry theirs as source text to servers that lack this package,
and the conformance suite's injector is written apart, as an oracle.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..injection import Injection, delta_length

#: What stands for "asked" at a position that is not steered; a length is never negative.
NOT_STEERED = -1.0


def coefficients(injection: Injection) -> tuple[float, float, float]:
    """Return (a, b, c) such that the addition is (a + b ‖h‖ + c ‖u‖) û.

    :func:`~introspection_bench.injection.delta_length` is linear in both norms; this is it, as three numbers.
    """
    # At (‖h‖, ‖u‖) = (0, 0), (1, 0) and (0, 1).
    none, per_residual, per_update = (
        float(
            delta_length(
                injection.unit,
                injection.magnitude,
                vector_norm=injection.vector.norm,
                residual_norm=residual_norm,
                update_norm=update_norm,
            )
        )
        for residual_norm, update_norm in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    )
    return none, per_residual - none, per_update - none


def steer(
    stream: Tensor,
    directions: Tensor,
    lengths: Tensor,
    mask: Tensor | None = None,
    update_norms: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the stream with the addition, and what was measured on it.

    Args:
        stream: the residual stream (rows, positions, hidden_size), in the model's dtype; left as it is.
        directions: û of each row (rows, hidden_size), float32.
        lengths: :func:`coefficients` of each row (rows, 3), float32.
        mask: which positions are steered (rows, positions), bool; None for all of them.
        update_norms: ‖u‖ (rows, positions), float32; needed where a row's third coefficient is not 0.

    Returns:
        The steered stream, and a float32 tensor (3, rows, positions): ‖before‖, the length that was asked for
        (:data:`NOT_STEERED` where nothing was) and ‖after - before‖, the latter as the stream's own dtype holds both.
        Norms and the addition are computed in float32, the addition is cast to the stream's dtype and added.
    """
    wide = torch.promote_types(stream.dtype, torch.float32)
    own = stream.to(wide)
    before = own.norm(dim=-1).float()
    length = torch.addcmul(lengths[:, 0:1], lengths[:, 1:2], before)
    if update_norms is not None:
        length = torch.addcmul(length, lengths[:, 2:3], update_norms)
    after = stream + (length[..., None] * directions[:, None, :]).to(stream.dtype)
    asked = length.abs()
    if mask is not None:
        # torch.where, not "+ 0": an unsteered position keeps its bits, signed zeros included.
        after = torch.where(mask[..., None], after, stream)
        asked = torch.where(mask, asked, NOT_STEERED)
    moved = (after.to(wide) - own).norm(dim=-1).float()
    return after, torch.stack([before, asked, moved])
