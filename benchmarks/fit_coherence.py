"""Fit the coherence model of the rules judge and write its coefficients.

    python benchmarks/fit_coherence.py            # report only
    python benchmarks/fit_coherence.py --write    # and write src/.../judges/rules/coherence.json

Trained on the published verdicts of the Llama-3.1-405B study (MIT licence) and on the distinct replies of three
models of the introspection-scaling study (``../shared/data/introspection_scaling``, or the folder that the
environment variable ``INTROSPECTION_SCALING`` names); nothing of them is shipped but the coefficients. One trial in
five of the 405B study is held out by a hash of its file, label, magnitude and index. Each model weighs the same. No
property may speak for coherence: the coefficients are bounded by zero.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.metrics import cohen_kappa_score

from introspection_bench.concepts import load_concepts
from introspection_bench.judges.rules.coherence import FEATURES, known_words, measure

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "llama405b"
TARGET = ROOT / "src" / "introspection_bench" / "judges" / "rules" / "coherence.json"
PENALTY = 3.0
FILES = ("layer84_canonical", "layer70_dense")
SCALING = Path(os.environ.get("INTROSPECTION_SCALING", ROOT.parent / "shared" / "data" / "introspection_scaling"))
MODELS = ("moe", "base7b", "codellama34b")
#: Every model weighs as much as so many replies.
WEIGHT = 500.0


def held_out(name: str, result: dict[str, object]) -> bool:
    """Return whether a trial belongs to the held-out fifth: by hash, so that it stays there."""
    key = f"{name}/{result['label']}/{result['magnitude']}/{result['trial_idx']}"
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 5 == 0


def fit(x: np.ndarray, y: np.ndarray, model: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    """Return weights (none above zero) and intercept over the raw properties; ``model`` names each row's model."""
    scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    z, sign = (x - x.mean(axis=0)) / scale, np.where(y, 1.0, -1.0)
    row = np.array([WEIGHT / (model == m).sum() for m in model])

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (z @ b[:-1] + b[-1])
        slope = -row * sign / (1 + np.exp(margin))
        value = (row * np.logaddexp(0, -margin)).sum() + (b[:-1] ** 2).sum() / (2 * c)
        return float(value), np.append(z.T @ slope + b[:-1] / c, slope.sum())

    bounds = [(None, 0.0)] * x.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = found[:-1] / scale
    return weights, float(found[-1] - weights @ x.mean(axis=0))


def read() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return properties (replies x features), coherence as judged, the model or file of each, and who is held out."""
    rows, labels, models, held = [], [], [], []
    for name in FILES:
        for result in json.loads((DATA / f"{name}.judged.json").read_text(encoding="utf-8"))["results"]:
            on_task = result["label"].startswith("lindsey")
            rows.append(measure(result["response"], on_task=on_task, known={"love"}).values)
            labels.append(result["judge"]["coherent"])
            models.append(name)
            held.append(held_out(name, result))
    concepts = {c.name.lower(): c for c in load_concepts("lindsey2026")}
    for name in MODELS:
        verdicts: dict[str, list[dict[str, Any]]] = {}
        for line in (SCALING / f"trials_{name}_k2_bedrock.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            verdicts.setdefault(row["transcript"], []).append(row)
        for reply, judged in verdicts.items():
            known = known_words(concepts[judged[0]["concept"].lower()].names)
            rows.append(measure(reply, known=known).values)
            # A clean reply was judged once for every concept: the majority counts.
            labels.append(2 * sum(j["coherent"] for j in judged) > len(judged))
            models.append(name)
            held.append(False)
    return np.array(rows), np.array(labels), np.array(models), np.array(held)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--c", type=float, default=PENALTY, help="inverse strength of the L2 penalty")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()

    x, y, model, out = read()

    def kappa(train: np.ndarray, test: np.ndarray) -> float:
        weights, intercept = fit(x[train], y[train], model[train], args.c)
        return float(cohen_kappa_score(y[test], x[test] @ weights + intercept > 0))

    print(f"held-out fifth of the 405B study ({out.sum()} trials): kappa {kappa(~out, out):.3f}")
    published = np.isin(model, FILES)
    print(f"405B study left out: kappa {kappa(~published, published):.3f}")
    for name in MODELS:
        print(f"{name} left out: kappa {kappa((model != name) & ~out, model == name):.3f}")
    weights, intercept = fit(x[~out], y[~out], model[~out], args.c)
    for name, weight in zip(FEATURES, weights, strict=True):
        print(f"  {name:22} {weight:+.3f}")
    if args.write:
        TARGET.write_text(
            json.dumps(
                {
                    "about": "Logistic regression for P(coherent); written by benchmarks/fit_coherence.py.",
                    "trained_on": f"{(~out & published).sum()} published verdicts of {', '.join(FILES)} "
                    "(github.com/elsehow/lindsey-405b-replication, MIT), without the held-out fifth, "
                    f"and {len(y) - published.sum()} distinct replies of {', '.join(MODELS)} "
                    "(introspection-scaling study)",
                    "penalty_c": args.c,
                    "intercept": round(intercept, 4),
                    "weights": {n: round(float(w), 4) for n, w in zip(FEATURES, weights, strict=True)},
                },
                indent=2,
            )
            + "\n",
            encoding="utf-8",
        )
        print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
