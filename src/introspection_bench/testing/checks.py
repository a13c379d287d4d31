"""The conformance checks: one function each, which looks at an injector through the port alone.

What an injection adds is measured, not believed: the steered run's residuals at the injected layer, minus the
unsteered residuals over the same tokens (:meth:`~introspection_bench.testing.subject.Subject.clean`). Since
nothing below that layer knows of the injection, the difference is the addition, whatever became of the reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import numpy as np

from ..errors import (
    AnchorNotFoundError,
    ConformanceError,
    EmptySpanError,
    IntrospectionBenchError,
    LayerError,
    VectorError,
)
from ..injection import Injection, Receipt, Span, Unit
from ..injectors.base import Completion
from ..scaffolds import RenderedPrompt
from .subject import FloatArray, Subject, make_vector, require, residuals, span_mask, with_anchors


class CheckSkipped(Exception):  # noqa: N818  # not an error: the check does not apply, and says why
    """Raised by a check that does not apply to this injector or model."""


@attrs.frozen
class Check:
    """One conformance check; ``run`` raises :class:`~introspection_bench.errors.ConformanceError` where it fails.

    ``number`` and ``name`` are stable: ``expected_failures`` refers to the name. ``run`` returns a remark, often "".
    """

    number: int
    name: str
    states: str
    run: Callable[[Subject], str]


CHECKS: list[Check] = []

F = TypeVar("F", bound=Callable[[Subject], str])


def _check(number: int) -> Callable[[F], F]:
    def register(function: F) -> F:
        states = (function.__doc__ or "").strip().split("\n")[0]
        CHECKS.append(Check(number, function.__name__, states, function))
        return function

    return register


@_check(1)
def zero_magnitude_equals_no_injection(subject: Subject) -> str:
    """Magnitude 0, in any unit, gives the bits of a control: residuals, tokens and an empty receipt."""
    layers = {0, subject.layer, subject.injector.model.n_layers - 1}

    def run(injection: Injection | None) -> Completion:
        return subject.run(subject.request(subject.prompt, injection, layers=layers, temperature=1.0, seed=5))[0]

    control, again = run(None), run(None)
    repeatable = np.array_equal(residuals(control), residuals(again))
    for unit in Unit:
        zero = run(subject.injection(unit=unit, magnitude=0.0))
        require(zero.reply == control.reply, f"unit {unit}: magnitude 0 gave another reply than the control")
        require(zero.receipt == Receipt.nothing(), f"unit {unit}: magnitude 0 touched something: {zero.receipt}")
        if repeatable:
            require(
                np.array_equal(residuals(zero), residuals(control)),
                f"unit {unit}: magnitude 0 changed bits of the residual stream",
            )
        else:
            subject.same(residuals(zero), residuals(control), f"unit {unit}, magnitude 0")
    return "" if repeatable else "two equal controls differ in bits on this backend; compared within the tolerance"


@_check(2)
def steers_only_its_layer(subject: Subject) -> str:
    """Blocks below L are unchanged, block L's output is h + delta, and the blocks above get to see it."""
    last = subject.injector.model.n_layers - 1
    for layer in sorted({0, subject.layer, last}):
        injection = subject.injection(layer=layer)
        watched = sorted({max(layer - 1, 0), layer, min(layer + 1, last)})
        steered = residuals(subject.run(subject.request(subject.prompt, injection, layers=watched, tokens=1))[0])
        clean = residuals(subject.run(subject.request(subject.prompt, None, layers=watched, tokens=1))[0])
        for at, changed, unchanged in zip(watched, steered, clean, strict=True):
            if at < layer:
                subject.same(changed, unchanged, f"injection at layer {layer}, residual below it at layer {at}")
            elif at == layer:
                added = changed - unchanged
                subject.check_addition(subject.prompt, injection, unchanged, added, f"injection at layer {layer}")
            else:
                moved = np.linalg.norm(changed - unchanged, axis=1) / np.linalg.norm(unchanged, axis=1)
                require(
                    float(np.median(moved)) > 4 * subject.error,
                    f"injection at layer {layer}: layer {at} above it did not change (median {np.median(moved):.2g})",
                )
    return ""


@_check(3)
def leaves_positions_outside_the_span_alone(subject: Subject) -> str:
    """Positions outside the span are unchanged, in the prompt and while generating; those inside get the delta."""
    for span in (
        Span.between("first", "last"),
        Span.from_anchor("last"),
        Span.from_anchor("first", stop_at_prompt_end=True),
        Span.prompt(),
        Span.generation(),
    ):
        prompt, _, h, added = subject.with_reply(lambda _, span=span: subject.injection(span))  # type: ignore[misc]  # mypy: default argument
        subject.check_addition(prompt, subject.injection(span), h, added, f"span {span}")
    return ""


@_check(4)
def fires_once_per_generated_token(subject: Subject) -> str:
    """While generating, each position of the span is steered once, and the receipt counts them."""
    tokens = 2 * subject.reply_tokens
    for span in (Span.all(), Span.generation(), Span.from_anchor("last")):
        injection = subject.injection(span)
        prompt, completion, h, added = subject.with_reply(lambda _, i=injection: i, tokens=tokens)  # type: ignore[misc]  # as above
        n, sampled = len(prompt.token_ids), len(completion.reply.token_ids)
        sizes = np.linalg.norm(added[n:], axis=1) / (injection.magnitude * np.linalg.norm(h[n:], axis=1))
        counted = float(sizes.sum())
        require(
            abs(counted - (sampled - 1)) <= 0.5,
            f"span {span}: {sampled - 1} generated positions, but additions worth {counted:.2f} of them: "
            f"{np.round(sizes, 2).tolist()}",
        )
        require(
            completion.receipt.generation_positions == sampled - 1,
            f"span {span}: the receipt counts {completion.receipt.generation_positions} of {sampled - 1} positions",
        )
    return ""


@_check(5)
def steers_one_token_prompts_and_tails(subject: Subject) -> str:
    """A prompt of one token, and a span that is the prompt's last token alone, are steered as any other."""
    ids = subject.prompt.token_ids
    singles = [RenderedPrompt((token,), "") for token in dict.fromkeys(ids[len(ids) // 3 :])][:4]
    for span in (Span.all(), Span.prompt(), Span.generation()):
        injection = subject.injection(span)
        for prompt in singles:
            completion, h, added = subject.steered(prompt, injection)
            subject.check_addition(prompt, injection, h, added, f"one-token prompt, span {span}")
            if len(completion.reply.token_ids) > 2:
                break
    for span in (Span.from_anchor("tail", stop_at_prompt_end=True), Span.from_anchor("tail")):
        prompt, _, h, added = subject.with_reply(lambda _, span=span: subject.injection(span), at_least=2)  # type: ignore[misc]  # as above
        subject.check_addition(prompt, subject.injection(span), h, added, f"one-token tail, span {span}")
    return ""


@_check(6)
def rows_of_a_batch_do_not_leak(subject: Subject) -> str:
    """In a batch of other vectors, layers, units, spans and controls, each row gets its own and nothing else."""
    low, high = 0, subject.injector.model.n_layers - 1
    a, b, c = subject.prompts[:3]
    make = subject.injection
    mixed: list[tuple[RenderedPrompt, Injection | None]] = [
        (a, make(Span.all(), seed=1)),
        (a, None),
        (a, make(Span.from_anchor("last"), seed=2, unit=Unit.RAW)),
        (b, make(Span.generation(), seed=3, unit=Unit.ABSOLUTE, layer=high)),
        (b, None),
        (c, make(Span.between("first", "last"), seed=4, magnitude=-0.3, layer=low)),
        (c, make(Span.prompt(), seed=1, magnitude=1.5)),
        (a, make(Span.all(), seed=5, unit=Unit.UPDATE)),
    ]
    requests = [
        subject.request(p, i, layers=[subject.layer if i is None else i.layer], temperature=1.0, seed=n)
        for n, (p, i) in enumerate(mixed)
    ]
    for number, (request, completion) in enumerate(zip(requests, subject.run(*requests), strict=True)):
        _check_row(subject, request.prompt, request.injection, completion, f"row {number} of {len(requests)}")
        if subject.exact:
            alone = subject.run(request)[0]
            require(alone.reply == completion.reply, f"row {number} replies otherwise alone than in the batch")
    return ""


def _check_row(
    subject: Subject, prompt: RenderedPrompt, injection: Injection | None, completion: Completion, what: str
) -> None:
    layer = subject.layer if injection is None else injection.layer
    h = subject.clean(prompt, completion.reply.token_ids, [layer])[0]
    if injection is None:
        subject.same(residuals(completion)[0], h, f"{what}, a control")
    else:
        subject.check_addition(prompt, injection, h, residuals(completion)[0] - h, f"{what}, {injection.span}")


@_check(7)
def injected_requests_leave_no_trace(subject: Subject) -> str:
    """A control after injected requests with the same prompt equals one before, and so the other way round."""
    layers = {subject.layer, subject.injector.model.n_layers - 1}
    for prompt in (subject.long, subject.prompt):
        control = subject.request(prompt, None, layers=layers)
        injected = subject.request(prompt, subject.injection(magnitude=1.0), layers=layers)
        other = subject.request(prompt, subject.injection(Span.prompt(), magnitude=1.0, seed=9, layer=0), layers=layers)
        before = subject.run(control)[0]
        first = subject.run(injected)[0]
        subject.run(other)
        again = subject.run(injected)[0]
        after = subject.run(control)[0]
        _equal(subject, after, before, "a control after injected requests with the same prompt")
        _equal(subject, again, first, "an injected request after other requests with the same prompt")
    return ""


def _equal(subject: Subject, one: Completion, other: Completion, what: str) -> None:
    if one.reply.token_ids == other.reply.token_ids:
        subject.same(residuals(one), residuals(other), what)
        return
    require(not subject.exact, f"{what}: another reply")
    n = min(residuals(one).shape[1], residuals(other).shape[1]) - max(
        len(one.reply.token_ids), len(other.reply.token_ids)
    )
    subject.same(residuals(one)[:, :n], residuals(other)[:, :n], f"{what} (prompt)")


@_check(8)
def restores_its_state_after_an_exception(subject: Subject) -> str:
    """A generation that is given up, or that fails in the middle, changes nothing for later requests."""
    layers = {subject.layer, subject.injector.model.n_layers - 1}
    control = subject.request(subject.prompt, None, layers=layers)
    injected = subject.request(subject.prompt, subject.injection(), layers=layers)
    before, steered_before = subject.run(control)[0], subject.run(injected)[0]

    short = subject.request(subject.prompt, subject.injection(magnitude=1.0), tokens=1)
    left_over = subject.request(subject.prompts[1], subject.injection(magnitude=1.0, seed=3), tokens=12)
    given_up = subject.injector.generate([short, left_over])
    next(given_up)
    close = getattr(given_up, "close", None)
    if close is not None:
        close()
    _equal(subject, subject.run(control)[0], before, "a control after an abandoned generation")

    # An addition beyond the largest float can't be proved: the port itself raises, in the middle of the generation.
    vector = make_vector(np.full(subject.injector.model.hidden_size, 1e4), subject.layer, subject.injector)
    overflow = Injection(vector, subject.layer, 1e38, Unit.RAW, Span.all())
    try:
        for _ in subject.injector.generate([subject.request(subject.prompts[1], overflow), left_over]):
            pass
    except (IntrospectionBenchError, ArithmeticError, RuntimeError, ValueError):
        pass  # whatever the backend or the port calls it
    else:
        raise ConformanceError("an addition that overflows every float was answered as if it were a proper one")
    _equal(subject, subject.run(control)[0], before, "a control after a failed generation")
    _equal(subject, subject.run(injected)[0], steered_before, "an injected request after a failed generation")
    return ""


@_check(9)
def additions_are_additive_and_antisymmetric(subject: Subject) -> str:
    """At layer L: -m undoes m, magnitudes add up, and so do raw vectors (for drawn magnitudes, units and spans)."""
    try:
        from hypothesis import HealthCheck, Phase, given, settings
        from hypothesis import strategies as st
    except ImportError:
        raise CheckSkipped("needs Hypothesis: pip install 'introspection-bench[dev]'") from None
    layer, prompt = subject.layer, subject.prompt
    h = subject.clean(prompt, (0,), [layer])[0]
    scale = np.linalg.norm(h, axis=1)
    vectors = [subject.vector(seed) for seed in range(3)]

    def added(*injections: Injection) -> list[FloatArray]:
        requests = [subject.request(prompt, i, layers=[layer], tokens=1) for i in injections]
        return [residuals(c)[0] - h for c in subject.run(*requests)]

    def close(one: FloatArray, other: FloatArray, what: str) -> None:
        bound = np.maximum(scale, np.linalg.norm(other, axis=1))
        worst = float(np.max(np.linalg.norm(one - other, axis=1) / bound))
        require(worst <= 2 * subject.error, f"{what}: off by {worst:.3g} of the residual")

    @settings(
        max_examples=6,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # shrinking would run a large model hundreds of times
    )
    @given(
        m=st.floats(0.0625, 1.0),
        n=st.floats(-0.75, 0.75),
        unit=st.sampled_from(list(Unit)),
        span=st.sampled_from([Span.all(), Span.from_anchor("last"), Span.between("first", "last")]),
        which=st.permutations(range(3)),
    )
    def holds(m: float, n: float, unit: Unit, span: Span, which: list[int]) -> None:
        v, w = vectors[which[0]], vectors[which[1]]
        n = n if abs(n) > 0.05 and abs(m + n) > 0.05 else m

        def make(magnitude: float, u: Unit = unit, vector: object = v) -> Injection:
            return attrs.evolve(subject.injection(span, unit=u, magnitude=magnitude), vector=vector)

        both = make_vector(v.values.astype(np.float64) + w.values, layer, subject.injector)
        plus, minus, second, total, one, two, summed = added(
            make(m),
            make(-m),
            make(n),
            make(m + n),
            make(m, Unit.RAW, v),
            make(m, Unit.RAW, w),
            make(m, Unit.RAW, both),
        )
        close(plus, -minus, f"unit {unit}: -{m} does not undo {m}")
        close(plus + second, total, f"unit {unit}: {m} and {n} do not add up")
        close(one + two, summed, f"raw at {m}: two vectors do not add up to their sum")

    holds()
    return ""


@_check(10)
def left_padding_moves_nothing(subject: Subject) -> str:
    """A short prompt beside a long one in a batch is steered, and replied to, as it is alone."""
    ids = subject.prompts[2].token_ids
    short = with_anchors(ids[: max(3, len(ids) // 2)])
    rows = [
        (short, subject.injection(Span.from_anchor("last"))),
        (subject.long, subject.injection(Span.between("first", "last"))),
        (short, None),
        (with_anchors(ids), subject.injection(Span.prompt())),
        (subject.long, None),
    ]
    requests = [subject.request(p, i, layers=[subject.layer]) for p, i in rows]
    for (prompt, injection), request, completion in zip(rows, requests, subject.run(*requests), strict=True):
        what = f"prompt of {len(prompt.token_ids)} tokens beside one of {len(subject.long.token_ids)}"
        _check_row(subject, prompt, injection, completion, what)
        if subject.exact:
            alone = subject.run(request)[0].reply.token_ids
            require(alone == completion.reply.token_ids, f"{what}: another reply than alone")
    return ""


@_check(11)
def cached_steps_equal_one_pass(subject: Subject) -> str:
    """KV cache on equals off: steps with a cache give the residuals of one pass over the same tokens."""
    last = subject.injector.model.n_layers - 1
    layers = sorted({subject.layer, last})
    for span in (Span.from_anchor("first"), Span.prompt()):
        injection = subject.injection(span)
        prompt, *_ = subject.with_reply(lambda _, i=injection: i)  # type: ignore[misc]  # as above
        stepped = subject.run(subject.request(prompt, injection, layers=layers))[0]
        n = len(prompt.token_ids)
        # The same positions, now all in the prompt.
        anchors = {"first": prompt.anchors["first"], "end": n}
        whole = RenderedPrompt((*prompt.token_ids, *stepped.reply.token_ids[:-1]), "", anchors)
        where = Span.from_anchor("first") if span.kind == "from" else Span.between("start", "end")
        whole = attrs.evolve(whole, anchors={**anchors, "start": 0})
        once = subject.run(subject.request(whole, attrs.evolve(injection, span=where), layers=layers, tokens=1))[0]
        subject.same(residuals(stepped), residuals(once), f"span {span}: steps with a cache against one pass")
        if subject.exact:
            require(
                once.reply.token_ids[0] == stepped.reply.token_ids[-1],
                f"span {span}: one pass over the same tokens predicts another next token than the cached step",
            )
    return ""


@_check(12)
def keeps_the_dtype_of_the_stream(subject: Subject) -> str:
    """On a half-precision model the steered stream stays in its dtype: h + delta rounded once, no wider copy."""
    injector = subject.half or subject.injector
    if injector.model.dtype not in ("bfloat16", "float16"):
        raise CheckSkipped(f"the model is {injector.model.dtype}; pass one in bfloat16 or float16 as well")
    half = Subject(injector, reply_tokens=subject.reply_tokens, long_prompt=subject.long_prompt)
    for unit in (Unit.RESIDUAL, Unit.RAW):
        prompt, completion, h, added = half.with_reply(lambda _, u=unit: half.injection(unit=u))  # type: ignore[misc]  # as above
        stream = residuals(completion)
        require(
            np.array_equal(_rounded(stream, injector.model.dtype), stream),
            f"unit {unit}: the steered stream holds numbers that {injector.model.dtype} can't; it was widened",
        )
        half.check_addition(prompt, half.injection(unit=unit), h, added, f"{injector.model.dtype}, unit {unit}")
    return ""


def _rounded(values: FloatArray, dtype: str) -> FloatArray:
    if dtype == "float16":
        return values.astype(np.float16).astype(np.float32)
    # bfloat16 is the upper half of a float32.
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@_check(13)
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
    fine = subject.request(subject.prompt, None, tokens=1)
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


@_check(14)
def receipts_equal_what_was_done(subject: Subject) -> str:
    """The receipt's counts and ratios are those measured on the stream, and the stated ratio is the real one."""
    for unit in Unit:
        for span in (Span.all(), Span.from_anchor("last"), Span.generation()):
            injection = subject.injection(span, unit=unit)
            prompt, completion, h, added = subject.with_reply(lambda _, i=injection: i)  # type: ignore[misc]  # as above
            what = f"unit {unit}, span {span}"
            inside = span_mask(prompt, span, len(h))
            ratios = (np.linalg.norm(added, axis=1) / np.linalg.norm(h, axis=1))[inside]
            receipt = completion.receipt
            n = len(prompt.token_ids)
            counts = (int(inside[:n].sum()), int(inside[n:].sum()))
            told = (receipt.prompt_positions, receipt.generation_positions)
            require(told == counts, f"{what}: the receipt counts {told}, the span has {counts}")
            allowed = 4 * subject.error * max(1.0, float(ratios.max()))
            require(
                abs(receipt.mean_ratio - float(ratios.mean())) <= allowed
                and abs(receipt.max_ratio - float(ratios.max())) <= allowed,
                f"{what}: the receipt says mean {receipt.mean_ratio:.4g}, max {receipt.max_ratio:.4g}; "
                f"measured {ratios.mean():.4g} and {ratios.max():.4g}",
            )
            if unit is Unit.RESIDUAL:
                worst = float(np.abs(ratios - injection.magnitude).max())
                require(worst <= allowed, f"{what}: ‖h'-h‖/‖h‖ is off the stated {injection.magnitude} by {worst:.3g}")
    return ""


@_check(15)
def every_field_of_the_injection_arrives(subject: Subject) -> str:
    """Vector, layer, magnitude, unit and span, each changed alone, change what is added as they should."""
    base = subject.injection(Span.from_anchor("first"))
    last = subject.injector.model.n_layers - 1
    variants = {
        "none": base,
        "vector": attrs.evolve(base, vector=subject.vector(7)),
        "vector's length under raw": attrs.evolve(base, vector=subject.vector() * 3.0, unit=Unit.RAW),
        "vector's length under absolute": attrs.evolve(base, vector=subject.vector() * 3.0, unit=Unit.ABSOLUTE),
        "layer": attrs.evolve(base, layer=last if subject.layer != last else 0),
        "magnitude": attrs.evolve(base, magnitude=1.25),
        "sign of the magnitude": attrs.evolve(base, magnitude=-0.5),
        "unit raw": attrs.evolve(base, unit=Unit.RAW),
        "unit absolute": subject.injection(base.span, unit=Unit.ABSOLUTE),
        "unit update": attrs.evolve(base, unit=Unit.UPDATE),
        "start of the span": attrs.evolve(base, span=Span.from_anchor("last")),
        "stop of the span": attrs.evolve(base, span=Span.between("first", "last")),
        "stop at the prompt's end": attrs.evolve(base, span=Span.from_anchor("first", stop_at_prompt_end=True)),
    }
    lengths: dict[str, FloatArray] = {}
    for name, injection in variants.items():
        _, h, added = subject.steered(subject.prompt, injection)
        subject.check_addition(subject.prompt, injection, h, added, f"changed: {name}")
        lengths[name] = np.linalg.norm(added[: len(subject.prompt.token_ids)], axis=1)[
            subject.prompt.anchors["first"] :
        ]
    # The port does not show ‖u‖; but the unit is proportional to m, and is none of the others.
    _, _, added = subject.steered(subject.prompt, attrs.evolve(base, unit=Unit.UPDATE, magnitude=1.0))
    twice = np.linalg.norm(added[: len(subject.prompt.token_ids)], axis=1)[subject.prompt.anchors["first"] :]
    ratio = float(np.median(twice / lengths["unit update"]))
    require(abs(ratio - 2) <= 8 * subject.error, f"unit update: twice the magnitude adds {ratio:.3g} times as much")
    for name in ("none", "unit raw", "unit absolute"):
        gap = float(np.median(np.abs(lengths["unit update"] - lengths[name]) / lengths[name]))
        require(gap > subject.error, f"unit update adds the same as {name.replace('none', 'unit residual')}")
    return ""


@_check(16)
def agrees_with_the_reference(subject: Subject) -> str:
    """The reference injector on the same model has the same residuals, at L and above, and the same greedy replies."""
    if subject.reference is None:
        raise CheckSkipped("no reference injector was given; pass the torch injector on the same model")
    reference = attrs.evolve(subject, injector=subject.reference, reference=None, half=None)
    model, other = subject.injector.model, reference.injector.model
    require(
        (model.n_layers, model.hidden_size) == (other.n_layers, other.hidden_size),
        f"the reference is another model: {other}",
    )
    last = model.n_layers - 1
    for unit in Unit:
        for span in (Span.all(), Span.from_anchor("last")):
            injection = subject.injection(span, unit=unit)
            layers = [injection.layer, last]
            mine, theirs = (s.run(s.request(subject.prompt, injection, layers=layers))[0] for s in (subject, reference))
            what = f"unit {unit}, span {span}: against {subject.reference.name}"
            ratios = (mine.receipt.mean_ratio, theirs.receipt.mean_ratio)
            require(abs(ratios[0] - ratios[1]) <= 4 * subject.error * max(1.0, ratios[1]), f"{what}: receipts {ratios}")
            if model.dtype == other.dtype == "float32":
                require(mine.reply.token_ids == theirs.reply.token_ids, f"{what}: another greedy reply")
            n = len(subject.prompt.token_ids)
            subject.same(residuals(mine)[:, :n], residuals(theirs)[:, :n], what)
    control = [s.run(s.request(subject.prompt, None, layers=[last], tokens=1))[0] for s in (subject, reference)]
    subject.same(residuals(control[0]), residuals(control[1]), "a control against the reference")
    captured = [s.injector.capture(subject.prompts[:3], [0, last]) for s in (subject, reference)]
    subject.same(captured[0], captured[1], "capture against the reference")
    return ""


@_check(17)
def seeds_decide_replies(subject: Subject) -> str:
    """The same seed gives the same reply, alone, in a batch and in any order; other seeds give other replies."""
    injection = subject.injection(Span.from_anchor("last"), magnitude=0.3)
    requests = [
        subject.request(subject.prompts[n % 2], injection if n % 3 else None, temperature=1.0, seed=100 + n)
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
    many = [subject.request(subject.prompt, None, temperature=1.5, seed=seed) for seed in range(6)]
    require(len({c.reply.token_ids for c in subject.run(*many)}) > 1, "six seeds at temperature 1.5 gave one reply")
    greedy = [attrs.evolve(r, sampling=attrs.evolve(r.sampling, temperature=0.0)) for r in many]
    require(len({c.reply.token_ids for c in subject.run(*greedy)}) == 1, "greedy replies depend on the seed")
    return "" if subject.exact else "half precision: batches compared by their first tokens"


@_check(18)
def long_prompts_and_many_requests_are_steered_alike(subject: Subject) -> str:
    """Long prompts, and more requests than fit at once, keep their spans (chunked prefill and preemption)."""
    n = len(subject.long.token_ids)
    rows: list[tuple[RenderedPrompt, Injection | None]] = []
    for number in range(subject.concurrency):
        start = (number * n) // subject.concurrency
        prompt = attrs.evolve(subject.long, anchors={"first": start, "last": min(start + n // 4, n - 1), "tail": n - 1})
        spans = (Span.from_anchor("first"), Span.between("first", "last"), Span.generation(), Span.from_anchor("tail"))
        span = spans[number % 4] if prompt.anchors["last"] > start else Span.from_anchor("tail")
        rows.append((prompt, None if number % 5 == 4 else subject.injection(span, seed=number)))
    tokens = 2 * subject.reply_tokens
    requests = [subject.request(p, i, layers=[subject.layer], tokens=tokens) for p, i in rows]
    for number, ((prompt, injection), done) in enumerate(zip(rows, subject.run(*requests), strict=True)):
        _check_row(subject, prompt, injection, done, f"request {number} of {len(rows)} with {n} tokens")
    return ""


@_check(19)
def capture_reads_the_last_prompt_token(subject: Subject) -> str:
    """``capture`` gives, for prompts of any length in one call, the unsteered residual at each one's last token."""
    prompts = [*subject.prompts[:3], subject.long, RenderedPrompt(subject.prompt.token_ids[:1], "")]
    last = subject.injector.model.n_layers - 1
    layers = list(dict.fromkeys((last, 0, subject.layer)))  # in no sorted order
    captured = subject.injector.capture(prompts, layers)
    for number, prompt in enumerate(prompts):
        run = subject.run(subject.request(prompt, None, layers=layers, tokens=1))[0]
        subject.same(captured[number], residuals(run)[:, -1], f"prompt {number} of {len(prompts)}")
    return ""
