"""What a steering hook writes down inside vLLM, and what is made of it outside: receipts and residuals.

Nothing here imports vLLM: the bookkeeping is plain positions and tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...errors import SilentInjectionError, explain
from ..receipts import unmeasured

FloatArray = npt.NDArray[np.float32]


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
        self._measured: list[tuple[int, Tensor]] = []
        self._rows: list[tuple[int, Tensor]] = []

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
            self._rows = _before(self._rows, start)
        self.next = start + count

    def steered(self, position: int, measured: Tensor) -> None:
        """Note what :func:`.steering.steer` measured, (n, 3), at n positions from ``position`` on."""
        self._measured.append((position, measured))

    def captured(self, position: int, rows: Tensor) -> None:
        """Keep residuals (n, hidden_size) of n positions from ``position`` on."""
        self._rows.append((position, rows))

    def packed(self) -> dict[str, Any]:
        """Return all of it as numbers and NumPy arrays, for the way out of the worker."""
        return {
            "next": self.next,
            "restarts": self.restarts,
            "error": self.error,
            "measured": [(at, m.float().cpu().numpy()) for at, m in self._measured],
            "rows": [(at, r.float().cpu().numpy()) for at, r in self._rows],
        }


def _before(parts: Sequence[tuple[int, Tensor]], stop: int) -> list[tuple[int, Tensor]]:
    return [(at, tensor[: stop - at]) for at, tensor in parts if at < stop]


@attrs.frozen(eq=False)
class LayerRecord:
    """What came out of the workers about one request at one block.

    ``measured`` are (first position, what :func:`.steering.steer` measured, (n, 3)) and ``rows`` (first position,
    residuals), both in the order of positions.
    """

    processed: int
    restarts: int
    measured: tuple[tuple[int, FloatArray], ...]
    rows: tuple[tuple[int, FloatArray], ...]

    def sizes(self, end: int) -> FloatArray:
        """What was measured at the positions before ``end``: (3, end), as :func:`.receipts.make_receipt` takes it.

        An engine may run one position more than it keeps.
        """
        found = unmeasured(end)
        for at, sizes in self.measured:
            kept = sizes[: max(end - at, 0)]
            found[:, at : at + len(kept)] = kept.T
        return found

    def residuals(self, start: int, end: int) -> FloatArray:
        """The residuals at the positions ``start`` to ``end``: (end - start, hidden_size); raises where some lack."""
        width = self.rows[0][1].shape[1] if self.rows else 0
        found = np.full((end - start, width), np.nan, dtype=np.float32)
        missing = np.ones(end - start, dtype=bool)
        for at, rows in self.rows:
            first, last = max(at, start), min(at + len(rows), end)
            if first < last:
                found[first - start : last - start] = rows[first - at : last - at]
                missing[first - start : last - start] = False
        if missing.any():
            raise SilentInjectionError(
                explain(
                    "captured residuals",
                    required=f"every position from {start} to {end}",
                    got=f"{int(missing.sum())} missing",
                    hint="The hook did not run at each of them; nothing is recorded.",
                )
            )
        return found


def merge_ranks(ranks: Sequence[Mapping[int, Mapping[str, Any]] | None], copies: int) -> dict[int, LayerRecord]:
    """Return one record per block from what the workers packed.

    Every worker that holds a block (``copies`` of them: the tensor parallel size) must have done the same to it;
    residuals come from the one that keeps them. Raises :class:`SilentInjectionError` where a hook failed or the
    workers differ.
    """
    by_layer: dict[int, list[Mapping[str, Any]]] = {}
    for rank in ranks:
        for layer, packed in (rank or {}).items():
            by_layer.setdefault(layer, []).append(packed)
    merged = {}
    for layer, reports in by_layer.items():
        failed = next((r["error"] for r in reports if r["error"]), None)
        done = {(r["next"], r["restarts"], tuple((at, len(x)) for at, x in r["measured"])) for r in reports}
        if failed or len(done) != 1 or len(reports) != copies:
            raise SilentInjectionError(
                explain(
                    f"hook at layer {layer}",
                    required=f"the same report, without an error, from {copies} worker(s)",
                    got=failed or f"{len(reports)} report(s) of {len(done)} kind(s)",
                    hint="The reply is not recorded.",
                )
            )
        first = reports[0]
        rows: Sequence[tuple[int, FloatArray]] = next((r["rows"] for r in reports if r["rows"]), [])
        merged[layer] = LayerRecord(first["next"], first["restarts"], tuple(first["measured"]), tuple(rows))
    return merged
