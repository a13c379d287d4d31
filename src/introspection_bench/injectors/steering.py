"""The steering arithmetic, in torch alone: what torch's hooks, nnsight's traces and vLLM's workers do to the stream.

:func:`steer` travels with nnsight's traces, as source text, to servers that lack this package: so it uses nothing else
of it. One copy exists on purpose: the conformance suite's injector is written apart, as an oracle.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ..doses import Unit, delta_length
from ..injection import Steer

#: What stands for "asked" at a position that is not steered; a length is never negative.
NOT_STEERED = -1.0

#: At which places :func:`coefficients` asks for the length of an addition: nowhere, then at one in each of three.
_RESIDUAL, _UPDATE, _ALONG = np.eye(4)[1:]


def coefficients(steer: Steer) -> tuple[float, float, float, float]:
    """Return (a, b, c, d) such that the addition is (a + b ‖h‖ + c ‖u‖ + d (h · û)) û.

    :func:`~introspection_bench.doses.delta_length` is linear in all three; this is it, as four numbers.
    """
    # Linear, so it is known by what it is at nought and at one in each place: once for four numbers, a steer's cost.
    at = delta_length(
        steer.unit,
        steer.dose.magnitude,
        vector_norm=steer.vector.norm,
        residual_norm=_RESIDUAL,
        update_norm=_UPDATE,
        along=_ALONG,
    )
    none, residual, update, along = np.broadcast_to(np.asarray(at, dtype=np.float64), 4).tolist()
    return none, residual - none, update - none, along - none


def needs_update(steers: Iterable[Steer]) -> bool:
    """Whether the norm of the MLP branch's output is needed for some of these steers."""
    return any(s.dose.unit is Unit.UPDATE for s in steers)


def projects(steers: Iterable[Steer]) -> bool:
    """Whether h · û is needed for some of these steers."""
    return any(s.dose.unit is Unit.PROJECTION for s in steers)


def steer(
    stream: Tensor,
    directions: Tensor,
    lengths: Tensor,
    mask: Tensor | None = None,
    update_norms: Tensor | None = None,
    *,
    origin: Tensor | None = None,
    projecting: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the stream with one steer a row added, and what was measured on it.

    Several steers of a row are added by one call each, all with the same ``origin``.

    Args:
        stream: the residual stream (rows, positions, hidden_size), in the model's dtype; left as it is.
        directions: û of each row (rows, hidden_size), float32.
        lengths: :func:`coefficients` of each row (rows, 4), float32.
        mask: which positions are steered (rows, positions), bool; None for all of them.
        update_norms: ‖u‖ (rows, positions), float32; needed where a row's third coefficient is not 0.
        origin: the stream before any steer, which ‖h‖ and h · û are of; None where ``stream`` is that.
        projecting: whether a row's fourth coefficient is not 0.

    Returns:
        The steered stream, and a float32 tensor (3, rows, positions): ‖h‖, the length that was asked for
        (:data:`NOT_STEERED` where nothing was) and ‖after - before‖ of this very addition, as the stream's own dtype
        holds both. Norms and the addition are computed in float32; the addition is cast to the stream's dtype and
        added.
    """
    wide = torch.promote_types(stream.dtype, torch.float32)
    own = stream.to(wide)
    first = own if origin is None else origin.to(wide)
    before = first.norm(dim=-1).float()
    length = torch.addcmul(lengths[:, 0:1], lengths[:, 1:2], before)
    if update_norms is not None:
        length = torch.addcmul(length, lengths[:, 2:3], update_norms)
    if projecting:
        length = torch.addcmul(length, lengths[:, 3:4], (first * directions[:, None, :]).sum(dim=-1).float())
    after = stream + (length[..., None] * directions[:, None, :]).to(stream.dtype)
    asked = length.abs()
    if mask is not None:
        # torch.where, not "+ 0": an unsteered position keeps its bits, signed zeros included.
        after = torch.where(mask[..., None], after, stream)
        asked = torch.where(mask, asked, NOT_STEERED)
    moved = (after.to(wide) - own).norm(dim=-1).float()
    return after, torch.stack([before, asked, moved])
