"""Tiny real models, opened once."""

from __future__ import annotations

from typing import Any

import pytest
from random_vectors import everywhere, steer

from introspection_bench import Request, Sampling, Scaffold, Turn
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
    return Scaffold("short", [Turn("user", "Is there a thought?")]).render(injector.tokenizer)


@pytest.fixture
def make(injector, prompt):
    """Builds a request: make(magnitude, seed=…, unit=…, layer=…, span=…, vector_seed=…)."""

    def build(magnitude=None, *, seed=0, unit="residual", layer=1, span=None, vector_seed=0, sampling=None, capture=()):
        injections = [] if magnitude is None else [steer(magnitude, unit, layer, span, vector_seed)]
        asked = sampling or Sampling(max_new_tokens=12)
        return Request.of(prompt, injections, asked, seed, reads=everywhere(prompt, capture))

    return build
