"""How the rate of a run grows with the workers of a pool on Ray: a scripted injector of fixed latency, a real model.

The rate is that from the moment at which all workers have opened to the last trial: opening is paid once and depends on
the model. Results and what they mean: docs/scale.md.

    python benchmarks/scale.py latency --latency 0.05 --workers 1 2 4 8 16
    python benchmarks/scale.py latency --latency 0 --workers 4      # where the run's process is what limits
    python benchmarks/scale.py model --workers 1 2
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import introspection_bench as ib
from introspection_bench.sweep import Design, Injected, Unsteered
from introspection_bench.testing import ScriptedInjector


def measured(sweep: ib.Sweep, workers: int, shard: int) -> tuple[float, float, int, float]:
    """Return trials/s once all workers are open, seconds until then, how many trials that rate is of, and CPU.

    The last is what this process, which plans, sends, checks and records, spent for each of them, in seconds; its
    inverse is the rate at which a core of its own would be full, whatever else the machine does.
    """
    ended: list[float] = []
    began = time.monotonic()
    all_open: list[float] = []
    spent: list[float] = []
    with ib.RayPool(workers, shard=shard).start(sweep.injector) as maker:

        def on_trial(_: object) -> None:
            ended.append(time.monotonic())
            if not all_open and maker.describe().startswith(f"{workers} of "):
                all_open.append(ended[-1])
                spent.append(time.process_time())

        sweep.generate(on_trial, on=maker)
        spent.append(time.process_time())
    start = all_open[0]
    after = [moment for moment in ended if moment > start]
    return len(after) / (after[-1] - start), start - began, len(after), (spent[-1] - spent[0]) / len(after)


def table(rows: list[tuple[int, float, float, int, float]]) -> None:
    one = rows[0][1] / rows[0][0]
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d %H:%M')}")
    print("| workers | trials/s | of linear | trials | all open after | CPU of the run's process | full at |")
    print("| --: | --: | --: | --: | --: | --: | --: |")
    for workers, rate, opening, trials, cpu in rows:
        print(
            f"| {workers} | {rate:.1f} | {rate / (one * workers):.0%} | {trials} | {opening:.0f} s "
            f"| {1e3 * cpu:.2f} ms/trial | {1 / cpu:.0f} trials/s |"
        )


def latency(options: argparse.Namespace) -> None:
    injector = ib.open_injector(ScriptedInjector, "scripted", latency_s=options.latency)
    rows = []
    for workers in options.workers:
        n = options.trials or int(workers * options.seconds / max(options.latency, 0.001))
        design = Design(
            concepts=ib.ConceptSet("two", [ib.Concept("Oceans", word="Oceans")], baseline=["Desks"]),
            layers=[1],
            doses=["0.5 residual"],
            arms=[Unsteered(n // 2), Injected(n // 2)],
        )
        with tempfile.TemporaryDirectory() as folder:
            rows.append((workers, *measured(ib.Sweep(design, injector, Path(folder) / "run"), workers, options.shard)))
    table(rows)


def model(options: argparse.Namespace) -> None:
    injector = ib.open_injector("torch", options.model, device="cpu", dtype="float32", batch_size=16)
    rows = []
    for workers in options.workers:
        n = options.trials or 96
        design = Design(
            concepts=ib.ConceptSet("two", [ib.Concept("Oceans", word="Oceans")], baseline=["Desks"]),
            layers=[23],
            doses=["0.3 residual"],
            arms=[Unsteered(n // 2), Injected(n // 2)],
            sampling=ib.Sampling(max_new_tokens=40),
        )
        with tempfile.TemporaryDirectory() as folder:
            rows.append((workers, *measured(ib.Sweep(design, injector, Path(folder) / "run"), workers, options.shard)))
    table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["latency", "model"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--latency", type=float, default=0.05, help="seconds for each reply, one after the other")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long each row takes, about")
    parser.add_argument("--trials", type=int, help="in each row, in place of --seconds")
    parser.add_argument("--shard", type=int, default=512)
    parser.add_argument("--model", default="demo")
    options = parser.parse_args()
    latency(options) if options.part == "latency" else model(options)


if __name__ == "__main__":
    main()
