"""Parity with the real repeng and steering-vectors, which pin older versions of what we need than we do.

pip install --no-deps --target DIR steering-vectors==0.12.2 repeng==0.4.0; PYTHONPATH=DIR pytest <this file>
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
def tiny(tmp_path_factory):
    folder = save_tiny_model("llama", tmp_path_factory.mktemp("tiny") / "model")
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
    finally:
        wrapped.unwrap()
    assert np.allclose(ours(injector, vector.directions, "repeng"), theirs, atol=1e-5)
    assert not np.allclose(theirs, last_of(model), atol=1e-2)


def test_a_multiplier_of_steering_vectors_is_our_raw_dose_at_the_same_layer(tiny):
    library = pytest.importorskip("steering_vectors", reason=HOW)
    model, injector = tiny
    vector = library.SteeringVector({1: torch.from_numpy(DIRECTION)}, "decoder_block")
    with vector.apply(model, multiplier=2.0):
        theirs = last_of(model)
    assert np.allclose(ours(injector, vector.layer_activations, "steering-vectors"), theirs, atol=1e-5)
    assert not np.allclose(theirs, last_of(model), atol=1e-2)
