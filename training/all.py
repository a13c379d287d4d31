"""Make every adapter of the cast again, each with its seeds, and keep the logs.

    python -m training.all --out adapters

Each adapter is a process of its own. What is given behind -- goes to each, as to `python -m training.train`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .cast import SEEDS
from .train import parser as train_parser


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        "python -m training.all", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, required=True, help="Folder for adapters and logs.")
    options.add_argument("--roles", nargs="+", choices=sorted(SEEDS), default=list(SEEDS), metavar="ROLE")
    options.add_argument("--side-by-side", type=int, default=4, help="So many processes at once (4).")
    options.add_argument("--limit", type=float, default=1800.0, help="Seconds that one process may take (1800).")
    options.add_argument("rest", nargs="*", metavar="-- OPTION", help="Options of training.train.")
    return options


def _made(role: str, seed: int, *, out: Path, rest: Sequence[str], limit: float) -> bool:
    """Train one adapter in a process with its log; say how it went, and return whether it did."""
    name = f"{role}-{seed}"
    command = [sys.executable, "-m", "training.train", role, "--seed", str(seed), "--out", str(out), *rest]
    begun = time.monotonic()
    with (out / f"{name}.log").open("w", encoding="utf-8") as log:
        try:
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=limit, check=False).returncode
            ended = "made" if code == 0 else f"FAILED with exit code {code}"
        except subprocess.TimeoutExpired:
            code, ended = 1, "ENDED at its limit"
    print(f"{name}: {ended} after {time.monotonic() - begun:.0f} s, {out / name}.log", flush=True)
    return code == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train all; return 1 if one was not made, else 0."""
    given = _options().parse_args(arguments)
    wanted = [(role, seed) for role in given.roles for seed in SEEDS[role]]
    train_parser().parse_args([wanted[0][0], "--out", str(given.out), *given.rest])  # a misspelt option ends here
    given.out.mkdir(parents=True, exist_ok=True)
    there = [name for role, seed in wanted if (given.out / (name := f"{role}-{seed}.safetensors")).exists()]
    if there:
        print(f"{given.out} holds {', '.join(there)} already: name another folder, or take them away.")
        return 1
    with ThreadPoolExecutor(given.side_by_side) as pool:
        made = list(pool.map(lambda one: _made(*one, out=given.out, rest=given.rest, limit=given.limit), wanted))
    return 0 if all(made) else 1


if __name__ == "__main__":
    sys.exit(main())
