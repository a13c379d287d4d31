"""Tokens/s of the backend ``vllm`` beside plain vLLM: same card, same call, alternating rounds. One shape a command.

    python3 benchmarks/vllm_throughput.py --shape 1b --out DIR
    python3 benchmarks/vllm_throughput.py --shape 8b --out DIR --seconds 240

Two engines stand on the card at once, each in a process of its own on cores of its own; the one that isn't asked waits.
Plain is vLLM without us, CUDA graphs on, once greedy and once with its own seeded sampling. Ours: each request with
its own vector, layer, magnitude, unit and span, receipts on, our sampling. Token ids and vectors are there before the
clock starts, as in a sweep; requests are made while it runs.

Two measurements. In a round all requests begin and end together, so that what either side does before and behind its
steps is seen whole. "sustained" is what a sweep does: several times as many requests, of which so many are in flight,
another added where one ends. Every pair is written at once to DIR/throughput_SHAPE.json, so that a time-out loses
nothing. Weights are made up: the speed is that of real ones.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import gc
import itertools
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

SRC = Path(__file__).resolve().parent.parent / "src"
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    # Where it is installed it makes plain vLLM eager.
    "VLLM_LENS_DISABLE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
PROMPT_TOKENS, REPLY_TOKENS = 128, 128
IN_FLIGHT = (20, 160, 480)
CAPTURED = [8, 24, 80, 160, 256, 480, 512]
#: hidden, intermediate, blocks, heads, key and value heads, head width.
SHAPES: dict[str, tuple[int, ...]] = {
    "tiny": (64, 128, 4, 2, 1, 32),
    "1b": (2048, 8192, 16, 32, 8, 64),
    "8b": (4096, 14336, 32, 32, 8, 128),
    "405b": (16384, 53248, 8, 128, 8, 128),
}


def make_folder(shape: str, folder: Path, blocks: int | None) -> Path:
    """Write a configuration and a tokenizer; no weights. "405b" is FP8-dynamic, as many of 126 blocks as asked for."""
    from transformers import LlamaConfig

    from introspection_bench.testing import quantise_saved_model, tiny_tokenizer

    hidden, inner, layers, heads, pairs, width = SHAPES[shape]
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=1024 if shape == "tiny" else 128256,
        max_position_embeddings=4096,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=blocks or layers,
        num_attention_heads=heads,
        num_key_value_heads=pairs,
        head_dim=width,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
    )
    tokenizer.save_pretrained(folder)
    config.save_pretrained(folder)
    return quantise_saved_model(folder) if shape == "405b" else folder


def engine_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What both engines are opened with."""
    return {
        "load_format": "dummy",
        "max_num_batched_tokens": 8192,
        # Told, not found out from what is free: the two engines open at the same time.
        "kv_cache_memory_bytes": int(options.cache * 2**30),
        "compilation_config": {"cudagraph_capture_sizes": CAPTURED},
        **({"enforce_eager": True} if options.eager else {}),
    }


def chosen(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "dtype": "bfloat16",
        "max_model_len": 1024,
        "max_num_seqs": max(options.in_flight),
        "gpu_memory_utilization": options.memory,
        "tensor_parallel_size": options.gpus,
    }


def prompts(count: int, vocabulary: int) -> list[list[int]]:
    import numpy as np

    return np.random.default_rng(0).integers(6, vocabulary, (count, PROMPT_TOKENS)).tolist()


class Plain:
    """vLLM as it is; ``kind`` is "greedy" or "seeded"."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        from vllm import EngineArgs, LLMEngine

        arguments = {**engine_arguments(options), **chosen(options), "skip_tokenizer_init": True}
        self.engine = LLMEngine.from_engine_args(EngineArgs(model=str(folder), disable_log_stats=True, **arguments))
        self.vocabulary = int(self.engine.vllm_config.model_config.get_vocab_size())
        self.number = 0

    def material(self, count: int, kind: str) -> list[Any]:
        """What there is before the clock starts."""
        del kind
        return prompts(count, self.vocabulary)

    def round(self, material: list[Any], in_flight: int, kind: str) -> int:
        """Run that many requests, so many at once; return how many tokens were sampled."""
        waiting, tokens = deque(enumerate(material)), 0
        while waiting or self.engine.has_unfinished_requests():
            while waiting and self.engine.get_num_unfinished_requests() < in_flight:
                self.add(*waiting.popleft(), kind)
            tokens += sum(len(o.outputs[0].token_ids) for o in self.engine.step() if o.finished)
        return tokens

    def add(self, n: int, ids: list[int], kind: str) -> None:
        """Hand one request to the engine."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self.number += 1
        sampling = {"temperature": 0.0} if kind == "greedy" else {"temperature": 1.0, "seed": n}
        params = SamplingParams(
            max_tokens=REPLY_TOKENS, ignore_eos=True, detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY, **sampling,
        )  # fmt: skip
        # Its own salt: each prompt is prefilled, as ours are.
        prompt = {"prompt_token_ids": ids, "cache_salt": f"{self.number}"}
        self.engine.add_request(f"plain-{self.number}", prompt, params)


class Ours:
    """The backend ``vllm``; ``kind`` is "control" or "mixed"."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        from introspection_bench import open_injector

        self.injector = open_injector("vllm", folder, engine_args=engine_arguments(options), **chosen(options))
        self.engine = self.injector._engine
        self.vocabulary = int(self.engine.vllm_config.model_config.get_vocab_size())
        self.rounds, self.update = 0, ""
        self.held_update()

    def held_update(self) -> None:
        """Find a dose in the unit update that bfloat16 holds: the MLPs of made-up weights add next to nothing."""
        from introspection_bench.errors import SilentInjectionError

        for power in range(0, 30, 2):
            self.update = f"1e{power} update"
            count = 5 * self.injector.model.n_layers
            every = self.requests(self.material(count, "mixed"), "mixed")
            try:
                list(self.injector.generate([r for r in every if str(r.steers[0].unit) == "update"]))
            except SilentInjectionError:
                continue
            return
        # MLPs that add nothing at all: no multiple of it is anything.
        self.update = "0.4 residual"

    def round(self, material: list[Any], in_flight: int, kind: str) -> int:
        """As that of plain vLLM, with receipts."""
        self.injector._most = in_flight
        completions = list(self.injector.generate(self.requests(material, kind)))
        assert kind == "control" or all(c.receipts for c in completions)  # noqa: S101  # a failure ends the benchmark
        return sum(len(c.reply.token_ids) for c in completions)

    def material(self, count: int, kind: str) -> list[Any]:
        """Token ids, a seed and a vector for each request."""
        import numpy as np

        from introspection_bench.testing.subject import make_vector

        self.rounds += 1
        made = []
        for n, ids in enumerate(prompts(count, self.vocabulary)):
            seed, vector = self.rounds * 10_000 + n, None
            if kind == "mixed":
                noise = np.random.default_rng(seed).standard_normal(self.injector.model.hidden_size)
                vector = make_vector(noise, n % self.injector.model.n_layers, self.injector)
            made.append((ids, seed, vector))
        return made

    def requests(self, material: list[Any], kind: str) -> list[Any]:
        """A vector, layer, magnitude, unit and span of its own for each request."""
        from introspection_bench import Dose, Injection, Request, Sampling, Span
        from introspection_bench.prompts import RenderedPrompt

        spans = (Span.all(), Span.from_anchor("a"), Span.generation(), Span.prompt(), Span.between("a", "b"))
        doses = [Dose.parse(d) for d in ("0.5 residual", self.update, "4 absolute", "0.5 raw", "-1 projection")]
        sampling = Sampling(0.0 if kind == "greedy" else 1.0, max_new_tokens=REPLY_TOKENS)
        made = []
        for n, (ids, seed, vector) in enumerate(material):
            prompt = RenderedPrompt(ids, "", {"a": 40, "b": 90})
            injections = []
            if vector is not None:
                injections = [Injection(vector, vector.layer, doses[n % 5], spans[(n // 5) % 5])]
            made.append(Request.of(prompt, injections, sampling, seed))
        return made


def serve(role: str, folder: Path, options: argparse.Namespace) -> None:
    """Open one engine, then run the rounds that are asked for on standard input; one JSON line each."""
    import torch

    cores = sorted(os.sched_getaffinity(0))
    half = max(len(cores) // 2, 1)
    os.sched_setaffinity(0, cores[:half] if role == "plain" else cores[-half:])
    started = time.perf_counter()
    side: Any = (Plain if role == "plain" else Ours)(folder, options)
    opened = time.perf_counter() - started
    runner = side.engine.model_executor.driver_worker.worker.model_runner if options.gpus == 1 else None
    events: list[Any] = []
    if runner is not None and torch.cuda.is_available():
        real = runner.execute_model

        def execute_model(*args: Any, **kwargs: Any) -> Any:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            events.append(event)
            return real(*args, **kwargs)

        runner.execute_model = execute_model
    gc.collect()
    gc.freeze()
    say({"opened": opened, "version": version(), "update": getattr(side, "update", None)})
    for line in sys.stdin:
        asked = json.loads(line)
        material = side.material(asked["times"] * asked["in_flight"], asked["kind"])
        events.clear()
        watch = cProfile.Profile() if asked["profile"] else contextlib.nullcontext()
        started = time.perf_counter()
        with watch:
            tokens = side.round(material, asked["in_flight"], asked["kind"])
        seconds = time.perf_counter() - started
        if asked["profile"]:
            with Path(asked["profile"]).open("w") as file:
                pstats.Stats(watch, stream=file).sort_stats("cumulative").print_stats(60)
        step = None
        if events:
            torch.cuda.synchronize()
            step = statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(events))
        say({"tokens": tokens, "seconds": seconds, "step_ms": step})


def say(told: Any) -> None:
    """One line that the parent looks for among what vLLM prints."""
    print("@@" + json.dumps(told), flush=True)


def version() -> dict[str, str]:
    import torch
    import vllm

    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    return {"vllm": vllm.__version__, "torch": torch.__version__, "card": card}


def heard(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None  # noqa: S101  # for the type checker; it is a pipe
    for line in process.stdout:
        if line.startswith("@@"):
            return json.loads(line[2:])
        print(line, end="", flush=True)
    raise SystemExit(f"an engine ended with {process.wait()}")


def opened(options: argparse.Namespace) -> dict[str, subprocess.Popen[str]]:
    """Start both engines, each in a process of its own."""
    folder = options.models / f"throughput_{options.shape}_{options.blocks or 'all'}"
    if not (folder / "config.json").is_file():
        make_folder(options.shape, folder, options.blocks)
    command = [sys.executable, __file__, *sys.argv[1:], "--folder", str(folder)]
    sides = {}
    for role in ("plain", "ours"):
        sides[role] = subprocess.Popen(
            [*command, "--role", role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**SETTINGS, **os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), os.environ.get("PYTHONPATH", "")])},
        )  # fmt: skip
    for role, side in sides.items():
        told = heard(side)
        print(role, told, flush=True)
        side.opened = told  # type: ignore[attr-defined]  # its process carries it
    return sides


def measure(options: argparse.Namespace) -> None:
    """Open both engines, and alternate rounds until the time is up."""
    deadline = time.monotonic() + options.seconds
    sides = opened(options)
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "shape": options.shape,
        "command": " ".join(["python3", *sys.argv]),
        **sides["ours"].opened["version"],  # type: ignore[attr-defined]  # as above
        "opening, s": {role: side.opened["opened"] for role, side in sides.items()},  # type: ignore[attr-defined]  # as above
        "dose in the unit update": sides["ours"].opened["update"],  # type: ignore[attr-defined]  # as above
        "rounds": [],
    }
    if found["dose in the unit update"].endswith("residual"):
        found["note"] = "no dose in the unit update is held by these made-up weights: another stands in its place"

    def ask(role: str, kind: str, in_flight: int, times: int = 1, profile: str = "") -> Any:
        if time.monotonic() > deadline:
            raise TimeoutError
        asked = {"in_flight": in_flight, "kind": kind, "times": times, "profile": profile}
        stdin = sides[role].stdin
        assert stdin is not None  # noqa: S101  # for the type checker; it is a pipe
        print(json.dumps(asked), file=stdin, flush=True)
        return heard(sides[role])

    kinds = [("plain", "seeded"), ("ours", "mixed"), ("plain", "greedy"), ("ours", "control")]
    measurements = [(1, kinds), *([(options.sustained, kinds[:2])] if options.sustained else [])]
    try:
        for number in range(-1, options.rounds):
            # The first of each warms up; then, once, both are watched.
            if number == 0 and options.profile:
                for role, kind in kinds[:2]:
                    file = options.out / f"profile_{options.shape}_{role}.txt"
                    ask(role, kind, min(options.in_flight, key=lambda n: abs(n - 160)), profile=str(file))
            for in_flight in options.in_flight:
                for times, those in measurements[: None if number >= 0 else 1]:
                    # Which goes first alternates as well.
                    turn = {k: ask(r, k, in_flight, times) for r, k in (those if number % 2 else those[::-1])}
                    if number >= 0:
                        found["rounds"].append({"in flight": in_flight, "times": times, **turn})
                        found["summary"] = summary([r for r in found["rounds"] if r["times"] == 1])
                        found["sustained"] = summary([r for r in found["rounds"] if r["times"] > 1])
                        name = f"throughput_{options.shape}.json"
                        (options.out / name).write_text(json.dumps(found, indent=1) + "\n")
                        what = "summary" if times == 1 else "sustained"
                        print(what, in_flight, found[what][str(in_flight)], flush=True)
    except TimeoutError:
        return
    finally:
        for side in sides.values():
            side.kill()


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of tokens/s and of the rounds' own ratios, by requests in flight."""
    told = {}
    for in_flight in sorted({r["in flight"] for r in rounds}):
        here = [r for r in rounds if r["in flight"] == in_flight]
        kinds = [k for k in ("seeded", "mixed", "greedy", "control") if k in here[0]]
        rates = {k: [r[k]["tokens"] / r[k]["seconds"] for r in here] for k in kinds}
        told[str(in_flight)] = {
            "rounds": len(here),
            "tokens/s": {k: round(statistics.median(v)) for k, v in rates.items()},
            **{f"mixed over {k}": ratio(rates["mixed"], rates[k]) for k in ("seeded", "greedy") if k in rates},
            "step, ms": {k: statistics.median([r[k]["step_ms"] or 0 for r in here]) for k in rates},
        }
    return told


def ratio(ours: list[float], plain: list[float]) -> list[float]:
    """The median of the rounds' ratios, the least and the largest."""
    all_of_them = [a / b for a, b in zip(ours, plain, strict=True)]
    return [round(x, 3) for x in (statistics.median(all_of_them), min(all_of_them), max(all_of_them))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=540, help="no round begins later")
    parser.add_argument("--in-flight", type=int, nargs="+", default=list(IN_FLIGHT))
    parser.add_argument("--sustained", type=int, default=4, help="times as many requests as are in flight; 0: none")
    parser.add_argument("--profile", action="store_true", help="write what the host does in one round of each to OUT")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--blocks", type=int, help="another number of blocks than the shape has")
    parser.add_argument("--memory", type=float, default=0.45, help="share of a card that an engine finds free")
    parser.add_argument("--cache", type=float, default=16, help="GiB of keys and values of each engine on each card")
    parser.add_argument("--eager", action="store_true", help="without graphs, where there is no GPU")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir(), "gpu_vllm_models"))
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--role", choices=("plain", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.models.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(SRC))
    os.environ.update({k: v for k, v in SETTINGS.items() if k not in os.environ})
    if options.role:
        serve(options.role, options.folder, options)
    else:
        measure(options)
    return 0


# vLLM's worker processes import this file again.
if __name__ == "__main__":
    sys.exit(main())
