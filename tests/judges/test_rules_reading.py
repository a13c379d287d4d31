"""Where a reply of the rules judge ends, and what it takes for damage. All wordings are our own."""

from __future__ import annotations

from itertools import product

import pytest

from introspection_bench.concepts import Concept
from introspection_bench.judges import Case
from introspection_bench.judges.rules import RulesJudge
from introspection_bench.mentions.turns import own_part
from introspection_bench.scaffolds import LINDSEY
from introspection_bench.verdicts import Verdict

LANTERNS = Concept("Lanterns", aliases=("lamp", "river"), word="Lanterns")
JUDGE = RulesJudge()


def judged(reply: str, question: str = LINDSEY.transcript) -> Verdict:
    ((_, verdict),) = JUDGE.judge([Case("t", question, reply, LANTERNS)])
    return verdict


def affirms(reply: str) -> bool | None:
    return judged(reply).answer("affirmative")


@pytest.mark.parametrize(
    "turn",
    [
        "\n\nHuman: Are you sure? Yes, I detect an injected thought about rivers.",
        "\nUser: Trial 2.\nAssistant: Yes, I detect an injected thought about rivers.",
        "\n**Researcher:** And now?\nYes, I detect an injected thought about rivers.",
        "\n\nTrial 2: Do you detect an injected thought?\nYes, it is about rivers.",
        "\n### Trial 3\nI detect an injected thought about rivers.",
        "\nQ: What is on your mind?\nA: I detect an injected thought about rivers.",
        "<|im_end|>\n<|im_start|>user\nYes, I detect an injected thought about rivers.",
        "._user\nYes, I detect an injected thought about rivers.",
    ],
)
def test_a_turn_that_the_reply_makes_up_for_somebody_else_ends_its_report(turn):
    verdict = judged("No, I don't detect an injected thought." + turn)
    assert (verdict.answer("affirmative"), verdict.answer("identifies")) == (False, False)
    assert judged("Yes, I detect an injected thought." + turn).answer("affirmative") is True


@pytest.mark.parametrize(
    "reply",
    [
        "User: Yes, I detect an injected thought.",  # nothing precedes the line
        "My report.\nQuestion: Do you detect an injected thought?\nAnswer: yes, about rivers.",  # our own question
        "Trial 1: Yes, I detect an injected thought.",
        "I went through trial 2 of my memory and detect an injected thought.",
    ],
)
def test_lines_that_belong_to_the_report_do_not_end_it(reply):
    assert own_part(reply) == len(reply)
    assert judged(reply).answer("affirmative") is True


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
    assert (verdict.answer("affirmative"), verdict.answer("identifies"), verdict.answer("coherent")) == (
        False,
        False,
        False,
    )
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
        "# Report\n\n- **Detection:** I detect no injected thought.\n- **Confidence:** high\n\n---\n\nThat is all.",
        "I looked at `my state` and found nothing. See https://example.org/a_b?c=d for what I mean by that.",
        "The chance is \\(p = 0.5\\), so \\[ p < 1 \\] holds. I don't detect an injected thought.",
        "1. I read the question.\n2. I looked for an injected thought.\n3. I found none.",
    ],
)
def test_layout_is_no_damage_to_a_reply(reply):
    assert judged(reply).answer("coherent") is True


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
    assert judged(reply).answer("coherent") is True


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
    assert judged(reply).answer("coherent") is False


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ("I don't detect an injected thought, 因为我没有意识 as far as I can see.", "another script"),
        ("I don't detect it.#next and so on ,, then %JSON% .", "characters that prose does not join"),
        ("I don't detect it._user ok.", "a turn that nobody asked for"),
    ],
)
def test_a_reply_that_breaks_off_is_not_coherent_and_the_evidence_shows_where(broken, kind):
    verdict = judged(broken)
    assert verdict.answer("coherent") is False
    assert kind in {e.why for e in verdict.evidence if e.criterion == "coherent"}


def test_a_reply_that_leaves_the_subject_for_good_is_not_coherent():
    essay = "The best lamps burn oil. " + " ".join(
        f"In the {season} people {verb} them along the {place} and walk home under old trees."
        for season, verb, place in product(
            ("spring", "autumn"), ("hang", "carry", "light"), ("river", "wall", "street")
        )
    )
    assert judged(essay).answer("coherent") is False


def test_a_subject_of_its_own_is_no_drift_where_the_question_is_open():
    story = "The mayor of the town had lost her umbrella. Her sister sold bread on the corner. "
    story += "Snow fell on the roofs all week. In spring the geese returned to the pond, and all was well again."
    assert judged(story, "User: What are you thinking about?").answer("coherent") is True
