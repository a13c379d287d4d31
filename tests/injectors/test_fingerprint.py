"""The fingerprint tells models apart by all state that alters what they compute, wherever it is kept."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from introspection_bench import open_injector
from introspection_bench.errors import ModelError
from introspection_bench.injectors.hf import checkpoints
from introspection_bench.injectors.hf.checkpoints import fingerprint_checkpoint
from introspection_bench.injectors.hf.fingerprint import fingerprint_module
from introspection_bench.testing import save_tiny_model, tiny_model


class FakePacked(nn.Module):
    """A linear layer as GPTQ- and AWQ-like libraries pack it: no parameter, integers and scales wherever they like."""

    def __init__(self, linear, *, persistent=True, plain=False):
        super().__init__()
        scale = linear.weight.detach().abs().amax() / 127
        packed = (linear.weight.detach() / scale).round().to(torch.int8)
        if plain:
            self.packed, self.scale = packed, scale
        else:
            self.register_buffer("packed", packed, persistent=persistent)
            self.register_buffer("scale", scale, persistent=persistent)

    def forward(self, x):
        return x @ (self.packed * self.scale).T


class FakeLora(nn.Module):
    """An adapter as PEFT puts it around a layer: scaling and activity are plain attributes."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.ModuleDict({"one": nn.Linear(base.in_features, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"one": nn.Linear(2, base.out_features, bias=False)})
        self.scaling = {"one": 2.0}
        self._active_adapter = ["one"]
        self._disable_adapters = False


def packed_model(**options):
    model, tokenizer = tiny_model("llama")
    block = model.model.layers[1].mlp
    block.down_proj = FakePacked(block.down_proj, **options)
    return model, tokenizer, block.down_proj


@pytest.mark.parametrize("options", [{}, {"persistent": False}, {"plain": True}], ids=str)
@pytest.mark.parametrize("what", ["packed", "scale"])
def test_packed_weights_count_in_buffers_and_in_plain_attributes(options, what):
    model, tokenizer, packed = packed_model(**options)
    before = fingerprint_module(model, tokenizer)
    assert fingerprint_module(*packed_model(**options)[:2]) == before
    value = getattr(packed, what)
    value.view(-1)[-1] += value.dtype.is_floating_point * 1e-6 or 1
    assert fingerprint_module(model, tokenizer) != before


def test_an_adapters_weights_scaling_and_activity_count():
    model, tokenizer = tiny_model("llama")
    prints = [fingerprint_module(model, tokenizer)]
    attention = model.model.layers[0].self_attn
    torch.manual_seed(0)
    attention.q_proj = lora = FakeLora(attention.q_proj)
    prints.append(fingerprint_module(model, tokenizer))
    changes = (
        lambda: lora.scaling.update(one=1.0),
        lambda: setattr(lora, "_active_adapter", []),
        lambda: setattr(lora, "_disable_adapters", True),
        lambda: lora.lora_B["one"].weight.data.add_(1e-3),
    )
    for change in changes:
        change()
        prints.append(fingerprint_module(model, tokenizer))
    assert len(set(prints)) == len(prints)


def test_one_bit_anywhere_in_a_large_tensor_counts():
    model, tokenizer = tiny_model("llama")
    model.model.embed_tokens.weight.data = torch.zeros(5000, 64)
    model.lm_head.weight = model.model.embed_tokens.weight
    before = fingerprint_module(model, tokenizer)
    table = model.model.embed_tokens.weight.data.view(torch.int32)
    for row, column in ((0, 0), (4999, 63), (2345, 17)):
        table[row, column] ^= 1
        assert fingerprint_module(model, tokenizer) != before
        table[row, column] ^= 1
    # Two sign bits, and two rows in each other's place, don't cancel.
    table[3, 1], table[3, 3] = -(2**31), -(2**31)
    signs = fingerprint_module(model, tokenizer)
    table[3, 1], table[3, 3], table[4, 1], table[4, 3] = 0, 0, -(2**31), -(2**31)
    assert len({before, signs, fingerprint_module(model, tokenizer)}) == 3


def test_a_modules_own_settings_and_the_reply_ending_tokens_count():
    model, tokenizer = tiny_model("llama")
    prints = {fingerprint_module(model, tokenizer), fingerprint_module(model, tokenizer, stop_ids=[2])}
    model.model.layers[0].self_attn.scaling *= 1.01
    prints.add(fingerprint_module(model, tokenizer))
    assert len(prints) == 3


def test_the_tokenizers_rules_count_and_what_a_call_leaves_behind_does_not():
    model, tokenizer = tiny_model("llama")
    before = fingerprint_module(model, tokenizer)
    tokenizer(["a", "a long text"], padding=True, truncation=True, max_length=4)
    assert fingerprint_module(model, tokenizer) == before
    tokenizer.clean_up_tokenization_spaces = True
    after = fingerprint_module(model, tokenizer)
    tokenizer.backend_tokenizer.normalizer = __import__("tokenizers").normalizers.Lowercase()
    assert len({before, after, fingerprint_module(model, tokenizer)}) == 3


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "qwen3_next", "mamba2"])
def test_using_a_model_and_loading_it_again_leave_its_fingerprint_as_it_was(tmp_path, architecture):
    folder = save_tiny_model(architecture, tmp_path / "model")
    with open_injector("torch", folder, device="cpu") as injector:
        used = fingerprint_module(injector._model, injector.tokenizer, stop_ids=injector._reader.ends.ids)
        assert used == injector.model.fingerprint
    with open_injector("torch", folder, device="cpu") as again:
        assert again.model.fingerprint == used


def test_weights_on_the_disk_are_a_model_error_at_opening(tmp_path):
    folder = save_tiny_model("llama", tmp_path / "model")
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "lm_head": "cpu", "model.rotary_emb": "cpu"}
    places |= {f"model.layers.{n}": "disk" if n == 2 else "cpu" for n in range(4)}
    with pytest.raises(ModelError):
        open_injector("torch", folder, device_map=places)
    model, tokenizer = tiny_model("llama")
    model.model.layers[2].to("meta")
    with pytest.raises(ModelError, match=r"model\.layers\.2.*meta"):
        open_injector("torch", model, tokenizer=tokenizer)


# Checkpoint folders


@pytest.fixture
def folder(tmp_path):
    return save_tiny_model("llama", tmp_path / "model")


def fingerprint(folder, **options):
    return fingerprint_checkpoint(folder, "float32", tiny_model("llama")[1], **options)


@pytest.mark.parametrize(
    "name",
    [
        "generation_config.json",
        "adapter_config.json",
        "adapter_model.safetensors",
        "model.safetensors.index.json",
        "quantize_config.json",
        "tokenizer.json",
        "consolidated.00.pt",
        "weights.pth",
        "model.gguf",
        "nested/deeper/model.bin",
        "modeling_own.py",
    ],
)
def test_every_file_of_a_checkpoint_counts_by_its_name_and_its_contents(folder, name):
    prints = {fingerprint(folder)}
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for content in (b"{}", b"{ }"):
        path.write_bytes(content)
        prints.add(fingerprint(folder))
    path.rename(path.with_name("x" + path.name))
    prints.add(fingerprint(folder))
    assert len(prints) == 4


def test_texts_pictures_and_hidden_files_beside_a_checkpoint_do_not_count(folder):
    before = fingerprint(folder)
    for name in ("README.md", "LICENSE", "logo.png", ".gitattributes", ".cache/huggingface/lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_version": "0", "_name_or_path": "/else"}))
    assert fingerprint(folder) == before


def test_a_large_files_every_tensor_and_every_stretch_is_looked_at(folder, monkeypatch):
    # As if the tiny file were a large one: 32 blocks of 64 bytes.
    for name, value in (("_WHOLE", 1000), ("_BLOCK", 64), ("_BLOCKS", 32)):
        monkeypatch.setattr(checkpoints, name, value)
    weights = folder / "model.safetensors"
    original = weights.read_bytes()
    header = json.loads(original[8 : (begin := 8 + int.from_bytes(original[:8], "little"))])
    before = fingerprint(folder)
    stretches = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    middle = len(original) // 2
    places = [(begin + start, begin + stop) for start, stop in stretches.values()]
    for start, stop in [*places, (middle, middle + len(original) // 31)]:
        weights.write_bytes(original[:start] + bytes(b ^ 1 for b in original[start:stop]) + original[stop:])
        assert fingerprint(folder) != before
    weights.write_bytes(original)
    assert fingerprint(folder) == before


def test_trusted_code_and_infinity_stand_in_a_checkpoints_fingerprint(folder):
    prints = {fingerprint(folder), fingerprint(folder, trust_remote_code=True), fingerprint(folder, stop_ids=[2])}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"time_step_limit": [0.0, float("inf")]}))
    prints.add(fingerprint(folder))
    assert len(prints) == 4


def test_a_damaged_config_json_is_a_model_error(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="can be read"):
        fingerprint(folder)
