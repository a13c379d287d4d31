"""What an nnsight injector finds of a model when it is opened, and leaves as it was."""

from __future__ import annotations

import pytest
from cases import SAMPLING, prompt_of, run, vector

from introspection_bench.doses import Unit
from introspection_bench.errors import ModelError
from introspection_bench.identity import Sampling
from introspection_bench.injection import Injection
from introspection_bench.injectors.requests import Request
from introspection_bench.spans import Span
from introspection_bench.testing.tiny import tiny_model

pytest.importorskip("nnsight", reason="the extra nnsight is not installed")

from introspection_bench.injectors.nnsight import NnsightInjector
from introspection_bench.injectors.torch import TorchInjector


def test_a_sampled_reply_is_the_torch_injectors_for_the_same_seed():
    (model, tokenizer), (same, _) = tiny_model("llama"), tiny_model("llama")
    mine = NnsightInjector.open(model, tokenizer=tokenizer)
    theirs = TorchInjector.open(same, tokenizer=tokenizer)
    prompt = prompt_of(mine)
    requests = [
        Request.of(prompt, [Injection(vector(mine, n), 1, f"0.5 {unit}", Span.all())], SAMPLING, 1000 + n)
        for n, unit in enumerate([*Unit, *Unit])
    ]
    assert [c.reply for c in run(mine, *requests)] == [c.reply for c in run(theirs, *requests)]


def test_the_callers_model_keeps_its_own_generation_defaults():
    model, tokenizer = tiny_model("llama")
    model.generation_config.repetition_penalty = 5.0
    own = model.generation_config
    mine = NnsightInjector.open(model, tokenizer=tokenizer)
    plain, tokens = tiny_model("llama")
    theirs = NnsightInjector.open(plain, tokenizer=tokens)
    request = Request.of(prompt_of(mine), (), Sampling(0.0, max_new_tokens=20))
    assert run(mine, request)[0].reply == run(theirs, request)[0].reply
    assert model.generation_config is own


def test_a_branch_that_is_not_added_as_it_is_can_not_carry_the_unit_update():
    model, tokenizer = tiny_model("llama")
    mine = NnsightInjector.open(model, tokenizer=tokenizer, update_module="input_layernorm")
    with pytest.raises(ModelError, match="update"):
        run(mine, Request.of(prompt_of(mine), [Injection(vector(mine), 1, "1 update", Span.all())], SAMPLING))


def test_wrong_blocks_are_refused_when_the_model_is_opened():
    model, tokenizer = tiny_model("llama")
    with pytest.raises(ModelError, match="blocks"):
        NnsightInjector.open(model, tokenizer=tokenizer, blocks="model.no_such_layers")
