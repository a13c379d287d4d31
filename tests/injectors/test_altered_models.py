"""Models that some program has altered: before they are opened it counts, after that they are refused."""

from __future__ import annotations

import attrs
import pytest
import torch
from random_vectors import everywhere, steer
from torch import nn
from transformers import SuppressTokensLogitsProcessor

from introspection_bench import RenderedPrompt, Request, Sampling, open_injector
from introspection_bench.errors import ModelError
from introspection_bench.injectors.hf.fingerprint import fingerprint_module
from introspection_bench.testing import tiny_model

PROMPT = RenderedPrompt(tuple(range(20, 32)), "", {"here": 4})
GREEDY = Sampling(0.0, max_new_tokens=3)


def generate(injector, layers=(), injections=()):
    (done,) = injector.generate([Request.of(PROMPT, injections, GREEDY, reads=everywhere(PROMPT, layers))])
    return done


@attrs.define(eq=False)
class FakeControl:
    """As steering libraries keep what they add: an object of their own, beside the block."""

    vector: torch.Tensor | None = None
    strength: float = 1.0


class FakeWrapper(nn.Module):
    """A block in a steering library's wrapper."""

    def __init__(self, block):
        super().__init__()
        self.block = block
        self.control = FakeControl()
        self.tables = {"a": [torch.zeros(64)]}

    def forward(self, *args, **options):
        out = self.block(*args, **options) + self.tables["a"][0]
        return out if self.control.vector is None else out + self.control.strength * self.control.vector

    def __getattr__(self, name):
        if name == "block":
            return super().__getattr__(name)
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.block, name)


def adding(what):
    def hook(_module, _args, output):
        return output + what

    return hook


def wrap(model):
    model.model.layers[1] = FakeWrapper(model.model.layers[1])


def replace_forward(model):
    block = model.model.layers[1].mlp
    own = block.forward
    block.forward = lambda x: own(x) * 2


CHANGES = {
    "hook": lambda m: m.model.layers[1].register_forward_hook(adding(1.0)),
    "another closed-over number": lambda m: m.model.layers[1].register_forward_hook(adding(2.0)),
    "closed-over tensor": lambda m: m.model.layers[1].register_forward_hook(adding(torch.ones(64))),
    "pre-hook": lambda m: m.model.layers[1].register_forward_pre_hook(lambda _m, args: (args[0] * 2, *args[1:])),
    "forward": replace_forward,
    "wrapper": wrap,
    "control": lambda m: (wrap(m), setattr(m.model.layers[1].control, "vector", torch.ones(64))),
    "strength": lambda m: (wrap(m), setattr(m.model.layers[1].control, "strength", 2.0)),
    "nested table": lambda m: (wrap(m), m.model.layers[1].tables["a"][0].add_(1)),
    "activation": lambda m: setattr(m.model.layers[1].mlp, "act_fn", nn.Tanh()),
    "another activation": lambda m: setattr(m.model.layers[1].mlp, "act_fn", nn.Sigmoid()),
}


def test_hooks_wrappers_and_replaced_methods_count_in_the_fingerprint_and_are_told_alike_again():
    prints = []
    for _ in range(2):
        found = {}
        for name, change in {"none": lambda _m: None, **CHANGES}.items():
            model, tokenizer = tiny_model("llama")
            change(model)
            found[name] = fingerprint_module(model, tokenizer)
        prints.append(found)
    assert prints[0] == prints[1]
    assert len(set(prints[0].values())) == len(prints[0])


AFTERWARDS = {
    **CHANGES,
    "in place": lambda m: m.model.layers[1].mlp.down_proj.weight.detach().mul_(2),
    "behind PyTorch's back": lambda m: m.model.layers[1].mlp.down_proj.weight.data.mul_(2),
    "replaced": lambda m: setattr(m.lm_head, "weight", nn.Parameter(m.lm_head.weight.detach() * 2)),
    "training": lambda m: m.model.layers[1].train(),
}


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_a_model_that_was_altered_since_it_was_opened_makes_no_reply_and_no_vector(backend):
    for change in [*AFTERWARDS.values()] if backend == "torch" else [AFTERWARDS["in place"], AFTERWARDS["hook"]]:
        model, tokenizer = tiny_model("llama")
        with open_injector(backend, model, tokenizer=tokenizer) as injector:
            generate(injector, injections=[steer(0.5)])
            generate(injector)
            with torch.no_grad():
                change(model)
            for attempt in (lambda i=injector: generate(i), lambda i=injector: i.capture([PROMPT], [1])):
                with pytest.raises(ModelError, match="with which it was opened"):
                    attempt()


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_residuals_are_read_before_the_next_block_writes_into_them(backend):
    # As blocks of some checkpoints do that add in place.
    model, tokenizer = tiny_model("llama")
    with torch.inference_mode():
        expected = {}
        for layer in (0, 2):
            model.model.layers[layer].register_forward_hook(
                lambda _m, _a, output, layer=layer: expected.__setitem__(layer, output.clone())
            )
        for block in model.model.layers[1:]:
            block.register_forward_pre_hook(lambda _m, args: (args[0].mul_(1.5), *args[1:]))
        model(torch.tensor([PROMPT.token_ids]))
        for block in model.model.layers:
            block._forward_hooks.clear()
    with open_injector(backend, model, tokenizer=tokenizer) as injector:
        captured = injector.capture([PROMPT], [0, 2])[0]
        replied = generate(injector, (0, 2)).readings[0][:, : len(PROMPT.token_ids)]
    for number, layer in enumerate((0, 2)):
        torch.testing.assert_close(torch.tensor(replied[number]), expected[layer][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(torch.tensor(captured[number]), expected[layer][0, -1], rtol=1e-4, atol=1e-4)


def test_a_generate_of_the_models_own_never_chooses_the_tokens():
    model, tokenizer = tiny_model("llama")
    with open_injector("torch", model, tokenizer=tokenizer) as injector:
        expected = generate(injector).reply
    model.generate = lambda *_args, **_options: torch.full((1, 15), 7)
    with open_injector("torch", model, tokenizer=tokenizer) as injector:
        assert generate(injector).reply == expected


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_a_model_class_that_forbids_tokens_while_it_generates_is_refused(backend):
    model, tokenizer = tiny_model("llama")

    class FakeCensored(type(model)):
        def _get_logits_processor(self, *args, **options):
            found = super()._get_logits_processor(*args, **options)
            found.insert(0, SuppressTokensLogitsProcessor(list(range(10, 250))))
            return found

    model.__class__ = FakeCensored
    with pytest.raises(ModelError, match="token by token"):
        open_injector(backend, model, tokenizer=tokenizer)
