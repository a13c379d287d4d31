"""Parity with the real repeng, steering-vectors, TransformerLens and nnsight.

The first three are no part of the development environment: two pin older versions of what we need than we do, the third
brings much else. In a folder of their own, one of these at a time, then PYTHONPATH=DIR pytest <this file>:
pip install --no-deps --target DIR steering-vectors==0.12.2 repeng==0.4.0
pip install --no-deps --target DIR transformer-lens==4.3.0 beartype einops fancy-einsum jaxtyping sentencepiece \
  transformers-stream-generator typeguard wadler-lindig wandb pydantic pydantic-core annotated-types typing-inspection \
  sentry-sdk gitpython gitdb smmap
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import introspection_bench as ib
from introspection_bench.interop import read_control_vectors, vectors_by_layer, write_control_vectors
from introspection_bench.testing import save_tiny_model
from tests.odd_values import made_vector

HOW = "not installed: see the first lines of this file"
PROMPT = ib.RenderedPrompt([6, 7, 8], "abc", {})
DIRECTION = np.linspace(-1, 1, 64, dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model("llama", tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tiny(folder):
    with ib.open_injector("torch", str(folder)) as injector:
        yield AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), injector


def last_of(model) -> np.ndarray:
    """The stream that leaves block 2, at the last token."""
    with torch.inference_mode():
        return model(torch.tensor([PROMPT.token_ids]), output_hidden_states=True).hidden_states[3][0, -1].numpy()


def ours(injector, directions, made_by) -> np.ndarray:
    (vector,) = vectors_by_layer(directions, concept="love", counting="blocks", made_by=made_by)
    return injector.capture([PROMPT], [2], beside=[ib.Injection(vector, vector.layer, "2 raw", "all")])[0, 0]


@pytest.fixture
def extract(monkeypatch):
    """repeng's module; version 0.4 names a type in an annotation that NumPy 2 no longer has."""
    monkeypatch.setattr(np, "float_", np.float64, raising=False)
    return pytest.importorskip("repeng.extract", reason=HOW)


def test_repeng_reads_our_file_and_we_read_its(tmp_path, extract):
    path = write_control_vectors([made_vector(3)], tmp_path / "ours.gguf", model_hint="llama")
    read = extract.ControlVector.import_gguf(path)
    assert (read.model_type, list(read.directions)) == ("llama", [3])
    assert np.array_equal(read.directions[3], made_vector(3).values)
    extract.ControlVector("llama", {2: DIRECTION}).export_gguf(tmp_path / "theirs.gguf")
    (vector,) = read_control_vectors(tmp_path / "theirs.gguf", concept="love", counting="blocks")
    assert (vector.layer, vector.values.tolist()) == (2, DIRECTION.tolist())


def test_a_coefficient_of_repeng_is_our_raw_dose_at_the_same_layer(tiny, extract):
    control = pytest.importorskip("repeng.control", reason=HOW)
    model, injector = tiny
    vector = extract.ControlVector("llama", {1: DIRECTION})
    wrapped = control.ControlModel(model, [1])
    try:
        wrapped.set_control(vector, 2.0)
        theirs = last_of(model)
        wrapped.set_control(vector, 2.0, normalize=True)
        brought_back = last_of(model)
    finally:
        wrapped.unwrap()
    assert np.allclose(ours(injector, vector.directions, "repeng"), theirs, atol=1e-5)
    assert not np.allclose(theirs, last_of(model), atol=1e-2)
    # With normalize no dose of ours is the same: the sum has the length that the stream had.
    assert not np.allclose(brought_back, theirs, atol=1e-2)


def test_a_multiplier_of_steering_vectors_is_our_raw_dose_at_the_same_layer(tiny):
    library = pytest.importorskip("steering_vectors", reason=HOW)
    model, injector = tiny
    vector = library.SteeringVector({1: torch.from_numpy(DIRECTION)}, "decoder_block")
    with vector.apply(model, multiplier=2.0):
        theirs = last_of(model)
    assert np.allclose(ours(injector, vector.layer_activations, "steering-vectors"), theirs, atol=1e-5)
    assert not np.allclose(theirs, last_of(model), atol=1e-2)


@pytest.fixture
def lens(tiny, folder):
    """The same weights in TransformerLens, without its rewriting of weights."""
    bridge = pytest.importorskip("transformer_lens.model_bridge", reason=HOW).TransformerBridge
    copy = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return bridge.boot_transformers(str(folder), hf_model=copy, tokenizer=tiny[1].tokenizer)


def kept_of(lens, hooks):
    """The stream at ``blocks.2.hook_resid_post``, at the last token, under some hooks."""
    kept = []
    last = ("blocks.2.hook_resid_post", lambda stream, hook: kept.append(stream.detach()))
    with torch.inference_mode():
        lens.run_with_hooks(torch.tensor([PROMPT.token_ids]), fwd_hooks=[*hooks, last])
    return kept[0][0, -1].numpy()


@pytest.mark.parametrize("place", ["blocks.1.hook_resid_post", "blocks.2.hook_resid_pre"])
def test_a_hook_of_transformer_lens_that_adds_is_our_raw_dose_at_the_layer_of_the_table(tiny, lens, place):
    added = (place, lambda stream, hook: stream + 2 * torch.from_numpy(DIRECTION))
    found = ours(tiny[1], {1: DIRECTION}, "TransformerLens")
    assert np.allclose(found, kept_of(lens, [added]), atol=1e-4)
    assert not np.allclose(found, kept_of(lens, []), atol=1e-2)


def test_what_transformer_lens_caches_behind_a_block_is_what_we_read_there(tiny, lens):
    _, cache = lens.run_with_cache(torch.tensor([PROMPT.token_ids]))
    read = tiny[1].capture([PROMPT], [0, 1, 2, 3])[0]
    for layer in range(4):
        theirs = cache[f"blocks.{layer}.hook_resid_post"][0, -1].detach().numpy()
        assert np.allclose(theirs, read[layer], atol=1e-4)


def test_adding_to_a_blocks_output_in_nnsight_is_our_raw_dose_at_the_same_layer(tiny, folder):
    nnsight = pytest.importorskip("nnsight", reason="comes with the extra 'nnsight'")
    model = nnsight.LanguageModel(tiny[0], tokenizer=tiny[1].tokenizer)
    with torch.inference_mode(), model.trace(torch.tensor([PROMPT.token_ids])):
        model.model.layers[1].output[:] = model.model.layers[1].output + 2 * torch.from_numpy(DIRECTION)
        theirs = model.model.layers[2].output.save()
    assert np.allclose(ours(tiny[1], {1: DIRECTION}, "nnsight"), theirs[0, -1].numpy(), atol=1e-4)
