"""Fit the coherence model of the rules judge and write its coefficients.

    python benchmarks/fit_coherence.py            # report only
    python benchmarks/fit_coherence.py --write    # and write src/.../judges/rules/coherence.json

Trained on the published verdicts of the Llama-3.1-405B study (MIT licence), of which nothing is shipped but the
coefficients. One trial in five is held out by a hash of its file, label, magnitude and index.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from introspection_bench.judges.rules.coherence import FEATURES, measure

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "llama405b"
TARGET = ROOT / "src" / "introspection_bench" / "judges" / "rules" / "coherence.json"
PENALTY = 1.0
FILES = ("layer84_canonical", "layer70_dense")


def held_out(name: str, result: dict[str, object]) -> bool:
    """Return whether a trial belongs to the held-out fifth: by hash, so that it stays there."""
    key = f"{name}/{result['label']}/{result['magnitude']}/{result['trial_idx']}"
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 5 == 0


def fit(x: np.ndarray, y: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    """Return weights and intercept over the raw (unscaled) properties."""
    pipe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=10_000)).fit(x, y)
    scale, regression = pipe[0], pipe[1]
    weights = regression.coef_[0] / scale.scale_
    return weights, float(regression.intercept_[0] - weights @ scale.mean_)


def read() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return properties (trials x features), published coherence, file names, and who is held out."""
    rows, labels, files, held = [], [], [], []
    for name in FILES:
        for result in json.loads((DATA / f"{name}.judged.json").read_text(encoding="utf-8"))["results"]:
            rows.append(measure(result["response"]).values)
            labels.append(result["judge"]["coherent"])
            files.append(name)
            held.append(held_out(name, result))
    return np.array(rows), np.array(labels), np.array(files), np.array(held)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--c", type=float, default=PENALTY, help="inverse strength of the L2 penalty")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()

    x, y, file, out = read()

    def kappa(train: np.ndarray, test: np.ndarray) -> float:
        weights, intercept = fit(x[train], y[train], args.c)
        return float(cohen_kappa_score(y[test], x[test] @ weights + intercept > 0))

    print(f"held-out fifth ({out.sum()} trials): kappa {kappa(~out, out):.3f}")
    for a, b in (FILES, FILES[::-1]):
        print(f"trained on {a}, tested on {b}: kappa {kappa(file == a, file == b):.3f}")
    weights, intercept = fit(x[~out], y[~out], args.c)
    for name, weight in zip(FEATURES, weights, strict=True):
        print(f"  {name:22} {weight:+.3f}")
    if args.write:
        TARGET.write_text(
            json.dumps(
                {
                    "about": "Logistic regression for P(coherent); written by benchmarks/fit_coherence.py.",
                    "trained_on": f"{(~out).sum()} published verdicts of {', '.join(FILES)} "
                    "(github.com/elsehow/lindsey-405b-replication, MIT), without the held-out fifth",
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
