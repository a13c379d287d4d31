"""What the library itself finds on the models of known truth: sweeps on a CPU, judged by rules, counted.

    python benchmarks/known_models.py introspector alarm

Names are roles, "base", or paths of adapters (ROLE-SEED.safetensors); without any, the base and all roles. For each
NAME.json is written into --out: rows of counts by word list, arm and layer, for the prompt of Lindsey 2026, temperature
1, half the residual's norm. Vectors are extracted from the model that is asked.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

import introspection_bench as ib
from introspection_bench import arms
from introspection_bench.adapters import SUFFIX, known_adapters
from introspection_bench.control import held_out

ROOT = Path(__file__).resolve().parent.parent
#: Where a role is asked: at all the layers that it was trained at, else at one where a vector reads out as its word.
LAYERS = {"introspector": (20, 21, 22, 23, 24, 25)}
COUNTED = ("affirmative", "identifies", "strict", "coherent")


def concepts(words: str) -> ib.ConceptSet:
    """Return the fifty of Lindsey 2026, or the fifty nouns that were held out beside them, with the same baseline."""
    lindsey = ib.load_concepts("lindsey2026")
    if words == "lindsey":
        return lindsey
    return held_out()


def designs(role: str) -> Iterator[tuple[str, ib.Design]]:
    """Yield the designs of a role, each with the name of its words."""
    layers = LAYERS.get(role, (23,))
    common: dict[str, Any] = {
        "layers": layers,
        "doses": ["0.5 residual"],
        "sampling": ib.Sampling(1.0, max_new_tokens=40),
    }
    steered = [arms.Injected(1), arms.PromptOnly(1)]
    others = [
        arms.RandomVector(50),
        arms.RandomVector(50, "permuted"),
        arms.RandomVector(50, "covariance"),
        arms.Negated(50, "spread"),
        arms.Unsteered(250),
    ]
    yield "lindsey", ib.Design(concepts=concepts("lindsey"), arms=[*steered, *others], **common)
    yield "held_out", ib.Design(concepts=concepts("held_out"), arms=steered, **common)


def rows(model: str, role: str, store: Path) -> Iterator[dict[str, Any]]:
    """Run, judge and count; yields a row for each word list, arm and layer."""
    with ib.open_injector("torch", model, dtype="float32", device="cpu", batch_size=32) as injector:
        for words, design in designs(role):
            sweep = ib.Sweep(design, injector, store / words)
            sweep.generate()
            sweep.judge("rules")
            table = ib.rates(sweep.results().frame(), ["arm", "layer"])
            for (arm, layer), cell in table.groupby(["arm", "layer"], dropna=False, sort=False):
                met = {r.outcome: int(r.k) for r in cell.itertuples()}
                told = {name: met.get(name, 0) for name in COUNTED}
                place = None if pd.isna(layer) else int(layer)
                yield {"words": words, "arm": arm, "layer": place, "n": int(cell["n_all"].iloc[0]), **told}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", default=["base", *known_adapters()])
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "known-models")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names:
        model = "demo" if name == "base" else f"demo+{name}"
        short = Path(name).name.removesuffix(SUFFIX)
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as store:
            found = list(rows(model, short.partition("-")[0], Path(store)))
        digest = None if name == "base" else ib.load_adapter(name).digest
        told = {"model": model, "adapter": digest, "seconds": round(time.monotonic() - begun), "rows": found}
        lines = json.dumps(told, indent=1)
        (given.out / f"{short}.json").write_text(lines + "\n", encoding="utf-8")
        print(short, told["seconds"], "s")
        for row in found:
            print(*(f"{key} {value}" for key, value in row.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
