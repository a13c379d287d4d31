"""The three backends' common spec on SmolLM2, cut down to what a test can wait for."""

from __future__ import annotations

from pathlib import Path

import attrs

from introspection_bench.sweep import Sweep
from introspection_bench.sweep.spec import SweepSpec

SPEC = Path(__file__).resolve().parent.parent / "benchmarks" / "three_backends.toml"


def greedy_replies(backend, directory):
    """Run the spec with nothing but the backend changed; return replies and receipts by cell."""
    whole = SweepSpec.from_toml(SPEC)
    spec = attrs.evolve(
        whole,
        concepts=attrs.evolve(whole.concepts, names=["Oceans"], layers=[23]),
        grid=attrs.evolve(whole.grid, magnitudes=[0.1, 0.3], scaffolds=["lindsey"]),
        sampling=attrs.evolve(whole.sampling, max_new_tokens=24),
    )
    with spec.open_injector(backend) as injector:
        grid = spec.build_grid(injector, spec.concept_set(SPEC.parent), SPEC.parent)
        records = Sweep(grid, injector, directory / backend).run().records
    return {(r.concept, r.key.magnitude): (r.reply, r.receipt) for r in records}


def require_the_same(found, expected):
    """Replies token by token; receipts but for the last bits of the ratio."""
    assert found.keys() == expected.keys()
    for cell, (reply, receipt) in found.items():
        other_reply, other = expected[cell]
        assert reply == other_reply, cell
        assert attrs.astuple(receipt)[:2] == attrs.astuple(other)[:2]
        assert abs(receipt.mean_ratio - other.mean_ratio) < 1e-6
    injected = [reply.text for (concept, _), (reply, _) in found.items() if concept is not None]
    assert len(set(injected)) == len(injected) == 2, "the magnitudes made no difference"
