"""Which blocks a design steers, as it states them and as blocks of one model."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..boundaries import checked, guarded
from ..doses import Depth
from ..errors import LayerError, explain

#: A block by its index or by its depth.
Block = int | Depth


@guarded(LayerError)
@attrs.frozen
class Blocks:
    """All blocks from ``first`` to ``last``, both included: ``Blocks(Depth(1 / 3), Depth(2 / 3))``.

    Written ``21/64 to 42/64``. A band of a model of any depth, of which every block is steered.
    """

    first: Block
    last: Block

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


#: What is steered at once: one block, or several.
Band = tuple[Block | Blocks, ...]


def _resolved(block: Block | Blocks, n_layers: int) -> tuple[int, ...]:
    if isinstance(block, Blocks):
        first, last = (_resolved(end, n_layers)[0] for end in (block.first, block.last))
        if first > last:
            raise LayerError(
                explain("layers", required="a first block that isn't behind the last", got=str(block), hint="")
            )
        return tuple(range(first, last + 1))
    return (block.layer(n_layers) if isinstance(block, Depth) else block,)


@checked(LayerError)
def resolve_layers(bands: Sequence[Band], n_layers: int) -> tuple[tuple[int, ...], ...]:
    """Return each band as the blocks of a model with ``n_layers`` blocks.

    Raises :class:`LayerError` for a block that the model lacks, and where two bands come to the same blocks.
    """
    found = [tuple(n for b in band for n in _resolved(b, n_layers)) for band in bands]
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
