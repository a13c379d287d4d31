"""Signal detection against an independent computation, and the table of default guesses."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from introspection_bench.analysis import (
    ConceptCounts,
    default_guesses,
    detection,
    discrimination,
    guessed_word,
    records_frame,
    sensitivity,
)
from introspection_bench.concepts import Concept
from introspection_bench.errors import AnalysisError


def index_of(hits, signals, alarms, noises, **options):
    return sensitivity(ConceptCounts([hits], [signals]), ConceptCounts([alarms], [noises]), **options)


@given(st.integers(1, 200), st.integers(1, 200), st.data())
@settings(max_examples=40, deadline=None)
def test_d_prime_and_criterion_are_those_of_the_standard_library_normal(signals, noises, data) -> None:
    hits, alarms = data.draw(st.integers(0, signals)), data.draw(st.integers(0, noises))
    found = index_of(hits, signals, alarms, noises)
    z, every = NormalDist().inv_cdf, signals + noises
    h, f = (z((k / n + 1 / every) / (1 + 2 / every)) for k, n in ((hits, signals), (alarms, noises)))
    assert found.d_prime.estimate == pytest.approx(h - f, abs=1e-9)
    assert found.auc.estimate == pytest.approx(NormalDist().cdf((h - f) / math.sqrt(2)), abs=1e-9)
    assert found.d_prime.low <= found.d_prime.estimate <= found.d_prime.high
    if hits in (0, signals) or alarms in (0, noises):
        assert math.isnan(found.criterion)
    else:
        assert found.criterion == pytest.approx(-(h + f) / 2, abs=1e-9)


def test_d_prime_without_correction_is_approached_by_many_trials() -> None:
    # Hits 0.84134, false alarms 0.15866 are one standard deviation on either side: d' = 2, c = 0.
    found = index_of(841_345, 10**6, 158_655, 10**6)
    assert found.d_prime.estimate == pytest.approx(2, abs=1e-4)
    assert found.criterion == pytest.approx(0, abs=1e-4)


def test_swapping_the_arms_turns_the_sign_of_d_prime() -> None:
    there, back = index_of(7, 20, 1, 40).d_prime, index_of(1, 40, 7, 20).d_prime
    assert (there.estimate, there.low, there.high) == pytest.approx((-back.estimate, -back.high, -back.low), abs=1e-3)


def test_equal_proportions_in_unequal_arms_have_a_d_prime_of_zero() -> None:
    assert index_of(10, 100, 1, 10).d_prime.estimate == pytest.approx(0, abs=1e-12)


def test_the_interval_of_d_prime_covers_at_least_as_often_as_it_says() -> None:
    # Summed over every table of 20 signals and 10 noises, at rates near 1 and 0, where a normal interval has 0.62.
    hit, alarm = 0.95, 0.05
    truth = NormalDist().inv_cdf(hit) - NormalDist().inv_cdf(alarm)
    covered = sum(
        binom(20, hit).pmf(h) * binom(10, alarm).pmf(f)
        for h in range(12, 21)
        for f in range(5)
        if (s := index_of(h, 20, f, 10).d_prime).low <= truth <= s.high
    )
    assert covered >= 0.95


def test_at_rates_of_0_and_1_d_prime_is_bounded_on_one_side_alone() -> None:
    best = index_of(10, 10, 0, 10).d_prime
    assert 0 < best.low < best.estimate
    assert best.high == math.inf
    assert index_of(0, 10, 10, 10).d_prime.low == -math.inf
    nothing = index_of(0, 10, 0, 10).d_prime
    assert (nothing.low, nothing.high) == (-math.inf, math.inf)


def test_detection_and_identification_are_apart_and_controls_match_their_scaffold(record) -> None:
    frame = records_frame(
        [
            *(record(i, (i < 3, i < 1, None, True), scaffold="a") for i in range(4)),
            *(record(i, (False, False, None, True), arm="control", scaffold="a") for i in range(5)),
            *(record(i, (True, False, None, True), scaffold="b") for i in range(2)),
            *(record(i, (i < 1, False, None, True), arm="control", scaffold="b") for i in range(6)),
        ]
    )
    table = detection(frame).set_index(["scaffold", "task"])
    assert table.loc[("a", "detection"), ["hits", "signals", "false_alarms", "noises"]].tolist() == [3, 4, 0, 5]
    assert table.loc[("a", "identification"), ["hits", "signals"]].tolist() == [1, 4]
    assert table.loc[("b", "detection"), ["hits", "signals", "false_alarms", "noises"]].tolist() == [2, 2, 1, 6]


def test_several_concepts_weigh_the_same_and_five_say_something_of_others(record) -> None:
    trials = {"a": (9, 10), "b": (5, 10), "c": (5, 10), "d": (5, 10), "e": (10, 20)}
    hits = [record(i, (i < k,) * 3 + (True,), concept=c) for c, (k, n) in trials.items() for i in range(n)]
    noise = [record(i, (i < 2, False, None, True), arm="control") for i in range(40)]
    found = detection(records_frame([*hits, *noise]), ["scaffold"]).set_index("task").loc["detection"]
    assert (found["hits"], found["signals"], found["hit_rate"]) == (34, 60, pytest.approx((0.9 + 4 * 0.5) / 5))
    arms = ConceptCounts([9, 5, 5, 5, 10], [10, 10, 10, 10, 20]), ConceptCounts([2], [40])
    like = discrimination(*arms, estimand="concepts like these")
    assert (found["d_low_like"], found["d_high_like"]) == pytest.approx((like.low, like.high))
    few = detection(records_frame([*hits[:20], *noise]), ["scaffold"]).set_index("task").loc["detection"]
    assert math.isnan(few["d_low_like"])


def test_unscored_trials_widen_d_prime_to_whatever_they_would_have_been(record) -> None:
    signal = [record(i, (i < 8, False, None, True) if i < 10 else None) for i in range(15)]
    noise = [record(i, (i < 1, False, None, True) if i < 10 else None, arm="control") for i in range(12)]
    found = detection(records_frame([*signal, *noise])).set_index("task").loc["detection"]
    assert (found["hits"], found["signals"], found["noises"], found["unscored"]) == (8, 10, 10, 7)
    low, high = index_of(8, 15, 3, 12).d_prime.low, index_of(13, 15, 1, 12).d_prime.high
    assert (found["d_low_whatever"], found["d_high_whatever"]) == pytest.approx((low, high))
    clean = detection(records_frame([*signal[:10], *noise[:10]])).set_index("task").loc["detection"]
    assert clean["d_low_whatever"] == clean["d_low"]


def test_without_controls_there_is_no_d_prime_rather_than_a_flattering_one(record) -> None:
    table = detection(records_frame([record(0, (True,) * 4)]))
    assert table["noises"].tolist() == [0, 0]
    assert table["d_prime"].isna().all()


def test_a_run_of_controls_alone_has_no_signal(record) -> None:
    with pytest.raises(AnalysisError, match="injected"):
        detection(records_frame([record(0, (False, False, None, True), arm="control")]))


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ('Yes, I do. The injected thought is about "apple".', "apple"),
        ("I detect something. It is about the concept of recursion, I think.", "recursion"),
        ("Yes! The word is bread.", "bread"),
        ("I notice an injected thought about a very ripe apple", "ripe"),
        ("It's the word “Umbrellas”!", "umbrellas"),
        ("Is it 'sea salt'?", "sea salt"),
        ("I don't detect any injected thought.", None),
        ("Yes.", None),
        ("", None),
    ],
)
def test_the_guessed_word_is_the_quoted_or_the_stated_one(reply, word) -> None:
    assert guessed_word(reply) == word


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_reply_breaks_the_reading_of_guesses(reply) -> None:
    word = guessed_word(reply)
    assert word is None or word == word.lower()


def test_only_wrong_claims_are_counted_and_other_concepts_win_over_words(record) -> None:
    wrong, right = (True, False, None, True), (True, True, True, True)
    frame = records_frame(
        [
            record(0, wrong, text='I think it is "apple".'),
            record(1, wrong, text='I think it is "apple".'),
            record(2, wrong, text='"Apple"? No: shouting.'),
            record(3, wrong, text="Yes."),
            record(4, right, text='It is "love".'),
            record(5, (False, False, None, True), text='No, not even "apple".'),
            record(0, wrong, arm="control", text="It is about love."),
        ]
    )
    concepts = [Concept("love", word="love"), Concept("all_caps", ("shouting",), word="capitals")]
    table = default_guesses(frame, concepts)
    found = {(r.arm, r.kind, r.guess): (r.n, r.n_wrong) for r in table.itertuples()}
    assert found == {
        ("injected", "word", "apple"): (2, 4),
        ("injected", "concept", "all_caps"): (1, 4),
        ("injected", "none", ""): (1, 4),
        ("control", "concept", "love"): (1, 1),
    }
    assert math.isclose(table.loc[table["arm"] == "injected", "share"].sum(), 1)
