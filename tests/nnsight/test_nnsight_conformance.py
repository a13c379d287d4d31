"""The nnsight injector conforms, here and in nnsight's simulation of a server, on the architectures that differ."""

from __future__ import annotations

import pytest
import torch

from introspection_bench import open_injector
from introspection_bench.injectors.hf.unchanged import Unchanged
from introspection_bench.testing import (
    InjectorConformance,
    run_conformance,
    save_tiny_model,
    spoil_logits,
    tiny_model,
)
from tests.spec_on_backends import greedy_replies, require_the_same

pytest.importorskip("nnsight", reason="the extra nnsight is not installed")


class NnsightConformance(InjectorConformance):
    architecture: str

    @pytest.fixture(scope="class")
    @classmethod
    def injector(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("nnsight", model, tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("torch", model, tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def half(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("nnsight", model.to(torch.bfloat16), tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def unsound(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("nnsight", model, tokenizer=tokenizer) as opened:
            spoil_logits(model)  # only now: such a model is not opened
            opened._unchanged = Unchanged(model)
            yield opened


class TestNnsightOnGemma3(NnsightConformance):
    """Sliding windows, and a norm behind the MLP."""

    architecture = "gemma3"


class TestNnsightOnGpt2(NnsightConformance):
    """Learned positions, and blocks under another name."""

    architecture = "gpt2"


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3", "olmo2", "gpt_neox"])
def test_other_architectures_agree_with_the_torch_injector(architecture):
    (model, tokenizer), (same, _) = tiny_model(architecture), tiny_model(architecture)
    report = run_conformance(
        open_injector("nnsight", model, tokenizer=tokenizer),
        reference=open_injector("torch", same, tokenizer=tokenizer),
        only=["agrees_with_the_reference", "rows_of_a_batch_do_not_leak"],
    )
    assert report.passed, str(report)


def test_traces_survive_nnsights_own_serialising_simulation_of_a_server(tmp_path):
    folder = save_tiny_model("llama", tmp_path)
    report = run_conformance(
        open_injector("nnsight", folder, remote="local"),
        reference=open_injector("torch", folder),
        only=[
            "steers_only_its_layer",
            "rows_of_a_batch_do_not_leak",
            "agrees_with_the_reference",
            "capture_reads_the_last_prompt_token",
        ],
    )
    assert report.counts() == {"passed": 4}, str(report)


@pytest.mark.slow
def test_a_sweep_on_smollm2_has_the_torch_backends_greedy_replies_with_only_the_backend_changed(tmp_path):
    require_the_same(greedy_replies("nnsight", tmp_path), greedy_replies("torch", tmp_path))
