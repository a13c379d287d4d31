"""Requests that both backends are asked, and the comparison of what they answer."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from introspection_bench.identity import Sampling
from introspection_bench.injection import Injection
from introspection_bench.measures import Read
from introspection_bench.prompts import RenderedPrompt
from introspection_bench.spans import Positions, Span
from introspection_bench.vectors import ConceptVector, Provenance

SAMPLING = Sampling(1.0, max_new_tokens=10)
SETS = ((5, 6, 7), (11,))


def prompt_of(injector, text="Ok, let's get started. Trial 1: do you notice an injected thought?"):
    """A prompt with the anchor ``third``."""
    ids = injector.tokenizer(text, add_special_tokens=False)["input_ids"]
    return RenderedPrompt(ids, "", {"third": len(ids) // 3})


def vector(injector, seed=0, layer=1):
    """A random direction whose norm is a few times a tiny model's residual."""
    values = np.random.default_rng(seed).standard_normal(injector.model.hidden_size)
    made = Provenance("synthetic", "tiny", "", "", 0, -1, float(np.linalg.norm(values)), None)
    return ConceptVector(values, f"v{seed}", layer, made)


def injections(injector):
    """Sums at one layer, a band, a projection beside an addition, and all units."""
    stated = [
        (1, "0.4 residual", Span.all()),
        (1, "-1 projection", Span.from_anchor("third")),
        (1, "0.1 raw", Span.prompt()),
        (2, "0.6 update", Span.all()),
        (2, "-0.5 absolute", Span.generation()),
        (3, "1 projection", Span.between("third", "reply")),
    ]
    return [
        Injection(vector(injector, seed, layer), layer, dose, span) for seed, (layer, dose, span) in enumerate(stated)
    ]


def residuals(prompt, layers=(3, 1), span=None):
    return Read("residuals", (span or Span.all()).resolve(prompt), layers)


def everything(injector, prompt):
    """All kinds of reads, at one place and over prompt and reply, layers out of order."""
    n = len(prompt.token_ids)
    onward = Positions(n // 2, None, n)
    vectors = (vector(injector, 0), vector(injector, 1))
    return (
        Read("logprobs", Positions(n - 1, n, n), sets=SETS),
        Read("logprobs", onward, sets=SETS),
        Read("likelihood", Positions(n - 1, None, n)),
        Read("distribution", onward),
        residuals(prompt),
        Read("cosines", onward, (2, 0), vectors=vectors),
        Read("lens", onward, (3, 0), sets=SETS),
    )


def replay(completion, request, reads):
    """The same steers over the reply that they were given."""
    return attrs.evolve(request, forced=completion.reply.token_ids, reads=reads)


def run(injector, *requests):
    """Completions in the order of the requests."""
    found = {completion.index: completion for completion in injector.generate(requests)}
    return [found[index] for index in range(len(requests))]


def require_alike(mine, theirs, atol=1e-4):
    """The same replies, receipts of the same positions and ratios, the same readings but for rounding."""
    for one, other in zip(mine, theirs, strict=True):
        assert one.reply == other.reply
        for receipt, expected in zip(one.receipts, other.receipts, strict=True):
            require_receipt(receipt, expected)
        for values, expected in zip(one.readings, other.readings, strict=True):
            np.testing.assert_allclose(values, expected, rtol=1e-3, atol=atol)


def require_receipt(receipt, expected, rel=1e-3):
    assert attrs.astuple(receipt)[:2] == attrs.astuple(expected)[:2]
    assert attrs.astuple(receipt)[2:] == pytest.approx(attrs.astuple(expected)[2:], rel=rel)
