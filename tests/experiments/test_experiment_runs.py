"""Every experiment end to end on a tiny real model: outcome, chance level and its section on the page."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pandas as pd
import pytest
from typer.testing import CliRunner

import introspection_bench as ib
from introspection_bench.cli import app
from introspection_bench.cli.experiments import experiment_spec
from introspection_bench.experiments import EXPERIMENTS, load_experiment, read_settings
from introspection_bench.report.page.experiments import experiment_section
from introspection_bench.report.page.judged import choose_judge, verdict_frame
from introspection_bench.sweep.running import run_spec
from introspection_bench.testing import save_tiny_model

SETTINGS = (
    'concepts={set="lindsey2026", names=["Bread", "Oceans"]}',
    "trials=2",
    "sampling={max_new_tokens=4}",
    "doses='0.5 residual'",
)
#: The heading of its section, a rate that it counts, and what it says of chance.
TOLD = {
    "injected_thoughts": ("By prompt", "affirmative", "the control's"),
    "thoughts_and_text": ("Thoughts against text", "picks", "1 of 10 (10 %) of picks"),
    "unintended_outputs": ("Unintended outputs", "disowns", "the control's"),
    "intentional_control": ("Intentional control", "writes", "the other words"),
    "localisation": ("Localisation", "locates", "at most 1 of 4 (25 %)"),
    "strength": ("Which injection is stronger", "locates", "at most 1 of 2 (50 %)"),
    "forced_identification": ("Forced identification", "names", "the control's"),
    "steer_remove_ask": ("Steer, remove, ask", "says_yes", "the control's"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save_tiny_model("llama", tmp_path_factory.mktemp("tiny") / "llama"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs_is_decided_and_has_its_section_with_its_chance_level(name, model, tmp_path):
    layers = "layers=[[1, 2]]" if name == "steer_remove_ask" else "layers=1"
    settings = read_settings([*SETTINGS, layers])
    spec = load_experiment(name).spec(model, directory=str(tmp_path / name), settings=settings)
    if name == "steer_remove_ask":
        spec = attrs.evolve(spec, measures=())  # yes is no single token of a tiny model
    results = run_spec(spec)
    assert {len(r.verdicts) for r in results} == {1}
    heading, criterion, chance = TOLD[name]
    judge = choose_judge(results, None, None)
    frame = verdict_frame(results.records, judge)
    section = experiment_section(results, frame, judge)
    if name == "steer_remove_ask":  # a tiny model says neither yes nor no
        frame["says_yes"] = pd.array([False] * len(frame), dtype="boolean")
        section = experiment_section(results, frame, judge)
    assert criterion in frame
    assert section is not None
    assert section.title == heading
    assert chance in str(section)


def test_the_page_has_the_section_and_a_run_goes_on_where_it_was(model, tmp_path):
    spec = experiment_spec(
        "forced_identification", model, [*SETTINGS, "layers=1"], backend=None, directory=tmp_path / "run"
    )
    first = run_spec(spec)
    again = run_spec(spec)
    assert [r.key for r in again] == [r.key for r in first]
    page = ib.write_report(again, tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.search(r'<section[^>]*id="experiment"', page)
    assert "What the forced claim names" in page


def test_pairs_of_one_draw_count_as_both_only_where_word_and_sentence_come_together(model, tmp_path):
    settings = read_settings([*SETTINGS, "layers=1"])
    results = run_spec(load_experiment("thoughts_and_text").spec(model, directory=str(tmp_path), settings=settings))
    judge = choose_judge(results, None, None)
    frame = verdict_frame(results.records, judge)
    think, repeat = frame["picks"].notna(), frame["repeats"].notna()
    seeds = sorted(frame[think & (frame["arm"] == "injected")]["seed"])
    frame["picks"] = frame["picks"].mask(think, other=True)
    frame["repeats"] = frame["repeats"].mask(repeat, frame["seed"].isin(seeds[:2]))
    both = experiment_section(results, frame, judge).tables[-1]
    rows = {row[0]: row for row in both.rows}
    assert rows["injected"][-2].startswith("2/4")


def test_what_a_trial_is_about_is_read_from_the_store_when_it_is_judged_again(model, tmp_path):
    settings = read_settings([*SETTINGS, "layers=1"])
    run_spec(load_experiment("localisation").spec(model, directory=str(tmp_path), settings=settings), judge=False)
    with ib.Store.open(Path(tmp_path)) as store:
        assert ib.judge_run(store, ib.open_judge("outcome", rubric="located")).judged == len(store.recorded())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_show_tells_what_is_asked_the_outcome_the_chance_level_and_every_prompt(name):
    shown = CliRunner().invoke(app, ["experiments", "show", name]).output
    experiment = load_experiment(name)
    for told in (experiment.asks, experiment.outcome, experiment.chance):
        assert " ".join(told.split()) in " ".join(shown.split())
    assert all(f"\n{scaffold.name}, steered over" in shown for scaffold in experiment.design().scaffolds)


def test_a_command_that_is_given_a_file_and_an_experiments_model_or_neither_says_what_is_missing(tmp_path):
    for words in (["run"], ["run", str(tmp_path / "x.toml"), "--model", "demo"], ["run", "--experiment", "nothing"]):
        assert isinstance(CliRunner().invoke(app, words).exception, ib.IntrospectionBenchError)
