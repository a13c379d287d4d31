"""Effects of doses, beside a model of which they are known in closed form."""

from __future__ import annotations

import math
import statistics

import attrs
import numpy as np
import pytest
from linear_readout import BREAD, TOKENIZER, FakeLinearReadout, along, entropy_of, gain_of, kl_of

from introspection_bench import Concept, ConceptSet, Dose, Injection, Span
from introspection_bench.dosing import FROM_TEXT, GRID, NEUTRAL, Probe, dose_effects, find_dose, grid_of
from introspection_bench.errors import InjectionError
from introspection_bench.items import load_battery
from introspection_bench.measures.tokens import first_tokens
from introspection_bench.sweep.dosing import FindsDoses


@pytest.fixture
def model() -> FakeLinearReadout:
    return FakeLinearReadout()


def norms(model: FakeLinearReadout) -> list[float]:
    return [model.norm(p.token_ids) for p in Probe(model).prompts]


def test_divergence_entropy_and_gain_are_those_of_the_closed_form(model):
    (row,) = dose_effects(model, [along(0)], [0], [Dose(1.5, "residual")], n_random=3)
    shifts = [1.5 * n for n in norms(model)]
    assert len(set(shifts)) > 2
    for told, of in ((row.kl, kl_of), (row.entropy_after, entropy_of), (row.gain, gain_of)):
        np.testing.assert_allclose(told, [of(s) for s in shifts], atol=1e-4)
    np.testing.assert_allclose(row.entropy_before, entropy_of(0.0), atol=1e-4)
    assert row.median_kl == statistics.median(row.kl)
    assert (row.concept, row.layers, row.effect) == ("Bread", (0,), None)


def test_the_prompt_is_steered_from_its_text_on_and_not_before(model):
    prompt = Probe(model).prompts[0]
    start = FROM_TEXT.resolve(prompt).start
    item = load_battery("neutral").items[0]
    before = TOKENIZER.decode(prompt.token_ids[:start])
    assert start > 0
    assert TOKENIZER.decode(prompt.token_ids[start:]).startswith(item.slots["prompt"])
    assert item.slots["prompt"] not in before
    assert NEUTRAL.slots == ("prompt",)


def test_vectors_that_the_readout_does_not_see_are_told_from_live_ones(model):
    vectors = [
        along(0),
        along(5, "dead"),
        along(1, "another"),
        -attrs.evolve(along(0), concept="negated"),
    ]
    concepts = ConceptSet("few", [Concept(v.concept, word="Bread") for v in vectors], baseline=["Desk"])
    found = dose_effects(model, vectors, [0], [Dose(1, "residual")], concepts=concepts, n_random=19)
    assert {row.concept: row.live for row in found} == {
        "Bread": True,
        "dead": False,
        "another": False,
        "negated": False,
    }
    assert all(row.chance == 1 / 20 for row in found)
    dead = found.rows[1]
    assert dead.median_kl == pytest.approx(0, abs=1e-6)
    assert dead.median_gain == pytest.approx(0, abs=1e-6)
    assert max(dead.random_gain) > 0.1
    assert [row.concept for row in found.live] == ["Bread"]


def test_a_random_direction_is_called_live_as_often_as_chance_says(model):
    vectors = [along(0, f"c{n}").random_like(1000 + n) for n in range(60)]
    concepts = ConceptSet("many", [Concept(v.concept, word="Bread") for v in vectors], baseline=["Desk"])
    shares = [
        len(dose_effects(model, vectors, [0], [Dose(1, "residual")], concepts=concepts, n_random=4, seed=s).live) / 60
        for s in range(4)
    ]
    assert 0.05 < statistics.mean(shares) < 0.4


@pytest.mark.parametrize("unit", ["residual", "raw"])
def test_random_vectors_have_the_norm_of_the_vector_that_they_stand_beside(model, unit):
    vectors = [along(0, "Bread", 0.5), along(0, "Breads", 4.0)]
    short, long = dose_effects(model, vectors, [0], [Dose(1, unit)], n_random=5)
    assert long.random_kl != short.random_kl if unit == "raw" else long.random_kl == short.random_kl
    assert np.allclose(long.kl, short.kl, atol=1e-6) == (unit == "residual")


def test_concepts_of_one_dose_share_the_passes_of_the_random_vectors(model):
    dose_effects(model, [along(0), along(5, "dead")], [0], [Dose(1, "residual")], n_random=7)
    assert model.requests == 12 * (1 + 2 + 7)


def test_the_first_tokens_of_a_name_are_those_in_either_case_with_and_without_a_space():
    for text in ("Bread", "bread", " Bread", " bread"):
        ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
        blank = TOKENIZER(" ", add_special_tokens=False)["input_ids"]
        assert next(i for i in ids if i not in blank) in BREAD
    assert not set(BREAD) & set(first_tokens(["Xylophones"], TOKENIZER))


def test_doses_of_nothing_and_missing_vectors_are_refused(model):
    with pytest.raises(InjectionError, match="other than 0"):
        dose_effects(model, [along(0)], [0], [Dose(0, "raw")])
    with pytest.raises(InjectionError, match="at least one random vector"):
        dose_effects(model, [along(0)], [0], [Dose(1, "raw")], n_random=0)
    with pytest.raises(InjectionError, match="magnitude in one of"):
        dose_effects(model, [along(0)], [0], [Dose(0.5, "kl")])
    with pytest.raises(InjectionError, match="one of 'Bread' for each of"):
        dose_effects(model, [along(0), attrs.evolve(along(0), layer=3)], [1], [Dose(1, "raw")])


def test_the_dose_found_has_the_effect_and_is_found_again_without_a_pass(model):
    dosing = FindsDoses(probe=lambda: Probe(model))
    dose = dosing.by_effect((along(0),), (0,), Dose(0.5, "kl"))
    reached = statistics.median(kl_of(dose.magnitude * n) for n in norms(model))
    assert dose.unit == "residual"
    assert reached == pytest.approx(0.5, rel=0.011)
    (found,) = dosing.found.values()
    assert (found.asked, found.dose, found.prompt) == (Dose(0.5, "kl"), dose, None)
    assert found.reached == pytest.approx(reached, abs=1e-4)
    again = FindsDoses(dosing.found.values())
    assert again.by_effect((along(0),), (0,), Dose(0.5, "kl")) == dose
    for other in (((along(0),), (0,), Dose(0.6, "kl")), ((along(0, length=-1.0),), (0,), Dose(0.5, "kl"))):
        with pytest.raises(ValueError, match="when it was planned"):
            again.by_effect(*other)


def test_an_effect_outside_the_range_of_the_search_is_an_error(model):
    dosing = FindsDoses(probe=lambda: Probe(model))
    with pytest.raises(InjectionError, match=r"0\.5 kl asked for, at most"):
        dosing.by_effect((along(5, "dead"),), (0,), Dose(0.5, "kl"))
    with pytest.raises(InjectionError, match="at the smallest of them already"):
        find_dose(lambda m: 1 + m, 0.5, "dose")
    with pytest.raises(InjectionError, match="at most"):
        find_dose(lambda _: 0.0, 0.5, "dose")


def test_of_several_magnitudes_with_the_effect_the_smallest_is_found():
    def bump(m: float) -> float:
        return math.exp(-((math.log(m / 0.1) / 0.6) ** 2)) + (m > 3)

    dose, reached = find_dose(bump, 0.5, "dose")
    assert reached == pytest.approx(0.5, rel=0.01)
    assert dose.magnitude == pytest.approx(0.1 * math.exp(-0.6 * math.sqrt(math.log(2))), rel=0.02)


def test_a_smooth_effect_is_met_within_a_dozen_runs_and_doses_of_one_vector_share_them(model):
    asked = []
    find_dose(lambda m: (asked.append(m), 3 * m**2)[1], 0.1, "dose")
    assert len(asked) <= 12
    probe = Probe(model)
    dosing = FindsDoses(probe=lambda: probe)
    dosing.by_effect((along(0),), (0,), Dose(0.5, "kl"))
    first = model.requests
    dosing.by_effect((along(0),), (0,), Dose(0.4, "kl"))
    assert model.requests - first < first / 2


def test_a_jump_is_bracketed_from_above():
    dose, reached = find_dose(lambda m: float(m >= 0.3), 0.5, "dose")
    assert reached == 1
    assert 0.3 <= dose.magnitude <= 0.3 * 1.0002


def test_half_precision_is_not_searched_where_it_rounds_an_addition_away():
    assert grid_of("float32") == GRID
    assert min(grid_of("bfloat16")) == 2**-6
    assert Probe(FakeLinearReadout("float16")).grid[0] == 2**-8


def test_another_vector_is_matched_to_what_an_injection_does_to_the_answer_of_its_own_prompt(model):
    probe = Probe(model)
    dosing = FindsDoses(probe=lambda: probe)
    prompt = probe.prompts[3]
    norm = model.norm(prompt.token_ids)
    injections = (Injection(along(0), 0, "2 raw", FROM_TEXT),)
    other = attrs.evolve(along(0), values=[1, 0.5, 0, 0, 1, 0, 0, 0])
    dose = dosing.alike(injections, (other,), prompt)
    (reached,) = probe.divergences([prompt], [Injection(other, 0, dose, FROM_TEXT)])
    assert reached == pytest.approx(kl_of(2.0), rel=0.011)
    assert dose.magnitude * norm > 2  # less of it says "Bread"
    _, found = dosing.found.values()
    assert (found.prompt, found.asked.unit) == (prompt.digest, "kl")
    assert found.asked.magnitude == pytest.approx(kl_of(2.0), rel=1e-4)
    assert found.neutral == pytest.approx(probe.neutral_kl([Injection(other, 0, dose, FROM_TEXT)]))
    assert FindsDoses([found]).alike(injections, (other,), prompt) == dose


def test_an_injection_that_does_not_reach_the_answer_can_not_be_matched(model):
    probe = Probe(model)
    span = Span.generation()
    with pytest.raises(InjectionError, match="move the answer"):
        FindsDoses(probe=lambda: probe).alike((Injection(along(0), 0, "2 raw", span),), (along(1),), probe.prompts[0])


def test_how_far_an_answer_is_moved_is_found_again_without_a_pass(model):
    probe = Probe(model)
    dosing = FindsDoses(probe=lambda: probe)
    prompt, other = probe.prompts[:2]
    told = (prompt, (Injection(along(0), 0, "2 raw", FROM_TEXT),))
    assert dosing.moved(*told) == pytest.approx(kl_of(2.0), abs=1e-4)
    assert dosing.moved(prompt, other) == pytest.approx(0, abs=1e-6)  # unsteered it says the same to all
    again = FindsDoses(dosing.found.values())
    assert again.moved(*told) == dosing.moved(*told)
    with pytest.raises(ValueError, match="when it was planned"):
        again.moved(other, prompt)
