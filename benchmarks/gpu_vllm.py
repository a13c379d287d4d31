"""The conformance suite and the speed of the injectors on a GPU machine; needs no network and no downloads.

    python3 benchmarks/gpu_vllm.py --out DIR                 one GPU: all cases
    python3 benchmarks/gpu_vllm.py --out DIR --gpus 2        the same, tensor parallel 2
    python3 benchmarks/gpu_vllm.py --out DIR --only tiny     one case; repeat it for more

Cases, each in a process of its own, on random models made here:

- torch: the suite on the torch injector, tiny Llama in float32 (reference: the suite's plain loop, on the CPU) and 1B
  in bfloat16;
- tiny: the suite on vLLM, float32, width 64, four blocks, chunked prefill and preemption forced;
- 1b: the suite on vLLM, Llama-3.2-1B's shape in bfloat16;
- fp8: the same weights as a compressed-tensors FP8-dynamic checkpoint (per channel, per token);
- speed: tokens/s of vLLM and torch, 1B in bfloat16;
- 405b: Llama-3.1-405B's width, FP8-dynamic, eight of its 126 blocks, weights made up by vLLM: receipts and tokens/s.

The reference of tiny and 1b is the torch injector on the same GPU. Written are DIR/conformance_*.txt, DIR/speed_*.json.

The machine: an NVIDIA GPU, Python 3.12, PyTorch, Transformers, vLLM and vllm-lens; docs/vllm.md says how it was run.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SRC = Path(__file__).resolve().parent.parent / "src"
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_USE_V2_MODEL_RUNNER": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}
ONE_GPU = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
SEVERAL_GPUS = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", "VLLM_ALLREDUCE_USE_SYMM_MEM": "0"}

REPLY_TOKENS = 100
RATIO = 0.5
CASES = ("torch", "tiny", "1b", "fp8", "speed", "405b")
#: Prompts of 160 tokens in chunks of at most 48, and a cache that holds about four of eight requests.
TINY_ENGINE = {"max_num_batched_tokens": 48, "block_size": 16, "num_gpu_blocks_override": 48}


#: Llama-3.2-1B's and Llama-3.1-405B's; the vocabulary is far above the tokenizer's, so that replies hardly ever end.
SHAPES: dict[str, dict[str, Any]] = {
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
    },
    "405b": {
        "hidden_size": 16384,
        "intermediate_size": 53248,
        "num_hidden_layers": 8,
        "num_attention_heads": 128,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
}


def make_model(shape: str, folder: Path) -> Path:
    """Save a random Llama with a tokenizer; returns its folder. "405b" gets no weights."""
    from introspection_bench.testing import quantise_saved_model, save_tiny_model, tiny_tokenizer

    if shape == "tiny":
        return save_tiny_model("llama", folder)
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=128256,
        max_position_embeddings=4096,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
        **SHAPES["405b" if shape == "405b" else "1b"],
    )
    tokenizer.save_pretrained(folder)
    if shape != "405b":
        torch.manual_seed(0)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = LlamaForCausalLM(config).to(torch.bfloat16)
        model.save_pretrained(folder, max_shard_size="100GB")
    else:
        config.save_pretrained(folder)
    return quantise_saved_model(folder) if shape in ("fp8", "405b") else folder


def open_vllm(shape: str, gpus: int, folder: Path) -> Any:
    from introspection_bench import open_injector

    tiny = shape == "tiny"
    return open_injector(
        "vllm-lens",
        folder,
        dtype="float32" if tiny else "bfloat16",
        tensor_parallel_size=gpus,
        max_model_len=512 if tiny else 1024,
        max_num_seqs=8 if tiny else 256,
        gpu_memory_utilization=0.5,
        engine_args={"tiny": TINY_ENGINE, "405b": {"load_format": "dummy"}}.get(shape, {}),
    )


def conformance(shape: str, gpus: int, folder: Path, out: Path) -> bool:
    """The suite on vLLM; on FP8 without the torch injector, which would need other kernels for the same weights."""
    from contextlib import ExitStack

    from introspection_bench import open_injector
    from introspection_bench.testing import run_conformance

    started = time.perf_counter()
    with ExitStack() as stack:
        injector = stack.enter_context(open_vllm(shape, gpus, folder))
        print(f"engine ready after {time.perf_counter() - started:.0f} s", flush=True)
        reference = None
        if shape != "fp8":
            dtype = "float32" if shape == "tiny" else "bfloat16"
            reference = stack.enter_context(open_injector("torch", str(folder), dtype=dtype, device="cuda"))
        report = run_conformance(injector, reference=reference, on_result=show)
    return keep(report, f"{shape}_tp{gpus}", heading(gpus), out)


def show(result: Any) -> None:
    """Print one check's outcome while the others run."""
    print(f"{result.number:>3}  {result.outcome}  {result.name}", flush=True)


def keep(report: Any, name: str, machine: str, out: Path) -> bool:
    """Write and print a report; return whether it passed."""
    text = f"{machine}\n{report}\n"
    (out / f"conformance_{name}.txt").write_text(text)
    print(text, flush=True)
    return bool(report.passed)


def torch_conformance(models: Path, out: Path) -> bool:
    """The suite on the torch injector."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from introspection_bench import open_injector
    from introspection_bench.testing import LoopInjector, run_conformance

    passed = []
    for shape, dtype in (("tiny", torch.float32), ("1b", torch.bfloat16)):
        folder = made(shape, models)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        # The loop stays on the CPU; in bfloat16 that would be slow, and round otherwise.
        reference = LoopInjector.open(copy.deepcopy(model), tokenizer=tokenizer) if shape == "tiny" else None
        with open_injector("torch", model.cuda(), tokenizer=tokenizer) as injector:
            report = run_conformance(injector, reference=reference, on_result=show)
        passed.append(keep(report, f"{shape}_torch", heading(1), out))
    return all(passed)


def speed(gpus: int, folder: Path, out: Path) -> bool:
    """Tokens/s of replies of 100 tokens to one prompt, with and without steering."""
    from introspection_bench import open_injector

    found: dict[str, Any] = {"machine": heading(gpus), "model": "1B shape, bfloat16, random weights"}
    openers = {"vllm-lens": lambda: open_vllm("1b", gpus, folder)}
    if gpus == 1:
        openers["torch"] = lambda: open_injector("torch", str(folder), dtype="bfloat16", device="cuda", batch_size=256)
    for backend, opener in openers.items():
        with opener() as injector:
            for name, steered in (("control", False), ("steered", True)):
                for replies in (64, 256):
                    rate, _ = timed(injector, replies, steered=steered)
                    found[f"{backend} {name}, {replies} replies, tokens/s"] = round(rate)
                    print(f"{backend} tp{gpus} {name}, {replies} at once: {rate:.0f} tokens/s", flush=True)
    (out / f"speed_tp{gpus}.json").write_text(json.dumps(found, indent=1) + "\n")
    return True


def wide(gpus: int, folder: Path, out: Path) -> bool:
    """The 405B's width in FP8: every receipt must state the ratio that was asked for."""
    found: dict[str, Any] = {
        "machine": heading(gpus),
        "model": "405B shape, 8 of 126 blocks, FP8-dynamic, no real weights",
    }
    started = time.perf_counter()
    with open_vllm("405b", gpus, folder) as injector:
        found["engine start, s"] = round(time.perf_counter() - started)
        for name, steered in (("control", False), ("steered", True)):
            rate, completions = timed(injector, 64, steered=steered)
            found[f"{name}, 64 replies, tokens/s"] = round(rate)
        ratios = [r for c in completions for receipt in c.receipts for r in (receipt.mean_ratio, receipt.max_ratio)]
        found["ratio asked"], found["ratios in receipts"] = RATIO, [min(ratios), max(ratios)]
    (out / f"speed_405b_tp{gpus}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(found, flush=True)
    # bfloat16 keeps 8 bits of the sum that the ratio is measured against.
    return max(abs(r - RATIO) for r in ratios) < 0.01 * RATIO


def timed(injector: Any, replies: int, *, steered: bool) -> tuple[float, list[Any]]:
    """Return tokens/s and the completions."""
    import numpy as np

    from introspection_bench import LINDSEY, Dose, Injection, Request, Sampling, Span
    from introspection_bench.testing.subject import make_vector

    prompt = LINDSEY.render(injector.tokenizer)
    layer = 2 * injector.model.n_layers // 3
    noise = np.random.default_rng(0).standard_normal(injector.model.hidden_size)
    dose, span = Dose(RATIO, "residual"), Span.from_anchor("trial")
    injections = [Injection(make_vector(noise, layer, injector), layer, dose, span)] * steered
    sampling = Sampling(1.0, max_new_tokens=REPLY_TOKENS)
    requests = [Request.of(prompt, injections, sampling, n) for n in range(replies)]
    list(injector.generate(requests[:8]))
    started = time.perf_counter()
    completions = list(injector.generate(requests))
    return sum(len(c.reply.token_ids) for c in completions) / (time.perf_counter() - started), completions


def heading(gpus: int) -> str:
    from importlib.metadata import version

    import torch
    import transformers
    import vllm

    return (
        f"{time.strftime('%Y-%m-%d')}, {gpus} of {torch.cuda.device_count()} {torch.cuda.get_device_name(0)}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}, vllm {vllm.__version__}, "
        f"vllm-lens {version('vllm-lens')}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "gpu_vllm_models")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.case:
        return not run_case(options)
    results = {}
    for case in options.only or CASES:
        settings = {**SETTINGS, **(ONE_GPU if options.gpus == 1 else SEVERAL_GPUS)}
        environment = {**os.environ, **settings}
        environment["PYTHONPATH"] = os.pathsep.join([str(SRC), *filter(None, [os.environ.get("PYTHONPATH")])])
        print(f"== {case}, {options.gpus} GPU(s)", flush=True)
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--case", case], env=environment, check=False)
        results[case] = "passed" if done.returncode == 0 else f"FAILED (exit {done.returncode})"
    print(results, flush=True)
    return any(r != "passed" for r in results.values())


def made(shape: str, models: Path) -> Path:
    """Return the folder of a random model, made once."""
    folder = models / shape
    if not (folder / "config.json").is_file():
        make_model(shape, folder)
    return folder


def run_case(options: argparse.Namespace) -> bool:
    """Run one case in this process; return whether it passed."""
    gpus, out = options.gpus, options.out
    match options.case:
        case "torch":
            return torch_conformance(options.models, out)
        case "speed":
            return speed(gpus, made("1b", options.models), out)
        case "405b":
            return wide(gpus, made("405b", options.models), out)
        case shape:
            return conformance(shape, gpus, made(shape, options.models), out)


# vLLM's worker processes import this file again.
if __name__ == "__main__":
    sys.exit(main())
