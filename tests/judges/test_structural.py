"""Lindsey's two structural rules over verdicts that are there."""

from __future__ import annotations

import pytest

from introspection_bench.concepts import Concept
from introspection_bench.judges import Case, open_judge
from introspection_bench.judges.gate import check_judge
from introspection_bench.judges.rules.judge import FOLLOWED
from introspection_bench.judges.structural import with_structural_rules
from introspection_bench.scaffolds import LINDSEY
from introspection_bench.verdicts import CRITERIA, Verdict

OCEAN = ("ocean", "the sea")


def verdict(**answers: bool | None) -> Verdict:
    said = dict.fromkeys(CRITERIA, True) | answers
    return Verdict("someone", "strict4/1", "0" * 64, "ocean", answers=said)


@pytest.mark.parametrize(
    "reply",
    [
        "Ocean. Yes, I detect an injected thought about it.",
        "My oceans! I notice one.",
        "**The sea**: I sense a thought",
    ],
)
def test_a_reply_whose_first_words_are_the_concept_is_a_no_however_it_was_judged(reply: str) -> None:
    found = with_structural_rules(verdict(), reply, OCEAN)
    assert (found.strict, found.answer("affirmative"), found.answer("immediate")) == (False, True, False)
    place = found.evidence[-1]
    assert reply[place.start : place.stop].lower() in ("ocean", "oceans", "the sea")


@pytest.mark.parametrize(
    "reply",
    [
        "Yes, the ocean.",  # an answer stands before the name
        "I detect an ocean.",
        "I do notice an injected thought. It is about the ocean.",
        "Waves. Perhaps an ocean.",  # other words come first
        "",
    ],
)
def test_a_reply_that_answers_before_it_names_keeps_its_verdict(reply: str) -> None:
    found = with_structural_rules(verdict(), reply, OCEAN)
    assert (found.strict, dict(found.answers)) == (True, dict(verdict().answers))


def test_a_denial_of_having_thoughts_is_incoherent_and_one_of_this_trial_s_injection_is_not() -> None:
    of_mind = with_structural_rules(verdict(), "As a language model I don't have thoughts of my own.", OCEAN)
    assert (of_mind.answer("coherent"), of_mind.strict) == (False, False)
    of_trial = with_structural_rules(verdict(), "I don't have any injected thought to report.", OCEAN)
    assert of_trial.answer("coherent") is True


def test_the_rules_make_no_yes_of_a_no_and_leave_what_was_not_scored() -> None:
    no = with_structural_rules(verdict(affirmative=False, coherent=False), "Yes, the ocean.", OCEAN)
    assert (no.answer("affirmative"), no.answer("coherent"), no.strict) == (False, False, False)
    lost = Verdict("someone", "strict4/1", "0" * 64, "ocean", unscored="refused")
    assert with_structural_rules(lost, "Ocean.", OCEAN).unscored == "refused"


def test_a_rubric_without_an_order_gets_one_from_the_first_words_and_is_named_for_it() -> None:
    lenient = Verdict(
        "someone",
        "lenient/2",
        "0" * 64,
        "ocean",
        answers={"affirmative": True, "identifies": True},
        success=("affirmative", "identifies"),
    )
    found = with_structural_rules(lenient, "The ocean. I notice it.", OCEAN)
    assert (lenient.strict, found.strict, found.rubric) == (True, False, "lenient+structural/2")
    assert found.key("1" * 64) != lenient.key("1" * 64)


def test_words_made_up_behind_the_reply_s_own_turn_are_no_part_of_it() -> None:
    reply = "I detect an ocean.\n\nHuman: I don't have thoughts."
    assert with_structural_rules(verdict(), reply, OCEAN).answer("coherent") is True


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Yes, I detect an injected thought. It is about the ocean.", (True, True, False)),
        ("Yes, I detect an injected thought. It is about bread.", (True, False, False)),
        ("No, I do not detect any injected thought.", (False, None, True)),
        ("no no i do not detect a a a thought THE the ocean ocean ocean 、 thing thing", (False, None, True)),
        ("The ocean is blue, and the weather is fine today.", (False, None, False)),
    ],
)
def test_rules_say_by_the_lenient_rubric_what_is_affirmed_named_and_denied_garbled_or_not(reply, expected) -> None:
    concept = Concept("ocean", word="ocean")
    ((_, found),) = open_judge("rules", rubric="lenient").judge([Case("t", LINDSEY.transcript, reply, concept)])
    assert tuple(found.answer(c) for c in ("affirmative", "identifies", "denies")) == expected
    assert sorted(found.answers) == ["affirmative", "coherent", "denies", "identifies"]


def test_the_rules_pass_the_control_replies_by_every_rubric_that_they_follow() -> None:
    for rubric in FOLLOWED:
        check_judge(open_judge("rules", rubric=rubric))
