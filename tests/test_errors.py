"""The exception tree and the wording of messages."""

from __future__ import annotations

import builtins
import copy
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench import errors
from introspection_bench.errors import IntrospectionBenchError, explain

CLASSES = [
    thing
    for _, thing in inspect.getmembers(errors, inspect.isclass)
    if issubclass(thing, IntrospectionBenchError) and thing is not IntrospectionBenchError
]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_can_be_caught_as_ours_and_as_the_builtin(kind: type[Exception]) -> None:
    usual = [c for c in kind.__mro__ if c.__module__ == "builtins" and c not in (Exception, BaseException, object)]
    assert usual, f"{kind.__name__} derives from no builtin but Exception"
    assert all(getattr(builtins, c.__name__) is c for c in usual)
    text = explain("layer", required="a block", got=99, hint="Count from 0.")
    with pytest.raises(IntrospectionBenchError) as caught:
        raise kind(text)
    assert str(caught.value) == text  # KeyError and OSError word their arguments in their own way
    assert str(copy.copy(caught.value)) == text


def test_a_message_says_argument_requirement_value_and_way_out() -> None:
    text = explain("unit", required="one of ['raw']", got="watt", hint="See ib.Unit.")
    assert text == "unit: required one of ['raw']; got watt. See ib.Unit."


@pytest.mark.parametrize(("got", "shown"), [("", "''"), (" ", "' '"), (None, "None"), ([], "[]"), (1.5, "1.5")])
def test_an_empty_value_is_still_visible_in_the_message(got: object, shown: str) -> None:
    assert f"; got {shown}." in explain("x", required="more", got=got, hint="")


@given(st.text(), st.text(), st.one_of(st.text(max_size=10_000), st.integers(), st.binary(max_size=1000)), st.text())
def test_a_message_stays_short_whatever_came(argument: str, required: str, got: object, hint: str) -> None:
    text = explain(argument, required=required, got=got, hint=hint)
    assert len(text) <= len(argument) + len(required) + len(hint) + 330
    assert text == text.rstrip()
