"""Tables of other people: columns named, arms mapped, units stated, repeated draws known as such."""

from __future__ import annotations

import csv
import json

import pytest

from introspection_bench.errors import InjectionError, ResultsFormatError, SpecError
from introspection_bench.interop import TableLayout, read_results, read_table, write_jsonl

ARMS = {"clean": "control", "steered": "injected", "noise": "random"}
COLUMNS = {
    "reply": "transcript",
    "arm": "group",
    "concept": "word",
    "layer": "block",
    "magnitude": "alpha",
    "model": "net",
    "draw": "sample",
    "affirmative": "said_yes",
    "coherent": "ok",
    "unscored": "failure",
}
ROWS = [
    ("steered", "Dust", "3", "1.5", "I notice dust.", "", "true", "TRUE", ""),
    ("steered", "Dust", "3", "1.5", "No.", "", "0", "1", ""),
    ("noise", "Dust", "3", "1.5", "No.", "", "no", "yes", ""),
    ("clean", "Dust", "3", "1.5", "Nothing here.", "a", "false", "true", ""),
    ("clean", "Trees", "3", "9", "Nothing here.", "a", "false", "true", ""),
    ("clean", "Trees", "3", "9", "Nothing here.", "b", "", "", "the judge timed out"),
]
HEAD = ("group", "word", "block", "alpha", "transcript", "sample", "said_yes", "ok", "failure")


def layout(**changes):
    return TableLayout(**{"columns": COLUMNS, "arms": ARMS, "unit": "absolute", **changes})


def as_dicts():
    return [dict(zip(HEAD, row, strict=True)) | {"net": "tiny"} for row in ROWS]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, [*HEAD, "net"])
        writer.writeheader()
        writer.writerows(as_dicts())
    return path


def test_a_csv_table_becomes_trials_with_their_verdicts(table) -> None:
    found = read_table(table, layout())
    frame = found.frame(repeats=True)
    assert list(frame["arm"]) == ["injected", "injected", "random", "control", "control", "control"]
    assert frame["affirmative"].astype(object).where(frame["affirmative"].notna(), None).tolist() == [
        True,
        False,
        False,
        False,
        False,
        None,
    ]
    assert frame["magnitude"].tolist() == [1.5, 1.5, 1.5, 0, 0, 0]
    assert set(frame["unit"].dropna()) == {"absolute"}
    assert frame["unscored"].tolist()[-1] == "the judge timed out"
    assert len({r.key.digest for r in found}) == len(ROWS)


def test_rows_that_list_a_draw_again_are_kept_and_counted_once(table) -> None:
    found = read_table(table, layout())
    assert [r.repeat_of is not None for r in found] == [False, False, False, False, True, False]
    assert len(found.frame()) == len(ROWS) - 1
    assert any("1 of 6 rows list a draw again" in note for note in found.notes)


def test_a_repetition_survives_the_export(table, tmp_path) -> None:
    found = read_table(table, layout())
    write_jsonl(found.records, tmp_path / "export.jsonl")
    assert read_results(tmp_path / "export.jsonl").records == found.records


def test_jsonl_and_parquet_tables_read_as_the_same_trials(table, tmp_path) -> None:
    import pandas as pd

    pd.DataFrame(as_dicts()).to_parquet(tmp_path / "table.parquet")
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, as_dicts())), encoding="utf-8")
    expected = [(r.key, r.reply, r.verdicts) for r in read_table(table, layout())]
    for name in ("table.parquet", "table.jsonl"):
        assert [(r.key, r.reply, r.verdicts) for r in read_table(tmp_path / name, layout())] == expected


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"columns": {"reply": "transcript"}}, SpecError, "arm"),
        ({"columns": COLUMNS | {"mood": "x"}}, SpecError, "mood"),
        ({"columns": COLUMNS | {"layer": "floor"}}, SpecError, "floor"),
        ({"arms": {"clean": "Control"}}, SpecError, "written so"),
        ({"arms": {"clean": "control"}}, ResultsFormatError, "steered"),
        ({"unit": None}, SpecError, "unit"),
        ({"unit": "bananas"}, InjectionError, "bananas"),
    ],
)
def test_a_layout_that_does_not_fit_is_an_error_that_names_what_is_wrong(table, changes, error, named) -> None:
    with pytest.raises(error, match=named):
        read_table(table, layout(**changes))


@pytest.mark.parametrize(
    ("column", "value"), [("block", "3.5"), ("alpha", "1e999"), ("alpha", "much"), ("ok", "maybe")]
)
def test_a_cell_of_the_wrong_kind_is_an_error_that_names_row_and_column(table, tmp_path, column, value) -> None:
    rows = as_dicts()
    rows[1][column] = value
    path = tmp_path / "wrong.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ResultsFormatError, match=rf"row 2.*{column}"):
        read_table(path, layout())


def scaling_row(**changes):
    return {
        "model_id": "somebody/Model-1B",
        "concept": "Dust",
        "condition": "injected",
        "seed": 0,
        "trial": 1,
        "layer": 3,
        "alpha": 2.5,
        "dose_fraction": None,
        "resid_norm": None,
        "transcript": "I do notice something.",
        "affirmative": True,
        "coherent": True,
        "detects_before_naming": True,
        "correct_identification": False,
        "success": False,
        "parse_error": False,
        "raw_judge": "{}",
        **changes,
    }


def test_the_scaling_study_s_layout_is_recognised_and_its_clean_repetitions_known(tmp_path) -> None:
    clean = {"condition": "no_injection", "transcript": "Nothing.", "affirmative": False}
    rows = [scaling_row(), scaling_row(**clean), scaling_row(**clean, concept="Trees"), scaling_row(parse_error=True)]
    path = tmp_path / "trials_model.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_results(path)
    assert [r.arm for r in found] == ["injected", "control", "control", "injected"]
    assert [r.repeat_of is not None for r in found] == [False, False, True, False]
    first, last = found.records[0].verdicts[0], found.records[3].verdicts[0]
    assert (first.affirmative, first.names_as_thought, first.strict) == (True, False, False)
    assert last.unscored is not None
    assert last.strict is None
