"""vLLM's worker with steering in its graphs: ``vllm serve --worker-cls`` takes it as well.

vLLM loads the class by name where it is chosen, and nowhere else is anything changed.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch
from vllm.distributed import get_pp_group, get_tensor_model_parallel_rank
from vllm.platforms import current_platform

from ..vllm_engine import ask_for_amx
from . import blocks, ops, supported
from .reader import Reader
from .sampling import TorchChooser
from .tables import Tables
from .wire import KEY, Sizes, counted, pack, unpack

if TYPE_CHECKING:
    from vllm.v1.worker.gpu_worker import Worker as _Base
elif current_platform.is_cpu():
    from vllm.v1.worker.cpu_worker import CPUWorker as _Base
else:
    from vllm.v1.worker.gpu_worker import Worker as _Base


class SteeringWorker(_Base):  # type: ignore[misc]  # vLLM ships no types that mypy reads here
    """vLLM's own worker for this machine, whose model is steered. Methods named ``introspection_…`` are called by RPC.

    A request that carries no order of ours (:class:`.wire.Order`) runs as it would in vLLM's worker.
    """

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        supported.check(vllm_config)
        supported.salted(vllm_config)
        if vllm_config.model_config.dtype is torch.float32:
            # vLLM's attention kernel for float32 multiplies in TF32 unless Triton is told otherwise.
            os.environ.setdefault("TRITON_F32_DEFAULT", "ieee")
        super().__init__(vllm_config, *args, **kwargs)

    def load_model(self, **kwargs: Any) -> None:
        """Load the model, and put our ops behind its blocks before anything is compiled or captured."""
        ask_for_amx()
        super().load_model(**kwargs)
        config, runner = self.vllm_config, self.model_runner
        model, count = runner.get_model(), int(self.model_config.get_total_num_hidden_layers())
        supported.check_model(model)
        hidden = int(self.model_config.get_hidden_size())
        found = blocks.find(model, count, hidden)
        tables = Tables(
            sizes_of(config),
            hidden=hidden,
            layers=count,
            dtype=self.model_config.dtype,
            step=int(config.scheduler_config.max_num_batched_tokens),
            device=runner.device,
        )
        self._tables, self._blocks = tables, found
        for number, block in found.blocks.items():
            ops.hook_block(block, number, runner.device)
            branch = blocks.branch_of(block)
            if branch is not None:
                ops.hook_branch(branch, tables.branch_norms)
        ops.hook_end(model, count, runner.device)
        self._reader = Reader(tables, model, found)
        if runner.device.type == "cpu":
            from .cpu import CpuEngine

            self._ops: ops.Engine = CpuEngine(tables)
            chooser: Any = TorchChooser(tables)
            self._aside: Any = contextlib.nullcontext()
        else:
            from .cuda import CudaChooser, CudaEngine

            self._ops = CudaEngine(tables)
            chooser = CudaChooser(tables)
            self._aside = torch.cuda.stream(torch.cuda.Stream(runner.device))
        ops.use(self._ops)
        if supported.uses_v2(config):
            from .runner_v2 import RunnerV2

            self._follower: Any = RunnerV2(runner, tables, chooser)
        else:
            from .runner_v1 import RunnerV1

            self._follower = RunnerV1(runner, tables, chooser)

    def introspection_sites(self) -> str:
        """Return, as JSON, the sizes of the tables, and what this worker's blocks are and can."""
        halves = self._ops.halves
        able = [
            [n, type(b).__name__, halves or blocks.branch_of(b) is not None] for n, b in self._blocks.blocks.items()
        ]
        return json.dumps({"blocks": able, "sizes": attrs.asdict(self._tables.sizes)})

    def introspection_vectors(self, data: bytes) -> None:
        """Put directions into the table."""
        arrays, _ = unpack(data)
        self._tables.set_vectors(arrays["rows"], arrays["directions"])

    def introspection_begun(self, entries: list[int]) -> list[int]:
        """Return those of some requests of which a step has been planned; others wait in the scheduler."""
        return [entry for entry in entries if entry in self._tables.guests]

    def introspection_take(self, data: bytes) -> bytes:
        """Return what was measured for some requests: the steers' sizes by position, the largest logits by token.

        Where tensor parallel workers hold the same, the first tells it, and the others how many positions they saw.
        """
        arrays, _ = unpack(data)
        tables, first = self._tables, get_tensor_model_parallel_rank() == 0
        entries, tokens = arrays["entries"].tolist(), int(arrays["tokens"].max(initial=0))
        places, lengths = tables.pieces(entries)
        seen, stamps, largest = self._fetch(places, arrays["entries"], tokens)
        sizes = tables.measurements(entries, seen, stamps)
        told = {"sizes": sizes, "largest": largest} if first else {"ran": counted(sizes, lengths)}
        return pack(told, {"first": first, "samples": get_pp_group().is_last_rank})

    def _fetch(self, places: Any, entries: Any, tokens: int) -> tuple[Any, Any, Any]:
        """Return what the tables hold at some places, as NumPy arrays: by one copy there and one back.

        On a GPU the copies have a stream of their own: what is asked for was written in steps whose tokens have been
        told, and waiting for the step that runs now would leave the GPU idle behind it.
        """
        tables, count = self._tables, len(places)
        with torch.inference_mode(), self._aside:
            index, rows = (
                torch.from_numpy(np.concatenate([places, entries])).to(tables.device).split([count, len(entries)])
            )
            found = [
                tables.measured[index].view(torch.int32).flatten(),
                tables.measured_stamps[index],
                tables.largest[rows, :tokens].view(torch.int32).flatten(),
            ]
            whole = torch.cat(found).cpu().numpy()
        seen, stamps, largest = np.split(whole, [3 * count, 4 * count])
        return seen.view(np.float32).reshape(count, 3), stamps, largest.view(np.float32).reshape(len(entries), tokens)

    def introspection_prove(self, entry: int, positions: int) -> bool:
        """Find the final norm by a probe's captures; return whether this worker has it."""
        self._reader.prove(entry, positions)
        return self._reader.norm is not None

    def introspection_read(self, data: bytes) -> bytes:
        """Return what some requests read."""
        operands, jobs = unpack(data)
        return pack(self._reader.read(jobs, operands))

    def introspection_forget(self, entries: list[int]) -> None:
        """Drop what is known of requests."""
        self._tables.forget(entries)


def sizes_of(config: Any) -> Sizes:
    """Return how much a worker's tables hold under a configuration of vLLM."""
    asked = dict((config.additional_config or {}).get(KEY, {}))
    sequences = int(config.scheduler_config.max_num_seqs)
    tokens = int(config.model_config.max_model_len)
    count = int(config.model_config.get_total_num_hidden_layers())
    width = int(config.model_config.get_hidden_size()) * config.model_config.dtype.itemsize
    usual = Sizes(
        entries=2 * sequences + 16,
        rows=2 * count + 16,
        vectors=2 * sequences + 2 * count,
        measured=max(4 * sequences, 2 * count) * tokens,
        captures=(256 << 20) // width,
        tokens=tokens,
    )
    chosen = {name: int(asked[name]) for name in attrs.asdict(usual) if name in asked}
    return attrs.evolve(usual, **chosen)
