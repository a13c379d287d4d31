"""Shards from the command line: prepare, run each, merge, and go on with the merged run."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest
from cli_samples import command, write_sweep

QUIET = ("--progress", "none")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    folder = write_sweep(tmp_path_factory.mktemp("sharded"))
    assert "--shard K/N --prepared p" in " ".join(
        command("run", "sweep.toml", "--prepare", "p", *QUIET, cwd=folder).stdout.split()
    )
    for n in (1, 2, 3):
        done = command("run", "sweep.toml", "--shard", f"{n}/3", "--prepared", "p", *QUIET, cwd=folder)
        assert f"Shard {n}/3 is in run-shard-{n}-of-3" in done.stdout
    return folder


def test_merged_shards_are_judged_reported_and_compared_like_any_run(sharded, tmp_path):
    folder = shutil.copytree(sharded, tmp_path / "f")
    parts = [f"run-shard-{n}-of-3" for n in (1, 2, 3)]
    told = command("merge", *parts, "--into", "m", *QUIET, cwd=folder).stdout
    assert "20 of 20 planned trials recorded; added 20 trials, 20 verdicts" in " ".join(told.split())
    status = json.loads(command("status", "m", "--format", "json", cwd=folder).stdout)
    assert (status["recorded"], status["judged"], status["go_on"]) == (20, {"rules/strict4/1": 20}, None)
    assert "0 judged" in command("judge", "m", "--judge", "rules", cwd=folder).stdout
    assert "difference" in command("compare", "m", parts[0], cwd=folder).stdout
    command("report", "m", cwd=folder)
    assert (folder / "m" / "report.html").exists()


def test_beside_the_prepared_run_what_is_missing_is_told_with_the_command_that_runs_it(sharded, tmp_path):
    folder = shutil.copytree(sharded, tmp_path / "f")
    told = command("merge", "p", "run-shard-2-of-3", "--into", "m", *QUIET, cwd=folder).stdout
    assert "trials are left; run them: introspection-bench run m" in " ".join(told.split())
    status = json.loads(command("status", "m", "--format", "json", cwd=folder).stdout)
    assert (status["planned"], status["go_on"]) == (20, "introspection-bench run m")
    assert 0 < status["recorded"] < 20


def test_runs_that_differ_are_listed_each_with_both_sessions_and_the_command_fails(sharded, tmp_path):
    folder = shutil.copytree(sharded, tmp_path / "f")
    shutil.copytree(folder / "run-shard-2-of-3", folder / "again")
    with sqlite3.connect(folder / "again" / "store.sqlite") as connection:
        connection.execute("UPDATE trials SET record = json_set(record, '$.reply.text', 'No.')")
    runs = [f"run-shard-{n}-of-3" for n in (1, 2, 3)]
    done = command("merge", *runs, "again", "--into", "m", *QUIET, cwd=folder, check=False)
    assert done.returncode == 1
    lines = [line for line in " ".join(done.stderr.split()).split("trial ") if "session" in line]
    assert len(lines) > 1
    assert all("again, session 1 on" in line and "run-shard-2-of-3, session 1 on" in line for line in lines)
    assert not (folder / "m" / "store.sqlite").exists()


def test_a_shard_goes_on_from_its_directory_alone(sharded, tmp_path):
    folder = shutil.copytree(sharded, tmp_path / "f")
    words = ("--shard", "1/2", "--prepared", "p", "--limit", "2", "--no-judge")
    command("run", "sweep.toml", *words, *QUIET, cwd=folder)
    done = command("run", "run-shard-1-of-2", *QUIET, cwd=folder)
    assert "Shard 1/2 is in run-shard-1-of-2" in done.stdout
    status = json.loads(command("status", "run-shard-1-of-2", "--format", "json", cwd=folder).stdout)
    assert status["recorded"] == status["planned"] < 20


@pytest.mark.parametrize(
    "words",
    [
        ["--shard", "1/2"],
        ["--prepared", "p"],
        ["--prepare", "q", "--shard", "1/2", "--prepared", "p"],
        ["--prepare", "q", "--directory", "r"],
        ["--prepare", "q", "--limit", "2"],
        ["--prepare", "q", "--plan"],
        ["--shard", "1/2", "--prepared", "p", "--plan"],
    ],
)
def test_options_that_do_not_go_together_are_refused_by_name(words, sharded):
    done = command("run", "sweep.toml", *words, cwd=sharded, check=False)
    assert done.returncode == 1
    assert all(word in done.stderr for word in words if word.startswith("--"))
    assert not (sharded / "q").exists()
