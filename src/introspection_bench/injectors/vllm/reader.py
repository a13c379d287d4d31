"""What a worker makes of captured streams: a few numbers a position instead of a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from vllm.distributed import get_pp_group, get_tensor_model_parallel_rank

from .. import vllm_engine as engines
from ..reading import cosines, distribution, likelihoods, log_masses
from . import blocks
from .tables import Tables

#: What kinds that compare with nothing are given.
_NOTHING = np.zeros(0, dtype=np.float32)


class Reader:
    """Reads what the tables captured, with the model's own final norm and unembedding.

    ``norm`` is None until :meth:`prove` has seen which module it is, and where this worker doesn't hold it.
    """

    def __init__(self, tables: Tables, model: nn.Module, found: blocks.Sites) -> None:
        self._tables, self._model, self._found = tables, model, found
        self.norm: nn.Module | None = None

    def prove(self, entry: int, positions: int) -> None:
        """Find the final norm by a request whose last block and end were captured at some positions."""
        if not get_pp_group().is_last_rank:
            return
        last = self._tables.layers - 1
        stream, one = self._tables.captured(entry, last, 0, positions)
        end, two = self._tables.captured(entry, last + 1, 0, positions)
        if one and two:
            self.norm = blocks.prove(self._found.norms, stream, end)

    def read(self, jobs: list[Mapping[str, Any]], operands: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Return what was found for each job (``entry``, ``kind``, ``layers``, ``start``, ``stop``, ``sets``).

        ``{number}/{layer}`` names an array of float32, (positions, …). All workers that share a vocabulary must be told
        the same jobs; those that don't get the logits, or don't hold a block, leave arrays out.
        """
        found: dict[str, Any] = {}
        with torch.inference_mode():
            for number, job in enumerate(jobs):
                for layer in job["layers"]:
                    rows = self._read(job, layer, operands.get(str(number), _NOTHING))
                    if rows is not None and get_tensor_model_parallel_rank() == 0:
                        found[f"{number}/{layer}"] = rows.float().cpu().numpy()
        return found

    def _read(self, job: Mapping[str, Any], layer: int, operand: npt.NDArray[Any]) -> Tensor | None:
        stream, kind = self._captured(job, layer), job["kind"]
        if stream is None or kind == "residuals":
            return stream
        beside = torch.from_numpy(operand.copy()).to(stream.device)
        if kind == "cosines":
            return cosines(stream, beside)
        final = stream if layer == self._tables.layers else self._normed(stream)
        if kind == "likelihood":
            return self._reduced(final, lambda logits, rows: likelihoods(logits, beside[rows]))
        if kind == "distribution":
            return self._reduced(final, lambda logits, _: distribution(logits))
        return self._reduced(final, lambda logits, _: log_masses(logits, job["sets"]))

    def _captured(self, job: Mapping[str, Any], layer: int) -> Tensor | None:
        """Return what a job's request left at a block; None where this worker lacks the block or some position."""
        if layer not in self._found.blocks and not (layer == self._tables.layers and get_pp_group().is_last_rank):
            return None
        stream, whole = self._tables.captured(job["entry"], layer, job["start"], job["stop"])
        return stream if whole else None

    def _normed(self, stream: Tensor) -> Tensor:
        assert self.norm is not None  # noqa: S101  # for the type checker; without one the injector reads no lens
        return blocks.normed(self.norm, stream)

    def _reduced(self, final: Tensor, reduce: Any) -> Tensor | None:
        """Return ``reduce(logits, rows)`` of what the final norm gave (rows, hidden_size), some rows at a time."""
        return engines.reduced(self._model, final, reduce)
