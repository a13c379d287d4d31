"""Where models come from, and what is told when they don't."""

from __future__ import annotations

from pathlib import Path

import pytest

from introspection_bench import IntrospectionBenchError
from introspection_bench.demo_model import smollm2_path
from introspection_bench.errors import ModelError, ModelNotFoundError, PluginError, UnknownNameError
from introspection_bench.injectors import open_injector
from introspection_bench.injectors.base import Request
from introspection_bench.injectors.hf.checkpoints import fingerprint_checkpoint
from introspection_bench.injectors.hf.fingerprint import fingerprint_module
from introspection_bench.loading import load
from introspection_bench.scaffolds import RenderedPrompt
from introspection_bench.testing import save_tiny_model, tiny_model
from introspection_bench.trials import Sampling


def test_a_folder_without_a_model_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ModelNotFoundError, match=str(tmp_path)):
        load(tmp_path)


def test_an_absolute_path_to_nothing_is_not_taken_for_a_hub_id(tmp_path):
    with pytest.raises(ModelNotFoundError, match="existing folder"):
        load(tmp_path / "nothing")


def test_an_unknown_hub_id_is_a_model_not_found(monkeypatch):
    # Read when the library is imported, so the environment variable comes too late.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="no-such-team/no-such-model"):
        load("no-such-team/no-such-model")


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04 a zip file"])
def test_a_gguf_that_is_none_is_an_error_before_transformers_sees_it(tmp_path, content):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="GGUF"):
        load(path)


def test_a_truncated_gguf_is_a_model_error(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\x00" * 40)
    with pytest.raises((ModelError, ModelNotFoundError)) as caught:
        load(path)
    assert isinstance(caught.value, IntrospectionBenchError)


def test_a_truncated_checkpoint_is_a_model_error(tmp_path):
    folder = save_tiny_model("llama", tmp_path / "llama")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="can load"):
        load(folder)


def test_an_unknown_backend_lists_those_there_are():
    with pytest.raises(UnknownNameError, match="torch"):
        open_injector("tensorflow", "x")


def test_an_unknown_option_is_an_error_that_names_it():
    with pytest.raises(PluginError, match="dtpye"):
        open_injector("torch", "x", dtpye="float32")


def test_another_seed_template_or_dtype_makes_another_fingerprint():
    (a, tokenizer), (b, other) = tiny_model("llama", seed=0), tiny_model("llama", seed=1)
    same, _ = tiny_model("llama", seed=0)
    assert fingerprint_module(a, tokenizer) == fingerprint_module(same, tokenizer)
    other.chat_template = other.chat_template + " "
    prints = [
        fingerprint_module(a, tokenizer),
        fingerprint_module(b, tokenizer),
        fingerprint_module(a, other),
        fingerprint_module(same.bfloat16(), tokenizer),
    ]
    assert len(set(prints)) == 4


def test_a_checkpoints_fingerprint_changes_with_any_weight_file_and_dtype(tmp_path):
    folder = save_tiny_model("llama", tmp_path / "llama")
    _, tokenizer = tiny_model("llama")
    first = fingerprint_checkpoint(folder, "float32", tokenizer)
    assert fingerprint_checkpoint(folder, "float32", tokenizer) == first
    assert fingerprint_checkpoint(folder, "bfloat16", tokenizer) != first
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    assert fingerprint_checkpoint(folder, "float32", tokenizer) != first


def test_the_demo_model_is_converted_once_and_an_interrupted_conversion_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    monkeypatch.setenv("INTROSPECTION_BENCH_CACHE", str(tmp_path))

    class Interrupted:
        model = tokenizer = None

        def __init__(self):
            self.model = self

        def save_pretrained(self, folder: Path) -> None:
            Path(folder).mkdir(parents=True)
            raise KeyboardInterrupt

    monkeypatch.setattr("introspection_bench.demo_model.smollm2_gguf", lambda: tmp_path)
    monkeypatch.setattr("introspection_bench.demo_model.load", lambda *_, **__: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        smollm2_path()
    assert list(tmp_path.iterdir()) == []


def test_a_device_map_goes_through_accelerate_and_changes_no_reply(tmp_path):
    folder = save_tiny_model("llama", tmp_path / "model")
    request = Request(RenderedPrompt((7, 8, 9), ""), (), Sampling(0.0, max_new_tokens=6))
    replies = []
    for options in ({"device": "cpu"}, {"device_map": {"": "cpu"}}):
        with open_injector("torch", folder, dtype="float32", **options) as injector:
            replies += [c.reply for c in injector.generate([request])]
    assert replies[0] == replies[1]
