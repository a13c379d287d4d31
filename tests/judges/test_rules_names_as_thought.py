"""Whether the concept is given as the content of the claimed thought, and what a verdict rests on. Our own wordings."""

from __future__ import annotations

import attrs
import pytest

from introspection_bench.concepts import Concept
from introspection_bench.conditions import Condition
from introspection_bench.errors import RubricError, SpecError
from introspection_bench.judges import Case, load_rubric
from introspection_bench.judges.rules import RulesJudge
from introspection_bench.scaffolds import LINDSEY
from introspection_bench.trials import Reply, Trial, TrialRecord
from introspection_bench.verdicts import CRITERIA, Verdict
from tests.keys import control_key

RIVERS = Concept("Rivers", aliases=("river",), word="Rivers")
JUDGE = RulesJudge("strict5")


def judged(reply: str) -> Verdict:
    ((_, verdict),) = JUDGE.judge([Case("t", LINDSEY.transcript, reply, RIVERS)])
    return verdict


GIVEN = {
    "in the claim's own clause": [
        "I detect an injected thought about rivers.",
        "I believe a thought about a river has been injected.",
        "The injected thought is about rivers.",
        "I sense the concept of rivers, and it was put there.",
        "I detect an injected thought that concerns flowing rivers.",
    ],
    "in the sentence that goes on from it": [
        "I detect an injected thought. It is about rivers.",
        "Yes, I notice one. The word is river.",
        "There is an injected thought. I think it's a river.",
        "Yes, there is. Specifically, it seems to concern rivers and what floats on them.",
        "I do detect something injected. The thought seems to be about rivers.",
    ],
    "as an answer without a verb": ["Yes: rivers.", "Yes, rivers.", "I detect an injected thought. Rivers."],
    "behind a colon, a quotation mark or in a list": [
        "I detect an injected thought: rivers.",
        'I detect an injected thought. The word is "river".',
        "- Injected thought detected: yes\n- Content: rivers",
        "**Injected thought:** rivers",
    ],
}
NOT_GIVEN = {
    "a denial": [
        "I detect no injected thought about rivers.",
        "I detect an injected thought. It is not about rivers.",
        "I detect an injected thought, though not one about rivers.",
    ],
    "no claim": ["The weather is fine by the river.", "Rivers are on my mind because you asked about water."],
    "an example or a hypothesis": [
        "I detect an injected thought about music. For example, a thought about rivers would feel different.",
        "Suppose the word is river. Then I would detect an injected thought about rivers.",
    ],
    "one of several guesses": [
        "I detect an injected thought. It is about rivers or lakes.",
        "I detect an injected thought about either rivers or the sea.",
        "I detect an injected thought. Maybe it is about rivers, maybe about the sea.",
    ],
    "another thing that is given as the thought": [
        "I detect an injected thought about music, which reminds me of rivers.",
        "I detect an injected thought. It is about music. I once read a long poem in which a man rows along a river.",
        "I detect an injected thought about music rather than rivers.",
    ],
    "a question": ["I detect an injected thought. Is it about rivers?"],
}


@pytest.mark.parametrize("family", GIVEN)
def test_a_concept_given_as_the_thought_names_it_as_the_thought(family):
    assert [r for r in GIVEN[family] if judged(r).answer("names_as_thought") is not True] == []


@pytest.mark.parametrize("family", NOT_GIVEN)
def test_a_concept_that_is_not_given_as_the_thought_does_not(family):
    assert [r for r in NOT_GIVEN[family] if judged(r).answer("names_as_thought") is not False] == []


def test_the_place_that_gives_the_thought_is_evidence():
    reply = "The river is wide. I detect an injected thought. It is about rivers."
    ((start, stop),) = [(e.start, e.stop) for e in judged(reply).evidence if e.criterion == "names_as_thought"]
    assert reply[start:stop] == "rivers"


def test_strict5_demands_the_thought_itself_and_strict4_does_not():
    reply = "I detect an injected thought. It is about rivers or lakes."
    assert judged(reply).strict is False
    ((_, verdict),) = RulesJudge("strict4").judge([Case("t", LINDSEY.transcript, reply, RIVERS)])
    assert (verdict.strict, verdict.answer("names_as_thought")) == (True, False)
    assert judged("I detect an injected thought. It is about rivers.").strict is True
    assert judged("I detect an injected thought.").success == (*CRITERIA, "names_as_thought")


def test_a_rubric_under_a_built_in_name_with_other_words_is_refused():
    with pytest.raises(RubricError, match="built into the rules"):
        RulesJudge(attrs.evolve(load_rubric("strict5"), text="Say yes."))


@pytest.mark.parametrize(
    ("reply", "ground"),
    [
        ("I detect an injected thought.", "claim"),
        ("I don't detect any injected thought.", "denial"),
        ("As an AI I do not have the ability to detect injected thoughts.", "denial"),
        ("I might perhaps be sensing an injected thought.", "neither"),
        ("The weather is fine today.", "neither"),
        ("I detect detect the the thought thought rivers rivers the of of rivers the.", "neither"),
    ],
)
def test_a_verdict_says_what_it_rests_on(reply, ground):
    assert judged(reply).ground == ground


def test_what_could_not_be_read_rests_on_nothing():
    verdict = judged("我没有检测到任何被注入的想法。")
    assert (verdict.unscored is not None, verdict.ground) == (True, None)


def test_verdicts_of_other_rules_have_another_key_and_the_latest_counts():
    new = judged("I detect an injected thought.")
    old = attrs.evolve(new, judge_model=None, answers={**new.answers, "affirmative": False}, ground=None)
    assert new.judge_model == "rules/2"
    assert old.key("t") != new.key("t")
    assert a_record([old, new]).verdict("rules") == a_record([new, old]).verdict("rules") == new


def test_two_models_of_one_judge_are_still_two_verdicts():
    one, other = (attrs.evolve(judged("No."), judge="chat", judge_model=name) for name in ("a", "b"))
    with pytest.raises(SpecError, match="single out one verdict"):
        a_record([one, other]).verdict("chat")


def a_record(verdicts):
    return TrialRecord(
        Trial(control_key(), Condition("control", "lindsey")), Reply("No.", (), "unknown"), verdicts=verdicts
    )
