"""Settings of vLLM on a CPU, and tiny models on disk. Without vLLM these tests skip: scripts/test_vllm.sh runs them."""

from __future__ import annotations

import importlib.util
import os

import pytest

# Read by vLLM when it is imported or started.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Parallel workers are processes; a core for each.
os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0|1")

HAVE_VLLM = importlib.util.find_spec("vllm") is not None


def is_asked(item):
    """Whether a class asks for a conformance check (its attribute ``only``); everything else is asked for."""
    only = getattr(getattr(item, "cls", None), "only", None)
    check = item.callspec.params.get("check") if hasattr(item, "callspec") else None
    return only is None or check is None or check.number in only


def pytest_collection_modifyitems(config, items):
    """Deselect checks that a class does not ask for, and skip what needs vLLM where it is not installed.

    test_records.py needs only PyTorch.
    """
    left_out = [item for item in items if not is_asked(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    skip = pytest.mark.skip(reason="vLLM is not installed here; scripts/test_vllm.sh runs this in a venv of its own")
    for item in items:
        if not HAVE_VLLM and item.path.parent.name == "vllm" and item.path.name != "test_records.py":
            item.add_marker(skip)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A function that returns the folder of a tiny random model of an architecture.

    "llama-fp8" is quantised, "llama-nan" has NaN among its logits.
    """
    from introspection_bench.testing import quantise_saved_model, save_tiny_model, spoil_logits, tiny_model

    made = {}

    def folder_of(architecture):
        if architecture not in made:
            name, _, kind = architecture.partition("-")
            folder = save_tiny_model(name, tmp_path_factory.mktemp(architecture))
            if kind == "nan":
                spoil_logits(tiny_model(name)[0]).save_pretrained(folder)
            made[architecture] = quantise_saved_model(folder) if kind == "fp8" else folder
        return made[architecture]

    return folder_of
