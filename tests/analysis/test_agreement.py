"""Agreement of two judges against scikit-learn, and what is left out of it."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

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
    found = agreement(first, second, criteria=["affirmative"])["affirmative"]
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
    one = agreement(first, second, criteria=["affirmative"])["affirmative"]
    other = agreement(second, first, criteria=["affirmative"])["affirmative"]
    assert one.kappa == other.kappa or (math.isnan(one.kappa) and math.isnan(other.kappa))
    assert one.table == tuple(zip(*other.table, strict=True))


@given(st.lists(st.tuples(*[st.sampled_from([True, False, None])] * 2), min_size=3, max_size=60))
@settings(max_examples=40, deadline=None)
def test_not_applicable_as_a_category_is_a_third_label(answers) -> None:
    labels = [(str(a), str(b)) for a, b in answers]
    assume(len({x for pair in labels for x in pair}) > 1)
    first, second = sets(answers)
    found = agreement(first, second, criteria=["affirmative"], not_applicable="category")["affirmative"]
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


def pairs_of(both, first_only, second_only, neither):
    counts = zip(((1, 1), (1, 0), (0, 1), (0, 0)), (both, first_only, second_only, neither), strict=True)
    return [(bool(a), bool(b)) for (a, b), n in counts for _ in range(n)]


def test_the_interval_of_kappa_is_about_the_asymptotic_one_where_replies_are_many() -> None:
    first, second = sets(pairs_of(250, 30, 40, 280))
    found = agreement(first, second, criteria=["affirmative"])["affirmative"]
    reference = cohens_kappa(np.array(found.table))
    assert found.kappa == pytest.approx(reference.kappa)
    assert (found.low, found.high) == pytest.approx((reference.kappa_low, reference.kappa_upp), abs=0.015)


def test_kappa_ac1_and_both_indices_are_those_computed_by_hand() -> None:
    # 40, 9, 6, 45 of 100: agreement .85, chance .49 * .46 + .51 * .54 = .5008 and 2 * .475 * .525 = .49875.
    first, second = sets(pairs_of(40, 9, 6, 45))
    table = agreement(first, second, criteria=["affirmative"]).table().iloc[0]
    found = table["agreement"], table["kappa"], table["ac1"], table["prevalence_index"], table["bias_index"]
    assert found == pytest.approx((0.85, 0.3492 / 0.4992, 0.35125 / 0.50125, -0.05, 0.03))
    assert table["kappa_low"] < table["kappa"] < table["kappa_high"]
    assert table["ac1_low"] < table["ac1"] < table["ac1_high"]


def test_twenty_replies_in_agreement_do_not_make_kappa_certain() -> None:
    first, second = sets(pairs_of(1, 0, 0, 19))
    found = agreement(first, second, criteria=["affirmative"])["affirmative"]
    assert (found.kappa, found.high) == (1, 1)
    assert found.low < 0.2
    assert "Nine in ten answers or more are no (prevalence index −0.90)" in found.sentences[1]


def test_what_prevalence_and_bias_do_is_said_only_where_they_do_it() -> None:
    even = agreement(*sets(pairs_of(40, 9, 6, 45)), criteria=["affirmative"])["affirmative"]
    assert len(even.sentences) == 1
    assert even.sentences[0].startswith("affirmative: kappa 0.70 (95 % 0.")
    assert "100 replies" in even.sentences[0]
    biased = agreement(*sets(pairs_of(40, 2, 30, 28)), criteria=["affirmative"])["affirmative"]
    assert biased.sentences[1:] == ("The second judge said yes to more of these replies (bias index −0.28).",)
    other = agreement(*sets(pairs_of(40, 30, 2, 28)), criteria=["affirmative"])["affirmative"]
    assert "The first judge said yes" in other.sentences[1]
    yes = agreement(*sets(pairs_of(40, 1, 1, 0)), criteria=["affirmative"])["affirmative"]
    assert "answers or more are yes" in yes.sentences[1]


def test_where_each_judge_gives_one_answer_kappa_is_said_not_to_exist_and_ac1_is_there() -> None:
    found = agreement(*sets(pairs_of(0, 0, 0, 30)), criteria=["affirmative"])["affirmative"]
    assert math.isnan(found.kappa)
    assert found.pair.ac1.estimate == 1
    assert "kappa does not exist" in found.sentences[0]
    there = agreement(*sets(pairs_of(1, 0, 0, 30)), criteria=["affirmative"])["affirmative"]
    assert not any("does not exist" in s for s in there.sentences)


def test_a_third_category_has_a_kappa_without_an_interval() -> None:
    found = agreement(*sets([(None, True), (True, True), (False, False)]), not_applicable="category")["affirmative"]
    assert found.pair is None
    assert found.sentences == ()
    assert not math.isnan(found.kappa)
    assert math.isnan(found.low)


def test_sets_without_a_reply_in_common_are_an_error_that_says_how_they_are_joined() -> None:
    with pytest.raises(AnalysisError, match="digest"):
        agreement({"a": verdict(True)}, {"b": verdict(True)})


def test_verdicts_are_joined_by_the_digest_of_the_trial(record) -> None:
    trial = record(0, (True, True, True, True))
    assert list(verdicts_of([trial])) == [trial.key.digest]
    assert verdicts_of([trial], judge="claude") == {}
