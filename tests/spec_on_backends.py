"""The backends' common spec on SmolLM2, cut down to what a test can wait for."""

from __future__ import annotations

from pathlib import Path

import attrs

from introspection_bench.sweep import run_spec

SPEC = Path(__file__).resolve().parent.parent / "benchmarks" / "backends.toml"
OVERRIDES = (
    'design.concepts.names=["Oceans"]',
    'design.scaffolds=["lindsey"]',
    'design.span="from(trial)"',
    "design.layers=[23]",
    'design.doses=["0.1 residual", "0.3 residual"]',
    "design.sampling.max_new_tokens=12",
    # Thirty blocks are a minute for Inductor on a CPU; test_all_controls.py runs the backend compiled.
    "model.options.vllm.engine_args={enforce_eager = true}",
)


def greedy_replies(backend, directory):
    """Run the spec with nothing but the backend changed; return replies and receipts by cell."""
    results = run_spec(SPEC, overrides=OVERRIDES, backend=backend, directory=directory / backend, judge=False)
    return {str(r.condition.cell): (r.reply, r.receipts) for r in results.records}


def require_the_same(found, expected):
    """Replies token by token; receipts but for the last bits of the ratio."""
    assert found.keys() == expected.keys()
    for cell, (reply, receipts) in found.items():
        other_reply, others = expected[cell]
        assert reply == other_reply, cell
        for mine, other in zip(receipts, others, strict=True):
            assert attrs.astuple(mine)[:2] == attrs.astuple(other)[:2]
            assert abs(mine.mean_ratio - other.mean_ratio) < 1e-6
    injected = [reply.text for reply, receipts in found.values() if receipts]
    assert len(set(injected)) == len(injected) == 2, "the doses made no difference"
