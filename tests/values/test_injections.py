"""Injections, the steers that they come to in a prompt, and the check of receipts."""

from __future__ import annotations

import itertools
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
    SpecError,
)
from introspection_bench.injection import check_receipts
from introspection_bench.spans import Positions
from introspection_bench.testing import strategies

Vector = Callable[..., ib.ConceptVector]
PROMPT = ib.RenderedPrompt(range(10), "0123456789", {"trial": 4})


def test_dose_and_span_may_be_given_as_written(make_vector: Vector) -> None:
    injection = ib.Injection(make_vector(), 3, "1 residual", "from(trial)")
    assert injection.dose == ib.Dose(1, ib.Unit.RESIDUAL)
    assert injection.span == ib.Span.from_anchor("trial")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dose": "1 watt"}, "one of .*'raw', 'absolute', 'residual', 'update', 'projection'"),
        ({"dose": "strong"}, "a magnitude and its unit"),
        ({"dose": 2}, "a Dose"),
        ({"dose": None}, "a Dose"),
        ({"layer": -1}, "0-based"),
        ({"layer": 1.0}, "0-based"),
        ({"layer": True}, "0-based"),
        ({"span": None}, "a Span"),
        ({"span": "everywhere"}, "span"),
        ({"vector": np.ones(4)}, "ConceptVector"),
    ],
)
def test_a_malformed_injection_is_an_error_that_names_the_argument(
    make_vector: Vector, change: dict[str, object], words: str
) -> None:
    good = {"vector": make_vector(), "layer": 3, "dose": ib.Dose(1, "raw"), "span": ib.Span.all()}
    with pytest.raises(InjectionError, match=words):
        ib.Injection(**(good | change))


def test_a_layer_error_is_both_an_injection_error_and_an_index_error() -> None:
    assert issubclass(LayerError, InjectionError)
    assert issubclass(LayerError, IndexError)


def injected(make_vector: Vector, span: ib.Span, magnitude: float = 1, layer: int = 3) -> ib.Injection:
    return ib.Injection(make_vector(), layer, ib.Dose(magnitude, "raw"), span)


def test_a_steer_holds_the_positions_that_its_span_comes_to_in_one_prompt(make_vector: Vector) -> None:
    one = injected(make_vector, ib.Span.from_anchor("trial"))
    (steer,) = ib.resolve([one], PROMPT)
    assert (steer.injection, steer.positions) == (one, Positions(4, None, 10))
    assert (steer.vector, steer.layer, steer.dose) == (one.vector, 3, one.dose)
    assert steer.key == ib.SteerKey(one.vector.digest, 3, 1.0, "raw", 4, None)
    (moved,) = ib.resolve([one], attrs.evolve(PROMPT, anchors={"trial": 7}))
    assert moved.positions == Positions(7, None, 10)
    assert moved.key != steer.key


@given(st.lists(strategies.injections(), max_size=4), strategies.prompts())
def test_the_order_of_injections_does_not_matter_and_those_that_add_nothing_are_left_out(
    injections: list[ib.Injection], prompt: ib.RenderedPrompt
) -> None:
    # By their keys: of two that differ in a name alone, which the model doesn't see, the first given comes first.
    found = {tuple(s.key for s in ib.resolve(order, prompt)) for order in itertools.permutations(injections)}
    assert len(found) == 1
    steers = ib.resolve(injections, prompt)
    assert len(steers) == len([i for i in injections if i.dose.magnitude != 0])
    assert ib.Request(prompt, steers, ib.Sampling()) == ib.Request.of(prompt, injections, ib.Sampling())


def test_nothing_is_steered_where_nothing_is_added(make_vector: Vector) -> None:
    assert ib.resolve([], PROMPT) == ()
    null = injected(make_vector, ib.Span.all(), magnitude=0)
    assert ib.resolve([null], PROMPT) == ()
    with pytest.raises(InjectionError, match="adds something"):
        ib.Steer(null, Positions(0, None, 10))


@pytest.mark.parametrize("magnitude", [0, 1])
def test_a_span_that_the_prompt_lacks_is_an_error_even_where_nothing_is_added(
    make_vector: Vector, magnitude: float
) -> None:
    with pytest.raises(AnchorNotFoundError, match="trail"):
        ib.resolve([injected(make_vector, ib.Span.from_anchor("trail"), magnitude)], PROMPT)
    with pytest.raises(EmptySpanError):
        ib.resolve([injected(make_vector, ib.Span.between("trial", "trial"), magnitude)], PROMPT)


def test_a_request_takes_only_the_steers_of_its_own_prompt_in_their_order(make_vector: Vector) -> None:
    two = [injected(make_vector, ib.Span.all(), layer=layer) for layer in (1, 2)]
    steers = ib.resolve(two, PROMPT)
    with pytest.raises(SpecError, match="in order"):
        ib.Request(PROMPT, steers[::-1], ib.Sampling())
    with pytest.raises(SpecError, match="of a prompt of 10 tokens"):
        ib.Request(ib.RenderedPrompt(range(9), "x"), steers, ib.Sampling())


def check(make_vector: Vector, span: ib.Span, tokens: int, *receipts: ib.Receipt, dose: str = "1 raw") -> None:
    check_receipts(ib.resolve([ib.Injection(make_vector(), 3, dose, span)], PROMPT), tokens, receipts)


FROM = ib.Span.from_anchor("trial")


def test_a_receipt_that_matches_its_positions_passes(make_vector: Vector) -> None:
    check(make_vector, FROM, 7, ib.Receipt(6, 6, 0.1, 0.2))
    check(make_vector, ib.Span.generation(), 1, ib.Receipt.nothing())
    check_receipts((), 7, ())


@pytest.mark.parametrize(
    "receipt",
    [
        ib.Receipt.nothing(),
        ib.Receipt(6, 5, 0.1, 0.2),
        ib.Receipt(7, 6, 0.1, 0.2),
        ib.Receipt(6, 6, 0.0, 0.0),
        ib.Receipt(6, 6, -0.1, 0.2),
        ib.Receipt(6, 6, 0.1, math.nan),
        ib.Receipt(6, 6, math.nan, 0.2),
        ib.Receipt(6, 6, 0.1, math.inf),
    ],
)
def test_a_receipt_that_proves_something_else_is_refused(make_vector: Vector, receipt: ib.Receipt) -> None:
    with pytest.raises(SilentInjectionError):
        check(make_vector, FROM, 7, receipt)


def test_a_projection_may_have_found_nothing_to_remove_but_must_have_looked_everywhere(make_vector: Vector) -> None:
    check(make_vector, FROM, 7, ib.Receipt(6, 6, 0.0, 0.0), dose="-1 projection")
    for receipt in (ib.Receipt(6, 5, 0.0, 0.0), ib.Receipt(6, 6, math.nan, 0.0), ib.Receipt(6, 6, -1.0, 0.0)):
        with pytest.raises(SilentInjectionError):
            check(make_vector, FROM, 7, receipt, dose="-1 projection")


def test_each_steer_must_have_a_receipt_of_its_own(make_vector: Vector) -> None:
    steers = ib.resolve(
        [injected(make_vector, span, layer=n) for n, span in enumerate((FROM, ib.Span.prompt()))], PROMPT
    )
    good = ib.Receipt(6, 6, 0.1, 0.2), ib.Receipt(10, 0, 0.1, 0.2)
    check_receipts(steers, 7, good)
    with pytest.raises(SilentInjectionError, match="each of the 2 steers; got 1"):
        check_receipts(steers, 7, good[:1])
    with pytest.raises(SilentInjectionError, match="the steer at layer 0"):
        check_receipts(steers, 7, good[::-1])


def test_a_control_that_was_steered_is_refused() -> None:
    with pytest.raises(SilentInjectionError, match="0 steers; got 1"):
        check_receipts((), 7, [ib.Receipt(1, 0, 0.1, 0.1)])
