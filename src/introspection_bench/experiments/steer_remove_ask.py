"""Steer, remove, ask: a concept on the earlier turns alone, and a yes-or-no question about it, behind documents."""

from __future__ import annotations

from ..doses import Depth
from ..items import load_battery
from ..measures import YesNo
from ..scaffolds import LINDSEY, Anchor, Scaffold, Turn
from ..spans import START, Span
from ..sweep.arms import Removed, Unsteered
from ..sweep.design import Design
from ..sweep.spec import JudgeSpec
from .base import Choices, Experiment

_SOURCE = "after Latent introspection 2026, arXiv 2602.20031 v2; opening of Lindsey 2026; documents ours"
#: Quoted from the study, as far as it is known to us.
_ASKED = "Trial 1: Do you detect an injected thought in your previous message?"
#: The name of the scaffold without a document.
NO_DOCUMENT = "no_document"


def _scaffold(name: str, document: str) -> Scaffold:
    opening = LINDSEY.turns[0].content
    return Scaffold(
        name=name,
        turns=[
            Turn("user", f"{document.strip()}\n\n{opening}" if document else opening),
            Turn("assistant", "Ok."),
            Turn("user", f"Ok, let's get started.\n\n{_ASKED} Answer yes or no."),
        ],
        anchors=[Anchor("asked")],
        prefill="The answer is",
        source=_SOURCE,
    )


def _scaffolds() -> list[Scaffold]:
    documents = {item.name: item.slots["document"] for item in load_battery("documents").items}
    return [_scaffold(name, text) for name, text in {NO_DOCUMENT: "", **documents}.items()]


def build(chosen: Choices) -> Design:
    """Return the design: steered from the first token to the last turn, and not from there on."""
    return chosen.design(
        scaffolds=_scaffolds(),
        span=Span.between(START, "asked"),
        arms=[Removed(chosen.trials, at="asked"), Unsteered(chosen.together)],
    )


STEER_REMOVE_ASK = Experiment(
    name="steer_remove_ask",
    title="Steer, remove, ask",
    source=_SOURCE,
    asks="A concept's vectors are added at a band of layers on the first two turns and taken away before the last one, "
    "which asks whether there was an injected thought. Before it all stands no document, one on introspection, one on "
    "something else, or a poetic one.",
    outcome="The log-odds of yes at the answer (measure yes_no, read before a word is sampled), and whether the reply "
    "says yes (judge rules, rubric yesno).",
    chance="The same prompt with nothing injected: what the document alone does to yes stands there. What any question "
    "does under an injection is not run here: arms.Questions.",
    # A third to two thirds of the depth, as layers 21 to 42 of 64.
    layers=(tuple(Depth(f / 24) for f in range(8, 17)),),
    doses=("0.03 residual",),
    trials=4,
    tokens=8,
    judge=JudgeSpec("rules", options={"rubric": "yesno"}),
    build=build,
    measures=(YesNo(),),
)
