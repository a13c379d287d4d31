"""The example with every control: file and script say the same, nothing built in is left out, and all of it runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from introspection_bench import open_injector
from introspection_bench.errors import SpecError
from introspection_bench.sweep import RunSpec
from introspection_bench.sweep.arms import ARMS
from introspection_bench.testing.tiny import tiny_model
from tests.controls_on_backends import MEASURES, require_all, run_all

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("controls", EXAMPLES / "controls.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def file():
    return RunSpec.from_toml(EXAMPLES / "controls.toml")


def test_the_file_and_the_script_say_the_same_design(script, file):
    assert file.design == script.controls()


def test_every_built_in_arm_stands_in_the_design_and_every_kind_of_random_vector(script):
    arms = script.controls().arms
    # Those that fill the slots of an experiment's own prompt are tried in tests/experiments.
    experiments = {"Worded", "Offered", "Located"}
    assert {type(arm).__name__ for arm in arms} == {lazy.attribute for lazy in ARMS.values()} - experiments
    assert {arm.name for arm in arms if arm.name.startswith("random")} == {
        "random", "random_permuted", "random_covariance", "random_impact",
    }  # fmt: skip


def test_every_built_in_measure_of_a_concept_and_every_verdict_is_asked_for(file):
    assert tuple(m.name for m in file.measures) == MEASURES
    assert file.effects is not None
    told = [(j.name, j.asked, dict(j.options)) for j in (file.judge, *file.also_judged)]
    assert told == [("rules", "own", {}), ("rules", "own", {"rubric": "yesno"}), ("rules", "mismatched", {})]


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_every_arm_and_measure_runs_and_steers_its_own_places_with_the_numbers_of_its_pair(backend, tmp_path):
    model, tokenizer = tiny_model("llama")
    with open_injector(backend, model, tokenizer=tokenizer) as injector:
        require_all(run_all(injector, tmp_path / "run"))


def test_what_a_backend_cannot_read_is_an_error_before_anything_is_generated(tmp_path):
    model, tokenizer = tiny_model("llama")
    with open_injector("torch", model, tokenizer=tokenizer) as injector:
        injector.reads -= {"lens"}
        with pytest.raises(SpecError, match=r"lens.*backends"):
            run_all(injector, tmp_path / "run")
    assert not list(tmp_path.glob("run/*.sqlite"))
