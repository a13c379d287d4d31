"""Broken injectors that mix requests up, keep something of them, or tell something else than they did."""

# as in additions.py

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor

from introspection_bench.doses import Dose, Unit
from introspection_bench.identity import Sampling
from introspection_bench.injection import Receipt, Steer
from introspection_bench.injectors.requests import Request
from introspection_bench.spans import Positions
from introspection_bench.testing.loop import LoopRow, LoopSteer

from .additions import redosed
from .base import FakeBroken, FakeLying


class FakeFirstRowsVector(FakeBroken):
    """Uses the first row's vector for the whole batch."""

    caught_by = "rows_of_a_batch_do_not_leak"

    def add(self, row: LoopRow, one: LoopSteer, stream: Tensor, origin: Tensor) -> Tensor:
        if self.rows[0].steers:
            first = self.rows[0].steers[0].steer.vector
            one.steer = attrs.evolve(one.steer, injection=attrs.evolve(one.steer.injection, vector=first))
        return super().add(row, one, stream, origin)


class FakeSteersControls(FakeLying):
    """Adds the first row's vector to the controls beside it."""

    caught_by = "rows_of_a_batch_do_not_leak"

    def _install(self, rows: list[LoopRow]) -> list[Any]:
        for row in rows:
            if not row.steers and rows[0].steers:
                row.steers = [LoopSteer(one.steer, Positions(0, None, 0)) for one in rows[0].steers]
        return super()._install(rows)


class FakePrefixCache(FakeLying):
    """Keeps the steered prompt's cache under the prompt's tokens alone, and controls read it.

    vLLM's prefix cache under a steering plugin that does not tell it of the steering.
    """

    caught_by = "injected_requests_leave_no_trace"

    def __init__(self, model: Any, tokenizer: Any, prefill_chunk: int | None = None) -> None:
        super().__init__(model, tokenizer, prefill_chunk)
        self._cached: dict[tuple[int, ...], list[Steer]] = {}

    def _install(self, rows: list[LoopRow]) -> list[Any]:
        for row in rows:
            key = row.request.prompt.token_ids
            if not row.steers:
                row.steers = [
                    LoopSteer(steer, attrs.evolve(steer.positions, stop=len(key)))
                    for steer in self._cached.get(key, ())
                ]
            elif row.steers[0].where.start == 0:
                self._cached[key] = [one.steer for one in row.steers]
        return super()._install(rows)


class FakeLeavesHooks(FakeBroken):
    """Takes its hooks off only when a generation ends well."""

    caught_by = "restores_its_state_after_an_exception"

    @contextmanager
    def hooks(self, rows: list[LoopRow]) -> Iterator[None]:
        handles = self._install(rows)
        yield
        for handle in handles:
            handle.remove()


class FakeAcceptsAnything(FakeBroken):
    """Clamps a layer that is out of range instead of refusing it."""

    caught_by = "refuses_bad_requests_before_any_forward"

    def check_layer(self, layer: int) -> None:
        del layer

    def layer(self, steer: Steer) -> int:
        return min(steer.layer, self.model.n_layers - 1)


class FakeReportsTheSpec(FakeBroken):
    """Its receipts give the magnitude as the ratio, whatever the unit."""

    caught_by = "receipts_equal_what_was_done"

    def receipt(self, row: LoopRow, one: LoopSteer) -> Receipt:
        told = super().receipt(row, one)
        asked = abs(one.steer.dose.magnitude)
        return attrs.evolve(told, mean_ratio=asked, max_ratio=asked) if told.max_ratio else told


class FakeNormOfTheUpdate(FakeBroken):
    """Takes the norm of the MLP branch for the residual's, as vllm-lens did up to 1.1."""

    caught_by = "receipts_equal_what_was_done"

    def delta(self, steer: Steer, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(steer, update if steer.dose.unit is Unit.RESIDUAL else h, update)


class FakeIgnoresTheUnit(FakeBroken):
    """Treats every magnitude as a multiple of the residual's norm."""

    caught_by = "every_field_of_the_injection_arrives"

    def delta(self, steer: Steer, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(redosed(steer, Dose(steer.dose.magnitude, Unit.RESIDUAL)), h, update)


class FakeNeverStops(FakeLying):
    """Overlooks ``stop_at_prompt_end``."""

    caught_by = "every_field_of_the_injection_arrives"

    def place(self, request: Request, steer: Steer) -> Positions:
        return attrs.evolve(steer.injection.span, stop_at_prompt_end=False).resolve(request.prompt)


class FakeOtherUpdate(FakeBroken):
    """Takes half of the branch's norm for the unit ``update``: right in kind, wrong in size."""

    caught_by = "agrees_with_the_reference"

    def delta(self, steer: Steer, h: Tensor, update: Tensor) -> Tensor:
        return super().delta(steer, h, update / 2)


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


class FakeCapturesTheFirstLayer(FakeBroken):
    """Returns captured layers sorted, not in the order that was asked for."""

    caught_by = "capture_reads_the_last_prompt_token"

    def _capture(self, prompts: Any, layers: Any) -> Any:
        return super()._capture(prompts, sorted(layers))


class FakeTriesAnyUnit(FakeBroken):
    """Declares that it can't project, and treats a projection as it comes."""

    caught_by = "refuses_what_it_does_not_declare"
    units = frozenset(Unit) - {Unit.PROJECTION}

    def _check_can(self, what: str, wanted: str, able: Collection[str]) -> None:
        del what, wanted, able


class FakeAnswersAnyRead(FakeBroken):
    """Declares no lens, and answers with numbers all the same."""

    caught_by = "refuses_what_it_does_not_declare"
    reads = FakeBroken.reads - {"lens"}

    def _check_can(self, what: str, wanted: str, able: Collection[str]) -> None:
        del what, wanted, able
