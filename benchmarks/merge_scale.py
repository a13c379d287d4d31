"""What it costs to merge shards: time and memory, for 100,000 trials and for any other number.

    python benchmarks/merge_scale.py                             # 16 shards, 100,000 trials in all
    python benchmarks/merge_scale.py --shards 16 --trials 1600000

No model is run: replies are random tokens, 100 each, with a receipt and a verdict. The shards are written here; the
command merge then runs in a process of its own, whose time and largest resident memory are told.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import introspection_bench as ib
from introspection_bench import sweep
from introspection_bench.conditions import Condition
from introspection_bench.databases import Database
from introspection_bench.identity import Sampling, SteerKey, TrialKey
from introspection_bench.structuring import plain
from introspection_bench.sweep.layout import (
    INSERT_TRIAL,
    INSERT_VERDICT,
    add_planned,
    add_session,
    make_tables,
    now,
    trial_row,
    verdict_row,
)
from introspection_bench.sweep.sessions import this_process
from introspection_bench.sweep.sharding import WholePlan

DRAWS = 100
SAMPLING = Sampling()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=16)
    told = parser.parse_args()
    of_shard = told.trials // told.shards
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.platform()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        began = time.monotonic()
        whole = WholePlan.of(trial.key.digest for shard in range(told.shards) for trial in planned(shard, of_shard))
        for shard in range(told.shards):
            write_shard(folder / f"shard-{shard + 1}", shard, told.shards, of_shard, whole)
        size = sum(path.stat().st_size for path in folder.rglob("*.sqlite"))
        print(f"{told.shards} shards of {of_shard} trials, {size / 1e6:.0f} MB, in {time.monotonic() - began:.0f} s")
        runs = sorted(map(str, folder.glob("shard-*")))
        for which in ("new", "again"):
            began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            words = ["merge", *runs, "--into", str(folder / "merged"), "--progress", "none"]
            subprocess.run([sys.executable, "-m", "introspection_bench", *words], check=True)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
            wall = time.monotonic() - began
            print(
                f"{which}: {wall:.1f} s, {spent:.1f} s of processor time, {used.ru_maxrss / 1024:.0f} MB at most so far"
            )


def planned(shard: int, count: int) -> Iterator[ib.Trial]:
    """Yield a shard's trials: cells of a hundred."""
    for first in range(0, count, DRAWS):
        cell = f"{shard}/{first}"
        condition = Condition("injected", "lindsey", cell, cell, [20], ib.Dose(0.5, "residual"), "from(trial)")
        key = TrialKey("f" * 64, "torch", 1, cell, [SteerKey(cell, 20, 0.5, "residual", 30, None)], SAMPLING, 0)
        for draw in range(min(DRAWS, count - first)):
            own = TrialKey(key.model, "torch", 1, key.prompt, key.steers, SAMPLING, draw)
            yield ib.Trial(own, condition, None, draw)


def write_shard(directory: Path, shard: int, of: int, count: int, whole: WholePlan) -> None:
    """Write one shard's store."""
    design = sweep.Design(concepts=ib.load_concepts("pairs"), arms=[sweep.Unsteered(1)], date=datetime.now(UTC).date())
    spec = {
        **ib.RunSpec(design, ib.ModelSpec("nothing")).plain(),
        "found": {"name": "nothing", "fingerprint": "f" * 64},
        "numerics": 1,
        "shard": f"{shard + 1}/{of}",
        "whole": plain(whole),
    }
    drawn = random.Random(shard)  # noqa: S311  # no secret
    trials = list(planned(shard, count))
    directory.mkdir()
    with Database.create(directory / "store.sqlite") as database:
        make_tables(database, spec, now())
        with database.transaction("the shard") as connection:
            add_planned(connection, trials, range(shard * count, shard * count + count))
            session = add_session(connection, this_process("generate")).id
            for trial in trials:
                tokens = [drawn.randrange(100_000) for _ in range(100)]
                reply = ib.Reply(" ".join(f"{token:x}" for token in tokens), tokens, "length")
                record = ib.TrialRecord(trial, reply, [ib.Receipt(40, 99, 0.5, drawn.uniform(0.5, 1.0))])
                connection.execute(INSERT_TRIAL, trial_row(record, session))
                verdict = ib.Verdict("rules", "strict4/1", "d", "c", {"affirmative": False}, success=["affirmative"])
                connection.execute(INSERT_VERDICT, verdict_row(trial.key.digest, verdict, session))


if __name__ == "__main__":
    main()
