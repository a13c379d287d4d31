"""Tables fit the width that there is, and leave nothing out of it."""

from __future__ import annotations

import io

import pytest
from cli_samples import command
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape

from introspection_bench.cli import console
from introspection_bench.cli.tables import fitted

WORD = st.text("abc[]/–é日", max_size=30)


def printed(tables, width):
    file = io.StringIO()
    for table in tables:
        Console(file=file, width=width).print(table)
    return file.getvalue()


@given(st.integers(1, 9).flatmap(lambda n: st.lists(st.lists(WORD, min_size=n, max_size=n), min_size=2, max_size=4)))
def test_every_character_of_every_cell_is_shown_within_the_width(texts):
    columns, *rows = [[escape(text) for text in row] for row in texts]
    shown = printed(fitted(columns, rows, 60, keys=1), 60)
    assert max(map(cell_len, shown.splitlines())) <= 60
    for row in texts:
        for text in row:
            for character in text:
                assert shown.count(character) >= text.count(character)
    assert "…" not in shown


def test_columns_that_do_not_fit_come_in_blocks_behind_the_key_and_wide_is_one_table(monkeypatch, capsys):
    columns = ["concept", *(f"outcome {n}" for n in range(9))]
    rows = [[name, *(f"{n}/20 (0–16.8 %)" for n in range(9))] for name in ("Oceans", "Bread")]
    console.table("Rates", columns, rows)
    narrow = capsys.readouterr().out.splitlines()
    assert max(map(len, narrow)) <= 80
    assert sum(line.startswith("Oceans") for line in narrow) == 3
    for n in range(9):
        assert sum(f"outcome {n}" in line for line in narrow) == 1
    monkeypatch.setattr(console._layout, "wide", True)
    console.table("Rates", columns, rows)
    wide = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Oceans") for line in wide) == 1
    assert all(row in " ".join(wide[2].split()) for row in rows[0])


@pytest.mark.parametrize(
    "words",
    [
        ["table", "run"],
        ["status", "run"],
        ["runs", "."],
        ["concepts", "pairs"],
        ["protocols", "diff", "lindsey2026", "macar2026"],
        ["experiments", "list"],
    ],
    ids=" ".join,
)
def test_what_a_command_lists_fits_a_pipe_and_is_wider_when_asked(place, words):
    narrow = command(*words, cwd=place, columns=80).stdout.splitlines()
    assert max(map(cell_len, narrow)) <= 80
    wide = command(*words, "--wide", cwd=place, columns=80).stdout.splitlines()
    assert len(wide) <= len(narrow)
