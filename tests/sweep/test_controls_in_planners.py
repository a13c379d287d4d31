"""Control arms and doses by effect in runs that confirm, that stop early, and that are frozen beforehand."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import Any

import attrs
import numpy as np
import pytest
from conftest import CONCEPTS
from fake_judge import FakePicky

import introspection_bench as ib
from introspection_bench.analysis import (
    Stopping,
    departures,
    identification,
    live_cells,
    log_odds_contrast,
    log_odds_frame,
    naming_frame,
)
from introspection_bench.background import Background
from introspection_bench.dosing import Probe
from introspection_bench.errors import AnalysisError, SpecError
from introspection_bench.measures import Cosines, TokenLogprobs
from introspection_bench.plugins import resolve
from introspection_bench.sweep import (
    Confirmation,
    Confirmed,
    Design,
    EffectsSpec,
    Ground,
    Hypothesis,
    Injected,
    ModelSpec,
    NeutralLabels,
    Plan,
    ProjectedOut,
    RandomVector,
    RunSpec,
    SelectionRule,
    Sequential,
    Store,
    Sweep,
    Unsteered,
    freeze,
    measure_run,
    planned_arms,
)
from introspection_bench.sweep import dosing as dosing_module
from introspection_bench.sweep.arms import ARMS, GROUP
from introspection_bench.sweep.planner import PlannedTrial, plan
from introspection_bench.vectors import ConceptVector, Provenance

RULE = SelectionRule(["dose"], "affirmative", "picky")
FRESH = ib.ConceptSet("others", [ib.Concept("Rain", word="Rain")])
DESIGN = Design(
    concepts=CONCEPTS,
    layers=[1],
    doses=["0.02 kl", "0.1 kl"],
    arms=[Unsteered(1), Injected(1)],
    sampling=ib.Sampling(max_new_tokens=2),
)
MODEL = ModelSpec("no/such/model")
HYPOTHESES = [Hypothesis("More.", "strict", ["injected"], "these concepts", "greater")]


def of_each_kind(n: int) -> list[Any]:
    """An arm for each word that a specification has, and those that need most of a model.

    Not those that fill the slots of an experiment's own prompt.
    """
    words = [word for word in ARMS if word not in ("worded", "offered", "located")]
    each = [resolve(GROUP, ARMS, word)(n, **({"at": "reply"} if word == "removed" else {})) for word in words]
    further = [RandomVector(n, "covariance"), RandomVector(n, matched="impact"), ProjectedOut(n, 3, other=True)]
    return [*each, *further]


@pytest.fixture(scope="module")
def ground(smol_tokenizer) -> Ground:
    rng = np.random.default_rng(0)
    told = Provenance("made", "m", "", "", 0, -1, 1.0, None)
    vectors = {
        (c.name, layer): ConceptVector(rng.standard_normal(8), c.name, layer, told)
        for c in CONCEPTS
        for layer in (1, 2)
    }
    info = ib.ModelInfo("m", "f", 4, 8, "float32")
    words = {
        layer: Background([ConceptVector(rng.standard_normal(8), str(n), layer, told) for n in range(200)])
        for layer in (1, 2)
    }
    day = datetime.date(2026, 1, 2)
    return Ground(info, "torch", 1, smol_tokenizer, day, vectors, background=words)


def test_a_dose_by_effect_is_chosen_as_one_cell_and_found_and_measured_for_the_concepts_that_confirm_it(
    injector, tmp_path, monkeypatch
):
    planner = Confirmed(DESIGN, Confirmation(RULE, {"injected": 2}, "both", FRESH))
    stated = RunSpec(DESIGN, MODEL, effects=EffectsSpec(2))
    results = Sweep(planner, injector, tmp_path, spec=stated).run(FakePicky())
    with Store.open(tmp_path) as store:
        chosen = store.chosen()
    assert [(str(c.dose), c.trials) for c in chosen.candidates] == [("0.02 kl", 2), ("0.1 kl", 2)]
    confirming = [r for r in results.of_part("confirmation").records if r.arm == "injected"]
    assert {r.condition.effect for r in confirming} == {chosen.cell.dose}
    doses = {r.concept: r.condition.dose for r in confirming}
    assert set(doses) == {"Oceans", "Bread", "Rain"}
    assert len(set(doses.values())) == 3
    measured = [(e.concept, str(e.effect)) for e in results.effects]
    both = [(concept, dose) for dose in ("0.02 kl", "0.1 kl") for concept in ("Oceans", "Bread")]
    assert measured == [*both, ("Rain", str(chosen.cell.dose))]
    frame = results.frame()
    assert live_cells(frame[frame["arm"] == "injected"], results.effects)["live"].notna().all()

    def never(*_args, **_kwargs):
        raise AssertionError("asked again")

    monkeypatch.setattr(dosing_module, "find_dose", never)
    with Store.open(tmp_path) as store:
        assert measure_run(store, TokenLogprobs({"o": ("Ok",)}), injector).measured == len(results)
    monkeypatch.setattr(Probe, "read", never)
    again = Sweep(planner, injector, tmp_path, spec=stated)
    assert [t.key for t in again.planned] == [r.key for r in results]
    assert again.measure_effects().rows == results.effects.rows


def test_a_run_that_stops_early_has_in_each_round_of_every_arm_the_concepts_of_one(ground):
    design = attrs.evolve(DESIGN, layers=[1, 2], arms=of_each_kind(2))
    planner = Sequential(design, Stopping(0.2, 3))

    def asked(trials: list[PlannedTrial]) -> Counter[Any]:
        # Of an arm whose judges are asked about decoys only the number is the plan's.
        decoys = ("control", *(t.condition.arm for t in trials if t.condition.arm.startswith("random")))
        return Counter((t.condition.arm, "" if t.condition.arm in decoys else t.condition.asked) for t in trials)

    one, most, first = plan(design, ground), planner.most(ground), planner.ask(ground, [])
    assert asked(first) == asked(one)
    assert asked(most) == Counter({place: 3 * n for place, n in asked(one).items()})
    assert [t.key for t in most[: len(first)]] == [t.key for t in first]
    assert len({t.key for t in most}) == len(most)


def test_the_trials_of_every_arm_that_are_frozen_are_those_that_are_planned(ground):
    design = attrs.evolve(DESIGN, arms=of_each_kind(3), layers=[1, 2])
    counts = {arm.arm: arm.trials for arm in planned_arms(RunSpec(design, MODEL))}
    assert counts == Counter(t.condition.arm for t in plan(design, ground))


def test_what_is_frozen_holds_the_effects_and_every_item_that_arms_ask(tmp_path, injector):
    spec = RunSpec(
        attrs.evolve(DESIGN, arms=[*DESIGN.arms, NeutralLabels(1)], doses=["1 residual"]),
        ModelSpec("m"),
        effects=EffectsSpec(2),
        plan=Plan(HYPOTHESES, "All.", ["None."]),
    )
    frozen = freeze(spec)
    assert frozen.spec["effects"] == {"n_random": 2}
    assert frozen.digest != freeze(attrs.evolve(spec, effects=None), date=frozen.date).digest
    (arm,) = (arm for arm in frozen.spec["design"]["arms"] if arm["arm"] == "neutral_labels")
    assert arm["battery"]["items"][0]["slots"]
    other = attrs.evolve(spec, effects=EffectsSpec(3), frozen=frozen)
    results = Sweep(spec.planner, injector, tmp_path / "run", spec=other).generate()
    assert "effects.n_random" in {d.field for d in departures(results)}


def test_items_of_the_concepts_that_confirm_are_told_to_judges(tmp_path):
    (tmp_path / "s.toml").write_text(
        """
directory = "run"
[model]
name = "m"
[design]
layers = [1]
doses = ["1 residual", "2 residual"]
concepts = { set = "lindsey2026", names = ["Bread"] }
[design.arms.injected]
n = 1
[design.arms.mention]
n = 1
[confirm]
fresh = "concepts"
concepts = { set = "lindsey2026", names = ["Oceans"] }
[confirm.rule]
chooses = ["dose"]
"""
    )
    names = [item["name"] for item in RunSpec.from_toml(tmp_path / "s.toml").plain()["further"]["items"]]
    assert {name.split(": ")[1] for name in names} == {"Bread", "Oceans"}


def test_no_scaffold_is_chosen_by_an_arm_that_asks_others():
    design = attrs.evolve(DESIGN, scaffolds=["lindsey", "lindsey_405b"], arms=[Injected(1), NeutralLabels(1)])
    with pytest.raises(SpecError, match=r"rule.chooses: required some of \['dose', 'layers'\]"):
        Confirmed(design, Confirmation(SelectionRule(["scaffold"], arm="neutral_labels")))
    Confirmed(design, Confirmation(SelectionRule(["scaffold"])))


def test_random_vectors_that_confirm_take_after_no_fresh_concept_and_are_found_again_by_a_measure(injector, tmp_path):
    design = attrs.evolve(
        DESIGN, doses=["0.5 residual", "1 residual"], arms=[Injected(1), RandomVector(1, "covariance")]
    )
    fresh = ib.ConceptSet("others", [ib.Concept("Banana", word="banana")])
    planner = Confirmed(design, Confirmation(RULE, fresh="concepts", concepts=fresh))
    sweep = Sweep(planner, injector, tmp_path)
    assert "banana" in {v.concept for v in sweep.word_vectors}
    results = sweep.run(FakePicky())
    steps = {r.trial.part: v.vector.provenance.steps[-1] for r, v in _drawn(sweep, results)}
    counts = {part: int(told.split(" of ")[1].split()[0]) for part, told in steps.items()}
    assert counts["confirmation"] == counts["selection"] - 1
    with Store.open(tmp_path) as store:
        for measure in (TokenLogprobs({"yes": ("Ok",), "no": ("a",)}), Cosines(sweep.vectors, at="reply")):
            assert measure_run(store, measure, injector).measured == len(results)
        records = store.records()
    # What the readings say is pooled no more than verdicts are.
    for pooling in (
        lambda: identification(naming_frame(records, "cosines")),
        lambda: log_odds_contrast(log_odds_frame(records, "token_logprobs")),
    ):
        with pytest.raises(AnalysisError, match="got both"):
            pooling()


def _drawn(sweep: Sweep, results: ib.Results) -> list[tuple[ib.TrialRecord, Any]]:
    steers = {t.key: t.request.steers for t in sweep.planned}
    return [(r, steers[r.key][0]) for r in results if r.arm == "random_covariance"]
