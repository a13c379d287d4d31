"""What a null on some concepts would say of others, and how many concepts and trials a question takes."""

from __future__ import annotations

import math

import pytest

from introspection_bench.analysis import ConceptCounts, like_these, plan_concepts, trials_to_bound, trials_to_stop
from introspection_bench.errors import AnalysisError


def test_a_clean_null_on_concepts_is_said_with_what_it_excludes_under_both_estimands() -> None:
    found = plan_concepts(0.2, 20, trials=20, icc=0.1)
    assert found.null.high == pytest.approx(1 - 0.025 ** (1 / 20))  # Clopper and Pearson's for 0 of 20 concepts
    assert found.null.these.high == pytest.approx(1 - 0.025 ** (1 / 400))
    assert found.null.these.high < found.null.curve[0].high < found.null.high
    first = found.sentences[0]
    assert "20 concepts of 20 trials" in first
    assert "16.8 % however they vary" in first
    assert "on these concepts" in first


def test_so_many_concepts_are_needed_and_one_fewer_does_not_do() -> None:
    found = plan_concepts(0.2, 6, trials=11)
    assert found.to_exclude == math.ceil(math.log(0.025) / math.log(0.8))
    for c in (found.to_exclude, found.to_exclude - 1):
        assert (like_these(ConceptCounts([0] * c, [11] * c)).high <= 0.2) == (c == found.to_exclude)
    # A concept above the rate shows itself with 1 - 0.8^11; a tenth of them show none on c concepts in 5 %.
    assert found.to_bound_share == math.ceil(math.log(0.05) / math.log(1 - 0.1 * (1 - 0.8**11)))


def test_stopping_at_any_moment_costs_more_trials_than_a_plan_that_is_kept() -> None:
    found = plan_concepts(0.2, 6)
    assert found.to_stop == trials_to_stop(0.2) > trials_to_bound(0.2)


def test_fewer_trials_of_each_concept_take_more_concepts_to_bound_a_share() -> None:
    assert plan_concepts(0.2, 6, trials=1).to_bound_share > plan_concepts(0.2, 6, trials=50).to_bound_share


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"rate": 1e-9}, "20,000 concepts"), ({"rate": 0.0}, "rate"), ({"concepts": 0}, "concepts"), ({"icc": 2.0}, "icc"),
     ({"trials": 10**9}, "trials"), ({"share": 1.0}, "share")],
)  # fmt: skip
def test_what_no_number_of_concepts_settles_or_what_is_no_plan_is_refused(wrong, says) -> None:
    with pytest.raises(AnalysisError, match=says):
        plan_concepts(**{"rate": 0.2, "concepts": 6} | wrong)
