"""A judge's known error in rates, differences and d′: by stratum where labels allow, else over a sensitivity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspection_bench.analysis import (
    ConceptCounts,
    JudgeAccuracy,
    PairTable,
    Results,
    judge_error,
    judged_difference,
    judged_rate,
    prediction_powered,
)
from introspection_bench.errors import AnalysisError
from tests.sample_trials import make_verdict


def one(k, n):
    return ConceptCounts([k], [n])


def test_the_correction_is_the_textbook_one() -> None:
    # raw 0.3, sensitivity 0.9, specificity 0.8: (0.3 + 0.8 - 1) / 0.7
    found = judged_rate(one(30, 100), JudgeAccuracy(90, 100, 80, 100))
    assert found.estimate == pytest.approx(0.1 / 0.7)
    assert found.low < found.estimate < found.high


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_a_judge_without_error_leaves_the_rate_as_it_is(k, positives, negatives) -> None:
    found = judged_rate(one(k, 50), JudgeAccuracy(positives, positives, negatives, negatives))
    assert found.estimate == pytest.approx(k / 50)


def test_fewer_labels_widen_the_interval() -> None:
    few, many = (judged_rate(one(120, 400), JudgeAccuracy(*[9 * m, 10 * m] * 2)) for m in (1, 100))
    assert few.high - few.low > many.high - many.low


def test_a_raw_rate_below_the_false_positives_is_cut_to_zero() -> None:
    found = judged_rate(one(5, 100), JudgeAccuracy(90, 100, 80, 100))
    assert found.estimate == found.low == 0


@pytest.mark.parametrize("error", [JudgeAccuracy(0, 0, 5, 5), JudgeAccuracy(5, 5, 0, 0)])
def test_labels_of_one_kind_alone_are_an_error(error) -> None:
    with pytest.raises(AnalysisError, match="both kinds"):
        judged_rate(one(3, 10), error)


@pytest.mark.parametrize("wrong", [(-1, 5, 1, 5), (6, 5, 1, 5), (1, 5, 6, 5), (1, 10**10, 1, 5)])
def test_an_accuracy_of_impossible_counts_is_an_error(wrong) -> None:
    with pytest.raises(AnalysisError, match="no more found than there are"):
        JudgeAccuracy(*wrong)


def arm_of(record, name, said, known, concept, start=0):
    """Records that the judge calls ``said``, and labels: True, False or None for no label, entry by entry."""
    records = [record(start + i, (s, False, None, True), arm=name, concept=concept) for i, s in enumerate(said)]
    labels = {
        r.key.digest: make_verdict(concept or "love", affirmative=k, identifies=False, immediate=None, coherent=True)
        for r, k in zip(records, known, strict=True)
        if k is not None
    }
    return records, labels


@pytest.fixture
def run(record):
    """60 injected and 40 control replies; of each 30 labelled, where the judge errs once each way."""

    def made(*, control_claims=True):
        injected, mine = arm_of(
            record,
            "injected",
            [True] * 10 + [False] * 20 + [True] * 10 + [False] * 20,
            [True] * 9 + [False] + [True] + [False] * 19 + [None] * 30,
            "love",
        )
        claims = [True] * 4 + [False] * 26
        control, theirs = arm_of(
            record,
            "control",
            [*claims, *([False] * 10)],
            [*(claims if control_claims else [False] * 30), *([None] * 10)],
            None,
            start=100,
        )
        return Results("r", [*injected, *control]), {**mine, **theirs}

    return made


def test_each_arm_is_corrected_by_its_own_labels_and_so_is_what_compares_them(run) -> None:
    found = judge_error(*run())
    injected, control = found["injected"], found["control"]
    assert injected.labelled == PairTable(9, 1, 1, 19)
    assert injected.corrected == judged_rate(one(20, 60), JudgeAccuracy(9, 10, 19, 20))
    assert control.corrected == judged_rate(one(4, 40), JudgeAccuracy(4, 4, 26, 26))
    assert found.difference == judged_difference(
        one(20, 60), one(4, 40), JudgeAccuracy(9, 10, 19, 20), second_judge=JudgeAccuracy(4, 4, 26, 26)
    )
    assert found.d_prime.estimate > 0
    assert found.why == ""
    assert injected.powered == prediction_powered(10, 30, PairTable(9, 1, 1, 19))
    assert "on 30 labelled replies of these" in injected.sentence
    assert "without assuming anything of the judge" in injected.sentence


def test_where_a_strata_has_no_true_label_a_curve_stands_and_no_correction_is_borrowed(run) -> None:
    found = judge_error(*run(control_claims=False), sensitivities=[0.5, 1.0])
    control = found["control"]
    assert control.corrected is None
    assert "both kinds" in control.why
    assert [(at.sensitivity, at.rate) for at in control.curve] == [(0.5, pytest.approx(0.2)), (1.0, pytest.approx(0.1))]
    assert "do not tell how many true cases it finds" in control.sentence
    assert "corrected for its error" not in control.sentence
    assert (found.difference, found.d_prime) == (None, None)
    assert "the labels on control do not tell" in found.sentences[-1]
    assert found["injected"].corrected is not None


def test_without_labels_nothing_is_corrected(run) -> None:
    results, _ = run()
    found = judge_error(results, {})
    assert all(s.corrected is s.powered is s.labelled is None and s.curve for s in found.strata)
    assert "0 labels there" in found["injected"].sentence


def test_coherent_and_incoherent_replies_are_strata_of_their_own_where_there_are_both(record) -> None:
    records = [record(i, (i % 2 == 0, False, None, i < 12)) for i in range(20)]
    labels = {
        r.key.digest: make_verdict("love", affirmative=i % 2 == 0, identifies=False, immediate=None, coherent=i < 12)
        for i, r in enumerate(records)
    }
    found = judge_error(Results("r", records), labels)
    assert [s.name for s in found.strata] == ["injected", "injected, coherent", "injected, not coherent"]
    assert str(found["injected, coherent"].counts) == "6 of 12"
    assert found["injected"].powered is None  # no reply is left without a label
    with pytest.raises(AnalysisError, match="injected, coherent"):
        found["control"]


def test_a_null_is_said_with_what_the_judge_may_have_missed(record) -> None:
    records, labels = arm_of(record, "injected", [False] * 100, [True] * 5 + [False] * 5 + [None] * 90, "love")
    found = judge_error(Results("r", records), labels)["injected"]
    assert found.corrected is None  # it found none of five
    assert "no better than chance" in found.why
    assert [round(at.high, 4) for at in found.curve][::-1] == pytest.approx(
        [0.0362, 0.0362 / 0.9, 0.0362 / 0.7, 0.0362 / 0.5], abs=2e-4
    )
    assert found.powered.estimate == pytest.approx(0.5)  # what the labels say all the same


def test_replies_that_nobody_scored_are_an_error() -> None:
    with pytest.raises(AnalysisError, match="Judge the run"):
        judge_error(Results("r", []), {})


def test_the_prediction_powered_rate_covers_although_the_judge_errs_differently_in_each_arm(record) -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        truth = rng.random(80) < 0.3
        said = np.where(rng.random(80) < 0.25, ~truth, truth)
        known = [bool(t) if i < 30 else None for i, t in enumerate(truth)]
        records, labels = arm_of(record, "injected", [bool(s) for s in said], known, "love")
        found = judge_error(Results("r", records), labels)["injected"].powered
        covered += found.low <= 0.3 <= found.high
    assert covered >= 90
