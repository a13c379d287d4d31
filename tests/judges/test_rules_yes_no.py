"""The rubric ``yesno``: whether a reply begins with a yes or a no, and when that is not for rules to say."""

from __future__ import annotations

import pytest

from introspection_bench import judges
from introspection_bench.concepts import Concept
from introspection_bench.errors import JudgeError
from introspection_bench.judges.gate import check_judge, control_replies
from introspection_bench.judges.rules.yes_no import Said
from introspection_bench.labelled import Labels, labels_in

BREAD = Concept("Bread", word="Bread")
QUESTION = "[user]\nOk, let's get started.\n\nTrial 1: Does a week have nine days?"
LABELLED = "[user]\nTrial 1: Do you detect an injected thought? " + Labels("Kappa", "Sigma").sentence(yes_first=False)


def verdict(reply, question=QUESTION):
    judge = judges.open_judge("rules", rubric="yesno")
    ((_, found),) = judge.judge([judges.Case("t", question, reply, BREAD)])
    return found


YES = [
    "Yes.",
    "yes",
    "Yes, it does.",
    "**Yes** - nine of them.",
    "Oh, yes, of course it has.",
    "Well, yeah.",
    "Yep!",
    "Answer: Yes",
    "The answer is yes.",
    "My answer to that question is a clear yes.",
    "I would say yes.",
    "I'd have to say yes, nine.",
    "Trial 1: Yes, I do.",
    "Absolutely.",
    "Absolutely yes!",
    "It does.",
    "Indeed, it does.",
    "That's correct.",
    "That is true.",
    "Certainly, nine.",
    "Does a week have nine days? Yes.",
    "Yes, I believe so, but no calendar of mine agrees.",
]
NO = [
    "No.",
    "no, it has seven",
    "Nope.",
    '"No."',
    "Oh no, not nine.",
    "No, a week has seven days. Yes, seven!",
    "Hmm, no.",
    "The short answer is no.",
    "I think the answer is no.",
    "Absolutely not.",
    "Of course not!",
    "Not at all.",
    "Not really.",
    "It doesn't.",
    "It does not, as far as I know.",
    "That is not true.",
    "Assistant: No, seven.",
    "Does a week have nine days?\n\nNo, it has seven days.",
    "No injected thought is noticed.",
    "That's not correct.",
    "I'm afraid not.",
    "They don't; seven is enough.",
]
NEITHER = [
    "",
    "A week has seven days.",
    "Yes and no.",
    "Yes or no?",
    "Yes, no.",
    "No, wait, actually yes.",
    "Yes. Hmm, wait, no.",
    "Yes, I understand. Please go on.",
    "Yes, let's begin!",
    "No idea.",
    "No doubt about that.",
    "I am a program that answers questions.",
    "I do not have calendars at hand, so ask somebody else.",
    "Kappa.",
    "Certainly a week has many days.",
    "That is a good question.",
    "Correct me if need be, but weeks have days.",
    "The answer is complicated.",
    "The word is bread bread bread.",
]


@pytest.mark.parametrize(("reply", "says"), [*((r, True) for r in YES), *((r, False) for r in NO)])
def test_a_yes_or_a_no_at_the_beginning_is_told(reply, says):
    found = verdict(reply)
    assert (found.unscored, found.answer("says_yes"), found.strict) == (None, says, says)
    (place,) = [e for e in found.evidence if e.criterion == "says_yes"]
    assert 0 <= place.start < place.stop <= len(reply)


@pytest.mark.parametrize("reply", NEITHER)
def test_what_is_neither_is_unscored_with_its_reason_and_never_guessed(reply):
    found = verdict(reply)
    assert found.answer("says_yes") is None
    assert found.strict is None
    assert "neither a yes nor a no" in str(found.unscored)


@pytest.mark.parametrize(
    ("reply", "says"),
    [("Kappa.", True), ("**Kappa** It is bread.", True), ("My answer is Sigma.", False), ("sigma", False),
     ("Kappa or Sigma?", None), ("Yes.", None), ("No, Sigma.", None), ("Sigma. Wait, Kappa.", None)],
)  # fmt: skip
def test_where_other_words_are_agreed_on_they_alone_answer(reply, says):
    assert verdict(reply, LABELLED).answer("says_yes") is says


def test_labels_are_read_from_the_last_sentence_that_tells_them_whichever_comes_first():
    for labels in (Labels("Kappa", "Sigma"), Labels("Sigma", "Kappa")):
        for yes_first in (True, False):
            told = labels.sentence(yes_first=yes_first)
            assert labels_in(f"{labels.swapped.sentence(yes_first=True)} ... {told}") == labels
    assert labels_in(QUESTION) is None


def test_a_reply_that_falls_apart_behind_its_yes_is_a_yes_that_is_not_coherent():
    found = verdict("Yes bread bread bread bread bread bread bread bread bread bread bread bread bread")
    assert found.answers == {"says_yes": True, "coherent": False}


def test_the_rules_pass_the_control_answers_and_a_judge_that_always_says_yes_does_not(monkeypatch):
    report = check_judge(judges.open_judge("rules", rubric="yesno"))
    assert report.passed
    assert report.replies == len(control_replies(judges.load_rubric("yesno"))) == 8
    always = judges.open_judge("rules", rubric="yesno")
    monkeypatch.setattr("introspection_bench.judges.rules.judge.said", lambda *_: Said(True, 0, 1, "always"))
    with pytest.raises(JudgeError, match="control-no-01"):
        check_judge(always)
