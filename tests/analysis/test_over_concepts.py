"""A rate over concepts says what it is about, and what can't be said."""

from __future__ import annotations

import pytest

from introspection_bench.analysis import ConceptCounts, interval, like_these, mean_rate, records_frame
from introspection_bench.errors import AnalysisError


@pytest.fixture
def frame_of_counts(record):
    def make(hits, n=10, unscored=0, concept="concept {}"):
        return records_frame(
            [
                record(
                    i, (False, i < k, None, True) if i < n - unscored else None, concept=concept and concept.format(c)
                )
                for c, k in enumerate(hits)
                for i in range(n)
            ]
        )

    return make


def test_over_several_concepts_both_estimands_stand_side_by_side(frame_of_counts) -> None:
    hits = [0, 1, 2, 4, 8, 3]
    found, like = mean_rate(frame_of_counts(hits), "identifies"), like_these(ConceptCounts(hits, [10] * 6))
    assert (found.these.low, found.these.high) == pytest.approx((interval(18, 60).low, interval(18, 60).high))
    assert (found.like.low, found.like.high) == (like.low, like.high)
    assert found.sentence == (
        "identifies: 18 of 60 on 6 concepts, on average 30 %: 18.8 to 43.2 % on these concepts (95 % two-sided); "
        "10.6 to 66 % over concepts like these (Gaffke's bound over concepts)."
    )


def test_below_five_concepts_it_says_what_it_would_take_and_gives_no_interval_over_concepts(frame_of_counts) -> None:
    said = mean_rate(frame_of_counts([2, 7]), "identifies").sentence
    assert "45 %: 22.9 to 68.5 %" not in said
    assert "over concepts like these an interval can't be said: there are 2 concepts and it takes 5" in said
    assert "can't be said" not in mean_rate(frame_of_counts([2] * 5), "identifies").sentence


def test_one_concept_says_nothing_of_others(frame_of_counts) -> None:
    alone = mean_rate(frame_of_counts([2]), "identifies").sentence
    assert alone == (
        "identifies: 2 of 10 = 20 %, 2.52 to 55.6 % on the one concept, concept 0 (95 % two-sided); which says nothing "
        "of others."
    )
    assert "of concepts that are not stated" in mean_rate(frame_of_counts([2], concept=None), "identifies").sentence
    assert "nothing of others" not in mean_rate(frame_of_counts([2, 2]), "identifies").sentence


def test_unscored_trials_widen_a_second_interval_and_are_told_only_where_there_are_some(frame_of_counts) -> None:
    found = mean_rate(frame_of_counts([2, 2], unscored=1), "identifies")
    assert (found.whatever.low, found.whatever.high) == pytest.approx((interval(4, 20).low, interval(6, 20).high))
    assert "on these whatever the 2 unscored trials would be" in found.sentence
    whole = mean_rate(frame_of_counts([2, 2]), "identifies")
    assert whole.whatever is None
    assert "unscored" not in whole.sentence


def test_a_null_over_concepts_has_an_interval_of_some_width(frame_of_counts) -> None:
    assert mean_rate(frame_of_counts([0] * 8), "identifies").like.high == pytest.approx(1 - 0.025 ** (1 / 8), abs=1e-6)


def test_controls_alone_have_no_rate_over_concepts(record) -> None:
    with pytest.raises(AnalysisError, match="injected"):
        mean_rate(records_frame([record(0, (False,) * 4, arm="control")]), "identifies")
