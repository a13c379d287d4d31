"""Checks and measures the backend ``vllm`` on one H100 or H200, within a limit; needs no network and no downloads.

    python3 benchmarks/gpu_vllm_graphs.py --out DIR                          everything, at most 9 minutes
    python3 benchmarks/gpu_vllm_graphs.py --out DIR --only kernels tiny      some cases

Each case is a process of its own; its output goes to DIR/log.txt as it comes, its outcome to DIR/outcomes.json when it
ends, so that a time-out loses nothing. A case that the time left can't hold is told as not run.

- kernels: the Triton kernels beside torch;
- tiny: the conformance suite in float32 with graphs on, the torch injector as reference;
- 8b, 1b: benchmarks/vllm_throughput.py;
- cache: a compile cache that plain vLLM has warmed, with and without our salt;
- bfloat16, fp8: the suite on small random models with graphs on;
Asked for by name alone:

- 405b: vllm_throughput.py at the 405B's width, FP8-dynamic;
- lens: vllm_throughput.py on the 8B shape with vllm-lens beside it, 160 in flight;
- many: vllm_sweeps.py, 10,000 trials on the 8B shape with the demo's tokenizer (--tokenizer DIR);
- tp2, pp2: the suite in float32 on two cards that share each block, or have half of the blocks each;
- 8btp2: vllm_throughput.py on the 8B shape, two cards that share each block.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
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
#: The cases in order, with the seconds that each may take and the fewest that it is begun with.
CASES = {
    "kernels": (60, 15),
    "tiny": (150, 60),
    "8b": (310, 110),
    "1b": (170, 100),
    "cache": (200, 90),
    "bfloat16": (180, 50),
    "fp8": (180, 50),
}
BY_NAME = {
    "405b": (270, 150),
    "lens": (240, 150),
    "many": (240, 140),
    "tp2": (200, 60),
    "pp2": (200, 60),
    "8btp2": (300, 150),
}
#: What is timed, and runs by itself.
ALONE = ("8b", "1b", "405b", "lens", "many", "8btp2")
#: The shape of a case, and what its command is given beside it.
TIMED: dict[str, tuple[str, list[str]]] = {
    "8b": ("8b", ["--profile"]),
    "1b": ("1b", ["--cache", "6", "--lens", "160"]),
    "405b": ("405b", ["--blocks", "6", "--cache", "4", "--sustained", "2"]),
    "lens": ("8b", ["--cache", "6", "--memory", "0.3", "--in-flight", "160", "--sustained", "0", "--lens", "160"]),
    "many": ("8b", ["--sweep", "many", "--profile"]),
    "8btp2": ("8b", ["--gpus", "2", "--memory", "0.4", "--cache", "16", "--sustained", "2", "--profile"]),
}
GRAPHS: dict[str, Any] = {
    "compilation_config": {"cudagraph_capture_sizes": [1, 2, 4, 8, 16, 48]},
    "max_num_batched_tokens": 48,
    # Told, not found out from what is free: several cases run at the same time.
    "kv_cache_memory_bytes": 2**29,
}


def conformance(name: str, options: argparse.Namespace) -> bool:
    """The suite with graphs on."""
    from contextlib import ExitStack

    from gpu_vllm import keep, show

    from introspection_bench import open_injector
    from introspection_bench.testing import run_conformance

    dtype = "float32" if name in ("tiny", "tp2", "pp2") else "bfloat16"
    cards = {"tp2": {"tensor_parallel_size": 2}, "pp2": {"pipeline_parallel_size": 2}}.get(name, {})
    folder = tiny(options, quantised=name == "fp8")
    arguments = {**GRAPHS, "block_size": 16, **({"num_gpu_blocks_override": 48} if name == "tiny" else {})}
    with ExitStack() as stack:
        started = time.perf_counter()
        injector = stack.enter_context(
            open_injector(
                "vllm", folder, dtype=dtype, max_model_len=512, max_num_seqs=8, gpu_memory_utilization=0.1,
                engine_args=arguments, **cards,
            )
        )  # fmt: skip
        print(f"opened after {time.perf_counter() - started:.0f} s; reads {sorted(injector.reads)}", flush=True)
        reference = None
        if name != "fp8":
            reference = stack.enter_context(open_injector("torch", str(folder), dtype=dtype, device="cuda"))
        report = run_conformance(injector, reference=reference, on_result=show)
        return keep(report, f"graphs_{name}", machine(), options.out)


def tiny(options: argparse.Namespace, *, quantised: bool = False) -> Path:
    """A small random Llama on disk, with or without FP8-dynamic weights."""
    from introspection_bench.testing import quantise_saved_model, save_tiny_model

    folder: Path = options.models / f"graphs_tiny{'_fp8' * quantised}"
    if not (folder / "config.json").is_file():
        save_tiny_model("llama", folder)
        if quantised:
            quantise_saved_model(folder)
    return folder


def kernels(_: argparse.Namespace) -> bool:
    from kernels_and_torch import check_kernels

    print(check_kernels("cuda"), flush=True)
    return True


def cache(options: argparse.Namespace) -> bool:
    """Plain vLLM warms a cache; ours without a salt must be refused at opening, and with it must steer."""
    root = options.models / f"cache_{time.time():.0f}"
    outcomes = {}
    for step in ("plain", "unsalted", "salted"):
        environment = {**os.environ, "VLLM_CACHE_ROOT": str(root)}
        command = [sys.executable, __file__, "--out", str(options.out), "--case", f"cache {step}"]
        outcomes[step] = subprocess.run(command, env=environment, check=False).returncode
        print(step, outcomes[step], flush=True)
    return outcomes == dict.fromkeys(outcomes, 0)


def cache_step(step: str, options: argparse.Namespace) -> bool:
    from introspection_bench import open_injector
    from introspection_bench.errors import ModelError
    from introspection_bench.injectors.vllm import supported

    folder = tiny(options)
    chosen = {"dtype": "float32", "max_model_len": 512, "max_num_seqs": 8, "gpu_memory_utilization": 0.1}
    if step == "plain":
        from vllm import LLM, SamplingParams

        llm = LLM(str(folder), skip_tokenizer_init=True, **GRAPHS, **chosen)
        llm.generate({"prompt_token_ids": [1, 2, 3]}, SamplingParams(max_tokens=2, detokenize=False))
        return True
    if step == "unsalted":
        # As if the digest of our source were the same as no digest at all.
        supported.salted = lambda config: setattr(config, "additional_config", {})
    try:
        with open_injector("vllm", folder, engine_args=GRAPHS, **chosen):
            print(f"{step}: opened", flush=True)
            return step == "salted"
    except ModelError as error:
        print(f"{step}: refused: {error}", flush=True)
        return step == "unsalted"


def machine() -> str:
    import torch
    import vllm

    card = torch.cuda.get_device_name(0)
    return f"{time.strftime('%Y-%m-%d')}, {card}, torch {torch.__version__}, vllm {vllm.__version__}"


def timed(case: str, options: argparse.Namespace) -> bool:
    """A command that measures speed."""
    shape, further = TIMED[case]
    script = "vllm_sweeps.py" if case == "many" else "vllm_throughput.py"
    tokenizer = ["--tokenizer", str(options.tokenizer)] if case == "many" else []
    command = [sys.executable, str(HERE / script), "--shape", shape, "--out", str(options.out / case)]
    return (
        subprocess.run(
            [*command, *further, *tokenizer, "--seconds", f"{options.seconds - 5:.0f}"], check=False
        ).returncode
        == 0
    )


def run_case(case: str, options: argparse.Namespace) -> bool:
    """Run one case in this process; return whether it passed."""
    match case.split():
        case ["kernels"]:
            return kernels(options)
        case ["cache"]:
            return cache(options)
        case ["cache", step]:
            return cache_step(step, options)
        case [name] if name in TIMED:
            return timed(name, options)
        case [name]:
            return conformance(name, options)
    raise SystemExit(f"no case {case!r}")


def main() -> int:
    from vllm_sides import SETTINGS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=[*CASES, *BY_NAME])
    parser.add_argument("--seconds", type=float, default=535, help="when the last case is ended")
    parser.add_argument("--tokenizer", type=Path, help="a folder with the demo's tokenizer, for the case many")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir(), "gpu_vllm_models"))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.models.mkdir(parents=True, exist_ok=True)
    os.environ.update({k: v for k, v in SETTINGS.items() if k not in os.environ})
    if options.case:
        return not run_case(options.case, options)
    end, outcomes = time.monotonic() + options.seconds, {}
    with (options.out / "log.txt").open("a", buffering=1) as log:

        def run(case: str) -> None:
            most, least = {**CASES, **BY_NAME}[case]
            left = end - time.monotonic()
            outcome = outcome_of(case, min(most, left), options, log) if left >= least else "not run: no time left"
            outcomes[case] = outcome
            (options.out / "outcomes.json").write_text(json.dumps(outcomes, indent=1) + "\n")
            print(f"=== {case}: {outcome}", file=log)
            print(f"=== {case}: {outcome}", flush=True)

        asked = options.only or list(CASES)
        for case in (c for c in asked if c in ALONE):
            run(case)
        # What is not timed runs at the same time.
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(run, (c for c in asked if c not in ALONE)))
    return any(o != "passed" for o in outcomes.values())


def outcome_of(case: str, seconds: float, options: argparse.Namespace, log: Any) -> str:
    """Run a case in a process of its own, all of whose children end with it."""
    command = [sys.executable, __file__, "--out", str(options.out), "--models", str(options.models), "--case", case]
    command += ["--tokenizer", str(options.tokenizer)] if options.tokenizer else []
    started = time.monotonic()
    print(f"=== {case}, at most {seconds:.0f} s", file=log)
    process = subprocess.Popen(
        [*command, "--seconds", f"{seconds:.0f}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    timer = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        assert process.stdout is not None  # noqa: S101  # for the type checker; it is a pipe
        for line in process.stdout:
            log.write(f"{case}: {line}")
            print(f"{case}: {line}", end="", flush=True)
        process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    took = time.monotonic() - started
    if process.returncode == 0:
        return "passed"
    return (
        f"ended at its limit of {seconds:.0f} s"
        if took >= seconds - 1
        else f"failed ({process.returncode}, {took:.0f} s)"
    )


# vLLM's worker processes import this file again.
if __name__ == "__main__":
    sys.exit(main())
