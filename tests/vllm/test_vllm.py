"""What only vLLM can get wrong: arguments, swallowed exceptions, preemption, abandoned and interleaved calls."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from introspection_bench import Injection, Sampling, Span, open_injector
from introspection_bench.errors import ModelError, ModelNotFoundError, NonFiniteError, PluginError, SilentInjectionError
from introspection_bench.injectors.base import Request
from introspection_bench.scaffolds import RenderedPrompt
from introspection_bench.testing.subject import make_vector


@pytest.fixture(scope="module")
def injector(tiny_folder):
    with open_injector("vllm-lens", tiny_folder("llama"), dtype="float32", max_model_len=128, max_num_seqs=4) as opened:
        yield opened


def prompt(seed=0, length=12):
    ids = np.random.default_rng(seed).integers(6, 250, length)
    return RenderedPrompt([int(i) for i in ids], "", {"middle": length // 2})


def steered(injector, seed=0, layer=1, **changes):
    vector = make_vector(np.random.default_rng(seed).standard_normal(injector.model.hidden_size), layer, injector)
    return attrs.evolve(Injection(vector, layer, 0.6, "residual", Span.all()), **changes)


def request(injection=None, seed=0, tokens=6, **sampling):
    return Request(prompt(seed), injection, Sampling(max_new_tokens=tokens, **({"temperature": 0} | sampling)), seed)


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
    with pytest.raises(ModelError, match="max_model_len"):
        injector.generate([request(tokens=120)])


def test_sampled_replies_are_those_of_the_torch_injector_also_in_chunks_and_at_odd_temperatures(tiny_folder, injector):
    asked = [
        attrs.evolve(request(steered(injector, n) if n % 2 else None, n, 20), sampling=sampling)
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
    from introspection_bench.injectors.vllm_lens import worker

    real = worker.Steering._steer

    def failing(self, *args):
        if self.lengths[0, 1] == torch.tensor(0.7):
            raise RuntimeError("out of memory, say")
        return real(self, *args)

    good = request(steered(injector))
    expected = next(injector.generate([good]))
    monkeypatch.setattr(worker.Steering, "_steer", failing)
    bad = request(steered(injector, magnitude=0.7))
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


def test_calls_that_interleave_on_one_engine_get_their_own_replies(injector):
    first = [request(steered(injector, n), n) for n in range(6)]
    second = [request(None, n) for n in range(6)]
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
    calls = injector.generate([request(steered(injector, n), n, tokens=40) for n in range(10)])
    next(calls)
    calls.close()
    control = request(None, 3)
    reply = next(injector.generate([control])).reply
    assert not injector._flying
    assert not injector._done
    worker = injector._engine.model_executor.driver_worker.worker
    assert not worker._hook_data
    assert not worker._hook_contexts
    assert reply == next(injector.generate([control])).reply


def test_sampled_tokens_hold_the_end_token_and_the_text_does_not(injector):
    end = injector.tokenizer.eos_token_id
    asked = [request(None, n, tokens=60, temperature=3.0) for n in range(24)]
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
    asked = request(steered(unsound) if kind == "injected" else None, temperature=temperature)
    with pytest.raises(NonFiniteError, match="position 11, which token 1") as caught:
        list(unsound.generate([asked]))
    assert caught.value.request == 0


def test_a_sum_that_is_not_finite_is_an_error_that_names_layer_and_position_and_leaves_nothing_behind(injector):
    bad = request(steered(injector, magnitude=3e38, unit="raw", span=Span.from_anchor("middle")), 3)
    before = next(injector.generate([request(None, 2)])).reply
    done = []
    with pytest.raises(NonFiniteError, match="layer 1, position 6"):
        done.extend(injector.generate([request(steered(injector)), bad, request(None, 2)]))
    assert [c.index for c in done] == [0, 2]
    # An infinite sum in the engine's cache would turn up in whoever gets its pages next.
    assert [c.reply for c in injector.generate([request(None, 2)] * 4)] == [before] * 4
    worker = injector._engine.model_executor.driver_worker.worker
    assert not worker._hook_data
    assert not any(sampler._largest for sampler in worker._samplers())


def test_the_largest_logits_of_preempted_and_sampled_rows_are_those_of_the_tokens(injector):
    asked = [request(None, n, tokens=20, temperature=float(n % 2)) for n in range(8)]
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
