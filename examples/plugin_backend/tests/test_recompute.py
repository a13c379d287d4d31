"""The whole conformance suite, for the price of a fixture."""

from __future__ import annotations

import pytest
import torch

from introspection_bench import open_injector
from introspection_bench.testing import InjectorConformance, spoil_logits, tiny_model


class TestRecompute(InjectorConformance):
    """The suite on a tiny Llama."""

    # No cache and one request at a time: long prompts and many requests cost most here, so fewer of them.
    concurrency = 4
    long_prompt = 96

    @pytest.fixture(scope="class")
    @classmethod
    def injector(cls):
        """The backend, found by its registered name."""
        model, tokenizer = tiny_model("llama")
        with open_injector("recompute", model, tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def half(cls):
        """The same in bfloat16."""
        model, tokenizer = tiny_model("llama")
        return open_injector("recompute", model.to(torch.bfloat16), tokenizer=tokenizer)

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls):
        """A backend that is trusted, on the same model."""
        model, tokenizer = tiny_model("llama")
        return open_injector("torch", model, tokenizer=tokenizer)

    @pytest.fixture(scope="class")
    @classmethod
    def unsound(cls):
        """The same on a model whose logits hold NaN."""
        model, tokenizer = tiny_model("llama")
        return open_injector("recompute", spoil_logits(model), tokenizer=tokenizer)
