"""Tables as text: what a reader or another program gets."""

from __future__ import annotations

import csv
import io
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench.analysis import narrow_table, rates_table, records_frame, render
from introspection_bench.analysis.tables import chosen_note, table_heading
from introspection_bench.errors import AnalysisError
from introspection_bench.untrusted import visible


def test_every_cell_shows_count_denominator_and_interval(record) -> None:
    frame = records_frame([record(i, (i < 5, False, None, True)) for i in range(20)])
    row = rates_table(frame).iloc[0]
    assert row["affirmative"] == "5/20 (8.66–49.1 %)"
    assert row["immediate"] == "0/0"
    assert (row["trials"], row["scored"], row["coherent n"]) == (20, 20, 20)


def of_concepts(record, concepts):
    names = "abcdefgh"[:concepts]
    return records_frame([record(i, (i < 5, False, None, True), concept=c) for c in names for i in range(20)])


def test_a_row_of_five_concepts_tells_both_estimands_and_one_of_fewer_only_that_of_these(record) -> None:
    many, few = (rates_table(of_concepts(record, n), ["arm"]) for n in (6, 4))
    assert many["affirmative"][0].startswith("30/120 (17.5–33.7 %; like these ")
    assert few["affirmative"][0] == "20/80 (16–35.9 %)"
    assert (many["concepts"][0], few["concepts"][0]) == (6, 4)
    assert "behind it the interval for concepts like these" in table_heading(many)
    assert "nothing is said" in table_heading(few)
    alone = rates_table(of_concepts(record, 6), ["concept"])
    assert "concepts" not in alone.columns
    assert "like these" not in table_heading(alone)
    assert "these concepts" in table_heading(alone)


def test_what_the_cells_are_not_adjusted_for_is_said_where_there_are_several(record) -> None:
    several, one = (rates_table(of_concepts(record, 6), by) for by in (["concept"], ["arm"]))
    assert table_heading(several).endswith("6 cells; no interval is adjusted for choosing among them: "
                                           "that of the highest misses more often than it says.")  # fmt: skip
    assert "adjusted" not in table_heading(one)
    assert chosen_note(1) == ""
    assert "as little as 79 %" in table_heading(one, method="wilson")
    assert "as little" not in table_heading(one)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_csv_is_read_back_as_it_can_be_seen_with_formulas_behind_an_apostrophe(cells) -> None:
    text = render(pd.DataFrame([cells], columns=[f"c{i}" for i in range(len(cells))], dtype=object), "csv")
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == [
        visible(f"'{c}" if c.lstrip(" ").startswith(tuple("=+-@\t\r\n＝＋－＠")) else c, "\n\t") for c in cells
    ]


@pytest.mark.parametrize("start", [*"=+-@\t\r", "  =", "＝"])
def test_a_text_that_a_spreadsheet_would_calculate_is_neutralised_and_a_number_is_not(start) -> None:
    text = render(pd.DataFrame([{"x": f"{start}cmd|' /C calc'!A0", "y": -0.5}], dtype=object), "csv")
    cells = list(csv.reader(io.StringIO(text, newline="")))[1]
    assert cells[0].startswith("'")
    assert cells[1] == "-0.5"


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
@pytest.mark.parametrize("bad", ["\x1b[2J", "\x9b31m", "\u202e", "\ud800", "\x07", "\u2028"])
def test_no_format_lets_a_control_character_through(form, bad) -> None:
    text = render(pd.DataFrame([[f"c{bad}d"]], columns=pd.Index([f"a{bad}b"], dtype=object), dtype=object), form)
    assert bad not in text
    text.encode()


@pytest.mark.parametrize("cell", ["[here](http://x.invalid)", "![](http://x.invalid)", "<img src=x>", "`a|b`", "$x$"])
def test_no_text_becomes_markup_in_markdown(cell) -> None:
    line = render(pd.DataFrame([{"x": cell}], dtype=object)).splitlines()[2]
    assert not re.search(r"(?<!\\)[\[\]`$<>]", line)


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
    assert "[0.1, 0.2]" in render(frame, form).replace("\\", "")


def test_the_narrow_table_names_what_all_cells_share_and_fits_a_terminal(record) -> None:
    shared, table = narrow_table(records_frame([record(i, (i < 5, True, False, True)) for i in range(20)]))
    assert "lindsey" in shared
    assert table.iloc[0]["affirmative"] == "5/20 9–49"
    assert max(map(len, render(table, "text").splitlines())) <= 100
