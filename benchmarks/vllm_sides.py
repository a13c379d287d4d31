"""The engines that the benchmarks of the backend ``vllm`` set beside each other, each in a process of its own.

Plain is vLLM without us, CUDA graphs on. Ours gives each request its own vector, layer, magnitude, unit and span, with
receipts and our sampling. Lens is the backend ``vllm-lens``. Weights are made up: the speed is that of real ones.
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
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SRC = HERE.parent / "src"
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


def make_folder(options: argparse.Namespace, folder: Path) -> Path:
    """Write a configuration and a tokenizer; no weights. "405b" is FP8-dynamic, as many of 126 blocks as asked for."""
    from transformers import AutoTokenizer, LlamaConfig

    from introspection_bench.testing import quantise_saved_model, tiny_tokenizer

    shape, blocks = options.shape, options.blocks
    hidden, inner, layers, heads, pairs, width = SHAPES[shape]
    given = options.tokenizer
    tokenizer = tiny_tokenizer() if given is None else AutoTokenizer.from_pretrained(given)
    vocabulary = 128256 if given is None else len(tokenizer)
    config = LlamaConfig(
        vocab_size=1024 if shape == "tiny" and given is None else vocabulary,
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
        "compilation_config": {"cudagraph_capture_sizes": options.captured},
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
        self.rounds, self.number, self.reply_tokens = 0, 0, options.reply_tokens

    def material(self, count: int, kind: str) -> list[Any]:
        """What there is before the clock starts."""
        del kind
        return prompts(count, self.vocabulary)

    def round(self, material: list[Any], in_flight: int, kind: str, salts: Sequence[str] = ()) -> int:
        """Run that many requests, so many at once; return how many tokens were sampled.

        By default each has a salt of its own, so that each prompt is prefilled, as ours are.
        """
        self.rounds += 1
        own = [f"{self.rounds}-{n}" for n in range(len(material))]
        waiting, tokens = deque(zip(range(len(material)), material, salts or own, strict=True)), 0
        while waiting or self.engine.has_unfinished_requests():
            while waiting and self.engine.get_num_unfinished_requests() < in_flight:
                self.add(*waiting.popleft(), kind)
            tokens += sum(len(o.outputs[0].token_ids) for o in self.engine.step() if o.finished)
        return tokens

    def add(self, n: int, ids: list[int], salt: str, kind: str) -> None:
        """Hand one request to the engine."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self.number += 1
        sampling = {"temperature": 0.0} if kind == "greedy" else {"temperature": 1.0, "seed": n}
        params = SamplingParams(
            max_tokens=self.reply_tokens, ignore_eos=True, detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY, **sampling,
        )  # fmt: skip
        prompt = {"prompt_token_ids": ids, "cache_salt": salt}
        self.engine.add_request(f"plain-{self.number}", prompt, params)


class Ours:
    """The backend ``vllm``; ``kind`` is "control" or "mixed"."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.injector: Any = self.opened(folder, options)
        self.reply_tokens = options.reply_tokens
        self.engine = self.injector._engine
        self.vocabulary = int(self.engine.vllm_config.model_config.get_vocab_size())
        self.rounds, self.update = 0, options.update
        if not self.update:
            self.held_update()

    def opened(self, folder: Path, options: argparse.Namespace) -> Any:
        """Return the injector."""
        from introspection_bench import open_injector

        return open_injector("vllm", folder, engine_args=engine_arguments(options), **chosen(options))

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
        self.limit(in_flight)
        completions = list(self.injector.generate(self.requests(material, kind)))
        assert kind == "control" or all(c.receipts for c in completions)  # noqa: S101  # a failure ends the benchmark
        return sum(len(c.reply.token_ids) for c in completions)

    def limit(self, in_flight: int) -> None:
        """Have no more requests than that in flight."""
        self.injector._most = in_flight

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
        sampling = Sampling(0.0 if kind == "greedy" else 1.0, max_new_tokens=self.reply_tokens)
        made = []
        for n, (ids, seed, vector) in enumerate(material):
            prompt = RenderedPrompt(ids, "", {"a": 40, "b": 90})
            injections = []
            if vector is not None:
                injections = [Injection(vector, vector.layer, doses[n % 5], spans[(n // 5) % 5])]
            made.append(Request.of(prompt, injections, sampling, seed))
        return made


class Lens(Ours):
    """The backend ``vllm-lens``, asked for the same, but for the unit ``update``."""

    def opened(self, folder: Path, options: argparse.Namespace) -> Any:
        """Return the injector, which is eager whatever it is told."""
        from introspection_bench import open_injector

        ours = ("compilation_config", "enforce_eager")
        arguments = {k: v for k, v in engine_arguments(options).items() if k not in ours}
        return open_injector("vllm-lens", folder, engine_args=arguments, **chosen(options))

    def held_update(self) -> None:
        """Do without: finding one takes it minutes."""
        self.update = "0.4 residual"

    def limit(self, in_flight: int) -> None:
        """Have no more requests than that in flight."""
        self.injector._window = in_flight


SIDES = {"plain": Plain, "ours": Ours, "lens": Lens}
#: What each side's process is started with beside SETTINGS.
ENVIRONMENT = {"lens": {"VLLM_LENS_DISABLE": "0", "VLLM_USE_V2_MODEL_RUNNER": "0"}}


def serve(role: str, folder: Path, options: argparse.Namespace, further: Any = None) -> None:
    """Open one engine, then run the rounds that are asked for on standard input; one JSON line each."""
    import torch

    cores = sorted(os.sched_getaffinity(0))
    half = max(len(cores) // 2, 1)
    if options.gpus == 1:
        os.sched_setaffinity(0, cores[:half] if role == "plain" else cores[-half:])
    started = time.perf_counter()
    side: Any = SIDES[role](folder, options)
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
        if further is not None and asked["kind"] in further:
            say(further[asked["kind"]](side, asked, options))
            continue
        material = side.material(asked["times"] * asked["in_flight"], asked["kind"])
        events.clear()
        watched = watching(asked["profile"])
        started = time.perf_counter()
        with watched:
            tokens = side.round(material, asked["in_flight"], asked["kind"])
        seconds = time.perf_counter() - started
        step = None
        if events:
            torch.cuda.synchronize()
            step = statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(events))
        say({"tokens": tokens, "seconds": seconds, "step_ms": step})


@contextlib.contextmanager
def watching(path: str) -> Iterator[None]:
    """Write what the host does meanwhile, where a path is given."""
    if not path:
        yield
        return
    watch = cProfile.Profile()
    with watch:
        yield
    with Path(path).open("w") as file:
        pstats.Stats(watch, stream=file).sort_stats("cumulative").print_stats(100)


def say(told: Any) -> None:
    """One line that the parent looks for among what vLLM prints."""
    print("@@" + json.dumps(told), flush=True)


def version() -> dict[str, str]:
    import torch
    import vllm

    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    return {"vllm": vllm.__version__, "torch": torch.__version__, "card": card}


class Side:
    """An engine in a process of its own, with what it said when it had opened."""

    def __init__(self, role: str, options: argparse.Namespace) -> None:
        folder = options.models / f"{options.shape}_{options.blocks or 'all'}_{'demo' if options.tokenizer else 'tiny'}"
        if not (folder / "config.json").is_file():
            make_folder(options, folder)
        path = os.pathsep.join([str(SRC), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, *sys.argv, "--folder", str(folder), "--role", role]
        self.role = role
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**SETTINGS, **os.environ, **ENVIRONMENT.get(role, {}), "PYTHONPATH": path},
        )  # fmt: skip
        self.told: Any = None

    def wait(self) -> None:
        """Wait until it has opened."""
        self.told = self.heard()
        print(self.role, self.told, flush=True)

    def ask(self, **asked: Any) -> Any:
        """Have it do something, and return what came of it."""
        assert self.process.stdin is not None  # noqa: S101  # for the type checker; it is a pipe
        print(json.dumps({"times": 1, "profile": "", **asked}), file=self.process.stdin, flush=True)
        return self.heard()

    def heard(self) -> Any:
        """The next line that is told, among what vLLM prints."""
        assert self.process.stdout is not None  # noqa: S101  # for the type checker; it is a pipe
        for line in self.process.stdout:
            if line.startswith("@@"):
                return json.loads(line[2:])
            print(line, end="", flush=True)
        raise SystemExit(f"{self.role} ended with {self.process.wait()}")

    def end(self) -> None:
        """End it and all of its workers, and wait until the cards are free again."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every benchmark of these engines can be told."""
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=540, help="nothing is begun later")
    parser.add_argument("--in-flight", type=int, nargs="+", default=list(IN_FLIGHT))
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--blocks", type=int, help="another number of blocks than the shape has")
    parser.add_argument("--memory", type=float, default=0.45, help="share of a card that an engine finds free")
    parser.add_argument("--cache", type=float, default=16, help="GiB of keys and values of each engine on each card")
    parser.add_argument("--captured", type=int, nargs="+", default=CAPTURED, help="the sizes of batches with a graph")
    parser.add_argument("--reply-tokens", type=int, default=REPLY_TOKENS)
    parser.add_argument("--tokenizer", type=Path, help="a folder with a tokenizer, whose vocabulary the model has")
    parser.add_argument(
        "--update", default="", help="the dose that stands for the unit update; by default it is sought"
    )
    parser.add_argument("--eager", action="store_true", help="without graphs, where there is no GPU")
    parser.add_argument(
        "--in-turn", action="store_true", help="one engine after the other: both don't fit on the cards"
    )
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir(), "gpu_vllm_models"))
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--role", choices=SIDES, help=argparse.SUPPRESS)


def prepared(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse, and settle folders and environment."""
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.models.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(SRC))
    os.environ.update({k: v for k, v in SETTINGS.items() if k not in os.environ})
    return options
