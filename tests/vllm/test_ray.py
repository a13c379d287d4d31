"""vLLM's workers as Ray actors: two local nodes with a pipeline stage each.

vLLM has no Ray for CPUs. Here each node says that it has a GPU, and a plugin of vLLM (``pretended``) lets it believe so
in all its processes; all else is what runs on GPUs: placement, actors, messages within a node and between nodes.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest
from mixed_batches import mixed_batch, same

from introspection_bench import open_injector
from introspection_bench.errors import CaptureError, ModelError

ON_RAY = {"distributed_executor_backend": "ray"}
EAGER = {"vllm": {"enforce_eager": True}, "vllm-lens": {}}


def current_platform():
    from vllm import platforms

    return platforms.current_platform


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """The second of two nodes; vLLM finds the cluster by the environment."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    plugin = tmp_path_factory.mktemp("plugin")
    shutil.copy(Path(__file__).parent / "pretended" / "pretended_gpus.py", plugin)
    about = plugin / "pretended_gpus-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pretended_gpus\nVersion: 0\n")
    (about / "entry_points.txt").write_text("[vllm.platform_plugins]\npretended = pretended_gpus:platform\n")
    path = os.pathsep.join([str(plugin), str(Path(__file__).parents[2] / "src")])
    each = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.syspath_prepend(plugin)  # what is spawned from here has this path
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # by default they run behind everything else on the machine
        patch.setattr(type(current_platform()), "ray_device_key", "GPU")
        cluster = Cluster(initialize_head=True, head_node_args=each)
        try:
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster.add_node(**each)
        finally:
            cluster.shutdown()


def opened(backend, folder, engine_args, **options):
    return open_injector(
        backend, folder, dtype="float32", max_model_len=128, max_num_seqs=4,
        engine_args={**EAGER[backend], **engine_args}, **options,
    )  # fmt: skip


def worker_of(node):
    """The process of vLLM's worker on a node."""
    (raylet,) = node.all_processes["raylet"]
    (worker,) = (
        p for p in psutil.Process(raylet.process.pid).children(recursive=True) if "RayWorker" in " ".join(p.cmdline())
    )
    return worker.pid


# The executor is both backends': vllm-lens on it costs 24 s more, and benchmarks/gpu_ray.py runs it on GPUs.
@pytest.mark.parametrize("backend", ["vllm"])
def test_replies_and_receipts_from_two_ray_nodes_are_those_of_one_process_and_a_killed_worker_is_an_error(
    nodes, tiny_folder, monkeypatch, backend
):
    folder = tiny_folder("llama")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    with opened(backend, folder, ON_RAY, pipeline_parallel_size=2) as injector:
        asked = mixed_batch(injector, lengths=[9, 40, 12, 30, 5], tokens=6)
        found = list(injector.generate(asked))
        assert injector.reads == type(injector).reads - {"lens"}
        os.kill(worker_of(nodes), signal.SIGKILL)
        with pytest.raises(CaptureError, match=r"has ended.*goes on where it stopped"):
            list(injector.generate(asked))
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    with opened(backend, folder, {}) as alone:
        same(found, list(alone.generate(asked)))


@pytest.mark.parametrize("backend", ["vllm", "vllm-lens"])
def test_where_vllm_has_no_workers_on_ray_asking_for_them_is_refused_with_what_to_do(tiny_folder, monkeypatch, backend):
    pytest.importorskip("ray")
    monkeypatch.setattr(type(current_platform()), "ray_device_key", "")  # whatever the other tests pretend
    with pytest.raises(ModelError, match=r"'cpu', which has no workers on Ray.*Leave the argument out"):
        opened(backend, tiny_folder("llama"), ON_RAY, pipeline_parallel_size=2)
