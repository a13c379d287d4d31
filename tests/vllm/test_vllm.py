"""What only vLLM can get wrong: arguments, swallowed exceptions, preemption, abandoned and interleaved calls."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixed_batches import random_vector, tells_each_step
from torch import nn

from introspection_bench.doses import delta_length
from introspection_bench.errors import (
    ModelError,
    ModelNotFoundError,
    NonFiniteError,
    PluginError,
    SilentInjectionError,
    SpecError,
)
from introspection_bench.identity import Sampling
from introspection_bench.injection import Injection
from introspection_bench.injectors import open_injector
from introspection_bench.injectors.requests import Request
from introspection_bench.measures.base import Read
from introspection_bench.prompts import RenderedPrompt
from introspection_bench.spans import Positions


@pytest.fixture(scope="module")
def injector(tiny_folder):
    with open_injector("vllm-lens", tiny_folder("llama"), dtype="float32", max_model_len=128, max_num_seqs=4) as opened:
        yield opened


def prompt(seed=0, length=12):
    ids = np.random.default_rng(seed).integers(6, 250, length)
    return RenderedPrompt([int(i) for i in ids], "", {"middle": length // 2})


def steered(injector, seed=0, layer=1, dose="0.6 residual", span="all"):
    return Injection(random_vector(injector, layer, seed), layer, dose, span)


def request(*injections, seed=0, tokens=6, forced=None, reads=(), **sampling):
    chosen = Sampling(max_new_tokens=tokens, **({"temperature": 0} | sampling))
    return Request.of(prompt(seed), injections, chosen, seed, forced=forced, reads=reads)


def stream(*layers):
    return Read("residuals", Positions(0, None, 12), layers)


@pytest.mark.parametrize(
    ("engine_args", "says"),
    [
        ({"enable_prefix_caching": True}, "later control"),
        ({"enforce_eager": False}, "skip the hooks"),
        ({"speculative_config": {"method": "ngram"}}, "draft"),
        ({"logits_processors": ["some.module:Penalty"]}, "alter replies"),
        ({"dtype": "float32"}, "Pass dtype="),
        ({"no_such_argument": 1}, "no_such_argument"),
    ],
)
def test_an_engine_argument_that_is_unknown_or_breaks_a_promise_is_refused_with_the_reason(
    tiny_folder, engine_args, says
):
    with pytest.raises(ModelError, match=says):
        open_injector("vllm-lens", tiny_folder("llama"), engine_args=engine_args)


def test_an_unknown_option_of_open_is_refused_by_its_explicit_signature(tiny_folder):
    with pytest.raises(PluginError, match="temprature"):
        open_injector("vllm-lens", tiny_folder("llama"), temprature=1)


def test_a_path_that_leads_nowhere_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        open_injector("vllm-lens", tmp_path / "nowhere")


def test_an_architecture_whose_blocks_vllm_lens_cannot_find_is_refused_on_opening(tiny_folder):
    # vLLM runs OLMo 2 through its generic Transformers fallback.
    with pytest.raises(ModelError, match="torch backend"):
        open_injector("vllm-lens", tiny_folder("olmo2"), dtype="float32", max_model_len=128)


def test_a_reply_that_vllm_would_cut_short_is_refused_before_it_runs(injector):
    with pytest.raises(SpecError, match="max_model_len"):
        injector.generate([request(tokens=120)])
    with pytest.raises(SpecError, match="max_model_len"):
        injector.capture([prompt(length=128)], [0])
    longest = request(tokens=116)
    assert len(next(injector.generate([longest])).reply.token_ids) <= 116
    assert next(injector.generate([attrs.evolve(longest, forced=(9,) * 116)])).reply.token_ids == (9,) * 116


def test_sampled_replies_are_those_of_the_torch_injector_also_in_chunks_and_at_odd_temperatures(tiny_folder, injector):
    asked = [
        attrs.evolve(request(*[steered(injector, n)] * (n % 2), seed=n), sampling=sampling)
        for n, sampling in enumerate(
            [
                Sampling(1.0, max_new_tokens=20),
                Sampling(0.005, max_new_tokens=20),
                Sampling(3.0, top_k=40, max_new_tokens=7),
                Sampling(1.3, top_p=0.7, max_new_tokens=20),
                Sampling(0.0, max_new_tokens=20),
                Sampling(1.0, top_p=0.9, top_k=5, max_new_tokens=20),
            ]
            * 3
        )
    ]
    with open_injector("torch", str(tiny_folder("llama")), dtype="float32") as torch_injector:
        expected = {c.index: c.reply for c in torch_injector.generate(asked)}
    assert {c.index: c.reply for c in injector.generate(asked)} == expected


def test_an_exception_inside_the_hook_stops_its_own_request_and_no_other(injector, monkeypatch):
    from introspection_bench.injectors.vllm_lens import hook

    real = hook.Steering._steer

    def failing(self, *args):
        if any(a.lengths[0, 1] == torch.tensor(0.7) for a in self.additions):
            raise RuntimeError("out of memory, say")
        return real(self, *args)

    good = request(steered(injector))
    expected = next(injector.generate([good]))
    monkeypatch.setattr(hook.Steering, "_steer", failing)
    bad = request(steered(injector, dose="0.7 residual"))
    with pytest.raises(SilentInjectionError, match="out of memory, say"):
        list(injector.generate([bad]))
    done = []
    with pytest.raises(SilentInjectionError):
        done.extend(injector.generate([bad, good]))
    monkeypatch.undo()
    assert next(injector.generate([good])).reply == expected.reply


def test_a_change_that_vllm_lens_drops_behind_the_hooks_back_leaves_no_receipt(injector, monkeypatch):
    from vllm_lens import _worker_ext

    def full(*args):
        raise RuntimeError("no memory left for the clone")

    monkeypatch.setattr(_worker_ext, "_replace_hook_output", full)
    with pytest.raises(SilentInjectionError, match="dropped the change"):
        list(injector.generate([request(steered(injector))]))


def test_without_the_hook_the_reply_is_refused(injector, monkeypatch):
    monkeypatch.setattr(injector, "_send_hook", lambda *args: None)
    with pytest.raises(SilentInjectionError):
        list(injector.generate([request(steered(injector))]))


def test_each_step_tells_how_many_tokens_it_sampled_while_replies_go_on(injector, monkeypatch):
    tells_each_step(injector, [request(seed=n, tokens=tokens) for n, tokens in enumerate([3, 9, 9])], monkeypatch)


def test_calls_that_interleave_on_one_engine_get_their_own_replies(injector):
    first = [request(steered(injector, n), seed=n) for n in range(6)]
    second = [request(seed=n) for n in range(6)]
    expected = (
        {c.index: c.reply for c in injector.generate(first)},
        {c.index: c.reply for c in injector.generate(second)},
    )
    one, two = injector.generate(first), injector.generate(second)
    got = {}, {}
    for _ in range(6):
        for calls, found in zip((one, two), got, strict=True):
            completion = next(calls)
            found[completion.index] = completion.reply
        injector.capture([prompt(9)], [0])
    assert got == expected


def test_a_call_that_is_given_up_leaves_nothing_running_and_nothing_behind(injector):
    calls = injector.generate([request(steered(injector, n), seed=n, tokens=40) for n in range(10)])
    next(calls)
    calls.close()
    control = request(seed=3)
    reply = next(injector.generate([control])).reply
    assert not injector._flying
    assert not injector._done
    worker = injector._engine.model_executor.driver_worker.worker
    assert not worker._hook_data
    assert not worker._hook_contexts
    assert reply == next(injector.generate([control])).reply


def test_sampled_tokens_hold_the_end_token_and_the_text_does_not(injector):
    end = injector.tokenizer.eos_token_id
    asked = [request(seed=n, tokens=60, temperature=3.0) for n in range(24)]
    stopped = [c.reply for c in injector.generate(asked) if c.reply.finish_reason == "stop"]
    assert stopped
    for reply in stopped:
        assert reply.token_ids.count(end) == 1
        assert reply.token_ids[-1] == end
        assert "<end>" not in reply.text


@pytest.fixture(scope="module")
def unsound(tiny_folder):
    folder = tiny_folder("llama-nan")
    with open_injector("vllm-lens", folder, dtype="float32", max_model_len=128, max_num_seqs=4) as opened:
        yield opened


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["control", "injected"])
def test_logits_that_are_not_finite_are_never_a_reply(unsound, kind, temperature):
    asked = request(*[steered(unsound)] * (kind == "injected"), temperature=temperature)
    with pytest.raises(NonFiniteError, match="position 11, which token 1") as caught:
        list(unsound.generate([asked]))
    assert caught.value.request == 0


def test_a_sum_that_is_not_finite_is_an_error_that_names_layer_and_position_and_leaves_nothing_behind(injector):
    bad = request(steered(injector, dose="3e38 raw", span="from(middle)"), steered(injector, 1), seed=3)
    before = next(injector.generate([request(seed=2)])).reply
    done = []
    with pytest.raises(NonFiniteError, match="layer 1, position 6"):
        done.extend(injector.generate([request(steered(injector)), bad, request(seed=2)]))
    assert [c.index for c in done] == [0, 2]
    # An infinite sum in the engine's cache would turn up in whoever gets its pages next.
    assert [c.reply for c in injector.generate([request(seed=2)] * 4)] == [before] * 4
    worker = injector._engine.model_executor.driver_worker.worker
    assert not worker._hook_data
    assert not any(sampler._largest for sampler in worker._samplers())


def test_the_largest_logits_of_preempted_and_sampled_rows_are_those_of_the_tokens(injector):
    asked = [request(seed=n, tokens=20, temperature=float(n % 2)) for n in range(8)]
    kept = {}
    real = injector._largest

    def spy(key):
        kept[key] = real(key)
        return kept[key]

    injector._largest = spy
    try:
        replies = [c.reply for c in injector.generate(asked)]
    finally:
        del injector._largest
    assert sorted(map(len, kept.values())) == sorted(len(r.token_ids) for r in replies)


def test_several_steers_add_up_each_from_the_stream_before_any_of_them_and_none_reaches_beyond_its_span(injector):
    doses = ("0.6 residual", "2 raw", "3 absolute", "-1 projection", "0.4 residual")
    spans = ("all", "between(middle, reply)", "from(middle)", "all", "generation")
    asked = [steered(injector, n, 1, dose, span) for n, (dose, span) in enumerate(zip(doses, spans, strict=True))]
    tokens = (9, 8, 7, 6)
    without, together = sorted(
        injector.generate(
            [
                request(forced=tokens, reads=[stream(1)]),
                request(*asked, steered(injector, 9, 2, span="prompt"), forced=tokens, reads=[stream(1)]),
            ]
        ),
        key=lambda c: c.index,
    )
    before = without.readings[0][0]
    expected = before.copy()
    for injection in asked:
        where = injection.span.resolve(prompt())
        rows = before[where.start : where.stop]
        unit = injection.vector.unit.values
        length = delta_length(
            injection.dose.unit,
            injection.dose.magnitude,
            vector_norm=injection.vector.norm,
            residual_norm=np.linalg.norm(rows, axis=-1),
            along=rows @ unit,
        )
        expected[where.start : where.stop] += np.broadcast_to(length, len(rows))[:, None] * unit
    assert np.abs(together.readings[0][0] - expected).max() < 1e-5 * np.abs(expected).max()
    assert len(together.receipts) == 6


def test_a_projection_leaves_nothing_of_its_direction_beside_what_others_add(injector):
    removed, added = steered(injector, 1, dose="-1 projection"), steered(injector, 2, dose="2 raw")
    asked = request(removed, added, forced=(), reads=[stream(1)])
    found = next(injector.generate([asked])).readings[0][0]
    unit = removed.vector.unit.values
    assert np.abs(found @ unit - 2 * (added.vector.values @ unit)).max() < 1e-4


def test_a_read_that_is_computed_while_sampling_is_the_replays_own(injector):
    asked = request(steered(injector), steered(injector, 1, 2, span="generation"), tokens=9, reads=[stream(0, 1, 3)])
    sampled = next(injector.generate([asked]))
    again = attrs.evolve(asked, forced=sampled.reply.token_ids)
    replayed = next(injector.generate([again]))
    assert replayed.reply == sampled.reply
    for mine, theirs in zip(replayed.receipts, sampled.receipts, strict=True):
        assert attrs.astuple(mine) == pytest.approx(attrs.astuple(theirs), rel=1e-5)
    assert np.abs(replayed.readings[0] - sampled.readings[0]).max() < 1e-5 * np.abs(sampled.readings[0]).max()


def test_the_lens_of_the_last_block_is_the_engines_own_prediction_bit_by_bit(injector):
    sets, where = ((7, 8), (30,)), Positions(3, None, 12)
    last = injector.model.n_layers - 1
    reads = [Read("lens", where, (0, last), sets), Read("logprobs", where, sets=sets)]
    lens, own = next(injector.generate([request(steered(injector), forced=(9, 8), reads=reads)])).readings
    assert np.array_equal(lens[1], own)
    assert not np.allclose(lens[0], own, atol=0.1)


def test_a_model_that_does_more_behind_its_final_norm_has_no_lens(injector):
    from introspection_bench.injectors.vllm_lens.records import LayerLog
    from introspection_bench.injectors.vllm_lens.sites import Ending, Head

    class Scaled(nn.Module):
        def __init__(self, times, inside):
            super().__init__()
            self.block, self.norm, self.times, self.inside = nn.Linear(8, 8), nn.LayerNorm(8), times, inside

        def forward(self, rows):
            stream = self.block(rows)
            normed = self.norm(stream + self.inside)
            return normed if self.times == 1 else normed * self.times

    def proved(model):
        head = Head(model, [model.block])
        told, rows = [], torch.randn(3, 8)
        head.pending.append(Ending(LayerLog(), slice(0, 3), model.block(rows), told.append))
        model(rows)
        assert len(told) == 1
        return head.ends, head.norm is model.norm

    assert injector.reads == type(injector).reads
    with torch.no_grad():
        assert proved(Scaled(1, 0)) == (True, True)
        assert proved(Scaled(2, 0)) == (True, False)
        assert proved(Scaled(1, torch.randn(8))) == (True, False)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), min_size=1, max_size=4))
def test_rows_that_no_steer_touches_get_their_own_two_halves_back(windows):
    from introspection_bench.injectors.vllm_lens.hook import _gaps
    from introspection_bench.injectors.vllm_lens.records import LayerLog
    from introspection_bench.injectors.vllm_lens.sites import Claim, Site

    windows = [(lo, min(lo + count, 9)) for lo, count in windows if lo < 9]
    site, own = Site(nn.Identity()), (torch.rand(12, 2), torch.rand(12, 2))
    site.head(site, (), own)
    site.claims.append(Claim(LayerLog(), 2, 9, _gaps(windows, 9)))
    changed = (own[0] + own[1] + 1, torch.zeros(12, 2))
    expected = [half.clone() for half in changed]
    untouched = [2 + n for n in range(9) if not any(lo <= n < hi for lo, hi in windows)]
    for half, mine in zip(expected, own, strict=True):
        half[untouched] = mine[untouched]
    site.tail(site, (), changed)
    assert all(torch.equal(*halves) for halves in zip(changed, expected, strict=True))
