"""What others wrote: files, JSON and TOML that try to exhaust, mislead or steer whoever reads them."""

from __future__ import annotations

import json
import os
import unicodedata

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench import load_concepts, load_rubric, read_results, untrusted
from introspection_bench.errors import IntrospectionBenchError
from introspection_bench.interop import TableLayout, read_table, write_jsonl
from introspection_bench.judges.labels import read_labels
from introspection_bench.sweep.spec import RunSpec
from introspection_bench.testing import strategies
from introspection_bench.untrusted import one_line, parse_json, read_text, visible
from introspection_bench.vectors import ConceptVector

CONCEPTS = 'name = "set"\n[[concepts]]\nname = "Bread"\nword = "Bread"\n'
LAYOUT = TableLayout({"reply": "r", "arm": "a"}, {"c": "control"})
READERS = {
    "table.csv": lambda path: read_table(path, LAYOUT),
    "table.jsonl": lambda path: read_table(path, LAYOUT),
    "table.parquet": lambda path: read_table(path, LAYOUT),
    "concepts.toml": load_concepts,
    "rubric.toml": load_rubric,
    "rubric.md": load_rubric,
    "sweep.toml": RunSpec.from_toml,
    "labels.jsonl": read_labels,
    "results.jsonl": read_results,
    "results.parquet": read_results,
    "study.judged.json": read_results,
    "vector.safetensors": ConceptVector.load,
}
DEEP = b"[" * 100_000
CONTENTS = {
    "nothing": b"",
    "NUL": b"\0" * 100,
    "UTF-16": CONCEPTS.encode("utf-16"),
    "UTF-16 without a mark": CONCEPTS.encode("utf-16-le"),
    "UTF-32": CONCEPTS.encode("utf-32"),
    "Latin-1": 'name = "Café"'.encode("latin-1"),
    "deep JSON": DEEP + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep TOML": b"a = " + DEEP,
    "deep keys": b"a" + b".a" * 50_000 + b" = 1",
    "a long line": b'{"a": "' + b"x" * 100_000,
    "huge number": b'{"format": 1e999}\n[' + b"9" * 5000 + b"]",
    "NaN": b'{"format": NaN}',
    "Parquet without end": b"PAR1" + b"\0" * 100,
    "SQLite without end": b"SQLite format 3\0" + b"\0" * 100,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_or_hostile_file_is_an_error_of_ours_with_a_short_message(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(CONTENTS[content])
    if name == "labels.jsonl" and CONTENTS[content][:1] in (b"", b"{") and b"\n" not in CONTENTS[content]:
        assert read_labels(path) == []  # nothing yet, or a label that a crash cut short
        return
    if (name, content) == ("results.jsonl", "nothing"):
        assert len(read_results(path)) == 0
        return
    with pytest.raises(IntrospectionBenchError) as raised:
        READERS[name](path)
    assert len(str(raised.value)) < 3000


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "dangling link", "NUL in the name", "long name"])
def test_what_is_no_ordinary_file_is_an_error_and_is_never_waited_for(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "NUL in the name":
        path = tmp_path / f"a\0{name}"
    else:
        path = tmp_path / ("x" * 300 + name)
    if name == "labels.jsonl" and kind == "dangling link":
        return  # no file is no labels
    with pytest.raises(IntrospectionBenchError):
        READERS[name](path)


def test_a_huge_file_is_refused_by_its_size_without_being_read(tmp_path):
    for name in ("concepts.toml", "rubric.md", "sweep.toml", "labels.jsonl", "study.judged.json", "vector.safetensors"):
        path = tmp_path / name
        path.write_bytes(b"{")
        os.truncate(path, 2**41)
        with pytest.raises(IntrospectionBenchError, match="bytes"):
            READERS[name](path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, end):
    path = tmp_path / "concepts.toml"
    path.write_bytes(b"\xef\xbb\xbf" + CONCEPTS.replace("\n", end).encode())
    assert load_concepts(path).concepts[0].name == "Bread"
    plain = tmp_path / "plain.toml"
    plain.write_text(CONCEPTS)
    assert load_concepts(path) == load_concepts(plain)
    assert read_text(path).startswith("name")


def test_a_file_in_utf_16_is_named_as_such(tmp_path):
    path = tmp_path / "concepts.toml"
    path.write_bytes(CONCEPTS.encode("utf-16"))
    with pytest.raises(IntrospectionBenchError, match="UTF-16"):
        load_concepts(path)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "NaN", "Infinity", '[1, {"a": -Infinity}]', "9" * 5000])
def test_json_holds_finite_numbers_alone(text):
    with pytest.raises(ValueError, match=r"number|digits"):
        parse_json(text)


@pytest.mark.parametrize("depth", [101, 900, 100_000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_json_that_is_nested_too_deep_is_an_error_at_any_depth(depth, start, end):
    with pytest.raises(ValueError, match="nested"):
        parse_json(start * depth + "1" + end * depth)
    assert parse_json(start * 50 + "1" + end * 50)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_honest_json_is_read_as_it_was_written(value):
    assert parse_json(json.dumps(value)) == value


@given(st.text(st.characters()))
def test_text_made_visible_can_be_printed_and_encoded_and_says_what_was_there(text):
    shown = visible(text)
    shown.encode()
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    if text.isprintable():
        assert shown == text


def test_one_line_is_one_line_of_the_length_asked_for():
    assert one_line("a\n\tb\u202ec" + "x" * 5000, 20) == "a b\\u202ec" + "x" * 9 + "…"


def test_a_parquet_file_of_a_few_kilobytes_that_stands_for_millions_of_rows_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"record": pa.array(["x"] * 3_000_000)}), path, compression="zstd")
    assert path.stat().st_size < 20_000
    for read in (read_results, READERS["table.parquet"]):
        with pytest.raises(IntrospectionBenchError, match="3,000,000 rows"):
            read(path)


def test_a_parquet_file_whose_text_shrank_a_thousandfold_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.parquet"
    table = pa.table({"record": pa.array(["x" * 2**27])})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    assert path.stat().st_size < 20_000
    for read in (read_results, READERS["table.parquet"]):
        with pytest.raises(IntrospectionBenchError, match="134,217,7"):
            read(path)


def test_a_parquet_file_in_which_many_rows_share_one_long_text_is_refused_while_it_is_read(tmp_path):
    path = tmp_path / "bomb.parquet"
    long = ["x" * 2**20] * 200
    table = pa.table({"record": long, "r": long, "a": ["c"] * 200})
    pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=2**22)
    for read in (read_results, READERS["table.parquet"]):
        with pytest.raises(IntrospectionBenchError, match="unfold to more than"):
            read(path)


@pytest.mark.parametrize("values", [[1, 2], [b"x"], [["x"]], [None, None], [{"a": 1}]])
def test_a_parquet_column_of_another_type_is_an_error(tmp_path, values):
    path = tmp_path / "other.parquet"
    pd.DataFrame({"record": values}).to_parquet(path)
    with pytest.raises(IntrospectionBenchError, match="record"):
        read_results(path)


def test_a_line_without_end_is_refused_and_not_gathered(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "MOST_LINE", 1000)
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(IntrospectionBenchError, match="line 1 has more than"):
        read_results(path)


@given(strategies.trial_records(), st.sampled_from(["1e999", "NaN", "-Infinity", "9" * 5000]))
def test_a_number_in_an_export_that_is_none_is_an_error(tmp_path_factory, record, number):
    path = tmp_path_factory.mktemp("export") / "x.jsonl"
    write_jsonl([record], path)
    text = path.read_text()
    path.write_text(text.replace('"temperature":', f'"temperature":{number},"was":', 1))
    with pytest.raises(IntrospectionBenchError):
        read_results(path)


TWICE = {
    "t.csv": b"r,r,a\nx,y,c\n",
    "t.jsonl": b'{"r": "x", "r": "y", "a": "c"}\n',
    "t.parquet": None,
}


@pytest.mark.parametrize("name", TWICE)
def test_a_column_or_key_that_stands_twice_is_an_error_not_the_one_or_the_other(tmp_path, name):
    path = tmp_path / name
    if TWICE[name] is None:
        pq.write_table(pa.table([pa.array(["x"]), pa.array(["y"]), pa.array(["c"])], names=["r", "r", "a"]), path)
    else:
        path.write_bytes(TWICE[name])
    with pytest.raises(IntrospectionBenchError, match="'r' stands twice"):
        read_table(path, LAYOUT)


def test_a_key_that_stands_twice_within_a_record_of_an_export_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"format": "introspection_bench.trial", "record": {"arm": "a", "arm": "b"}}\n')
    with pytest.raises(IntrospectionBenchError, match="'arm' stands twice"):
        read_results(tmp_path / "a.jsonl")
