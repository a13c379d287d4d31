"""The conformance suite and the speed of the vLLM injector on a GPU machine; needs no network and no downloads.

    python3 benchmarks/gpu_vllm.py --out DIR                 one GPU: conformance, speed
    python3 benchmarks/gpu_vllm.py --out DIR --gpus 2        the same, tensor parallel 2
    python3 benchmarks/gpu_vllm.py --out DIR --only tiny     tiny or 1b alone

Models are random and made here: "tiny" (float32, width 64, four blocks; chunked prefill and preemption are forced)
and "1b" (Llama-3.2-1B's shape in bfloat16). Each case runs in a process of its own, prints what it finds, and writes
DIR/CASE.txt and DIR/speed.json. The torch injector on the same GPU is the reference, and the speed compared with.

The machine: an NVIDIA GPU, Python 3.12, PyTorch, Transformers, vLLM and vllm-lens; docs/vllm.md says how it was run.
"""

from __future__ import annotations

import argparse
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
#: Prompts of 160 tokens in chunks of at most 48, and a cache that holds about four of eight requests.
TINY_ENGINE = {"max_num_batched_tokens": 48, "block_size": 16, "num_gpu_blocks_override": 48}


def make_model(shape: str, folder: Path) -> Path:
    """Save a random Llama with a tokenizer; returns its folder."""
    from introspection_bench.testing import save_tiny_model, tiny_tokenizer

    if shape == "tiny":
        return save_tiny_model("llama", folder)
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=128256,  # the real one's, far above the tokenizer's: replies hardly ever hit the end token
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=4096,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def open_vllm(shape: str, gpus: int, folder: Path) -> Any:
    from introspection_bench import open_injector

    tiny = shape == "tiny"
    return open_injector(
        "vllm",
        folder,
        dtype="float32" if tiny else "bfloat16",
        tensor_parallel_size=gpus,
        max_model_len=512,
        max_num_seqs=8 if tiny else 256,
        gpu_memory_utilization=0.5,
        engine_args=TINY_ENGINE if tiny else {},
    )


def conformance(shape: str, gpus: int, folder: Path, out: Path) -> bool:
    from introspection_bench import open_injector
    from introspection_bench.testing import run_conformance

    started = time.perf_counter()
    with open_vllm(shape, gpus, folder) as injector:
        print(f"engine ready after {time.perf_counter() - started:.0f} s", flush=True)
        dtype = "float32" if shape == "tiny" else "bfloat16"
        with open_injector("torch", str(folder), dtype=dtype, device="cuda") as reference:
            report = run_conformance(injector, reference=reference, on_result=lambda r: print(r, flush=True))
    text = f"{heading(gpus)}\n{report}\n"
    (out / f"conformance_{shape}_tp{gpus}.txt").write_text(text)
    print(text, flush=True)
    return report.passed


def speed(gpus: int, folder: Path, out: Path) -> bool:
    """Tokens/s of 256 replies of 100 tokens to one prompt of about 100 tokens, with and without steering."""
    import numpy as np

    from introspection_bench import Injection, Sampling, Span, open_injector
    from introspection_bench.injectors.base import Request
    from introspection_bench.scaffolds import load_scaffold
    from introspection_bench.testing.subject import make_vector

    found: dict[str, Any] = {"machine": heading(gpus)}
    openers = {"vllm": lambda: open_vllm("1b", gpus, folder)}
    if gpus == 1:
        openers["torch"] = lambda: open_injector("torch", str(folder), dtype="bfloat16", device="cuda", batch_size=256)
    for backend, opener in openers.items():
        with opener() as injector:
            prompt = load_scaffold("lindsey").render(injector.tokenizer)
            layer = 2 * injector.model.n_layers // 3
            noise = np.random.default_rng(0).standard_normal(injector.model.hidden_size)
            injection = Injection(
                make_vector(noise, layer, injector), layer, 0.5, "residual", Span.from_anchor("trial")
            )
            for name, chosen in (("control", None), ("steered", injection)):
                for replies in (64, 256):
                    sampling = Sampling(1.0, max_new_tokens=REPLY_TOKENS)
                    requests = [Request(prompt, chosen, sampling, n) for n in range(replies)]
                    list(injector.generate(requests[:8]))
                    started = time.perf_counter()
                    tokens = sum(len(c.reply.token_ids) for c in injector.generate(requests))
                    rate = tokens / (time.perf_counter() - started)
                    found[f"{backend} {name}, {replies} replies"] = round(rate)
                    print(f"{backend} tp{gpus} {name}, {replies} at once: {rate:.0f} tokens/s", flush=True)
    (out / f"speed_tp{gpus}.json").write_text(json.dumps(found, indent=1) + "\n")
    return True


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
    parser.add_argument("--only", choices=["tiny", "1b", "speed"])
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "gpu_vllm_models")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.case:
        return not run_case(options)
    results = {}
    for case in ("tiny", "1b", "speed") if options.only is None else (options.only,):
        settings = {**SETTINGS, **(ONE_GPU if options.gpus == 1 else SEVERAL_GPUS)}
        environment = {**os.environ, **settings}
        environment["PYTHONPATH"] = os.pathsep.join([str(SRC), *filter(None, [os.environ.get("PYTHONPATH")])])
        print(f"== {case}, {options.gpus} GPU(s)", flush=True)
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--case", case], env=environment, check=False)
        results[case] = "passed" if done.returncode == 0 else f"FAILED (exit {done.returncode})"
    print(results, flush=True)
    return any(r != "passed" for r in results.values())


def run_case(options: argparse.Namespace) -> bool:
    shape = "tiny" if options.case == "tiny" else "1b"
    folder = options.models / shape
    if not (folder / "config.json").is_file():
        make_model(shape, folder)
    if options.case == "speed":
        return speed(options.gpus, folder, options.out)
    return conformance(options.case, options.gpus, folder, options.out)


# vLLM's worker processes import this file again.
if __name__ == "__main__":
    sys.exit(main())
