"""Requests of all kinds at once, their replays with all kinds of reads, and what two backends must agree on."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from introspection_bench.doses import Dose, Unit
from introspection_bench.identity import Sampling
from introspection_bench.injection import Injection
from introspection_bench.injectors.requests import Request
from introspection_bench.measures.base import Read
from introspection_bench.prompts import RenderedPrompt
from introspection_bench.spans import Positions, Span
from introspection_bench.vectors import ConceptVector, Provenance

SPANS = (Span.all(), Span.from_anchor("a"), Span.generation(), Span.between("a", "b"), Span.prompt())
MAGNITUDES = {Unit.ABSOLUTE: 3.0, Unit.PROJECTION: -1.0}


def random_vector(injector, layer, seed=0):
    values = np.random.default_rng(seed).standard_normal(injector.model.hidden_size)
    return ConceptVector(values, f"v{seed}", layer, Provenance("test", "tiny", "", "", 0, -1, 1.0, None))


def mixed_batch(injector, lengths, tokens):
    """Requests with all units, spans and layers: controls, single steers, several at one block, bands of blocks."""
    asked = []
    for n, length in enumerate(lengths):
        ids = [int(i) for i in np.random.default_rng(n).integers(6, 250, length)]
        prompt = RenderedPrompt(ids, "", {"a": length // 3, "b": min(length // 3 + 1, length - 1)})
        steers = []
        for k in range((0, 1, 1, 2, 5)[n % 5]):
            layer = (n + k % 2) % injector.model.n_layers
            unit = list(Unit)[(n // 2 + k) % 5]
            span = SPANS[(n + k) % 5]
            if span.kind != "between" or length > 3:  # its anchors are one place in the shortest prompts
                dose = Dose(MAGNITUDES.get(unit, 0.7), unit)
                steers.append(Injection(random_vector(injector, layer, 9 * n + k), layer, dose, span))
        read = Read("residuals", Positions(0, None, length), (0, 1, 2, 3))
        sampling = Sampling(float(n % 2), max_new_tokens=tokens)
        asked.append(Request.of(prompt, steers, sampling, seed=n, reads=(read,)))
    return asked


def replays(injector, asked, completions):
    """The same requests with the replies that they got, and everything read that the backend can read."""
    made = []
    for completion in sorted(completions, key=lambda c: c.index):
        request = asked[completion.index]
        where = Positions(1, None, len(request.prompt.token_ids))
        sets = ((7, 8, 9), (30,))
        vectors = (random_vector(injector, 1, 1), random_vector(injector, 2, 2))
        reads = [
            *request.reads,
            Read("cosines", where, (0, 2), vectors=vectors),
            Read("lens", where, (0, 1, injector.model.n_layers - 1), sets),
            Read("logprobs", where, sets=sets),
            Read("likelihood", where),
            Read("distribution", where),
        ]
        can = [r for r in reads if r.kind in injector.reads]
        made.append(attrs.evolve(request, forced=completion.reply.token_ids, reads=can))
    return made


def same(found, expected):
    """Replies token by token; receipts and readings but for the rounding of float32."""
    expected = {c.index: c for c in expected}
    assert sorted(c.index for c in found) == sorted(expected)
    for completion in found:
        other = expected[completion.index]
        assert completion.reply == other.reply
        same_receipts(completion, other)
        assert len(completion.readings) == len(other.readings)
        for mine, theirs in zip(completion.readings, other.readings, strict=True):
            scale = max(float(np.abs(theirs).max(initial=0)), 1.0)
            assert np.abs(mine - theirs).max(initial=0) <= 1e-5 * scale


def same_receipts(completion, other, rel=1e-4):
    for mine, theirs in zip(completion.receipts, other.receipts, strict=True):
        assert attrs.astuple(mine)[:2] == attrs.astuple(theirs)[:2]
        assert mine.mean_ratio == pytest.approx(theirs.mean_ratio, rel=rel, abs=1e-7)
        assert mine.max_ratio == pytest.approx(theirs.max_ratio, rel=rel, abs=1e-6)


def tells_each_step(injector, requests, monkeypatch):
    """Each step tells of its tokens, and of two calls what ended in the first is not told again."""
    told = []
    monkeypatch.setattr("introspection_bench.injectors.vllm_engine.TELL_S", 0.0)
    monkeypatch.setattr(injector, "on_tokens", told.append)
    lengths = [len(done.reply.token_ids) for _ in range(2) for done in injector.generate(requests)]
    assert sum(told) == sum(lengths)
    assert max(told) <= len(requests)
    assert len(told) >= 2 * max(lengths)
