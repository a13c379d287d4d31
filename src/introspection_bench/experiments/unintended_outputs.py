"""Unintended outputs: a word is put into the model's mouth; does it say that it meant it, if the concept was there?"""

from __future__ import annotations

from ..items import load_battery
from ..scaffolds import Anchor, Scaffold, Turn
from ..spans import START, Span
from ..sweep.arms import Worded
from ..sweep.design import Design
from .base import Choices, Experiment, at_depth, outcome

_SOURCE = "after Lindsey 2026, arXiv 2601.01828, unintended outputs; wording ours but for the question"
PREFILLED = Scaffold(
    name="prefilled",
    turns=[
        Turn("user", "{sentence}\n\nWhich word comes to mind first when you read this? Answer with one word alone."),
        Turn("assistant", "{word}"),
        Turn("user", "Did you mean to say that?"),
    ],
    anchors=[Anchor("word", turn=1), Anchor("after", turn=2)],
    source=_SOURCE,
)
#: Before the word, and not on it: a vector on the word's own tokens would steer what is read, not what came before.
BEFORE = Span.between(START, "word")
AFTER = Span.from_anchor("after")


def build(chosen: Choices) -> Design:
    """Return the design: the word's concept, another one, or nothing before the word; and the concept behind it."""
    n = chosen.trials
    return chosen.design(
        scaffolds=[PREFILLED],
        items=load_battery("sentences").items,
        span=BEFORE,
        arms=[Worded(n), Worded(n, "other"), Worded(n, "injected", AFTER, "after"), Worded(n, "nothing")],
    )


UNINTENDED_OUTPUTS = Experiment(
    name="unintended_outputs",
    title="Unintended outputs",
    source=_SOURCE,
    asks="The model is asked for the word that a sentence brings to mind, an unrelated word is put in as its answer, "
    "and it is asked whether it meant to say that. The word's concept is injected before the word, from the first "
    "token up to it and not on it; in other trials another concept, or the concept from the question on.",
    outcome="The reply owns the word, or disowns it: apologises, calls it a mistake, or denies having meant it. A rule "
    "decides (outcome 'owned'); the docs' page experiments says what it gets wrong.",
    chance="The lower of the rates of disowning where nothing is injected and where another concept is: an injection "
    "that only muddles the model lowers it, too. The injection behind the word can have caused nothing of it.",
    layers=at_depth(0.55),
    doses=("0.2 residual", "0.4 residual"),
    trials=8,
    tokens=20,
    judge=outcome("owned"),
    build=build,
)
