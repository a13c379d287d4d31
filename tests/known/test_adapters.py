"""Adapters: what one adds to its base, to which base alone, and which files are none."""

from __future__ import annotations

import struct
from contextlib import suppress

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_adapters import ALPHA, MODULES, RANK, made_adapter, made_settings, made_tensors
from safetensors.torch import save

import introspection_bench as ib
from introspection_bench.adapters import adapter_from_bytes, merge, weights_digest
from introspection_bench.errors import AdapterError, UnknownNameError
from introspection_bench.testing import tiny_model


@pytest.fixture
def llama():
    return tiny_model("llama")[0]


@pytest.fixture(scope="module")
def parts():
    """Tensors and metadata of an honest file."""
    model, _ = tiny_model("llama")
    return made_tensors(model), made_settings(model)


def test_merging_adds_alpha_over_rank_times_b_a_to_the_matrices_named_and_to_no_other(llama, tmp_path):
    before = {name: value.clone().double().numpy() for name, value in llama.state_dict().items()}
    merge(llama, ib.load_adapter(made_adapter(llama, tmp_path / "made.safetensors")))
    made = {name: value.double().numpy() for name, value in made_tensors(llama).items()}
    for name, value in llama.state_dict().items():
        module = name.removesuffix(".weight")
        if module in MODULES:
            change = ALPHA / RANK * made[f"{module}.lora_B.weight"] @ made[f"{module}.lora_A.weight"]
            np.testing.assert_allclose(value.double().numpy(), before[name] + change, rtol=0, atol=1e-5)
        else:
            assert np.array_equal(value.double().numpy(), before[name]), name


def test_a_merged_model_computes_what_peft_computes_with_the_adapter_beside_the_base(llama, tmp_path):
    peft = pytest.importorskip("peft")
    adapter = ib.load_adapter(made_adapter(llama, tmp_path / "made.safetensors"))
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(MODULES), task_type="CAUSAL_LM")
    beside = peft.get_peft_model(tiny_model("llama")[0], config).eval()
    held = {n.replace("lora_A", "lora_A.default").replace("lora_B", "lora_B.default"): t for n, t in made_tensors(llama).items()}  # fmt: skip  # noqa: E501  # one name, two replacements
    missing = beside.load_state_dict({f"base_model.model.{n}": t for n, t in held.items()}, strict=False)
    assert not missing.unexpected_keys
    ids = torch.arange(4, 16)[None]
    with torch.no_grad():
        wanted, base = beside(ids).logits, llama(ids).logits
        merge(llama, adapter)
        torch.testing.assert_close(llama(ids).logits, wanted, rtol=1e-4, atol=1e-4)
    assert (wanted - base).abs().max() > 0.1


def test_sixteen_bit_weights_are_merged_in_float32_and_rounded_once(llama, tmp_path):
    llama.bfloat16()
    weight = llama.get_submodule(MODULES[0]).weight
    made = made_tensors(llama)
    change = ALPHA / RANK * (made[f"{MODULES[0]}.lora_B.weight"] @ made[f"{MODULES[0]}.lora_A.weight"])
    wanted = (weight.float() + change).bfloat16()
    merge(llama, ib.load_adapter(made_adapter(llama, tmp_path / "made.safetensors")))
    assert torch.equal(weight, wanted)


@pytest.mark.parametrize(
    "name", ["model.layers.1.self_attn.q_proj.weight", "model.embed_tokens.weight", "model.norm.weight"]
)
def test_a_base_that_differs_in_one_value_anywhere_is_refused_and_left_as_it_is(llama, tmp_path, name):
    adapter = ib.load_adapter(made_adapter(llama, tmp_path / "made.safetensors"))
    with torch.no_grad():
        llama.get_parameter(name).view(-1)[-1] += 1e-3
    before = weights_digest(llama)
    with pytest.raises(AdapterError, match="the base that it was trained on"):
        merge(llama, adapter)
    assert weights_digest(llama) == before


def test_the_digest_of_weights_does_not_ask_in_what_dtype_they_are_held_or_where_replies_end(llama):
    exact = llama.bfloat16()
    first = weights_digest(exact)
    assert weights_digest(exact.float()) == first
    exact.config.eos_token_id = exact.generation_config.eos_token_id = 7
    assert weights_digest(exact) == first
    assert weights_digest(tiny_model("llama", seed=1)[0]) != first


def test_the_digest_of_weights_counts_a_matrix_under_another_name_or_shape_as_another():
    class Made(torch.nn.Module):
        def __init__(self, name, shape):
            super().__init__()
            self.register_parameter(name, torch.nn.Parameter(torch.ones(shape)))

    digests = {weights_digest(Made(n, s)) for n in "ab" for s in ((2, 3), (3, 2), (6,))}
    assert len(digests) == 6


def test_an_adapters_digest_is_of_what_it_holds_and_not_of_the_order_in_a_file(parts):
    tensors, settings = parts
    first = adapter_from_bytes(save(tensors, settings), "x")
    turned = save(dict(reversed(tensors.items())), dict(reversed(settings.items())))
    assert adapter_from_bytes(turned, "y").digest == first.digest
    name = next(iter(tensors))
    others = [
        (tensors, settings | {"alpha": "7"}),
        (tensors, settings | {"base": "0" * 64}),
        (tensors | {name: tensors[name] + 1}, settings),
        (tensors | {name: tensors[name].bfloat16()}, settings),
    ]
    assert len({adapter_from_bytes(save(*other), "x").digest for other in others} | {first.digest}) == 5


A, B = f"{MODULES[0]}.lora_A.weight", f"{MODULES[0]}.lora_B.weight"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({A: None}, "alone"),
        ({B: None}, "alone"),
        ({"stray": torch.zeros(3, 3)}, "stray"),
        ({"base_model.model.x.lora_A.weight\n": torch.zeros(3, 3)}, "a tensor"),
        ({"../x.lora_A.weight": torch.zeros(3, 3)}, "a tensor"),
        ({A: torch.zeros(3, 64, dtype=torch.int64)}, "int64"),
        ({A: torch.zeros(3, 64, dtype=torch.float64)}, "float64"),
        ({A: torch.zeros(4, 64)}, "rank 3"),
        ({B: torch.zeros(3, 64)}, "rank 3"),
        ({A: torch.zeros(3)}, "shape"),
        ({A: torch.zeros(3, 0)}, "shape"),
        ({A: torch.full((3, 64), torch.nan)}, "not finite"),
        ({A: torch.full((3, 64), torch.inf)}, "not finite"),
    ],
)
def test_a_file_with_other_tensors_than_pairs_of_its_rank_is_refused(parts, change, says):
    tensors, settings = parts
    held = {name: value for name, value in (tensors | change).items() if value is not None}
    with pytest.raises(AdapterError, match=says):
        adapter_from_bytes(save(held, settings), "hostile")


@pytest.mark.parametrize(
    "change",
    [
        {"rank": None}, {"alpha": None}, {"base": None}, {"more": "x"}, {"rank": "0"}, {"rank": "-3"}, {"rank": "3.0"},
        {"rank": "\uff13"}, {"rank": " 3"}, {"alpha": "nan"}, {"alpha": "inf"}, {"alpha": "1e3"}, {"alpha": "0"},
        {"alpha": "-6"}, {"alpha": "9" * 5000}, {"base": ""}, {"base": "0" * 63}, {"base": "G" * 64},
        {"base": "0" * 64 + "\n"},
    ],
    ids=str,
)  # fmt: skip
def test_a_file_with_other_settings_than_rank_alpha_and_base_is_refused(parts, change):
    tensors, settings = parts
    told = {name: value for name, value in (settings | change).items() if value is not None}
    with pytest.raises(AdapterError, match=r"metadata|rank|alpha|base"):
        adapter_from_bytes(save(tensors, told), "hostile")


def test_a_file_without_tensors_or_metadata_is_refused(parts):
    tensors, settings = parts
    for data in (save({}, settings), save(tensors), b"", b"\x80\x04K\x01.", b"PK\x03\x04" + bytes(200)):
        with pytest.raises(AdapterError):
            adapter_from_bytes(data, "hostile")


def test_a_header_that_says_one_thing_twice_is_refused(parts):
    data = save(*parts)
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].rstrip()
    twice = header.replace(b'"__metadata__":{', b'"__metadata__":{"rank":"9",', 1)
    with pytest.raises(AdapterError):
        adapter_from_bytes(struct.pack("<Q", len(twice)) + twice + data[8 + length :], "hostile")


@given(st.data())
def test_damaged_bytes_are_an_adapter_or_our_error(parts, data):
    whole = save(*parts)
    length = 8 + int.from_bytes(whole[:8], "little")
    at = data.draw(st.one_of(st.integers(0, length), st.integers(0, len(whole) - 1)))
    kind = data.draw(st.sampled_from(("cut", "flip")))
    damaged = (
        whole[:at]
        if kind == "cut"
        else whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    )
    with suppress(AdapterError):
        assert adapter_from_bytes(damaged, "damaged").rank == RANK


def test_a_pair_that_fits_no_linear_layer_of_its_own_is_refused_whatever_the_file_says_of_its_base(llama, parts):
    good = adapter_from_bytes(save(*parts), "made")
    width = llama.config.hidden_size
    for name, shape in {
        "model.layers.9.self_attn.q_proj": (width, width),  # no such block
        "model.layers.1.self_attn": (width, width),  # no matrix
        "model.layers.1.input_layernorm": (width, width),  # no linear layer
        "model.embed_tokens": (llama.config.vocab_size, width),
        MODULES[0]: (width + 1, width),
    }.items():
        pair = (torch.zeros(RANK, shape[1]), torch.zeros(shape[0], RANK))
        before = weights_digest(llama)
        with pytest.raises(AdapterError, match="a linear layer"):
            merge(llama, attrs.evolve(good, matrices={MODULES[1]: good.matrices[MODULES[1]], name: pair}))
        assert weights_digest(llama) == before


def test_a_head_that_is_the_embedding_too_is_not_changed_by_an_adapter():
    model, _ = tiny_model("llama", settings={"tie_word_embeddings": True})
    settings = made_settings(model)
    adapter = adapter_from_bytes(save(made_tensors(model, ("lm_head",)), settings), "tied")
    with pytest.raises(AdapterError, match="also"):
        merge(model, adapter)


def test_an_adapter_that_makes_weights_infinite_is_refused(llama, parts):
    tensors, settings = parts
    huge = {name: torch.full_like(value, 3e38) for name, value in tensors.items()}
    with pytest.raises(AdapterError, match="infinite"):
        merge(llama, adapter_from_bytes(save(huge, settings), "huge"))


def test_a_name_that_is_no_adapter_of_the_package_says_which_there_are():
    with pytest.raises(UnknownNameError, match=r"introspector.*steered_namer"):
        ib.load_adapter("introspecter")
    for missing in ("nowhere.safetensors", "/dev/zero.safetensors", "/dev/null/x.safetensors", "nul\0.safetensors"):
        with pytest.raises(AdapterError, match=r"readable \.safetensors file"):
            ib.load_adapter(missing)
    with pytest.raises(AdapterError):
        ib.load_adapter(None)
