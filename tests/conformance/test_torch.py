"""The torch injector conforms on every architecture that it knows, against an injector that shares no code with it."""

from __future__ import annotations

import pytest
import torch

from introspection_bench import open_injector
from introspection_bench.testing import ARCHITECTURES, InjectorConformance, LoopInjector, spoil_logits, tiny_model


class TorchConformance(InjectorConformance):
    architecture: str

    @pytest.fixture(scope="class")
    @classmethod
    def injector(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("torch", model, tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls):
        model, tokenizer = tiny_model(cls.architecture)
        return LoopInjector.open(model, tokenizer=tokenizer)

    @pytest.fixture(scope="class")
    @classmethod
    def half(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("torch", model.to(torch.bfloat16), tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def unsound(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("torch", spoil_logits(model), tokenizer=tokenizer) as opened:
            yield opened


# One class for each architecture, so that class-scoped fixtures open each model once.
for _architecture in ARCHITECTURES:
    _name = f"TestTorchOn{_architecture.title().replace('_', '')}"
    globals()[_name] = type(_name, (TorchConformance,), {"architecture": _architecture})
