r"""What 100,000 trials cost before and after they are run: planning, the store, reading it, the frame.

    python benchmarks/planning.py             # about a minute, 2 GB

No model is run: vectors are random, replies and verdicts are the same few words. The tokenizer is the demo's.
"""

from __future__ import annotations

import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs
import numpy as np
from transformers import AutoTokenizer

import introspection_bench as ib
from introspection_bench import arms
from introspection_bench.demo_model import smollm2_path
from introspection_bench.sweep import Ground, ModelSpec, RunSpec
from introspection_bench.sweep.places import by_place

INFO = ib.ModelInfo("model", "f" * 64, 30, 576, "float32")


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:44} {time.perf_counter() - started:6.1f} s   peak so far {peak:.2f} GB")


def main() -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores")
    concepts = ib.load_concepts("lindsey2026")
    rng = np.random.default_rng(0)
    made = ib.Provenance("word", "model", "f" * 64, "p" * 64, 101, -1, 1.0, 0.5)
    layers = range(10)
    vectors = [ib.ConceptVector(rng.standard_normal(576), c.name, n, made) for c in concepts for n in layers]
    design = ib.Design(
        concepts=concepts,
        layers=list(layers),
        doses=[ib.Dose(round(0.1 * n, 1), "residual") for n in range(1, 11)],
        arms=[arms.Injected(20), arms.Unsteered(100)],
    )
    tokenizer = AutoTokenizer.from_pretrained(smollm2_path())
    ground = Ground(INFO, "torch", 1, tokenizer, design.day, by_place(design, vectors, INFO.n_layers))
    with timed("planning"):
        planned = design.ask(ground, [])
    print(f"{len(planned):,} trials")
    spec = RunSpec(attrs.evolve(design, date=design.day), ModelSpec("model"), found=INFO, numerics=1)
    records = [finished(trial.trial) for trial in planned]
    with tempfile.TemporaryDirectory() as folder:
        with timed("writing a judged run"):
            ib.Store.create_from_records(Path(folder) / "run", spec.plain(), records).close()
        del records
        with timed("opening it, all records"), ib.Store.open(Path(folder) / "run") as store:
            results = store.results()
        with timed("their frame"):
            frame = results.frame()
        assert len(frame) == len(planned)  # noqa: S101  # a benchmark of nothing would be fast


def finished(trial: ib.Trial) -> ib.TrialRecord:
    reply = ib.Reply("I do not detect any injected thought. " * 3, tuple(range(40)), "length")
    receipts = [ib.Receipt(30, 39, 0.3, 0.31) for _ in trial.key.steers]
    answers = {"affirmative": False, "identifies": False, "immediate": None, "coherent": True}
    verdict = ib.Verdict("rules", "strict4/1", "d" * 64, str(trial.condition.asked), answers)
    return ib.TrialRecord(trial, reply, receipts, [verdict])


if __name__ == "__main__":
    main()
