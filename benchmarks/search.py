"""A search over the dose beside a dense grid, on SmolLM2 and on scripted models whose curves are known.

    python benchmarks/search.py
    python benchmarks/search.py known

The first runs both on the demo's model, for each of a few concepts and layers: a grid of 12 doses with 8 trials each,
and a search with up to 37.5 % as many; judge ``rules``. Beside them stands what the grid's first three trials at each
dose would have said, as many as the search may have. The search asks other doses than the grid, so that no trial is in
both. Under ten minutes on two cores. The second searches scripted models in 60 worlds each, and says how far off
crossing, onset and collapse are; no model is run. Both write into --out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import introspection_bench as ib
from introspection_bench import arms
from introspection_bench.analysis import searched
from introspection_bench.analysis.searching import by_curve, crossing_of

ROOT = Path(__file__).resolve().parent.parent
LOWEST, HIGHEST, DOSES, DRAWS = 0.1, 3.0, 12, 8
CONCEPTS, LAYERS = ("Oceans", "Poetry"), (10, 23)
#: 36 of the grid's 96 trials for each curve.
RULE = ib.Search(36, batch=6)
WORLDS = 60


def grid_design(limits: ib.Design) -> ib.Design:
    """Return the dense grid: the middles of as many equal steps of the log dose between the limits."""
    doses = LOWEST * (HIGHEST / LOWEST) ** ((np.arange(DOSES) + 0.5) / DOSES)
    return attrs.evolve(limits, doses=[f"{d:.4g} residual" for d in doses], arms=[arms.Injected(DRAWS)])


def told(results: ib.Results, limits: ib.Design, draws: int | None = None) -> dict[str, dict[str, Any]]:
    """Return by curve what its trials say, or the first draws of each cell."""
    records = [r for r in results if draws is None or r.trial.draw < draws]
    doses = RULE.doses(limits.doses)
    found = {}
    for (_, concept, layers), mine in by_curve(records, RULE).items():
        fit = crossing_of(mine, RULE, doses)
        low, high = fit.interval(RULE.confidence)
        numbers = {"crossing": fit.magnitude, "low": low, "high": high, "height": fit.height}
        numbers |= {"onset": fit.onset, "collapse": fit.collapse}
        rounded = {k: float(f"{v:.3g}") if math.isfinite(v) else None for k, v in numbers.items()}
        found[f"{concept}, layer {layers[0]}"] = {"trials": len(mine), **rounded}
    return found


def on_smollm2() -> dict[str, Any]:
    """Run grid and search on the demo's model."""
    limits = ib.Design(
        concepts=ib.load_concepts("lindsey2026").select(*CONCEPTS),
        layers=list(LAYERS),
        doses=[f"{LOWEST} residual", f"{HIGHEST} residual"],
        arms=[arms.Injected(1)],
        sampling=ib.Sampling(1.0, max_new_tokens=24),
    )
    made: dict[str, Any] = {"model": "SmolLM2-135M-Instruct", "unit": "residual", "rule": attrs.asdict(RULE)}
    with (
        tempfile.TemporaryDirectory() as folder,
        ib.open_injector("torch", "demo", dtype="float32", device="cpu", batch_size=32) as injector,
    ):
        planners = {"grid": grid_design(limits), "search": ib.Searching(limits, RULE)}
        for name, planner in planners.items():
            begun = time.monotonic()
            results = ib.Sweep(planner, injector, Path(folder) / name).run("rules")
            made[f"{name}_s"] = round(time.monotonic() - begun)
            made[name] = told(results, limits)
            if name == "grid":
                made["grid_of_as_many"] = told(results, limits, draws=RULE.trials // DOSES)
            else:
                curves = searched(results.records, RULE, limits.doses).curves
                made["said"] = {f"{c.concept}, layer {c.layers[0]}": c.said for c in curves}
            print(name, made[f"{name}_s"], "s", json.dumps(made[name]), flush=True)
    return made


def on_scripts() -> dict[str, Any]:
    """Search scripted models in many worlds, and say how far off it is."""
    sys.path.insert(0, str(ROOT / "tests" / "sweep"))
    from fake_curves import DESIGN, LATE, SWEET, Curves, ground_of, play
    from transformers import AutoTokenizer

    from introspection_bench.testing import save_tiny_model

    one = attrs.evolve(DESIGN, concepts=DESIGN.concepts.select("Oceans"), vectors=DESIGN.vectors[:1])
    planner = ib.Searching(attrs.evolve(one, arms=[arms.Injected(1)]), ib.Search(60))
    doses = np.array([d.magnitude for d in planner.doses])
    with tempfile.TemporaryDirectory() as folder:
        ground = ground_of(AutoTokenizer.from_pretrained(save_tiny_model("llama", Path(folder))))
    made: dict[str, Any] = {"worlds": WORLDS, "rule": attrs.asdict(planner.rule)}
    scripts = {"sweet": SWEET, "late": LATE, "plateau": Curves(named=0.5, coherent=0.8, plateau=0.7)}
    for name, script in scripts.items():
        plays = [play(planner, ground, {"Oceans": script}, world) for world in range(WORLDS)]
        curves = [searched(done, planner.rule, DESIGN.doses).curves[0] for done in plays]
        named, coherent = np.array([script.rates(d) for d in doses]).T
        truth = {
            "crossing": script.crossing,
            "onset": doses[np.argmax((named >= 0.1) | (coherent <= 0.9 * coherent[0]))],
            "collapse": doses[np.argmax(coherent <= 0.1 * script.plateau)],
        }
        covers = np.mean([c.low <= truth["crossing"] <= c.high for c in curves])
        made[name] = {**attrs.asdict(script), "covers": float(covers), "trials": float(np.mean([c.n for c in curves]))}
        for what, true in truth.items():
            off = np.abs(np.log([getattr(c, what) / true for c in curves]))
            none = int(np.isnan(off).sum())
            typical, worst = (math.exp(v) for v in (np.sqrt(np.nanmean(off**2)), np.nanmax(off)))
            made[name][what] = {"true": float(true), "typical": typical, "worst": worst, "none": none}
        made[name]["lost"] = None if math.isinf(script.lost) else script.lost
        print(name, json.dumps(made[name]), flush=True)
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("which", nargs="?", choices=["smollm2", "known"], default="smollm2")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    given = options.parse_args()
    made = on_smollm2() if given.which == "smollm2" else on_scripts()
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"date": time.strftime("%Y-%m-%d"), **made}, indent=1)
    (given.out / f"search-{given.which}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
