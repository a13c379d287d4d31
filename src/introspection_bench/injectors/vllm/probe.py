"""The proof, when an engine is opened, that its graphs steer: a probe with and without, compared with the receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...doses import Dose, Unit
from ...errors import ModelError, SilentInjectionError, explain
from ...identity import Sampling
from ...injection import Injection
from ...measures.base import Read
from ...prompts import RenderedPrompt
from ...spans import Positions, Span
from ...vectors import ConceptVector, Provenance
from ..requests import Completion, Request
from .flights import Flight

if TYPE_CHECKING:
    from .injector import VllmInjector

_PROMPT = RenderedPrompt((0, 1, 2, 0, 1), "", {"second": 1})
_SAMPLING = Sampling(0.0, max_new_tokens=4)


def prove(injector: VllmInjector, prove_norm: Callable[[Flight], bool]) -> bool:
    """Raise :class:`ModelError` unless each block steers and is read, prompt and reply; return whether a lens is there.

    All blocks are steered at once by directions of their own. In the replay, the first block's stream must differ from
    the control's by what was asked for; while a reply is sampled, the logits must differ, and receipts must be there.
    """
    try:
        return _prove(injector, prove_norm)
    except SilentInjectionError as error:
        raise _failed(str(error)) from error


def _prove(injector: VllmInjector, prove_norm: Callable[[Flight], bool]) -> bool:
    layers = range(injector.model.n_layers)
    steers = [_injection(injector, layer) for layer in layers]
    where = Positions(0, None, len(_PROMPT.token_ids))
    # The distribution is there for what leaves the model: the final norm is found by it.
    reads = [Read("residuals", where, tuple(layers)), Read("distribution", where)]
    replays = [Request.of(_PROMPT, some, _SAMPLING, forced=(), reads=reads) for some in ((), steers)]
    lens = False
    real = injector._let_go

    def looking(flights: list[Flight]) -> None:
        nonlocal lens
        lens = lens or prove_norm(flights[0])
        real(flights)

    injector._let_go = looking  # type: ignore[method-assign]  # captures are there until a request is let go
    try:
        (plain, own), (steered, other) = _watched(injector, replays)
    finally:
        del injector._let_go
    first = replays[1].steers[0]
    before, after = plain.readings[0][0], steered.readings[0][0]
    asked = np.linalg.norm(before, axis=-1, keepdims=True) * first.dose.magnitude * first.vector.unit.values
    asked[: first.positions.start] = 0
    off = np.linalg.norm(after - before - asked, axis=-1) / np.maximum(np.linalg.norm(asked, axis=-1), 1e-30)
    moved = np.linalg.norm((after - before)[: first.positions.start]) / np.linalg.norm(before)
    worst = max(off[first.positions.start :].max(), moved)
    if not worst <= _tolerance(injector):
        raise _failed(f"a replay whose stream behind block 0 is off by {worst:.2g} of the addition")
    if np.array_equal(own, other):
        raise _failed("the same logits with and without steering")
    # And in a reply, whose steps run in other graphs than a prompt: the first token the same, other logits behind it.
    later = [Injection(s.vector, s.layer, s.dose, Span.generation()) for s in steers]
    for prompt in _prompts():
        (_, own), (_, other) = _watched(injector, [Request.of(prompt, some, _SAMPLING) for some in ((), later)])
        steps = min(len(own), len(other))
        if steps > 1 and np.array_equal(own[1:steps], other[1:steps]):
            raise _failed("the same logits in replies with and without steering")
        if steps > 1:
            return lens
    raise _failed("no reply of two tokens, in which steering could be seen")


def _prompts() -> Iterator[RenderedPrompt]:
    """Prompts for replies: a model may end one of them at once."""
    for last in range(8):
        yield RenderedPrompt((*_PROMPT.token_ids, last), "", {"second": 1})


def _watched(injector: VllmInjector, requests: list[Request]) -> list[tuple[Completion, npt.NDArray[np.float32]]]:
    """Return each request's completion and the largest logit behind each of its tokens, which is no part of that."""
    largest: dict[int, Any] = {}
    real = injector._completion

    def looking(index: int, flight: Flight) -> Completion:
        largest[index] = flight.largest
        return real(index, flight)

    injector._completion = looking  # type: ignore[method-assign]  # what it reads of a flight is dropped behind it
    try:
        found = sorted(injector.generate(requests), key=lambda c: c.index)
    finally:
        del injector._completion
    return [(completion, largest[completion.index]) for completion in found]


def _injection(injector: VllmInjector, layer: int) -> Injection:
    values = np.random.default_rng(layer).standard_normal(injector.model.hidden_size)
    vector = ConceptVector(values, f"probe {layer}", layer, Provenance("probe", "probe", "", "", 0, -1, 1.0, None))
    return Injection(vector, layer, Dose(0.5, Unit.RESIDUAL), Span.from_anchor("second"))


def _tolerance(injector: VllmInjector) -> float:
    return 1e-3 if injector.model.dtype == "float32" else 0.1


def _failed(what: str) -> ModelError:
    return ModelError(
        explain(
            "engine",
            required="graphs that steer and read each block, proved on a probe",
            got=what,
            hint="Nothing can be recorded with it. Clear vLLM's compile cache (VLLM_CACHE_ROOT), or use 'vllm-lens'.",
        )
    )
