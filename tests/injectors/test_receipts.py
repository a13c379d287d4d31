"""From sizes measured on the stream to a receipt, and the replies that must not be recorded."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_vectors import everywhere, vector
from random_vectors import steer as injection

from introspection_bench import Dose, Injection, Receipt, RenderedPrompt, Request, Sampling, Span, Unit
from introspection_bench.errors import CaptureError, NonFiniteError, SilentInjectionError
from introspection_bench.injection import resolve
from introspection_bench.injectors.hf.unchanged import Unchanged
from introspection_bench.injectors.receipts import check_logits, make_receipt, unmeasured
from introspection_bench.injectors.steering import coefficients, projects, steer
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.testing import spoil_logits, tiny_model

PROMPT = RenderedPrompt(tuple(range(5, 15)), "", {"here": 4})
GREEDY = Sampling(temperature=0, max_new_tokens=4)


def asked_for(prompt_length=4, unit="residual"):
    prompt = RenderedPrompt(tuple(range(prompt_length)), "")
    return resolve([injection(0.5, unit, layer=3)], prompt)[0]


def receipt(before, asked, moved, prompt_length=4):
    sizes = np.array([before, asked, moved], dtype=np.float32)
    return make_receipt(sizes, asked_for(prompt_length), dtype="bfloat16")


def test_a_receipt_counts_and_averages_the_steered_positions_alone():
    found = receipt([2, 2, 4, 4, 8], [-1, 1, 1, 1, 1], [0, 1, 1, 1, 1], prompt_length=3)
    assert found == Receipt(2, 2, (0.5 + 0.25 + 0.25 + 0.125) / 4, 0.5)
    assert make_receipt(unmeasured(6), asked_for(), dtype="float32") == Receipt.nothing()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_size_that_is_not_finite_is_an_error_that_names_layer_and_position(bad, row):
    sizes = np.ones((3, 6), dtype=np.float32)
    sizes[row, 4] = bad
    with pytest.raises(NonFiniteError, match="layer 3, position 4"):
        make_receipt(sizes, asked_for(), dtype="float16")


def test_less_than_half_of_the_addition_is_an_error_that_names_dtype_share_and_the_way_out():
    assert receipt([1, 1], [0.1, 0.1], [0.06, 0.05]).mean_ratio == pytest.approx(0.055)
    with pytest.raises(SilentInjectionError, match=r"45.0% of it in bfloat16.*float32, or take a larger magnitude"):
        receipt([1, 1], [0.1, 0.1], [0.05, 0.04])


def test_a_position_that_kept_every_bit_was_not_touched_however_much_the_others_got():
    with pytest.raises(SilentInjectionError, match="1 of 3 positions kept every bit"):
        receipt([1, 1, 1], [0.1, 0.1, 0.1], [0.1, 0.0, 0.1])


@pytest.mark.parametrize("asked", [0.0, 0.5])
def test_a_stream_of_length_zero_has_no_ratio_and_is_an_error_that_names_its_position(asked):
    with pytest.raises(SilentInjectionError, match="zero at position 1"):
        receipt([1, 0], [0.5, asked], [0.5, asked])


@pytest.mark.parametrize("largest", [np.nan, np.inf, -np.inf])
def test_a_token_chosen_among_logits_that_are_not_finite_is_an_error_that_names_its_position(largest):
    with pytest.raises(NonFiniteError, match="position 12, which token 3"):
        check_logits(np.array([1.0, 2.0, largest], dtype=np.float32), 11, 1.0)


def test_a_temperature_so_small_that_the_logits_overflow_is_an_error():
    check_logits(np.array([30.0], dtype=np.float32), 5, 1e-30)
    with pytest.raises(NonFiniteError, match="temperature 1e-38"):
        check_logits(np.array([30.0], dtype=np.float32), 5, 1e-38)


@settings(deadline=None)
@given(st.sampled_from(list(Unit)), st.floats(-3, 3).filter(bool), st.integers(0, 2**31))
def test_the_shared_arithmetic_is_the_table_of_units(unit, magnitude, seed):
    random = torch.Generator().manual_seed(seed)
    stream, update = (torch.randn(2, 3, 8, generator=random) for _ in range(2))
    (asked,) = resolve([injection(magnitude, unit, seed=seed % 7, width=8)], PROMPT)
    direction, norm = torch.tensor(asked.vector.unit.values), asked.vector.norm
    mask = torch.tensor([[True, False, True], [True, True, True]])
    lengths = torch.tensor([coefficients(asked)] * 2)
    after, sizes = steer(
        stream, direction.expand(2, 8), lengths, mask, update.norm(dim=-1), projecting=projects([asked])
    )
    expected = {
        Unit.RAW: magnitude * norm * torch.ones(2, 3),
        Unit.ABSOLUTE: magnitude * torch.ones(2, 3),
        Unit.RESIDUAL: magnitude * stream.norm(dim=-1),
        Unit.UPDATE: magnitude * update.norm(dim=-1),
        Unit.PROJECTION: magnitude * (stream @ direction),
    }[unit]
    added = torch.where(mask[..., None], expected[..., None] * direction, 0.0)
    torch.testing.assert_close(after, stream + added)
    assert torch.equal(after[0, 1], stream[0, 1])
    torch.testing.assert_close(sizes[0], stream.norm(dim=-1))
    torch.testing.assert_close(sizes[1], torch.where(mask, expected.abs(), -1.0))


def opened(dtype=torch.float32, change=None, **options):
    model, tokenizer = tiny_model("llama")
    if change is not None:
        with torch.no_grad():
            change(model)
    return TorchInjector.open(model.to(dtype), tokenizer=tokenizer, **options)


def steered(magnitude, unit="residual", layer=1, span=None):
    return Request.of(PROMPT, [injection(magnitude, unit, layer, span)], GREEDY, seed=1)


@pytest.mark.parametrize("span", [Span.all(), Span.from_anchor("here"), Span.generation()])
def test_a_sum_that_overflows_float16_is_an_error_that_names_layer_and_absolute_position(span):
    injector = opened(torch.float16)
    first = {"all": 0, "from": 4, "generation": 10}[span.kind]
    with pytest.raises(NonFiniteError, match=f"layer 1, position {first}.*finite numbers in float16") as caught:
        list(injector.generate([steered(1e6, "absolute", span=span)]))
    assert caught.value.request == 0


def test_a_component_near_float16s_largest_number_overflows_at_a_modest_share_of_the_stream():
    # As with massive activations: one component carries the stream, and the vector points along it.
    def massive(model):
        model.model.layers[1].mlp.down_proj.weight.zero_()
        model.model.layers[1].register_forward_hook(
            lambda _m, _a, output: torch.cat([torch.full_like(output[..., :1], 4e4), output[..., 1:]], dim=-1)
        )

    injector = opened(torch.float16, massive)
    along = vector(injector.model.hidden_size).values * 0
    along[0] = 1
    massive_one = Injection(attrs.evolve(vector(64), values=along), 1, Dose(0.8, "residual"), Span.all())
    with pytest.raises(NonFiniteError, match="layer 1, position 0"):
        list(injector.generate([Request.of(PROMPT, [massive_one], GREEDY)]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("magnitude", [None, 0.5])
def test_logits_that_are_not_finite_are_never_a_reply(value, temperature, magnitude):
    injector = opened()
    spoil_logits(injector._model, value)
    injector._unchanged = Unchanged(injector._model)
    request = Request(PROMPT, (), GREEDY) if magnitude is None else steered(magnitude)
    sampling = Sampling(temperature, top_k=5, top_p=0.9, max_new_tokens=4) if temperature else GREEDY
    request = attrs.evolve(request, sampling=sampling, seed=3)
    with pytest.raises(NonFiniteError, match="position 9, which token 1"):
        list(injector.generate([request]))


def test_logits_that_are_all_minus_infinity_are_never_a_reply():
    injector = opened()
    injector._model.lm_head.register_forward_hook(lambda _m, _a, output: torch.full_like(output, -torch.inf))
    injector._unchanged = Unchanged(injector._model)
    with pytest.raises(NonFiniteError, match="-inf as the largest"):
        list(injector.generate([Request(PROMPT, (), GREEDY)]))


def test_some_logits_of_minus_infinity_are_a_models_own_way_of_forbidding_tokens():
    injector = opened()

    def forbid(_module, _args, output):
        output[..., :100] = -torch.inf
        return output

    injector._model.lm_head.register_forward_hook(forbid)
    injector._unchanged = Unchanged(injector._model)
    (completion,) = injector.generate([Request(PROMPT, (), Sampling(max_new_tokens=4))])
    assert min(completion.reply.token_ids) >= 100


def test_a_captured_residual_that_is_not_finite_is_an_error_that_names_layer_and_position():
    injector = opened()

    def spoil(_module, _args, output):
        # In the last block: what it says of the prompt's beginning reaches no logits.
        if output.shape[1] > 1:
            output[:, 0] = torch.inf
        return output

    injector._model.model.layers[3].register_forward_hook(spoil)
    injector._unchanged = Unchanged(injector._model)
    with pytest.raises(NonFiniteError, match="layer 3, position 0"):
        list(injector.generate([Request(PROMPT, (), GREEDY, reads=everywhere(PROMPT, (0, 3)))]))
    with pytest.raises(CaptureError, match="layer 3, token -1 of prompt 1"):
        # Without a beginning in common, so that the second prompt is its first position alone.
        injector.capture([RenderedPrompt((5, 6), ""), RenderedPrompt((7,), "")], [0, 3])


def test_replies_beside_one_that_fails_are_finished_first():
    injector = opened(torch.float16, batch_size=4)
    fails = steered(1e6, "absolute")
    requests = [steered(0.5), fails, Request(PROMPT, (), GREEDY), steered(-0.5)]
    done = []
    with pytest.raises(NonFiniteError) as caught:
        done.extend(c.index for c in injector.generate(requests))
    assert caught.value.request == 1
    assert done == [0, 2, 3]


@pytest.mark.parametrize(("dtype", "exponent"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_a_receipt_holds_what_the_stream_gained_and_too_little_is_an_error(dtype, exponent):
    injector = opened(dtype)
    plain = Request(PROMPT, (), Sampling(0, max_new_tokens=1), reads=everywhere(PROMPT, (1,)))
    before = next(injector.generate([plain])).readings[0][0]
    for magnitude in (0.5, 2.0**-exponent):
        request = attrs.evolve(plain, steers=steered(magnitude).steers)
        done = next(injector.generate([request]))
        gained = np.linalg.norm(done.readings[0][0] - before, axis=1) / np.linalg.norm(before, axis=1)
        assert done.receipts[0].mean_ratio == pytest.approx(gained.mean(), rel=1e-5)
        assert done.receipts[0].max_ratio == pytest.approx(gained.max(), rel=1e-5)
    # At the rounding unit the loss is to be seen, and far below it nothing arrives.
    assert done.receipts[0].mean_ratio != pytest.approx(magnitude, rel=0.01)
    for lost in (magnitude / 32, magnitude / 1024):
        with pytest.raises(SilentInjectionError, match=r"float32, or take a larger magnitude"):
            list(injector.generate([steered(lost)]))


def test_float32_holds_the_same_small_magnitudes():
    injector = opened()
    for magnitude in (1e-3, 1e-4, 1e-5):
        (done,) = injector.generate([steered(magnitude)])
        assert done.receipts[0].mean_ratio == pytest.approx(magnitude, rel=0.02)
