"""A store on a bad disk, in a bad place or from a bad hand: read rightly, or an error of ours that names the place."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest
from hardships import largest_file, without_privileges

from introspection_bench import databases
from introspection_bench.concepts import ConceptSet
from introspection_bench.errors import IntrospectionBenchError, OutputError, StoreError
from introspection_bench.interop import read_results, write_jsonl
from introspection_bench.measures import Residuals
from introspection_bench.sweep import Store, Sweep, import_results, judge_run
from introspection_bench.sweep.judging import run_concepts, run_questions


@pytest.fixture(scope="module")
def finished(design, injector, tmp_path_factory):
    sweep = Sweep(design, injector, tmp_path_factory.mktemp("runs") / "finished")
    sweep.generate()
    sweep.judge("rules")
    sweep.measure(Residuals((0,), over="between(trial, reply)"))
    return sweep


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished.directory, tmp_path / "run")


def read_everything(run):
    with Store.open(run) as store:
        read = (store.records(), store.planned(), store.vectors(), store.spec(), store.created, store.recorded())
        question = run_questions(store)
        asked = [question(record) for record in read[0]]
        return (*read, run_concepts(store), asked, store.verdict_keys(), store.reading_keys())


def edit(run, *statements):
    with closing(sqlite3.connect(run / "store.sqlite")) as connection, connection:
        for statement in statements:
            connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)


def test_damaged_bytes_are_an_error_that_names_the_file_or_change_nothing_that_is_read(finished, run):
    whole = (run / "store.sqlite").read_bytes()
    chance = random.Random(0)  # noqa: S311  # repeatable, not secret
    right = read_everything(run)
    told = failed = 0
    for number in range(150):
        data = bytearray(whole)
        at = chance.randrange(len(data)) if number % 3 else chance.randrange(0, len(data), 4096)
        length = chance.choice([1, 8, 100, 4096])
        data[at : at + length] = chance.choice([bytes(length), chance.randbytes(length), b""])
        (run / "store.sqlite").write_bytes(data)
        try:
            read = read_everything(run)
        except StoreError as error:
            failed += 1
            told += "store.sqlite" in str(error)
        else:
            # SQLite keeps no checksums: a letter of a reply may change unseen, no trial and no verdict may vanish.
            assert [r.key for r in read[0]] == [r.key for r in right[0]]
            assert [len(r.verdicts) for r in read[0]] == [len(r.verdicts) for r in right[0]]
    assert told == failed > 50


ROWS = {
    "trials": "record",
    "verdicts": "verdict",
    "cells": "condition",
    "readings": "reading",
    "vectors": "file",
    "meta": "value",
}
VALUES = [
    "",
    "null",
    "[]",
    "{",
    '{"record": []}',
    '{"record": {"verdicts": 3}}',
    "[" * 50_000,
    "1e999",
    "\ud83d\x00",
    "{}",
]


@pytest.mark.parametrize("table", ROWS)
@pytest.mark.parametrize("value", VALUES)
def test_a_row_of_another_content_is_an_error_that_names_its_table(run, table, value):
    given = value.encode("utf-8", "surrogatepass") if table == "vectors" else value.encode("utf-8", "replace").decode()
    edit(run, (f"UPDATE {table} SET {ROWS[table]} = ? WHERE rowid = (SELECT max(rowid) FROM {table})", (given,)))
    if table == "meta":  # "created" is the last row, a date for people
        edit(run, ("UPDATE meta SET value = ? WHERE key = 'spec'", (given,)))
    with pytest.raises(StoreError, match=f"store.sqlite: table.*{table}"):
        read_everything(run)


@pytest.mark.parametrize("path", ["design", "model", "found", "design.concepts", "design.scaffolds", "model.name"])
@pytest.mark.parametrize("value", [None, 3, [], {}, [3]])
def test_a_specification_without_what_everybody_relies_on_is_an_error(run, path, value):
    with Store.open(run) as store:
        spec = json.loads(json.dumps(dict(store.spec())))
    inner = spec
    *folders, last = path.split(".")
    for folder in folders:
        inner = inner[folder]
    inner[last] = value
    edit(run, ("UPDATE meta SET value = ? WHERE key = 'spec'", (json.dumps(spec),)))
    try:
        read_everything(run)
        with Store.open(run) as store:
            judge_run(store, "rules", check=False)
    except IntrospectionBenchError:
        return
    assert (path, value) == ("design.concepts", None)


@pytest.mark.parametrize("field", ["arm", "concept", "scaffold", "layers", "dose", "span", "beside", "truth"])
@pytest.mark.parametrize("value", [3, {}, [{}], True])
def test_a_planned_trial_of_another_form_is_an_error_that_names_its_row(run, field, value):
    edit(
        run,
        (
            "UPDATE cells SET condition = json_set(condition, ?, json(?)) WHERE id = 1",
            (f"$.{field}", json.dumps(value)),
        ),
    )
    with Store.open(run) as store, pytest.raises(StoreError, match="table cells, row 1"):
        store.planned()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM planned WHERE position = 3",
        "DELETE FROM trials WHERE rowid = 3",
        "UPDATE trials SET key = 'x' WHERE rowid = 3",
        "UPDATE verdicts SET trial = 'x' WHERE rowid = 3",
        "UPDATE verdicts SET key = 'x' WHERE rowid = 3",
        "UPDATE vectors SET digest = 'x' WHERE rowid = 1",
    ],
)
def test_rows_that_do_not_belong_together_are_an_error_and_none_is_left_out_in_silence(run, statement):
    edit(run, statement)
    with pytest.raises(StoreError, match="damaged"):
        read_everything(run)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON verdicts BEGIN DELETE FROM trials; END",
        "CREATE VIEW v AS SELECT * FROM trials",
        "CREATE TABLE other (x)",
        "CREATE INDEX i ON trials (record)",
        "DROP INDEX verdicts_by_trial",
        "ALTER TABLE trials ADD COLUMN more TEXT",
        "CREATE TRIGGER judge_t AFTER INSERT ON verdicts BEGIN DELETE FROM trials; END",
        "CREATE VIEW judge_v AS SELECT * FROM trials",
    ],
)
def test_a_file_whose_tables_are_not_ours_is_refused_before_anything_of_it_is_used(run, statement):
    edit(run, statement)
    with pytest.raises(StoreError, match="missing, changed or added"):
        Store.open(run)


def test_a_value_too_large_to_be_ours_is_an_error(run, monkeypatch):
    edit(run, "UPDATE trials SET record = printf('%.*c', 3000000, 'x') WHERE rowid = 1")
    monkeypatch.setattr(databases, "_LONGEST", 1_000_000)
    with pytest.raises(StoreError, match="too big"):
        read_everything(run)


def listing(folder):
    return sorted((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*"))


def test_reading_a_run_changes_no_file_and_makes_none(run):
    before = listing(run)
    read_everything(run)
    assert listing(run) == before


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_finished_run_is_read_where_nothing_may_be_written_and_writing_is_an_error(finished, open_folder, mode):
    run = shutil.copytree(finished.directory, open_folder / "run")
    edit(run, f"PRAGMA journal_mode = {mode}")
    for path in [*run.rglob("*"), run]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    expected = list(finished.results().records)
    with without_privileges():
        assert read_everything(run)[0] == expected
        assert len(read_results(run)) == 26
        with Store.open(run) as store, pytest.raises(StoreError, match="rights"):
            judge_run(store, "rules", retry_unscored=True)
        again = Sweep(finished.design, finished.injector, run)
        with pytest.raises(StoreError, match="rights"):
            again.generate()


def killed_in_the_middle_of_a_write(run, mode):
    """Leave what a killed writer leaves: a journal that must be rolled back, or a log that must be read."""
    ready, copy = run.with_name("living"), run
    shutil.move(copy, ready)
    with closing(sqlite3.connect(ready / "store.sqlite", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA cache_size = 1")
        if mode == "wal":
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("DELETE FROM verdicts")
        else:
            connection.execute("BEGIN")
            connection.execute("UPDATE trials SET record = record || 'x'")
        shutil.copytree(ready, copy)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_what_a_killed_writer_left_is_taken_back_or_read_and_is_an_error_where_that_needs_a_write(
    finished, open_folder, mode
):
    run = shutil.copytree(finished.directory, open_folder / "run")
    killed_in_the_middle_of_a_write(run, mode)
    (run / "store.sqlite-shm").unlink(missing_ok=True)
    for path in [*run.rglob("*"), run]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with without_privileges(), pytest.raises(StoreError, match="copy the folder"):
        read_everything(run)
    again = shutil.copytree(run, open_folder / "again", copy_function=shutil.copyfile)
    again.chmod(0o755)
    records = read_everything(again)[0]
    assert [r.reply for r in records] == [r.reply for r in finished.results()]
    assert {len(r.verdicts) for r in records} == {0 if mode == "wal" else 1}


def test_a_locked_file_is_an_error_that_says_so(run, monkeypatch):
    monkeypatch.setattr(databases, "_PATIENCE_S", 0.05)
    with closing(sqlite3.connect(run / "store.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            Store.open(run)


def test_a_full_disk_stops_a_run_with_an_error_and_it_goes_on_when_there_is_room(design, injector, tmp_path):
    sweep = Sweep(design, injector, tmp_path / "run")
    sweep.open_store().close()
    size = (tmp_path / "run" / "store.sqlite").stat().st_size
    with largest_file(size + 8_000), pytest.raises(StoreError, match="disk"):
        sweep.generate()
    kept = sweep.results().records
    assert 0 < len(kept) < 26
    assert len(sweep.generate()) == 26
    assert set(kept) <= set(sweep.results().records)


@pytest.mark.parametrize("left", ["an empty file", "a header", "a log of an unfinished plan"])
def test_a_store_that_was_cut_off_before_its_plan_is_begun_again(design, injector, tmp_path, left):
    run = tmp_path / "run"
    run.mkdir()
    (run / "store.sqlite").touch()
    if left != "an empty file":
        with closing(sqlite3.connect(run / "store.sqlite", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            if left == "a log of an unfinished plan":
                connection.execute("PRAGMA cache_size = 1")
                connection.execute("BEGIN")
                connection.execute("CREATE TABLE meta (key TEXT)")
                connection.executemany("INSERT INTO meta VALUES (?)", [("x" * 9000,)] * 9)
            copies = {p.name: p.read_bytes() for p in run.iterdir()}
        for name, data in copies.items():
            (run / name).write_bytes(data)
    assert not Store.is_begun(run)
    with pytest.raises(StoreError, match="Run the sweep first"):
        Store.open(run)
    assert len(Sweep(design, injector, run).generate()) == 26
    assert [p.name for p in run.iterdir() if p.name.startswith("store")] == ["store.sqlite"]


def test_a_damaged_store_is_never_begun_again(design, injector, run):
    (run / "store.sqlite").write_bytes((run / "store.sqlite").read_bytes()[:5000])
    before = (run / "store.sqlite").read_bytes()
    with pytest.raises(StoreError):
        Sweep(design, injector, run)
    assert (run / "store.sqlite").read_bytes() == before


def test_a_store_that_is_another_files_name_is_read_and_not_written(run, tmp_path):
    os.link(run / "store.sqlite", tmp_path / "snapshot")
    assert len(read_everything(run)[0]) == 26
    with Store.open(run) as store, pytest.raises(OutputError, match="hard links"):
        store.add_verdict("x", store.records()[0].verdicts[0])


def test_an_import_appears_with_all_its_verdicts_or_can_be_repeated(finished, tmp_path, monkeypatch):
    write_jsonl(finished.results().records, tmp_path / "all.jsonl")
    found = read_results(tmp_path / "all.jsonl")

    def killed(*_):
        raise KeyboardInterrupt

    concepts = ConceptSet("tiny", finished.design.concepts.concepts)
    with monkeypatch.context() as patch:
        patch.setattr("introspection_bench.files._to_disk", killed)
        with pytest.raises(KeyboardInterrupt):
            import_results([found], tmp_path / "run", concepts)
    with import_results([found], tmp_path / "run", concepts) as store:
        assert [(r.key, r.reply, r.verdicts) for r in store.records()] == [
            (r.key, r.reply, r.verdicts) for r in found.records
        ]
    with pytest.raises(StoreError, match="one without a run"):
        import_results([found], tmp_path / "run", concepts)


def test_threads_share_a_store(run):
    with Store.open(run) as store:
        verdict = store.records()[0].verdicts[0]
        failed = []

        def write(trial):
            try:
                store.add_verdict(trial, verdict)
            except BaseException as error:  # told to the main thread
                failed.append(error)

        threads = [threading.Thread(target=write, args=(key,)) for key in store.recorded()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
