"""Our exports: nothing is lost, damage is named, and half a file is never left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from introspection_bench import records as interop_records
from introspection_bench.errors import ResultsFormatError
from introspection_bench.injection import Receipt
from introspection_bench.interop import TableLayout, read_results, read_table, write_jsonl, write_parquet
from introspection_bench.interop.writers import WRITERS
from introspection_bench.records import FORMAT_VERSION, from_json, to_json
from introspection_bench.trials import Evidence, Reply, Sampling, SteerKey, TrialKey, TrialRecord, Verdict
from tests.keys import steered_key

WORDS = st.text(max_size=8)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates and NUL too
COUNT = st.integers(0, 2**31)
REAL = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | st.booleans()

STEERS = st.builds(
    SteerKey,
    vector=WORDS,
    layer=st.none() | COUNT,
    magnitude=REAL,
    unit=st.none() | st.sampled_from(["raw", "absolute", "residual", "update"]),
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
CRITERIA = dict.fromkeys(("affirmative", "identifies", "immediate", "coherent"), MAYBE)
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
}
VERDICTS = st.builds(Verdict, **COMMON, **CRITERIA, refused=MAYBE) | st.builds(
    Verdict, **COMMON, unscored=st.text(min_size=1, max_size=9)
)
RECORDS = st.builds(
    TrialRecord,
    key=KEYS,
    arm=st.sampled_from(["injected", "random", "control"]),
    concept=st.none() | WORDS,
    scaffold=WORDS,
    model_name=WORDS,
    reply=st.builds(
        Reply,
        ANY_TEXT,
        st.lists(COUNT, max_size=4),
        st.sampled_from(["stop", "length", "unknown"]),
        st.none() | ANY_TEXT,
        st.none() | WORDS,
    ),
    receipt=st.none() | st.builds(Receipt, COUNT, COUNT, st.floats(0, 9), st.floats(0, 9)),
    seed=st.none() | st.integers(0, 2**63 - 1),
    verdicts=st.lists(VERDICTS, max_size=2),
    source=WORDS,
)


@given(RECORDS)
@settings(max_examples=80, deadline=None)
def test_a_record_survives_its_json_line_unchanged(record) -> None:
    line = to_json(record)
    assert "\n" not in line
    assert from_json(line, "here") == record


@given(st.lists(RECORDS, max_size=4, unique_by=lambda r: r.key.digest))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exports_are_read_back_without_loss_and_in_order(tmp_path, records) -> None:
    for write, name in ((write_jsonl, "run.jsonl"), (write_parquet, "run.parquet")):
        write(records, tmp_path / name)
        assert read_results(tmp_path / name).records == tuple(records)


@pytest.fixture
def records(record) -> list[TrialRecord]:
    return [record(0), record(1)]


@pytest.fixture
def record():
    def make(index: int) -> TrialRecord:
        key = steered_key(index, layer=3, magnitude=4, unit="residual")
        verdicts = (
            Verdict("rules", "strict4", "d", "love", True, True, None, True),
            Verdict("claude", "strict4", "d", "love", unscored="timeout"),
        )
        return TrialRecord(
            key, "injected", "love", "lindsey", "model", Reply("A reply", (5,), "stop"), None, 7, verdicts
        )

    return make


def test_parquet_has_a_typed_row_per_trial_and_verdict_for_other_tools(tmp_path, records) -> None:
    assert write_parquet(records, tmp_path / "run.parquet") == 4
    table = pd.read_parquet(tmp_path / "run.parquet")
    assert table["judge"].tolist() == ["rules", "claude"] * 2
    assert table["affirmative"].tolist() == [True, None] * 2
    assert table["unscored"].fillna("scored").tolist() == ["scored", "timeout"] * 2
    assert pq.read_schema(tmp_path / "run.parquet").field("immediate").type == pa.bool_()


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
        (("key", "steers", 0, "magnitude"), "4", "key.steers[0].magnitude"),
        (("key", "steers", 0, "layer"), 3.5, "key.steers[0].layer"),
        (("key", "steers", 0, "stop"), "end", "key.steers[0].stop"),
        (("key", "steers"), {}, "key.steers"),
        (("key", "draw"), True, "key.draw"),
        (("key", "sampling"), None, "key.sampling"),
        (("arm",), "Control", "arm"),
        (("verdicts",), {}, "verdicts"),
        (("verdicts", 0, "affirmative"), "true", "affirmative"),
        (("verdicts", 0, "coherent"), 1, "coherent"),
        (("verdicts", 0, "blinded"), None, "blinded"),
        (("concept",), 3, "concept"),
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


@pytest.mark.parametrize("place", [("reply",), ("reply", "text"), ("key", "model"), ("scaffold",), ("arm",)])
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


def test_the_rows_of_an_older_parquet_export_are_read_as_a_table(tmp_path, records, monkeypatch) -> None:
    monkeypatch.setattr(interop_records, "FORMAT_VERSION", 1)
    write_parquet(records, tmp_path / "run.parquet")
    names = ("reply", "arm", "concept", "layer", "magnitude", "model", "scaffold")
    layout = TableLayout(
        columns=dict(zip(names, names, strict=True)) | {"draw": "trial"},
        arms={"injected": "injected", "control": "control", "random": "random"},
        unit="residual",
    )
    found = read_table(tmp_path / "run.parquet", layout)
    once = [r for r in found if r.repeat_of is None]
    assert [(r.reply.text, r.arm, r.concept, r.key.layer, r.key.magnitude, r.unit, r.scaffold) for r in once] == [
        (r.reply.text, r.arm, r.concept, r.key.layer, r.key.magnitude, r.unit, r.scaffold) for r in records
    ]


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
