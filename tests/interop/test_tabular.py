"""Tables of other people: columns named, arms mapped, units stated, repeated draws known as such."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from introspection_bench.cli.app import app
from introspection_bench.doses import Dose
from introspection_bench.errors import InjectionError, ResultsFormatError, SpecError
from introspection_bench.interop import TableLayout, read_results, read_table, write_jsonl

ARMS = {"clean": "control", "steered": "injected", "noise": "random"}
COLUMNS = {
    "reply": "transcript",
    "arm": "group",
    "concept": "word",
    "layers": "block",
    "magnitude": "alpha",
    "model": "net",
    "draw": "sample",
    "unscored": "failure",
}
CRITERIA = {"affirmative": "said_yes", "coherent": "ok"}
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
    given = {"columns": COLUMNS, "arms": ARMS, "unit": "absolute", "criteria": CRITERIA, "success": tuple(CRITERIA)}
    return TableLayout(**{**given, **changes})


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
        ({"columns": COLUMNS | {"layers": "floor"}}, SpecError, "floor"),
        ({"arms": {"clean": "Control"}}, SpecError, "written so"),
        ({"arms": {"clean": "control"}}, ResultsFormatError, "steered"),
        ({"unit": None}, SpecError, "unit"),
        ({"columns": COLUMNS | {"unit": "alpha"}}, SpecError, "unit"),
        ({"criteria": {"strict": "ok"}}, SpecError, "strict"),
        ({"criteria": CRITERIA | {"mood": "floor"}}, SpecError, "floor"),
        ({"success": ("affirmative", "identifies")}, SpecError, "success.*identifies"),
        ({"unit": "bananas"}, InjectionError, "bananas"),
    ],
)
def test_a_layout_that_does_not_fit_is_an_error_that_names_what_is_wrong(table, changes, error, named) -> None:
    with pytest.raises(error, match=named):
        read_table(table, layout(**changes))


@pytest.mark.parametrize(
    ("column", "value"),
    [("block", "3.5"), ("block", "4-3"), ("block", "0-999999"), ("alpha", "1e999"), ("alpha", "much"), ("ok", "maybe")],
)
def test_a_cell_of_the_wrong_kind_is_an_error_that_names_row_and_column(table, tmp_path, column, value) -> None:
    rows = as_dicts()
    rows[1][column] = value
    path = tmp_path / "wrong.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ResultsFormatError, match=rf"row 2.*{column}"):
        read_table(path, layout())


def test_rows_become_conditions_and_where_nothing_was_done_nothing_is_stated(table) -> None:
    found = read_table(table, layout())
    injected, random, clean = (found.records[n].condition for n in (0, 2, 4))
    assert (injected.concept, injected.asked, injected.layers, injected.dose) == (
        "Dust",
        "Dust",
        (3,),
        Dose(1.5, "absolute"),
    )
    assert (random.concept, random.asked, random.truth, random.layers) == (None, "Dust", "other", (3,))
    assert (clean.concept, clean.asked, clean.truth) == (None, "Trees", "nothing")
    assert (clean.layers, clean.dose, clean.span, found.records[4].key.steers) == ((), None, None, ())
    assert {r.receipts for r in found} == {()}


def write_rows(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


WIDE = TableLayout(
    columns={n: n for n in ("reply", "arm", "truth", "concept", "item", "layers", "magnitude", "unit", "span")},
    arms={"clean": "control", "put in": "injected", "turned": "rotated"},
    criteria={"mood": "mood"},
    success=("mood",),
)
ROW = {
    "reply": "Yes.",
    "arm": "put in",
    "truth": None,
    "concept": "Dust",
    "item": "s1",
    "layers": "18-20",
    "magnitude": 0.5,
    "unit": "residual",
    "span": "between(sentence, question)",
    "mood": True,
}


def test_bands_units_spans_items_truths_and_criteria_of_one_s_own_are_read(tmp_path) -> None:
    turned = {"arm": "turned", "layers": 4, "unit": "raw"}
    rows = [ROW, ROW | turned | {"truth": "injected"}, ROW | turned, ROW | {"arm": "clean"}]
    found = read_table(write_rows(tmp_path / "wide.jsonl", *rows), WIDE).records
    band = found[0]
    assert (band.condition.layers, band.condition.span, band.trial.item) == (
        (18, 19, 20),
        "between(sentence, question)",
        "s1",
    )
    assert [(s.layer, s.magnitude, s.unit) for s in band.key.steers] == [(n, 0.5, "residual") for n in (18, 19, 20)]
    assert [r.condition.truth for r in found] == ["injected", "injected", "other", "nothing"]
    assert [r.condition.dose for r in found[1:]] == [Dose(0.5, "raw"), Dose(0.5, "raw"), None]
    assert {(v.answer("mood"), v.strict) for r in found for v in r.verdicts} == {(True, True)}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"truth": "nothing"}, "truth"),
        ({"arm": "turned", "truth": "true"}, "truth"),
        ({"unit": None}, "unit"),
        ({"unit": "spoons"}, "unit"),
        ({"span": "somewhere"}, "span"),
        ({"layers": [3]}, "layers"),
        ({"layers": True}, "layers"),
        ({"layers": "9" * 30}, "layers"),
    ],
)
def test_a_cell_that_no_condition_can_hold_is_an_error_that_names_row_and_column(tmp_path, changes, named) -> None:
    path = write_rows(tmp_path / "wide.jsonl", ROW, ROW | changes)
    with pytest.raises(ResultsFormatError, match=rf"row 2, column '{named}'"):
        read_table(path, WIDE)


def test_rows_that_steer_nothing_are_draws_of_one_thing_whatever_they_stand_against(tmp_path) -> None:
    rows = [
        ROW | {"arm": arm, "concept": concept, "magnitude": magnitude}
        for concept in ("Dust", "Trees")
        for arm, magnitude in (("clean", 0.5), ("put in", 0), ("turned", 0))
    ]
    found = read_table(write_rows(tmp_path / "wide.jsonl", *rows), WIDE).records
    assert {r.key.steers for r in found} == {()}
    assert [r.key.draw for r in found] == list(range(6))
    assert len({r.key.digest for r in found}) == 6


def test_a_reply_of_nothing_is_a_reply_and_a_missing_one_is_an_error(tmp_path) -> None:
    assert read_table(write_rows(tmp_path / "a.jsonl", ROW | {"reply": ""}), WIDE).records[0].reply.text == ""
    with pytest.raises(ResultsFormatError, match="row 1, column 'reply'"):
        read_table(write_rows(tmp_path / "b.jsonl", ROW | {"reply": None}), WIDE)


def test_a_table_is_imported_and_exported_by_the_commands_and_read_back_with_its_specification(
    table, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = {"--columns": COLUMNS, "--arms": ARMS, "--criteria": CRITERIA}
    options = [part for name, told in pairs.items() for part in (name, ",".join(f"{k}={v}" for k, v in told.items()))]
    options += ["--success", "affirmative, coherent", "--unit", "absolute", "--concepts", "lindsey2026"]
    for command in (["import", table.name, "--to", "run", *options], ["export", "run", "--to", "run.jsonl"]):
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    back, expected = read_results("run.jsonl"), read_table(table, layout())
    assert [(r.key, r.condition, r.verdicts) for r in back] == [(r.key, r.condition, r.verdicts) for r in expected]
    assert back.spec["imported"][0]["criteria"] == CRITERIA


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
    assert (first.answer("affirmative"), first.answer("names_as_thought"), first.strict) == (True, False, False)
    assert last.unscored is not None
    assert last.strict is None
