"""Checks and measures vLLM's workers on Ray on two GPUs of one host, within a limit; needs no network and no downloads.

    python3 benchmarks/gpu_ray.py --out DIR                          everything, at most 9 minutes
    python3 benchmarks/gpu_ray.py --out DIR --only same              equality alone

Every engine is a process of its own, with a Ray of its own where it uses one; what came of it is in DIR/ray.json as
soon as it ends, its output in DIR/log.txt, so that a time-out loses nothing.

- same: a tiny random model in float32; greedy replies and receipts of tensor parallel 2 and pipeline parallel 2 on Ray,
  with both backends, beside those of the same backend's engine on one GPU; then a worker is killed, which must be
  CaptureError within a minute;
- speed: the 1B shape in bfloat16 with made-up weights; steered tokens/s of the backend ``vllm`` on Ray and on vLLM's
  own worker processes ("mp"), 160 requests in flight.

Ray must be importable (``ray`` 2.60.0 and ``msgpack``; without its dashboard, jars and libraries it works as well).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src"), str(HERE.parent / "tests" / "vllm")]

LAYOUTS = {"one": {}, "tp2": {"tensor_parallel_size": 2}, "pp2": {"pipeline_parallel_size": 2}}
BACKENDS = ("vllm", "vllm-lens")
#: Seconds that an engine may take at most, opening and all.
MOST = {"same": 170, "speed": 200}
IN_FLIGHT, ROUNDS = 160, 4


def cases(only: list[str]) -> list[str]:
    """The names of what is run, in order: what is asked, by which backend, in which layout, on which executor."""
    made = []
    if "same" in only:
        made += [f"same {b} one mp" for b in BACKENDS]
        made += [f"same {b} {layout} ray" for layout in ("tp2", "pp2") for b in BACKENDS]
    if "speed" in only:
        made += [f"speed vllm {layout} {executor}" for layout in ("tp2", "pp2") for executor in ("ray", "mp")]
    return made


def start_ray() -> None:
    """A Ray of this process's own, which the engine's process finds by the environment."""
    import ray

    print("ray", ray.__version__, flush=True)
    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False)
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address


def layout_of(layout: str, executor: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an injector is opened with: its own arguments, and the engine's."""
    if executor == "ray":
        start_ray()
    return LAYOUTS[layout], {} if layout == "one" else {"distributed_executor_backend": executor}


def same(backend: str, layout: str, executor: str, options: argparse.Namespace) -> dict[str, Any]:
    """Replies and receipts; on Ray, a worker is killed at the end."""
    from mixed_batches import mixed_batch

    from introspection_bench import open_injector
    from introspection_bench.errors import CaptureError
    from introspection_bench.testing import save_tiny_model

    folder = options.models / f"tiny_{os.getpid()}"
    save_tiny_model("llama", folder)
    chosen, engine = layout_of(layout, executor)
    graphs = {"compilation_config": {"cudagraph_capture_sizes": [1, 2, 4, 8]}, "max_num_batched_tokens": 48}
    eager = {"enforce_eager": True} if options.cpu else graphs
    engine |= {**({} if options.cpu else {"kv_cache_memory_bytes": 2**29}), **(eager if backend == "vllm" else {})}
    with open_injector(
        backend, folder, dtype="float32", max_model_len=256, max_num_seqs=8, gpu_memory_utilization=0.1,
        engine_args=engine, **chosen,
    ) as injector:  # fmt: skip
        asked = mixed_batch(injector, lengths=[9, 40, 12, 30, 5] * 4, tokens=12)
        found = sorted(injector.generate(asked), key=lambda c: c.index)
        told: dict[str, Any] = {
            "reads": sorted(injector.reads),
            "tokens": [list(c.reply.token_ids) for c in found],
            "receipts": [
                [r.prompt_positions, r.generation_positions, r.mean_ratio, r.max_ratio]
                for c in found
                for r in c.receipts
            ],
        }
        if executor == "ray":
            os.kill(a_worker(), signal.SIGKILL)
            began = time.perf_counter()
            try:
                list(injector.generate(asked))
                told["killed"] = "went on as if nothing had happened"
            except CaptureError as error:
                told["killed"] = f"CaptureError after {time.perf_counter() - began:.1f} s: {error}"[:120]
    return told


def a_worker() -> int:
    """The process of the last of this engine's workers on Ray."""
    import psutil

    found = [p for p in psutil.Process().children(recursive=True) if "RayWorker" in " ".join(p.cmdline())]
    return int(found[-1].pid)


def speed(backend: str, layout: str, executor: str, options: argparse.Namespace) -> dict[str, Any]:
    """Steered tokens/s."""
    import torch
    from vllm_sides import Ours, chosen, engine_arguments, make_folder

    from introspection_bench import open_injector

    settings = argparse.Namespace(
        shape="1b", blocks=None, tokenizer=None, in_flight=[IN_FLIGHT], memory=0.45, cache=6, captured=[8, 80, 160],
        reply_tokens=128, update="0.4 residual", eager=False, gpus=1,
    )  # fmt: skip
    given, engine = layout_of(layout, executor)

    class Opened(Ours):
        def opened(self, folder: Path, options: argparse.Namespace) -> Any:
            arguments = {**engine_arguments(options), **engine}
            return open_injector(backend, folder, engine_args=arguments, **{**chosen(options), **given})

    started = time.perf_counter()
    side = Opened(make_folder(settings, options.models / f"1b_{os.getpid()}"), settings)
    opened = time.perf_counter() - started
    rates = []
    for _ in range(ROUNDS + 1):
        material = side.material(2 * IN_FLIGHT, "mixed")
        began = time.perf_counter()
        tokens = side.round(material, IN_FLIGHT, "mixed")
        rates.append(tokens / (time.perf_counter() - began))
        print(f"{rates[-1]:.0f} tokens/s", flush=True)
    side.injector.close()
    told = {"opened, s": round(opened, 1), "tokens/s": round(statistics.median(rates[1:])), "rounds": rates[1:]}
    return told | {"machine": f"{torch.cuda.device_count()} {torch.cuda.get_device_name(0)}"}


def run_case(name: str, options: argparse.Namespace) -> None:
    """Run one case in this process, and leave what came of it."""
    what, backend, layout, executor = name.split()
    told = {"same": same, "speed": speed}[what](backend, layout, executor, options)
    (options.out / f"{name.replace(' ', '_')}.json").write_text(json.dumps(told) + "\n")


def outcome_of(name: str, options: argparse.Namespace, log: Any, left: float) -> dict[str, Any]:
    """Run a case in a process of its own, all of whose children end with it."""
    from vllm_sides import ENVIRONMENT, SETTINGS

    what, backend, *_ = name.split()
    limit = min(MOST[what], left)
    if limit < 30:
        return {"failed": "not begun: no time left"}
    command = [sys.executable, __file__, "--out", str(options.out), "--models", str(options.models), "--case", name]
    lens = ENVIRONMENT["lens"] if backend == "vllm-lens" else {}
    environment = {**SETTINGS, **os.environ, **lens, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    process = subprocess.Popen(
        [*command, *["--cpu"] * options.cpu], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env=environment,
    )  # fmt: skip
    timer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    began = time.monotonic()
    assert process.stdout is not None  # noqa: S101  # for the type checker; it is a pipe
    for line in process.stdout:
        log.write(f"{name}: {line}")
    process.wait()
    timer.cancel()
    took = time.monotonic() - began
    path = options.out / f"{name.replace(' ', '_')}.json"
    told = json.loads(path.read_text()) if path.is_file() else {"failed": f"exit status {process.returncode}"}
    path.unlink(missing_ok=True)
    return {**told, "took, s": round(took, 1)}


def compared(found: dict[str, Any]) -> dict[str, str]:
    """What the engines on Ray say beside the one on one GPU."""
    told = {}
    for backend, layout in itertools.product(BACKENDS, ("tp2", "pp2")):
        mine, other = (found.get(f"same {backend} {at}") for at in (f"{layout} ray", "one mp"))
        if not mine or not other or "failed" in mine or "failed" in other:
            continue
        equal = sum(a == b for a, b in zip(mine["tokens"], other["tokens"], strict=True))
        places = all(a[:2] == b[:2] for a, b in zip(mine["receipts"], other["receipts"], strict=True))
        pairs = zip(mine["receipts"], other["receipts"], strict=True)
        apart = max(abs(a[2] - b[2]) / max(abs(b[2]), 1e-6) for a, b in pairs)
        told[f"{backend} {layout}"] = (
            f"{equal} of {len(mine['tokens'])} replies equal, {len(mine['receipts'])} receipts, "
            f"same positions: {places}, ratios apart by at most {apart:.1e}; killed: {mine.get('killed')}"
        )
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(MOST), default=list(MOST))
    parser.add_argument("--seconds", type=float, default=540, help="when the last engine is ended")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir(), "gpu_ray_models"))
    parser.add_argument("--cpu", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.models.mkdir(parents=True, exist_ok=True)
    if options.case:
        run_case(options.case, options)
        return 0
    end, found = time.monotonic() + options.seconds, {}
    with (options.out / "log.txt").open("a", buffering=1) as log:

        def run(name: str) -> None:
            told = found[name] = outcome_of(name, options, log, end - time.monotonic())
            kept = {"date": time.strftime("%Y-%m-%d"), "compared": compared(found), "cases": found}
            (options.out / "ray.json").write_text(json.dumps(kept, indent=1) + "\n")
            shown = {k: v for k, v in told.items() if k not in ("tokens", "receipts", "rounds")}
            print(f"{name}: {shown}", flush=True)

        asked = cases(options.only)
        # What is timed has the cards to itself; the rest goes two at a time.
        for name in (n for n in asked if n.startswith("speed")):
            run(name)
        with ThreadPoolExecutor(1 if options.cpu else 2) as pool:
            list(pool.map(run, (n for n in asked if n.startswith("same"))))
    for name, told in compared(found).items():
        print(f"{name}: {told}", flush=True)
    return any("failed" in told for told in found.values())


# vLLM's worker processes import this file again.
if __name__ == "__main__":
    sys.exit(main())
