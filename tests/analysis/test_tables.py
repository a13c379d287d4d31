"""Tables as text: what a reader or another program gets."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench.analysis import narrow_table, rates_table, records_frame, render
from introspection_bench.errors import AnalysisError


def test_every_cell_shows_count_denominator_and_interval(record) -> None:
    frame = records_frame([record(i, (i < 5, False, None, True)) for i in range(20)])
    row = rates_table(frame).iloc[0]
    assert row["affirmative"] == "5/20 (8.66–49.1 %)"
    assert row["immediate"] == "0/0"
    assert (row["trials"], row["scored"], row["coherent n"]) == (20, 20, 20)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_csv_is_read_back_as_it_was_whatever_the_text(cells) -> None:
    cells = [c.replace("\x00", "") for c in cells]  # Python's reader of CSV takes no NUL
    text = render(pd.DataFrame([cells], columns=[f"c{i}" for i in range(len(cells))], dtype=object), "csv")
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == cells


@given(st.text(alphabet="a|\n\\`"))
def test_no_text_breaks_out_of_its_markdown_cell(cell) -> None:
    lines = render(pd.DataFrame([{"x": cell}], dtype=object)).splitlines()
    assert len(lines) == 3


def test_latex_escapes_what_latex_takes_for_commands() -> None:
    text = render(pd.DataFrame([{"a_b": "50 % of {x} \\ & #1", "n": 3, "r": 0.123456}]), "latex")
    assert r"a\_b & n & r \\" in text
    assert r"50 \% of \{x\} \textbackslash{} \& \#1 & 3 & 0.123 \\" in text


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(AnalysisError, match="markdown"):
        render(pd.DataFrame(), "html")


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
def test_a_cell_may_hold_a_list_as_a_field_of_a_specification_does(form) -> None:
    frame = pd.DataFrame([{"field": "magnitudes", "first": [0.1, 0.2], "second": None}], dtype=object)
    assert "[0.1, 0.2]" in render(frame, form)


def test_the_narrow_table_names_what_all_cells_share_and_fits_a_terminal(record) -> None:
    shared, table = narrow_table(records_frame([record(i, (i < 5, True, False, True)) for i in range(20)]))
    assert "lindsey" in shared
    assert table.iloc[0]["affirmative"] == "5/20 9–49"
    assert max(map(len, render(table, "text").splitlines())) <= 100
