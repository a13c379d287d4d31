"""Merging runs of one plan: the union, what is refused, and that nothing is chosen or lost on the way."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from introspection_bench.errors import RunsDifferError, StoreError, StoreMismatchError
from introspection_bench.interop import read_results
from introspection_bench.measures import TokenLogprobs
from introspection_bench.sweep import (
    Shard,
    Sharded,
    Store,
    Sweep,
    begin_shard,
    judge_run,
    measure_run,
    merge_runs,
    prepare,
)

TABLES = ("planned", "cells", "found", "vectors", "trials", "verdicts", "readings", "effects", "sessions")


def content(run: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of a run but for its sessions' times."""
    with sqlite3.connect(run / "store.sqlite") as connection:
        return {table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}"))) for table in TABLES}


def plan_and_replies(run: Path) -> list[object]:
    with Store.open(run) as store:
        places = store._database.rows("", "SELECT key, position FROM planned ORDER BY position")
        # Receipts have last bits in which batches differ.
        touched = [[(p.prompt_positions, p.generation_positions) for p in r.receipts] for r in store.records()]
        return [places, [(r.trial, r.key.seed, r.reply) for r in store.records()], touched]


@pytest.fixture(scope="module")
def shards(design, injector, tmp_path_factory) -> dict[str, Path]:
    """A prepared run, its three shards, two of them judged and one measured, and the same in one process."""
    folder = tmp_path_factory.mktemp("shards")
    whole = Sweep(design, injector, folder / "whole")
    whole.generate()
    made = {"whole": folder / "whole", "prepared": prepare(Sweep(design, injector, folder / "prepared"))}
    for number in (1, 2, 3):
        made[str(number)] = directory = folder / f"shard-{number}"
        begin_shard(made["prepared"], f"{number}/3", directory)
        Sweep(Sharded(design, Shard(f"{number}/3")), injector, directory).generate()
    for name in "12":
        with Store.open(made[name]) as store:
            judge_run(store, "rules")
    with Store.open(made["3"]) as store:
        measure_run(store, TokenLogprobs({"a": ["a"], "b": ["b"]}), injector)
    return made


def copied(run: Path, to: Path, *changes: str) -> Path:
    """A copy of a run with some SQL done to it."""
    shutil.copytree(run, to)
    with sqlite3.connect(to / "store.sqlite") as connection:
        for change in changes:
            connection.execute(change)
    return to


def test_three_shards_are_the_run_of_one_process_with_their_verdicts_readings_and_sessions(shards, tmp_path):
    merged = merge_runs([shards[n] for n in "312"], tmp_path / "m")
    assert (merged.planned, merged.recorded, merged.added["trials"]) == (26, 26, 26)
    assert plan_and_replies(tmp_path / "m") == plan_and_replies(shards["whole"])
    told, parts = content(tmp_path / "m"), [content(shards[n]) for n in "123"]
    for table in ("verdicts", "readings"):
        assert len(told[table]) == sum(len(part[table]) for part in parts) > 0
    with Store.open(tmp_path / "m") as store, Store.open(shards["whole"]) as whole:
        assert store.spec() | {"model": 0} == dict(whole.spec()) | {"model": 0}
        assert sum(s.trials for s in store.sessions()) == 26
        assert len(store.sessions()) == sum(len(part["sessions"]) for part in parts)
        opened = [s.opened for s in store.sessions()]
        assert opened == sorted(opened)
        judge_run(store, "rules")
    assert len(read_results(tmp_path / "m").frame("rules", "strict4")) == 26


def test_merging_twice_in_any_order_or_with_the_result_among_the_runs_is_merging_once(shards, tmp_path):
    runs = [shards[n] for n in "123"]
    merge_runs(runs, tmp_path / "m")
    once, data = content(tmp_path / "m"), (tmp_path / "m" / "store.sqlite").read_bytes()
    again = merge_runs([*runs[::-1], tmp_path / "m", runs[0]], tmp_path / "m")
    assert set(again.added.values()) == {0}
    assert content(tmp_path / "m") == once
    assert merge_runs([tmp_path / "m"], tmp_path / "m").recorded == 26
    merge_runs(runs[::-1], tmp_path / "n")
    assert content(tmp_path / "n") == once
    merge_runs([tmp_path / "m"], tmp_path / "o")
    assert content(tmp_path / "o") == once
    assert (tmp_path / "m" / "store.sqlite").read_bytes() == data


def test_missing_shards_are_named_and_beside_the_prepared_run_they_stay_planned_and_are_run_in_the_merged_one(
    shards, design, injector, tmp_path
):
    with pytest.raises(StoreMismatchError, match="without shard 1/3, 3/3"):
        merge_runs([shards["2"]], tmp_path / "m")
    assert not Store.is_begun(tmp_path / "m")
    merged = merge_runs([shards["2"], shards["prepared"]], tmp_path / "m")
    assert 0 < merged.recorded < merged.planned == 26
    merged = merge_runs([shards["3"]], tmp_path / "m")  # into what has the whole plan already
    assert merged.recorded < 26
    Sweep(design, injector, tmp_path / "m").generate()
    assert plan_and_replies(tmp_path / "m") == plan_and_replies(shards["whole"])


SPEC = "UPDATE meta SET value = json_set(value, '{}', json('{}')) WHERE key = 'spec'"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (SPEC.format("$.numerics", "77"), "numerics: required [0-9]+, as in .*shard-1; got 77"),
        (SPEC.format("$.model.backend", '"vllm"'), "backend: required torch.*got vllm"),
        (SPEC.format("$.found.fingerprint", '"ffff"'), r"model: required llama \([0-9a-f]{12}\).*got llama \(ffff\)"),
        (SPEC.format("$.design.seed", "8"), "design.seed: required 0.*got 8"),
        (SPEC.format("$.whole.trials", "27"), "plan: required [0-9a-f]{12}, 26 trials.*got [0-9a-f]{12}, 27 trials"),
    ],
)
def test_a_run_of_another_model_backend_numerics_design_or_plan_is_refused_by_field_with_both_values(
    change, told, shards, tmp_path
):
    other = copied(shards["2"], tmp_path / "other", change)
    with pytest.raises(StoreMismatchError, match=told):
        merge_runs([shards["1"], other, shards["3"]], tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_vectors_that_were_extracted_apart_make_another_plan(design, injector, shards, tmp_path):
    other = attrs.evolve(design, concepts=attrs.evolve(design.concepts, baseline=["Desks", "Jackets", "Chairs"]))
    prepare(Sweep(other, injector, tmp_path / "p"))
    apart = copied(tmp_path / "p", tmp_path / "apart")
    with Store.open(shards["prepared"]) as store:
        told = store._database.rows("", "SELECT value FROM meta WHERE key = 'spec'")[0]
    with sqlite3.connect(apart / "store.sqlite") as connection:  # a difference that only its vectors show
        connection.execute("UPDATE meta SET value = ? WHERE key = 'spec'", told)
    with pytest.raises(StoreMismatchError, match=r"plan: required .*vectors that were extracted apart"):
        merge_runs([shards["prepared"], apart], tmp_path / "m")


def test_two_machines_that_made_a_trial_differently_are_both_named_with_sessions_and_nothing_is_written(
    shards, tmp_path
):
    other = copied(
        shards["2"],
        tmp_path / "other",
        "UPDATE trials SET record = json_set(record, '$.reply.text', 'No.') WHERE rowid = 1",
        "UPDATE trials SET record = json_set(record, '$.receipts[0].mean_ratio', 9.5) WHERE rowid > 1",
        "UPDATE sessions SET process = json_set(process, '$.host', 'elsewhere')",
    )
    runs = [shards[n] for n in "123"]
    with pytest.raises(RunsDifferError, match=r"that differ, the first: trial [0-9a-f]{12}\.") as caught:
        merge_runs([*runs, other], tmp_path / "m")
    told = caught.value.differences
    assert len(told) > 1
    assert all("other, session 1 on elsewhere" in one and "shard-2, session 1 on" in one for one in told)
    assert any("by 9.5" in one for one in told)
    assert not Store.is_begun(tmp_path / "m")
    merge_runs(runs, tmp_path / "m")
    before = content(tmp_path / "m")
    with pytest.raises(RunsDifferError):
        merge_runs([other], tmp_path / "m")
    assert content(tmp_path / "m") == before


def test_of_receipts_that_differ_in_the_last_bits_those_recorded_first_stay_in_whatever_order(shards, tmp_path):
    other = copied(
        shards["2"],
        tmp_path / "other",
        "UPDATE trials SET record = json_set(record, '$.receipts[0].max_ratio', 2.00000001), recorded_at = '2020' "
        "WHERE rowid = 1",
    )
    for n, runs in enumerate(([other, *(shards[n] for n in "123")], [*(shards[n] for n in "123"), other])):
        merge_runs(runs[:-1], tmp_path / str(n)) if n else None
        merge_runs(runs, tmp_path / str(n))
        with Store.open(tmp_path / str(n)) as store:
            assert [p.max_ratio for r in store.records() for p in r.receipts].count(2.00000001) == 1


def test_a_scored_verdict_takes_the_place_of_an_unscored_one_and_two_that_differ_are_a_difference(shards, tmp_path):
    unscored = copied(
        shards["1"],
        tmp_path / "unscored",
        "UPDATE verdicts SET scored = 0, verdict = json_set(verdict, '$.unscored', 'timeout', '$.answers', json('{}'))",
    )
    runs = [shards[n] for n in "123"]
    merge_runs(runs, tmp_path / "m")
    for n, order in enumerate(([unscored, *runs[1:], runs[0]], [*runs, unscored])):
        merge_runs(order, tmp_path / str(n))
        with Store.open(tmp_path / str(n)) as store, Store.open(tmp_path / "m") as expected:
            assert [r.verdicts for r in store.records()] == [r.verdicts for r in expected.records()]
    other = copied(shards["1"], tmp_path / "v", "UPDATE verdicts SET verdict = json_set(verdict, '$.notes', 'other')")
    with pytest.raises(RunsDifferError, match=r"that differ, the first: verdict .* of trial"):
        merge_runs([*runs, other], tmp_path / "n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE trials SET record = '{}' WHERE rowid = 2", "table trials, row"),
        ("UPDATE planned SET draw = draw + 1, key_draw = key_draw + 1", "planned, row|another place"),
        ("UPDATE verdicts SET scored = 1 - scored WHERE rowid = 2", "table verdicts, row"),
        ("UPDATE vectors SET file = zeroblob(300)", "table vectors, row"),
        ("DELETE FROM trials WHERE rowid = 1", "a planned trial and a session for everything"),
        ("UPDATE planned SET position = position + 100", "plan"),
        ("CREATE TRIGGER t AFTER INSERT ON trials BEGIN SELECT 1; END", "trigger t"),
        ("UPDATE meta SET value = json_set(value, '$.shard', 'x') WHERE key = 'spec'", "meta, row spec"),
        ("UPDATE meta SET value = json_set(value, '$.whole', 3) WHERE key = 'spec'", "meta, row spec"),
    ],
)
def test_a_damaged_or_forged_run_is_refused_with_the_place_and_nothing_is_written(change, told, shards, tmp_path):
    bad = copied(shards["1"], tmp_path / "bad", change)
    with pytest.raises(StoreError, match=told):
        merge_runs([bad, shards["2"], shards["3"]], tmp_path / "m")
    assert not Store.is_begun(tmp_path / "m")


KILLED = """
import os, signal, sys
from introspection_bench.sweep import merge_runs, union
add = union.Union.add_rows
def strike(self, source, table, last):
    add(self, source, table, last)
    if table == "trials" and source.shard and source.shard.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
union.Union.add_rows = strike
for target in sys.argv[1:3]:
    child = os.fork()
    if not child:
        merge_runs(sys.argv[3:], target)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""


def test_a_merge_that_is_killed_in_the_middle_leaves_what_was_there_and_again_gives_the_same(shards, tmp_path):
    runs = [shards[n] for n in ("prepared", "1", "2", "3")]
    merge_runs(runs, tmp_path / "expected")
    merge_runs(runs[:2], tmp_path / "begun")
    before = content(tmp_path / "begun")
    targets = [tmp_path / "begun", tmp_path / "new"]
    subprocess.run([sys.executable, "-c", KILLED, *map(str, [*targets, *runs])], check=True)
    assert content(tmp_path / "begun") == before
    assert not Store.is_begun(tmp_path / "new")
    for target in targets:
        merge_runs(runs, target)
        assert plan_and_replies(target) == plan_and_replies(tmp_path / "expected")
        told, expected = content(target), content(tmp_path / "expected")
        assert all(len(told[table]) == len(expected[table]) for table in TABLES)


def test_no_runs_a_file_and_a_shards_directory_to_merge_into_are_refused(shards, tmp_path):
    for runs, told in (([], "got none"), ([tmp_path / "nowhere"], "run directories"), (["\0"], "run directories")):
        with pytest.raises(StoreError, match=told):
            merge_runs(runs, tmp_path / "m")
    with pytest.raises(StoreMismatchError, match="shard-1, shard 1/3"):
        merge_runs([shards["2"]], shards["1"])
