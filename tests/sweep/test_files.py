"""Whatever is written to disk is whole or not there, and never somebody else's."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import attrs
import pytest
from hardships import largest_file, without_privileges

from introspection_bench import demo_model, files
from introspection_bench.concepts import Concept
from introspection_bench.errors import IntrospectionBenchError, ModelNotFoundError, OutputError, StoreError
from introspection_bench.files import file_stem, write_file
from introspection_bench.interop import read_results, write_jsonl, write_parquet
from introspection_bench.judges.labels import Label, append_label, read_labels
from introspection_bench.loading import load
from introspection_bench.report import write_report
from introspection_bench.sweep import Injected, Store, Sweep, Unsteered
from introspection_bench.vectors import ConceptVector, Provenance


def test_a_file_is_replaced_whole_and_keeps_its_permissions_and_a_new_one_gets_the_usual_ones(tmp_path):
    write_file(tmp_path / "new", b"1")
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "new").stat().st_mode == plain.stat().st_mode
    plain.chmod(0o640)
    write_file(plain, b"2")
    assert (plain.read_bytes(), stat.S_IMODE(plain.stat().st_mode)) == (b"2", 0o640)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "plain"]


def test_a_hard_link_of_a_replaced_file_keeps_the_older_content(tmp_path):
    write_file(tmp_path / "file", b"old")
    os.link(tmp_path / "file", tmp_path / "backup")
    write_file(tmp_path / "file", b"new")
    assert (tmp_path / "backup").read_bytes() == b"old"


PLACES = {
    "a link": lambda p: p.symlink_to(p.parent / "target"),
    "a link to nothing": lambda p: p.symlink_to("nowhere"),
    "a folder": lambda p: p.mkdir(),
    "a pipe": os.mkfifo,
}


FOLDERS = ("vectors", "figures")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (n, p)
        for n in ("manifest.json", "store.sqlite", *FOLDERS)
        for p in PLACES
        if n not in FOLDERS or p != "a folder"
    ],
)
def test_a_run_never_writes_through_what_lies_in_the_place_of_its_files(design, injector, tmp_path, name, place):
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    run = tmp_path / "run"
    run.mkdir()
    (run / "target").write_bytes(b"precious")
    PLACES[place](run / name)
    before = os.lstat(run / name)
    with pytest.raises(IntrospectionBenchError, match=name):
        Sweep(design, injector, run).generate() if name != "figures" else files.make_own_folder(run / name)
    assert (run / "target").read_bytes() == b"precious"
    assert os.path.samestat(os.lstat(run / name), before)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["report.html", "a.jsonl", "a.parquet", "a.safetensors", "labels.jsonl"])
def test_no_writer_writes_through_what_lies_in_the_place_of_its_file(tmp_path, kind, place):
    (tmp_path / "target").write_bytes(b"precious")
    PLACES[place](tmp_path / kind)
    with pytest.raises(OutputError, match="Nothing was written"):
        write_as(kind, tmp_path / kind)
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert {p.name for p in tmp_path.iterdir()} == {"target", kind}


LABEL = Label(
    format=2,
    trial="t" * 64,
    concept="Bread",
    labeller="ada",
    rubric="strict4",
    rubric_digest="d" * 64,
    answers={"affirmative": True},
    success=("affirmative",),
)


VECTOR = ConceptVector([1.0, 2.0], "Bread", 1, Provenance("word", "m", "f" * 64, "p" * 64, 2, -1, 1.0, None))


def write_as(kind, path):
    {
        "report.html": lambda: write_report([], path),
        "a.jsonl": lambda: write_jsonl([], path),
        "a.parquet": lambda: write_parquet([], path),
        "a.safetensors": lambda: VECTOR.save(path),
        "labels.jsonl": lambda: append_label(path, LABEL),
    }[kind]()


@pytest.mark.parametrize("kind", ["report.html", "a.jsonl", "a.parquet", "a.safetensors", "labels.jsonl"])
def test_every_writer_says_what_to_do_where_it_may_not_write(open_folder, kind):
    open_folder.chmod(0o555)
    with without_privileges(), pytest.raises(OutputError, match="no right to write there"):
        write_as(kind, open_folder / kind)
    assert list(open_folder.iterdir()) == []


@pytest.mark.parametrize("bad", ["x" * 300, "file/below", "nul\0byte"])
def test_an_impossible_path_is_an_error_of_ours(design, injector, tmp_path, bad):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_file(tmp_path / bad, b"")
    with pytest.raises((StoreError, OutputError)):
        Sweep(design, injector, tmp_path / bad).generate()
    with pytest.raises(StoreError):
        Store.open(tmp_path / bad)


def test_a_directory_whose_name_is_not_utf8_holds_a_run_like_any_other(design, injector, tmp_path):
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run \xff #?%"))
    assert len(Sweep(design, injector, directory).generate()) == 26
    assert len(read_results(directory)) == 26


def test_a_full_disk_leaves_the_older_file_and_no_rest(tmp_path):
    write_file(tmp_path / "file", b"old")
    with largest_file(10_000), pytest.raises(OutputError, match="file"):
        write_file(tmp_path / "file", b"x" * 20_000)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_what_a_killed_writer_left_is_removed_after_a_day_and_not_before(tmp_path, monkeypatch):
    left = files._new_beside(tmp_path / "file")
    write_file(tmp_path / "file", b"")
    assert left.exists()
    tomorrow = time.time() + 25 * 3600
    monkeypatch.setattr(files.time, "time", lambda: tomorrow)
    write_file(tmp_path / "file", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["x" * 300, "海" * 300, "CON", "../../etc", "a/b", ".", "", "\ud800", "A\0"])
def test_a_concept_of_any_name_has_a_vector_file_of_its_own(design, injector, tmp_path, name):
    stem = file_stem(name)
    assert 0 < len(os.fsencode(stem)) <= 80
    assert not set("/\0.") & set(stem)
    if not name or name in ("\ud800", "A\0"):
        return
    concepts = attrs.evolve(design.concepts, concepts=[Concept(name, word="Bread"), design.concepts["Oceans"]])
    small = attrs.evolve(design, concepts=concepts, arms=[Unsteered(1), Injected(1)], doses=["0.5 residual"])
    Sweep(small, injector, tmp_path / "run").generate()
    assert len(list((tmp_path / "run" / "vectors").iterdir())) == 2


@pytest.fixture
def homeless(monkeypatch):
    """An account without a home: no variable, and not in the list of users."""
    for name in ("HOME", "XDG_CACHE_HOME", "INTROSPECTION_BENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)


def test_without_a_home_the_cache_folder_is_asked_for_by_its_variable(homeless, monkeypatch, tmp_path):
    with pytest.raises(ModelNotFoundError, match="INTROSPECTION_BENCH_CACHE"):
        demo_model.cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    with pytest.raises(ModelNotFoundError, match="INTROSPECTION_BENCH_CACHE"):
        demo_model.cache_folder()
    monkeypatch.setenv("INTROSPECTION_BENCH_CACHE", str(tmp_path))
    assert demo_model.cache_folder() == tmp_path


def test_a_model_below_a_home_that_nobody_has_is_not_found():
    with pytest.raises(ModelNotFoundError):
        load("~nobody-of-this-name/model")


def test_a_cache_folder_that_can_not_be_made_is_an_error_before_the_model_is_converted(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INTROSPECTION_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="A part of the path is a file"):
        demo_model.smollm2_path()


def test_two_labellers_append_to_one_file_and_a_linked_copy_is_refused(tmp_path):
    append_label(tmp_path / "labels.jsonl", LABEL)
    append_label(tmp_path / "labels.jsonl", attrs.evolve(LABEL, labeller="bob"))
    assert [label.labeller for label in read_labels(tmp_path / "labels.jsonl")] == ["ada", "bob"]
    os.link(tmp_path / "labels.jsonl", tmp_path / "copy")
    with pytest.raises(OutputError, match="hard links"):
        append_label(tmp_path / "labels.jsonl", LABEL)


def test_the_hint_of_a_full_disk_says_so():
    with pytest.raises(OutputError, match="make room"), files.explaining(Path("x")):
        raise OSError(errno.ENOSPC, "No space left on device")
