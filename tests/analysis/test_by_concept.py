"""Counts by concept, out of frames of trials."""

from __future__ import annotations

import pytest

from introspection_bench.analysis import by_concept, matched, records_frame
from introspection_bench.errors import AnalysisError

YES, NO = (True,) * 4, (False,) * 4


def test_concepts_are_counted_apart_and_unscored_trials_beside_them(record):
    answers = {"love": [YES, NO, None], "bread": [NO], "dust": [None]}
    trials = [record(i, a, concept=c) for c, given in answers.items() for i, a in enumerate(given)]
    found = by_concept(records_frame(trials), "affirmative")
    assert (found.concepts, found.counts.successes, found.counts.trials) == (("bread", "love"), (0, 1), (1, 2))
    assert (found.missing, found.lost, found.unscored) == ((0, 1), 1, 2)
    assert found.whatever().low < found.counts.rate < found.whatever().high


def test_controls_are_one_entry_and_what_applies_nowhere_is_none(record):
    controls = records_frame([record(i, a, arm="control", concept=None) for i, a in enumerate([YES, NO, NO])])
    found = by_concept(controls, "affirmative")
    assert (found.concepts, found.counts.successes, found.counts.trials) == (("",), (1,), (3,))
    assert by_concept(records_frame([record(0, None)]), "affirmative") is None


def test_arms_are_matched_concept_by_concept_in_one_order(record):
    def arm(sizes):
        trials = [record(i, YES if i == 0 else NO, concept=c) for c, n in sizes.items() for i in range(n)]
        return by_concept(records_frame(trials), "affirmative")

    first, second = arm({"love": 2, "bread": 3, "dust": 4}), arm({"dust": 5, "love": 6})
    assert [c.trials for c in matched(first, second)] == [(4, 2), (5, 6)]
    with pytest.raises(AnalysisError, match="a concept that both have"):
        matched(arm({"love": 1}), arm({"bread": 1}))
