"""The page's first sentences: each is printed where it is true, and is not where it would be false."""

from __future__ import annotations

from typing import Any

import pytest
from report_samples import make_record

from introspection_bench.analysis import (
    ConceptCounts,
    difference,
    like_these,
    null_bound,
    records_frame,
    these_concepts,
)
from introspection_bench.analysis.binomial import bounds
from introspection_bench.report.page.headlines import headlines
from introspection_bench.trials import TrialRecord

CONCEPTS = ("love", "ocean", "bread", "poetry", "dust", "glass", "salt")
YES = {"affirmative": True, "identifies": True, "immediate": True, "coherent": True}


def arm(hits: int, trials: int, name: str = "injected", *, concepts: int = 3, **changes: Any) -> list[TrialRecord]:
    """Trials of an arm over concepts in turn, the first ``hits`` of them with ``changes`` (affirmative without any)."""
    given = changes.pop("given", {"affirmative": True})
    return [
        make_record(i, arm=name, concept=CONCEPTS[i % concepts], **{**(given if i < hits else {}), **changes})
        for i in range(trials)
    ]


def controls(hits: int, trials: int, **changes: Any) -> list[TrialRecord]:
    return arm(hits, trials, "control", **changes)


def said(*parts: list[TrialRecord], **options: Any) -> str:
    return "\n".join(headlines(records_frame([r for part in parts for r in part]), **options))


def noticed(*parts: list[TrialRecord]) -> str:
    return said(*parts).splitlines()[1]


def test_no_difference_is_said_with_what_is_left_standing_and_not_where_zero_is_excluded() -> None:
    text = said(controls(4, 20), arm(57, 270))
    found = difference(ConceptCounts([19] * 3, [90] * 3), ConceptCounts([4], [20]), estimand="these concepts")
    assert found.low < 0 < found.high
    assert (
        "The model affirmed a thought in 4 of 20 scored controls and 57 of 270 scored injected trials: no difference "
        f"shown, up to {found.high * 100:.3g} points more not excluded (these concepts; difference 1.11 points" in text
    )
    assert "a difference is shown" not in text
    assert "no difference shown" not in noticed(controls(1, 20), arm(200, 270))


def test_a_difference_is_said_with_the_least_that_it_is_and_in_its_direction() -> None:
    text = said(controls(1, 20), arm(200, 270))
    found = difference(ConceptCounts([67, 67, 66], [90] * 3), ConceptCounts([1], [20]), estimand="these concepts")
    assert f"a difference is shown, at least {found.low * 100:.3g} points more (these concepts;" in text
    reverse = noticed(controls(18, 20), arm(20, 270))
    assert "a difference is shown, the other way round: at least" in reverse
    assert "points more" not in reverse
    assert "the other way round" not in text


@pytest.mark.parametrize("concepts", [1, 4])
def test_below_five_concepts_no_interval_over_concepts_is_given_and_what_it_takes_is_said_once(concepts: int) -> None:
    text = said(controls(4, 20), arm(57, 240, concepts=concepts))
    assert "(concepts like these)" not in text
    assert "Over concepts like these:" not in text
    needs = like_these(ConceptCounts([9] * concepts, [60] * concepts)).needs
    assert text.count(f"No interval is given for concepts like these: {needs}.") == 1


def test_from_five_concepts_both_estimands_stand_side_by_side_and_nothing_is_needed() -> None:
    text = said(controls(4, 20), arm(35, 140, concepts=7, given=YES))
    counts = ConceptCounts([5] * 7, [20] * 7)
    here, like = these_concepts(counts), like_these(counts)
    assert (
        f"(strict) were met in 35 of 140 scored injected trials: 25 %, 95 % interval {bounds(here.low, here.high)} "
        f"(these concepts), {bounds(like.low, like.high)} (concepts like these)." in text
    )
    over = difference(counts, ConceptCounts([4], [20]), estimand="concepts like these")
    assert f"Over concepts like these: no difference shown, up to {over.high * 100:.3g} points more" in text
    assert "No interval is given" not in text


def test_the_nulls_sentences_stand_where_nothing_was_met_and_not_where_something_was() -> None:
    null = said(controls(0, 20), arm(0, 60))
    for sentence in null_bound(ConceptCounts([0] * 3, [20] * 3)).sentences:
        assert sentence in null
    assert "were met in none of 60 scored injected trials." in null
    once = said(controls(0, 20), arm(1, 60, given=YES))
    assert "were met in 1 of 60 scored injected trials: 1.67 %" in once
    assert "are excluded" not in once
    assert "none of" not in once


def test_controls_are_compared_with_where_one_is_scored_and_their_lack_is_said_elsewhere() -> None:
    lacking = "so nothing says how often it would without an injection"
    none = said(arm(3, 30))
    assert f"no control was run, {lacking}" in none
    unscored = said(arm(3, 30), controls(0, 5, verdicts=()))
    assert f"no control is scored, {lacking}" in unscored
    for text in (none, unscored):
        assert "scored controls" not in text
        assert "difference" not in text.replace("indifference", "")
    assert lacking not in said(arm(3, 30), controls(0, 5))


def test_controls_alone_have_their_rate_and_nothing_is_compared() -> None:
    text = said(controls(2, 10), arm(0, 4, verdicts=()))
    assert "affirmed a thought in 2 of 10 scored controls: 20 %" in text
    assert "(these trials); no injected trial is scored." in text
    assert "difference" not in text
    assert "no injected trial is scored" not in said(controls(2, 10), arm(0, 4))


def test_unscored_trials_are_taken_at_their_worst_on_both_sides_and_are_not_spoken_of_where_there_are_none() -> None:
    lost = arm(0, 30, unscored="refused to judge")
    noise = [*controls(0, 20), *controls(0, 5, unscored="refused to judge")]
    clear = said(noise[:20], arm(25, 60))
    assert "Whatever" not in clear
    assert "a difference is shown, at least" in clear
    text = said(noise, arm(25, 60), lost)
    # Successes on controls and failures on injections leave 5 of 25 against 25 of 90.
    low = difference(ConceptCounts([9, 8, 8], [30] * 3), ConceptCounts([5], [25]), estimand="these concepts").low
    high = difference(ConceptCounts([19, 18, 18], [30] * 3), ConceptCounts([0], [25]), estimand="these concepts").high
    assert low < 0
    assert (
        "Whatever the 35 trials without a verdict would have been: no difference shown, up to "
        f"{high * 100:.3g} points more" in text
    )
    most = these_concepts(ConceptCounts([10] * 3, [30] * 3)).high
    assert f"strict {bounds(0, most)} (these concepts)" in text


def test_a_concept_of_which_nothing_is_scored_counts_among_the_worst() -> None:
    text = said(controls(0, 20), arm(0, 60), arm(0, 20, concepts=1, unscored="x") and lost_concept())
    most = these_concepts(ConceptCounts([0, 0, 0, 20], [20] * 4)).high
    assert f"strict {bounds(0, most)} (these concepts)" in text


def lost_concept() -> list[TrialRecord]:
    return [make_record(i, concept="salt", unscored="refused to judge") for i in range(20)]


def test_another_arm_is_compared_with_injections_like_it_and_never_counted_among_controls() -> None:
    random = arm(9, 30, "random", magnitude=0.4)
    text = said(controls(4, 20), arm(10, 30, magnitude=0.4), arm(28, 30, magnitude=0.8), random)
    assert "in 4 of 20 scored controls and 38 of 60 scored injected trials: a difference is shown" in text
    assert (
        "In the arm 'random', which counts neither as injected nor as control, a thought was affirmed in 9 of 30 "
        "scored trials, and in 10 of 30 scored injected trials like them in concept, layer and dose: no difference "
        "shown" in text
    )
    assert "like them" not in said(controls(4, 20), arm(10, 30), arm(9, 30, "random"))
    alone = said(controls(4, 20), random)
    assert "9 of 30 scored trials: 30 %" in alone
    assert "; no injected trial is there to compare with." in alone
    assert "In the arm" not in said(controls(4, 20), arm(10, 30))


def test_a_prompted_arm_is_told_apart_from_the_injections_and_not_pooled_with_them() -> None:
    text = said(controls(4, 20), arm(10, 30), arm(29, 30, "prompt_only"))
    assert "and 10 of 30 scored injected trials: no difference shown" in text
    assert "and 29 of 30 scored trials of the arm 'prompt_only': a difference is shown" in text


def test_what_a_judge_that_was_told_says_of_decoys_is_not_compared_with() -> None:
    trials = (controls(0, 20), arm(20, 30, given={"identifies": True}))
    assert "Against a decoy, which was named in 0 of 20 scored controls: a difference is shown" in said(*trials)
    assert "decoy" not in said(*trials, blinded=False)
    assert "decoy" not in said(trials[1])


def test_each_scaffold_is_compared_with_controls_of_its_own() -> None:
    mine, other = {"scaffold": "lindsey"}, {"scaffold": "open"}
    text = said(controls(9, 10, **mine), arm(27, 30, **mine), arm(3, 30, **other), controls(1, 10, **other))
    assert "Under lindsey the model affirmed a thought in 9 of 10 scored controls and 27 of 30 scored" in text
    assert "Under open the model affirmed a thought in 1 of 10 scored controls and 3 of 30 scored" in text
    assert "10 of 20" not in text
    lone = said(controls(9, 10, **mine), arm(3, 30, **other))
    assert "Under open the model affirmed a thought in 3 of 30 scored injected trials: 10 %" in lone
    assert "no control was run" in lone


def test_many_settings_are_no_headline() -> None:
    names = [f"scaffold {i}" for i in range(5)]
    text = said(*(part for s in names for part in (controls(1, 5, scaffold=s), arm(3, 6, scaffold=s))))
    assert "In 5 settings injected trials are compared with the controls of their own" in text
    assert "Under scaffold" not in text
    assert "settings" not in said(controls(1, 5), arm(3, 6))


def test_the_weight_of_concepts_is_said_where_it_shows() -> None:
    uneven = [*arm(10, 10, concepts=1), *[make_record(i, concept="ocean") for i in range(90)]]
    assert "each concept weighing the same; difference 50 points" in said(controls(0, 20), uneven)
    assert "weighing" not in said(controls(0, 20), arm(9, 90))


def test_no_cell_that_was_chosen_for_its_rate_is_in_the_headline() -> None:
    text = said(controls(4, 20), arm(1, 30, magnitude=0.2, given=YES), arm(30, 30, magnitude=0.8, given=YES))
    assert "best" not in text
    assert "highest" not in text
    assert "30 of 30" not in text


def test_without_a_verdict_or_a_trial_there_is_no_rate() -> None:
    assert said(arm(0, 4, verdicts=())).endswith("judge the run, or read the transcripts.")
    assert "No trial has a verdict" not in said(arm(0, 4))
    assert headlines(records_frame([])) == ["No trial was run."]
    assert "all have a verdict" in said(arm(0, 4))
    assert "all have a verdict" not in said(arm(0, 4), arm(0, 2, verdicts=()))


def test_trials_without_a_concept_are_not_said_to_be_about_concepts() -> None:
    text = said(controls(0, 20), [make_record(i, concept=None, affirmative=i < 5) for i in range(20)])
    assert "(these trials; difference 25 points" in text
    assert "concepts" not in text
