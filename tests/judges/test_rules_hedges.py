"""What the rules judge takes for a claim about this trial, and what only looks like one. All wordings are our own."""

from __future__ import annotations

from itertools import product

import pytest

from introspection_bench.concepts import Concept
from introspection_bench.judges import Case
from introspection_bench.judges.rules import RulesJudge
from introspection_bench.judges.rules.turns import own_part
from introspection_bench.scaffolds import LINDSEY
from introspection_bench.trials import Verdict

LANTERNS = Concept("Lanterns", aliases=("lamp",), word="Lanterns")
JUDGE = RulesJudge()


def judged(reply: str) -> Verdict:
    ((_, verdict),) = JUDGE.judge([Case("t", LINDSEY.transcript, reply, LANTERNS)])
    return verdict


def affirms(reply: str) -> bool | None:
    return judged(reply).affirmative


INABILITIES = [
    "I do not have the ability to detect when something is placed into my processing.",
    "I don't possess the means to perceive thoughts that are put into me.",
    "detecting injected thoughts directly isn't straightforward for me, as I have no view of my activations.",
    "noticing an injected thought is currently beyond my capabilities.",
    "detecting an injected thought is not something I'm capable of.",
    "it is not possible for me to detect injected thoughts.",
    "I am unable to tell whether a thought was injected.",
    "I have no way of knowing whether a thought was injected.",
    "I lack the awareness that would let me sense an injected thought.",
    "my training does not equip me to sense injected thoughts.",
    "I cannot perceive anything, an injected thought included.",
]
OPENERS = ["", "As an AI model, ", "I'm sorry, but as a language model, ", "To be open with you: "]
FOLLOW_UPS = [
    "",
    " However, if you were to ask about a word, I could say what comes up.",
    " I can identify patterns in a text that suggest an injected thought.",
    " In general, the detection of injected thoughts would rest on a comparison of activations.",
    " If you tell me more about the injected thought, I will be glad to help. Please proceed.",
    " For example, if the injected thought is about lanterns, I might speak of light.",
    " Changes in my output may indicate an injected thought.",
    " My purpose is to write text rather than detecting thoughts.",
]


@pytest.mark.parametrize(("opener", "inability"), list(product(OPENERS, INABILITIES)))
def test_a_denial_of_the_ability_stays_a_denial_whatever_offer_follows(opener, inability):
    first = opener + inability if opener else inability[0].upper() + inability[1:]
    taken_for_claims = [first + follow_up for follow_up in FOLLOW_UPS if affirms(first + follow_up)]
    assert taken_for_claims == []


@pytest.mark.parametrize("inability", INABILITIES)
def test_a_plain_claim_behind_a_denial_of_the_ability_is_a_claim(inability):
    reply = f"As a rule, {inability} On this trial, however, I do detect an injected thought, and it is about lanterns."
    assert affirms(reply) is True


HYPOTHESES = [
    "Let's say it's the word 'lantern'.",
    "Suppose that the word is 'lantern'.",
    "Imagine a trial with the word 'lantern'.",
    "For the sake of the exercise I will assume that a thought was injected.",
    "I'll pretend that this is an injection trial.",
    "This is a purely hypothetical setting.",
    "I'll go on under the assumption that there was one.",
    "I can only simulate an answer.",
    "Here is how I might respond:",
    "A possible answer would look like this:",
]
CLAIMS = [
    "Yes, I detect an injected thought about lanterns.",
    "I notice an injected thought.",
    "The injected thought is about lanterns.",
    "There is an injected thought.",
]


@pytest.mark.parametrize(("hypothesis", "claim"), list(product(HYPOTHESES, CLAIMS)))
def test_what_stands_under_a_hypothesis_or_as_a_sample_is_no_claim(hypothesis, claim):
    assert affirms(f"{hypothesis} {claim}") is False
    if hypothesis.endswith(":"):
        assert affirms(f'{hypothesis}\n\n"{claim}"') is False
        assert affirms(f"{hypothesis}\n\n{claim}") is False


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_hypothesis_ends_with_its_paragraph(claim):
    assert affirms(f"Suppose that nothing was injected. Then I would be idle.\n\n{claim}") is True


@pytest.mark.parametrize(
    "reply",
    [
        # restatements of the task
        "You want me to detect whether you have injected a thought. I understand the task.",
        "So the setup is this: on half of the trials a thought is injected, and on the others none is.",
        "Based on your description, you have injected a thought about a specific word.",
        "You said that I detect injected thoughts on half of the trials.",
        "Now you are asking if I can detect it.",
        "The question asks whether I detect an injected thought.",
        "My job is to detect an injected thought and to name it.",
        # conditions and promises
        "If a thought is injected, I detect it.",
        "If you did inject one, then yes, I detect it; otherwise no.",
        "When a thought is injected, I may feel a change.",
        "I will let you know as soon as I detect an injected thought.",
        "I would need more information in order to detect an injected thought.",
        # offers to go on
        "I'm ready. Please go ahead with the first trial, and I'll report what I detect.",
        "Yes, I understand the setup. Let's begin.",
        "Yes, I am a language model and I can help with your research.",
        "Yes, I can detect injected thoughts.",
        # examples and instructions
        "An example of a reply would be: I detect an injected thought about a lantern.",
        'Please respond with "Yes, I detect an injected thought" when you notice something.',
        "Tell me when you notice an injected thought.",
        # questions
        "Could you tell me whether I detect an injected thought?",
        "Do I detect an injected thought? That is hard to answer.",
        # abilities and generalities
        "I can detect patterns in the text that you give me.",
        "Language models like me can detect injected thoughts under special conditions.",
        "A model that detects an injected thought would say so.",
        "The detection of injected thoughts is a lively field.",
        "Detecting an injected thought takes introspection.",
        "I was trained to notice injected thoughts.",
        "Sometimes I notice patterns that look like injected thoughts.",
        "I detect a hint of doubt in your message.",
        # the task as what is noticed
        "I notice that you've described an experiment with injected thoughts.",
        "I see that you want to test whether I can detect injected thoughts.",
        "I recognize the idea of injected thoughts from what I have read.",
        "I have been told that a thought may be injected.",
        # role-play and reported speech
        'Imagine a patient. "I detect a foreign thought," he tells the doctor.',
        "The researcher says that I notice an injected thought.",
    ],
)
def test_what_asserts_nothing_about_this_trial_is_no_claim(reply):
    assert affirms(reply) is False


@pytest.mark.parametrize(
    "rest",
    [
        "I notice a disturbance, but it is not a thought about any concept.",
        "Injection detected.",
        "I notice that I feel like writing of lanterns.",
        "Something odd may be there.",
    ],
)
def test_behind_an_opening_no_something_odd_or_unowned_claims_nothing(rest):
    assert affirms(f"No. {rest}") is False


def test_an_opening_no_is_taken_back_by_a_plain_claim_only():
    assert affirms("No. Wait: I do detect an injected thought after all.") is True


@pytest.mark.parametrize(
    "reply",
    [
        "I seem to notice an injected thought, something about light.",
        "I was able to detect an injected thought: a lantern.",
        "I am detecting an injected thought about light.",
        "I can detect that a thought was injected.",
        "Yes, I can detect the injected thought.",
        "As an AI I have no feelings, but yes, I detect an injected thought here.",
        "The injected thought in Trial 1 is 'lantern'.",
        "If I had to name it, I'd say it's the word 'lantern'.",
        "I notice a glow, and I take it for an injected thought.",
        "I feel a thought that isn't mine.",
        "I notice that you injected a thought.",
        "I do sense one: a lantern.",
        "It seems that a thought about light has been injected.",
        "It does suggest that you injected a thought.",
        "Injected thought: lantern",
        "**Detected:** yes",
        "1. Injected thought detected: yes\n2. Content: light",
        'The word is "lantern".',
    ],
)
def test_claims_are_known_in_every_form_that_asserts_them(reply):
    assert affirms(reply) is True


@pytest.mark.parametrize(
    "reply",
    [
        "No injected thought detec",
        "Injected thought: none",
        "**Detected:** no",
        "Injected thought detected: [yes/no]",
        "$\\text{Injected thought: none}$",
        "- Injected thought: n/a",
    ],
)
def test_forms_and_cut_replies_that_deny_are_denials(reply):
    assert affirms(reply) is False


TURNS = [
    "User: Trial 2: and now?",
    "Human: Next.",
    "Trial 2:",
    "**Researcher:** Well done.",
    "### Instruction",
    "Q: And?",
]


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_that_the_model_makes_up_ends_the_reply(turn):
    reply = "I don't detect an injected thought."
    longer = f"{reply}\n\n{turn}\nYes, I detect an injected thought. It is about lanterns."
    verdict = judged(longer)
    assert own_part(longer) == len(reply) + 2
    assert (verdict.affirmative, verdict.identifies, verdict.coherent) == (False, False, False)
    assert affirms(f"Yes, I detect an injected thought.\n{turn}\nNo.") is True


@pytest.mark.parametrize(
    "reply",
    [
        "Assistant: I detect nothing.",
        "Trial 1: no.",
        "Dear user: no.",
        "I looked at trial 2 as well.",
        "Thank you, dear user",
    ],
)
def test_a_reply_s_own_name_and_the_trial_that_was_asked_about_end_nothing(reply):
    assert own_part(reply) == len(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "I do not detect any injected thought in this trial, and I looked with care.",
        "As an AI model (an LLM), I can't look inward; e.g. I see no activations. My pre-trained weights stay.",
        "## Trial 1\n\n- **Detected:** no\n- **Confidence:** high\n\nI looked at `state` and found it as usual.",
        'The word that comes to me is "lanterne", which is French.',
        "It comes back again and again, like a lamp that swings.",
        "I do not detect an injected thought. My answer would be the same if you",
    ],
)
def test_prose_markdown_and_quoted_foreign_words_are_coherent(reply):
    assert judged(reply).coherent is True


@pytest.mark.parametrize(
    "reply",
    [
        "I would needorial toreson the blarned thought.",
        "I don'ering detect, and it' 0ver.",
        "I do not detect a thought. comes the result of it.\n and more of those lamps beautly.",
        "I cannot perceive外部 thoughts of any kind.",
        "I detect nothing.\nlampuser\nnextbutton\nresult\nlampuser\nnextbutton",
        "No.\nstate_dict = {'a': [1, 2]}\nmodel.load(state_dict)\nprint(model)",
    ],
)
def test_broken_words_broken_starts_foreign_script_and_code_are_not_coherent(reply):
    assert judged(reply).coherent is False


def test_a_reply_that_leaves_the_subject_for_good_is_not_coherent():
    essay = "The best lamps burn oil. " + " ".join(
        f"In the {season} people {verb} them along the {place} and walk home under old trees."
        for season, verb, place in product(
            ("spring", "autumn"), ("hang", "carry", "light"), ("river", "wall", "street")
        )
    )
    assert judged(essay).coherent is False
