"""Tiny real models, opened once."""

from __future__ import annotations

from typing import Any

import pytest
from random_vectors import vector

from introspection_bench import Injection, Request, Sampling, Scaffold, Span, Turn
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.testing import tiny_model


@pytest.fixture(scope="session")
def llama() -> tuple[Any, Any]:
    model, tokenizer = tiny_model("llama")
    return model.eval(), tokenizer


@pytest.fixture(scope="session")
def injector(llama) -> TorchInjector:
    model, tokenizer = llama
    return TorchInjector.open(model, tokenizer=tokenizer, batch_size=8)


@pytest.fixture
def prompt(injector):
    return Scaffold("short", [Turn("user", "Is there a thought?")], Span.all()).render(injector.tokenizer)


@pytest.fixture
def make(injector, prompt):
    """Builds a request: make(magnitude, seed=…, unit=…, layer=…, span=…, vector_seed=…)."""

    def build(magnitude=None, *, seed=0, unit="residual", layer=1, span=None, vector_seed=0, sampling=None, capture=()):
        injection = None
        if magnitude is not None:
            direction = vector(injector.model.hidden_size, vector_seed)
            injection = Injection(direction, layer, magnitude, unit, span or Span.all())
        return Request(prompt, injection, sampling or Sampling(max_new_tokens=12), seed, capture)

    return build
