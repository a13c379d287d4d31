"""Injectors with one bug each, all of a kind that tools in this field have had; the suite must catch every one.

Each names in ``caught_by`` the check that is there for its bug. Where the port's own look at the receipt would
already catch the bug, the fake's receipt lies, as a receipt does that is computed from what was asked for.
"""

# ruff: noqa: D102  # a fake replaces documented steps of LoopInjector; its class says what is wrong with it

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor

from ..injection import Injection, Positions, Receipt, Unit
from ..injectors.base import Request
from ..trials import Sampling
from .loop import LoopInjector, LoopRow


class FakeBroken(LoopInjector):
    """Base of the broken injectors."""

    #: Name of the check that must fail.
    caught_by: ClassVar[str]


class FakeLying(FakeBroken):
    """Its receipt repeats the request's counts instead of what was done."""

    def receipt(self, row: LoopRow) -> Receipt:
        if row.injection is None:
            return Receipt.nothing()
        told = super().receipt(row)
        counts = row.injection.span.resolve(row.request.prompt).expected(len(row.sampled))
        mean, most = told.mean_ratio or 0.5, told.max_ratio or 0.5
        return Receipt(*counts, mean, most) if any(counts) else Receipt.nothing()


class FakeZeroIsSomething(FakeLying):
    """Steers at magnitude 0 too: what it adds is zero times NaN-free, but the bits change."""

    caught_by = "zero_magnitude_equals_no_injection"

    def active(self, request: Request) -> Injection | None:
        return request.injection

    def delta(self, injection: Injection, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(injection, h, update) + 1e-6 * h.float()

    def receipt(self, row: LoopRow) -> Receipt:
        zero = row.injection is not None and row.injection.magnitude == 0
        return Receipt.nothing() if zero else super().receipt(row)


class FakeNextLayer(FakeBroken):
    """Counts layers from 1."""

    caught_by = "steers_only_its_layer"

    def layer(self, injection: Injection) -> int:
        return (injection.layer + 1) % self.model.n_layers


class FakeRenormalises(FakeBroken):
    """Scales the steered residual back to its old norm."""

    caught_by = "steers_only_its_layer"

    def add(self, row: LoopRow, layer: int, hidden: Tensor, where: Tensor) -> Tensor:
        steered = super().add(row, layer, hidden, where)
        scaled: Tensor = steered * (hidden.norm(dim=-1, keepdim=True) / steered.norm(dim=-1, keepdim=True))
        return scaled


class FakeWritesNothing(FakeBroken):
    """Computes and reports the steered stream, but the model goes on with the old one."""

    caught_by = "steers_only_its_layer"

    def written(self, before: Tensor, after: Tensor) -> Tensor:
        del after
        return before


class FakeOffByOne(FakeLying):
    """Begins and ends every span one position late."""

    caught_by = "leaves_positions_outside_the_span_alone"

    def place(self, request: Request, injection: Injection) -> Positions:
        where = super().place(request, injection)
        return attrs.evolve(where, start=where.start + 1, stop=None if where.stop is None else where.stop + 1)


class FakePromptOnly(FakeLying):
    """Steers the prefill alone, as a hook does that recognises it by its length."""

    caught_by = "fires_once_per_generated_token"

    def chosen(self, row: LoopRow, at: Tensor) -> Tensor:
        return super().chosen(row, at) & (at < len(row.request.prompt.token_ids))


class FakeFiresTwice(FakeBroken):
    """Two hooks sit on the block while generating, one left over."""

    caught_by = "fires_once_per_generated_token"

    def add(self, row: LoopRow, layer: int, hidden: Tensor, where: Tensor) -> Tensor:
        steered = super().add(row, layer, hidden, where)
        return steered if len(hidden) > 1 else super().add(row, layer, steered, where)


class FakeOneColumnIsDecode(FakeLying):
    """Takes every pass of one column for a generated token."""

    caught_by = "steers_one_token_prompts_and_tails"

    def positions(self, row: LoopRow, columns: int) -> Tensor:
        at = super().positions(row, columns)
        return at + 1 if columns == 1 and self.column == 0 else at


class FakeFirstRowsVector(FakeBroken):
    """Uses the first row's vector for the whole batch."""

    caught_by = "rows_of_a_batch_do_not_leak"

    def add(self, row: LoopRow, layer: int, hidden: Tensor, where: Tensor) -> Tensor:
        first = self.rows[0].injection
        if first is not None and row.injection is not None:
            row.injection = attrs.evolve(row.injection, vector=first.vector)
        return super().add(row, layer, hidden, where)


class FakeSteersControls(FakeLying):
    """Adds the first row's vector to the controls beside it."""

    caught_by = "rows_of_a_batch_do_not_leak"

    def _install(self, rows: list[LoopRow]) -> list[Any]:
        for row in rows:
            if row.injection is None and rows[0].injection is not None:
                row.injection, row.where = rows[0].injection, Positions(0, None, 0)
        return super()._install(rows)

    def receipt(self, row: LoopRow) -> Receipt:
        return Receipt.nothing() if row.request.injection is None else super().receipt(row)


class FakePrefixCache(FakeLying):
    """Keeps the steered prompt's cache under the prompt's tokens alone, and controls read it.

    vLLM's prefix cache under a steering plugin (issue 5, fact (a)).
    """

    caught_by = "injected_requests_leave_no_trace"

    def __init__(self, model: Any, tokenizer: Any, prefill_chunk: int | None = None) -> None:
        super().__init__(model, tokenizer, prefill_chunk)
        self._cached: dict[tuple[int, ...], Injection] = {}

    def _install(self, rows: list[LoopRow]) -> list[Any]:
        for row in rows:
            key = row.request.prompt.token_ids
            if row.injection is None and key in self._cached:
                row.injection = self._cached[key]
                row.where = attrs.evolve(row.injection.span.resolve(row.request.prompt), stop=len(key))
            elif row.injection is not None and row.injection.span.kind == "all":
                self._cached[key] = row.injection
        return super()._install(rows)

    def receipt(self, row: LoopRow) -> Receipt:
        return Receipt.nothing() if row.request.injection is None else super().receipt(row)


class FakeLeavesHooks(FakeBroken):
    """Takes its hooks off only when a generation ends well."""

    caught_by = "restores_its_state_after_an_exception"

    @contextmanager
    def hooks(self, rows: list[LoopRow]) -> Iterator[None]:
        handles = self._install(rows)
        yield
        for handle in handles:
            handle.remove()


class FakeIgnoresTheSign(FakeBroken):
    """Adds abs(m): an inhibition becomes an injection."""

    caught_by = "additions_are_additive_and_antisymmetric"

    def delta(self, injection: Injection, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(attrs.evolve(injection, magnitude=abs(injection.magnitude)), h, update)


class FakeClips(FakeBroken):
    """Clips the addition at half the residual's norm."""

    caught_by = "additions_are_additive_and_antisymmetric"

    def delta(self, injection: Injection, h: Tensor, update: Tensor) -> Tensor:
        delta = super().delta(injection, h, update)
        most = 0.5 * h.float().norm(dim=-1, keepdim=True)
        clipped: Tensor = delta * (most / delta.norm(dim=-1, keepdim=True)).clamp(max=1)
        return clipped


class FakeCountsPadding(FakeLying):
    """Counts positions in columns of the padded batch."""

    caught_by = "left_padding_moves_nothing"

    def positions(self, row: LoopRow, columns: int) -> Tensor:
        at = super().positions(row, columns)
        return torch.where(at < 0, at, at + row.padding)


class FakeCleanCache(FakeBroken):
    """Steers the pass that it sees, but decodes on a cache of the unsteered prompt."""

    caught_by = "cached_steps_equal_one_pass"

    def prefilled(self, ids: Tensor, mask: Tensor, cache: Any) -> Any:
        del cache
        rows, self.rows = self.rows, [attrs.evolve(r, injection=None) for r in self.rows]
        for row in self.rows:
            row.captured = {}  # of the copies: the second pass is not to be captured
        try:
            return self._pass(ids, 0, mask, None)[1]
        finally:
            self.rows = rows


class FakeWidens(FakeBroken):
    """Adds in float32 and keeps the sum wide."""

    caught_by = "keeps_the_dtype_of_the_stream"

    def add(self, row: LoopRow, layer: int, hidden: Tensor, where: Tensor) -> Tensor:
        super().add(row, layer, hidden, where)
        assert row.injection is not None  # noqa: S101  # for the type checker
        update = self.updates[layer][self.rows.index(row)]
        steered = hidden.float().clone()
        steered[where] += self.delta(row.injection, hidden[where], update[where])
        return steered

    def written(self, before: Tensor, after: Tensor) -> Tensor:
        return after.to(before.dtype)


class FakeAcceptsAnything(FakeBroken):
    """Clamps a layer that is out of range instead of refusing it."""

    caught_by = "refuses_bad_requests_before_any_forward"

    def check_layer(self, layer: int) -> None:
        del layer

    def layer(self, injection: Injection) -> int:
        return min(injection.layer, self.model.n_layers - 1)


class FakeReportsTheSpec(FakeBroken):
    """Its receipt gives the magnitude as the ratio, whatever the unit."""

    caught_by = "receipts_equal_what_was_done"

    def receipt(self, row: LoopRow) -> Receipt:
        told = super().receipt(row)
        if row.injection is None or not told.max_ratio:
            return told
        return attrs.evolve(told, mean_ratio=abs(row.injection.magnitude), max_ratio=abs(row.injection.magnitude))


class FakeNormOfTheUpdate(FakeBroken):
    """Takes the norm of the MLP branch for the residual's, as vllm-lens did up to 1.1."""

    caught_by = "receipts_equal_what_was_done"

    def delta(self, injection: Injection, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(injection, update if injection.unit is Unit.RESIDUAL else h, update)


class FakeIgnoresTheUnit(FakeBroken):
    """Treats every magnitude as a multiple of the residual's norm."""

    caught_by = "every_field_of_the_injection_arrives"

    def delta(self, injection: Injection, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(attrs.evolve(injection, unit=Unit.RESIDUAL), h, update)


class FakeNeverStops(FakeLying):
    """Overlooks ``stop_at_prompt_end``."""

    caught_by = "every_field_of_the_injection_arrives"

    def place(self, request: Request, injection: Injection) -> Positions:
        return attrs.evolve(injection, span=attrs.evolve(injection.span, stop_at_prompt_end=False)).span.resolve(
            request.prompt
        )


class FakeOtherUpdate(FakeBroken):
    """Takes half of the branch's norm for the unit ``update``: right in kind, wrong in size."""

    caught_by = "agrees_with_the_reference"

    def delta(self, injection: Injection, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(injection, h, update / 2)


class FakeOneGenerator(FakeBroken):
    """Samples every row from one generator that goes on from call to call."""

    caught_by = "seeds_decide_replies"

    def __init__(self, model: Any, tokenizer: Any, prefill_chunk: int | None = None) -> None:
        super().__init__(model, tokenizer, prefill_chunk)
        self._generator = torch.Generator().manual_seed(0)

    def choose(self, sampling: Sampling, rows: Sequence[LoopRow], ids: Tensor, logits: Tensor, width: int) -> list[int]:
        if sampling.temperature == 0:
            return super().choose(sampling, rows, ids, logits, width)
        weights = torch.softmax(logits.float() / sampling.temperature, dim=-1)
        return list(torch.multinomial(weights, 1, generator=self._generator)[:, 0].tolist())


class FakeSeedsByRow(FakeBroken):
    """Seeds a request by its place in the batch."""

    caught_by = "seeds_decide_replies"

    def choose(self, sampling: Sampling, rows: Sequence[LoopRow], ids: Tensor, logits: Tensor, width: int) -> list[int]:
        placed = [
            attrs.evolve(row, request=attrs.evolve(row.request, seed=row.request.seed + n))
            for n, row in enumerate(rows)
        ]
        return super().choose(sampling, placed, ids, logits, width)


class FakeRestartsChunks(FakeLying):
    """Counts positions from 0 in each prefill chunk of 64 columns, as ``position_indices`` of vllm-lens does."""

    caught_by = "long_prompts_and_many_requests_are_steered_alike"

    def __init__(self, model: Any, tokenizer: Any, prefill_chunk: int | None = None) -> None:
        super().__init__(model, tokenizer, prefill_chunk or 64)

    def chosen(self, row: LoopRow, at: Tensor) -> Tensor:
        n = len(row.request.prompt.token_ids)
        return super().chosen(row, torch.where(at < n, at % 64, at))


class FakeCapturesTheFirstLayer(FakeBroken):
    """Returns captured layers sorted, not in the order that was asked for."""

    caught_by = "capture_reads_the_last_prompt_token"

    def _capture(self, prompts: Any, layers: Any) -> Any:
        return super()._capture(prompts, sorted(layers))


def broken() -> tuple[type[FakeBroken], ...]:
    """All broken injectors."""
    from . import fakes_groups, fakes_numbers  # noqa: F401  # subclasses of this module's, found once they are defined

    found: list[type[FakeBroken]] = []
    waiting = copy.copy(FakeBroken.__subclasses__())
    while waiting:
        one = waiting.pop(0)
        waiting += one.__subclasses__()
        found += [one] if "caught_by" in vars(one) else []
    return tuple(found)
