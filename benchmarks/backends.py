"""One sweep on torch, nnsight and both backends on vLLM: are the replies the same, and how fast is each on a CPU?

    python benchmarks/backends.py      # after make venv, and scripts/test_vllm.sh for vLLM's own environment

Runs backends.toml (SmolLM2-135M, float32, greedy, 74 trials) with only the backend changed, each in a process of
its own, then 64 sampled replies of 60 tokens of one injected cell for the speed (opening and extraction set aside).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import attrs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHON = {"torch": ".venv", "nnsight": ".venv", "vllm-lens": ".venv-vllm", "vllm": ".venv-vllm"}
VLLM = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "ERROR"}
REPLIES, TOKENS = 64, 60


def run(backend: str, out: Path) -> None:
    """Run the sweep and the timing on one backend; write what came of it."""
    import introspection_bench as ib

    spec = ib.RunSpec.from_toml(HERE / "backends.toml")
    with attrs.evolve(spec.model, backend=backend).open() as injector:
        sweep = ib.Sweep(spec.design, injector, out / backend)
        sweep.generate()
        records = sweep.results().records
        vector = next(v for v in sweep.vectors if v.layer == 23)
        injection = ib.Injection(vector, 23, ib.Dose(0.2, "residual"), ib.Span.from_anchor("trial"))
        prompt, sampling = ib.LINDSEY.render(injector.tokenizer), ib.Sampling(1.0, max_new_tokens=TOKENS)
        requests = [ib.Request.of(prompt, [injection], sampling, seed) for seed in range(REPLIES)]
        list(injector.generate(requests[:2]))
        started = time.perf_counter()
        tokens = sum(len(c.reply.token_ids) for c in injector.generate(requests))
        seconds = time.perf_counter() - started
    cells = {str(r.condition.cell): r for r in records}
    found = {
        "replies": {name: list(r.reply.token_ids) for name, r in cells.items()},
        "ratios": {name: r.receipts[0].mean_ratio for name, r in cells.items() if r.receipts},
        "tokens": tokens,
        "seconds": seconds,
    }
    (out / f"{backend}.json").write_text(json.dumps(found))


def main() -> None:
    out = Path(tempfile.mkdtemp(prefix="backends_"))
    found = {}
    for backend, venv in PYTHON.items():
        python = ROOT / venv / "bin" / "python"
        if not python.exists():
            print(f"{backend}: {python} is not there, left out")
            continue
        environment = {**os.environ, **VLLM, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        subprocess.run([python, __file__, backend, out], check=True, env=environment, stdout=subprocess.DEVNULL)
        found[backend] = json.loads((out / f"{backend}.json").read_text())
    base = found["torch"]
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, SmolLM2-135M, float32")
    print(f"{'backend':10} {'same greedy replies':>20} {'largest difference of a ratio':>30} {'tokens/s':>9}")
    for backend, one in found.items():
        same = sum(one["replies"][name] == reply for name, reply in base["replies"].items())
        apart = max(abs(one["ratios"][name] - ratio) for name, ratio in base["ratios"].items())
        counts = f"{same} of {len(base['replies'])}"
        speed = one["tokens"] / one["seconds"]
        print(f"{backend:10} {counts:>20} {apart:30.1e} {speed:9.1f}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        run(sys.argv[1], Path(sys.argv[2]))
