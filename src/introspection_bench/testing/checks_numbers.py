"""Checks of numbers that a reply must not rest on: those that are not finite, and those that rounding ate."""

from __future__ import annotations

import numpy as np

from ..doses import Dose, Unit
from ..errors import ConformanceError, IntrospectionBenchError, SilentInjectionError
from ..injection import Injection
from ..injectors.requests import Request
from ..spans import Span
from .check import CheckSkipped, check
from .subject import FloatArray, Subject, make_vector, require, residuals

#: Distance from 1 to the next number, by dtype.
_STEP = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


@check(20)
def refuses_what_is_not_finite(subject: Subject) -> str:
    """A sum that overflows, or logits that are NaN, are an error, on controls too; replies beside them are kept."""
    vector = make_vector(np.full(subject.injector.model.hidden_size, 1e4), subject.layer, subject.injector)
    overflow = Injection(vector, subject.layer, Dose(1e38, Unit.RAW), Span.from_anchor("last"))
    _refused(subject, subject.request(subject.prompt, overflow), "an addition beyond the largest float")
    if subject.unsound is None:
        return "logits not looked at: pass an injector as unsound"
    broken = Subject(subject.unsound, reply_tokens=subject.reply_tokens)
    # Of a known direction: measuring one's length would already run the broken model.
    flat = make_vector(np.ones(subject.unsound.model.hidden_size), broken.layer, subject.unsound)
    injected = Injection(flat, broken.layer, Dose(0.5, Unit.RESIDUAL), Span.all())
    for temperature in (0.0, 1.0):
        for what, steered in (("a control", ()), ("an injected request", (injected,))):
            request = broken.request(broken.prompt, *steered, temperature=temperature)
            _refused(broken, request, f"{what} at temperature {temperature:g} on a model with NaN among its logits")
    return ""


def _refused(subject: Subject, request: Request, what: str) -> None:
    try:
        answered = list(subject.injector.generate([request]))
    except IntrospectionBenchError:
        return
    raise ConformanceError(f"{what} was answered as if it were a proper one: {answered[0].reply.token_ids}")


@check(21)
def receipts_tell_what_rounding_left(subject: Subject) -> str:
    """On a half-precision model a receipt holds what the stream gained, not what was asked; too little is an error."""
    half = subject if subject.half is None else Subject(subject.half, reply_tokens=subject.reply_tokens)
    dtype = half.injector.model.dtype
    if dtype not in _STEP:
        raise CheckSkipped(f"the model is {dtype}; pass one in bfloat16 or float16 as well")

    def run(*injections: Injection) -> tuple[FloatArray, float]:
        done = half.run(half.request(half.prompt, *injections, layers=[half.layer], tokens=1))[0]
        return residuals(done)[0], sum(receipt.mean_ratio for receipt in done.receipts)

    before, again = run()[0], run()[0]
    if not np.array_equal(before, again):
        raise CheckSkipped("two equal controls differ in bits on this backend, so that rounding can't be told")
    refused = 0
    for share in (1.0, 0.5, 0.25, 2.0**-9):
        magnitude = share * _STEP[dtype]
        try:
            after, told = run(half.injection(magnitude=magnitude))
        except SilentInjectionError:
            refused += 1
            continue
        gained = np.linalg.norm(after - before, axis=1) / np.linalg.norm(before, axis=1)
        require(
            abs(told - float(gained.mean())) <= 0.03 * float(gained.mean()),
            f"{dtype}, {magnitude:.2g} of the residual: the receipt says {told:.3g}, the stream gained "
            f"{gained.mean():.3g}",
        )
    require(refused > 0, f"{dtype}: {2.0**-9 * _STEP[dtype]:.2g} of the residual, which rounding eats, was no error")
    return ""
