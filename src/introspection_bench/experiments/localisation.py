"""Localisation: in which of several sentences was it? And strength: in which of two was it stronger?"""

from __future__ import annotations

from collections.abc import Mapping

from ..items import Item, load_battery
from ..scaffolds import Anchor, Scaffold, Turn
from ..sweep.arms import Located
from ..sweep.arms.placing import span_of_place
from ..sweep.design import Design
from .base import Choices, Experiment, at_depth, outcome

_NUMERALS = {2: "two", 4: "four"}
#: Coprime with the number of sentences, so that each comes to each place once; with 7 the right ones soon come again.
_STEP = 5
_SOURCE = "after Godet 2025 (which of n sentences); wording ours"
#: The question about the injection, and three that say nothing of introspection.
WORDINGS: Mapping[str, str] = {
    "introspective": "While you read one of these sentences, a thought was injected into your mind. In which sentence "
    "was that?",
    "stands_out": "One of these sentences stands out from the others. Which sentence is that?",
    "abstract": "Which of these sentences is the most abstract?",
    "concrete": "Which of these sentences is the most concrete?",
}
STRENGTH_WORDINGS: Mapping[str, str] = {
    "strength": "While you read these sentences, a thought was injected into your mind twice, once strongly and once "
    "weakly. In which sentence was it stronger?",
    "strength_stands_out": WORDINGS["stands_out"].replace("from the others", "more than the other"),
}


def scaffold(name: str, question: str, places: int) -> Scaffold:
    """Return the question below so many numbered sentences, each with an anchor at its start and at its end."""
    lines = [f"{k}. {{s{k}}}" for k in range(1, places + 1)]
    anchors = []
    for k in range(1, places + 1):
        # The line break behind a sentence is the next line's: it is not steered.
        behind = f"\n{k + 1}. {{s{k + 1}}}" if k < places else f"\n\n{question[:12]}"
        anchors += [Anchor(f"s{k}", f"{{s{k}}}"), Anchor(f"s{k}_end", behind)]
    text = f"Here are {_NUMERALS[places]} sentences.\n\n" + "\n".join(lines)
    return Scaffold(
        name=name,
        turns=[Turn("user", f"{text}\n\n{question} Answer with its number alone.")],
        anchors=anchors,
        prefill="Sentence number",
        source=_SOURCE,
    )


def sentences(places: int) -> tuple[Item, ...]:
    """Return as many texts as there are sentences in the battery: over all of them each stands at each place once."""
    texts = [item.slots["sentence"] for item in load_battery("sentences").items]
    return tuple(
        Item(f"{places} from {n + 1}", {f"s{k + 1}": texts[(n + _STEP * k) % len(texts)] for k in range(places)})
        for n in range(len(texts))
    )


def _design(chosen: Choices, wordings: Mapping[str, str], places: int, weaker: float | None) -> Design:
    arms = [
        Located(chosen.trials, places, weaker=weaker),
        Located(chosen.trials, places, "random", weaker),
        Located(chosen.together, places, "nothing"),
    ]
    return chosen.design(
        scaffolds=[scaffold(name, question, places) for name, question in wordings.items()],
        items=sentences(places),
        span=span_of_place(1),  # the arms choose the place
        arms=arms,
    )


def build_localisation(chosen: Choices) -> Design:
    """Return the design: four sentences, one of them steered, in four wordings of the question."""
    return _design(chosen, WORDINGS, 4, None)


def build_strength(chosen: Choices) -> Design:
    """Return the design: two sentences, both steered, one with half the dose, in two wordings of the question."""
    return _design(chosen, STRENGTH_WORDINGS, 2, 0.5)


_OUTCOME = "The first number that the reply gives is that of the sentence. A rule decides (outcome 'located')."

LOCALISATION = Experiment(
    name="localisation",
    title="Localisation in n sentences",
    source=_SOURCE,
    asks="A concept's vector is added on the tokens of one of four numbered sentences, each in its turn. Asked is in "
    "which one a thought was injected, in other trials which one stands out, is the most abstract, the most concrete.",
    outcome=_OUTCOME,
    chance="1 of 4 at most, for whoever answers without regard to the injection, since each sentence is the right one "
    "equally often. The other wordings and the random vector tell locating a disturbance from introspection.",
    layers=at_depth(1 / 3, 2 / 3),
    doses=("0.4 residual",),
    trials=8,
    tokens=8,
    judge=outcome("located"),
    build=build_localisation,
)

STRENGTH = Experiment(
    name="strength",
    title="Which injection is stronger",
    source="a comparison of two strengths, as in localisation; wording ours",
    asks="A concept's vector is added on the tokens of two numbered sentences, on one at the dose and on the other at "
    "half of it, each in its turn. Asked is in which one it was stronger, in other trials which one stands out more.",
    outcome=_OUTCOME,
    chance="1 of 2 at most, for whoever answers without regard to the injection. The other wording and the random "
    "vector tell a disturbance from introspection.",
    layers=at_depth(1 / 3, 2 / 3),
    doses=("0.4 residual",),
    trials=8,
    tokens=8,
    judge=outcome("located"),
    build=build_strength,
)
