"""Sweeps whose doses are asked for by their effect, and that measure what their doses do, on a tiny real model."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from conftest import CONCEPTS

from introspection_bench import read_results, vector_ranks
from introspection_bench.analysis import rates, records_frame
from introspection_bench.dosing import FROM_TEXT, Probe
from introspection_bench.errors import InjectionError, ModelError
from introspection_bench.injection import Injection
from introspection_bench.injectors.base import Injector
from introspection_bench.interop import write_jsonl
from introspection_bench.measures import TokenLogprobs
from introspection_bench.sweep import (
    Design,
    EffectsSpec,
    Injected,
    ModelSpec,
    Negated,
    RandomVector,
    RunSpec,
    Store,
    Sweep,
    Unsteered,
    measure_run,
)
from introspection_bench.sweep import dosing as dosing_module
from introspection_bench.sweep.outline import outline
from introspection_bench.trials import Sampling

DESIGN = Design(
    concepts=CONCEPTS,
    layers=[1, (1, 2)],
    doses=["0.05 kl", "0.5 residual"],
    arms=[Unsteered(2), Injected(1), Negated(1), RandomVector(2)],
    sampling=Sampling(max_new_tokens=3),
)


@pytest.fixture(scope="module")
def swept(injector, tmp_path_factory):
    sweep = Sweep(DESIGN, injector, tmp_path_factory.mktemp("kl") / "run")
    sweep.measure_effects(n_random=3)
    return sweep, sweep.generate()


def test_each_concept_gets_the_dose_that_has_the_effect_and_the_key_holds_it(swept, injector):
    sweep, results = swept
    probe = Probe(injector, date=sweep.design.date)
    vectors = {(v.concept, v.layer): v for v in sweep.vectors}
    asked = [r for r in results if r.condition.effect is not None and r.condition.arm == "injected"]
    assert {(r.condition.concept, r.condition.layers) for r in asked} == {
        (c, n) for c in ("Oceans", "Bread") for n in ((1,), (1, 2))
    }
    for record in asked:
        dose = record.condition.dose
        assert dose.unit == "residual"
        assert {(s.magnitude, s.unit) for s in record.key.steers} == {(dose.magnitude, "residual")}
        injections = [
            Injection(vectors[record.condition.concept, n], n, dose, FROM_TEXT) for n in record.condition.layers
        ]
        assert probe.neutral_kl(injections) == pytest.approx(0.05, rel=0.02)
    doses = {(r.condition.concept, r.condition.layers): r.condition.dose for r in asked}
    assert len(set(doses.values())) == 4


def test_other_arms_have_the_dose_of_the_concept_that_they_are_made_of(swept):
    doses = {}
    for arm in ("injected", "negated", "random"):
        doses[arm] = {
            (r.condition.layers, r.condition.dose) for r in swept[1] if r.arm == arm and r.condition.effect is not None
        }
    assert doses["negated"] == doses["random"] == doses["injected"]
    assert all(r.condition.effect is None for r in swept[1] if r.arm == "control")


def test_trials_are_grouped_by_the_effect_asked_for(swept):
    frame = records_frame(swept[1].records)
    mine = frame[frame["effect"].eq("0.05 kl").fillna(value=False)]
    assert set(mine["magnitude"]) == {0.05}
    assert set(mine["unit"]) == {"kl"}
    assert mine["resolved"].nunique() == 4
    assert frame[frame["unit"].eq("residual").fillna(value=False)]["resolved"].isna().all()
    table = rates(frame, ["arm", "layers", "magnitude", "unit"])
    assert len(table[(table["arm"] == "injected") & (table["unit"] == "kl")].drop_duplicates("layers")) == 2


def test_doses_and_effects_are_stored_and_found_again_without_a_search(swept, injector, monkeypatch):
    sweep, results = swept

    def never(*_args, **_kwargs):
        raise AssertionError("a dose was searched again")

    monkeypatch.setattr(dosing_module, "find_dose", never)
    monkeypatch.setattr(Probe, "read", never)
    again = Sweep(DESIGN, injector, sweep.directory)
    assert [t.key for t in again.planned] == [t.key for t in sweep.planned]
    assert again.measure_effects(n_random=3) == results.effects
    assert again.generate() == results
    with Store.open(sweep.directory) as store:
        assert [s.effects for s in store.sessions() if s.effects] == [8]
        assert len(store.found()) == len(results.doses) == 4


def test_a_store_is_measured_by_the_doses_that_it_holds(swept, injector, monkeypatch):
    monkeypatch.setattr(dosing_module, "find_dose", None)
    with Store.open(swept[0].directory) as store:
        done = measure_run(store, TokenLogprobs({"o": ("Ok",)}), injector)
    assert done.measured == len(swept[1])


def test_the_effects_table_has_a_row_for_each_concept_layer_and_dose(swept):
    rows = swept[1].effects.rows
    assert [(r.concept, r.layers, str(r.effect or r.dose)) for r in rows] == [
        (concept, layers, dose)
        for layers in ((1,), (1, 2))
        for dose in ("0.05 kl", "0.5 residual")
        for concept in ("Oceans", "Bread")
    ]
    for row in rows:
        assert len(row.random_gain) == 3
        assert row.effect is None or row.median_kl == pytest.approx(0.05, rel=0.011)


def no_norm(*_):
    raise ModelError("no final norm")


@pytest.mark.parametrize("without_lens", [Injector._logits_of, no_norm], ids=["backend", "model"])
def test_each_effect_has_the_ranks_of_its_vectors_and_a_backend_or_model_without_a_lens_has_none(
    without_lens, swept, injector, tmp_path, monkeypatch
):
    ranks = {r.vector: r.rank for r in vector_ranks(injector, swept[0].vectors, CONCEPTS)}
    rows = swept[1].effects.rows
    assert all(row.ranks == tuple(ranks[v] for v in row.vectors) for row in rows)
    assert len(set(ranks.values())) > 1
    monkeypatch.setattr(type(injector), "_logits_of", without_lens)
    without = Sweep(attrs.evolve(DESIGN, layers=[1], doses=["0.5 residual"]), injector, tmp_path / "run")
    assert {row.ranks for row in without.measure_effects(n_random=1)} == {None}
    assert {row.ranks for row in without.results().effects} == {None}


def test_an_export_keeps_effects_and_doses(swept, tmp_path):
    write_jsonl(swept[1], tmp_path / "all.jsonl")
    read = read_results(tmp_path / "all.jsonl")
    assert (read.effects, read.doses) == (swept[1].effects, swept[1].doses)


def test_a_specification_asks_for_effects_which_are_measured_before_anything_is_generated(
    tiny_folder, injector, tmp_path
):
    text = f"""
directory = "run"
[model]
name = "{tiny_folder}"
[effects]
n_random = 2
[design]
layers = [1]
doses = ["0.5 residual"]
concepts = {{ set = "lindsey2026", names = ["Bread"] }}
sampling = {{ max_new_tokens = 2 }}
[design.arms.injected]
n = 1
"""
    (tmp_path / "run.toml").write_text(text)
    spec = RunSpec.from_toml(tmp_path / "run.toml")
    assert spec.effects == EffectsSpec(2)
    assert RunSpec.from_plain(spec.plain(), "plain") == spec
    sweep = Sweep(spec.design, injector, tmp_path / "run", spec=spec)

    def stop(_record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.generate(stop)
    with Store.open(tmp_path / "run") as store:
        assert [(r.concept, len(r.random_gain)) for r in store.effects()] == [("Bread", 2)]


def test_a_plan_without_a_model_has_stand_ins_for_doses_by_effect(injector, tiny_folder):
    spec = RunSpec(DESIGN, ModelSpec(str(tiny_folder)))
    told = outline(spec)
    assert told.trials == {"control": 2, "injected": 8, "negated": 8, "random": 8}


def test_a_design_whose_effect_no_magnitude_has_is_refused_at_planning(injector):
    with pytest.raises(InjectionError, match="dose 1000000 kl of 'Oceans' at layer 1: required an effect"):
        Sweep(attrs.evolve(DESIGN, doses=["1e6 kl"]), injector, Path("/no/such/run"))
