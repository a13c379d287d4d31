"""A whole sweep on the backend ``vllm``, store on disk, beside the bare engine: same card, same call, in turns.

    python3 benchmarks/vllm_sweeps.py --shape 8b --tokenizer DEMO --sweep many --out DIR
    python3 benchmarks/vllm_sweeps.py --shape 405b --blocks 8 --sweep canonical --out DIR

Where the cards hold one engine at a time: ``vllm_throughput.py --in-turn --canonical``.

"many" is 10,000 injected trials of 20 tokens: 50 concepts, two layers, ten doses, ten draws. "canonical" is the sweep
of the 405B study (examples/recipe_405b.toml: 480 trials, two vectors, five magnitudes, two scaffolds, controls), its
magnitudes in the unit ``residual``: made-up weights hold none of the study's in ``update``. DEMO is a folder with the
demo's tokenizer.

The bare engine is plain vLLM, in a process of its own, with its own seeded sampling, given the same prompts at once,
one cache for the trials of a cell, as ours has. A sweep's seconds are those of ``Sweep.generate``: planned before, each
trial stored. What the host's memory was every 1,000 trials is written beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from vllm_sides import HERE, Side, add_options, prepared, serve, watching

#: The most tokens of a reply in each.
TOKENS = {"many": 20, "canonical": 200}


def design_of(name: str, injector: Any) -> Any:
    """The design, with made-up vectors."""
    import attrs
    import numpy as np

    import introspection_bench as ib
    from introspection_bench.sweep import Injected, RunSpec
    from introspection_bench.testing.subject import make_vector

    info = injector.model

    def vectors(concepts: Any, layers: Any) -> list[Any]:
        rng = np.random.default_rng(0)
        every = [(c, n) for c in concepts for n in layers]
        made = [make_vector(rng.standard_normal(info.hidden_size), n, injector) for _, n in every]
        return [attrs.evolve(v, concept=c.name) for v, (c, _) in zip(made, every, strict=True)]

    if name == "canonical":
        design = RunSpec.from_toml(HERE.parent / "examples" / "recipe_405b.toml").design
        layer = info.n_layers * 84 // 126
        doses = [f"0.{n} residual" for n in (1, 2, 3, 4, 5)]
        return attrs.evolve(design, layers=[layer], doses=doses, vectors=vectors(design.concepts, [layer]))
    concepts, layers = ib.load_concepts("lindsey2026"), (info.n_layers // 2, info.n_layers * 2 // 3)
    return ib.Design(
        concepts=concepts,
        layers=layers,
        doses=[f"{n / 20:.2f} residual" for n in range(1, 11)],
        vectors=vectors(concepts, layers),
        arms=[Injected(10)],
        sampling=ib.Sampling(1.0, max_new_tokens=TOKENS["many"]),
    )


def swept(side: Any, asked: dict[str, Any], options: argparse.Namespace) -> Any:
    """Run a sweep in a new directory; return what it took, and the host's memory as it ran."""
    from introspection_bench.sweep import Sweep

    memory: list[float] = []
    ended: Counter[str] = Counter()

    def watch(record: Any) -> None:
        if ended.total() % 1000 == 0:
            memory.append(round(resident_gb(), 3))
        ended["injected" if record.receipts else "controls"] += 1

    design = design_of(asked["sweep"], side.injector)
    side.limit(asked["in_flight"])
    with tempfile.TemporaryDirectory(dir=options.models, prefix="run_") as directory:
        started = time.perf_counter()
        sweep = Sweep(design, side.injector, directory)
        planned = time.perf_counter() - started
        watched = watching(asked["profile"])
        started = time.perf_counter()
        with watched:
            sweep.generate(watch)
        seconds = time.perf_counter() - started
        records = sweep.results().records
        told = {
            "in flight": asked["in_flight"],
            "trials": dict(ended),
            "tokens": sum(len(r.reply.token_ids) for r in records),
            "seconds": seconds,
            "planning, s": planned,
            "bytes on disk": (Path(directory) / "store.sqlite").stat().st_size,
            "host memory every 1,000 trials, GB": [*memory, round(resident_gb(), 3)],
            **receipts_of(records),
        }
        cells = [(list(t.request.prompt.token_ids), str(t.trial.condition.cell)) for t in sweep.planned]
        (options.models / "cells.json").write_text(json.dumps(cells))
    return told


def receipts_of(records: Any) -> dict[str, Any]:
    """How many trials have a receipt for each steer; that each is right was checked when it was recorded."""
    steered = [r for r in records if r.key.steers]
    right = sum(len(r.receipts) == len(r.key.steers) and all(x.mean_ratio > 0 for x in r.receipts) for r in steered)
    return {"steered trials": len(steered), "with a receipt for each steer": right}


def bare(side: Any, asked: dict[str, Any], options: argparse.Namespace) -> Any:
    """The same prompts on the engine alone."""
    cells = json.loads((options.models / "cells.json").read_text())
    side.reply_tokens = asked["tokens"]
    side.number += 1
    salts = [f"{side.number}-{cell}" for _, cell in cells]
    started = time.perf_counter()
    tokens = side.round([ids for ids, _ in cells], asked["in_flight"], "seeded", salts)
    return {"tokens": tokens, "seconds": time.perf_counter() - started}


#: What the sides are asked for beside rounds.
FURTHER = {"sweep": swept, "bare": bare}


def resident_gb() -> float:
    """What this process holds of the host's memory; with one card the engine is within it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def cards() -> list[str]:
    """What nvidia-smi says is used of each card."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    except (OSError, subprocess.CalledProcessError):
        return []


def measure(options: argparse.Namespace) -> None:
    """Open the engines, and run the sweep and the bare engine in turns."""
    deadline = time.monotonic() + options.seconds
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "shape": options.shape,
        "command": " ".join(["python3", *sys.argv]),
        "rounds": [],
    }
    tokens = TOKENS[options.sweep]
    sides = ours, plain = Side("ours", options), Side("plain", options)
    for side in sides:
        side.wait()
    found |= ours.told["version"]
    try:
        # The first warms up.
        for number in range(-1, options.rounds):
            if time.monotonic() > deadline:
                break
            in_flight = max(options.in_flight)
            told = {
                "sweep": ours.ask(kind="sweep", sweep=options.sweep, in_flight=in_flight),
                "bare": plain.ask(kind="bare", tokens=tokens, in_flight=in_flight),
                "memory of the cards": cards(),
            }
            told["sweep over bare"] = rate(told["sweep"]) / rate(told["bare"])
            if number == options.rounds - 1 and options.profile:
                file = options.out / f"profile_{options.sweep}.txt"
                ours.ask(kind="sweep", sweep=options.sweep, in_flight=in_flight, profile=str(file))
            print(number, told, flush=True)
            if number >= 0:
                found["rounds"].append(told)
                (options.out / f"sweep_{options.sweep}.json").write_text(json.dumps(found, indent=1) + "\n")
    finally:
        for side in sides:
            side.end()


def rate(told: dict[str, Any]) -> float:
    """Tokens/s."""
    return float(told["tokens"] / told["seconds"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--sweep", choices=("many", "canonical"), required=True)
    parser.add_argument("--rounds", type=int, default=2, help="after one that warms up")
    parser.add_argument("--profile", action="store_true", help="write what the host does in one more sweep to OUT")
    options = prepared(parser)
    if options.role:
        serve(options.role, options.folder, options, FURTHER)
    else:
        measure(options)
    return 0


# vLLM's worker processes import this file again.
if __name__ == "__main__":
    sys.exit(main())
