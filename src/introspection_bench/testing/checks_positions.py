"""Checks of what is added, and at which positions."""

from __future__ import annotations

import attrs
import numpy as np

from ..doses import Dose, Unit
from ..injection import Injection
from ..injectors.requests import Completion
from ..prompts import RenderedPrompt
from ..spans import Span
from ..vectors import ConceptVector
from .check import CheckSkipped, check
from .subject import FloatArray, Subject, make_vector, require, residuals, with_anchors


@check(1)
def zero_magnitude_equals_no_injection(subject: Subject) -> str:
    """Magnitude 0, in any unit, makes a control; and a control has the same bits beside steered requests as without."""
    for unit in subject.units:
        zero = subject.run(subject.request(subject.prompt, subject.injection(unit=unit, magnitude=0.0)))[0]
        require(zero.receipts == (), f"unit {unit}: magnitude 0 has receipts: {zero.receipts}")
    ids = subject.prompt.token_ids
    # As long, and alike in no token, so that no engine cuts the two batches in other ways.
    beside = RenderedPrompt([token + 1 if token == ids[0] else ids[0] for token in ids], "")
    layers = [0, subject.layer, subject.injector.model.n_layers - 1]
    control = subject.request(subject.prompt, layers=layers, tokens=1)

    def run(*injections: Injection) -> Completion:
        return subject.run(control, subject.request(beside, *injections, layers=layers, tokens=1))[0]

    before, again, mixed = run(), run(), run(subject.injection())
    repeatable = np.array_equal(residuals(before), residuals(again))
    if repeatable:
        same = np.array_equal(residuals(mixed), residuals(before))
        require(same, "a control has other bits beside a steered request than beside a control")
    else:
        subject.same(residuals(mixed), residuals(before), "a control beside a steered request")
    require(not subject.exact or mixed.reply == before.reply, "a control beside a steered request has another reply")
    return "" if repeatable else "two equal controls differ in bits on this backend; compared within the tolerance"


@check(2)
def steers_only_its_layer(subject: Subject) -> str:
    """Blocks below L are unchanged, block L's output is h + delta, and the blocks above get to see it."""
    last = subject.injector.model.n_layers - 1
    for layer in sorted({0, subject.layer, last}):
        injection = subject.injection(layer=layer)
        watched = sorted({max(layer - 1, 0), layer, min(layer + 1, last)})
        steered = residuals(subject.run(subject.request(subject.prompt, injection, layers=watched, tokens=1))[0])
        clean = residuals(subject.run(subject.request(subject.prompt, layers=watched, tokens=1))[0])
        for at, changed, unchanged in zip(watched, steered, clean, strict=True):
            if at < layer:
                subject.same(changed, unchanged, f"injection at layer {layer}, residual below it at layer {at}")
            elif at == layer:
                added = changed - unchanged
                subject.check_addition(subject.prompt, [injection], unchanged, added, f"injection at layer {layer}")
            else:
                moved = np.linalg.norm(changed - unchanged, axis=1) / np.linalg.norm(unchanged, axis=1)
                require(
                    float(np.median(moved)) > 4 * subject.stated_error,
                    f"injection at layer {layer}: layer {at} above it did not change (median {np.median(moved):.2g})",
                )
    return ""


@check(3)
def leaves_positions_outside_the_span_alone(subject: Subject) -> str:
    """Positions outside the span are unchanged, in the prompt and while generating; those inside get the delta."""
    for span in (
        Span.between("first", "last"),
        Span.from_anchor("last"),
        Span.from_anchor("first", stop_at_prompt_end=True),
        Span.prompt(),
        Span.generation(),
    ):
        prompt, _, h, added = subject.with_reply(subject.injection(span))
        subject.check_addition(prompt, [subject.injection(span)], h, added, f"span {span}")
    return ""


@check(4)
def fires_once_per_generated_token(subject: Subject) -> str:
    """While generating, each position of the span is steered once, and the receipt counts them."""
    tokens = 2 * subject.reply_tokens
    for span in (Span.all(), Span.generation(), Span.from_anchor("last")):
        injection = subject.injection(span)
        prompt, completion, h, added = subject.with_reply(injection, tokens=tokens)
        n, sampled = len(prompt.token_ids), len(completion.reply.token_ids)
        sizes = np.linalg.norm(added[n:], axis=1) / (injection.dose.magnitude * np.linalg.norm(h[n:], axis=1))
        counted = float(sizes.sum())
        require(
            abs(counted - (sampled - 1)) <= 0.5,
            f"span {span}: {sampled - 1} generated positions, but additions worth {counted:.2f} of them: "
            f"{np.round(sizes, 2).tolist()}",
        )
        told = completion.receipts[0].generation_positions
        require(told == sampled - 1, f"span {span}: the receipt counts {told} of {sampled - 1} positions")
    return ""


@check(5)
def steers_one_token_prompts_and_tails(subject: Subject) -> str:
    """A prompt of one token, and a span that is the prompt's last token alone, are steered as any other."""
    ids = subject.prompt.token_ids
    singles = [RenderedPrompt((token,), "") for token in dict.fromkeys(ids[len(ids) // 3 :])][:4]
    for span in (Span.all(), Span.prompt(), Span.generation()):
        injection = subject.injection(span)
        for prompt in singles:
            completion, h, added = subject.steered(prompt, injection)
            subject.check_addition(prompt, [injection], h, added, f"one-token prompt, span {span}")
            if len(completion.reply.token_ids) > 2:
                break
    for span in (Span.from_anchor("tail", stop_at_prompt_end=True), Span.from_anchor("tail")):
        prompt, _, h, added = subject.with_reply(subject.injection(span), at_least=2)
        subject.check_addition(prompt, [subject.injection(span)], h, added, f"one-token tail, span {span}")
    return ""


@check(9)
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
    # So that magnitude 1 is about as much in one unit as in another.
    scales = dict.fromkeys(Unit, 1.0) | {Unit.RAW: 2.0, Unit.ABSOLUTE: 2 * vectors[0].norm}

    def added(*injections: Injection) -> list[FloatArray]:
        requests = [subject.request(prompt, i, layers=[layer], tokens=1) for i in injections]
        return [residuals(c)[0] - h for c in subject.run(*requests)]

    def close(one: FloatArray, other: FloatArray, what: str) -> None:
        bound = np.maximum(scale, np.linalg.norm(other, axis=1))
        apart = np.linalg.norm(one - other, axis=1) / bound
        worst, half = float(np.max(apart)), float(np.median(apart))
        require(worst <= 2 * subject.error, f"{what}: off by {worst:.3g} of the residual")
        require(half <= 2 * subject.usual_error, f"{what}: off by {half:.3g} of the residual at half of the positions")

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
        unit=st.sampled_from(subject.units),
        span=st.sampled_from([Span.all(), Span.from_anchor("last"), Span.between("first", "last")]),
        which=st.permutations(range(3)),
    )
    def holds(m: float, n: float, unit: Unit, span: Span, which: list[int]) -> None:
        v, w = vectors[which[0]], vectors[which[1]]
        n = n if abs(n) > 0.05 and abs(m + n) > 0.05 else m

        def make(magnitude: float, u: Unit = unit, vector: ConceptVector = v) -> Injection:
            return Injection(vector, layer, Dose(magnitude * scales[u], u), span)

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


@check(10)
def left_padding_moves_nothing(subject: Subject) -> str:
    """A short prompt beside a long one in a batch is steered, and replied to, as it is alone."""
    ids = subject.prompts[2].token_ids
    short = with_anchors(ids[: max(3, len(ids) // 2)])
    rows: list[tuple[RenderedPrompt, list[Injection]]] = [
        (short, [subject.injection(Span.from_anchor("last"))]),
        (subject.long, [subject.injection(Span.between("first", "last")), subject.injection(Span.prompt(), seed=1)]),
        (short, []),
        (with_anchors(ids), [subject.injection(Span.prompt())]),
        (subject.long, []),
    ]
    requests = [subject.request(p, *some, layers=[subject.layer]) for p, some in rows]
    for (prompt, some), request, completion in zip(rows, requests, subject.run(*requests), strict=True):
        what = f"prompt of {len(prompt.token_ids)} tokens beside one of {len(subject.long.token_ids)}"
        subject.check_row(prompt, some, completion, what)
        if subject.exact:
            alone = subject.run(request)[0].reply.token_ids
            require(alone == completion.reply.token_ids, f"{what}: another reply than alone")
    return ""


@check(11)
def cached_steps_equal_one_pass(subject: Subject) -> str:
    """KV cache on equals off: steps with a cache give the residuals of one pass over the same tokens."""
    last = subject.injector.model.n_layers - 1
    layers = sorted({subject.layer, last})
    for span in (Span.from_anchor("first"), Span.prompt()):
        injection = subject.injection(span)
        prompt, *_ = subject.with_reply(injection)
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


@check(12)
def keeps_the_dtype_of_the_stream(subject: Subject) -> str:
    """On a half-precision model the steered stream stays in its dtype: h + delta rounded once, no wider copy."""
    injector = subject.half or subject.injector
    if injector.model.dtype not in ("bfloat16", "float16"):
        raise CheckSkipped(f"the model is {injector.model.dtype}; pass one in bfloat16 or float16 as well")
    half = Subject(injector, reply_tokens=subject.reply_tokens, long_prompt=subject.long_prompt)
    for unit in (u for u in (Unit.RESIDUAL, Unit.RAW) if u in half.units):
        prompt, completion, h, added = half.with_reply(half.injection(unit=unit))
        stream = residuals(completion)
        require(
            np.array_equal(_rounded(stream, injector.model.dtype), stream),
            f"unit {unit}: the steered stream holds numbers that {injector.model.dtype} can't; it was widened",
        )
        half.check_addition(prompt, [half.injection(unit=unit)], h, added, f"{injector.model.dtype}, unit {unit}")
    return ""


def _rounded(values: FloatArray, dtype: str) -> FloatArray:
    if dtype == "float16":
        return values.astype(np.float16).astype(np.float32)
    # bfloat16 is the upper half of a float32.
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@check(18)
def long_prompts_and_many_requests_are_steered_alike(subject: Subject) -> str:
    """Long prompts, and more requests than fit at once, keep their spans (chunked prefill and preemption)."""
    n = len(subject.long.token_ids)
    rows: list[tuple[RenderedPrompt, list[Injection]]] = []
    for number in range(subject.concurrency):
        start = (number * n) // subject.concurrency
        prompt = attrs.evolve(subject.long, anchors={"first": start, "last": min(start + n // 4, n - 1), "tail": n - 1})
        spans = (Span.from_anchor("first"), Span.between("first", "last"), Span.generation(), Span.from_anchor("tail"))
        span = spans[number % 4] if prompt.anchors["last"] > start else Span.from_anchor("tail")
        rows.append((prompt, [subject.injection(span, seed=number + n) for n in range((2, 1, 1, 1, 0)[number % 5])]))
    tokens = 2 * subject.reply_tokens
    requests = [subject.request(p, *some, layers=[subject.layer], tokens=tokens) for p, some in rows]
    for number, ((prompt, some), done) in enumerate(zip(rows, subject.run(*requests), strict=True)):
        subject.check_row(prompt, some, done, f"request {number} of {len(rows)} with {n} tokens")
    return ""
