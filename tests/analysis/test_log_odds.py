"""Log-odds of yes at the answer, on planted numbers."""

from __future__ import annotations

import numpy as np
import pytest

from introspection_bench import analysis
from introspection_bench.errors import AnalysisError
from tests.sample_trials import answered

QUESTIONS = "lindsey:questions"


def planted(own_rise: float, battery_rise: float):
    """Two concepts under one injection; the prompts differ in where they stand without it."""
    records = [answered(-3.0, "control", "love", n) for n in range(2)]
    for number, concept in enumerate(("love", "bread")):
        records += [answered(-3.0 + own_rise + number, "injected", concept, n) for n in range(3)]
        for item, stands in (("q1", -5.0), ("q2", 2.2)):
            asked = {"item": item, "scaffold": QUESTIONS}
            records.append(answered(stands, "no_questions_clean", concept, **asked))
            records.append(answered(stands + battery_rise, "no_questions", concept, **asked))
    return records


def test_each_trial_is_measured_from_its_own_prompt_unsteered_not_from_another_question():
    frame = analysis.log_odds_frame(planted(4.0, 1.0))
    questions = frame[frame["arm"] == "no_questions"]
    assert sorted(questions["unsteered"].unique()) == pytest.approx([-5.0, 2.2], abs=1e-5)
    assert questions["change"].to_numpy() == pytest.approx(1.0, abs=1e-5)
    assert set(frame["base"]) == {"lindsey"}
    assert frame[frame["arm"] == "control"]["change"].to_numpy() == pytest.approx(0.0, abs=1e-5)


def test_the_difference_in_differences_takes_away_what_the_injection_does_to_any_question():
    table = analysis.log_odds_contrast(analysis.log_odds_frame(planted(4.0, 1.0))).set_index("concept")
    assert table.loc["love", ["change", "battery_change", "did"]].tolist() == pytest.approx([4.0, 1.0, 3.0], abs=1e-5)
    assert table.loc["bread", "did"] == pytest.approx(4.0, abs=1e-5)
    assert (table.loc["love", "n"], table.loc["love", "n_battery"]) == (3, 2)


def test_a_bias_towards_yes_alone_comes_to_a_difference_in_differences_of_nothing():
    table = analysis.log_odds_contrast(analysis.log_odds_frame(planted(2.5, 2.5))).set_index("concept")
    assert table.loc["love", "did"] == pytest.approx(0.0, abs=1e-5)


def test_a_trial_whose_prompt_was_never_run_unsteered_has_no_difference_and_counts_in_none():
    records = [r for r in planted(4.0, 1.0) if r.arm != "no_questions_clean"]
    frame = analysis.log_odds_frame(records)
    assert frame[frame["arm"] == "no_questions"]["change"].isna().all()
    with pytest.raises(AnalysisError, match="4 trials of it, none with its unsteered prompt"):
        analysis.log_odds_contrast(frame)


def test_a_small_joint_mass_is_said_with_the_share_of_openings_and_a_large_one_is_not():
    fine = [answered(1.0, "injected"), answered(-1.0, "control")]
    assert analysis.log_odds_sentence(analysis.log_odds_frame(fine)) == ""
    small = [*fine, answered(1.0, "injected", draw=1, joint=0.02)]
    frame = analysis.log_odds_frame(small)
    assert frame["joint"].to_numpy() == pytest.approx([0.8, 0.8, 0.02], rel=1e-4)
    assert "On 1 of 3 trials" in analysis.log_odds_sentence(frame)
    assert "have 0.10" in analysis.log_odds_sentence(frame)


def test_records_without_such_a_reading_are_an_error_that_says_how_to_get_one(record):
    with pytest.raises(AnalysisError, match="YesNo"):
        analysis.log_odds_frame([record(0, None)])


def test_log_odds_are_yes_minus_no():
    (row,) = analysis.log_odds_frame([answered(np.log(3.0), "injected")]).to_dict("records")
    assert row["log_odds"] == pytest.approx(np.log(3.0), abs=1e-5)
