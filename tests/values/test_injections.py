"""Units, injections and the check of a receipt."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.errors import (
    AnchorNotFoundError,
    EmptySpanError,
    InjectionError,
    LayerError,
    SilentInjectionError,
)
from introspection_bench.injection import Positions, check_receipt, delta_length

POSITIVE = st.floats(1e-3, 1e3)
Vector = Callable[..., ib.ConceptVector]


@given(st.floats(-100, 100), POSITIVE, POSITIVE, POSITIVE)
def test_each_unit_has_the_length_that_the_design_gives(m: float, v: float, h: float, u: float) -> None:
    lengths = {unit: delta_length(unit, m, vector_norm=v, residual_norm=h, update_norm=u) for unit in ib.Unit}
    assert lengths == {ib.Unit.RAW: m * v, ib.Unit.ABSOLUTE: m, ib.Unit.RESIDUAL: m * h, ib.Unit.UPDATE: m * u}


def test_a_length_per_token_comes_of_norms_per_token() -> None:
    norms = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    made = delta_length(ib.Unit.RESIDUAL, np.array([[0.5], [2.0]]), vector_norm=1, residual_norm=norms)
    np.testing.assert_array_equal(made, [[0.5, 1.0], [6.0, 8.0]])


@pytest.mark.parametrize("unit", ["residual", ib.Unit.RESIDUAL])
def test_unit_and_span_may_be_given_as_written(make_vector: Vector, unit: str) -> None:
    injection = ib.Injection(make_vector(), 3, 1, unit, "from(trial)")
    assert injection.unit is ib.Unit.RESIDUAL
    assert injection.span == ib.Span.from_anchor("trial")
    assert isinstance(injection.magnitude, float)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": "watt"}, "one of .*'raw', 'absolute', 'residual', 'update'"),
        ({"unit": None}, "unit"),
        ({"magnitude": math.nan}, "finite"),
        ({"magnitude": math.inf}, "finite"),
        ({"magnitude": "strong"}, "magnitude: required a number"),
        ({"magnitude": None}, "magnitude: required a number"),
        ({"layer": -1}, "0-based"),
        ({"layer": 1.0}, "0-based"),
        ({"layer": True}, "0-based"),
        ({"span": None}, "a Span"),
        ({"vector": np.ones(4)}, "ConceptVector"),
    ],
)
def test_a_malformed_injection_is_an_error_that_names_the_argument(
    make_vector: Vector, change: dict[str, object], words: str
) -> None:
    good = {"vector": make_vector(), "layer": 3, "magnitude": 1, "unit": "raw", "span": ib.Span.all()}
    with pytest.raises(InjectionError, match=words):
        ib.Injection(**(good | change))


def test_a_layer_error_is_both_an_injection_error_and_an_index_error() -> None:
    assert issubclass(LayerError, InjectionError)
    assert issubclass(LayerError, IndexError)


PROMPT = ib.RenderedPrompt(range(10), "0123456789", {"trial": 4})


def asked(make_vector: Vector, span: ib.Span, magnitude: float = 1) -> ib.Request:
    return ib.Request(PROMPT, ib.Injection(make_vector(), 3, magnitude, "raw", span), ib.Sampling())


def test_a_request_resolves_its_span_once_and_to_nothing_where_nothing_is_added(make_vector: Vector) -> None:
    request = asked(make_vector, ib.Span.from_anchor("trial"))
    assert request.positions == Positions(4, None, 10)
    assert attrs.evolve(request, prompt=attrs.evolve(PROMPT, anchors={"trial": 7})).positions == Positions(7, None, 10)
    assert asked(make_vector, ib.Span.all(), magnitude=0).positions is None
    assert attrs.evolve(request, injection=None).positions is None


@pytest.mark.parametrize("magnitude", [0, 1])
def test_a_request_whose_span_the_prompt_lacks_is_not_made(make_vector: Vector, magnitude: float) -> None:
    with pytest.raises(AnchorNotFoundError, match="trail"):
        asked(make_vector, ib.Span.from_anchor("trail"), magnitude)
    with pytest.raises(EmptySpanError):
        asked(make_vector, ib.Span.between("trial", "trial"), magnitude)


def test_a_receipt_that_matches_its_positions_passes(make_vector: Vector) -> None:
    check_receipt(asked(make_vector, ib.Span.from_anchor("trial")).positions, 7, ib.Receipt(6, 6, 0.1, 0.2))
    check_receipt(asked(make_vector, ib.Span.generation()).positions, 1, ib.Receipt.nothing())
    check_receipt(None, 7, ib.Receipt.nothing())
    check_receipt(asked(make_vector, ib.Span.all(), magnitude=0).positions, 7, ib.Receipt.nothing())


@pytest.mark.parametrize(
    "receipt",
    [
        None,
        ib.Receipt.nothing(),
        ib.Receipt(6, 5, 0.1, 0.2),
        ib.Receipt(7, 6, 0.1, 0.2),
        ib.Receipt(6, 6, 0.0, 0.0),
        ib.Receipt(6, 6, 0.1, math.nan),
        ib.Receipt(6, 6, math.nan, 0.2),
        ib.Receipt(6, 6, 0.1, math.inf),
    ],
)
def test_a_receipt_that_proves_something_else_is_refused(make_vector: Vector, receipt: ib.Receipt | None) -> None:
    with pytest.raises(SilentInjectionError):
        check_receipt(asked(make_vector, ib.Span.from_anchor("trial")).positions, 7, receipt)


def test_a_control_that_was_steered_is_refused() -> None:
    with pytest.raises(SilentInjectionError, match="0 prompt and 0 generated"):
        check_receipt(None, 7, ib.Receipt(1, 0, 0.1, 0.1))
