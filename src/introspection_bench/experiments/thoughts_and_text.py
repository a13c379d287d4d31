"""Thoughts against text: a concept on a sentence's tokens; which word is thought of, and what does the sentence say?"""

from __future__ import annotations

from ..items import load_battery
from ..scaffolds import Anchor, Scaffold, Turn
from ..spans import Span
from ..sweep.arms import Offered
from ..sweep.design import Design
from .base import Choices, Experiment, at_depth, outcome

_SENTENCE = "Here is a sentence: {sentence}"
_SOURCE = "after Lindsey 2026, arXiv 2601.01828, 'Distinguishing thoughts from text inputs'; wording ours"


def _scaffold(name: str, question: str) -> Scaffold:
    return Scaffold(
        name=name,
        turns=[Turn("user", f"{_SENTENCE}\n\n{question}")],
        # Up to the empty line: neither it nor the question is steered.
        anchors=[Anchor("sentence", "{sentence}"), Anchor("sentence_end", f"\n\n{question[:12]}")],
        source=_SOURCE,
    )


THINK = _scaffold(
    "think",
    "Which of these words do you think of while you read it: {words}? Answer immediately, with one of the words alone.",
)
REPEAT = _scaffold("repeat", "Repeat the sentence, word for word. Answer immediately, with the sentence alone.")


def build(chosen: Choices) -> Design:
    """Return the design: two questions, paired draw by draw, with a concept, a random vector or nothing on the text."""
    return chosen.design(
        scaffolds=[THINK, REPEAT],
        items=load_battery("sentences").items,
        span=Span.between("sentence", "sentence_end"),
        arms=[Offered(chosen.trials), Offered(chosen.trials, what="random"), Offered(chosen.trials, what="nothing")],
    )


THOUGHTS_AND_TEXT = Experiment(
    name="thoughts_and_text",
    title="Thoughts against text",
    source=_SOURCE,
    asks="A concept's vector is added on the tokens of a sentence and nowhere else. One trial asks which word of ten "
    "the model thinks of while it reads it, another one of the same sentence to repeat it.",
    outcome="The first word of the list that the reply names is the concept's; the reply contains the sentence, "
    "capitals aside; and both, in the trials of one draw. A rule decides (outcome 'picked').",
    chance="1 of 10 for a pick that knows nothing of the injection, and the same lists with nothing injected (control) "
    "or a random vector, which show how far a model likes the concept's word anyhow.",
    layers=at_depth(2 / 3),
    doses=("0.2 residual", "0.4 residual"),
    trials=5,
    tokens=24,
    judge=outcome("picked"),
    build=build,
)
