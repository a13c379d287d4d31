"""The plan of a design."""

from __future__ import annotations

from collections import Counter

import attrs
import numpy as np
import pytest
from conftest import CONCEPTS, planned

from introspection_bench import LINDSEY, LINDSEY_405B, THINKING_ABOUT, Anchor, Depth, Dose, Item, Scaffold, Turn
from introspection_bench.errors import (
    AnchorNotFoundError,
    InjectionError,
    LayerError,
    ScaffoldError,
    SpecError,
    VectorError,
)
from introspection_bench.extraction import extract
from introspection_bench.sweep import (
    BesideSteer,
    Design,
    Injected,
    Negated,
    PromptOnly,
    RandomVector,
    Removed,
    Sweep,
    Unsteered,
)
from introspection_bench.vectors import ConceptVector

#: A scaffold whose question is filled by items.
REPEAT = Scaffold(
    name="repeat",
    turns=[Turn("user", "Here is a sentence: {sentence}\n\nWhat do you think about while you read it?")],
    anchors=[Anchor("sentence", "{sentence}"), Anchor("question", "What do you think")],
)
ITEMS = [Item(f"s{n}", {"sentence": text}) for n, text in enumerate(["A dog ran by.", "Rain fell.", "It was late."])]


def test_a_design_plans_every_combination_once_and_unsteered_trials_once_per_scaffold(design, injector):
    spans = {"lindsey": "from(trial)", "lindsey_405b": "all", "thinking_about": "all"}
    design = attrs.evolve(design, scaffolds=[LINDSEY, LINDSEY_405B, THINKING_ABOUT], layers=[0, 2], span=spans)
    trials = planned(design, injector)
    injected = [t for t in trials if t.condition.arm == "injected"]
    assert len(injected) == 3 * 2 * 2 * 2 * 5
    assert len([t for t in trials if t.condition.arm == "control"]) == 3 * 6
    assert len({t.key.digest for t in trials}) == len(trials)
    assert {(c.scaffold, c.concept, c.layers, str(c.dose)) for c in (t.condition for t in injected)} == {
        (s.name, c, (layer,), dose)
        for s in design.scaffolds
        for c in ("Oceans", "Bread")
        for layer in (0, 2)
        for dose in ("0.5 residual", "2 residual")
    }
    assert {(t.condition.scaffold, t.condition.span) for t in injected} == set(spans.items())


def test_a_depth_is_the_models_own_layer_and_a_band_is_steered_at_once(design, injector):
    design = attrs.evolve(design, layers=[Depth(1 / 2), (0, 1)])
    trials = [t for t in planned(design, injector) if t.condition.arm == "injected"]
    middle = round(injector.model.n_layers / 2)
    assert {t.condition.layers for t in trials} == {(middle,), (0, 1)}
    assert {tuple(s.layer for s in t.request.steers) for t in trials} == {(middle,), (0, 1)}


def test_without_a_span_trials_are_steered_from_the_anchor_trial_and_a_scaffold_without_it_is_an_error(
    design, injector
):
    assert {t.condition.span for t in planned(design, injector) if t.condition.dose} == {"from(trial)"}
    with pytest.raises(AnchorNotFoundError, match="trial"):
        planned(attrs.evolve(design, scaffolds=["thinking_about"]), injector)


def test_a_recipes_layer_is_where_vectors_are_read_whatever_layer_they_are_injected_at(design, injector):
    from introspection_bench import Word

    design = attrs.evolve(design, layers=[0, 2], recipe=Word(layer=1))
    sweep = Sweep(design, injector, "/no/such/run")
    assert {v.layer for v in sweep.vectors} == {1}
    assert {(t.condition.layer, t.request.steers[0].vector.layer) for t in sweep.planned if t.request.steers} == {
        (0, 1),
        (2, 1),
    }


def test_given_vectors_are_injected_as_they_are_and_a_concepts_only_one_at_every_layer(design, injector):
    given = extract(injector, CONCEPTS.select("Bread"), [2], baseline=CONCEPTS.baseline)
    trials = planned(attrs.evolve(design, vectors=given, layers=[0, 1]), injector)
    bread = [t.request.steers[0] for t in trials if t.condition.concept == "Bread"]
    assert {(s.vector.digest, s.layer) for s in bread} == {(given[0].digest, 0), (given[0].digest, 1)}


def test_spread_gives_so_many_trials_a_cell_and_no_concept_twice_before_all_came_once(design, injector):
    trials = planned(attrs.evolve(design, arms=[Injected(5, concepts="spread")]), injector)
    for dose in design.doses:
        concepts = [t.condition.concept for t in trials if t.condition.dose == dose]
        assert len(concepts) == 5
        assert set(concepts[:2]) == set(concepts[2:4]) == {"Oceans", "Bread"}
    again = planned(attrs.evolve(design, arms=[Injected(5, concepts="spread")]), injector)
    assert [t.key for t in again] == [t.key for t in trials]


def test_each_random_trial_has_a_direction_of_its_own_as_long_as_a_concepts_vector(design, injector):
    trials = planned(attrs.evolve(design, arms=[RandomVector(4)]), injector)
    first = [t.request.steers[0].vector for t in trials if t.condition.dose == design.doses[0]]
    assert len({v.digest for v in first}) == 4
    lengths = {round(v.norm, 4) for v in Sweep(design, injector, "/no/such/run").vectors}
    assert {round(v.norm, 4) for v in first} <= lengths
    # Over doses they are the same, so that a random vector has a dose and response too.
    assert {v.digest for v in first} == {t.request.steers[0].vector.digest for t in trials}
    assert {(t.condition.arm, t.condition.truth, t.condition.concept) for t in trials} == {("random", "other", None)}


def test_the_arms_beside_an_injection_differ_from_it_in_what_their_names_say(design, injector):
    arms = [Injected(1), Negated(1), PromptOnly(1), Removed(1, at="reply", since="trial")]
    trials = planned(attrs.evolve(design, arms=arms, doses=["1 raw"], concepts=CONCEPTS.select("Bread")), injector)
    found = {t.condition.arm: (t.condition, t.request.steers[0]) for t in trials}
    _, injected = found["injected"]
    length = injected.positions.prompt_length
    assert injected.positions.stop is None
    assert np.array_equal(found["negated"][1].vector.values, -injected.vector.values)
    assert found["prompt_only"][1].positions == attrs.evolve(injected.positions, stop=length)
    assert found["removed"][1].positions == attrs.evolve(injected.positions, stop=length)
    assert {arm: c.truth for arm, (c, _) in found.items()} == {
        "injected": "injected",
        "negated": "other",
        "prompt_only": "injected",
        "removed": "injected",
    }


def test_arms_that_do_the_same_on_this_prompt_are_different_draws_and_not_one_trial(design, injector):
    trials = planned(attrs.evolve(design, arms=[PromptOnly(2), Removed(2, at="reply", since="trial")]), injector)
    assert len({t.key.digest for t in trials}) == len(trials)
    assert {t.trial.draw for t in trials} == {0, 1}
    assert {t.key.draw for t in trials} == {0, 1, 2, 3}


def test_items_fill_a_scaffolds_slots_in_turn_and_each_is_a_prompt_of_its_own(design, injector):
    arms = [Injected(6, concepts="spread"), Unsteered(3)]
    design = attrs.evolve(design, scaffolds=[REPEAT], items=ITEMS, span="between(sentence, question)", arms=arms)
    trials = planned(design, injector)
    for dose in (*design.doses, None):
        mine = [t for t in trials if t.condition.dose == dose]
        assert set(Counter(t.trial.item for t in mine).values()) == ({2} if dose else {1})
    for trial in trials:
        sentence = next(i.slots["sentence"] for i in ITEMS if i.name == trial.trial.item)
        assert sentence in trial.request.prompt.text
    assert len({t.key.prompt for t in trials}) == 3


@pytest.mark.parametrize(
    "changes",
    [{"items": ()}, {"items": [Item("x", {"other": "text"})]}, {"scaffolds": [LINDSEY], "items": ITEMS}],
)
def test_items_that_do_not_fit_the_scaffolds_are_an_error(design, changes):
    with pytest.raises(SpecError, match=r"design\.items"):
        attrs.evolve(design, **{"scaffolds": [REPEAT], "items": ITEMS, **changes})


def test_a_scaffold_with_open_slots_cannot_be_rendered(injector):
    with pytest.raises(ScaffoldError, match="open slots"):
        REPEAT.render(injector.tokenizer)


def test_steers_beside_stand_in_every_trial_unsteered_ones_too(design, injector):
    vector = extract(injector, CONCEPTS.select("Bread"), [1], baseline=CONCEPTS.baseline)[0]
    ablated = BesideSteer("ablated", [vector], [0, Depth(1.0)], "-1 projection")
    trials = planned(attrs.evolve(design, beside=[ablated]), injector)
    last = injector.model.n_layers - 1
    for trial in trials:
        beside = [s for s in trial.request.steers if s.dose == Dose(-1, "projection")]
        assert [s.layer for s in beside] == [0, last]
        assert str(trial.condition.beside[0]) == f"ablated -1 projection at 0,{last}"
    assert {len(t.request.steers) for t in trials if t.condition.arm == "control"} == {2}
    assert {t.condition.truth for t in trials if t.condition.arm == "control"} == {"nothing"}


def test_every_trial_has_its_own_seed_unless_draws_are_paired(design, injector):
    seeds = [t.request.seed for t in planned(design, injector)]
    assert len(set(seeds)) == len(seeds)
    arms = [Injected(4), RandomVector(6), Negated(4), Unsteered(10)]
    trials = planned(attrs.evolve(design, arms=arms, paired="draw"), injector)
    by_arm: dict[str, list[int]] = {}
    for trial in trials:
        if trial.condition.dose in (design.doses[0], None):
            by_arm.setdefault(trial.condition.arm, []).append(trial.request.seed)
    injected = by_arm["injected"]
    assert len(set(injected)) == 8
    assert by_arm["negated"] == injected
    assert by_arm["control"][:8] == injected
    assert len(set(by_arm["control"])) == 10
    assert set(by_arm["random"]) <= set(injected)
    assert len({t.key.digest for t in trials}) == len(trials)
    assert all(t.key.given_seed == t.request.seed for t in trials)


def test_judges_are_asked_about_the_injected_concept_or_a_decoy_of_the_run(design, injector):
    arms = [Injected(1), RandomVector(8), Unsteered(16)]
    trials = planned(attrs.evolve(design, arms=arms), injector)
    assert all(t.condition.asked == t.condition.concept for t in trials if t.condition.concept)
    for arm in ("random", "control"):
        assert {t.condition.asked for t in trials if t.condition.arm == arm} == {"Oceans", "Bread"}
        assert len({t.condition.cell for t in trials if t.condition.arm == arm}) == (2 if arm == "random" else 1)


@pytest.mark.parametrize(
    ("changes", "error", "names"),
    [
        ({"arms": ()}, SpecError, r"design\.arms"),
        ({"arms": [Injected(1), Injected(2)]}, SpecError, r"design\.arms"),
        ({"doses": ["1 raw", "1.0 raw"]}, SpecError, r"design\.doses"),
        ({"doses": []}, SpecError, r"design\.doses"),
        ({"doses": ["nan raw"]}, InjectionError, "magnitude"),
        ({"doses": ["1 furlongs"]}, InjectionError, "unit"),
        ({"doses": ["1"]}, InjectionError, "dose"),
        ({"scaffolds": ()}, SpecError, r"design\.scaffolds"),
        ({"scaffolds": [LINDSEY, LINDSEY]}, SpecError, r"design\.scaffolds"),
        ({"layers": [1, 1]}, SpecError, r"design\.layers"),
        ({"layers": [-1]}, SpecError, r"design\.layers"),
        ({"layers": [()]}, SpecError, r"design\.layers"),
        ({"concepts": None}, SpecError, r"design\.concepts"),
        ({"seed": -1}, SpecError, r"design\.seed"),
        ({"span": {"other": "all"}}, SpecError, r"design\.span"),
        ({"paired": "concept"}, SpecError, "paired"),
    ],
)
def test_a_design_that_makes_no_sense_is_an_error_that_names_the_field(design, changes, error, names):
    with pytest.raises(error, match=names):
        attrs.evolve(design, **changes)


@pytest.mark.parametrize("n", [0, -1, True, 1.5])
def test_an_arm_without_trials_is_an_error(n):
    with pytest.raises(SpecError, match=r"arm\.n"):
        Injected(n)


@pytest.mark.parametrize("layers", [[99], [(0, 99)], [1, Depth(1 / 4)]])
def test_layers_that_the_model_lacks_or_has_twice_are_an_error_before_anything_is_written(
    design, injector, tmp_path, layers
):
    assert injector.model.n_layers == 4
    with pytest.raises(LayerError, match="blocks from 0 to 3"):
        Sweep(attrs.evolve(design, layers=layers), injector, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_vector_of_the_wrong_width_is_an_error_before_anything_is_written(design, injector, tmp_path):
    vector = extract(injector, CONCEPTS.select("Bread"), [1], baseline=CONCEPTS.baseline)[0]
    wide = attrs.evolve(vector, values=[1.0] * (injector.model.hidden_size + 1))
    assert isinstance(wide, ConceptVector)
    with pytest.raises(VectorError, match="width"):
        Sweep(attrs.evolve(design, vectors=[wide]), injector, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unsteered_trials_alone_need_no_concepts(injector):
    trials = planned(Design(arms=[Unsteered(3)]), injector)
    assert [(t.condition.arm, t.condition.asked) for t in trials] == [("control", None)] * 3
