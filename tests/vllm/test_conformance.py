"""vLLM conforms, with the torch injector on the same checkpoint as reference."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from introspection_bench import open_injector
from introspection_bench.testing import InjectorConformance


class VllmConformance(InjectorConformance):
    architecture: str
    dtype = "float32"
    engine_args: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @pytest.fixture(scope="class")
    @classmethod
    def injector(cls, tiny_folder):
        with open_injector(
            "vllm",
            tiny_folder(cls.architecture),
            dtype=cls.dtype,
            max_model_len=512,
            max_num_seqs=8,
            engine_args=cls.engine_args,
        ) as opened:
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


class TestVllmOnQwen3(VllmConformance):
    architecture = "qwen3"


class TestVllmOnGemma2(VllmConformance):
    architecture = "gemma2"


class TestVllmOnGpt2(VllmConformance):
    """Blocks that return one tensor, where the others return two halves of the stream."""

    architecture = "gpt2"


class TestVllmOnLlamaInBfloat16(VllmConformance):
    architecture = "llama"
    dtype = "bfloat16"
