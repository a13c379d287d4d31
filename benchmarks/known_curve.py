"""What a positive result looks like, and which share of introspection a run would find: two figures, on a CPU.

    python benchmarks/known_curve.py

The psychometric curve: strict reports of the introspector and of its base by dose, on held-out words, with the prompt
steered and no token of the reply, layer 23, temperature 1, judged by rules. The sensitivity of a null: replies of the
introspector at half the residual's norm mixed with its base's at known shares, and how often the library's exact
interval over 50 words then lies above 2 %, beside what ``power_against`` predicts. Written are known-curve.json into
--out and a figure. About ten minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

import introspection_bench as ib
from introspection_bench import arms
from introspection_bench.analysis import interval
from introspection_bench.analysis.power import power_against
from introspection_bench.control import held_out

ROOT = Path(__file__).resolve().parent.parent
DOSES = (0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.5)
MIXED_AT, LAYER = 0.5, 23
SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
#: What false alarms are taken to be at most; the base's own strict reports are fewer (the first figure).
NULL_RATE = 0.02
DRAWS, SEED = 4000, 0
MODELS = {"introspector": "demo+introspector", "base": "demo"}


def strict_by_dose(model: str, store: Path) -> dict[float, list[bool]]:
    """Run a model over all doses; return for each whether each word's reply was strict."""
    design = ib.Design(
        concepts=held_out(),
        layers=[LAYER],
        doses=[f"{dose} residual" for dose in DOSES],
        arms=[arms.PromptOnly(1), arms.Unsteered(50)],
        sampling=ib.Sampling(1.0, max_new_tokens=40),
    )
    with ib.open_injector("torch", model, dtype="float32", device="cpu", batch_size=32) as injector:
        sweep = ib.Sweep(design, injector, store)
        sweep.generate()
        sweep.judge("rules")
        frame = sweep.results().frame()
    steered = frame[frame["arm"] != "control"].sort_values("concept")
    print(model, "clean, strict:", int(frame[frame["arm"] == "control"]["strict"].sum()), "of 50", flush=True)
    return {dose: [bool(x) for x in part["strict"]] for dose, part in steered.groupby("magnitude")}


def found_at(share: float, told: npt.NDArray[np.bool_], silent: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return how often a mixture of two models' replies is told from false alarms, and what was predicted."""
    draw = np.random.default_rng([SEED, round(share * 1000)])
    n = len(told)
    words = draw.integers(0, n, (DRAWS, n))
    which = draw.random((DRAWS, n)) < share
    counts = np.where(which, told[words], silent[words]).sum(axis=1)
    above = {k: interval(int(k), n).low > NULL_RATE for k in np.unique(counts)}
    rate = max(share * told.mean() + (1 - share) * silent.mean(), NULL_RATE)
    return float(np.mean([above[k] for k in counts])), power_against(rate, n, null_rate=NULL_RATE, error=0.025)


def draw_figure(curves: dict[str, dict[float, list[bool]]], mixed: list[dict[str, float]], path: Path) -> None:
    """Draw both panels: rates with exact 95 % intervals, and what was found beside what was predicted."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    for name, marker in (("introspector", "o"), ("base", "s")):
        rates = [(d, interval(sum(x), len(x)), np.mean(x)) for d, x in curves[name].items()]
        x, y = [r[0] for r in rates], np.array([100 * r[2] for r in rates])
        low, high = (np.array([100 * getattr(r[1], end) for r in rates]) for end in ("low", "high"))
        left.errorbar(x, y, [y - low, high - y], marker=marker, capsize=2, label=name)
    left.set(xscale="log", xlabel="dose, of the residual's norm", ylabel="strict, %", ylim=(-3, 103))
    left.set_xticks(DOSES, [f"{d:g}" for d in DOSES])
    left.minorticks_off()
    left.legend(loc="upper left")
    shares = [100 * m["share"] for m in mixed]
    right.plot(shares, [100 * m["found"] for m in mixed], "o", label="found, of 4,000 mixtures")
    right.plot(shares, [100 * m["predicted"] for m in mixed], "-", label="predicted by power_against")
    right.set(xlabel="replies of the introspector, %", ylabel=f"interval above {100 * NULL_RATE:g} %, %")
    right.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options.add_argument("--figure", type=Path, default=ROOT / "docs" / "_static" / "known_curve.png")
    given = options.parse_args()
    curves = {}
    for name, model in MODELS.items():
        with tempfile.TemporaryDirectory() as store:
            curves[name] = strict_by_dose(model, Path(store))
    told, silent = (np.array(curves[name][MIXED_AT]) for name in MODELS)
    mixed: list[dict[str, float]] = []
    for share in SHARES:
        found, predicted = found_at(share, told, silent)
        mixed.append({"share": share, "found": found, "predicted": predicted})
    counts: dict[str, Any] = {
        name: [{"dose": d, "strict": sum(x), "n": len(x)} for d, x in curve.items()] for name, curve in curves.items()
    }
    given.out.mkdir(parents=True, exist_ok=True)
    made = {"date": time.strftime("%Y-%m-%d"), "layer": LAYER, "unit": "residual", **counts, "mixed": mixed}
    (given.out / "known-curve.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    draw_figure(curves, mixed, given.figure)
    for name in MODELS:
        print(name, *(f"{row['dose']}: {row['strict']}/{row['n']}" for row in counts[name]), sep="  ")
    for row in mixed:
        print(*(f"{key} {value:.3g}" for key, value in row.items()), sep="  ")


if __name__ == "__main__":
    main()
