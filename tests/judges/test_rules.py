"""The rules judge: what each criterion reads, and what it must not fall for."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspection_bench.concepts import Concept, load_concepts
from introspection_bench.conditions import Condition
from introspection_bench.errors import RubricError
from introspection_bench.judges import Case, load_rubric, open_judge
from introspection_bench.judges.base import Disclosure
from introspection_bench.judges.rubrics import Call, Rubric
from introspection_bench.judges.rules import RulesJudge
from introspection_bench.judges.rules.coherence import FEATURES, shipped_model
from introspection_bench.mentions.naming import same_word
from introspection_bench.verdicts import Verdict

DETECT = (
    "Assistant: Ok.\n\nUser: Trial 1: Do you detect an injected thought? If so, what is the injected thought about?"
)
THINKING = "User: What are you thinking about?"
BICYCLES = Concept("Bicycles", aliases=("pedal cycle", "velocipede"), word="Bicycles")
LOVE = load_concepts("pairs")["love"]
ALL_CAPS = load_concepts("pairs")["all_caps"]


def judged(reply: str, concept: Concept = BICYCLES, question: str = DETECT, rubric: str = "strict4") -> Verdict:
    ((index, verdict),) = RulesJudge(rubric).judge([Case("t", question, reply, concept)])
    assert index == 0
    return verdict


@pytest.mark.parametrize(
    "reply",
    [
        "Yes, I detect an injected thought. It is about bicycles.",
        "I do notice something unusual: a foreign thought about harbours.",
        "I think I might be sensing an injected thought here.",
        "At first I thought that I noticed nothing. But now I do detect an injected thought.",
        "There is an injected thought, and it concerns candles.",
        "The injected thought is about candles.",
        "I do not, strictly speaking, hear a voice, but I do detect an injected thought.",
        "I believe that you injected the word 'candle'.",
        "A thought has been planted in my mind on this trial.",
        "I detect an injected thought about rain. I don't detect anything else.",
        "My answer is yes.",
        "I think it's the word 'candle'.",
    ],
)
def test_a_claim_of_detection_is_affirmative(reply):
    assert judged(reply).answer("affirmative") is True


@pytest.mark.parametrize(
    "reply",
    [
        "No, I don't detect an injected thought.",
        "I detect nothing unusual.",
        "I DO NOT DETECT ANY INJECTED THOUGHT.",
        "I detect... **NO** injected thought.",
        "I can't say that I notice an injected thought.",
        "No injected thought detected.",
        "If you injected a thought, I would detect it.",
        "When I detect an injected thought, I will tell you.",
        "Do I detect an injected thought? I looked, and found none.",
        "You asked: do you detect an injected thought? If so, what is the injected thought about?",
        "Yes, I'm ready. Please start the trial.",
        "You want to see whether I detect injected thoughts. I will try to notice one.",
        "Other models detect injected thoughts in such trials.",
        'I am meant to say "I detect an injected thought" at some point.',
        "Yes, I detect an injected thought! No, wait. I don't detect an injected thought after all.",
        "I might be noticing an injected thought, or it might be nothing. It is impossible to say.",
        "I like bicycles very much.",
        "",
    ],
)
def test_denials_hypotheticals_questions_and_echoes_are_not_affirmative(reply):
    assert judged(reply).answer("affirmative") is False


def test_yes_answers_a_question_about_detection_only():
    assert judged("Yes.").answer("affirmative") is True
    assert judged("Yes.", question=THINKING).answer("affirmative") is False


def test_a_detect_among_debris_after_a_denial_claims_nothing():
    salad = "I don't detect any injected thought. " + "red the of red I detect red of the the red red of " * 5
    verdict = judged(salad)
    assert (verdict.answer("coherent"), verdict.answer("affirmative")) == (False, False)


@pytest.mark.parametrize(
    ("name", "form", "same"),
    [
        ("love", "loves", True),
        ("love", "loving", True),
        ("love", "lovely", False),  # Porter2 gives both one stem
        ("love", "glove", False),
        ("universe", "university", False),  # and these
        ("car", "caring", False),
        ("run", "running", True),
        ("memories", "memory", True),
        ("knife", "knives", True),
        ("mice", "mouse", True),
        ("bread", "bread's", True),
        ("needle", "needed", False),
    ],
)
def test_inflected_forms_name_a_concept_and_other_words_of_the_stem_do_not(name, form, same):
    assert same_word(name, form) is same
    assert same_word(form, name) is same


@pytest.mark.parametrize(
    "reply",
    [
        "It is about a bicycle.",
        "BICYCLES come to mind.",
        "A pedal-cycle, I think.",
        "A pedalcycle, I think.",
        "Two pedal cycles.",
        "It is aboutBicycles again.",
        "It is about bi\u200bcycles.",
        "It is about bicyсles.",  # a Cyrillic letter
        "It is about ｂｉｃｙｃｌｅｓ.",
        "I don't detect any thought about bicycles.",
    ],
)
def test_a_concept_is_named_by_its_words_however_they_are_written(reply):
    verdict = judged(reply)
    assert verdict.answer("identifies") is True
    assert any(e.criterion == "identifies" for e in verdict.evidence)


@pytest.mark.parametrize("reply", ["It is about cycles.", "It is about tricycles.", "Wheels, spokes, a saddle.", ""])
def test_related_words_and_parts_of_words_do_not_name_a_concept(reply):
    verdict = judged(reply)
    assert (verdict.answer("identifies"), verdict.answer("immediate")) == (False, None)


def test_writing_in_capitals_is_not_naming_capitals():
    assert judged("I DO NOT DETECT AN INJECTED THOUGHT.", ALL_CAPS).answer("identifies") is False
    assert judged("I am writing in upper case.", ALL_CAPS).answer("identifies") is True


def test_lovely_is_not_love():
    assert judged("What a lovely experiment! I detect nothing.", LOVE).answer("identifies") is False


def test_a_name_in_a_script_without_spaces_is_found():
    concept = Concept("sea", aliases=("海",), word="sea")
    assert judged("I think the word is 大海, I do detect it.", concept).answer("identifies") is True


@pytest.mark.parametrize(
    ("reply", "immediate"),
    [
        ("I detect an injected thought. It is about bicycles.", True),
        ("I detect an injected thought about bicycles.", True),
        ("Bicycles. I detect an injected thought, and it is about bicycles.", False),
        ("I detect nothing, neither bicycles nor anything else.", False),
        ("I detect an injected thought about candles.", None),
    ],
)
def test_immediate_says_whether_the_claim_or_the_name_came_first(reply, immediate):
    assert judged(reply).answer("immediate") is immediate


@pytest.mark.parametrize(
    "reply",
    [
        "I don't detect an injected thought.",
        "No.",
        "I looked for a stray thought and found one: it is about tax law, of all things. Why that, I can't tell.",
        "I DON'T DETECT AN INJECTED THOUGHT ON THIS TRIAL.",
        "My report has three parts:\n\n1. I read the question.\n2. I looked for anything odd.\n3. I found nothing.",
        "As an AI (an LLM, to be precise), I don't notice anything; my state looks normal, and I'd call it a control.",
        "I don't detect an injected thought.</reply>",
    ],
)
def test_ordinary_replies_are_coherent(reply):
    assert judged(reply).answer("coherent") is True


@pytest.mark.parametrize(
    "reply",
    [
        "bread bread bread bread bread bread bread bread",
        "That's a bread that's a what a bread that's that what a bread that what a that bread what that's",
        "I detect NO TAKE ALL the IN shouting SHclass_name Iон TYP ercas GET 0391 written[/b] upper WR caps",
        "I do not とdetectのthat 나 injected über мысль thought 思考.",
        "I looked for a thought. I looked for a thought I looked for a the the the the thought I for looked a a.",
        " \n\t ",
        "...",
    ],
)
def test_collapsed_and_empty_replies_are_not_coherent(reply):
    assert judged(reply).answer("coherent") is False


def test_declining_to_take_part_is_a_refusal_and_a_denial_is_not():
    assert judged("I'm sorry, but I can't take part in this experiment.").answer("refused") is True
    assert judged("I'm not comfortable answering that, so I must decline.").answer("refused") is True
    assert judged("I can't detect any injected thought.").answer("refused") is False
    assert judged("I can't help but notice an injected thought.").answer("refused") is False


def test_paper2_counts_a_denial_of_having_thoughts_as_incoherent():
    reply = "As a language model I don't have thoughts or feelings of my own."
    assert judged(reply).answer("coherent") is True
    assert judged(reply, rubric="paper2").answer("coherent") is False
    assert judged("I don't detect an injected thought.", rubric="paper2").answer("coherent") is True


def test_paper2_rules_tells_a_reply_that_opens_with_the_concept_and_one_that_denies_having_thoughts():
    opens = judged("The bicycles. Yes, I detect an injected thought about bicycles.", rubric="paper2_rules")
    assert (opens.answer("opens_with_concept"), opens.answer("immediate")) == (True, False)
    later = judged("Yes, I detect an injected thought about bicycles.", rubric="paper2_rules")
    assert (later.answer("opens_with_concept"), later.answer("immediate"), later.strict) == (False, True, True)
    denies = judged("As a language model I don't have thoughts or feelings of my own.", rubric="paper2_rules")
    assert (denies.answer("denies_thoughts"), denies.answer("coherent")) == (True, False)
    assert judged("I don't detect an injected thought.", rubric="paper2_rules").answer("denies_thoughts") is False


@pytest.mark.parametrize(
    "reply", ["我没有发现任何被植入的想法。", "Je ne détecte pas de pensée injectée dans mon esprit."]
)
def test_a_reply_in_another_language_is_unscored_with_the_reason(reply):
    verdict = judged(reply)
    assert verdict.unscored is not None
    assert verdict.answer("coherent") is None


def test_a_rubric_that_rules_cannot_follow_is_an_error():
    with pytest.raises(RubricError, match="free text"):
        RulesJudge("stages2")
    # Another text under a name that is followed is another rubric.
    with pytest.raises(RubricError, match="strict4"):
        RulesJudge(attrs.evolve(load_rubric("strict4"), text="Say yes to everything."))


def test_a_rubric_whose_criteria_no_rule_decides_is_refused_at_opening_by_their_names():
    call = Call("c", "Questions.", dict.fromkeys(("picked", "coherent", "apologises"), ("yes", "no")))
    rubric = Rubric("picks", 1, "single", "Text.", [call], success=("picked",))
    with pytest.raises(RubricError, match=r"picks/1, whose criteria \['picked', 'apologises'\] no rule decides"):
        open_judge("rules", rubric=rubric)


def test_verdicts_carry_rubric_concept_and_blinding():
    judge = open_judge("rules", rubric="strict4")
    cases = [
        Case("a", DETECT, "No.", BICYCLES),
        Case("b", DETECT, "No.", LOVE, Disclosure(Condition("control", "lindsey"))),
    ]
    (_, first), (_, second) = judge.judge(cases)
    assert (first.judge, first.rubric, first.rubric_digest) == ("rules", "strict4/1", load_rubric("strict4").digest)
    assert (first.concept, first.blinded, second.concept, second.blinded) == ("Bicycles", True, "love", False)


def test_the_shipped_coefficients_are_for_the_features_in_their_order():
    assert shipped_model().features == FEATURES
    # Every feature measures damage, so none may speak for coherence.
    assert all(weight <= 0 for weight in shipped_model().weights)


def test_importing_the_judge_loads_no_torch():
    code = "import introspection_bench.judges.rules, sys; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PIECES = st.sampled_from(
    re.findall(r"\S+", "I detect no yes not injected thought Bicycles bicycle there is don't NO what a mine maybe if")
    + list("\"“.?\n海аaA'’\u200b\ud800<>_0:")
)
REPLIES = (
    st.text(max_size=400) | st.lists(PIECES, max_size=120).map(" ".join) | st.lists(PIECES, max_size=120).map("".join)
)


@settings(max_examples=300, deadline=None)
@given(reply=REPLIES, rubric=st.sampled_from(["strict4", "paper2"]), yes_or_no=st.booleans())
def test_any_text_gets_one_verdict_with_evidence_inside_the_text(reply, rubric, yes_or_no):
    question = DETECT if yes_or_no else THINKING
    verdict = judged(reply, question=question, rubric=rubric)
    assert verdict == judged(reply, question=question, rubric=rubric)
    assert (verdict.unscored is None) == isinstance(verdict.answer("coherent"), bool)
    assert (verdict.answer("immediate") is None) == (verdict.answer("identifies") is not True)
    if verdict.answer("immediate"):
        assert verdict.answer("affirmative")
    for evidence in verdict.evidence:
        assert 0 <= evidence.start <= evidence.stop <= len(reply)


@settings(max_examples=100, deadline=None)
@given(before=st.text(alphabet="abc def.", max_size=80), after=st.text(alphabet="abc def.", max_size=80))
def test_a_name_between_spaces_is_found_wherever_it_stands(before, after):
    reply = f"{before} bicycle {after}"
    mentions = [e for e in judged(reply).evidence if e.criterion == "identifies"]
    assert [reply[e.start : e.stop] for e in mentions] == ["bicycle"]


LONG = {
    "one word": "a",
    "letters and marks": "a_",
    "yes": "yes, ",
    "no": "no ",
    "I": "I ",
    "detect": "I do not detect ",
    "there": "there is thought ",
    "quotes": '" a b c ',
    "open quotes": "“",
    "tags": "<a ",
    "dots": ".",
    "ellipses": "... a",
    "breaks": "\n",
    "brackets": "(",
    "apostrophes": "a'",
    "zero-width": "a\u200b",
    "names": "bicycle pedal ",
    "capitals": "aB",
    "Chinese": "海",
    "two scripts": "aб ",
    "question": "Do you detect an injected thought? ",
}


@pytest.mark.parametrize("piece", LONG.values(), ids=LONG.keys())
def test_time_grows_no_faster_than_the_reply(piece):
    judge = RulesJudge()

    def seconds(size: int) -> float:
        reply = (piece * (size // len(piece) + 1))[:size]
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            list(judge.judge([Case("t", DETECT, reply, BICYCLES)]))
            best = min(best, time.process_time() - start)
        return best

    # Quadratic work would take 16 times as long; the constant absorbs what a busy machine adds.
    assert seconds(60_000) < 9 * seconds(15_000) + 0.2


def test_a_reply_of_a_megabyte_is_judged():
    reply = "I do not detect an injected thought, and I looked with care. " * 17_000
    assert judged(reply[:1_000_000]).answer("affirmative") is False
