"""Plain data into values: nothing is converted on the way, and each problem names its key."""

from __future__ import annotations

import datetime
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.doses import Unit
from introspection_bench.structuring import plain, problems, strict_converter
from introspection_bench.testing import strategies


@attrs.frozen
class Inner:
    name: str
    weight: float = 1.0


@attrs.frozen
class Outer:
    inner: tuple[Inner, ...]
    flag: bool = False
    count: int = 0
    note: str | None = None
    unit: Unit = Unit.RAW


def test_good_data_becomes_the_value() -> None:
    data = {"inner": [{"name": "a", "weight": 2}], "flag": True, "count": 3, "note": "n", "unit": "update"}
    made = strict_converter().structure(data, Outer)
    assert made == Outer((Inner("a", 2.0),), flag=True, count=3, note="n", unit=Unit.UPDATE)
    assert isinstance(made.inner[0].weight, float)
    assert made.unit is Unit.UPDATE


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"inner": "ab"}, "required a list, got 'ab' @ file.inner"),
        ({"inner": {"name": "a"}}, "required a list, got {'name': 'a'} @ file.inner"),
        ({"inner": ["a"]}, "required a table, got 'a' @ file.inner[0]"),
        ({"inner": [{"name": 3}]}, "required text, got 3 @ file.inner[0].name"),
        ({"inner": [{"name": "a", "weight": "2"}]}, "required a number, got '2' @ file.inner[0].weight"),
        ({"inner": [{"name": "a", "weight": True}]}, "required a number, got True @ file.inner[0].weight"),
        ({"inner": [{"nom": "a"}]}, "missing @ file.inner[0].name; unknown key nom @ file.inner[0]"),
        ({"inner": [], "flag": "no"}, "required true or false, got 'no' @ file.flag"),
        ({"inner": [], "flag": 1}, "required true or false, got 1 @ file.flag"),
        ({"inner": [], "count": 2.0}, "required a whole number, got 2.0 @ file.count"),
        ({"inner": [], "count": True}, "required a whole number, got True @ file.count"),
        ({"inner": [], "note": 3}, "required text, got 3 @ file.note"),
        ({"inner": [], "unit": "watt"}, "'watt' is not a valid Unit @ file.unit"),
        ({"inner": [], "colour": 1}, "unknown key colour @ file"),
        ({}, "missing @ file.inner"),
        ([], "required a table, got [] @ file"),
    ],
)
def test_a_slip_is_named_with_its_key(data: Any, told: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # cattrs raises several kinds; problems() words them all
        strict_converter().structure(data, Outer)
    assert problems(caught.value, "file") == told


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # as above
        strict_converter().structure({"inner": [{"name": 1}, {"name": 2}], "count": "x"}, Outer)
    assert problems(caught.value, "file").count(" @ ") == 3


def test_unknown_keys_pass_where_they_are_allowed() -> None:
    converter = strict_converter(forbid_extra_keys=False)
    assert converter.structure({"inner": [{"name": "a", "new": 1}], "newer": 2}, Outer).inner[0].name == "a"


ANCHORED = ib.Scaffold(
    "s",
    [ib.Turn("user", "Say {it}")],
    [ib.Anchor("it", "{it}"), ib.Anchor("before", turn=0, offset=-1), ib.Anchor("answer", turn="reply")],
    prefill="",
)
PROMPT = ib.RenderedPrompt([1, 2], "ab", {"a": 2}, date=datetime.date(2026, 1, 2))


@given(
    st.one_of(
        st.sampled_from([ANCHORED, ib.LINDSEY, ib.Depth(2 / 3), PROMPT]),
        strategies.doses(),
        strategies.spans(),
        strategies.items("a", "b"),
        strategies.samplings(),
        strategies.steer_keys(),
        strategies.conditions(),
        strategies.verdicts(),
        strategies.provenances(),
    )
)
def test_a_value_in_its_plain_form_is_json_and_comes_back_as_it_was(value: Any) -> None:
    again = strict_converter().structure(json.loads(json.dumps(plain(value))), type(value))
    assert again == value
    assert plain(again) == plain(value)


def test_what_has_no_plain_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="no plain form of a set"):
        plain({"a": [{1, 2}]})
