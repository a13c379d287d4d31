"""vLLM conforms, with the torch injector on the same checkpoint as reference."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from introspection_bench import Injection, Sampling, Span, Unit, open_injector
from introspection_bench.injectors.base import Request
from introspection_bench.scaffolds import RenderedPrompt
from introspection_bench.testing import InjectorConformance
from introspection_bench.testing.subject import make_vector


class VllmConformance(InjectorConformance):
    architecture: str
    dtype = "float32"
    engine_args: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @classmethod
    def open(cls, tiny_folder):
        return open_injector(
            "vllm-lens",
            tiny_folder(cls.architecture),
            dtype=cls.dtype,
            max_model_len=512,
            max_num_seqs=8,
            engine_args=cls.engine_args,
            **cls.options,
        )

    @pytest.fixture(scope="class")
    @classmethod
    def injector(cls, tiny_folder):
        with cls.open(tiny_folder) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, tiny_folder):
        with open_injector("torch", str(tiny_folder(cls.architecture)), dtype=cls.dtype) as opened:
            yield opened


class TestVllmOnLlamaWithChunksAndPreemption(VllmConformance):
    """Prompts of 160 tokens in chunks of at most 48, and a cache that holds about four of eight requests."""

    architecture = "llama"
    engine_args = MappingProxyType({"max_num_batched_tokens": 48, "block_size": 32, "num_gpu_blocks_override": 24})

    def test_preempted_requests_are_steered_and_read_as_if_they_had_not_been(self, injector, reference, monkeypatch):
        restarts = []
        merge = injector_module().merge_ranks

        def spy(ranks, copies):
            records = merge(ranks, copies)
            restarts.extend(r.restarts for r in records.values())
            return records

        monkeypatch.setattr(injector_module(), "merge_ranks", spy)
        asked = mixed_batch(injector, lengths=[150] * 8, tokens=40)
        same(list(injector.generate(asked)), list(reference.generate(asked)))
        assert sum(restarts) > 0, "nothing was preempted: make the cache smaller"


class TestVllmOnGpt2(VllmConformance):
    """Blocks that return one tensor, where the others return two halves of the stream."""

    architecture = "gpt2"


class TestVllmOnLlamaInBfloat16(VllmConformance):
    architecture = "llama"
    dtype = "bfloat16"


class ParallelConformance(VllmConformance):
    """Engine and workers in processes of their own: in ours, what they leave open blocks the garbage collector."""

    @pytest.fixture(scope="class")
    @classmethod
    def injector(cls, tiny_folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
            with cls.open(tiny_folder) as opened:
                yield opened


class TestVllmTensorParallel(ParallelConformance):
    """Two processes that share each block."""

    architecture = "llama"
    options = MappingProxyType({"tensor_parallel_size": 2})


class TestVllmPipelineParallel(ParallelConformance):
    """Two processes with half of the blocks each."""

    architecture = "llama"
    options = MappingProxyType({"pipeline_parallel_size": 2})


class TestVllmOnFp8(VllmConformance):
    """A compressed-tensors FP8-dynamic checkpoint. The torch injector has other kernels for it: no reference."""

    architecture = "llama-fp8"
    dtype = "bfloat16"

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls):
        return None


@pytest.mark.parametrize("architecture", ["qwen3", "gemma2"])
def test_a_mixed_batch_has_the_replies_receipts_and_residuals_of_the_torch_injector(tiny_folder, architecture):
    folder = str(tiny_folder(architecture))
    with open_injector("vllm-lens", folder, dtype="float32", max_model_len=512, max_num_seqs=8) as injector:
        asked = mixed_batch(injector, lengths=[1, 2, 9, 40, 12, 30, 5, 60, 33, 21, 7, 80], tokens=16)
        found = list(injector.generate(asked))
    with open_injector("torch", folder, dtype="float32") as reference:
        same(found, list(reference.generate(asked)))


def injector_module():
    from introspection_bench.injectors.vllm_lens import injector

    return injector


def mixed_batch(injector, lengths, tokens):
    """Requests with all units, several layers and spans, controls, greedy and sampled."""
    spans = (Span.all(), Span.from_anchor("a"), Span.generation(), Span.between("a", "b"), Span.prompt())
    asked = []
    for n, length in enumerate(lengths):
        random = np.random.default_rng(n)
        ids = [int(i) for i in random.integers(6, 250, length)]
        prompt = RenderedPrompt(ids, "", {"a": length // 3, "b": min(length // 3 + 1, length - 1)})
        layer, unit = n % injector.model.n_layers, list(Unit)[n // 2 % 4]
        vector = make_vector(random.standard_normal(injector.model.hidden_size), layer, injector)
        magnitude = 3.0 if unit is Unit.ABSOLUTE else 0.7
        injection = None if n % 5 == 4 else Injection(vector, layer, magnitude, unit, spans[n % len(spans)])
        sampling = Sampling(float(n % 2), max_new_tokens=tokens)
        asked.append(Request(prompt, injection, sampling, seed=n, capture_layers=(0, 1, 2, 3)))
    return asked


def same(found, expected):
    expected = {c.index: c for c in expected}
    assert sorted(c.index for c in found) == sorted(expected)
    for completion in found:
        other = expected[completion.index]
        assert completion.reply == other.reply
        assert attrs.astuple(completion.receipt)[:2] == attrs.astuple(other.receipt)[:2]
        assert completion.receipt.mean_ratio == pytest.approx(other.receipt.mean_ratio, rel=1e-5)
        assert completion.receipt.max_ratio == pytest.approx(other.receipt.max_ratio, rel=1e-5)
        scale = np.abs(other.residuals).max()
        assert np.abs(completion.residuals - other.residuals).max() <= 1e-5 * scale
