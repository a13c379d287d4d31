"""Runs that search over the dose for where naming and coherence cross."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from fake_curves import DESIGN, LATE, NEVER, SWEET, Curves, FakeModel, FakeReader, ground_of, play, record
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import introspection_bench as ib
from introspection_bench.analysis import anytime, departures, searched
from introspection_bench.cli import app
from introspection_bench.errors import AnalysisError, SpecError, StoreMismatchError
from introspection_bench.measures import TokenLogprobs
from introspection_bench.report import preregistration
from introspection_bench.report.page.planned import plan_section
from introspection_bench.sweep import (
    Confirmation,
    Confirmed,
    Ground,
    Hypothesis,
    Injected,
    ModelSpec,
    Plan,
    RandomVector,
    RunSpec,
    Searching,
    SelectionRule,
    Store,
    Sweep,
    Unsteered,
    freeze,
    measure_run,
    planned_arms,
)
from introspection_bench.sweep.outline import outline

RULE = ib.Search(60)
WORLDS = 8


class FakeKillError(Exception):
    pass


@pytest.fixture(scope="module")
def ground(tiny_folder: Path) -> Ground:
    from transformers import AutoTokenizer

    return ground_of(AutoTokenizer.from_pretrained(tiny_folder))


def alone(rule: ib.Search = RULE) -> Searching:
    """A search of one concept."""
    one = attrs.evolve(DESIGN, concepts=DESIGN.concepts.select("Oceans"), vectors=DESIGN.vectors[:1])
    return Searching(attrs.evolve(one, arms=[Injected(1)]), rule)


@pytest.mark.parametrize(("curves", "typical", "worst"), [(SWEET, 1.15, 1.4), (LATE, 1.15, 1.5)])
def test_it_finds_where_known_curves_cross_in_whatever_world(
    ground: Ground, curves: Curves, typical: float, worst: float
) -> None:
    planner, found = alone(), []
    for world in range(WORLDS):
        (curve,) = searched(play(planner, ground, {"Oceans": curves}, world), RULE, DESIGN.doses).curves
        found.append(curve)
    errors = np.log([c.crossing / curves.crossing for c in found])
    assert math.exp(np.sqrt(np.mean(errors**2))) < typical
    assert math.exp(np.abs(errors).max()) < worst
    assert np.mean([c.low <= curves.crossing <= c.high for c in found]) >= 0.9


def test_it_tells_the_range_in_which_anything_happens_from_no_effect_to_collapse(ground: Ground) -> None:
    curves = Curves(named=0.5, coherent=0.8, steep=8)
    (curve,) = searched(play(alone(), ground, {"Oceans": curves}, 3), RULE, DESIGN.doses).curves
    logs = math.log(9) / 8  # from a half to a tenth
    assert curve.onset == pytest.approx(0.5 * math.exp(-logs), rel=0.4)
    assert curve.collapse == pytest.approx(0.8 * math.exp(logs), rel=0.4)
    spared = [Curves(named=math.inf, coherent=math.inf), Curves(named=math.inf, coherent=0.001)]
    quiet, broken = (searched(play(alone(), ground, {"Oceans": c}, 3), RULE, DESIGN.doses).curves[0] for c in spared)
    assert math.isnan(quiet.collapse)
    assert broken.collapse == 0.05  # the lowest dose


def test_a_curve_on_which_nothing_is_named_is_settled_and_leaves_its_trials_to_the_others(ground: Ground) -> None:
    rule = attrs.evolve(RULE, trials=60, precision=1.01, floor=0.3)  # so that no crossing is ever known well enough
    planner = Searching(DESIGN, rule)
    done = play(planner, ground, {"Oceans": NEVER, "Bread": SWEET}, 1)
    counts = Counter(r.concept for r in done)
    said = {c.concept: c.said for c in searched(done, rule, DESIGN.doses).curves}
    assert said == {"Oceans": "nothing", "Bread": "open"}
    assert counts["Oceans"] < 60 < counts["Bread"]
    assert counts["Oceans"] + counts["Bread"] == planner.budget == 120


def test_its_trials_lie_where_the_curves_cross(ground: Ground) -> None:
    done = play(alone(), ground, {"Oceans": SWEET}, 5)[RULE.batch :]
    near = [0.5 < r.condition.dose.magnitude / SWEET.crossing < 2 for r in done]
    assert np.mean(near) > 0.75  # a grid has a third of its doses there


@settings(max_examples=8)
@given(
    rates=st.tuples(*[st.floats(0, 1)] * 3),
    batch=st.integers(3, 6),
    rounds=st.integers(1, 4),
    limits=st.tuples(st.floats(0.01, 1), st.floats(1.5, 50)),
    seed=st.integers(0, 9),
)
def test_whatever_is_said_it_stays_within_budget_and_limits_and_never_takes_back_what_it_asked(
    ground: Ground, rates: tuple[float, ...], batch: int, rounds: int, limits: tuple[float, float], seed: int
) -> None:
    rule = ib.Search(batch * rounds, steps=9, batch=batch, precision=1.05, seed=seed)
    lowest, highest = limits[0], limits[0] * limits[1]
    planner = Searching(attrs.evolve(DESIGN, doses=[f"{d!r} residual" for d in (lowest, highest)]), rule)
    rng, done, stages = np.random.default_rng(seed), [], []
    while asked := planner.ask(ground, done):
        stages.append((len(done), [t.key for t in asked]))
        for trial in asked:
            words = [w for w, p in zip(("identifies", "coherent"), rates, strict=False) if rng.random() < p]
            done.append(record(trial, None if rng.random() < rates[2] / 2 else words))
    mine = [r for r in done if r.arm == "injected"]
    assert 2 * batch <= len(mine) <= planner.budget
    assert len(done) - len(mine) == 2
    assert len({r.key for r in done}) == len(done)
    assert all(lowest <= r.condition.dose.magnitude <= highest for r in mine)
    for n, keys in stages:  # asked again at any stage it asks for the same, so the plan only grows
        assert [t.key for t in planner.ask(ground, done[:n])] == keys


SHORT = ib.Search(20)
READER = FakeReader()


@pytest.fixture(scope="module")
def fake(tiny_folder: Path) -> FakeModel:
    return FakeModel(tiny_folder, {"Oceans": SWEET, "Bread": LATE})


@pytest.fixture(scope="module")
def whole(fake: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> ib.Results:
    return Sweep(Searching(DESIGN, SHORT), fake, tmp_path_factory.mktemp("searched") / "whole").run(READER)


@pytest.mark.parametrize("cut", [3, 25])
def test_a_search_that_was_killed_goes_on_to_the_plan_that_another_run_of_it_has(
    fake: FakeModel, whole: ib.Results, tmp_path: Path, cut: int
) -> None:
    planner, left = Searching(DESIGN, SHORT), iter(range(cut))

    def killed(_: object) -> None:
        if next(left, None) is None:
            raise FakeKillError

    with pytest.raises(FakeKillError):
        Sweep(planner, fake, tmp_path).run(READER, on_trial=killed)
    again = Sweep(planner, fake, tmp_path).run(READER)
    assert len(again) > cut + 5
    assert [(r.key, r.reply) for r in again] == [(r.key, r.reply) for r in whole]
    finished = Sweep(planner, fake, whole.source)
    assert [t.key for t in finished.planned] == [r.key for r in whole]
    assert not finished.go_on()


def test_a_run_does_not_go_on_under_another_search(fake: FakeModel, whole: ib.Results) -> None:
    with pytest.raises(StoreMismatchError, match="search"):
        Sweep(Searching(DESIGN, attrs.evolve(SHORT, seed=1)), fake, whole.source).run(READER)


def test_results_of_a_search_note_that_its_cells_were_chosen_and_the_bounds_that_hold(
    whole: ib.Results,
) -> None:
    (note,) = whole.notes
    assert "chose its doses by what it saw" in note
    assert "Intervals for a fixed number of trials do not hold in its cells" in note
    assert "for all 50 cells that could have been asked" in note
    found = searched(whole.records, SHORT, DESIGN.doses)
    assert found.possible == 2 * 25
    for cell in found.cells:
        wanted = anytime(cell.k, cell.n, confidence=1 - 0.05 / 50)
        assert (cell.low, cell.high) == (wanted.low, wanted.high)
    (table,) = plan_section(whole, None).tables
    assert "What a search found on each curve" in table.caption
    assert [row[0] for row in table.rows] == ["lindsey · Oceans, layer 1", "lindsey · Bread, layer 1"]


def test_trials_without_a_score_steer_nothing_and_count_in_the_budget_and_against_bounds(ground: Ground) -> None:
    rule, done = ib.Search(15), []
    planner = Searching(DESIGN, rule)
    while asked := planner.ask(ground, done):
        done += [record(t, None) for t in asked]
    found = searched(done, rule, DESIGN.doses)
    assert [(c.n, c.unscored, c.said) for c in found.curves] == [(0, 15, "open"), (0, 15, "open")]
    assert {(c.low, c.high) for c in found.cells} == {(0.0, 1.0)}


CONFIRMATION = Confirmation(SelectionRule(["dose"], "identifies"), {"injected": 4, "random": 3, "control": 2})


def test_what_a_search_finds_is_confirmed_by_fresh_trials_of_every_arm_and_a_killed_run_goes_on_to_the_same(
    fake: FakeModel, tmp_path: Path
) -> None:
    design = attrs.evolve(DESIGN, arms=[*DESIGN.arms, RandomVector(1)])
    planner = Confirmed(design, CONFIRMATION, SHORT)
    results = Sweep(planner, fake, tmp_path / "whole").run(READER)
    with Store.open(tmp_path / "whole") as store:
        chosen = store.chosen()
    assert chosen is not None
    assert chosen.cell.trials >= SHORT.batch
    assert chosen.cell.rate == max(c.rate for c in chosen.candidates if c.trials >= SHORT.batch)
    assert Counter(r.arm for r in results.of_part("selection")) == {"control": 2, "injected": 40}
    confirming = results.of_part("confirmation")
    assert Counter(r.arm for r in confirming) == {"control": 2, "injected": 8, "random": 3}
    assert {r.condition.dose for r in confirming} == {None, chosen.cell.dose}
    assert results.notes[0].startswith("In its selecting part: This run chose its doses")
    left = iter(range(len(results) - 4))

    def killed(_: object) -> None:
        if next(left, None) is None:  # among those that confirm
            raise FakeKillError

    with pytest.raises(FakeKillError):
        Sweep(planner, fake, tmp_path / "cut").run(READER, on_trial=killed)
    again = Sweep(planner, fake, tmp_path / "cut").run(READER)
    assert [(r.key, r.trial.part) for r in again] == [(r.key, r.trial.part) for r in results]
    spec = RunSpec(design, ModelSpec("fake", "fake"), confirm=CONFIRMATION, search=SHORT)
    assert {(a.part, a.arm): a.trials for a in planned_arms(spec)} == {
        ("selection", "control"): 2,
        ("selection", "injected"): 40,
        ("confirmation", "control"): 2,
        ("confirmation", "injected"): 8,
        ("confirmation", "random"): 3,
    }
    assert spec.planner == planner


def test_a_search_that_is_over_can_be_confirmed_later(fake: FakeModel, tmp_path: Path) -> None:
    sweep = Sweep(Searching(DESIGN, SHORT), fake, tmp_path)
    before = sweep.run(READER)
    results = sweep.confirm(CONFIRMATION.rule, trials=3).run(READER)
    assert [r.key for r in results.of_part("selection")] == [r.key for r in before]
    assert Counter(r.arm for r in results.of_part("confirmation")) == {"control": 3, "injected": 6}


def test_another_judge_than_the_search_s_does_not_choose_from_it() -> None:
    with pytest.raises(SpecError, match="steer the search"):
        Confirmed(DESIGN, attrs.evolve(CONFIRMATION, rule=SelectionRule(["dose"], judge="chat"), trials=1), SHORT)


TOML = """
directory = "run"
[model]
name = "{model}"
options.torch.device = "cpu"
[design]
layers = [1, 2]
doses = ["0.1 residual", "2 residual"]
concepts = "pairs"
arms.unsteered.n = 1
arms.injected.n = 1
sampling.max_new_tokens = 2
[search]
trials = 8
batch = 4
steps = 7
"""


def test_the_rule_is_a_table_of_the_file_its_budget_is_told_and_a_run_can_be_measured_later(
    tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text(TOML.format(model=tiny_folder))
    spec = RunSpec.from_toml(tmp_path / "s.toml")
    assert spec.search == ib.Search(8, batch=4, steps=7)
    assert RunSpec.from_plain(spec.plain(), "here") == spec
    concepts = len(spec.design.concepts)
    assert dict(outline(spec).trials) == {"control": 1, "injected": 8 * 2 * concepts}
    told = CliRunner().invoke(app, ["run", str(tmp_path / "s.toml"), "--plan"]).output
    assert f"At most {1 + 8 * 2 * concepts} trials" in " ".join(told.split())
    results = ib.run_spec(spec)
    assert 4 * 2 * concepts <= sum(r.arm == "injected" for r in results) <= 8 * 2 * concepts
    with Store.open(tmp_path / "run") as store:
        assert store.run_spec().search == spec.search
        with spec.model.open() as injector:
            assert measure_run(store, TokenLogprobs({"a": ("a",)}), injector).measured == len(results)
    with pytest.raises(StoreMismatchError, match="search"):
        ib.run_spec(attrs.evolve(spec, search=attrs.evolve(spec.search, floor=0.3)))


def test_a_frozen_search_says_its_budget_and_departs_only_where_it_ends_before_its_rule_is_met(
    fake: FakeModel, tmp_path: Path
) -> None:
    plan = Plan([Hypothesis("More.", "strict", ["injected"], "these concepts", "greater")], "As stated.", [])
    spec = RunSpec(DESIGN, ModelSpec("fake", "fake"), search=SHORT, plan=plan)
    assert [(a.arm, a.fewest, a.trials) for a in planned_arms(spec)] == [("control", 2, 2), ("injected", 10, 40)]
    frozen = freeze(spec)
    text = preregistration(frozen)
    assert "injected: 10 trials in 1 cell, on 2 concepts 5 each, in up to 4 rounds" in text
    assert "where trials are is chosen by what was seen" in text
    stated = attrs.evolve(spec, frozen=frozen)
    run = Sweep(spec.planner, fake, tmp_path / "run", spec=stated).run(READER)
    assert departures(run) == ()
    begun = attrs.evolve(run, records=run.records[:12])
    assert [d.field for d in departures(begun)] == ["trials"]


@pytest.mark.parametrize(
    "changes",
    [{"trials": 0}, {"trials": 61}, {"steps": 2}, {"batch": 2}, {"batch": 26}, {"precision": 1.0}, {"floor": 1.0},
     {"confidence": 0.0}, {"seed": -1}, {"rising": "coherent"}],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(AnalysisError, match="|".join([*changes, "search"])):
        ib.Search(**{"trials": 60, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"doses": ["1 residual"]}, AnalysisError, "its limits"),
        ({"doses": ["1 residual", "2 raw"]}, AnalysisError, "its limits"),
        ({"doses": ["-1 residual", "2 residual"]}, AnalysisError, "its limits"),
        ({"doses": ["1 residual", "1.01 residual"]}, AnalysisError, "search.steps"),
        ({"arms": [Unsteered(1)]}, SpecError, "search.arm"),
        ({"arms": [Injected(1), RandomVector(1)]}, SpecError, "search.arm"),
    ],
)
def test_a_design_that_can_not_be_searched_is_refused_before_a_model_is_opened(
    changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        RunSpec(attrs.evolve(DESIGN, **changes), ModelSpec("no/such/model"), search=RULE)


def test_the_example_says_what_it_would_be() -> None:
    spec = RunSpec.from_toml(Path(__file__).parents[2] / "examples" / "search.toml")
    assert isinstance(spec.planner, Searching)
    assert spec.planner.budget == 36 * 2
    assert len(spec.planner.designs(None)[0].doses) == 25  # whose effects are measured where a file asks for them


def test_an_arm_that_is_spread_over_concepts_has_no_curves_to_search(ground: Ground) -> None:
    spread = attrs.evolve(DESIGN, arms=[Injected(1, concepts="spread")])
    with pytest.raises(SpecError, match="each concept"):
        Searching(spread, RULE).ask(ground, [])
