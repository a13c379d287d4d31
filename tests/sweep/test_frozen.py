"""Plans that are frozen before a run, and how a run departs from one."""

from __future__ import annotations

import copy
import datetime
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from conftest import CONCEPTS

import introspection_bench as ib
from introspection_bench.analysis import Stopping, departures, frozen_plan
from introspection_bench.errors import AnalysisError, SpecError, StoreMismatchError
from introspection_bench.interop import write_jsonl
from introspection_bench.report import preregistration
from introspection_bench.report.page.planned import plan_section
from introspection_bench.sweep import (
    Confirmation,
    Design,
    FrozenPlan,
    Hypothesis,
    Injected,
    JudgeSpec,
    ModelSpec,
    Negated,
    Plan,
    PlannedArm,
    RunSpec,
    SelectionRule,
    Sweep,
    Unsteered,
    freeze,
    planned_arms,
    run_spec,
)

DAY = datetime.date(2026, 11, 26)
PLAN = Plan(
    [Hypothesis("More.", "affirmative", ["injected", "control"], "these concepts", "greater")],
    "All trials are run.",
    ["None."],
)
EXAMPLE = Path(__file__).parents[2] / "examples" / "confirmed.toml"


@pytest.fixture(scope="module")
def spec(tiny_folder: Path) -> RunSpec:
    design = Design(
        concepts=CONCEPTS,
        layers=[1],
        doses=["0.5 residual", "2 residual"],
        arms=[Unsteered(2), Injected(1)],
        sampling=ib.Sampling(max_new_tokens=2),
    )
    model = ModelSpec(str(tiny_folder), options={"torch": {"device": "cpu"}})
    confirm = Confirmation(SelectionRule(["dose"]), {"injected": 2})
    return RunSpec(design, model, confirm=confirm, plan=PLAN)


@pytest.fixture(scope="module")
def file(spec: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frozen") / "s.frozen.json"
    path.write_text(freeze(spec, date=DAY).to_text())
    return path


@pytest.fixture(scope="module")
def run(spec: RunSpec, file: Path, tmp_path_factory: pytest.TempPathFactory) -> ib.Results:
    return run_spec(spec, directory=tmp_path_factory.mktemp("runs") / "as_frozen", frozen=file)


def test_the_digest_of_a_frozen_plan_is_the_same_on_every_machine_and_in_every_version_of_this_format():
    frozen = FrozenPlan(PLAN, {"design": {"seed": 0}}, [PlannedArm(None, "injected", 2, [3, 3])], "None.", "1.0", DAY)
    assert frozen.arms[0].trials == 12
    assert frozen.digest == "ac91975fa37e37df44892da303874f0da0fe7f5d6ed3599513ce79421d2e5351"
    assert FrozenPlan.from_told(json.loads(frozen.to_text()), "here") == frozen
    assert attrs.evolve(frozen, date=datetime.date(2026, 11, 27)).digest != frozen.digest


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda told: told["frozen"]["plan"].update(stopping="When it looks good."), "changed after it was frozen"),
        (lambda told: told["frozen"].update(date="2026-11-25"), "changed after it was frozen"),
        (lambda told: told["frozen"]["spec"]["design"].update(seed=1), "changed after it was frozen"),
        (lambda told: told["frozen"]["arms"][0].update(cells=9), "changed after it was frozen"),
        (lambda told: told.update(digest="0" * 64), "changed after it was frozen"),
        (lambda told: told.pop("digest"), "changed after it was frozen"),
        (lambda told: told.update(version=1), "version 2"),
        (lambda told: told["frozen"].update(more=1), "unknown key more"),
        (lambda told: told["frozen"].pop("plan"), "missing"),
    ],
)
def test_a_frozen_plan_that_was_changed_is_refused_before_a_model_is_opened(spec, file, tmp_path, change, problem):
    told = json.loads(file.read_text())
    change(told)
    (tmp_path / "changed.json").write_text(json.dumps(told))
    nowhere = attrs.evolve(spec, model=ModelSpec("no/such/model"))
    with pytest.raises(SpecError, match=problem):
        run_spec(nowhere, directory=tmp_path / "run", frozen=tmp_path / "changed.json")
    assert not (tmp_path / "run").exists()


def test_a_run_as_frozen_says_so_in_store_manifest_export_and_report(run, file, tmp_path):
    frozen = FrozenPlan.read(file)
    assert departures(run) == departures(run, frozen) == ()
    assert frozen_plan(run) == frozen
    manifest = json.loads((Path(run.source) / "manifest.json").read_text())
    assert manifest["frozen"]["digest"] == frozen.digest
    write_jsonl(run, tmp_path / "a.jsonl")
    assert departures(ib.read_results(tmp_path / "a.jsonl")) == ()
    page = ib.write_report(run, tmp_path / "r.html").read_text()
    assert f"As frozen on 2026-11-26 (digest {frozen.digest[:12]})." in page
    assert "departs" not in page
    assert "frozen.spec" not in page


def _stated(spec: RunSpec) -> dict[str, RunSpec]:
    """A specification for each field that a run may depart in."""
    design = spec.design

    def changed(**changes: Any) -> RunSpec:
        # Without the plan, which would not fit a design without its arms.
        return attrs.evolve(spec, plan=None, design=attrs.evolve(design, **changes))

    return {
        "design.arms.injected.n": changed(arms=[Unsteered(2), Injected(2)]),
        "design.arms.unsteered.arm": changed(arms=[Injected(1), Negated(1)]),
        "design.concepts.concepts.Bread.name": changed(concepts=CONCEPTS.select("Oceans")),
        "design.doses": changed(doses=["0.5 residual", "1 residual"]),
        "design.layers": changed(layers=[2]),
        "design.paired": changed(paired="draw"),
        "design.recipe.template": changed(recipe=ib.Word(template="Say something of {word}.")),
        "design.sampling.temperature": changed(sampling=ib.Sampling(0.5, max_new_tokens=2)),
        "design.scaffolds.lindsey.name": changed(scaffolds=["thinking_about"]),
        "design.seed": changed(seed=3),
        "design.span": changed(span="all"),
        "model.backend": attrs.evolve(spec, model=attrs.evolve(spec.model, backend="nnsight")),
        "model.name": attrs.evolve(spec, model=attrs.evolve(spec.model, name="other")),
        "model.options.torch.device": attrs.evolve(spec, model=attrs.evolve(spec.model, options={})),
        "judge.options.wait": attrs.evolve(spec, judge=JudgeSpec(options={"wait": 1})),
        "measures.residuals.measure": attrs.evolve(spec, measures=[ib.measures.Residuals([1])]),
        "confirm.rule.outcome": attrs.evolve(spec, confirm=Confirmation(SelectionRule(["dose"], "identifies"))),
        "confirm.trials.injected": attrs.evolve(spec, confirm=attrs.evolve(spec.confirm, trials={"injected": 9})),
        "plan.stopping": attrs.evolve(spec, plan=attrs.evolve(PLAN, stopping="When it looks good.")),
        "plan.hypotheses.1.direction": attrs.evolve(
            spec, plan=attrs.evolve(PLAN, hypotheses=[attrs.evolve(PLAN.hypotheses[0], direction="less")])
        ),
    }


def test_a_departure_in_any_field_is_listed_with_both_values(spec, run):
    for field, other in _stated(spec).items():
        changed = attrs.evolve(run, spec={**run.spec, **{k: v for k, v in other.plain().items() if k in STATED}})
        found = {d.field: d for d in departures(changed)}
        assert field in found, (field, list(found))
        assert found[field].frozen != found[field].run
    # Every part of a design is among those tried, but tables by name, as arms are, and the date of the next test.
    tried = {".".join(f.split(".")[:2]) for f in _stated(spec)}
    assert {f"design.{f.name}" for f in attrs.fields(Design)} - tried == {
        "design.items",
        "design.vectors",
        "design.beside",
        "design.date",
    }


STATED = ("design", "model", "judge", "measures", "confirm", "stopping", "plan")


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Where in nested tables and lists a value stands that is neither."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from (place for key, item in inner for place in _places(item, (*path, key)))
    if not isinstance(value, dict | list):
        yield path


def test_no_value_of_what_is_frozen_can_change_without_a_departure(run, file):
    settled = json.loads(file.read_text())["frozen"]["spec"]
    places = list(_places(settled, ()))
    assert len(places) > 50
    silent = []
    for place in places:
        spec = copy.deepcopy({**run.spec, **settled})
        *way, last = place
        functools.reduce(lambda at, key: at[key], way, spec)[last] = "another"
        if not departures(attrs.evolve(run, spec=spec)):
            silent.append(place)
    # The judge is told from the verdicts; and a plan that states no date leaves it to the run.
    assert silent == [("design", "date"), ("judge", "name"), ("judge", "judged")]


def test_a_date_that_the_plan_leaves_open_is_no_departure_and_one_that_it_states_is(spec, run):
    assert run.spec["design"]["date"] is not None
    stated = attrs.evolve(spec, design=attrs.evolve(spec.design, date=datetime.date(2020, 1, 1)))
    assert {d.field for d in departures(run, freeze(stated, date=DAY))} == {"design.date", "frozen"}


def test_facts_of_the_model_are_neither_frozen_nor_a_departure_where_they_are_stated_later(spec, run):
    stated = attrs.evolve(spec, model=attrs.evolve(spec.model, facts=ib.ModelFacts(family="Llamas")))
    assert freeze(stated, date=DAY).digest == freeze(spec, date=DAY).digest
    told = {**run.spec, "model": {**run.spec["model"], "facts": {"family": "Llamas"}}}
    assert departures(attrs.evolve(run, spec=told)) == ()


def test_a_run_that_may_stop_early_departs_only_where_it_ends_before_its_rule_is_met(spec, tmp_path):
    stopping = Stopping(0.9, rounds=4, outcome="affirmative")
    early = attrs.evolve(spec, confirm=None, stopping=stopping)
    frozen = freeze(early, date=DAY)
    assert [(a.arm, a.fewest, a.trials) for a in frozen.arms] == [("control", 2, 8), ("injected", 4, 16)]
    run = run_spec(attrs.evolve(early, frozen=frozen), directory=tmp_path / "run")
    assert departures(run) == ()
    begun = attrs.evolve(run, records=[r for r in run if r.trial.draw == 0 or r.arm == "control"])
    assert [d.field for d in departures(begun)] == ["trials"]
    text = preregistration(frozen)
    assert "injected: 4 trials in 2 cells, on 2 concepts 1 each, in up to 4 rounds" in text
    assert "bounds for a fixed number of trials don't hold" in text
    assert "however concepts vary" not in text


def test_fewer_and_more_trials_another_judge_and_another_plan_are_departures(spec, run, file):
    frozen = FrozenPlan.read(file)
    fewer = attrs.evolve(run, records=run.records[:-1])
    assert [d.sentence for d in departures(fewer)] == ["trials.confirmation.injected: frozen 4, run 3."]
    again = attrs.evolve(run.records[-1], trial=attrs.evolve(run.records[-1].trial, draw=99))
    more = attrs.evolve(run, records=[*run.records, again])
    assert [d.sentence for d in departures(more)] == ["trials.confirmation.injected: frozen 4, run 5."]
    records = [attrs.evolve(r, verdicts=[attrs.evolve(v, judge="chat") for v in r.verdicts]) for r in run]
    assert [d.sentence for d in departures(attrs.evolve(run, records=records))] == [
        "judge.name: frozen rules, run chat."
    ]
    unjudged = attrs.evolve(run, records=[attrs.evolve(r, verdicts=()) for r in run])
    assert [d.run for d in departures(unjudged)] == ["not judged"]
    other = freeze(spec, date=datetime.date(2026, 11, 20))
    assert [d.field for d in departures(run, other)] == ["frozen"]
    bare = attrs.evolve(run, spec={k: v for k, v in run.spec.items() if k != "frozen"})
    assert [d.run for d in departures(bare, frozen)] == ["begun without a frozen plan"]
    with pytest.raises(AnalysisError, match="freeze SPEC"):
        departures(bare)


def test_a_second_verdict_on_other_concepts_is_no_departure(run):
    records = [
        attrs.evolve(r, verdicts=[*r.verdicts, attrs.evolve(r.verdicts[0], judge="else", asked="mismatched")])
        for r in run.records
    ]
    assert departures(attrs.evolve(run, records=records)) == ()


def test_the_page_does_not_say_as_frozen_where_the_run_departs_and_says_nothing_of_plans_without_one(run, tmp_path):
    fewer = attrs.evolve(run, records=run.records[:-1])
    section = plan_section(fewer, None)
    assert not any("As frozen" in s for s in section.sentences)
    assert "departs from it in 1 field." in section.sentences[-1]
    assert section.tables[-1].rows == (("trials.confirmation.injected", "4", "3"),)
    page = ib.write_report(fewer, tmp_path / "r.html").read_text()
    assert "trials.confirmation.injected" in page
    selecting = attrs.evolve(run, spec={}, records=run.of_part("selection").records)
    assert ["no trial confirms it yet" in s for s in plan_section(selecting, None).sentences] == [True]
    assert plan_section(attrs.evolve(run, spec={}, records=[]), None) is None
    nothing = attrs.evolve(selecting, spec={"chosen": {**run.spec["chosen"], "index": None}})
    (sentence,) = plan_section(nothing, None).sentences
    assert "nothing is confirmed" in sentence
    assert "yet" not in sentence


def test_a_run_that_was_begun_is_not_put_under_a_plan_that_was_frozen_later(spec, run, file, tmp_path):
    small = attrs.evolve(spec, confirm=None, design=attrs.evolve(spec.design, arms=[Unsteered(1)]), plan=None)
    run_spec(small, directory=tmp_path / "run", judge=False)
    with pytest.raises(StoreMismatchError, match="frozen plan none"):
        run_spec(small, directory=tmp_path / "run", judge=False, frozen=file)
    again = run_spec(spec, directory=run.source)  # a run goes on under the plan that it was begun under
    assert frozen_plan(again) == FrozenPlan.read(file)


def test_a_run_that_is_killed_under_a_frozen_plan_goes_on_as_frozen(spec, injector, file, tmp_path):
    class FakeKillError(Exception):
        pass

    def killed(record: ib.TrialRecord) -> None:
        if record.trial.part == "confirmation":
            raise FakeKillError

    stated = attrs.evolve(spec, frozen=FrozenPlan.read(file))
    with pytest.raises(FakeKillError):
        Sweep(spec.planner, injector, tmp_path, spec=stated).run("rules", on_trial=killed)
    assert "trials.confirmation.injected" in {d.field for d in departures(ib.read_results(tmp_path))}
    again = Sweep(spec.planner, injector, tmp_path, spec=stated).run("rules")
    assert departures(again) == ()


def test_the_example_freezes_to_a_file_and_a_preregistration_that_says_what_a_null_excludes(tmp_path):
    from typer.testing import CliRunner

    from introspection_bench.cli.app import app

    (tmp_path / "c.toml").write_text(EXAMPLE.read_text())
    result = CliRunner().invoke(app, ["freeze", str(tmp_path / "c.toml")])
    assert result.exit_code == 0, result.output
    frozen = FrozenPlan.read(tmp_path / "c.frozen.json")
    assert [(a.part, a.arm, a.trials) for a in frozen.arms] == [
        ("selection", "injected", 24),
        ("selection", "control", 4),
        ("confirmation", "injected", 25),
        ("confirmation", "control", 25),
    ]
    text = (tmp_path / "c.prereg.md").read_text()
    assert frozen.digest in text
    assert "0 of 25 on 5 concepts: of mean rates on these concepts, those above" in text
    assert "The layers and dose with the highest rate of affirmative" in text
    assert "All planned trials are run" in text
    assert text == preregistration(frozen)
    assert isinstance(CliRunner().invoke(app, ["freeze", str(tmp_path / "c.toml")]).exception, SpecError)
    assert CliRunner().invoke(app, ["freeze", str(tmp_path / "c.toml"), "--replace"]).exit_code == 0
    named = RunSpec.from_toml(tmp_path / "c.toml", ['frozen="c.frozen.json"'])
    assert named.frozen.digest == frozen.digest
    assert freeze(named, date=frozen.date) == frozen  # a plan doesn't hold the one that was frozen before it


def test_the_trials_that_are_frozen_are_those_that_are_planned(spec, run):
    stated = {(a.part, a.arm): a.trials for a in planned_arms(spec)}
    assert stated == {
        (part, arm): sum(r.arm == arm for r in run.of_part(part))
        for part in ("selection", "confirmation")
        for arm in ("control", "injected")
    }
    assert [a.trials for a in planned_arms(attrs.evolve(spec, confirm=None))] == [2, 4]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: attrs.evolve(PLAN, hypotheses=[]), "at least one"),
        (lambda: attrs.evolve(PLAN, stopping=" "), "stopping"),
        (lambda: attrs.evolve(PLAN.hypotheses[0], arms=["a", "a"]), "two different"),
        (lambda: attrs.evolve(PLAN.hypotheses[0], direction="equivalent"), "margin"),
        (lambda: attrs.evolve(PLAN.hypotheses[0], margin=1.0), "margin"),
        (lambda: freeze(RunSpec(Design(arms=[Unsteered(1)]), ModelSpec("demo"))), r"\[plan\]"),
        (lambda: RunSpec(Design(arms=[Unsteered(1)]), ModelSpec("demo"), plan=PLAN), "arms of the design"),
    ],
)
def test_a_plan_that_leaves_something_open_is_an_error_that_names_it(make, problem):
    with pytest.raises(SpecError, match=problem):
        make()


def test_a_hypothesis_on_fewer_concepts_than_the_method_needs_says_so_in_the_preregistration(spec):
    about = attrs.evolve(PLAN, hypotheses=[attrs.evolve(PLAN.hypotheses[0], estimand="concepts like these")])
    text = preregistration(freeze(attrs.evolve(spec, plan=about), date=DAY))
    assert "A difference of concepts like these can't be bounded: " in text
    assert "differences above" not in text


def test_a_credential_in_the_options_is_not_frozen(spec):
    told = attrs.evolve(spec, judge=JudgeSpec("chat", options={"api_key": "sk-abcdefghijklmnop"}), confirm=None)
    assert "abcdefghijklmnop" not in freeze(told, date=DAY).to_text()
