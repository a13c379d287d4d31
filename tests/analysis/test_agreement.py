"""Agreement of two judges against scikit-learn, and what is left out of it."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from introspection_bench.analysis import agreement, verdicts_of
from introspection_bench.errors import AnalysisError
from introspection_bench.verdicts import Verdict


def verdict(affirmative: bool | None, unscored: str | None = None) -> Verdict:
    return Verdict("j", "r", "d", "love", {} if unscored else {"affirmative": affirmative}, unscored=unscored)


def sets(answers):
    return tuple({str(i): verdict(a[side]) for i, a in enumerate(answers)} for side in (0, 1))


BOOLS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=80)


@given(BOOLS)
@settings(max_examples=60, deadline=None)
def test_kappa_is_that_of_scikit_learn(answers) -> None:
    first, second = sets(answers)
    found = agreement(first, second, criteria=["affirmative"], resamples=50)["affirmative"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where kappa does not exist
        reference = cohen_kappa_score([a for a, _ in answers], [b for _, b in answers])
    if math.isnan(reference):
        assert math.isnan(found.kappa)
    else:
        assert found.kappa == pytest.approx(reference, abs=1e-12)
    assert found.agreement.k == sum(a == b for a, b in answers)


@given(BOOLS)
@settings(max_examples=40, deadline=None)
def test_which_judge_comes_first_does_not_matter(answers) -> None:
    first, second = sets(answers)
    one = agreement(first, second, criteria=["affirmative"], resamples=10)["affirmative"]
    other = agreement(second, first, criteria=["affirmative"], resamples=10)["affirmative"]
    assert one.kappa == other.kappa or (math.isnan(one.kappa) and math.isnan(other.kappa))
    assert one.table == tuple(zip(*other.table, strict=True))


@given(st.lists(st.tuples(*[st.sampled_from([True, False, None])] * 2), min_size=3, max_size=60))
@settings(max_examples=40, deadline=None)
def test_not_applicable_as_a_category_is_a_third_label(answers) -> None:
    labels = [(str(a), str(b)) for a, b in answers]
    assume(len({x for pair in labels for x in pair}) > 1)
    first, second = sets(answers)
    found = agreement(first, second, criteria=["affirmative"], not_applicable="category", resamples=10)["affirmative"]
    reference = cohen_kappa_score([a for a, _ in labels], [b for _, b in labels], labels=["True", "False", "None"])
    assert found.kappa == pytest.approx(reference, abs=1e-12)


def test_not_applicable_is_not_met_by_default_and_can_be_left_out() -> None:
    first, second = sets([(None, False), (True, True), (False, False), (None, True)])
    default = agreement(first, second, criteria=["affirmative"])["affirmative"]
    assert default.table == ((1, 0), (1, 2))
    left = agreement(first, second, criteria=["affirmative"], not_applicable="leave out")["affirmative"]
    assert (left.table, left.left_out) == (((1, 0), (0, 1)), 2)


def test_failed_judgements_and_unshared_replies_are_counted_and_not_compared() -> None:
    first = {"a": verdict(True), "b": verdict(None, "timeout"), "c": verdict(True), "d": verdict(False)}
    second = {"a": verdict(True), "b": verdict(True), "c": verdict(None, "refused"), "e": verdict(False)}
    found = agreement(first, second)
    assert (found.both_scored, found.unscored_first, found.unscored_second) == (1, 1, 1)
    assert (found.only_first, found.only_second) == (1, 1)


def test_the_bootstrap_interval_is_seeded_and_close_to_the_asymptotic_one() -> None:
    from statsmodels.stats.inter_rater import cohens_kappa

    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.4
    answers = [(bool(t ^ (rng.random() < 0.1)), bool(t ^ (rng.random() < 0.15))) for t in truth]
    first, second = sets(answers)
    found = agreement(first, second, criteria=["affirmative"], seed=3)["affirmative"]
    again = agreement(first, second, criteria=["affirmative"], seed=3)["affirmative"]
    reference = cohens_kappa(np.array(found.table))
    assert found == again
    assert found.kappa == pytest.approx(reference.kappa)
    assert (found.low, found.high) == pytest.approx((reference.kappa_low, reference.kappa_upp), abs=0.015)


def test_sets_without_a_reply_in_common_are_an_error_that_says_how_they_are_joined() -> None:
    with pytest.raises(AnalysisError, match="digest"):
        agreement({"a": verdict(True)}, {"b": verdict(True)})


def test_verdicts_are_joined_by_the_digest_of_the_trial(record) -> None:
    trial = record(0, (True, True, True, True))
    assert list(verdicts_of([trial])) == [trial.key.digest]
    assert verdicts_of([trial], judge="claude") == {}
