"""What is particular to the PyTorch injector; the contract itself is checked by the conformance suite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_vectors import steer, vector
from transformers import GenerationConfig

from introspection_bench import RenderedPrompt, Request, Sampling, Span, open_injector
from introspection_bench.errors import EmptySpanError, LayerError, ModelError, SilentInjectionError, VectorError
from introspection_bench.injectors.hf.blocks import check_update_module, find_blocks
from introspection_bench.injectors.hf.unchanged import Unchanged
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.testing import tiny_model


def run(injector, requests):
    return sorted(injector.generate(requests), key=lambda c: c.index)


def plain_generate(model, ids, *, new_tokens, hook_layer=None, hook=None):
    """Hugging Face's own generate over the whole prompt, with at most one hand-written hook."""
    handles = [model.model.layers[hook_layer].register_forward_hook(hook)] if hook else []
    try:
        with torch.inference_mode():
            return model.generate(
                torch.tensor([ids]), max_new_tokens=new_tokens, do_sample=False, pad_token_id=0, eos_token_id=None
            )[0, len(ids) :].tolist()
    finally:
        for handle in handles:
            handle.remove()


def until_stop(tokens, injector):
    stop = next((n for n, t in enumerate(tokens) if t in injector._reader.ends.ids), None)
    return tokens if stop is None else tokens[: stop + 1]


GREEDY = Sampling(temperature=0, max_new_tokens=12)


def test_a_greedy_control_gives_the_tokens_of_plain_generate(injector, llama, make, prompt):
    (completion,) = run(injector, [make(sampling=GREEDY)])
    expected = plain_generate(llama[0], prompt.token_ids, new_tokens=12)
    assert list(completion.reply.token_ids) == until_stop(expected, injector)


def test_a_shared_prefill_steers_as_one_unshared_pass_with_a_hand_written_hook_does(injector, llama, make, prompt):
    start, magnitude = len(prompt.token_ids) // 2, 0.8
    anchored = RenderedPrompt(prompt.token_ids, prompt.text, {"here": start})
    direction = vector(injector.model.hidden_size)
    unit = torch.from_numpy(direction.values / direction.norm).float()
    seen = 0

    def hook(_, __, output):
        nonlocal seen
        positions = torch.arange(seen, seen + output.shape[1])
        seen += output.shape[1]
        delta = magnitude * output.norm(dim=-1, keepdim=True) * unit
        return torch.where((positions >= start)[None, :, None], output + delta, output)

    expected = plain_generate(llama[0], prompt.token_ids, new_tokens=12, hook_layer=1, hook=hook)
    injection = steer(magnitude, span=Span.from_anchor("here"))
    others = [Request(anchored, (), GREEDY), Request.of(anchored, [steer(3.0, "raw", 2)], GREEDY)]
    completions = run(injector, [*others, Request.of(anchored, [injection], GREEDY)])
    assert list(completions[2].reply.token_ids) == until_stop(expected, injector)
    control = plain_generate(llama[0], prompt.token_ids, new_tokens=12)
    assert list(completions[2].reply.token_ids) != until_stop(control, injector)


def test_a_reply_depends_neither_on_the_batch_nor_on_order(injector, make):
    requests = [make(m, seed=s, unit=u) for m in (None, 0.5, 2.0) for s in range(3) for u in ("residual", "absolute")]
    together = [c.reply for c in run(injector, requests)]
    alone = [run(injector, [r])[0].reply for r in requests]
    backwards = [c.reply for c in run(injector, requests[::-1])][::-1]
    assert together == alone == backwards


def test_different_seeds_give_different_replies(injector, make):
    replies = {c.reply.token_ids for c in run(injector, [make(seed=s) for s in range(6)])}
    assert len(replies) > 1


def test_a_magnitude_of_zero_is_the_control_to_the_last_bit(injector, make, prompt):
    # Two runs, not two rows: a matrix product may round its rows differently by their place.
    control, _ = run(injector, [make(capture=(0, 1, 2)), make(1.0)])
    zero, _ = run(injector, [make(0.0, capture=(0, 1, 2)), make(1.0)])
    assert np.array_equal(control.readings[0], zero.readings[0])
    assert control.reply == zero.reply


def test_unsteered_positions_keep_their_bits_beside_steered_ones(injector, make, prompt):
    length = len(prompt.token_ids)
    steered = make(1.0, span=Span.generation(), capture=(1,))
    # The same row of two runs: a matrix product may round its rows differently by their place.
    control, _ = run(injector, [make(capture=(1,)), make()])
    touched, _ = run(injector, [steered, make()])
    assert np.array_equal(control.readings[0][:, :length], touched.readings[0][:, :length])


def test_the_checkpoints_own_generation_defaults_do_not_alter_replies(injector, llama, make):
    model = llama[0]
    own, before = model.generation_config, run(injector, [make(sampling=GREEDY)])[0].reply
    model.generation_config = GenerationConfig(
        repetition_penalty=3.0, temperature=0.1, do_sample=True, top_k=1, suppress_tokens=[before.token_ids[0]]
    )
    try:
        assert run(injector, [make(sampling=GREEDY)])[0].reply == before
    finally:
        model.generation_config = own


def test_hooks_are_gone_after_an_exception_in_the_middle_of_a_generation(llama):
    model, tokenizer = llama
    injector = TorchInjector.open(model, tokenizer=tokenizer)
    request = Request.of(RenderedPrompt((1, 2, 3), ""), [steer(1.0, "raw")], GREEDY)
    calls = 0

    def fail(module, args, output):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise RuntimeError("power cut")

    handle = model.model.layers[2].register_forward_hook(fail)
    injector._unchanged = Unchanged(model)
    try:
        with pytest.raises(RuntimeError, match="power cut"):
            run(injector, [request])
    finally:
        handle.remove()
    assert not any(block._forward_hooks for block in model.model.layers)


def test_a_block_that_does_not_run_is_a_silent_injection_error(injector, make, monkeypatch):
    # A model that calls forward() instead of the module skips every hook on it.
    block = type(injector._blocks.modules[1])
    monkeypatch.setattr(block, "__call__", lambda self, *args, **kwargs: self.forward(*args, **kwargs))
    with pytest.raises(SilentInjectionError, match="steering hook at layer 1"):
        run(injector, [make(1.0)])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: steer(1.0, layer=99), LayerError),
        (lambda: steer(1.0, span=Span.between("b", "a")), EmptySpanError),
        (lambda: steer(1.0, width=65), VectorError),
    ],
)
def test_a_wrong_request_raises_before_any_forward_pass(injector, llama, prompt, wrong, error):
    anchored = RenderedPrompt(prompt.token_ids, prompt.text, {"a": 1, "b": 3})
    ran = []
    handle = llama[0].register_forward_pre_hook(lambda *_: ran.append(True))
    try:
        with pytest.raises(error):
            injector.generate([Request(anchored, (), GREEDY), Request.of(anchored, [wrong()], GREEDY)])
    finally:
        handle.remove()
    assert not ran


def test_a_vector_of_another_width_names_both_widths(injector, prompt):
    with pytest.raises(
        VectorError, match=rf"width {injector.model.hidden_size}.*width {injector.model.hidden_size + 1}"
    ):
        injector.generate([Request.of(prompt, [steer(1.0, width=65)], GREEDY)])


def test_capturing_agrees_with_hugging_faces_hidden_states_whatever_the_padding(injector, llama):
    prompts = [RenderedPrompt(ids, "") for ids in ((5, 6, 7), (5, 6, 9, 10, 11, 12), (5, 6, 7, 8))]
    found = injector.capture(prompts, [0, 2])
    for row, prompt in enumerate(prompts):
        with torch.inference_mode():
            states = llama[0](torch.tensor([prompt.token_ids]), output_hidden_states=True).hidden_states
        for column, layer in enumerate((0, 2)):
            np.testing.assert_allclose(found[row, column], states[layer + 1][0, -1].numpy(), atol=2e-5)


def test_one_token_prompts_work(injector):
    prompt = RenderedPrompt((7,), "")
    requests = [Request.of(prompt, [steer(1.0, span=s)], GREEDY) for s in (Span.all(), Span.prompt())]
    everywhere, first = run(injector, requests)
    assert (first.receipts[0].prompt_positions, first.receipts[0].generation_positions) == (1, 0)
    assert everywhere.receipts[0].generation_positions == len(everywhere.reply.token_ids) - 1


def test_blocks_are_found_by_an_explicit_path_and_a_wrong_one_is_an_error_that_lists_the_places(llama):
    model = llama[0]
    assert find_blocks(model, "model.layers").modules == tuple(model.model.layers)
    with pytest.raises(ModelError, match=r"model\.layers"):
        find_blocks(model, "model.blocks")


def test_a_branch_that_is_scaled_before_it_is_added_is_refused_for_the_unit_update(llama):
    model = llama[0]
    block = model.model.layers[1]
    ids = torch.tensor([[0, 1, 2]])
    check_update_module(model, block, block.mlp, ids)
    with pytest.raises(ModelError, match="update"):
        check_update_module(model, block, block.input_layernorm, ids)


def test_a_model_object_needs_its_tokenizer_and_eval_mode():
    model, tokenizer = tiny_model("gpt2")
    with pytest.raises(ModelError, match="tokenizer"):
        TorchInjector.open(model.eval())
    with pytest.raises(ModelError, match="eval"):
        TorchInjector.open(model.train(), tokenizer=tokenizer)


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
@pytest.mark.parametrize("path", ["model.layers.2.mlp", "model.norm", "lm_head"])
def test_a_single_submodule_in_training_mode_is_refused_and_named(path, backend):
    pytest.importorskip(backend)
    model, tokenizer = tiny_model("llama")
    model.get_submodule(path).training = True
    with pytest.raises(ModelError, match=rf"1 in training mode: {path}"):
        open_injector(backend, model, tokenizer=tokenizer)


def test_a_dropout_that_was_switched_on_to_sample_from_it_is_refused():
    model, tokenizer = tiny_model("gpt2")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.train()
    with pytest.raises(ModelError, match="drop"):
        TorchInjector.open(model, tokenizer=tokenizer)


def test_a_bf16_model_keeps_its_dtype_and_steers_by_the_stated_ratio():
    model, tokenizer = tiny_model("qwen3")
    injector = TorchInjector.open(model.to(torch.bfloat16).eval(), tokenizer=tokenizer)
    assert injector.model.dtype == "bfloat16"
    prompt = RenderedPrompt(tuple(range(5, 15)), "")
    (completion,) = run(injector, [Request.of(prompt, [steer(0.5)], GREEDY)])
    # The sum is rounded to bfloat16 (8 bits of mantissa) before it is measured.
    assert completion.receipts[0].mean_ratio == pytest.approx(0.5, rel=2**-7)
