"""The example with every control: file and script say the same, nothing built in is left out, and all of it runs."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import attrs
import pytest

from introspection_bench import Sweep, measures, open_injector
from introspection_bench.sweep import RunSpec
from introspection_bench.sweep.arms import ARMS
from introspection_bench.testing.tiny import tiny_model

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
    assert {type(arm).__name__ for arm in arms} == {lazy.attribute for lazy in ARMS.values()}
    assert {arm.name for arm in arms if arm.name.startswith("random")} == {
        "random", "random_permuted", "random_covariance", "random_impact",
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_every_arm_and_measure_runs_and_all_steered_trials_have_their_receipts(backend, script, tmp_path):
    model, tokenizer = tiny_model("llama")
    design = script.controls(layer=1)
    design = attrs.evolve(design, sampling=attrs.evolve(design.sampling, max_new_tokens=3))
    with open_injector(backend, model, tokenizer=tokenizer) as injector:
        sweep = Sweep(design, injector, tmp_path / "run")
        sweep.measure_effects(2)
        sweep.generate()
        for measure in (
            measures.YesNo(["y"], ["n"]),  # the tiny tokenizer has no longer word
            measures.Naming(design.concepts),
            measures.Observer(design.concepts),
            measures.ConceptLens(design.concepts),
            measures.Cosines(sweep.vectors, at="reply"),
        ):
            sweep.measure(measure)
    records = sweep.results().records
    found, planned = (Counter(arm) for arm in ((r.arm for r in records), (p.condition.arm for p in sweep.planned)))
    assert found == planned
    assert set(found) == {arm.name for arm in design.arms}
    still = {"control", "mention", "edited_input", "edited_input_clean"}
    for record in records:
        steered = record.arm not in still and not record.arm.endswith("_clean")
        assert bool(record.receipts) == steered, record.arm
        assert {r.measure for r in record.readings} >= {"yes_no", "naming", "concept_lens", "cosines"}
