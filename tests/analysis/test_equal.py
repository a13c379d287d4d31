"""The same as the controls, and the same as zero, out of a frame."""

from __future__ import annotations

import pytest

from introspection_bench.analysis import records_frame, same_as_control, same_as_zero_in
from introspection_bench.errors import AnalysisError


def frame_of(record, injected, controls, unscored=0, **where):
    """A frame from {concept: (successes, trials)}, the controls' (successes, trials), and unscored trials of each."""

    def trials(k, n, **place):
        answers = [(i < k, i < k, None, True) for i in range(n)]
        return [record(i, a, **place, **where) for i, a in enumerate([*answers, *[None] * unscored])]

    parts = [trials(k, n, concept=c) for c, (k, n) in injected.items()]
    return records_frame([r for part in [*parts, trials(*controls, arm="control")] for r in part])


def test_many_trials_without_any_success_are_the_same_as_the_control_within_a_margin(record) -> None:
    frame = frame_of(record, dict.fromkeys("abcde", (0, 40)), (0, 100))
    found = same_as_control(frame, "affirmative", 0.05)
    assert [v.verdict for v in found.verdicts] == ["equivalent", "neither"]
    assert found.sentences[0].startswith("Equivalent within 5 points: +0 points")
    # Five concepts can't say as much of others.
    assert found.sentences[1].startswith("Neither")


def test_few_trials_without_any_success_are_not_the_same_as_the_control(record) -> None:
    found = same_as_control(frame_of(record, {"a": (0, 10)}, (0, 10)), "affirmative", 0.05)
    assert found.verdicts[0].verdict == "neither"
    assert not any("Equivalent within" in s for s in found.sentences)


def test_without_a_margin_nothing_is_said_to_be_the_same(record) -> None:
    frame = frame_of(record, dict.fromkeys("abcde", (0, 40)), (0, 100))
    found = same_as_control(frame, "affirmative")
    assert found.verdicts == ()
    assert found.sentences[0].startswith("No difference shown, up to 3.")
    shown = same_as_control(frame_of(record, {"a": (15, 20)}, (1, 20)), "affirmative")
    assert shown.sentences[0].startswith("A difference is shown: +70 points")


def test_controls_of_another_scaffold_or_model_are_refused(record) -> None:
    import pandas as pd

    frames = [frame_of(record, {"a": (0, 5)}, (0, 5), scaffold=name) for name in ("one", "two")]
    with pytest.raises(AnalysisError, match="scaffold"):
        same_as_control(pd.concat(frames, ignore_index=True), "affirmative")


@pytest.mark.parametrize("ask", [same_as_control, same_as_zero_in])
def test_without_a_verdict_on_the_outcome_there_is_no_answer(record, ask) -> None:
    frame = records_frame([record(0, None), record(0, None, arm="control")])
    with pytest.raises(AnalysisError, match="none of them with a verdict"):
        ask(frame, "affirmative", 0.05)


@pytest.mark.parametrize(
    ("injected", "word", "never"),
    [
        (dict.fromkeys("abcde", (0, 40)), "The same as zero within 5 %", ("Not the same", "Neither")),
        (dict.fromkeys("abcde", (20, 40)), "Not the same as zero", ("The same as zero within", "Neither")),
        ({"a": (1, 20)}, "Neither", ("The same as zero within", "Not the same")),
    ],
)
def test_a_rate_is_zero_within_the_margin_not_zero_or_neither(record, injected, word, never) -> None:
    found = same_as_zero_in(frame_of(record, injected, (0, 10)), "affirmative", 0.05)
    assert found.sentences[0].startswith(word)
    assert not any(found.sentences[0].startswith(n) for n in never)
    assert not any("unscored" in s for s in found.sentences)
    if len(injected) < 5:
        assert "nothing can be said" in found.sentences[1]


def test_the_bound_of_zero_is_the_exact_one(record) -> None:
    # 0 of 200: 1 - 0.05 ** (1 / 200) = 1.49 %.
    found = same_as_zero_in(frame_of(record, dict.fromkeys("abcde", (0, 40)), (0, 10)), "affirmative", 0.05)
    assert "a rate of 1.49 % or more is excluded (95 % one-sided)" in found.sentences[0]


def test_unscored_trials_are_counted_as_what_would_be_worst(record) -> None:
    frame = frame_of(record, dict.fromkeys("abcde", (0, 40)), (0, 100), unscored=4)
    found = same_as_zero_in(frame, "affirmative", 0.05)
    assert found.unscored == 20
    assert found.whatever.high > 20 / 220
    assert "Whatever the 20 unscored trials would have been" in found.sentences[-1]
    against = same_as_control(frame, "affirmative", 0.05)
    assert against.unscored == 24
    assert against.whatever.high > 20 / 220


def test_a_concept_of_which_no_trial_is_scored_is_in_no_number_and_said_to_be(record) -> None:
    def frame(*unscored):
        scored = [record(i, (i < 3, False, None, True)) for i in range(10)]
        noise = [record(i, (False, False, None, True), arm="control") for i in range(10)]
        return records_frame([*scored, *noise, *(record(i, None, concept=c) for c in unscored for i in range(4))])

    found = same_as_control(frame("fear"), "affirmative")
    assert (found.first.trials, found.unscored, found.lost) == ((10,), 0, 4)
    assert found.sentences[-1] == "4 more unscored trials are of concepts without a scored one, and in no number."
    assert not any("no number" in s for s in same_as_control(frame(), "affirmative").sentences)
