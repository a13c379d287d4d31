"""vLLM conforms, with the torch injector on the same checkpoint as reference."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from mixed_batches import mixed_batch, replays, same

from introspection_bench import open_injector
from introspection_bench.testing import InjectorConformance


class VllmConformance(InjectorConformance):
    architecture: str
    dtype = "float32"
    #: The numbers of the checks that this kind of model or engine could fail where the first class passes; None: all.
    #: All of them take half a minute a class (conftest.py deselects the others).
    only: ClassVar[frozenset[int] | None] = None
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
    only = frozenset({2, 3, 5, 6, 14, 16, 19, 24, 25, 26, 28, 29, 30})

    def test_all_five_reads_are_those_of_the_torch_injector(self, injector, reference):
        assert injector.reads == type(injector).reads
        require_the_same_replays(injector, reference)


class TestVllmOnLlamaInBfloat16(VllmConformance):
    architecture = "llama"
    dtype = "bfloat16"
    only = frozenset({1, 2, 3, 6, 9, 12, 14, 16, 24, 26, 28, 29, 30})


class ParallelConformance(VllmConformance):
    """Engine and workers in processes of their own: in ours, what they leave open blocks the garbage collector."""

    only = frozenset({1, 2, 3, 5, 6, 14, 16, 17, 19, 25, 27, 28, 29, 30})

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

    def test_logits_of_a_shared_vocabulary_are_read_whole(self, injector, reference):
        assert injector.reads == type(injector).reads
        require_the_same_replays(injector, reference)


class TestVllmPipelineParallel(ParallelConformance):
    """Two processes with half of the blocks each."""

    architecture = "llama"
    options = MappingProxyType({"pipeline_parallel_size": 2})

    def test_a_block_that_lacks_the_final_norm_has_no_lens_and_all_else_is_read(self, injector, reference):
        assert injector.reads == type(injector).reads - {"lens"}
        require_the_same_replays(injector, reference)


class TestVllmOnFp8(VllmConformance):
    """A compressed-tensors FP8-dynamic checkpoint. The torch injector has other kernels for it: no reference.

    vLLM's CPU build emulates FP8, ten seconds a check; what steers is the same as in bfloat16.
    """

    architecture = "llama-fp8"
    dtype = "bfloat16"
    only = frozenset({14, 30})
    # Measuring the noise would take half a minute here.
    tolerance = 0.1

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls):
        return None


def require_the_same_replays(injector, reference):
    asked = mixed_batch(injector, lengths=[9, 40, 12, 30, 5], tokens=6)
    again = replays(injector, asked, reference.generate(asked))
    same(list(injector.generate(again)), list(reference.generate(again)))


def injector_module():
    from introspection_bench.injectors.vllm_lens import injector

    return injector
