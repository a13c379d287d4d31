"""The places in a worker's model where requests are steered and read: its blocks, and what comes behind the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import attrs
from torch import Tensor, nn
from vllm.distributed import get_pp_group

from ...errors import ModelError, explain
from .. import vllm_engine as engines
from .records import LayerLog

#: Blocks that return one tensor, and the child whose output they add last. Blocks that return (hidden_states,
#: residual) need no entry: their first half is that output.
UPDATE_CHILD = {"GPT2Block": "mlp", "GPTNeoXLayer": "mlp"}
#: By how much the final norm of the summed stream may differ from that of its two halves: both round.
_ROUNDING = 0.02


@attrs.define(eq=False)
class Claim:
    """One request's change of the rows ``row`` to ``row + count`` of a pass.

    ``kept`` are the (start, stop) among them that no steer touches.
    """

    log: LayerLog
    row: int
    count: int
    kept: tuple[tuple[int, int], ...]


class Site:
    """One decoder block of a worker: its output before vllm-lens touches it, and the changes that were claimed."""

    def __init__(self, block: nn.Module) -> None:
        self.block = type(block).__name__
        self.fused: bool | None = None
        self.raw: Any = None
        self.branch_norms: Tensor | None = None
        self.claims: list[Claim] = []
        child = UPDATE_CHILD.get(self.block)
        if child is not None:
            block.get_submodule(child).register_forward_hook(self._on_branch)

    def _on_branch(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        # At once: a block may go on to write into its branch's output.
        self.branch_norms = output.float().norm(dim=-1)

    def head(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """First hook of the block: keep its output."""
        self.raw = output
        self.fused = isinstance(output, tuple) and len(output) == 2 and output[1] is not None
        self.claims = []

    def tail(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        """Last hook of the block: make sure that what was claimed is in the output, and nothing else is.

        vllm-lens logs an exception at a block and goes on with the block's own output: then no claim holds. It also
        rewrites all rows of a steered request as (sum, 0); rows outside the spans get their own two halves back, so
        that the next norm, which may add the halves in float32, sees the same bits as without steering.
        """
        for claim in self.claims:
            if output is self.raw:
                claim.log.error = claim.log.error or "vllm-lens dropped the change of this block's output (see its log)"
                continue
            halves = zip(output, self.raw, strict=True) if isinstance(output, tuple) else [(output, self.raw)]
            for changed, own in halves:
                for start, stop in claim.kept:
                    rows = slice(claim.row + start, claim.row + stop)
                    changed[rows] = own[rows]
        self.raw, self.branch_norms, self.claims = None, None, []

    def update_norms(self, rows: slice) -> Tensor:
        """The norms of what the block added last to the stream, at these rows of the pass; float32."""
        if self.fused:
            half: Tensor = self.raw[0]
            norms: Tensor = half[rows].float().norm(dim=-1)
            return norms
        if self.branch_norms is None:
            raise ModelError(
                explain(
                    "unit 'update'",
                    required=f"a block that returns its last addition apart, or one of {sorted(UPDATE_CHILD)}",
                    got=self.block,
                    hint="Use the unit 'residual', or the torch backend.",
                )
            )
        return self.branch_norms[rows]


@attrs.frozen(eq=False)
class Ending:
    """One request at the end of a pass: its rows of what leaves the model, and who is to be told of them.

    ``stream`` (rows, hidden_size) is what left the last block, steers included.
    """

    log: LayerLog
    rows: slice
    stream: Tensor
    told: Callable[[Tensor], None]


class Head:
    """What comes behind the last block of a worker's model: the final norm and the unembedding.

    ``norm`` is the module whose output is what leaves the model, once ``prove`` has found it and seen that it
    gives that of the summed stream; None where there is none, and for all but the last pipeline stage. ``ends`` says
    whether what leaves the model was seen to be its final hidden states.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[nn.Module]) -> None:
        self._model = model
        self.norm: nn.Module | None = None
        self.ends = False
        self.pending: list[Ending] = []
        self._proving = True
        self._last: tuple[nn.Module, Any] | None = None
        self._spies: list[Any] = []
        if get_pp_group().is_last_rank:
            inside = {id(module) for block in blocks for module in block.modules()}
            leaves = (m for m in model.modules() if id(m) not in inside and not any(m.children()))
            self._spies = [leaf.register_forward_hook(self._spy) for leaf in leaves]
            model.register_forward_hook(self._end)

    def _spy(self, module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        self._last = module, output[0] if isinstance(output, tuple) else output

    def _end(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        pending, self.pending = self.pending, []
        for ending in pending:
            try:
                if self._proving:
                    self._prove(output, ending)
                ending.told(output[ending.rows])
            except Exception as error:  # as in the hook: reported through the log
                ending.log.error = ending.log.error or f"{type(error).__name__}: {error}"

    def _prove(self, output: Any, ending: Ending) -> None:
        """Find the final norm in the first pass that is read to its end, and take the spies off."""
        self._proving = False
        for spy in self._spies:
            spy.remove()
        found, self._last = self._last, None
        self.ends = isinstance(output, Tensor) and output.shape[-1] == ending.stream.shape[-1]
        if self.ends and found is not None and found[1] is output:
            own = output[ending.rows].float()
            again = found[0](ending.stream.contiguous())
            near = isinstance(again, Tensor) and again.shape == own.shape
            if near and bool((again.float() - own).norm() <= _ROUNDING * own.norm()):
                self.norm = found[0]

    def normed(self, stream: Tensor) -> Tensor:
        """Return the final norm of rows of the stream (rows, hidden_size)."""
        if self.norm is None:
            raise ModelError(explain("lens", required="a final norm", got=type(self._model).__name__, hint=""))
        found: Tensor = self.norm(stream.contiguous())
        return found

    def reduced(self, final: Tensor, reduce: Callable[[Tensor, slice], Tensor]) -> Tensor | None:
        """Return ``reduce(logits, rows)`` of what the final norm gave (rows, hidden_size), some rows at a time.

        Where the vocabulary is sharded all workers must call it, and those that don't get the logits return None.
        """
        return engines.reduced(self._model, final, reduce)


@attrs.frozen(eq=False)
class Sites:
    """The blocks of one worker's model, its end, and the model runner, which knows where each request stands."""

    runner: Any
    blocks: dict[int, Site]
    head: Head

    def first_position(self, key: str) -> int:
        """The position of the request's first token in the pass that is running."""
        batch = self.runner.input_batch
        index = next(i for name, i in batch.req_id_to_index.items() if name.startswith(f"{key}-"))
        return int(batch.num_computed_tokens_cpu[index])


SITES: WeakKeyDictionary[nn.Module, Sites] = WeakKeyDictionary()
