"""Concept vectors: algebra, random controls, and files that come from anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file

import introspection_bench as ib
from introspection_bench.errors import VectorError, VectorFileError
from introspection_bench.vectors import FORMAT_VERSION

Vector = Callable[..., ib.ConceptVector]
NUMBERS = st.floats(-(2.0**60), 2.0**60, width=32).map(lambda x: x if abs(x) > 2.0**-60 else 0.0)
ARRAYS = hnp.arrays(np.float32, st.integers(1, 40), elements=NUMBERS).filter(lambda a: bool(a.any()))


@given(ARRAYS)
def test_negating_twice_gives_the_vector_back(make_vector: Vector, values: np.ndarray) -> None:
    v = make_vector(values)
    assert -(-v) == v  # noqa: B002  # minus minus is what is tested
    assert -v != v
    assert (-v).norm == v.norm


@given(ARRAYS)
def test_a_unit_vector_has_norm_one_and_the_same_direction(make_vector: Vector, values: np.ndarray) -> None:
    v = make_vector(values)
    assert v.unit.norm == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(v.unit.values.astype(float) * v.norm, v.values, rtol=1e-5, atol=v.norm * 1e-7)


@given(ARRAYS, st.floats(-1e3, 1e3))
def test_scaling_scales_the_norm_from_either_side(make_vector: Vector, values: np.ndarray, a: float) -> None:
    v = make_vector(values)
    assume(abs(a) > 1e-3)
    assert (v * a).norm == pytest.approx(abs(a) * v.norm, rel=1e-6)
    assert (a * v).digest == (v * a).digest == (v * np.float64(a)).digest == (np.float64(a) * v).digest


def test_algebra_leaves_its_steps_in_the_provenance(make_vector: Vector) -> None:
    assert (-(make_vector() * 2)).unit.provenance.steps == ("times 2.0", "negated", "unit")


@pytest.mark.parametrize("factor", ["2", None, [2]])
def test_a_factor_that_is_no_number_is_a_type_error(make_vector: Vector, factor: Any) -> None:
    with pytest.raises(TypeError):
        make_vector() * factor


@pytest.mark.parametrize("factor", [0, float("nan"), float("inf"), 1e300])
def test_a_factor_that_leaves_no_usable_vector_is_an_error(make_vector: Vector, factor: float) -> None:
    with pytest.raises(VectorError):
        make_vector() * factor


@given(ARRAYS, st.integers(0, 2**63))
def test_a_random_control_has_the_norm_and_depends_on_the_seed_alone(
    make_vector: Vector, values: np.ndarray, seed: int
) -> None:
    v = make_vector(values)
    control = v.random_like(seed)
    assert control.norm == pytest.approx(v.norm, rel=1e-5)
    assert control == v.random_like(seed)
    assert control.is_random
    assert not v.is_random
    if values.size > 1:
        assert control.digest != v.random_like(seed + 1).digest


def test_random_controls_have_no_preferred_direction(make_vector: Vector) -> None:
    v = make_vector(np.ones(64))
    cosines = [float(v.random_like(s).unit.values @ v.unit.values) for s in range(400)]
    assert abs(np.mean(cosines)) < 4 / np.sqrt(400 * 64)
    assert np.std(cosines) == pytest.approx(1 / np.sqrt(64), rel=0.2)


@pytest.mark.parametrize("seed", [None, -1, 1.5, True])
def test_a_random_control_without_a_definite_seed_is_refused(make_vector: Vector, seed: Any) -> None:
    with pytest.raises(VectorError, match="seed"):
        make_vector().random_like(seed)


@pytest.mark.parametrize(
    "values", [[[1.0, 2.0]], [], 1.0, [np.nan, 1.0], [np.inf, 1.0], [1e39, 1.0], [0.0, 0.0], [-0.0]]
)
def test_an_unusable_array_is_refused(make_vector: Vector, values: Any) -> None:
    with pytest.raises(VectorError, match="values"):
        make_vector(values)


@pytest.mark.parametrize("layer", [-1, 1.0, True, None])
def test_a_layer_that_is_no_block_index_is_refused(make_vector: Vector, layer: Any) -> None:
    with pytest.raises(VectorError, match="layer"):
        make_vector(layer=layer)


def test_a_vector_can_not_be_changed_from_outside(make_vector: Vector) -> None:
    source = np.array([3.0, 4.0], dtype=np.float32)
    v = make_vector(source)
    source[0] = 9
    assert v.norm == 5
    with pytest.raises(ValueError, match="read-only"):
        v.values[0] = 9


def test_the_digest_is_of_the_values_alone(make_vector: Vector) -> None:
    v = make_vector()
    assert v.digest == make_vector(concept="hate", layer=7).digest
    assert v.digest != (-v).digest
    assert v.digest == "a49ea826eaf585dba716abf0c84187fb5cbc4d3ea16cba019a72ee8492a56fc2"


@given(ARRAYS, st.text(min_size=1), st.integers(0, 200), st.text(), st.lists(st.text()))
def test_a_saved_vector_comes_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory,
    make_vector: Vector,
    values: np.ndarray,
    concept: str,
    layer: int,
    name: str,
    steps: list[str],
) -> None:
    v = make_vector(values, concept, layer)
    v = attrs.evolve(v, provenance=attrs.evolve(v.provenance, model_name=name, steps=tuple(steps), cosine=None))
    back = ib.ConceptVector.load(v.save(tmp_path_factory.mktemp("v") / "new" / "v.safetensors"))
    assert back == v
    assert back.values.tobytes() == v.values.tobytes()
    assert back.provenance == v.provenance


def test_saving_leaves_nothing_beside_the_file_and_replaces_it_whole(tmp_path: Path, make_vector: Vector) -> None:
    for values in ([1.0, 2.0, 3.0], [4.0, 5.0]):
        make_vector(values).save(tmp_path / "v.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["v.safetensors"]
    assert ib.ConceptVector.load(tmp_path / "v.safetensors").values.size == 2


def test_a_file_cut_off_anywhere_is_an_error_that_names_it(tmp_path: Path, make_vector: Vector) -> None:
    whole = make_vector(np.arange(1, 9)).save(tmp_path / "whole.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(VectorFileError, match=r"cut\.safetensors"):
            ib.ConceptVector.load(cut)


@given(st.data())
def test_a_damaged_file_is_a_vector_or_one_error_never_another(
    tmp_path_factory: pytest.TempPathFactory, make_vector: Vector, data: st.DataObject
) -> None:
    path = make_vector(np.arange(1, 9)).save(tmp_path_factory.mktemp("v") / "v.safetensors")
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw))
    try:
        loaded = ib.ConceptVector.load(path)
    except VectorFileError:
        return
    assert np.isfinite(loaded.values).all()


def header(**changes: Any) -> dict[str, str]:
    provenance = {
        "recipe": "pairs",
        "model_name": "m",
        "model_fingerprint": "f",
        "prompts_digest": "p",
        "prompts": 1,
        "token_position": -1,
        "raw_norm": 1.0,
        "cosine": None,
        "steps": [],
    }
    for key in list(changes):
        if key in provenance or key == "surprise":
            provenance[key] = changes.pop(key)
    content = {"format": FORMAT_VERSION, "concept": "love", "layer": 1, "provenance": provenance, **changes}
    return {"introspection_bench": json.dumps(content)}


ONES = {"values": np.ones(4, np.float32)}


def test_the_header_of_these_tests_is_itself_good(tmp_path: Path) -> None:
    save_file(ONES, tmp_path / "v.safetensors", metadata=header())
    assert ib.ConceptVector.load(tmp_path / "v.safetensors").concept == "love"


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        (ONES, None),
        (ONES, {"format": "pt"}),
        ({"weight": np.ones(4, np.float32)}, header()),
        ({"values": np.ones((2, 2), np.float32)}, header()),
        ({"values": np.array([1, np.nan], np.float32)}, header()),
        ({"values": np.ones(4, np.float64)}, header()),
        ({"values": np.ones(4, np.int8)}, header()),
        (ONES, header(format=FORMAT_VERSION + 1)),
        (ONES, header(concept=3)),
        (ONES, header(layer="1")),
        (ONES, header(layer=True)),
        (ONES, header(layer=-1)),
        (ONES, header(provenance=[])),
        (ONES, header(prompts="many")),
        (ONES, header(steps="negated")),
        (ONES, header(surprise=1)),
        (ONES, {"introspection_bench": "{"}),
        (ONES, {"introspection_bench": "[]"}),
        (ONES, {"introspection_bench": "[" * 200_000}),
    ],
)
def test_a_foreign_file_is_an_error_that_names_it(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None
) -> None:
    save_file(tensors, tmp_path / "foreign.safetensors", metadata=metadata)
    with pytest.raises(VectorFileError, match=r"foreign\.safetensors"):
        ib.ConceptVector.load(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("name", ["missing.safetensors", "."])
def test_a_path_without_a_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(VectorFileError, match="path"):
        ib.ConceptVector.load(tmp_path / name)
    with pytest.raises(OSError, match="path"):
        ib.ConceptVector.load(tmp_path / name)
