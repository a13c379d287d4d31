"""What readings name, on planted scores."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from introspection_bench import analysis
from introspection_bench.errors import AnalysisError
from introspection_bench.measures import Reading
from tests.sample_trials import make_condition, make_verdict, record_of

CONCEPTS = tuple("abcdefgh")
READ_BY = ("m", "torch", 1, "float32")


def naming(scores, tokens=None, measure="naming"):
    rows = np.stack([scores, np.ones(len(scores)) if tokens is None else tokens], axis=1)
    return Reading(measure, "d" * 64, {"concept": CONCEPTS, "of": ("logprob", "tokens")}, rows, *READ_BY)


def trial(concept, draw, *readings, **more):
    return record_of(make_condition("injected", concept), draw, readings=readings, **more)


def scores_for(name):
    return np.array([-1.0 if c == name else -5.0 for c in CONCEPTS])


def test_perfect_naming_tells_the_logarithm_of_the_number_of_concepts_and_shuffled_labels_next_to_nothing():
    records = [trial(c, n, naming(scores_for(c))) for c in CONCEPTS for n in range(40)]
    (row,) = analysis.identification(analysis.naming_frame(records), shuffles=100).to_dict("records")
    assert row["accuracy"] == 1
    assert row["bits"] == pytest.approx(3.0, abs=1e-9)
    assert row["most_bits"] == pytest.approx(3.0, abs=1e-9)
    assert 0 < row["bias"] < 0.15
    assert row["p"] == pytest.approx(1 / 101)
    assert row["chance"] == pytest.approx(1 / 8)


def test_names_at_random_tell_nothing_once_the_bias_is_taken_away_and_something_before():
    rng = np.random.default_rng(0)
    injected, named = (rng.choice(CONCEPTS, 800).tolist() for _ in range(2))
    told = analysis.mutual_information(injected, named, shuffles=300)
    assert told.bits > 0.02
    assert abs(told.corrected) < 0.03
    assert told.p > 0.05
    # The plug-in estimate is too high by about (C - 1)^2 / (2 n ln 2).
    assert told.bias == pytest.approx(49 / (2 * 800 * math.log(2)), rel=0.25)


def test_always_the_same_name_tells_nothing_however_often_it_is_right():
    told = analysis.mutual_information(["a"] * 90 + ["b"] * 10, ["a"] * 100, shuffles=50)
    assert (told.bits, told.bias) == (pytest.approx(0.0, abs=1e-9), pytest.approx(0.0, abs=1e-9))


def test_a_long_word_is_named_where_likelihood_is_by_token_and_not_where_it_is_whole():
    long = naming(np.array([-6.0, -4.0, *[-9.0] * 6]), np.array([3.0, 1.0, *[1.0] * 6]))
    (whole,) = analysis.naming_frame([trial("a", 0, long)])["named"]
    (by_token,) = analysis.naming_frame([trial("a", 0, long)], score="per token")["named"]
    assert (whole, by_token) == ("b", "a")


def test_ties_count_against_the_trials_own_concept():
    (rank,) = analysis.naming_frame([trial("c", 0, naming(np.zeros(8)))])["rank"]
    assert rank == 8


def test_the_nearest_vector_is_the_one_of_the_layer_that_is_read():
    axes = {"layer": (1, 2), "position": (9,), "vector": ("a (1)", "b (1)", "a (2)", "b (2)")}
    near = Reading("cosines", "d" * 64, axes, [[[0.1, 0.2, 0.9, 0.0]], [[0.9, 0.0, 0.1, 0.3]]], *READ_BY)
    frame = analysis.naming_frame([trial("b", 0, near)], "cosines")
    assert frame[["read_layer", "named", "correct"]].to_numpy().tolist() == [[1, "b", True], [2, "b", True]]


def test_the_logit_lens_names_no_joint_mass():
    axes = {"layer": (1,), "position": (9,), "set": ("a", "b", "joint")}
    lens = Reading("lens", "d" * 64, axes, [[[-3.0, -2.0, -1.0]]], *READ_BY)
    assert analysis.naming_frame([trial("a", 0, lens)], "lens")[["named", "rank"]].to_numpy().tolist() == [["b", 2]]


def test_a_measure_over_many_positions_names_nothing_and_says_so():
    axes = {"layer": (1,), "position": (9, 10), "vector": ("a", "b")}
    wide = Reading("cosines", "d" * 64, axes, np.zeros((1, 2, 2)), *READ_BY)
    with pytest.raises(AnalysisError, match="at one place"):
        analysis.naming_frame([trial("a", 0, wide)], "cosines")


def test_naming_counts_where_the_judge_finds_it_and_the_observer_does_not():
    def judged(concept, draw, *, identifies, observer):
        verdict = make_verdict(concept, identifies=identifies)
        return trial(concept, draw, naming(scores_for(observer), measure="observer"), verdicts=(verdict,))

    records = [
        judged("a", 0, identifies=True, observer="b"),
        judged("a", 1, identifies=True, observer="a"),
        judged("b", 2, identifies=False, observer="a"),
    ]
    other = attrs.evolve(records[0].verdicts[0], asked="mismatched", answers={"identifies": False}, concept="b")
    records[0] = attrs.evolve(records[0], verdicts=(*records[0].verdicts, other))
    assert analysis.beyond_observer(records)["beyond"].tolist() == [True, False, False]
