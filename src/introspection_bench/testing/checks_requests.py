"""Checks of requests: that each gets its own, leaves no trace, and is told the truth about."""

from __future__ import annotations

import attrs
import numpy as np

from ..doses import Dose, Unit
from ..errors import (
    AnchorNotFoundError,
    ConformanceError,
    EmptySpanError,
    IntrospectionBenchError,
    LayerError,
    VectorError,
)
from ..injection import Injection
from ..injectors.requests import Completion
from ..prompts import RenderedPrompt
from ..spans import Span
from .check import CheckSkipped, check
from .subject import FloatArray, Subject, make_vector, require, residuals, span_mask


def same_completion(subject: Subject, one: Completion, other: Completion, what: str) -> None:
    """Require equal replies and residuals, on half-precision models those of the prompt where replies part ways."""
    if one.reply.token_ids == other.reply.token_ids:
        subject.same(residuals(one), residuals(other), what)
        return
    require(not subject.exact, f"{what}: another reply")
    n = min(residuals(one).shape[1], residuals(other).shape[1]) - max(
        len(one.reply.token_ids), len(other.reply.token_ids)
    )
    subject.same(residuals(one)[:, :n], residuals(other)[:, :n], f"{what} (prompt)")


@check(6)
def rows_of_a_batch_do_not_leak(subject: Subject) -> str:
    """In a batch of other vectors, layers, units, spans and controls, each row gets its own and nothing else."""
    low, high = 0, subject.injector.model.n_layers - 1
    a, b, c = subject.prompts[:3]
    make = subject.injection
    mixed: list[tuple[RenderedPrompt, list[Injection]]] = [
        (a, [make(Span.all(), seed=1)]),
        (a, []),
        (a, [make(Span.from_anchor("last"), seed=2, unit=Unit.RAW), make(Span.prompt(), seed=1)]),
        (b, [make(Span.generation(), seed=3, unit=Unit.ABSOLUTE, layer=high)]),
        (b, []),
        (c, [make(Span.between("first", "last"), seed=4, magnitude=-0.3, layer=low)]),
        (c, [make(Span.prompt(), seed=1, magnitude=1.5)]),
        (a, [make(Span.all(), seed=5, unit=Unit.UPDATE)]),
        (b, [make(Span.from_anchor("first"), unit=Unit.PROJECTION, magnitude=-1.0)]),
    ]
    mixed = [(p, [i for i in some if i.dose.unit in subject.units]) for p, some in mixed]
    requests = [
        subject.request(p, *some, layers=[some[0].layer if some else subject.layer], temperature=1.0, seed=n)
        for n, (p, some) in enumerate(mixed)
    ]
    done = subject.run(*requests)
    for number, ((prompt, some), request, completion) in enumerate(zip(mixed, requests, done, strict=True)):
        subject.check_row(prompt, some, completion, f"row {number} of {len(requests)}")
        if subject.exact:
            alone = subject.run(request)[0]
            require(alone.reply == completion.reply, f"row {number} replies otherwise alone than in the batch")
    return ""


@check(7)
def injected_requests_leave_no_trace(subject: Subject) -> str:
    """A control after injected requests with the same prompt equals one before, and so the other way round."""
    layers = {subject.layer, subject.injector.model.n_layers - 1}
    for prompt in (subject.long, subject.prompt):
        control = subject.request(prompt, layers=layers)
        injected = subject.request(prompt, subject.injection(magnitude=1.0), layers=layers)
        other = subject.request(prompt, subject.injection(Span.prompt(), magnitude=1.0, seed=9, layer=0), layers=layers)
        before = subject.run(control)[0]
        first = subject.run(injected)[0]
        subject.run(other)
        again = subject.run(injected)[0]
        after = subject.run(control)[0]
        same_completion(subject, after, before, "a control after injected requests with the same prompt")
        same_completion(subject, again, first, "an injected request after other requests with the same prompt")
    return ""


@check(8)
def restores_its_state_after_an_exception(subject: Subject) -> str:
    """A generation that is given up, or that fails in the middle, changes nothing for later requests."""
    layers = {subject.layer, subject.injector.model.n_layers - 1}
    control = subject.request(subject.prompt, layers=layers)
    injected = subject.request(subject.prompt, subject.injection(), layers=layers)
    before, steered_before = subject.run(control)[0], subject.run(injected)[0]

    short = subject.request(subject.prompt, subject.injection(magnitude=1.0), tokens=1)
    left_over = subject.request(subject.prompts[1], subject.injection(magnitude=1.0, seed=3), tokens=12)
    given_up = subject.injector.generate([short, left_over])
    next(given_up)
    close = getattr(given_up, "close", None)
    if close is not None:
        close()
    same_completion(subject, subject.run(control)[0], before, "a control after an abandoned generation")

    # An addition beyond the largest float can't be proved: the port itself raises, in the middle of the generation.
    vector = make_vector(np.full(subject.injector.model.hidden_size, 1e4), subject.layer, subject.injector)
    overflow = Injection(vector, subject.layer, Dose(1e38, Unit.RAW), Span.all())
    try:
        for _ in subject.injector.generate([subject.request(subject.prompts[1], overflow), left_over]):
            pass
    except (IntrospectionBenchError, ArithmeticError, RuntimeError, ValueError):
        pass  # whatever the backend or the port calls it
    else:
        raise ConformanceError("an addition that overflows every float was answered as if it were a proper one")
    same_completion(subject, subject.run(control)[0], before, "a control after a failed generation")
    same_completion(subject, subject.run(injected)[0], steered_before, "an injected request after a failed generation")
    return ""


@check(13)
def refuses_bad_requests_before_any_forward(subject: Subject) -> str:
    """A wrong width, layer or span raises its own error before anything is generated, for the whole call."""
    width, layers = subject.injector.model.hidden_size, subject.injector.model.n_layers
    good = subject.injection()
    wide = make_vector(np.ones(width + 1), subject.layer, subject.injector)
    backwards = Span.between("last", "first")
    cases: list[tuple[str, Injection, type[Exception]]] = [
        ("a vector that is too wide", attrs.evolve(good, vector=wide), VectorError),
        ("a layer beyond the last", attrs.evolve(good, layer=layers), LayerError),
        ("an empty span", attrs.evolve(good, span=backwards), EmptySpanError),
        ("an unknown anchor", attrs.evolve(good, span=Span.from_anchor("nowhere")), AnchorNotFoundError),
    ]
    fine = subject.request(subject.prompt, tokens=1)
    for what, bad, error in cases:
        answered = 0
        try:
            for _ in subject.injector.generate([fine, subject.request(subject.prompt, bad, tokens=1)]):
                answered += 1
        except error:
            require(answered == 0, f"{what}: a request was answered before the error")
            continue
        except Exception as other:  # which error it is, is what is being looked at
            raise ConformanceError(f"{what}: raises {type(other).__name__}, not {error.__name__}: {other}") from other
        raise ConformanceError(f"{what}: accepted")
    for what, bad_layer in (("capture", layers), ("capture", -1)):
        try:
            subject.injector.capture([subject.prompt], [bad_layer])
        except LayerError:
            continue
        raise ConformanceError(f"{what} of layer {bad_layer}: accepted")
    return ""


@check(14)
def receipts_equal_what_was_done(subject: Subject) -> str:
    """The receipt's counts and ratios are those measured on the stream, and the stated ratio is the real one."""
    spans = (Span.all(), Span.from_anchor("last"), Span.generation())
    # Every unit, and every span in the unit whose ratio is known beforehand.
    others = (Unit.RAW, Unit.ABSOLUTE, Unit.UPDATE, Unit.PROJECTION)
    cases = [*((Unit.RESIDUAL, s) for s in spans), *zip(others, (*spans, Span.prompt()), strict=True)]
    for unit, span in [(unit, span) for unit, span in cases if unit in subject.units]:
        injection = subject.injection(span, unit=unit)
        prompt, completion, h, added = subject.with_reply(injection)
        what = f"unit {unit}, span {span}"
        inside = span_mask(prompt, span, len(h))
        ratios = (np.linalg.norm(added, axis=1) / np.linalg.norm(h, axis=1))[inside]
        (receipt,) = completion.receipts
        n = len(prompt.token_ids)
        counts = (int(inside[:n].sum()), int(inside[n:].sum()))
        told = (receipt.prompt_positions, receipt.generation_positions)
        require(told == counts, f"{what}: the receipt counts {told}, the span has {counts}")
        allowed = 4 * subject.usual_error * max(1.0, float(ratios.max()))
        require(
            abs(receipt.mean_ratio - float(ratios.mean())) <= allowed
            and abs(receipt.max_ratio - float(ratios.max())) <= allowed,
            f"{what}: the receipt says mean {receipt.mean_ratio:.4g}, max {receipt.max_ratio:.4g}; "
            f"measured {ratios.mean():.4g} and {ratios.max():.4g}",
        )
        if unit is Unit.RESIDUAL:
            worst = float(np.abs(ratios - injection.dose.magnitude).max())
            require(worst <= allowed, f"{what}: ‖h'-h‖/‖h‖ is off the stated {injection.dose.magnitude} by {worst:.3g}")
    return ""


@check(15)
def every_field_of_the_injection_arrives(subject: Subject) -> str:
    """Vector, layer, magnitude, unit and span, each changed alone, change what is added as they should."""
    base = subject.injection(Span.from_anchor("first"))
    last = subject.injector.model.n_layers - 1
    variants = {
        "none": base,
        "vector": attrs.evolve(base, vector=subject.vector(7)),
        "vector's length under raw": attrs.evolve(base, vector=subject.vector() * 3.0, dose=Dose(0.5, Unit.RAW)),
        "vector's length under absolute": attrs.evolve(
            base, vector=subject.vector() * 3.0, dose=Dose(0.5, Unit.ABSOLUTE)
        ),
        "layer": attrs.evolve(base, layer=last if subject.layer != last else 0),
        "magnitude": attrs.evolve(base, dose=Dose(1.25, Unit.RESIDUAL)),
        "sign of the magnitude": attrs.evolve(base, dose=Dose(-0.5, Unit.RESIDUAL)),
        "unit raw": attrs.evolve(base, dose=Dose(0.5, Unit.RAW)),
        "unit absolute": subject.injection(base.span, unit=Unit.ABSOLUTE),
        "unit update": attrs.evolve(base, dose=Dose(0.5, Unit.UPDATE)),
        "unit projection": subject.injection(base.span, unit=Unit.PROJECTION),
        "start of the span": attrs.evolve(base, span=Span.from_anchor("last")),
        "stop of the span": attrs.evolve(base, span=Span.between("first", "last")),
        "stop at the prompt's end": attrs.evolve(base, span=Span.from_anchor("first", stop_at_prompt_end=True)),
    }
    variants = {name: i for name, i in variants.items() if i.dose.unit in subject.units}
    lengths: dict[str, FloatArray] = {}
    for name, injection in variants.items():
        _, h, added = subject.steered(subject.prompt, injection)
        subject.check_addition(subject.prompt, [injection], h, added, f"changed: {name}")
        lengths[name] = np.linalg.norm(added[: len(subject.prompt.token_ids)], axis=1)[
            subject.prompt.anchors["first"] :
        ]
    if Unit.UPDATE not in subject.units:
        return ""
    # The port does not show ‖u‖; but the unit is proportional to m, and is none of the others.
    _, _, added = subject.steered(subject.prompt, attrs.evolve(base, dose=Dose(1.0, Unit.UPDATE)))
    twice = np.linalg.norm(added[: len(subject.prompt.token_ids)], axis=1)[subject.prompt.anchors["first"] :]
    ratio = float(np.median(twice / lengths["unit update"]))
    require(
        abs(ratio - 2) <= 8 * subject.usual_error, f"unit update: twice the magnitude adds {ratio:.3g} times as much"
    )
    for name in {"none", "unit raw", "unit absolute"} & lengths.keys():
        gap = float(np.median(np.abs(lengths["unit update"] - lengths[name]) / lengths[name]))
        require(gap > subject.stated_error, f"unit update adds the same as {name.replace('none', 'unit residual')}")
    return ""


@check(16)
def agrees_with_the_reference(subject: Subject) -> str:
    """The reference injector on the same model has the same residuals, at L and above, and the same greedy replies."""
    if subject.reference is None:
        raise CheckSkipped("no reference injector was given; pass the torch injector on the same model")
    name = subject.reference.name
    reference = attrs.evolve(subject, injector=subject.reference, reference=None, half=None)
    model, other = subject.injector.model, reference.injector.model
    require(
        (model.n_layers, model.hidden_size) == (other.n_layers, other.hidden_size),
        f"the reference is another model: {other}",
    )
    last = model.n_layers - 1
    if subject.tolerance is None and not subject.exact:
        # Two engines round independently, so that their errors add up.
        subject = attrs.evolve(subject, tolerance=subject.error + reference.error)
    for unit in (u for u in subject.units if u in reference.units):
        for span in (Span.all(), Span.from_anchor("last")):
            injection = subject.injection(span, unit=unit)
            layers = [injection.layer, last]
            mine, theirs = (s.run(s.request(subject.prompt, injection, layers=layers))[0] for s in (subject, reference))
            what = f"unit {unit}, span {span}: against {name}"
            ratios = tuple(done.receipts[0].mean_ratio for done in (mine, theirs))
            require(
                abs(ratios[0] - ratios[1]) <= 4 * subject.usual_error * max(1.0, ratios[1]),
                f"{what}: receipts {ratios}",
            )
            if model.dtype == other.dtype == "float32":
                require(mine.reply.token_ids == theirs.reply.token_ids, f"{what}: another greedy reply")
            n = len(subject.prompt.token_ids)
            subject.same(residuals(mine)[:, :n], residuals(theirs)[:, :n], what)
    control = [s.run(s.request(subject.prompt, layers=[last], tokens=1))[0] for s in (subject, reference)]
    subject.same(residuals(control[0]), residuals(control[1]), "a control against the reference")
    captured = [s.injector.capture(subject.prompts[:3], [0, last]) for s in (subject, reference)]
    subject.same(captured[0], captured[1], "capture against the reference")
    return ""


@check(17)
def seeds_decide_replies(subject: Subject) -> str:
    """The same seed gives the same reply, alone, in a batch and in any order; other seeds give other replies."""
    injection = subject.injection(Span.from_anchor("last"), magnitude=0.3)
    requests = [
        subject.request(subject.prompts[n % 2], *([injection] if n % 3 else []), temperature=1.0, seed=100 + n)
        for n in range(6)
    ]
    alone = [subject.run(r)[0].reply for r in requests]
    again = [subject.run(r)[0].reply for r in requests[:2]]
    require(again == alone[:2], "the same seed, alone, gave another reply the second time")
    batch = [c.reply for c in subject.run(*requests)]
    backwards = [c.reply for c in subject.run(*requests[::-1])][::-1]
    for replies, what in ((batch, "in a batch"), (backwards, "in a batch in another order")):
        if subject.exact:
            wrong = [n for n, (one, two) in enumerate(zip(replies, alone, strict=True)) if one != two]
            require(not wrong, f"the same seed {what} gave another reply for requests {wrong}")
        else:
            firsts = sum(a.token_ids[0] == b.token_ids[0] for a, b in zip(replies, alone, strict=True))
            require(
                2 * firsts >= len(alone), f"the same seed {what} began {len(alone) - firsts} of 6 replies otherwise"
            )
    many = [subject.request(subject.prompt, temperature=1.5, seed=seed) for seed in range(6)]
    require(len({c.reply.token_ids for c in subject.run(*many)}) > 1, "six seeds at temperature 1.5 gave one reply")
    greedy = [attrs.evolve(r, sampling=attrs.evolve(r.sampling, temperature=0.0)) for r in many]
    require(len({c.reply.token_ids for c in subject.run(*greedy)}) == 1, "greedy replies depend on the seed")
    return "" if subject.exact else "half precision: batches compared by their first tokens"


@check(19)
def capture_reads_the_last_prompt_token(subject: Subject) -> str:
    """``capture`` gives, for prompts of any length in one call, the residual at a token: the last, or one before."""
    prompts = [*subject.prompts[:3], subject.long, RenderedPrompt(subject.prompt.token_ids[:1], "")]
    last = subject.injector.model.n_layers - 1
    layers = list(dict.fromkeys((last, 0, subject.layer)))  # in no sorted order
    captured = subject.injector.capture(prompts, layers)
    for number, prompt in enumerate(prompts):
        run = subject.run(subject.request(prompt, layers=layers, tokens=1))[0]
        subject.same(captured[number], residuals(run)[:, -1], f"prompt {number} of {len(prompts)}")
    beside = subject.injection(Span.all(), layer=0)
    captured = subject.injector.capture(prompts[:3], layers, position=-3, beside=[beside])
    for number, prompt in enumerate(prompts[:3]):
        run = subject.run(subject.request(prompt, beside, layers=layers, tokens=1))[0]
        subject.same(captured[number], residuals(run)[:, -3], f"prompt {number}, the third last token, beside a steer")
    return ""
