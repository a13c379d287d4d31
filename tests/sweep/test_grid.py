"""The plan of a grid."""

from __future__ import annotations

import attrs
import pytest

from introspection_bench import LINDSEY, LINDSEY_405B, THINKING_ABOUT
from introspection_bench.errors import InjectionError, LayerError, SpecError, VectorError
from introspection_bench.sweep import Grid, Sweep, plan
from introspection_bench.vectors import ConceptVector


def planned(grid, injector):
    return plan(grid, injector.model, injector.name, injector.numerics, injector.tokenizer)


def test_a_grid_plans_every_combination_once_and_controls_once_per_scaffold(grid, injector):
    grid = attrs.evolve(grid, scaffolds=(LINDSEY, LINDSEY_405B, THINKING_ABOUT), layers=(0, 2))
    trials = planned(grid, injector)
    injected = [t for t in trials if t.arm == "injected"]
    assert len(injected) == 3 * 2 * 2 * 2 * 5
    assert len([t for t in trials if t.arm == "control"]) == 3 * 6
    assert len({t.key.digest for t in trials}) == len(trials)
    assert {(t.scaffold, t.concept, t.key.layer, t.key.magnitude) for t in injected} == {
        (s.name, c, layer, m)
        for s in grid.scaffolds
        for c in ("Oceans", "Bread")
        for layer in (0, 2)
        for m in (0.5, 2.0)
    }


def test_without_layers_each_vector_is_injected_where_it_was_extracted(grid, injector):
    assert {t.key.layer for t in planned(grid, injector) if t.arm == "injected"} == {1}


def test_each_scaffold_keeps_its_own_span_unless_the_grid_overrides_it(grid, injector):
    grid = attrs.evolve(grid, scaffolds=(LINDSEY, THINKING_ABOUT))
    spans = {(t.scaffold, t.span) for t in planned(grid, injector) if t.arm == "injected"}
    assert spans == {("lindsey", "from(trial)"), ("thinking_about", "all")}


def test_a_random_vector_makes_an_arm_of_its_own(grid, injector):
    grid = attrs.evolve(grid, vectors=[grid.vectors[0].random_like(7)])
    assert {t.arm for t in planned(grid, injector)} == {"random", "control"}


def test_every_trial_has_its_own_seed(grid, injector):
    seeds = [t.request.seed for t in planned(grid, injector)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("changes", "error", "names"),
    [
        ({"trials": -1}, SpecError, "grid.trials"),
        ({"controls": True}, SpecError, "grid.controls"),
        ({"magnitudes": [1.0, 1]}, SpecError, "grid.magnitudes"),
        ({"magnitudes": [float("nan")]}, SpecError, "grid.magnitudes"),
        ({"magnitudes": []}, SpecError, "magnitudes"),
        ({"unit": "furlongs"}, InjectionError, "unit"),
        ({"scaffolds": ()}, SpecError, "scaffold"),
        ({"scaffolds": (LINDSEY, LINDSEY)}, SpecError, "grid.scaffolds"),
        ({"layers": (1, 1)}, SpecError, "grid.layers"),
        ({"concepts": ()}, SpecError, "grid.concepts"),
        ({"trials": 0, "controls": 0}, SpecError, "trials"),
    ],
)
def test_a_grid_that_makes_no_sense_is_an_error_that_names_the_field(grid, changes, error, names):
    with pytest.raises(error, match=names):
        attrs.evolve(grid, **changes)


def test_the_same_vector_twice_is_an_error(grid):
    with pytest.raises(SpecError, match="vectors"):
        attrs.evolve(grid, vectors=[grid.vectors[0], grid.vectors[0]])


def test_a_layer_that_the_model_lacks_is_an_error_before_anything_is_written(grid, injector, tmp_path):
    with pytest.raises(LayerError, match="block index from 0 to"):
        Sweep(attrs.evolve(grid, layers=(99,)), injector, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_vector_of_the_wrong_width_is_an_error_before_anything_is_written(grid, injector, tmp_path):
    wide = attrs.evolve(grid.vectors[0], values=[1.0] * (injector.model.hidden_size + 1))
    assert isinstance(wide, ConceptVector)
    with pytest.raises(VectorError, match="width"):
        Sweep(attrs.evolve(grid, vectors=[wide]), injector, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_controls_alone_need_no_vectors(injector):
    trials = planned(Grid((), (), (), "raw", trials=0, controls=3), injector)
    assert [t.arm for t in trials] == ["control"] * 3
