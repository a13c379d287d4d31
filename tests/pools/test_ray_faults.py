"""Workers on a real Ray cluster of two nodes: what is killed on purpose costs no trial, and none is made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import faulty
import pytest
from faulty import DESIGN, sweep_in

import introspection_bench as ib
from introspection_bench.analysis import Stopping
from introspection_bench.errors import IntrospectionBenchWarning, WorkerError
from introspection_bench.sweep import Injected, Sequential, Store, Sweep, Unsteered
from introspection_bench.testing import save_tiny_model
from introspection_bench.trials import Sampling, TrialRecord

pytest.importorskip("ray", reason="Ray is not installed: pip install 'introspection-bench[ray]'")
pytestmark = pytest.mark.slow
#: A node's memory for objects: vectors go through it, and a container's shared memory is small.
NODE = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        here = str(Path(__file__).parent)
        patch.setenv("PYTHONPATH", here, prepend=os.pathsep)  # where workers find the faulty injector
        from ray.cluster_utils import Cluster

        found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        found.second = found.add_node(**NODE)
        yield found
        found.shutdown()


@pytest.fixture
def pool(cluster: Any) -> ib.RayPool:
    return ib.RayPool(2, address=cluster.address, shard=8)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialRecord, ...]:
    """What one process records."""
    return sweep_in(tmp_path_factory.mktemp("alone")).generate().records


def at_trial(number: int, do: Callable[[], object]) -> Callable[[object], None]:
    count = iter(range(1, 10**6))
    return lambda _: do() if next(count) == number else None


def workers_of(directory: Path) -> list[Any]:
    with Store.open(directory) as store:
        return [s.process.worker for s in store.sessions() if s.trials]


def test_workers_make_what_one_process_makes_with_a_real_model_and_the_store_says_which_made_what(
    cluster: Any, tmp_path: Path
) -> None:
    """Bit for bit with batches of one; in batches the numbers of a receipt may round differently."""
    folder = save_tiny_model("llama", tmp_path / "model")
    opened = ib.open_injector("torch", str(folder), device="cpu", batch_size=1)
    design = attrs.evolve(DESIGN, arms=[Unsteered(4), Injected(4)], sampling=Sampling(max_new_tokens=8))
    one = Sweep(design, opened, tmp_path / "one").generate()
    found = Sweep(design, opened, tmp_path / "two").generate(on=ib.RayPool(2, address=cluster.address, shard=3))
    assert found.records == one.records
    with Store.open(tmp_path / "two") as store:
        sessions = [s for s in store.sessions() if s.trials]
    assert sum(s.trials for s in sessions) == len(one)
    places = [s.process.worker for s in sessions]
    assert len({p.pid for p in places}) == len(places)
    assert {p.node for p in places} <= {cluster.head_node.node_id, cluster.second.node_id}


def test_a_worker_killed_in_the_middle_of_a_run_in_rounds_costs_no_trial(pool: ib.RayPool, tmp_path: Path) -> None:
    rounds = Sequential(DESIGN, Stopping(0.05, rounds=2))
    alone = sweep_in(tmp_path / "one", rounds).run().records
    kill = at_trial(10, lambda: os.kill(workers_of(tmp_path / "two")[0].pid, signal.SIGKILL))
    found = sweep_in(tmp_path / "two", rounds, latency_s=0.02).run(on_trial=kill, on=pool)
    assert found.records == alone
    assert len(alone) > 80
    assert 2 <= len({w.pid for w in workers_of(tmp_path / "two")}) <= 3  # those of the first round make the second


def test_a_trial_that_kills_each_worker_is_named_after_three_deaths_and_all_others_are_there(
    pool: ib.RayPool, alone: tuple[TrialRecord, ...], tmp_path: Path
) -> None:
    poison = alone[33]
    with pytest.raises(WorkerError, match=rf"trial {poison.key.digest[:12]}.*3 workers that died"):
        sweep_in(tmp_path, fatal=[poison.key.seed]).generate(on=pool)
    with Store.open(tmp_path) as store:
        assert poison.key.digest not in store.recorded()
    assert sweep_in(tmp_path).generate().records == alone


def test_workers_that_never_open_are_one_error_that_says_once_what_became_of_each(cluster: Any, tmp_path: Path) -> None:
    faults = tmp_path / "faults"
    faults.mkdir()
    for n, how in enumerate(["out of memory: 405 GB", "out of memory: 405 GB", "killed", "other weights"]):
        (faults / str(n)).write_text(how)
    pool = ib.RayPool(4, address=cluster.address)
    with pytest.warns(IntrospectionBenchWarning) as told, pytest.raises(WorkerError) as raised:
        sweep_in(tmp_path / "run", faults=str(faults)).generate(on=pool)
    said = str(raised.value)
    assert said.count("MemoryError: out of memory: 405 GB (2 of 4 workers)") == 1
    assert "its process died while it opened the model" in said
    assert "it opened another model" in said
    assert len(told) <= 3


def test_a_driver_killed_in_the_middle_goes_on_when_it_is_started_again(
    cluster: Any, pool: ib.RayPool, alone: tuple[TrialRecord, ...], tmp_path: Path
) -> None:
    command = [sys.executable, faulty.__file__, str(tmp_path), cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as driver:
        for _ in range(20):
            assert driver.stdout.readline() == b"made\n"
        driver.kill()
    with Store.open(tmp_path) as store:
        before = store.recorded()
    assert 20 <= len(before) < 80
    made: list[str] = []
    found = sweep_in(tmp_path).generate(lambda record: made.append(record.key.digest), on=pool)
    assert found.records == alone
    assert len(made) == 80 - len(before)
    assert not before & set(made)


def test_a_node_that_leaves_costs_no_trial(
    cluster: Any, pool: ib.RayPool, alone: tuple[TrialRecord, ...], tmp_path: Path
) -> None:
    leave = at_trial(10, lambda: cluster.remove_node(cluster.second, allow_graceful=False))
    began = time.monotonic()
    assert sweep_in(tmp_path, latency_s=0.05).generate(leave, on=pool).records == alone
    assert time.monotonic() - began < 60
    assert {w.node for w in workers_of(tmp_path)[2:]} <= {cluster.head_node.node_id}
