"""A sweep in a process of its own: run_tiny.py MODEL_FOLDER RUN_DIRECTORY [TRIALS].

With a number it kills itself (SIGKILL) as soon as it has recorded so many trials.
"""

from __future__ import annotations

import os
import signal
import sys

import torch
from conftest import CONCEPTS

from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.sweep import Design, Injected, Sweep, Unsteered
from introspection_bench.trials import Sampling


def main(model: str, directory: str, kill_after: str = "0") -> None:
    torch.set_num_threads(1)
    injector = TorchInjector.open(model, device="cpu", batch_size=4)
    design = Design(
        concepts=CONCEPTS,
        layers=[1],
        doses=["0.5 residual", "2 residual"],
        arms=[Unsteered(10), Injected(10)],
        sampling=Sampling(max_new_tokens=8),
    )
    left = iter(range(int(kill_after) - 1, -1, -1))

    def strike(record: object) -> None:
        if next(left, None) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Sweep(design, injector, directory).generate(strike)


if __name__ == "__main__":
    main(*sys.argv[1:])
