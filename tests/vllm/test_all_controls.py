"""The example with every control on both backends on vLLM: they can do all of it.

The backend ``vllm`` runs here as its users have it, in graphs that Inductor compiled with the ops in them.
"""

from __future__ import annotations

import pytest

from introspection_bench import open_injector
from tests.controls_on_backends import require_all, run_all


@pytest.mark.parametrize("backend", ["vllm-lens", "vllm"])
def test_every_arm_and_measure_runs_and_steers_its_own_places_with_the_numbers_of_its_pair(
    backend, tiny_folder, tmp_path
):
    with open_injector(backend, tiny_folder("llama"), dtype="float32", max_model_len=2048) as injector:
        # vllm-lens makes engines eager; one of it was open in this process before.
        assert injector._engine.vllm_config.model_config.enforce_eager == (backend == "vllm-lens")
        require_all(run_all(injector, tmp_path / "run"))
