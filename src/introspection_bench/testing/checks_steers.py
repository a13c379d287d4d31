"""Checks of several steers in one request: that they add up, each from the stream before any of them."""

from __future__ import annotations

import numpy as np

from ..doses import Unit
from ..errors import ConformanceError
from ..injection import Injection, Receipt
from ..spans import Span
from .check import CheckSkipped, check
from .subject import FloatArray, Subject, expected_delta, make_vector, require, residuals, span_mask


def _band(subject: Subject) -> list[int]:
    """The middle layer with its neighbours."""
    last = subject.injector.model.n_layers - 1
    return sorted({max(subject.layer - 1, 0), subject.layer, min(subject.layer + 1, last)})


def _beside_projection(subject: Subject) -> tuple[Injection, Injection]:
    """An addition, and behind it in a request's order the removal of a direction that it has much of.

    The second begins later, and steers are in the order of their positions.
    """
    held = subject.direction()
    mixed = held.values / held.norm + subject.vector(12).unit.values
    added = make_vector(mixed, subject.layer, subject.injector)
    return (
        subject.injection(Span.all(), vector=added, magnitude=1.0),
        subject.injection(Span.from_anchor("first"), unit=Unit.PROJECTION, magnitude=-1.0, vector=held),
    )


@check(24)
def steers_of_one_layer_add_up(subject: Subject) -> str:
    """Steers at one layer add what each adds alone, computed from the stream before any of them, in whatever order."""
    strong = subject.injection(Span.all(), magnitude=1.5, seed=1)
    cases = [
        (strong, subject.injection(Span.from_anchor("last"), seed=2)),
        (strong, subject.injection(Span.generation(), seed=2), subject.injection(Span.between("first", "last"))),
        (subject.injection(Span.all(), unit=Unit.RAW), strong),
        (strong, subject.injection(Span.from_anchor("last"), seed=1, magnitude=-1.0)),
    ]
    if Unit.PROJECTION in subject.units:
        cases.append(_beside_projection(subject))
    for injections in cases:
        if any(i.dose.unit not in subject.units for i in injections):
            continue
        what = " and ".join(f"{i.dose} over {i.span}" for i in injections)
        prompt, together, h, added = subject.with_reply(*injections)
        subject.check_addition(prompt, injections, h, added, what)
        backwards = subject.steered(prompt, *injections[::-1])[0]
        require(not subject.exact or backwards.reply == together.reply, f"{what}: another reply in another order")
        if backwards.reply.token_ids == together.reply.token_ids:
            subject.same(residuals(backwards), residuals(together), f"{what}: in another order")
    if Unit.UPDATE in subject.units:  # whose length is known from the steer alone
        update = subject.injection(Span.from_anchor("first"), unit=Unit.UPDATE, magnitude=1.0)
        alone, both = (subject.steered(subject.prompt, *some, tokens=1) for some in ([update], [strong, update]))
        by_strong = expected_delta(strong, both[1])
        if by_strong is not None:
            subject.same(both[1] + alone[2] + by_strong, residuals(both[0])[0], "unit update beside another")
    return ""


@check(25)
def a_band_of_layers_is_steered_at_once(subject: Subject) -> str:
    """Steers at several layers each add to the stream that reaches their layer, in the prompt and while generating."""
    spans = (Span.all(), Span.from_anchor("last"), Span.from_anchor("first"))
    band = [
        subject.injection(span, layer=layer, seed=layer) for span, layer in zip(spans, _band(subject), strict=False)
    ]
    layers = [i.layer for i in band]
    done = subject.run(subject.request(subject.prompt, *band, layers=layers, temperature=1.0, seed=3))[0]
    reply = done.reply.token_ids
    for number, injection in enumerate(band):
        below = subject.request(subject.prompt, *band[:number], layers=[injection.layer], forced=reply)
        h = residuals(subject.run(below)[0])[0]
        what = f"steers at the layers {layers}, of them that at layer {injection.layer}"
        subject.check_addition(subject.prompt, [injection], h, residuals(done)[number] - h, what)
    return ""


@check(26)
def projection_removes_the_direction(subject: Subject) -> str:
    """At -1 nothing of the direction is left, at every layer of a band; beside an addition only the addition's part."""
    if Unit.PROJECTION not in subject.units:
        raise CheckSkipped("the backend does not declare the unit projection")
    layers = list(range(subject.injector.model.n_layers))
    removed = [subject.injection(unit=Unit.PROJECTION, magnitude=-1.0, layer=layer) for layer in layers]
    done = subject.run(subject.request(subject.prompt, *removed, layers=layers))[0]
    for injection, stream in zip(removed, residuals(done), strict=True):
        _require_left(subject, injection, stream, np.zeros(len(stream), np.float32), f"layer {injection.layer}")
    addition, removal = _beside_projection(subject)
    prompt, _, h, added = subject.with_reply(addition, removal)
    delta = expected_delta(addition, h)
    if delta is None:
        raise ConformanceError("an addition in the unit residual has a formula")
    kept = delta @ (removal.vector.values / removal.vector.norm)
    inside = span_mask(prompt, removal.span, len(h))
    _require_left(subject, removal, (h + added)[inside], kept[inside], "beside an addition")
    return ""


def _require_left(subject: Subject, removal: Injection, stream: FloatArray, kept: FloatArray, what: str) -> None:
    """Require that the stream has ``kept`` (positions,) of the direction, relative to its own size."""
    left = stream @ (removal.vector.values / removal.vector.norm)
    apart = np.abs(left - kept) / np.maximum(np.linalg.norm(stream, axis=1), np.abs(kept))
    worst = float(apart.max())
    require(worst <= subject.error, f"projection at -1, {what}: {worst:.3g} of the stream is off what should be left")


@check(27)
def each_steer_has_its_own_receipt(subject: Subject) -> str:
    """One receipt for each steer, in the order of the request's steers, of what that steer alone touched and added."""
    injections = (
        subject.injection(Span.all(), magnitude=0.3, seed=1),
        subject.injection(Span.all(), magnitude=1.2, seed=2),
        subject.injection(Span.from_anchor("last"), magnitude=0.6, seed=3),
        subject.injection(Span.generation(), magnitude=0.9, seed=4),
    )
    prompt, completion, h, _ = subject.with_reply(*injections)
    steers = subject.request(prompt, *injections).steers
    require(len(completion.receipts) == len(steers), f"{len(steers)} steers, {len(completion.receipts)} receipts")
    n = len(prompt.token_ids)
    for steer, receipt in zip(steers, completion.receipts, strict=True):
        inside = span_mask(prompt, steer.injection.span, len(h))
        expected = Receipt(int(inside[:n].sum()), int(inside[n:].sum()), steer.dose.magnitude, steer.dose.magnitude)
        require_like(subject, receipt, expected, f"the receipt of {steer.dose} over {steer.injection.span}")
    other = subject.layer - 1 if subject.layer else subject.injector.model.n_layers - 1
    apart = [subject.injection(layer=other, magnitude=1.2, seed=1), subject.injection(magnitude=0.4, seed=2)]
    request = subject.request(prompt, *apart)
    for steer, receipt in zip(request.steers, subject.run(request)[0].receipts, strict=True):
        off = abs(receipt.mean_ratio - steer.dose.magnitude)
        require(off <= 4 * subject.usual_error, f"the receipt of {steer.dose} at layer {steer.layer} says {receipt}")
    return ""


def require_like(subject: Subject, told: Receipt, expected: Receipt, what: str) -> None:
    """Require the same positions, and ratios within what the dtype's noise allows."""
    counts = [(r.prompt_positions, r.generation_positions) for r in (told, expected)]
    require(counts[0] == counts[1], f"{what}: counts {counts[0]}, not {counts[1]} positions")
    allowed = 4 * subject.usual_error * max(1.0, expected.max_ratio)
    apart = max(abs(told.mean_ratio - expected.mean_ratio), abs(told.max_ratio - expected.max_ratio))
    require(apart <= allowed, f"{what}: {told}, not {expected}")
