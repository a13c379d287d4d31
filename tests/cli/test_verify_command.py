"""The command verify."""

from __future__ import annotations

import shutil
import sqlite3

from cli_samples import command


def test_verify_says_how_many_trials_came_out_as_recorded_and_fails_with_each_one_that_did_not(place, tmp_path):
    fine = command("verify", "run", "--sample", "6", cwd=place)
    assert "6 of 6 trials came out as recorded" in fine.stdout
    assert "at most 39.3 % differ" in fine.stdout
    shutil.copytree(place / "run", tmp_path / "run")
    with sqlite3.connect(tmp_path / "run" / "store.sqlite") as connection:
        connection.execute("""UPDATE trials SET record = replace(record, '"mean_ratio":', '"mean_ratio":1')""")
    connection.close()
    failed = command("verify", "run", cwd=tmp_path, check=False)
    assert failed.returncode == 1
    assert failed.stdout.count("other receipts") == 16  # injected and random ones
    assert "4 of 20 trials came out as recorded" in failed.stdout
    assert "these are all trials of the run" in failed.stdout
