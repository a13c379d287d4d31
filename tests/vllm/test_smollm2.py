"""A real model on vLLM; scripts/test_vllm.sh has it converted in the project's own environment first."""

from __future__ import annotations

import pytest

from introspection_bench.demo_model import smollm2_path
from introspection_bench.errors import ModelNotFoundError
from tests.spec_on_backends import greedy_replies, require_the_same


def test_a_sweep_on_smollm2_has_the_torch_backends_greedy_replies_with_only_the_backend_changed(tmp_path):
    try:
        smollm2_path()
    except ModelNotFoundError as error:
        pytest.skip(str(error))
    expected = greedy_replies("torch", tmp_path)
    for backend in ("vllm-lens", "vllm"):
        require_the_same(greedy_replies(backend, tmp_path), expected)
