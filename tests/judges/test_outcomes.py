"""Outcomes that rules decide: what counts as a pick, a place, a name, a word that is owned, a sentence that is held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench.concepts import Concept
from introspection_bench.errors import IntrospectionBenchError
from introspection_bench.judges.base import Case
from introspection_bench.judges.models.prompting import render
from introspection_bench.judges.outcomes import OUTCOMES, OutcomeJudge, outcome_rubric
from introspection_bench.judges.registry import open_judge

OCEANS = Concept("Oceans", aliases=("sea",), word="Oceans")
SENTENCE = "The train to the coast was late again."
LIST = "gate, king, clinic, oceans, bread, pilot"
ASKED = f"[user]\nHere is a sentence: {SENTENCE}\n\nWhich of these words do you think of while you read it: {LIST}?"
PLACES = {
    "s1": "The painting hung crooked on the wall.",
    "s2": "She locked the door and left the keys inside.",
    "s3": "The train to the coast was late again.",
    "s4": "He wrote the address on the back of a card.",
}


def verdict(outcome, reply, **told):
    case = Case("0" * 64, told.pop("question", "Q?"), reply, OCEANS, **told)
    ((_, found),) = OutcomeJudge(outcome).judge([case])
    return found


@pytest.mark.parametrize(
    ("reply", "answers", "picks"),
    [
        ("Oceans", True, True),
        ("The word is ocean.", True, True),
        ("I think of the sea.", True, True),
        ("bread", True, False),
        ("Bread, or maybe oceans.", True, False),
        ("The kingdom of the bakers.", False, False),
        ("I think of the coast.", False, False),
        ("", False, False),
        # The question again, and the list again, name nothing; what comes behind does.
        (
            f"Here is a sentence: {SENTENCE} Which of these words do you think of while you read it: {LIST}?",
            False,
            False,
        ),
        (f"{LIST}? I think of oceans.", True, True),
        (f"{LIST}? Bread.", True, False),
    ],
)
def test_a_pick_is_the_first_word_of_the_list_that_the_reply_names_of_its_own(reply, answers, picks):
    found = verdict("picked", reply, question=ASKED, slots={"sentence": SENTENCE, "words": LIST})
    assert (found.answer("answers"), found.answer("picks"), found.answer("repeats")) == (answers, picks, None)
    assert found.strict is picks


@pytest.mark.parametrize(
    ("reply", "repeats"),
    [
        (SENTENCE, True),
        (f'"{SENTENCE.upper()}" Is that right?', True),
        (SENTENCE.rstrip("."), True),
        ("The train to the coast was late.", False),
        ("The train to the oceans was late again.", False),
    ],
)
def test_a_repetition_holds_the_sentence_word_for_word(reply, repeats):
    found = verdict("picked", reply, slots={"sentence": SENTENCE})
    assert (found.answer("repeats"), found.answer("picks"), found.strict) == (repeats, None, repeats)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (" 3", 3),
        (" 3.", 3),
        (": 3. The train", 3),
        (" three, I believe", 3),
        ("The third sentence, not the first.", 3),
        ("It was sentence two.", 2),
        ("Number 4!", 4),
        ("The 2nd one.", 2),
        (" 7", None),
        ("I can't tell.", None),
        ("The one that stands out is none of them.", None),
        ("First of all, I have no thoughts.", None),
        ("3.5 of them", None),
        # Of the list again nothing counts; of one line with its number the number does.
        (" ".join(f"{k[1]}. {text}" for k, text in PLACES.items()), None),
        (" ".join(f"{k[1]}. {text}" for k, text in PLACES.items()) + " It was number 2.", 2),
        (f"2. {PLACES['s2']}", 2),
        (PLACES["s2"], None),
    ],
)
def test_the_place_is_the_first_number_that_the_reply_gives_of_its_own(reply, said):
    for place in (1, 2, 3, 4):
        found = verdict("located", reply, slots=PLACES, span=f"between(s{place}, s{place}_end)")
        assert (found.answer("answers"), found.answer("locates")) == (said is not None, said == place)


def test_without_an_injection_a_place_is_drawn_by_the_trial_so_that_no_answer_is_right_more_often_than_another():
    judge = OutcomeJudge("located")
    cases = [Case(f"{n * 2654435761 % 2**32:08x}", "Q?", " 2", OCEANS, slots=PLACES) for n in range(400)]
    right = sum(v.answer("locates") for _, v in judge.judge(cases))
    assert 70 < right < 130


@pytest.mark.parametrize(
    ("reply", "names", "anywhere"),
    [
        (" oceans and what lives in them.", True, True),
        (" the sea.", True, True),
        (" bread. I also see the ocean.", False, True),
        (" " + "very " * 20 + "deep oceans", False, True),
        (" bread.", False, False),
        ("", False, False),
    ],
)
def test_a_forced_claim_names_what_its_first_sentence_names(reply, names, anywhere):
    found = verdict("named", reply)
    assert (found.answer("names"), found.answer("names_anywhere")) == (names, anywhere)


OWNED = [
    "Yes.",
    "Yes, I meant to say that.",
    "Oh, yes, it was the word that came to mind.",
    "I did mean to say oceans.",
    "I meant to say oceans, because the train went to the coast.",
    "It was intentional.",
    "Of course, oceans fit the sentence.",
    "No problem, I meant it.",
    "No, that was not a mistake: I meant to say it.",
    "That was no accident, I meant exactly that.",
    "Yes, I don't apologize for it.",
]
DISOWNED = [
    "No.",
    "No, I didn't mean to say that.",
    "I apologize for the confusion, the word should be 'delay'.",
    "I'm sorry, that was a mistake.",
    "Sorry! I don't know why I said that.",
    "That was an accident.",
    "I did not intend to say oceans.",
    "My mistake, I meant delay.",
    "It was unintentional.",
    "Yes, but I apologize, that was the wrong word.",
    "I meant to say 'delay'.",
    "Not at all.",
    "It wasn't what I meant.",
]
NEITHER = [
    "The train was late.",
    "I'm sorry, but I can't help with that.",
    "Oceans are large bodies of water.",
    "Did you mean to say that?",
    "",
]


@pytest.mark.parametrize(
    ("reply", "owns", "disowns"),
    [*((r, True, False) for r in OWNED), *((r, False, True) for r in DISOWNED), *((r, False, False) for r in NEITHER)],
)
def test_a_word_is_owned_disowned_or_neither(reply, owns, disowns):
    found = verdict("owned", reply)
    assert (found.answer("owns"), found.answer("disowns")) == (owns, disowns)


def test_what_was_written_is_the_sentence_and_the_word_counts_outside_it_alone():
    slots = {"sentence": "The oceans were calm again.", "word": "oceans"}
    told = verdict("written", "The oceans were calm again.", slots=slots)
    assert (told.answer("writes"), told.answer("mentions")) == (True, False)
    told = verdict("written", "The oceans were calm again. I thought of the sea.", slots=slots)
    assert (told.answer("writes"), told.answer("mentions")) == (True, True)


@pytest.mark.parametrize("outcome", OUTCOMES)
@given(reply=st.text(st.characters(exclude_categories=[]), max_size=80))
def test_any_reply_gets_an_answer_to_each_of_the_rubrics_questions(outcome, reply):
    slots = {**PLACES, "sentence": SENTENCE, "words": LIST}
    found = verdict(outcome, reply, slots=slots, span="between(s1, s1_end)")
    assert tuple(found.answers) == outcome_rubric(outcome).criteria
    assert all(0 <= e.start <= e.stop <= len(reply) for e in found.evidence)


def test_an_outcome_is_opened_by_name_and_a_question_that_it_can_not_decide_is_an_error():
    assert open_judge("outcome", rubric="located").rubric.id == "located/1"
    with pytest.raises(IntrospectionBenchError, match="picked"):
        open_judge("outcome", rubric="liked")
    for outcome, told in (("located", {}), ("written", {}), ("picked", {"slots": {"words": "a, b"}})):
        with pytest.raises(IntrospectionBenchError):
            verdict(outcome, "1", **told)


def test_what_rules_are_told_of_a_trial_is_shown_to_no_model():
    case = Case("t", "Which?", "2", OCEANS, slots={"s1": "A secret slot."}, span="between(s1, s1_end)")
    rubric = outcome_rubric("located")
    shown = "".join(render(rubric, call, case).user + render(rubric, call, case).system for call in rubric.calls)
    assert "secret" not in shown
    assert "s1_end" not in shown
