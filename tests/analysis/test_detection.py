"""Signal detection against an independent computation, and the table of default guesses."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspection_bench.analysis import default_guesses, detection, guessed_word, records_frame, sensitivity
from introspection_bench.concepts import Concept
from introspection_bench.errors import AnalysisError


@given(st.integers(1, 200), st.integers(1, 200), st.data())
@settings(max_examples=60, deadline=None)
def test_d_prime_and_criterion_are_those_of_the_standard_library_normal(signals, noises, data) -> None:
    hits, alarms = data.draw(st.integers(0, signals)), data.draw(st.integers(0, noises))
    found = sensitivity(hits, signals, alarms, noises)
    z = NormalDist().inv_cdf
    h, f = z((hits + 0.5) / (signals + 1)), z((alarms + 0.5) / (noises + 1))
    assert found.d_prime == pytest.approx(h - f, abs=1e-9)
    assert found.criterion == pytest.approx(-(h + f) / 2, abs=1e-9)
    assert found.low < found.d_prime < found.high


def test_d_prime_without_correction_is_approached_by_many_trials() -> None:
    # Hits 0.84134, false alarms 0.15866 are one standard deviation on either side: d' = 2, c = 0.
    found = sensitivity(841_345, 10**6, 158_655, 10**6)
    assert found.d_prime == pytest.approx(2, abs=1e-4)
    assert found.criterion == pytest.approx(0, abs=1e-4)


def test_swapping_the_arms_turns_the_sign_of_d_prime() -> None:
    assert sensitivity(7, 20, 1, 40).d_prime == -sensitivity(1, 40, 7, 20).d_prime


def test_the_interval_of_d_prime_covers_about_as_often_as_it_says() -> None:
    import numpy as np

    rng = np.random.default_rng(1)
    truth = NormalDist().inv_cdf(0.7) - NormalDist().inv_cdf(0.2)
    drawn = zip(rng.binomial(60, 0.7, 400), rng.binomial(60, 0.2, 400), strict=True)
    covered = sum((s := sensitivity(int(h), 60, int(f), 60)).low <= truth <= s.high for h, f in drawn)
    assert 0.92 <= covered / 400 <= 0.99


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
