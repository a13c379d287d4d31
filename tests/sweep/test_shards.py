"""Shards of a prepared run: the split, what they take from it, and what is refused."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import attrs
import pytest
from conftest import planned
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench.analysis import Stopping
from introspection_bench.conditions import Condition
from introspection_bench.errors import SpecError, StoreMismatchError
from introspection_bench.sweep import (
    EffectsSpec,
    ModelSpec,
    RunSpec,
    Sequential,
    Shard,
    Sharded,
    Store,
    Sweep,
    begin_shard,
    prepare,
    prepare_spec,
    run_spec,
)
from introspection_bench.sweep.sharding import in_shard
from introspection_bench.trials import Sampling, Trial, TrialKey


def trials_of(sizes: list[int]) -> list[Trial]:
    """A plan with cells of these sizes."""
    return [
        Trial(TrialKey("m", "b", 1, str(cell), (), Sampling(), draw), Condition(f"arm {cell}", "s"), None, draw)
        for cell, size in enumerate(sizes)
        for draw in range(size)
    ]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=12), st.integers(1, 12), st.randoms(use_true_random=False))
def test_shards_are_disjoint_complete_balanced_within_one_cell_keep_cells_whole_and_know_no_order(
    sizes: list[int], of: int, rng: random.Random
) -> None:
    of = min(of, len(sizes))
    trials = trials_of(sizes)
    shards = [in_shard(trials, Shard(f"{n}/{of}")) for n in range(1, of + 1)]
    assert Counter(t.key.digest for t in itertools.chain(*shards)) == Counter(t.key.digest for t in trials)
    assert max(map(len, shards)) - min(map(len, shards)) <= max(sizes)
    homes = {(t.condition, n) for n, shard in enumerate(shards) for t in shard}
    assert len(homes) == len(sizes)
    assert all(shard == [t for t in trials if t in set(shard)] for shard in shards)  # in the plan's order
    mixed = rng.sample(trials, len(trials))
    again = [in_shard(mixed, Shard(f"{n}/{of}")) for n in range(1, of + 1)]
    assert [set(shard) for shard in again] == [set(shard) for shard in shards]


def test_a_split_is_the_same_with_the_next_version_of_this_package():
    trials = trials_of([3, 1, 2, 2, 5])
    found = [[t.condition.arm for t in in_shard(trials, Shard(f"{n}/3"))] for n in (1, 2, 3)]
    assert [sorted(set(arms)) for arms in found] == [["arm 4"], ["arm 0", "arm 1"], ["arm 2", "arm 3"]]


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "1/0", "1/2/3", "01/2", " 1/2", "1/2\n", "-1/2", "¹/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(SpecError, match="shard"):
        Shard(text)


def test_more_shards_than_cells_are_refused_with_the_number_of_cells():
    with pytest.raises(SpecError, match="as the plan has cells, 2; got 1/3"):
        in_shard(trials_of([1, 1]), Shard("1/3"))


def test_a_planner_that_asks_on_by_what_it_has_seen_has_no_shards(design, tmp_path):
    with pytest.raises(SpecError, match=r"shard 1/2.*Sequential"):
        Sharded(Sequential(design, Stopping(0.2, 3)), Shard("1/2"))
    with pytest.raises(SpecError, match="Sequential"):  # before a model is looked for
        prepare_spec(RunSpec(design, ModelSpec("nowhere"), stopping=Stopping(0.2, 3)), tmp_path)


@pytest.fixture(scope="module")
def prepared(design, injector, tmp_path_factory) -> Path:
    return prepare(Sweep(design, injector, tmp_path_factory.mktemp("prepared") / "run"))


def test_a_shard_takes_the_vectors_of_the_prepared_run_and_its_part_of_the_plan_at_its_places(
    design, injector, prepared, tmp_path, monkeypatch
):
    plan = planned(design, injector)
    whole = [t.key.digest for t in plan]
    begin_shard(prepared, "2/3", tmp_path / "two")
    # Vectors of its own would be read by this.
    monkeypatch.setattr(type(injector), "capture", lambda *_, **__: pytest.fail("a forward pass to extract"))
    results = Sweep(Sharded(design, Shard("2/3")), injector, tmp_path / "two").generate()
    assert [r.key.digest for r in results] == [t.key.digest for t in in_shard(plan, Shard("2/3"))]
    with Store.open(prepared) as one, Store.open(tmp_path / "two") as two:
        assert {v.digest for v in two.vectors()} == {v.digest for v in one.vectors()}
        places = dict(two._database.rows("", "SELECT key, position FROM planned"))
        assert all(whole[place] == key for key, place in places.items())
        assert two.run_spec().whole.trials == len(whole)


def test_a_shard_is_refused_without_a_prepared_run_and_a_whole_run_in_a_shards_place(
    design, injector, prepared, tmp_path
):
    with pytest.raises(StoreMismatchError, match=r"vectors and doses of a prepared run.*got none yet"):
        Sweep(Sharded(design, Shard("1/3")), injector, tmp_path / "none")
    begin_shard(prepared, "1/3", tmp_path / "one")
    for planner, got in ((design, "None"), (Sharded(design, Shard("2/3")), "2/3")):
        with pytest.raises(StoreMismatchError, match=f"shard 1/3, which it was begun for; got shard {got}"):
            Sweep(planner, injector, tmp_path / "one")
    with pytest.raises(StoreMismatchError, match="one: shard: required 2/3"):
        begin_shard(prepared, "2/3", tmp_path / "one")
    with pytest.raises(StoreMismatchError, match="plan: required a whole one; got that of shard 1/3"):
        begin_shard(tmp_path / "one", "1/3", tmp_path / "of one")
    with pytest.raises(SpecError, match="both, or neither"):
        run_spec(RunSpec(design, ModelSpec("nowhere")), shard="1/3")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"design": {"doses": ["0.5 residual"]}}, r"design\.doses: required .*0\.5 residual'\].*got .*2 residual"),
        ({"design": {"seed": 5}}, "design.seed: required 5.*got 0"),
        ({"model": ModelSpec("nowhere", "vllm")}, "backend: required vllm.*got torch"),
        ({"effects": EffectsSpec()}, "effects"),
    ],
)
def test_a_shard_of_another_specification_is_refused_before_its_model_is_opened(
    change, field, design, prepared, tmp_path
):
    told = {"design": design, "model": ModelSpec("nowhere"), **change}
    if isinstance(told["design"], dict):
        told["design"] = attrs.evolve(design, **told["design"])
    with pytest.raises(StoreMismatchError, match=field):
        run_spec(RunSpec(**told), directory=tmp_path / "s", shard="1/2", prepared=prepared)
    assert not (tmp_path / "s").exists()


def test_a_shard_on_another_model_is_refused_by_the_models_name(design, prepared, tmp_path):
    from introspection_bench.testing import save_tiny_model

    other = ModelSpec(str(save_tiny_model("qwen2", tmp_path / "other")), options={"torch": {"device": "cpu"}})
    with pytest.raises(StoreMismatchError, match=r"model llama.*got other"):
        run_spec(RunSpec(design, other), directory=tmp_path / "s", shard="1/2", prepared=prepared)


def test_effects_of_doses_are_measured_once_and_a_shard_of_a_run_that_lacks_them_is_refused(
    design, injector, tiny_folder, tmp_path
):
    model = ModelSpec(str(tiny_folder), options={"torch": {"device": "cpu"}})
    spec = RunSpec(attrs.evolve(design, doses=["0.5 residual"]), model, effects=EffectsSpec(1))
    with Sweep(spec.design, injector, tmp_path / "half", spec=spec).open_store():
        pass
    with pytest.raises(StoreMismatchError, match="effects: required those of its doses"):
        begin_shard(tmp_path / "half", "1/2", tmp_path / "s", spec=spec)
    prepare_spec(spec, tmp_path / "p")
    begun = begin_shard(tmp_path / "p", "1/2", tmp_path / "s", spec=spec)
    assert begun.shard == Shard("1/2")
    with Store.open(tmp_path / "p") as one, Store.open(tmp_path / "s") as two:
        assert two.effects() == one.effects()
        assert [s.opened for s in two.sessions()] == [s.opened for s in one.sessions() if s.effects]
