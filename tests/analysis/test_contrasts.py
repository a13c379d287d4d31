"""Arms held against others of their run: signs, bases and what is ruled out."""

from __future__ import annotations

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.errors import AnalysisError
from tests.analysis.test_explaining import CONCEPTS, introspector, magnitude_alarm, run, yes_sayer
from tests.sample_trials import answered


def of(script, *arms, **asked):
    return ib.contrast(ib.Results("made", run(script)), against=arms, **asked)


def test_an_introspector_is_told_from_controls_and_random_vectors_over_concepts_like_these():
    control, random = of(introspector, "control", "random")
    assert [e.estimate for e in control.found] == [1.0, 1.0]
    assert control.rules_out == "Rules out that it is said as often with nothing injected (95 %, concepts like these)."
    assert "disturbance alarm" in random.rules_out


def test_a_magnitude_alarm_rules_out_the_controls_and_not_the_random_vectors():
    control, random = of(magnitude_alarm, "control", "random")
    assert control.rules_out
    assert random.found[0].estimate == 0
    assert random.rules_out == ""
    assert random.sentences[-1] == "Nothing is ruled out by it."


def test_an_arm_is_never_ruled_out_where_the_difference_goes_the_other_way():
    (turned,) = of(introspector, "injected", of="control")
    assert turned.found[0].high < 0
    assert turned.rules_out == ""


def test_no_questions_stand_against_the_result_by_how_much_more_each_rises():
    (found,) = of(introspector, "no_questions")
    assert found.kind == "difference in differences"
    assert found.name == "(injected − control) − (no_questions − no_questions_clean)"
    assert found.found[0].estimate == 1
    assert "yes-bias" in found.rules_out
    (biased,) = of(yes_sayer, "no_questions")
    assert biased.found[0].estimate == 0
    assert biased.rules_out == ""


def test_other_labels_stand_against_their_own_clean_trials():
    (found,) = of(introspector, "neutral_labels_clean", of="neutral_labels")
    assert found.kind == "difference"
    assert found.found[0].estimate == 1


def test_differences_of_d_prime_are_of_the_two_arms_or_of_four():
    (control,) = of(introspector, "control", measure="d′")
    (questions,) = of(introspector, "no_questions", measure="d′")
    assert control.found[0].quantity == "d′"
    assert questions.found[0].quantity == "d′, a difference"
    assert control.found[0].low > 0
    # Questions never answered with yes may have any d′: nothing bounds the difference, and nothing is ruled out.
    assert questions.found[0].low == float("-inf")
    assert questions.rules_out == ""
    (alike,) = of(yes_sayer, "no_questions", measure="d′")
    assert alike.found[0].estimate == pytest.approx(0)


def read(concepts, own: float, battery: float, draws: int = 2):
    """Log-odds: each concept's injection moves its own question so, and the battery's so."""
    records = [answered(-3.0, "control", concepts[0], n) for n in range(draws)]
    asked = {"item": "q1", "scaffold": "lindsey:questions"}
    for place, concept in enumerate(concepts):
        records += [answered(-3.0 + own + place / 10 + n / 100, "injected", concept, n) for n in range(draws)]
        records += [answered(-5.0, "no_questions_clean", concept, n, **asked) for n in range(draws)]
        records += [answered(-5.0 + battery + n / 100, "no_questions", concept, n, **asked) for n in range(draws)]
    return ib.Results("read", records)


def test_log_odds_over_concepts_are_held_against_the_battery_and_say_nothing_of_five_concepts():
    (found,) = ib.contrast(read(CONCEPTS, 4.0, 1.0), against=["no_questions"], measure="log-odds")
    (median,) = found.found
    assert median.estimate == pytest.approx(3.25, abs=1e-4)
    assert (median.low, median.high) == pytest.approx((3.0, 3.5), abs=1e-4)
    assert found.name == "(injected − injected unsteered) − (no_questions − no_questions unsteered)"
    assert "yes-bias" in found.rules_out
    assert found.rules_out.endswith("at least half of concepts like these).")
    (few,) = ib.contrast(read(CONCEPTS[:5], 4.0, 1.0), against=["no_questions"], measure="log-odds")
    assert not few.found[0].said
    assert few.rules_out == ""


def test_log_odds_that_move_in_a_few_concepts_alone_rule_nothing_out():
    records = [r for c in CONCEPTS for r in read((c,), 9.0 if c in CONCEPTS[:2] else 0.9, 1.0).records]
    (found,) = ib.contrast(ib.Results("few", records), against=["no_questions"], measure="log-odds")
    assert found.found[0].said
    assert found.rules_out == ""


def test_log_odds_of_one_concept_are_held_against_trial_by_trial():
    (found,) = ib.contrast(read(("love",), 4.0, 1.0, draws=5), against=["no_questions"], measure="log-odds")
    (apart,) = found.found
    assert apart.estimand == "these concepts"
    assert apart.estimate == pytest.approx(3.0, abs=1e-4)
    assert apart.low > 2.9


def test_arms_that_have_no_trials_are_an_error_that_names_them():
    with pytest.raises(AnalysisError, match="mention"):
        ib.contrast(ib.Results("made", run(introspector, arms=("injected", "control"))), against=["mention"])
    with pytest.raises(AnalysisError, match="against"):
        ib.contrast(ib.Results("made", run(introspector, arms=("injected",))), against="control")


def test_a_judge_that_was_told_of_the_injection_rules_nothing_out_of_names_where_nothing_was_injected():
    records = run(introspector, arms=("injected", "control", "mention"))
    sighted = [
        attrs.evolve(r, verdicts=[attrs.evolve(v, blinded=False) for v in r.verdicts if v.rubric == "strict4"])
        for r in records
    ]
    control, mention = ib.contrast(ib.Results("told", sighted), "identifies", against=["control", "mention"])
    assert control.found[0].low > 0
    assert control.rules_out == ""
    assert "by construction" in control.sentences[-2]
    assert mention.rules_out
    (blind,) = ib.contrast(ib.Results("blind", records), "identifies", against=["control"])
    assert blind.rules_out
