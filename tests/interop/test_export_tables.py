"""Exports as tables: CSV for spreadsheets, and the columns that the documentation lists."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import attrs
import pandas as pd
import pytest

from introspection_bench import Condition, Reading, Receipt, Reply, Results, Trial, TrialKey, TrialRecord, Verdict
from introspection_bench.errors import ResultsFormatError
from introspection_bench.frames import COLUMNS
from introspection_bench.identity import SteerKey
from introspection_bench.interop import read_results, write_csv, writer_for
from introspection_bench.records import Header
from tests.odd_values import make_records

PAGE = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")


def replied(text: str, index: int = 0) -> TrialRecord:
    record = make_records()[index]
    return attrs.evolve(record, reply=attrs.evolve(record.reply, text=text))


FORMULAS = ['=HYPERLINK("http://x","y")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\r", "\n=1", "＝1+1", " =1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_reply_that_a_spreadsheet_would_run_stands_as_text(tmp_path, text):
    write_csv([replied(text)], tmp_path / "run.csv")
    with (tmp_path / "run.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["reply"] == f"'{text}"


def test_other_text_stands_as_it_is_and_numbers_stay_numbers(tmp_path):
    said = ['He said "a, b",\nand - = + left', "", "ünïcode 🌊", "'quoted'", "\ud800"]
    records = [replied(text, index) for index, text in enumerate(said)]
    negative = attrs.evolve(records[0].readings[0], axes={"set": ("=a", "b")}, dims=["set"], values=[-1.5, 2])
    records[0] = attrs.evolve(records[0], readings=[negative])
    assert write_csv(Results("r", records), tmp_path / "run.csv") == len(records)
    table = pd.read_csv(tmp_path / "run.csv", keep_default_na=False, na_values={"lens.=a": [""]})
    assert table["reply"].tolist() == [*said[:4], "\\ud800"]
    assert table["lens.=a"].tolist()[0] == -1.5
    assert table["magnitude"].tolist() == [r.condition.columns["magnitude"] for r in records]


def test_a_column_that_a_measure_named_like_a_formula_stands_as_text(tmp_path):
    record = make_records()[0]
    reading = attrs.evolve(record.readings[0], measure="=1+1", axes={"set": ("a", "b")}, dims=["set"], values=[1, 2])
    write_csv([attrs.evolve(record, readings=[reading])], tmp_path / "run.csv")
    assert pd.read_csv(tmp_path / "run.csv").columns[-3:].tolist() == ["'=1+1.a", "'=1+1.b", "record"]


def test_a_table_of_two_exports_joined_or_cut_by_a_spreadsheet_is_an_error_that_says_so(tmp_path):
    path = tmp_path / "run.csv"
    write_csv(Results("r", make_records(), {"seed": 1}), path)
    assert read_results(path).spec == {"seed": 1}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for changed, message in (
        (pd.concat([table, table]), "joined"),
        (table.iloc[:-1], "header announces"),
        (table.assign(record=table["record"].str[:100]), "row 0, field 'record'"),
    ):
        changed.to_csv(path, index=False)
        with pytest.raises(ResultsFormatError, match=message):
            read_results(path)
    table.iloc[:-1].drop(columns="results").to_csv(path, index=False, encoding="utf-8-sig")
    assert "says nothing of the run's specification" in read_results(path).notes[0]


def test_the_ending_csv_chooses_the_table():
    assert writer_for("run.CSV") is write_csv


def test_the_page_on_exports_lists_every_column_once_and_in_order():
    table = PAGE.split("## Columns of Parquet and CSV")[1].split("## Fields of JSONL")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(COLUMNS)


def test_the_page_on_exports_names_every_field_of_a_line():
    lines = PAGE.split("## Fields of JSONL")[1]
    kinds = (Header, Trial, TrialKey, SteerKey, Condition, Reply, Receipt, Verdict, Reading, TrialRecord)
    fields = {field.name for kind in kinds for field in attrs.fields(kind) if field.init}
    assert sorted(f for f in fields if not re.search(rf"[`.]{f}[`.]", lines)) == []
