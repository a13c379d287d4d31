"""The torch injector conforms on every architecture that it knows, against an injector that shares no code with it."""

from __future__ import annotations

import pytest
import torch

from introspection_bench import open_injector
from introspection_bench.errors import ModelError
from introspection_bench.injectors.hf.unchanged import Unchanged
from introspection_bench.testing import (
    ARCHITECTURES,
    RECURRENT,
    InjectorConformance,
    LoopInjector,
    run_conformance,
    spoil_logits,
    tiny_model,
)


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
        with open_injector("torch", model, tokenizer=tokenizer) as opened:
            spoil_logits(model)  # only now: such a model is not opened
            opened._unchanged = Unchanged(model)
            yield opened


# One class for each architecture, so that class-scoped fixtures open each model once.
for _architecture in [a for a in ARCHITECTURES if a not in RECURRENT]:
    _name = f"TestTorchOn{_architecture.title().replace('_', '')}"
    globals()[_name] = type(_name, (TorchConformance,), {"architecture": _architecture})


@pytest.mark.parametrize("architecture", RECURRENT)
def test_recurrent_states_are_those_of_one_pass_in_groups_and_alone_or_the_model_is_refused(architecture):
    model, tokenizer = tiny_model(architecture)
    if architecture == "recurrent_gemma":  # its states stand in the model, and a prompt of one token goes on from them
        with pytest.raises(ModelError, match="without a cache"):
            open_injector("torch", model, tokenizer=tokenizer)
        return
    with open_injector("torch", model, tokenizer=tokenizer) as injector:
        report = run_conformance(
            injector,
            only=[
                "cached_steps_equal_one_pass",
                "grouped_captures_equal_each_alone",
                "grouped_replies_equal_each_alone",
            ],
            tolerance=5e-3,  # a recurrence rounds worse than attention does
            reply_tokens=4,
            long_prompt=80,
        )
    assert report.passed, str(report)
