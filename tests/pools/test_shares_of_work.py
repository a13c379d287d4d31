"""What goes out together, in what size, and what becomes of trials whose worker died."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
from faulty import DESIGN, sweep_in
from typer.testing import CliRunner

import introspection_bench as ib
from introspection_bench.cli.app import app
from introspection_bench.errors import BackendUnavailableError, SilentInjectionError, SpecError, WorkerError
from introspection_bench.sweep import Injected, Sweep, Unsteered
from introspection_bench.sweep.planner import PlannedTrial
from introspection_bench.sweep.pools import connecting
from introspection_bench.sweep.pools.crew import _raised
from introspection_bench.sweep.pools.ray_pool import opening_of
from introspection_bench.sweep.pools.shards import Shards, alike
from introspection_bench.sweep.pools.worker import Failure, SentRequest
from introspection_bench.testing import ScriptedInjector


@pytest.fixture(scope="module")
def planned() -> list[PlannedTrial]:
    return sweep_in(Path("/no/such/run"), attrs.evolve(DESIGN, arms=[Unsteered(40), Injected(10)])).planned


def drained(shards: Shards, workers: int) -> list[list[int]]:
    found = []
    while shards.left:
        found.append(shards.take(workers))
    return found


def test_every_trial_goes_out_once_in_shards_that_get_smaller_towards_the_end(planned: list[PlannedTrial]) -> None:
    found = drained(Shards(planned, 64), 2)
    assert sorted(n for shard in found for n in shard) == list(range(len(planned)))
    assert len(found[0]) > 2
    assert len(found[-1]) == 1
    assert max(map(len, drained(Shards(planned, 4), 1))) == 4


def test_trials_that_share_a_prefill_stand_together_and_are_cut_only_where_a_shard_is_full(
    planned: list[PlannedTrial],
) -> None:
    order = [n for shard in drained(Shards(planned, 10), 1) for n in shard]
    steers = [planned[n].key.steers for n in order]
    assert 1 + sum(a != b for a, b in pairwise(steers)) == len(alike(planned)) == 5
    assert {len({planned[n].key.steers for n in shard}) for shard in drained(Shards(planned, 10), 1)[:4]} == {1}


def test_what_was_under_way_at_a_death_goes_out_in_eights_then_alone_and_is_an_error_at_the_third(
    planned: list[PlannedTrial],
) -> None:
    shards = Shards(planned, 64)
    first = shards.take(1)
    shards.died(first, "killed")
    again = shards.take(1)
    assert again == first[:8]
    shards.died(again, "killed")
    rest = [shards.take(1) for _ in range(-(-(len(first) - 8) // 8))]
    assert sorted(n for shard in rest for n in shard) == sorted(first[8:])
    alone = shards.take(1)
    assert alone == first[:1]
    with pytest.raises(WorkerError, match=f"trial {planned[alone[0]].key.digest[:12]}.*killed"):
        shards.died(alone, "killed")


def test_a_request_comes_back_whole_from_its_sent_form(planned: list[PlannedTrial]) -> None:
    request = planned[-1].request
    vectors = {s.vector.digest: ib.ConceptVector.from_bytes(s.vector.to_bytes(), "v") for s in request.steers}
    assert request.steers
    assert SentRequest.of(request).whole(vectors) == request


@pytest.mark.parametrize(
    ("injector", "words"),
    [
        (ScriptedInjector.open("m"), "made by hand"),
        (ib.open_injector(type("FakeLocal", (ScriptedInjector,), {"__qualname__": "f.<locals>.Local"}), "m"), "class"),
    ],
)
def test_an_injector_that_others_can_not_open_alike_is_an_error_that_says_how_to(
    injector: ib.Injector, words: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=f"{words}.*open_injector"):
        Sweep(DESIGN, injector, tmp_path).generate(on=ib.RayPool(2))


def test_a_folder_is_sent_by_its_whole_path_since_workers_have_other_working_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    assert opening_of(ib.open_injector(ScriptedInjector, "weights")).model == os.path.join(tmp_path, "weights")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"n": 0}, "RayPool.n"), ({"shard": 0}, "RayPool.shard"), ({"address": "ray://head:10001"}, "client")],
)
def test_a_pool_that_can_not_be_is_an_error_at_once(options: dict, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ib.RayPool(**options)


def test_without_ray_a_pool_is_an_error_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "find_spec", lambda _: None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'introspection-bench\[ray\]'"):
        ib.RayPool(2)


def test_options_of_a_pool_without_workers_are_an_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["run", "nothing.toml", "--ray", "auto"])
    assert isinstance(found.exception, SpecError)
    assert "--workers" in str(found.exception)


def test_an_exception_of_a_worker_is_the_package_s_own_again_with_the_trial_s_place_and_the_traceback() -> None:
    error = SilentInjectionError("no proof")
    error.request = 1
    found = _raised(Failure.of(error), [7, 9])
    assert (type(found), str(found), found.request) == (SilentInjectionError, "no proof", 9)
    assert "On the worker" in found.__notes__[0]
    assert str(_raised(Failure.of(KeyError("x")), [7])) == "A worker failed: KeyError: 'x'"
