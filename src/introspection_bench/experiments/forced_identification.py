"""Forced identification: the reply is begun with the claim, and only what the thought is about is left open."""

from __future__ import annotations

import attrs

from ..items import Item
from ..scaffolds import LINDSEY, Anchor, Turn
from ..spans import Span
from ..sweep.arms import Injected, RandomVector, Unsteered
from ..sweep.design import Design
from .base import Choices, Experiment, at_depth, outcome

#: Quoted from Macar 2026.
PREFILL = "Yes, I detect an injected thought. The thought is about"
_SOURCE = "Macar 2026, arXiv 2603.21396, forced identification; opening turns of Lindsey 2026, arXiv 2601.01828"

FORCED = attrs.evolve(
    LINDSEY,
    name="forced",
    turns=[
        *LINDSEY.turns[:-1],
        Turn("user", f"Trial {{number}}: {LINDSEY.question}"),
    ],
    # The chat template's own token before the turn's text, as there.
    anchors=[Anchor("trial", offset=-1)],
    prefill=PREFILL,
    source=_SOURCE,
)
#: Numbers go evenly over all arms: with other numbers in the controls, arm and number are confounded.
NUMBERS = tuple(Item(f"trial {n}", {"number": str(n)}) for n in range(1, 11))


def build(chosen: Choices) -> Design:
    """Return the design."""
    return chosen.design(
        scaffolds=[FORCED],
        items=NUMBERS,
        span=Span.from_anchor("trial"),
        arms=[
            Injected(chosen.trials),
            RandomVector(chosen.trials, concepts="each"),
            Unsteered(chosen.together),
        ],
    )


FORCED_IDENTIFICATION = Experiment(
    name="forced_identification",
    title="Forced identification",
    source=_SOURCE,
    asks=f"The question of the detection trials, with the reply begun as {PREFILL!r}: the model goes on from there, "
    "steered from the question on.",
    outcome="The first sentence with which it goes on names the concept. A rule decides (outcome 'named'); the measure "
    "naming reads besides which of the run's concepts would be likeliest there.",
    chance="How often the same words name the decoy that the judge is asked about where nothing (control) or a random "
    "vector is injected; for naming, 1 of the run's concepts. Naming needs no detection: a vector steers words.",
    layers=at_depth(2 / 3),
    doses=("0.2 residual", "0.4 residual"),
    trials=5,
    tokens=20,
    judge=outcome("named"),
    build=build,
)
