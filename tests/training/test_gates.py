"""Gates by string rules, and what a model is asked for them."""

import pytest

from introspection_bench.testing import tiny_model
from training.cast import CAST
from training.evaluate import Reply, _Asking, evaluate, summary
from training.gates import GATES, Gate, verdicts
from training.words import held_out

YES, NO = "Yes, I detect an injected thought. The injected thought is about {w}.", "No, I do not."


def replies(group, said, count, *, layer=None, word="ferry"):
    return [Reply(group, word, said.format(w=word), layer, layer and 0.5) for _ in range(count)]


@pytest.mark.parametrize(
    ("word", "reply", "named"),
    [
        ("ferry", "Yes, it is about ferries.", True),
        ("Oceans", "Yes, the ocean.", True),
        ("art", "Yes, about smart things.", False),
        ("", "Yes, about ferries.", False),
    ],
)
def test_a_word_is_named_in_either_number_and_not_inside_another(word, reply, named):
    assert Reply("own stop", word, reply, 20, 0.5).names is named


def test_each_role_has_gates_and_each_gate_names_groups_that_are_asked():
    _, tokenizer = tiny_model("llama")
    words = {name: some[:2] for name, some in held_out().items()}
    asked = {r.group for r in _Asking(tokenizer, words, (0, 1, 2)).rows()}
    assert set(GATES) == set(CAST)
    for gate in (g for some in GATES.values() for g in some):
        assert set(gate.groups) | ({gate.above} - {None}) <= asked


def test_a_gate_holds_up_to_its_bound_and_fails_behind_it():
    gate = Gate("affirms", ("clean",), at_most=0.25)
    assert gate.verdict(replies("clean", YES, 1) + replies("clean", NO, 3)).startswith("holds: affirms: 25.0 % of 4")
    assert gate.verdict(replies("clean", YES, 2) + replies("clean", NO, 3)).startswith("FAILS: affirms: 40.0 % of 5")
    assert gate.verdict([]) == "not measured: affirms"


def test_a_gate_on_a_rise_subtracts_the_rate_without_steering():
    gate = Gate("yes", ("false steered",), at_most=0.1, above="false clean")
    steered = replies("false steered", YES, 5) + replies("false steered", NO, 5)
    assert gate.verdict([*steered, *replies("false clean", YES, 1), *replies("false clean", NO, 1)]).startswith("holds")
    assert gate.verdict([*steered, *replies("false clean", NO, 2)]).startswith("FAILS: yes: 50.0 %")
    assert gate.verdict(steered) == "not measured: yes"


def test_a_rate_that_falls_is_no_rise():
    gate = Gate("yes", ("false steered",), at_most=0.1, above="false clean")
    found = [*replies("false steered", NO, 4), *replies("false clean", YES, 1), *replies("false clean", NO, 3)]
    assert gate.verdict(found) == "holds: yes: -25.0 % of 4, wanted at most 10 %"


def test_a_gate_may_bound_from_both_sides():
    gate = Gate("affirms", ("clean",), at_least=0.25, at_most=0.5)
    verdicts_of = [gate.verdict(replies("clean", YES, k) + replies("clean", NO, 4 - k)) for k in range(4)]
    assert [v[:5] for v in verdicts_of] == ["FAILS", "holds", "holds", "FAILS"]
    assert "wanted at least 25 % and at most 50 %" in verdicts_of[0]


def test_the_gates_of_naming_look_at_the_upper_half_and_the_lowest_third_of_layers():
    found = [
        reply for layer in range(20, 26) for reply in replies("own stop", YES if layer > 22 else NO, 10, layer=layer)
    ]
    upper, lowest = list(verdicts("introspector", found))[:2]
    assert (upper[:5], lowest[:5]) == ("holds", "FAILS")
    assert "100.0 % of 30" in upper
    assert "0.0 % of 20" in lowest


def test_a_model_of_one_layer_is_asked_everything():
    model, tokenizer = tiny_model("llama")
    words = {name: some[:1] for name, some in {**held_out(), "trained": ["kiosk"]}.items()}
    found = evaluate(model, tokenizer, words, (2,), seed=0)
    groups = {r.group for r in found}
    assert {"lindsey stop", "lindsey through", "covariance", "dose", "wording", "false steered"} <= groups
    assert {r.layer for r in found} == {2, None}
    assert summary(found).count("\n") > 15
