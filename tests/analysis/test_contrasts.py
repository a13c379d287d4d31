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
    return moved({c: own + place / 10 for place, c in enumerate(concepts)}, battery, draws)


def moved(changes, battery: float, draws: int = 2):
    """Log-odds: each concept's injection moves its own question by its change, and the battery's all alike."""
    records = [answered(-3.0, "control", next(iter(changes)))]
    asked = {"item": "q1", "scaffold": "lindsey:questions"}
    for concept, change in changes.items():
        records += [answered(-3.0 + change, "injected", concept, n) for n in range(draws)]
        records += [answered(-5.0, "no_questions_clean", concept, n, **asked) for n in range(draws)]
        records += [answered(-5.0 + battery, "no_questions", concept, n, **asked) for n in range(draws)]
    return ib.Results("read", records)


def of_prompts(prompts: int, questions: int, again: int = 1):
    """Log-odds of one concept on so many prompts and questions, moved by 4 and 1 and a little by each of them."""
    records = []
    for name, arm, many, by in (("p", "injected", prompts, 4.0), ("q", "no_questions", questions, 1.0)):
        clean = "control" if arm == "injected" else f"{arm}_clean"
        scaffold = "lindsey" if arm == "injected" else "lindsey:questions"
        for n in range(many):
            where = {"item": f"{name}{n}", "scaffold": scaffold}
            records += [answered(-3.0, clean, "love", **where)]
            records += [answered(-3.0 + by + n / 100, arm, "love", draw, **where) for draw in range(again)]
    return ib.Results("read", records)


def against_questions(results, **asked):
    (found,) = ib.contrast(results, against=["no_questions"], measure="log-odds", **asked)
    return found


def test_log_odds_over_concepts_are_said_of_half_of_concepts_like_these_and_not_of_five():
    found = against_questions(read(CONCEPTS, 4.0, 1.0))
    (median,) = found.found
    assert (median.estimate, median.low, median.high) == pytest.approx((3.25, 3.0, 3.5), abs=1e-4)
    assert found.name == "(injected − injected unsteered) − (no_questions − no_questions unsteered)"
    assert (
        "At least half of concepts like these move by +3 or more, and at least half by +3.5 or less (95 %)."
        in found.sentences
    )
    assert "yes-bias" in found.rules_out
    assert found.rules_out.endswith("(95 %, at least half of concepts like these).")
    few = against_questions(read(CONCEPTS[:5], 4.0, 1.0))
    assert not few.found[0].said
    assert few.rules_out == ""
    assert not any("At least half" in said for said in few.sentences)


def test_the_mean_of_log_odds_is_told_of_these_concepts_alone_and_without_an_interval():
    found = against_questions(read(CONCEPTS, 4.0, 1.0))
    assert found.differences == pytest.approx({c: 3 + n / 10 for n, c in enumerate(CONCEPTS)}, abs=1e-4)
    assert "on average over these 6 concepts: +3.25, from +3 to +3.5, as read" in found.sentences[0]
    assert "says nothing of other concepts" in found.sentences[0]
    assert "+3.05, from +3 to +3.1" in against_questions(read(CONCEPTS[:2], 4.0, 1.0)).sentences[0]


def test_a_large_effect_on_one_concept_of_ten_rules_nothing_out_and_is_a_share_of_concepts():
    names = [f"concept {n}" for n in range(10)]
    found = against_questions(moved({c: 11.0 if n == 4 else 1 + (-1) ** n / 50 for n, c in enumerate(names)}, 1.0))
    assert sum(found.differences.values()) / 10 == pytest.approx(0.998, abs=1e-3)
    assert found.rules_out == ""
    assert found.share.estimate == pytest.approx(0.1)
    assert found.share.low > 0
    assert found.share.high == pytest.approx(0.445, abs=1e-3)
    assert any("share with a difference of log-odds (nats) above 0.693" in said for said in found.sentences)
    assert against_questions(moved(found.differences, 0.0), moved=10.5).share.estimate == 0


def test_where_a_rare_concept_falls_far_what_is_ruled_out_is_said_of_half_of_the_concepts_and_not_of_their_mean():
    """Most rise by a fifth and 1 in 10 falls by 10, so the mean is −0.8; most draws of 6 concepts have no such one."""
    found = against_questions(moved({c: 0.2 + n / 100 for n, c in enumerate(CONCEPTS)}, 0.0))
    assert found.rules_out.endswith("at least half of concepts like these).")
    assert not any("mean" in said or "average over concepts like" in said for said in found.sentences)


def test_log_odds_of_one_concept_are_held_against_prompt_by_prompt_however_often_each_was_drawn():
    found = against_questions(of_prompts(9, 7))
    (apart,) = found.found
    assert apart.estimand == "these concepts"
    assert (apart.estimate, apart.low, apart.high) == pytest.approx((3.01, 2.94, 3.08), abs=1e-4)
    assert found.rules_out.endswith("(95 %, this concept, its median prompt).")
    again = against_questions(of_prompts(9, 7, again=3))
    assert (again.found[0].low, again.found[0].high) == (apart.low, apart.high)
    one = against_questions(of_prompts(1, 7, again=20))
    assert "there are 1 and 7 different prompts" in one.found[0].sentence
    assert one.rules_out == ""
    assert "of the one concept: +2.97" in one.sentences[0]


def test_one_concept_at_two_doses_is_no_two_draws_of_a_prompt():
    records = of_prompts(9, 7).records
    other = [
        attrs.evolve(r, trial=attrs.evolve(r.trial, condition=attrs.evolve(r.condition, dose=ib.Dose(0.9, "residual"))))
        for r in records
        if r.condition.layers
    ]
    (apart,) = against_questions(ib.Results("two doses", [*records, *other])).found
    assert not apart.said
    assert "read in 2 cells" in apart.sentence


@pytest.mark.parametrize("threshold", [-1.0, float("nan"), float("inf")])
def test_a_threshold_that_is_no_number_of_nats_is_an_error(threshold):
    with pytest.raises(AnalysisError, match="moved"):
        against_questions(read(CONCEPTS, 4.0, 1.0), moved=threshold)


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
