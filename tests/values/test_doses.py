"""Doses, their units, and depths."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.doses import delta_length
from introspection_bench.errors import InjectionError, LayerError

POSITIVE = st.floats(1e-3, 1e3)
UNITS = st.sampled_from(ib.Unit)


@given(st.floats(-100, 100), POSITIVE, POSITIVE, POSITIVE, st.floats(-10, 10))
def test_each_unit_has_the_length_that_the_docs_give(m: float, v: float, h: float, u: float, along: float) -> None:
    given = {"vector_norm": v, "residual_norm": h, "update_norm": u, "along": along}
    assert {unit.value: delta_length(unit, m, **given) for unit in ib.Unit} == {
        "raw": m * v,
        "absolute": m,
        "residual": m * h,
        "update": m * u,
        "projection": m * along,
    }


def test_a_length_per_token_comes_of_norms_per_token() -> None:
    norms = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    made = delta_length(ib.Unit.RESIDUAL, np.array([[0.5], [2.0]]), vector_norm=1, residual_norm=norms)
    np.testing.assert_array_equal(made, [[0.5, 1.0], [6.0, 8.0]])


@given(st.integers(-(10**6), 10**6), st.integers(0, 6), UNITS)
def test_a_dose_of_up_to_twelve_digits_reads_its_own_written_form(digits: int, places: int, unit: ib.Unit) -> None:
    dose = ib.Dose(digits / 10**places, unit)
    assert ib.Dose.parse(str(dose)) == dose
    assert ib.Dose.parse(dose) is dose


@pytest.mark.parametrize(
    ("written", "dose"),
    [
        ("2 raw", ib.Dose(2, "raw")),
        ("  0.3   residual ", ib.Dose(0.3, "residual")),
        ("-1 projection", ib.Dose(-1, ib.Unit.PROJECTION)),
        ("1e-3 absolute", ib.Dose(0.001, "absolute")),
    ],
)
def test_the_written_form_of_a_file_is_read(written: str, dose: ib.Dose) -> None:
    assert ib.Dose.parse(written) == dose


@pytest.mark.parametrize(
    "written", ["", "2", "raw", "raw 2", "2raw", "2 watt", "two raw", "nan raw", "inf raw", "2 2 raw"]
)
def test_a_dose_that_says_nothing_definite_is_an_error(written: str) -> None:
    with pytest.raises(InjectionError):
        ib.Dose.parse(written)


def test_a_dose_is_written_as_a_person_would_write_it() -> None:
    assert [str(ib.Dose(m, "raw")) for m in (2, 0.1 + 0.2, -0.0, -1.5)] == ["2 raw", "0.3 raw", "0 raw", "-1.5 raw"]
    assert str(-ib.Dose(0.4, "residual")) == "-0.4 residual"


@pytest.mark.parametrize("magnitude", [2, 2.0, np.float64(2), np.float32(2), np.int64(2)])
def test_one_magnitude_is_one_dose_however_it_is_typed(magnitude: Any) -> None:
    dose = ib.Dose(magnitude, "raw")
    assert dose == ib.Dose(2, ib.Unit.RAW)
    assert type(dose.magnitude) is float


@pytest.mark.parametrize(
    ("magnitude", "unit", "words"),
    [
        (1, "watt", "one of .*'raw', 'absolute', 'residual', 'update', 'projection'"),
        (1, None, "unit"),
        (math.nan, "raw", "finite"),
        (math.inf, "raw", "finite"),
        ("strong", "raw", "magnitude: required a number"),
        (None, "raw", "magnitude: required a number"),
    ],
)
def test_a_malformed_dose_is_an_error_that_names_the_argument(magnitude: Any, unit: Any, words: str) -> None:
    with pytest.raises(InjectionError, match=words):
        ib.Dose(magnitude, unit)


def test_doses_are_sorted_by_magnitude() -> None:
    doses = [ib.Dose(m, "raw") for m in (4, -1, 2)]
    assert [d.magnitude for d in sorted(doses)] == [-1, 2, 4]


@pytest.mark.parametrize(
    ("fraction", "n_layers", "layer"),
    [(2 / 3, 126, 84), (2 / 3, 30, 20), (0, 30, 0), (1, 30, 29), (1, 1, 0), (0.5, 4, 2)],
)
def test_a_depth_is_the_nearest_block_of_a_model(fraction: float, n_layers: int, layer: int) -> None:
    assert ib.Depth(fraction).layer(n_layers) == layer


@given(st.floats(0, 1), st.integers(1, 200))
def test_a_depth_is_a_block_of_any_model(fraction: float, n_layers: int) -> None:
    assert 0 <= ib.Depth(fraction).layer(n_layers) < n_layers


@pytest.mark.parametrize("fraction", [-0.1, 1.1, 20, math.nan, math.inf, "deep", None])
def test_a_depth_outside_the_model_is_an_error(fraction: Any) -> None:
    with pytest.raises(LayerError):
        ib.Depth(fraction)


def test_a_depth_is_written_as_the_fraction_that_it_was_given_as() -> None:
    assert [str(ib.Depth(float(Fraction(f)))) for f in ("2/3", "1/2", "1")] == ["depth 2/3", "depth 1/2", "depth 1"]
    assert str(ib.Depth(0.123456)) == "depth 0.123456"
