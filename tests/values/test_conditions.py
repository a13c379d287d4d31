"""What tells cells apart, and blocks in their written form, as tables and other people's files have them."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given

import introspection_bench as ib
from introspection_bench.conditions import CELL_COLUMNS, Beside, layers_text, parse_layers
from introspection_bench.errors import SpecError
from introspection_bench.testing.strategies import conditions
from tests.sample_trials import make_condition


@pytest.mark.parametrize(
    ("layers", "text"),
    [((), ""), ((19,), "19"), ((4, 5), "4,5"), ((18, 19, 20), "18-20"), ((4, 8, 12), "4,8,12"), ((0, 1, 2**31), None)],
)
def test_blocks_are_written_as_a_band_or_a_list_and_read_back(layers, text) -> None:
    written = layers_text(layers)
    assert text in (None, written)  # the last is a hostile file's: nothing of that size is written out
    assert text in (None, "") or parse_layers(written) == layers


@pytest.mark.parametrize("text", ["", "a", "3.5", "-1", "5-4", "1--2", "0-99999", "9" * 40, "1,,2"])
def test_text_that_names_no_blocks_is_refused(text) -> None:
    with pytest.raises(SpecError, match="layers"):
        parse_layers(text)


#: Of what each column tells, another value.
OTHERS = {
    "scaffold": "thinking_about",
    "arm": "prompt_only",
    "concept": "hate",
    "layers": (3, 4),
    "magnitude": ib.Dose(0.5, "residual"),
    "unit": ib.Dose(0.4, "raw"),
    "span": "all",
    "beside": (),
    "model": "another",
}


def test_each_column_that_tells_cells_apart_does_so_alone() -> None:
    assert set(OTHERS) == set(CELL_COLUMNS)
    condition = make_condition(beside=(Beside("refusal", (18, 19, 20), ib.Dose(-1, "projection"), "all"),))
    for column, value in OTHERS.items():
        other = attrs.evolve(condition, **{"dose" if column in ("magnitude", "unit") else column: value})
        assert other.cell != condition.cell
        assert [c for c in CELL_COLUMNS if other.columns[c] != condition.columns[c]] == [column]


@given(conditions(), conditions())
def test_two_conditions_share_a_cell_only_if_all_but_the_concept_asked_about_is_one(one, other) -> None:
    assert (one.cell == other.cell) == (attrs.evolve(one, asked=None) == attrs.evolve(other, asked=None))
    assert one.columns == one.cell.columns
    written = one.columns["layers"]
    assert (() if written is None else parse_layers(written)) == one.layers
