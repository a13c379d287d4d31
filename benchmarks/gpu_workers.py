"""Workers on Ray with the backend ``vllm``, a GPU each: one process, one worker, and as many as there are GPUs.

    python3 benchmarks/gpu_workers.py --out DIR --tokenizer DEMO          # a host with two GPUs; no network

The 8B shape with made-up weights in bfloat16, in each row the "many" sweep of benchmarks/vllm_sweeps.py (10,000
injected trials of 20 tokens by default). A row's rate is that from the moment at which all its workers have opened; in
its own process the run goes by ``Sweep.generate`` without a pool. What is on disk is compared behind each row: the same
keys, and a receipt for every steer. DIR/workers.json has each row as soon as it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vllm_sides import SETTINGS, make_folder

HERE = Path(__file__).resolve().parent


def row(injector: Any, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run the sweep in a new directory; 0 workers is this process alone."""
    import attrs
    from scale import measured
    from vllm_sweeps import design_of

    import introspection_bench as ib
    from introspection_bench.sweep import Injected

    design = attrs.evolve(design_of("many", injector), arms=[Injected(max(options.trials // 1000, 1))])
    with tempfile.TemporaryDirectory() as folder:
        sweep = ib.Sweep(design, injector, Path(folder) / "run")
        began = time.perf_counter()
        if workers:
            rate, opening, counted, cpu = measured(sweep, workers, options.shard)
            told = {"trials/s": rate, "all open after, s": opening, "counted": counted, "CPU a trial, ms": 1e3 * cpu}
        else:
            sweep.generate()
            told = {"trials/s": len(sweep.planned) / (time.perf_counter() - began)}
        records = sweep.results().records
        right = sum(len(r.receipts) == len(r.key.steers) and bool(r.receipts) for r in records)
        with sweep.open_store() as store:
            made = {str(session.process.worker): session.trials for session in store.sessions()}
    keys = sorted(r.key.digest for r in records)
    told |= {"workers": workers, "trials": len(records), "with receipts": right, "made by": made}
    return {**told, "keys": keys, "replies": {r.key.digest: list(r.reply.token_ids) for r in records}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, help="a folder with a chat tokenizer, the demo's for instance")
    parser.add_argument("--shape", default="8b")
    parser.add_argument("--blocks", type=int, help="how many of the shape's; by default all")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shard", type=int, default=640)
    parser.add_argument("--in-flight", type=int, default=160)
    parser.add_argument("--cache", type=int, default=8, help="GiB of each engine")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    # Workers inherit them: their Ray is started by this process.
    os.environ.update({k: v for k, v in SETTINGS.items() if k not in os.environ})
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])

    from introspection_bench import open_injector

    folder = make_folder(options, Path(tempfile.mkdtemp()) / options.shape)
    injector = open_injector(
        "vllm", str(folder), dtype="bfloat16", max_model_len=1024, max_num_seqs=options.in_flight,
        # This process's own engine shares a card with a worker's.
        gpu_memory_utilization=0.4,
        engine_args={
            "load_format": "dummy",
            "kv_cache_memory_bytes": options.cache * 2**30,
            "compilation_config": {"cudagraph_capture_sizes": [8, 80, options.in_flight]},
        },
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    first: tuple[list[str], dict[str, list[int]]] = ([], {})
    for workers in options.workers:
        told = row(injector, workers, options)
        keys, replies = told.pop("keys"), told.pop("replies")
        if rows:
            told["same keys as the first row"] = keys == first[0]
            told["same replies as the first row"] = sum(replies[k] == first[1].get(k) for k in replies) / len(replies)
        else:
            first = keys, replies
        rows.append(told)
        print(told, flush=True)
        found = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python3", *sys.argv]), "rows": rows}
        (options.out / "workers.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
