"""Recipes: which prompts make a concept's vector, and how a vector's provenance tells them apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.errors import ConceptError, SpecError
from introspection_bench.recipes import RECIPES, Recipe, recipe_for

BOTH = ib.Concept("Teapots", word="teaPots", pairs=[ib.Pair("a teapot", "a pot"), ib.Pair("tea?", "pot?")])
WORD, PAIRS = attrs.evolve(BOTH, pairs=()), attrs.evolve(BOTH, word=None)


@pytest.mark.parametrize(("case", "written"), [("lower", "teapots"), ("as_is", "teaPots"), ("capitalised", "TeaPots")])
def test_the_word_is_written_in_its_case_into_the_template(case: Any, written: str) -> None:
    made = ib.Word(template="Think of {word}: {now}!", case=case).contrast(WORD, ["Sand", "sand"])
    assert made.positive == (f"Think of {written}: {{now}}!",)
    baseline = {"lower": ("sand", "sand"), "as_is": ("Sand", "sand"), "capitalised": ("Sand", "Sand")}[case]
    assert made.negative == tuple(f"Think of {w}: {{now}}!" for w in baseline)


def test_the_default_word_recipe_is_lindsey_s() -> None:
    made = ib.Word().contrast(WORD, ["Desks"])
    assert (made.positive, made.negative) == (("Tell me about teapots",), ("Tell me about desks",))
    assert (ib.Word().position, ib.Word().normalise, ib.Word().reduce) == (-1, False, "mean")


def test_the_pairs_recipe_takes_both_sides_in_order() -> None:
    made = ib.Pairs().contrast(PAIRS, ())
    assert (made.positive, made.negative) == (("a teapot", "tea?"), ("a pot", "pot?"))


def test_a_concept_of_two_recipes_is_never_extracted_by_a_guess() -> None:
    assert recipe_for(WORD, None) == ib.Word()
    assert recipe_for(PAIRS, None) == ib.Pairs()
    with pytest.raises(ConceptError, match="none chosen"):
        recipe_for(BOTH, None)
    assert recipe_for(BOTH, ib.Pairs(reduce="pca_center")) == ib.Pairs(reduce="pca_center")


@pytest.mark.parametrize(("recipe", "concept"), [(ib.Word(), PAIRS), (ib.Pairs(), WORD)])
def test_a_concept_that_lacks_what_the_recipe_needs_is_an_error(recipe: Recipe, concept: ib.Concept) -> None:
    with pytest.raises(ConceptError, match="one without"):
        recipe.contrast(concept, ["Sand"])


@pytest.mark.parametrize("baseline", [[], ["TEAPOTS", "Sand"]])
def test_a_word_needs_a_baseline_that_does_not_hold_it(baseline: list[str]) -> None:
    with pytest.raises(ConceptError, match="baseline"):
        ib.Word().contrast(WORD, baseline)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ib.Word(template="Tell me about it"), "template"),
        (lambda: ib.Word(template="{word} {word}"), "template"),
        (lambda: ib.Word(case="title"), "case"),
        (lambda: ib.Word(position=0), "below 0"),
        (lambda: ib.Pairs(position=3), "below 0"),
        (lambda: ib.Pairs(position=True), "below 0"),
        (lambda: ib.Pairs(reduce="pca"), "reduce"),
        (lambda: ib.Pairs(normalise=1), "normalise"),
        (lambda: ib.Word(layer="deep"), "layer"),
        (lambda: ib.Word(layer=-1), "layer"),
        (lambda: ib.Pairs(layer=True), "layer"),
    ],
)
def test_a_recipe_that_means_nothing_is_an_error_that_names_the_setting(make: Callable[[], Recipe], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        make()


POSITIONS, LAYERS = st.integers(-9, -1), st.none() | st.integers(0, 9) | st.floats(0, 1).map(ib.Depth)
ANY = st.one_of(
    st.builds(
        ib.Word,
        template=st.sampled_from(["Tell me about {word}", "{word}", "{word}', case='as_is"]),
        case=st.sampled_from(["lower", "as_is", "capitalised"]),
        position=POSITIONS,
        normalise=st.booleans(),
        layer=LAYERS,
    ),
    st.builds(
        ib.Pairs,
        reduce=st.sampled_from(["mean", "pca_center"]),
        position=POSITIONS,
        normalise=st.booleans(),
        layer=LAYERS,
    ),
)


@given(ANY, ANY)
def test_recipes_are_written_alike_only_where_they_differ_in_the_layer_alone(one: Recipe, other: Recipe) -> None:
    same = [attrs.evolve(recipe, layer=None) for recipe in (one, other)]  # type: ignore[misc]  # both are attrs classes
    assert (one.written == other.written) == (same[0] == same[1])


def test_a_recipe_by_default_is_written_as_its_name() -> None:
    assert {name: kind().written for name, kind in RECIPES.items()} == {"word": "word", "pairs": "pairs"}
    told = ib.Pairs(position=-2, reduce="pca_center", layer=ib.Depth(2 / 3)).written
    assert told == "pairs(position=-2, reduce='pca_center')"
