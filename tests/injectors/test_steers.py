"""Requests with several steers, and replays: what is added is looked at in the stream, beside additions by hand."""

from __future__ import annotations

import itertools

import attrs
import numpy as np
import pytest
import torch
from random_vectors import everywhere, steer, vector

from introspection_bench import RenderedPrompt, Request, Sampling, Span
from introspection_bench.errors import SpecError
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.testing import tiny_model

PROMPT = RenderedPrompt(tuple(range(20, 34)), "", {"here": 5, "there": 9})
LAYERS = (0, 1, 2, 3)
SAMPLED = Sampling(1.0, max_new_tokens=6)
HERE, BETWEEN = Span.from_anchor("here"), Span.between("here", "there")

#: Bands, sums of several units at one layer, a direction that is taken away beside a concept.
PLANS = {
    "band": [steer(0.3, layer=n, span=HERE) for n in LAYERS],
    "sum": [steer(1.0, "raw", span=HERE), steer(-0.4, "residual", seed=1), steer(0.5, "update", seed=2, span=BETWEEN)],
    "ablated everywhere": [steer(-1.0, "projection", n, seed=3) for n in LAYERS] + [steer(0.5, layer=1, span=HERE)],
    "then removed": [steer(0.5, layer=1, span=BETWEEN), steer(2.0, "absolute", 2, Span.generation(), seed=1)],
    "one twice": [steer(0.25), steer(0.5)],
}


def unit_of(injection):
    return injection.dose.unit


def run(injector, requests):
    return sorted(injector.generate(requests), key=lambda c: c.index)


def asked(injections, **fields):
    reads = everywhere(PROMPT, LAYERS)
    return attrs.evolve(Request.of(PROMPT, injections, SAMPLED, 7, reads=reads), **fields)


def again(request, completion):
    """The replay of a reply."""
    return attrs.evolve(request, forced=completion.reply.token_ids)


def by_hand(model, tokens, injections):
    """The stream in one pass over given tokens: each addition written out, all from the stream before any of them."""
    streams, updates, handles = [], {}, []
    length = len(PROMPT.token_ids)

    def on_mlp(layer):
        return lambda _m, _a, output: updates.__setitem__(layer, output)

    def on_block(layer):
        def hook(_module, _args, h):
            after = h.clone()
            for one in (i for i in injections if i.layer == layer):
                v = torch.tensor(one.vector.values)
                unit, m = v / v.norm(), one.dose.magnitude
                size = {
                    "raw": m * v.norm() * torch.ones_like(h[..., :1]),
                    "absolute": m * torch.ones_like(h[..., :1]),
                    "residual": m * h.norm(dim=-1, keepdim=True),
                    "update": m * updates[layer].norm(dim=-1, keepdim=True),
                    "projection": m * (h @ unit)[..., None],
                }[one.dose.unit.value]
                where = one.span.resolve(PROMPT)
                at = slice(where.start, where.stop)
                after[:, at] += (size * unit)[:, at]
            streams.append(after[0])
            return after

        return hook

    for layer, block in enumerate(model.model.layers):
        handles += [block.mlp.register_forward_hook(on_mlp(layer)), block.register_forward_hook(on_block(layer))]
    with torch.inference_mode():
        model(torch.tensor([tokens]), use_cache=False)
    for handle in handles:
        handle.remove()
    assert length <= len(tokens)
    return torch.stack(streams).numpy()


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_steers_add_up_as_additions_by_hand_do_while_sampling_and_in_a_replay(injector, llama, plan):
    request = asked(plan)
    (sampled,) = run(injector, [request])
    (replayed,) = run(injector, [again(request, sampled)])
    expected = by_hand(llama[0], (*PROMPT.token_ids, *sampled.reply.token_ids[:-1]), plan)
    for completion in (sampled, replayed):
        np.testing.assert_allclose(completion.readings[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_steers_given_in_any_order_are_one_request_with_one_reply_to_the_last_bit(injector, plan):
    requests = [asked(order) for order in itertools.islice(itertools.permutations(plan), 4)]
    assert len(set(requests)) == 1
    (first,), (last,) = (run(injector, [r]) for r in (requests[0], requests[-1]))
    assert first == last
    assert np.array_equal(first.readings[0], last.readings[0])


def test_there_is_a_receipt_for_each_steer_in_the_order_of_the_request(injector):
    request = asked([steer(0.25, layer=2), steer(0.5, layer=0, span=BETWEEN), steer(1.0, layer=2, seed=1, span=HERE)])
    (done,) = run(injector, [request])
    generated = len(done.reply.token_ids) - 1
    for one, receipt in zip(request.steers, done.receipts, strict=True):
        assert receipt.mean_ratio == pytest.approx(one.dose.magnitude, rel=1e-3)
        assert (receipt.prompt_positions, receipt.generation_positions) == one.positions.expected(generated + 1)


def test_a_projection_of_minus_one_leaves_nothing_of_the_direction(injector):
    plan = [steer(-1.0, "projection", 2, HERE, seed=4)]
    (done,) = run(injector, [asked(plan)])
    stream = done.readings[0][2]
    along = stream @ vector(64, 4).unit.values / np.linalg.norm(stream, axis=1)
    assert np.abs(along[5:]).max() < 1e-6
    assert np.abs(along[:5]).min() > 1e-3


def test_a_projection_beside_an_addition_takes_away_what_was_there_before_it(injector):
    # Both along one direction: what is added is not taken away again, and what was there is.
    plan = [steer(-1.0, "projection", 1, seed=4), steer(3.0, "absolute", 1, seed=4)]
    (done,) = run(injector, [asked(plan)])
    np.testing.assert_allclose(done.readings[0][1] @ vector(64, 4).unit.values, 3.0, rtol=1e-4)


def test_a_projection_of_what_is_not_there_has_touched_its_positions(injector):
    # The first takes the direction away at block 1 entirely; the second finds rounding alone.
    (done,) = run(injector, [asked([steer(-1.0, "projection", 1, seed=4)])])
    assert done.receipts[0].mean_ratio > 1e-3

    model = injector._model
    handle = model.model.layers[1].register_forward_hook(lambda _m, _a, output: output * torch.eye(64)[0])
    along = attrs.evolve(vector(64), values=np.eye(64)[1])
    try:
        nothing = attrs.evolve(steer(-1.0, "projection"), vector=along)
        (done,) = injector._generate([asked([nothing])])
    finally:
        handle.remove()
    assert done.receipts[0].prompt_positions == len(PROMPT.token_ids)
    assert done.receipts[0].max_ratio == 0


def test_a_row_with_one_steer_keeps_its_bits_whatever_is_steered_beside_it(injector):
    mine = asked([steer(0.5, span=HERE)])
    seen = []
    for beside in ([], [steer(0.5)], PLANS["ablated everywhere"], PLANS["sum"]):
        # The prefix that both share must be as long each time.
        requests = [mine, asked([attrs.evolve(i, span=HERE) for i in beside])]
        seen.append(run(injector, requests)[0])
    assert all(done == seen[0] and np.array_equal(done.readings[0], seen[0].readings[0]) for done in seen[1:])


def test_requests_of_many_steers_beside_each_other_equal_each_alone(injector):
    requests = [asked([]), *(asked(plan, seed=n) for plan in PLANS.values() for n in range(2))]
    for request, together in zip(requests, run(injector, requests), strict=True):
        (alone,) = run(injector, [request])
        assert alone.reply == together.reply
        np.testing.assert_allclose(alone.readings[0], together.readings[0], rtol=1e-3, atol=1e-4)
        assert_alike(alone.receipts, together.receipts, 1e-4)


# Replays


def assert_alike(receipts, others, rel):
    """The same positions, and ratios that rounding explains."""
    for one, other in zip(receipts, others, strict=True):
        assert (one.prompt_positions, one.generation_positions) == (other.prompt_positions, other.generation_positions)
        # What a projection finds left to take away, where another took it before, is rounding itself.
        assert one.mean_ratio == pytest.approx(other.mean_ratio, rel=rel, abs=1e-6)
        assert one.max_ratio == pytest.approx(other.max_ratio, rel=rel, abs=1e-6)


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [
        *((name, torch.float32) for name in ("llama", "gemma2", "gpt_neox", "falcon_h1", "jamba", "mamba")),
        ("llama", torch.bfloat16),
        ("qwen3", torch.float16),
    ],
    ids=str,
)
def test_a_replay_gives_the_receipts_of_the_sampled_reply_again(architecture, dtype):
    model, tokenizer = tiny_model(architecture)
    plans = list(PLANS.values()) if architecture in ("llama", "gemma2", "qwen3") else [PLANS["ablated everywhere"]]
    tolerance = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}[dtype]
    with TorchInjector.open(model.to(dtype), tokenizer=tokenizer) as injector:
        requests = [asked(plan, seed=seed) for plan in plans for seed in range(2)]
        sampled = run(injector, requests)
        replayed = run(injector, [again(r, c) for r, c in zip(requests, sampled, strict=True)])
        for one, other in zip(sampled, replayed, strict=True):
            assert other.reply.token_ids == one.reply.token_ids
            assert_alike(other.receipts, one.receipts, tolerance)


def test_a_replay_has_the_reply_that_was_sampled(injector):
    requests = [asked([], seed=seed, sampling=Sampling(1.5, max_new_tokens=40), reads=()) for seed in range(4)]
    sampled = run(injector, requests)
    assert {c.reply.finish_reason for c in sampled} == {"stop", "length"}
    replayed = run(injector, [again(r, c) for r, c in zip(requests, sampled, strict=True)])
    assert [c.reply for c in replayed] == [c.reply for c in sampled]


def replays(plans):
    """Of two prompts and of many lengths, steered from several places on, read at few or all of them, or not at all."""
    other = RenderedPrompt((*PROMPT.token_ids[:9], 77, 78), "")
    random = np.random.default_rng(0)
    made = []
    for n in range(24):
        forced = tuple(map(int, random.integers(20, 200, n % 5)))
        plan = [*plans, []][n % (len(plans) + 1)]
        made.append(asked(plan, forced=forced, reads=everywhere(PROMPT, LAYERS) if n % 3 else ()))
        if n % 8 == 0:
            made.append(Request.of(other, [steer(0.5)], SAMPLED, forced=forced, reads=everywhere(other, (2,))))
    return made


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "falcon_h1", "jamba", "mamba"])
def test_replays_of_many_lengths_beside_each_other_equal_each_alone(architecture):
    model, tokenizer = tiny_model(architecture)
    # Blocks of mamba have no MLP branch.
    requests = replays([p for p in PLANS.values() if architecture != "mamba" or "update" not in map(unit_of, p)])
    with TorchInjector.open(model, tokenizer=tokenizer, batch_size=8) as injector:
        together = run(injector, requests)
        assert len(together) == len(requests)
        for request, one in zip(requests[::2], together[::2], strict=True):
            (alone,) = run(injector, [request])
            assert alone.reply == one.reply
            assert_alike(one.receipts, alone.receipts, 1e-3)
            for got, expected in zip(one.readings, alone.readings, strict=True):
                np.testing.assert_allclose(got, expected, rtol=5e-3, atol=1e-3)


def test_replays_share_the_beginning_that_is_neither_steered_nor_read(injector, monkeypatch):
    lengths = []
    forward = type(injector)._forward

    def counted(self, ids, *args, **options):
        lengths.append(tuple(ids.shape))
        return forward(self, ids, *args, **options)

    monkeypatch.setattr(type(injector), "_forward", counted)
    requests = [asked([steer(0.5, span=HERE)], forced=(30 + n, 31), reads=()) for n in range(16)]
    assert len(run(injector, requests)) == 16
    assert lengths == [(1, 5), (8, 10), (8, 10)]


def test_a_replay_leaves_no_trace_in_a_control_behind_it(injector):
    control = asked([], forced=(30, 31, 32))
    (before,) = run(injector, [control])
    run(injector, replays(PLANS.values()))
    (after,) = run(injector, [control])
    assert np.array_equal(before.readings[0], after.readings[0])


def test_a_replay_may_end_where_its_reply_did_and_not_behind_the_models_last_position():
    model, tokenizer = tiny_model("llama", settings={"max_position_embeddings": 16})
    with TorchInjector.open(model, tokenizer=tokenizer) as injector:
        (fits,) = run(injector, [asked([steer(0.5)], forced=(30, 31, 32))])
        assert fits.receipts[0].generation_positions == 2
        with pytest.raises(SpecError, match="at most 16 positions"):
            injector.generate([asked([steer(0.5)], forced=(30, 31, 32, 33))])
        with pytest.raises(SpecError, match="forced: required token ids"):
            injector.generate([asked([], forced=(10**6,))])
