"""Which blocks a design steers, as it states them and as blocks of one model."""

from __future__ import annotations

from collections.abc import Sequence

from ..boundaries import checked
from ..doses import Depth
from ..errors import LayerError, explain

#: A block by its index or by its depth.
Block = int | Depth
#: What is steered at once: one block, or several.
Band = tuple[Block, ...]


@checked(LayerError)
def resolve_layers(bands: Sequence[Band], n_layers: int) -> tuple[tuple[int, ...], ...]:
    """Return each band as the blocks of a model with ``n_layers`` blocks.

    Raises :class:`LayerError` for a block that the model lacks, and where two bands come to the same blocks.
    """
    found = [tuple(b.layer(n_layers) if isinstance(b, Depth) else b for b in band) for band in bands]
    outside = sorted({n for band in found for n in band if not 0 <= n < n_layers})
    twice = [b for n, b in enumerate(found) if b in found[:n] or len(set(b)) < len(b)]
    if outside or twice:
        raise LayerError(
            explain(
                "layers",
                required=f"different blocks from 0 to {n_layers - 1}",
                got=f"{outside or twice}" + (" twice" if twice and not outside else ""),
                hint="Layers are 0-based; Depth(2 / 3) names one by its share of the model's depth.",
            )
        )
    return tuple(found)
