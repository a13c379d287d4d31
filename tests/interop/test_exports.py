"""Our exports: nothing is lost, damage is named, and half a file is never left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from introspection_bench import records as interop_records
from introspection_bench.conditions import Beside, Condition
from introspection_bench.doses import Dose
from introspection_bench.errors import ResultsFormatError
from introspection_bench.identity import Sampling, SteerKey, TrialKey
from introspection_bench.injection import Receipt
from introspection_bench.interop import TableLayout, read_results, read_table, write_jsonl, write_parquet
from introspection_bench.interop.writers import WRITERS
from introspection_bench.measures import Reading
from introspection_bench.records import FORMAT_VERSION, from_json, to_json
from introspection_bench.results import Results
from introspection_bench.trials import Reply, Trial, TrialRecord
from introspection_bench.verdicts import Evidence, Verdict
from tests.keys import steered_key

WORDS = st.text(max_size=8)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates and NUL too
COUNT = st.integers(0, 2**31)
REAL = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | st.booleans()
UNITS = st.sampled_from(["raw", "absolute", "residual", "update", "projection"])

STEERS = st.builds(
    SteerKey,
    vector=WORDS,
    layer=st.none() | COUNT,
    magnitude=REAL,
    unit=st.none() | UNITS,
    start=st.none() | COUNT,
    stop=st.none() | COUNT,
)
KEYS = st.builds(
    TrialKey,
    model=WORDS,
    backend=WORDS,
    numerics=COUNT,
    prompt=WORDS,
    steers=st.lists(STEERS, max_size=2),
    sampling=st.builds(Sampling, temperature=st.floats(0, 5), top_p=st.floats(0.1, 1), top_k=COUNT),
    draw=COUNT,
    forced=st.none() | st.lists(COUNT, max_size=3),
    given_seed=st.none() | COUNT,
)
DOSES = st.builds(Dose, REAL, UNITS)
LAYERS = st.lists(COUNT, max_size=3)
CONDITIONS = st.builds(
    Condition,
    arm=st.sampled_from(["injected", "random", "control", "an arm of my own"]),
    scaffold=WORDS,
    concept=st.none() | WORDS,
    asked=st.none() | WORDS,
    layers=LAYERS,
    dose=st.none() | DOSES,
    span=st.none() | WORDS,
    beside=st.lists(st.builds(Beside, WORDS, LAYERS, DOSES, WORDS), max_size=1),
    model=WORDS,
    wording=WORDS,
)
CRITERIA = st.dictionaries(st.sampled_from(["affirmative", "identifies", "mood", "refused"]), MAYBE)
COMMON = {
    "judge": WORDS,
    "rubric": WORDS,
    "rubric_digest": WORDS,
    "concept": WORDS,
    "judge_model": st.none() | WORDS,
    "blinded": st.booleans(),
    "evidence": st.lists(st.builds(Evidence, WORDS, COUNT, COUNT, ANY_TEXT), max_size=2),
    "notes": ANY_TEXT,
    "raw": ANY_TEXT,
    "cost_usd": st.none() | st.floats(0, 10),
    "judged": st.sampled_from(["answer", "whole"]),
    "success": st.lists(st.sampled_from(["affirmative", "mood"]), min_size=1),
}
VERDICTS = st.builds(Verdict, **COMMON, answers=CRITERIA) | st.builds(
    Verdict, **COMMON, unscored=st.text(min_size=1, max_size=9)
)
READINGS = st.builds(
    Reading,
    measure=st.just("asked"),
    measure_digest=WORDS,
    axes=st.just({"set": ("yes", "no"), "layer": (3,)}),
    values=st.lists(st.lists(st.floats(width=32), min_size=1, max_size=1), min_size=2, max_size=2),
    model=WORDS,
    backend=WORDS,
    numerics=COUNT,
    dtype=WORDS,
)
RECORDS = st.builds(
    TrialRecord,
    trial=st.builds(Trial, key=KEYS, condition=CONDITIONS, item=st.none() | WORDS, draw=COUNT),
    reply=st.builds(
        Reply,
        ANY_TEXT,
        st.lists(COUNT, max_size=4),
        st.sampled_from(["stop", "length", "unknown"]),
        st.none() | ANY_TEXT,
        st.none() | WORDS,
    ),
    receipts=st.lists(st.builds(Receipt, COUNT, COUNT, st.floats(0, 9), st.floats(0, 9)), max_size=2),
    verdicts=st.lists(VERDICTS, max_size=2),
    readings=st.lists(READINGS, max_size=2),
    source=WORDS,
    repeat_of=st.none() | WORDS,
)
SPECS = st.dictionaries(
    WORDS,
    st.recursive(st.none() | st.booleans() | COUNT | REAL | ANY_TEXT, lambda v: st.lists(v, max_size=2)),
    max_size=3,
)


@given(RECORDS)
@settings(max_examples=80, deadline=None)
def test_a_record_survives_its_json_line_unchanged(record) -> None:
    line = to_json(record)
    assert "\n" not in line
    assert from_json(line, "here") == record


@given(st.lists(RECORDS, max_size=4, unique_by=lambda r: r.key.digest), WORDS, SPECS, st.lists(ANY_TEXT, max_size=2))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_results_are_read_back_without_loss_and_in_order_with_their_specification(
    tmp_path, records, name, spec, notes
) -> None:
    results = Results(name, records, spec, "where it was", notes)
    for ending, write in WRITERS.items():
        path = tmp_path / f"run.{ending}"
        write(results, path)
        assert read_results(path) == evolve(results, source=str(path))
        assert dict(read_results(path).spec) == spec  # which equality leaves out


@pytest.mark.parametrize("ending", WRITERS)
def test_bare_records_are_read_back_and_the_notes_say_what_is_missing(tmp_path, records, ending) -> None:
    WRITERS[ending](records, tmp_path / f"run.{ending}")
    found = read_results(tmp_path / f"run.{ending}")
    assert (found.records, found.name, dict(found.spec)) == (tuple(records), "run", {})
    assert any("nothing of the run's specification" in note for note in found.notes)


def test_an_export_cut_off_between_two_records_is_an_error_and_without_its_first_line_it_is_read(
    tmp_path, records
) -> None:
    path = tmp_path / "run.jsonl"
    write_jsonl(Results("run", records), path)
    first, *lines = path.read_text().splitlines()
    path.write_text("\n".join([first, *lines[:-1]]))
    with pytest.raises(ResultsFormatError, match=r"run\.jsonl.*the 2 trials that its header announces; got 1"):
        read_results(path)
    path.write_text("\n".join(lines[:-1]))
    assert read_results(path).records == (records[0],)


def test_a_specification_that_json_can_t_hold_is_an_error_and_nothing_is_written(tmp_path, records) -> None:
    for ending, write in WRITERS.items():
        with pytest.raises(ResultsFormatError, match="results"):
            write(Results("run", records, {"when": object()}), tmp_path / f"run.{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def records(record) -> list[TrialRecord]:
    return [record(0), record(1)]


@pytest.fixture
def record():
    def make(index: int) -> TrialRecord:
        key = steered_key(index, layer=3, magnitude=4, unit="residual")
        condition = Condition("injected", "lindsey", "love", "love", [3], Dose(4, "residual"), "all", model="model")
        answers = {"affirmative": True, "identifies": True, "immediate": None, "coherent": True}
        verdicts = (
            Verdict("rules", "strict4", "d", "love", answers),
            Verdict("claude", "mood", "d", "love", unscored="timeout", success=["cheerful"]),
            Verdict("ada", "mood", "d", "love", {"cheerful": True}, success=["cheerful"]),
        )
        reading = Reading("yes", "d", {"set": ("yes", "no")}, [-0.5, -1], "m", "torch", 1, "float32")
        return TrialRecord(
            Trial(key, condition), Reply("A reply", (5,), "stop"), [Receipt(3, 1, 0.5, 1)], verdicts, [reading]
        )

    return make


def test_parquet_has_a_typed_row_per_trial_and_verdict_with_the_frame_s_columns(tmp_path, records) -> None:
    bare = evolve(records[1], verdicts=(), trial=evolve(records[1].trial, key=steered_key(7)))
    assert write_parquet([*records, bare], tmp_path / "run.parquet") == 7
    table = pd.read_parquet(tmp_path / "run.parquet")
    assert table["judge"].fillna("none").tolist() == ["rules", "claude", "ada"] * 2 + ["none"]
    assert table["affirmative"].tolist() == [True, pd.NA, pd.NA] * 2 + [pd.NA]
    assert table["cheerful"].tolist() == [pd.NA, pd.NA, True] * 2 + [pd.NA]
    assert table["unscored"].fillna("scored").tolist() == ["scored", "timeout", "scored"] * 2 + ["not judged"]
    assert table["layers"].tolist() == ["3"] * 7
    assert table["yes.yes"].tolist() == [-0.5] * 7
    assert pq.read_schema(tmp_path / "run.parquet").field("immediate").type == pa.bool_()
    frame = Results("run", [*records, bare]).frame("rules", "strict4")
    assert set(frame.columns) <= set(table.columns)


def test_a_filtered_parquet_still_gives_whole_records(tmp_path, records) -> None:
    write_parquet(records, tmp_path / "run.parquet")
    table = pq.read_table(tmp_path / "run.parquet")
    pq.write_table(table.filter(pa.compute.equal(table["judge"], "claude")), tmp_path / "some.parquet")
    assert read_results(tmp_path / "some.parquet").records == tuple(records)


def lines_of(tmp_path: Path, records) -> tuple[Path, list[dict]]:
    path = tmp_path / "run.jsonl"
    write_jsonl(records, path)
    return path, [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("reply", "text"), 3, "reply.text"),
        (("reply", "finish_reason"), "tired", "reply.finish_reason"),
        (("reply", "token_ids"), [1, "2"], "token_ids"),
        (("trial", "key", "steers", 0, "magnitude"), "4", "key.steers[0].magnitude"),
        (("trial", "key", "steers", 0, "layer"), 3.5, "key.steers[0].layer"),
        (("trial", "key", "steers", 0, "stop"), "end", "key.steers[0].stop"),
        (("trial", "key", "steers"), {}, "key.steers"),
        (("trial", "key", "draw"), True, "key.draw"),
        (("trial", "key", "sampling"), None, "key.sampling"),
        (("trial", "condition", "arm"), "Control", "arm"),
        (("verdicts",), {}, "verdicts"),
        (("verdicts", 0, "answers", "affirmative"), "true", "affirmative"),
        (("verdicts", 0, "answers", "coherent"), 1, "coherent"),
        (("verdicts", 0, "blinded"), None, "blinded"),
        (("trial", "condition", "concept"), 3, "concept"),
        (("trial", "condition", "dose", "unit"), "spoons", "spoons"),
        (("readings", 0, "values"), [1, 2], "values"),
        (("readings", 0, "values", "shape"), [3], "values"),
    ],
)
def test_a_wrong_value_in_a_line_is_an_error_that_names_record_and_field(
    tmp_path, records, place, value, named
) -> None:
    path, lines = lines_of(tmp_path, records)
    target = lines[1]["record"]
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ResultsFormatError, match=r"record 1 \(line 2\)") as error:
        read_results(path)
    assert named in str(error.value)


@pytest.mark.parametrize(
    "place", [("reply",), ("reply", "text"), ("trial", "key", "model"), ("trial", "condition", "scaffold"), ("trial",)]
)
def test_a_missing_field_in_a_line_is_an_error_that_names_it(tmp_path, records, place) -> None:
    path, lines = lines_of(tmp_path, records)
    target = lines[0]["record"]
    for step in place[:-1]:
        target = target[step]
    del target[place[-1]]
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ResultsFormatError, match=r"record 0 \(line 1\)") as error:
        read_results(path)
    assert place[-1] in str(error.value)


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", '{"format": "other"}', '{"format":"introspection_bench.trial"}', "NaN"]
)
def test_a_line_that_is_no_record_of_ours_is_an_error_that_names_the_line(tmp_path, records, line) -> None:
    path, _ = lines_of(tmp_path, records)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ResultsFormatError, match=r"record 2 \(line 3\)"):
        read_results(path)


def test_a_later_version_is_refused_and_an_added_field_is_not(tmp_path, records) -> None:
    path, lines = lines_of(tmp_path, records)
    lines[0]["record"]["added_later"] = 1
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_results(path).records == tuple(records)
    lines[0]["version"] = FORMAT_VERSION + 1
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ResultsFormatError, match="or of a later version"):
        read_results(path)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_an_export_of_the_older_keys_is_refused_and_the_error_says_what_reads_it(
    tmp_path, records, ending, monkeypatch
) -> None:
    monkeypatch.setattr(interop_records, "FORMAT_VERSION", 1)
    WRITERS[ending](records, tmp_path / f"run.{ending}")
    monkeypatch.undo()
    with pytest.raises(ResultsFormatError, match=r"record.*version 1, .*with the version .* that wrote it.*as a table"):
        read_results(tmp_path / f"run.{ending}")


def test_the_rows_of_a_parquet_export_are_read_as_a_table(tmp_path, records, monkeypatch) -> None:
    monkeypatch.setattr(interop_records, "FORMAT_VERSION", 1)
    write_parquet(records, tmp_path / "run.parquet")
    names = ("reply", "arm", "truth", "concept", "asked", "layers", "magnitude", "unit", "span", "model", "scaffold")
    layout = TableLayout(
        columns=dict(zip(names, names, strict=True)) | {"draw": "trial"},
        arms={"injected": "injected", "control": "control", "random": "random"},
        criteria={"cheerful": "cheerful"},
        success=["cheerful"],
    )
    found = read_table(tmp_path / "run.parquet", layout)
    once = [r for r in found if r.repeat_of is None]
    ours = [(r.reply.text, evolve(r.condition, wording="")) for r in once]
    assert ours == [(r.reply.text, r.condition) for r in records]
    assert [v.answer("cheerful") for r in found for v in r.verdicts] == [None, None, True] * 2


def test_a_file_cut_off_within_a_line_is_an_error(tmp_path, records) -> None:
    path, _ = lines_of(tmp_path, records)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ResultsFormatError, match="record 1"):
        read_results(path)


def test_two_exports_joined_into_one_are_an_error(tmp_path, records) -> None:
    path, _ = lines_of(tmp_path, records)
    path.write_text(path.read_text() * 2)
    with pytest.raises(ResultsFormatError, match="again"):
        read_results(path)


def test_a_parquet_file_of_another_layout_or_cut_off_is_an_error_that_names_it(tmp_path, records) -> None:
    other = tmp_path / "other.parquet"
    pd.DataFrame({"x": [1]}).to_parquet(other)
    with pytest.raises(ResultsFormatError, match="record"):
        read_results(other)
    write_parquet(records, tmp_path / "run.parquet")
    whole = (tmp_path / "run.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResultsFormatError, match=r"cut\.parquet"):
        read_results(tmp_path / "cut.parquet")
    pd.DataFrame({"record": [None, "{"]}).to_parquet(other)
    with pytest.raises(ResultsFormatError, match="row 0"):
        read_results(other)


def test_an_export_that_fails_leaves_the_old_file_and_no_rest(tmp_path, records) -> None:
    path = tmp_path / "run.jsonl"
    write_jsonl(records, path)

    def failing():
        yield records[0]
        raise RuntimeError("stop")

    for write in (write_jsonl, write_parquet):
        with pytest.raises(RuntimeError, match="stop"):
            write(failing(), path)
    assert read_results(path).records == tuple(records)
    assert [p.name for p in tmp_path.iterdir()] == ["run.jsonl"]
