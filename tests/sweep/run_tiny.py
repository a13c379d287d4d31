"""A sweep in a process of its own, for tests that kill it: run_tiny.py MODEL_FOLDER RUN_DIRECTORY."""

from __future__ import annotations

import sys
import time

import torch
from conftest import CONCEPTS

from introspection_bench.extraction import extract
from introspection_bench.injectors.torch import TorchInjector
from introspection_bench.sweep import Grid, Sweep
from introspection_bench.trials import Sampling


def main(model: str, directory: str) -> None:
    torch.set_num_threads(1)
    injector = TorchInjector.open(model, device="cpu", batch_size=4)
    grid = Grid(
        vectors=extract(injector, CONCEPTS, [1]),
        concepts=CONCEPTS.concepts,
        magnitudes=[0.5, 2.0],
        unit="residual",
        trials=10,
        controls=10,
        sampling=Sampling(max_new_tokens=8),
    )
    # Slow enough for the parent to strike between two transactions, and inside one.
    Sweep(grid, injector, directory).run(lambda record: time.sleep(0.01))


if __name__ == "__main__":
    main(*sys.argv[1:])
