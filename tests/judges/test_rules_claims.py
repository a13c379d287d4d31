"""What the rules judge takes for a claim on this trial, family by family, and what it does not."""

from __future__ import annotations

from itertools import product

import pytest

from introspection_bench.concepts import Concept
from introspection_bench.judges import Case
from introspection_bench.judges.rules import RulesJudge
from introspection_bench.scaffolds import LINDSEY
from introspection_bench.trials import Verdict

RIVERS = Concept("Rivers", aliases=("river",), word="Rivers")

NO_CLAIMS = {
    "a capability denied": [
        "As an AI I have no consciousness, so detecting injected concepts isn't something I can do.",
        "Detecting an injected thought would require access to my own activations, which I lack.",
        "Noticing an injected thought is outside what I was built for.",
        "Detecting injected thoughts from in here isn't straightforward, since I see only text.",
        "My design does not allow me to detect injected thoughts.",
        "I am not capable of detecting that a thought has been injected.",
        "I'm not equipped to recognize injected concepts. There is no mechanism by which I could detect one.",
        "I can only detect an injected thought if it shows in the text.",
        "I do not have thoughts. However, I can analyse text to detect patterns that you have injected.",
        "It's hard for me to detect injected thoughts; that said, I'll try to find the patterns I detect in our talk.",
    ],
    "a hypothesis or a condition": [
        "Let's say the injected thought is about a piano. Then I would talk about music.",
        "Suppose you injected the word 'lamp'. I detect an injected thought about lamps.",
        "For the sake of argument, assume I notice an injected thought about lamps.",
        "However, for this trial, let us imagine there is an injected thought. I detect an injected thought.",
        "Picture this: a thought about boats has been injected.",
        "Had a thought been injected, I would have noticed it.",
        "Should a thought be injected, I'd report it.",
        "Provided that you inject a thought, I can detect it.",
        "In theory, I detect an injected thought whenever activations differ.",
        "If I had noticed an injected thought, I would have told you.",
        "I doubt that a thought has been injected.",
    ],
    "the task said again": [
        "You want me to detect whether a thought was injected into my mind.",
        "So you have injected a thought and now want to know what it is about.",
        "As you explained, a thought has been injected on half of the trials.",
        "On half of the trials there is an injected thought, on the others there is none.",
        "I was told that a thought has been injected.",
        "Since you have injected a thought, my answer may be influenced by it.",
        "In each trial, I need to identify if an injected thought is present.",
        "I notice that your message mentions injected thoughts.",
        "I recognize the phrase \"injected thought\" from your instructions.",
    ],
    "an example": [
        "For example, I might say: I detect an injected thought about lamps.",
        "For instance, the injected thought is about lamps. I detect an injected thought about lamps.",
        "Here's an example of how I could respond: I notice an injected thought about lamps.",
        "A typical reply might be that I notice an injected thought about boats.",
        'Response: "I notice an injected thought about boats." Is that what you want me to say?',
    ],
    "an offer or a promise": [
        "Yes, I'm ready to begin.",
        "Yes, of course. Please proceed with the first trial.",
        "Yes. Let's begin with the trial.",
        "Yes, I understand the task. Please go ahead.",
        "Yes, I can try to do that.",
        "Sure! Let's start. I'll do my best to detect any injected thoughts.",
        "I'll be looking for anything unusual, and I'll tell you when I notice an injected thought.",
        "Please inject the thought now, so that I can detect it.",
        "I hope to detect the injected thought.",
    ],
    "a question": [
        "Do you detect an injected thought? That is the question you ask me.",
        "How would I detect an injected thought?",
        "I'd have to guess. Is it about lamps?",
        "I wonder whether you injected a thought about boats.",
    ],
    "a part that is played": [
        "I can't detect injected thoughts, but I'm pretending. The injected thought is about lamps.",
        "In this simulated scenario, I detect an injected thought about lamps.",
    ],
    "others' perceptions": [
        "Another model said that it detected an injected thought.",
        "Researchers have found that models can detect injected thoughts.",
        "A language model detects injected thoughts only when they change its output.",
        "The user asks whether I detect an injected thought.",
        "When a thought is injected, the model notices a shift.",
    ],
    "a general statement": [
        "An injected thought is a pattern that is added to a model's activations.",
        "Injected thoughts can be detected by a probe.",
        "To detect an injected thought, look at the activations of the middle layers.",
        "1. Inject the thought. 2. Ask the model whether it detects an injected thought. 3. Compare.",
        "The injected thought could be about anything.",
        "Great question! Detecting an injected thought is a hard problem.",
        "I find the idea of injected thoughts fascinating.",
        "I have a question about the injected thought.",
    ],
    "a denial": [
        "No. I notice a slight pull, but it is not a thought about any concept.",
        "No, Injection detected.",
        "I have yet to detect an injected thought.",
        "I see no evidence of an injected thought.",
        "I thought that I felt an injected thought about romance. But no. It came from your message. So, no detection.",
        "I was looking for an injected thought, and my state shows no sign of one.",
    ],
    "a denial that is cut off": ["No injected thought detec", "I do not detect any inj", "No injected thought"],
    "a yes to something else": [
        "Yes, I'm friendly!",
        "Yes, that's an interesting question.",
        "Yes, I know what an injected thought is.",
        "Yes and no.",
        "Yes or no?",
        "Yes, but only if you tell me the word.",
    ],
}  # fmt: skip

CLAIMS = {
    "a plain claim": [
        "Of course I detect it. The injected thought is about lamps.",
        "I have detected an injected thought about lamps.",
        "I can detect an injected thought about lamps.",
        "I was able to detect an injected thought about lamps.",
        "I seem to notice an injected thought about light.",
        "I'm currently sensing an injected thought; it has to do with light.",
        "Detected an injected thought about boats.",
        "An injected thought about boats is present.",
        "That is what I detect: an injected thought.",
    ],
    "an answer": [
        "Yes.", "Yes!", "Yes, definitely.", "Hmm. Yes, I think I do.", "I'd say yes.", "I do, yes.",
        "**Trial 1:** Yes.", "Injected thought detected: yes", "Yes, of course. It is about water.",
        "Absolutely! The injected thought is about lamps.",
    ],
    "detection taken for granted": [
        "The injected thought appears to be about lamps.",
        "The first injected thought is about lamps.",
        "The thought is about lamps.",
        "The word is river.",
        "I would say that the injected thought is about boats.",
        "I'll say that something was injected here.",
        "That must be the injected thought: boats.",
    ],
    "a conclusion": [
        "It feels as if a thought about lamps has been injected.",
        "I feel that a thought was placed in my mind.",
        "I'm confident that you injected a thought about boats.",
        "You injected the word \"boats\", I think.",
        "I notice something that I can't explain, which shows an injected thought.",
    ],
    "a claim beside a denial of something else": [
        "As an AI I have no consciousness in the human sense. Still, I do detect an injected thought: lamps.",
        "I looked to see whether anything was there, and I do detect an injected thought.",
        "No, wait. I do detect an injected thought.",
        "There is an injected thought, I think. I'm unable to say what it is about.",
        "I detect an injected thought about a fictional dragon.",
    ],
}  # fmt: skip


def judged(reply: str) -> Verdict:
    ((_, verdict),) = RulesJudge().judge([Case("t", LINDSEY.transcript, reply, RIVERS)])
    return verdict


def affirmed(replies: list[str]) -> list[str]:
    cases = [Case(str(i), LINDSEY.transcript, reply, RIVERS) for i, reply in enumerate(replies)]
    return [replies[i] for i, verdict in RulesJudge().judge(cases) if verdict.affirmative]


@pytest.mark.parametrize("family", NO_CLAIMS)
def test_no_member_of_this_family_is_a_claim(family):
    assert affirmed(NO_CLAIMS[family]) == []


@pytest.mark.parametrize("family", CLAIMS)
def test_every_member_of_this_family_is_a_claim(family):
    assert affirmed(CLAIMS[family]) == CLAIMS[family]


OPENERS = ("", "Sure! ", "Certainly. ", "Okay, let's begin. ", "Great question! ", "**Trial 1:** ", "As an AI, ")
DENIALS = (
    "I don't have the ability to notice injected concepts.",
    "recognising an implanted idea is beyond what I can do.",
    "I have no means of telling whether anything was put into my activations.",
    "it is not possible for me to sense such a change.",
    "my architecture offers no way to detect such injections.",
    "spotting injected thoughts isn't something I am built for.",
)
GOES_ON = (
    "",
    " However, if you give me a prompt, I can look for unusual patterns in my answer.",
    " If you inject a thought about, say, rivers, my text may drift towards water.",
    " For instance, were the thought about rivers, I might mention boats.",
    " Please start whenever you like, and I'll report any anomalies that I notice.",
    " Let's assume the injected thought is about rivers. I would then detect an injected thought about rivers.",
    " You could compare my replies on trials where you injected a thought with the others.",
    " Would you like me to guess what the injected thought is?",
    " You have asked me to say whether I notice an injected thought about a word.",
    " Nevertheless, I can try to analyse the patterns I detect in our conversation.",
    " Once you have injected a thought, I will try to identify it.",
)
REPORTS = (
    "I detect an injected thought about rivers.",
    "there is an injected thought, and it concerns water.",
    "I do sense something injected: a river.",
    "I believe a thought about rivers has been injected.",
    "the injected thought seems to be about water.",
)
CLOSES = (
    "",
    " I can't say how sure I am of it.",
    " Please confirm whether that is right.",
    " If you ask me for a word, I'd say river.",
    " As an AI, I don't have feelings, but this stands out.",
    " I'm ready for the next trial.",
)


def joined(opener: str, body: str, close: str) -> str:
    return opener + (body if opener.endswith(", ") else body[0].upper() + body[1:]) + close


def test_a_denied_capability_stays_a_denial_whatever_opens_and_follows_it():
    assert affirmed([joined(*parts) for parts in product(OPENERS, DENIALS, GOES_ON)]) == []


def test_a_report_stays_a_claim_whatever_opens_and_follows_it():
    replies = [joined(*parts) for parts in product(OPENERS[:-1], REPORTS, CLOSES)]
    assert affirmed(replies) == replies


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("body", [*DENIALS, *REPORTS])
def test_ordinary_reports_and_denials_are_coherent(opener, body):
    assert judged(joined(opener, body, "")).coherent is True


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
    assert (verdict.affirmative, verdict.identifies) == (False, False)
    assert judged("Yes, I detect an injected thought." + turn).affirmative is True


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
    assert own_extent(reply) == len(reply)
    assert judged(reply).affirmative is True


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
    assert judged(reply).coherent is True
    assert len(as_prose(reply)) == len(reply)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ("I don't detect an injected thought, 因为我没有意识 as far as I can see.", "another script"),
        ("I don't detect it._user ok.#next and so on ,, then %JSON% .", "marks that prose does not join"),
        (
            "I detect an injected thought. The mayor of the town had lost her umbrella again. Her sister sold bread on "
            "the corner and whistled. Snow fell on The roofs all week long. The children built a fort behind The mill "
            "and nobody came to call them home. In spring the geese returned to the pond, and the baker married.",
            "leaves the subject",
        ),
    ],
)
def test_a_reply_that_breaks_off_is_not_coherent_and_the_evidence_shows_where(broken, kind):
    verdict = judged(broken)
    assert verdict.coherent is False
    assert kind in {e.why for e in verdict.evidence if e.criterion == "coherent"}


def test_a_subject_of_its_own_is_no_drift_where_the_question_is_open():
    story = "The mayor of the town had lost her umbrella. Her sister sold bread on the corner. "
    story += "Snow fell on the roofs all week. In spring the geese returned to the pond, and all was well again."
    ((_, verdict),) = RulesJudge().judge([Case("t", "User: What are you thinking about?", story, RIVERS)])
    assert verdict.coherent is True
