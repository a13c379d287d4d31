"""Vectors travel: control vectors as GGUF, and the directions of other libraries."""

from __future__ import annotations

import json
import struct

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import introspection_bench as ib
from introspection_bench.errors import VectorError, VectorFileError
from introspection_bench.interop import read_control_vectors, vectors_by_layer, write_control_vectors
from introspection_bench.interop.gguf_layout import parse_gguf
from introspection_bench.testing import save_tiny_model
from tests.odd_values import made_vector

VALUES = np.array([1.5, -2.0, 3.25], np.float32)


def foreign(path, directions, **fields):
    """A file as repeng 0.5 and EasySteer write it, by the same calls."""
    writer = gguf.GGUFWriter(path, "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", len(directions))
    for name, value in fields.items():
        writer.add_string(f"controlvector.{name}", value)
    for layer, values in directions.items():
        writer.add_tensor(f"direction.{layer}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_vectors_come_back_from_gguf_with_their_provenance_and_in_the_order_of_their_layers(tmp_path):
    vectors = [made_vector(3), 2 * made_vector(1)]
    path = write_control_vectors(vectors, tmp_path / "love.gguf", model_hint="llama")
    assert read_control_vectors(path) == (vectors[1], vectors[0])
    assert read_control_vectors(path, concept="love", counting="blocks") == (vectors[1], vectors[0])
    for wrong in ({"concept": "dust"}, {"counting": "hidden_states"}):
        with pytest.raises(VectorFileError, match="was asked for"):
            read_control_vectors(path, **wrong)


def test_the_package_gguf_reads_what_is_written_as_llama_cpp_and_repeng_do(tmp_path):
    path = write_control_vectors([made_vector(3), made_vector(1)], tmp_path / "love.gguf", model_hint="llama")
    reader = gguf.GGUFReader(path)
    assert reader.get_field("general.architecture").contents() == "controlvector"
    assert reader.get_field("controlvector.model_hint").contents() == "llama"
    assert reader.get_field("controlvector.layer_count").contents() == 2
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    assert list(found) == ["direction.1", "direction.3"]
    assert np.array_equal(found["direction.3"], made_vector(3).values)


@pytest.mark.parametrize(("counting", "layer"), [("blocks", 7), ("hidden_states", 6)])
def test_a_file_of_others_is_read_in_the_convention_that_is_stated_and_keeps_its_length(tmp_path, counting, layer):
    path = foreign(tmp_path / "v.gguf", {7: VALUES}, method="pca_center")
    (vector,) = read_control_vectors(path, concept="love", counting=counting)
    assert (vector.layer, vector.concept) == (layer, "love")
    assert np.array_equal(vector.values, VALUES)
    told = vector.provenance
    assert (told.recipe, told.model_name, told.steps) == ("gguf: pca_center", "llama", (f"layer 7 of {counting}",))
    assert told.raw_norm == pytest.approx(np.linalg.norm(VALUES))


@pytest.mark.parametrize("given", [{}, {"concept": "love"}, {"counting": "blocks"}])
def test_what_a_file_does_not_say_is_asked_for_and_not_guessed(tmp_path, given):
    path = foreign(tmp_path / "v.gguf", {7: VALUES})
    with pytest.raises(VectorFileError, match="the file says neither"):
        read_control_vectors(path, **given)


def test_easysteer_s_directions_of_attention_heads_are_refused_and_those_of_the_stream_are_read(tmp_path):
    told = {"version": 1, "component": "attention_heads", "metadata": None}
    heads = foreign(tmp_path / "heads.gguf", {7: VALUES}, easysteer=json.dumps(told))
    with pytest.raises(VectorFileError, match="attention_heads"):
        read_control_vectors(heads, concept="love", counting="blocks")
    stream = json.dumps(told | {"component": "hidden_states"})
    path = foreign(tmp_path / "stream.gguf", {7: VALUES}, easysteer=stream)
    assert len(read_control_vectors(path, concept="love", counting="blocks")) == 1


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def field(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name="direction.1", dimensions=(3,), kind=0, offset=0) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text(name) + shape + struct.pack("<IQ", kind, offset)


ARCHITECTURE = field("general.architecture", 8, text("controlvector"))


ONE = tensor()


def packed(fields=(ARCHITECTURE,), tensors=(ONE,), *, version=3, counts=None, values=VALUES) -> bytes:
    n_tensors, n_fields = counts or (len(tensors), len(fields))
    head = struct.pack("<4sIQQ", b"GGUF", version, n_tensors, n_fields) + b"".join(fields) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + values.tobytes()


HOSTILE = {
    "no file of the kind": b"GGML" + packed()[4:],
    "empty": b"",
    "cut off in its values": packed()[:-1],
    "big-endian": packed(version=3 << 24),
    "more tensors than there are bytes": packed(counts=(2**60, 1)),
    "more fields than there are bytes": packed(counts=(1, 2**60)),
    "an array of 2^60 numbers": packed([ARCHITECTURE, field("a", 9, struct.pack("<IQ", 4, 2**60))]),
    "an array of 2^60 texts": packed([ARCHITECTURE, field("a", 9, struct.pack("<IQ", 8, 2**60))]),
    "arrays within arrays": packed([ARCHITECTURE, field("a", 9, struct.pack("<IQIQ", 9, 1, 9, 1))]),
    "a text longer than the file": packed([field("general.architecture", 8, struct.pack("<Q", 2**63))]),
    "a text that is no UTF-8": packed([field("general.architecture", 8, struct.pack("<Q", 1) + b"\xff")]),
    "an unknown type": packed([ARCHITECTURE, field("a", 13, b"\0" * 8)]),
    "an alignment of 0": packed([ARCHITECTURE, field("general.alignment", 4, struct.pack("<I", 0))]),
    "an alignment that is a text": packed([ARCHITECTURE, field("general.alignment", 8, text("x"))]),
    "a field twice": packed([ARCHITECTURE, ARCHITECTURE]),
    "a tensor twice": packed(tensors=[tensor(), tensor()]),
    "values beyond the end": packed(tensors=[tensor(offset=2**62)]),
    "a width beyond the end": packed(tensors=[tensor(dimensions=(2**62,))]),
    "two dimensions": packed(tensors=[tensor(dimensions=(3, 1))]),
    "2^32 dimensions": packed(tensors=[text("direction.1") + struct.pack("<I", 2**32 - 1)]),
    "half precision": packed(tensors=[tensor(kind=1)]),
    "another architecture": packed([field("general.architecture", 8, text("llama"))]),
    "no architecture": packed([]),
    "a model hint that is a number": packed([ARCHITECTURE, field("controlvector.model_hint", 4, b"\1\0\0\0")]),
    "a tensor of another name": packed(tensors=[tensor("direction.-1")]),
    "a layer written in two ways": packed(tensors=[tensor("direction.1"), tensor("direction.01")]),
    "no direction": packed(tensors=[]),
    "NaN": packed(values=np.array([1, np.nan, 1], np.float32)),
    "all zeros": packed(values=np.zeros(3, np.float32)),
    "widths that differ": packed(tensors=[tensor(), tensor("direction.2", (2,))]),
    "a header of ours that is no JSON": packed([ARCHITECTURE, field("introspection_bench.vectors", 8, text("{"))]),
    "a header of ours of another format": packed(
        [ARCHITECTURE, field("introspection_bench.vectors", 8, text('{"format":2,"counting":"blocks","unit":"raw"}'))]
    ),
    "a header of ours that is a list": packed([ARCHITECTURE, field("introspection_bench.vectors", 8, text("[]"))]),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_or_damaged_file_is_an_error_that_names_it(tmp_path, what):
    path = tmp_path / "v.gguf"
    path.write_bytes(HOSTILE[what])
    with pytest.raises(VectorFileError, match=r"v\.gguf"):
        read_control_vectors(path, concept="love", counting="blocks")


def test_a_file_cut_off_anywhere_is_an_error_and_never_fewer_vectors(tmp_path):
    whole = write_control_vectors([made_vector(1), made_vector(2)], tmp_path / "v.gguf", model_hint="x").read_bytes()
    for end in [*range(0, 400, 7), len(whole) - 64 * 4, len(whole) - 1]:
        with pytest.raises(ValueError, match=r"."):
            parse_gguf(whole[:end])


def test_arrays_among_the_metadata_are_passed_over(tmp_path):
    numbers = field("a", 9, struct.pack("<IQ3I", 4, 3, 1, 2, 3))
    texts = field("b", 9, struct.pack("<IQ", 8, 2) + text("x") + text("yz"))
    fields, tensors = parse_gguf(packed([numbers, texts, ARCHITECTURE]))
    assert fields == {"a": None, "b": None, "general.architecture": "controlvector"}
    assert np.array_equal(tensors["direction.1"], VALUES)


@pytest.mark.parametrize("vectors", [[], [made_vector(0)], [made_vector(1), made_vector(1)]])
def test_vectors_that_a_control_vector_can_t_hold_are_refused_and_nothing_is_written(tmp_path, vectors):
    with pytest.raises(VectorError, match="layer"):
        write_control_vectors(vectors, tmp_path / "v.gguf", model_hint="llama")
    assert list(tmp_path.iterdir()) == []


def test_directions_of_another_library_keep_their_values_also_on_bfloat16():
    tensors = {2: torch.tensor([1.0, -2.0], dtype=torch.bfloat16, requires_grad=True), 0: np.array([3, 4])}
    found = vectors_by_layer(tensors, concept="love", counting="blocks", made_by="steering-vectors")
    assert [(v.layer, v.values.tolist(), v.provenance.raw_norm) for v in found] == [
        (0, [3.0, 4.0], 5.0),
        (2, [1.0, -2.0], pytest.approx(5**0.5)),
    ]


@pytest.mark.parametrize(
    ("directions", "counting", "match"),
    [
        ({0: VALUES}, "hidden_states", "the embedding"),
        ({-1: VALUES}, "blocks", "layer -1"),
        ({}, "blocks", "got none"),
        ({1: VALUES, 2: VALUES[:2]}, "blocks", "one width"),
        ({1: [[1.0], [1.0, 2.0]]}, "blocks", "array of numbers"),
        ({1: VALUES, 2: VALUES * 0}, "blocks", "layer 2 of blocks.*all zeros"),
    ],
)
def test_directions_that_say_no_place_or_no_direction_are_refused(directions, counting, match):
    with pytest.raises(VectorError, match=match):
        vectors_by_layer(directions, concept="love", counting=counting, made_by="x")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = save_tiny_model("llama", tmp_path_factory.mktemp("tiny") / "model")
    with ib.open_injector("torch", str(folder)) as injector:
        yield AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), injector


PROMPT = ib.RenderedPrompt([6, 7, 8], "abc", {})


def states_of(model) -> np.ndarray:
    """Shape (layers + 1, hidden_size): Hugging Face's hidden_states at the last token."""
    with torch.inference_mode():
        found = model(torch.tensor([PROMPT.token_ids]), output_hidden_states=True).hidden_states
    return np.array([state[0, -1].numpy() for state in found])


def test_hidden_states_n_is_the_output_of_block_n_minus_1_as_our_backend_reads_it(tiny):
    model, injector = tiny
    (vector,) = vectors_by_layer(
        {2: states_of(model)[2]}, concept="x", counting="hidden_states", made_by="transformers"
    )
    captured = injector.capture([PROMPT], [vector.layer])
    assert np.allclose(captured[0, 0], vector.values, atol=1e-5)


def test_a_multiplier_of_a_hook_on_a_block_is_our_raw_dose_at_the_same_layer(tiny):
    """What repeng, steering-vectors, TransformerLens and llama.cpp do: add s times v to the output of block N."""
    model, injector = tiny
    direction = torch.linspace(-1, 1, 64)

    def add(module, inputs, output):
        return (output[0] + 2 * direction, *output[1:]) if isinstance(output, tuple) else output + 2 * direction

    handle = model.model.layers[1].register_forward_hook(add)
    hooked = states_of(model)
    handle.remove()
    (vector,) = vectors_by_layer({1: direction}, concept="x", counting="blocks", made_by="repeng")
    # Behind block 2: Transformers takes its hidden_states from a block before other people's hooks see it.
    steered = injector.capture([PROMPT], [2], beside=[ib.Injection(vector, vector.layer, "2 raw", "all")])
    assert np.allclose(steered[0, 0], hooked[3], atol=1e-5)
    assert not np.allclose(steered[0, 0], states_of(model)[3], atol=1e-2)
