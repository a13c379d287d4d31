"""What a steering hook writes down inside vLLM, and what is made of it outside: receipts and readings.

Nothing here imports vLLM: the bookkeeping is plain positions and tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...errors import SilentInjectionError, explain
from ...measures.base import Read
from ..receipts import unmeasured

FloatArray = npt.NDArray[np.float32]
#: By the number of a request's steer or read: (first position, one row for each position from there on).
Parts: TypeAlias = Mapping[int, Sequence[tuple[int, FloatArray]]]
#: Reads that have a row for each layer; the others are of what leaves the model.
OF_LAYERS = frozenset(("residuals", "cosines", "lens"))


class LayerLog:
    """What happened to one request at one block, over all forward passes.

    ``next`` is the position that the next pass has to begin with. vLLM starts again from an earlier position when
    it has preempted a request; what was written from there on is then forgotten, since those positions are run
    again. ``error`` holds the first thing that went wrong: such a request has no receipt.
    """

    def __init__(self) -> None:
        self.next = 0
        self.restarts = 0
        self.error: str | None = None
        self._measured: dict[int, list[tuple[int, Tensor]]] = {}
        self._readings: dict[int, list[tuple[int, Tensor]]] = {}

    def begin(self, start: int, count: int) -> None:
        """Note a pass over the positions ``start`` to ``start + count``; raises where positions were left out."""
        if start > self.next:
            raise SilentInjectionError(
                explain(
                    "forward pass",
                    required=f"position {self.next} next",
                    got=f"position {start}",
                    hint="Something was read from a cache instead of being computed.",
                )
            )
        if start < self.next:
            self.restarts += 1
            self._measured = _before(self._measured, start)
            self._readings = _before(self._readings, start)
        self.next = start + count

    def steered(self, steer: int, position: int, measured: Tensor) -> None:
        """Note what :func:`.steering.steer` measured, (n, 3), of one steer at n positions from ``position`` on."""
        self._measured.setdefault(steer, []).append((position, measured))

    def read(self, read: int, position: int, rows: Tensor) -> None:
        """Note what one read found, (n, ...), at n positions from ``position`` on."""
        self._readings.setdefault(read, []).append((position, rows))

    def packed(self) -> dict[str, Any]:
        """Return all of it as numbers and NumPy arrays, for the way out of the worker."""
        return {
            "next": self.next,
            "restarts": self.restarts,
            "error": self.error,
            "measured": _packed(self._measured),
            "readings": _packed(self._readings),
        }


def _packed(parts: Mapping[int, Sequence[tuple[int, Tensor]]]) -> dict[int, list[tuple[int, FloatArray]]]:
    return {number: [(at, t.float().cpu().numpy()) for at, t in some] for number, some in parts.items()}


def _before(parts: Mapping[int, Sequence[tuple[int, Tensor]]], stop: int) -> dict[int, list[tuple[int, Tensor]]]:
    return {number: [(at, t[: stop - at]) for at, t in some if at < stop] for number, some in parts.items()}


@attrs.frozen(eq=False)
class LayerRecord:
    """What came out of the workers about one request at one block, both in the order of positions.

    ``measured`` is what :func:`.steering.steer` measured of each steer, (n, 3), and ``readings`` what each read found.
    """

    restarts: int = 0
    measured: Parts = attrs.field(factory=dict)
    readings: Parts = attrs.field(factory=dict)

    def sizes(self, steer: int, end: int) -> FloatArray:
        """What was measured at the positions before ``end``: (3, end), as :func:`.receipts.make_receipt` takes it.

        An engine may run one position more than it keeps.
        """
        found = unmeasured(end)
        for at, sizes in self.measured.get(steer, ()):
            kept = sizes[: max(end - at, 0)]
            found[:, at : at + len(kept)] = kept.T
        return found

    def rows(self, read: int, start: int, into: FloatArray) -> None:
        """Write what a read found at the positions from ``start`` on into an array; raises where some lack."""
        missing = np.ones(len(into), dtype=bool)
        for at, rows in self.readings.get(read, ()):
            first, last = max(at, start), min(at + len(rows), start + len(into))
            if first < last:
                into[first - start : last - start] = rows[first - at : last - at]
                missing[first - start : last - start] = False
        if missing.any():
            raise SilentInjectionError(
                explain(
                    "readings",
                    required=f"every position from {start} to {start + len(into)}",
                    got=f"{int(missing.sum())} missing",
                    hint="The hook did not run at each of them; nothing is recorded.",
                )
            )


def gather(
    records: Mapping[int, LayerRecord], number: int, read: Read, *, processed: int, last: int, width: int
) -> FloatArray:
    """Return what a request's read number ``number`` found, of :meth:`Read.shape`.

    Args:
        records: by layer.
        number: of the read in its request.
        read: what was asked for.
        processed: how many positions count.
        last: the last block, whose record has what leaves the model.
        width: of the residual stream.

    Raises:
        SilentInjectionError: some of it is missing.
        ValueError: it is of another shape, as where a block's output is not the stream.
    """
    ending = records.get(last, LayerRecord())
    # Only the model knows of how many tokens it makes logits; where nothing came, that is what is wrong.
    vocabulary = next((rows.shape[-1] for _, rows in ending.readings.get(number, ())), 0)
    found = np.full(read.shape(processed, width, vocabulary), np.nan, dtype=np.float32)
    if read.kind in OF_LAYERS:
        for layer, rows in zip(read.layers, found, strict=True):
            records.get(layer, LayerRecord()).rows(number, read.positions.start, rows)
    else:
        ending.rows(number, read.positions.start, found)
    return found


def merge_ranks(ranks: Sequence[Mapping[int, Mapping[str, Any]] | None], copies: int) -> dict[int, LayerRecord]:
    """Return one record per block from what the workers packed.

    Every worker that holds a block (``copies`` of them: the tensor parallel size) must have done the same to it;
    readings come from the one that keeps them. Raises :class:`SilentInjectionError` where a hook failed or the
    workers differ.
    """
    by_layer: dict[int, list[Mapping[str, Any]]] = {}
    for rank in ranks:
        for layer, packed in (rank or {}).items():
            by_layer.setdefault(layer, []).append(packed)
    merged = {}
    for layer, reports in by_layer.items():
        failed = next((r["error"] for r in reports if r["error"]), None)
        done = {(r["next"], r["restarts"], _extents(r["measured"])) for r in reports}
        if failed or len(done) != 1 or len(reports) != copies:
            raise SilentInjectionError(
                explain(
                    f"hook at layer {layer}",
                    required=f"the same report, without an error, from {copies} worker(s)",
                    got=failed or f"{len(reports)} report(s) of {len(done)} kind(s)",
                    hint="The reply is not recorded.",
                )
            )
        readings: Parts = next((r["readings"] for r in reports if r["readings"]), {})
        merged[layer] = LayerRecord(reports[0]["restarts"], reports[0]["measured"], readings)
    return merged


def _extents(parts: Parts) -> tuple[tuple[int, tuple[tuple[int, int], ...]], ...]:
    return tuple((number, tuple((at, len(rows)) for at, rows in some)) for number, some in sorted(parts.items()))
