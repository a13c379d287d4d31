"""The example with every control on vLLM: it can do all of it."""

from __future__ import annotations

from introspection_bench import open_injector
from tests.controls_on_backends import require_all, run_all


def test_every_arm_and_measure_runs_and_steers_its_own_places_with_the_numbers_of_its_pair(tiny_folder, tmp_path):
    with open_injector("vllm-lens", tiny_folder("llama"), dtype="float32", max_model_len=2048) as injector:
        require_all(run_all(injector, tmp_path / "run"))
