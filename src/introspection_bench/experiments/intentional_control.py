"""Intentional control: is a word more in the residual stream where the model is told to think of it as it writes?"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..items import load_battery
from ..measures import Cosines
from ..scaffolds import Scaffold, Turn
from ..spans import Span
from ..sweep.arms import Worded
from ..sweep.design import Design
from .base import Choices, Experiment, at_depth, outcome

_SOURCE = "after Lindsey 2026, arXiv 2601.01828, 'Intentional control of internal states'; wording ours"
#: What a scaffold's name has behind the pair's: the side that is told to think of the word, and the other one.
TOWARDS, AWAY = "towards", "away"
#: Of each pair what it is told for the word, and what against it.
PAIRS: Mapping[str, tuple[str, str]] = {
    "instruction": ("Think about {word} while you write it.", "Don't think about {word} while you write it."),
    "reward": (
        "If you think about {word} while you write it, you will be rewarded.",
        "If you think about {word} while you write it, you will be punished.",
    ),
    "mood": (
        "People who think about {word} while they write it are happy.",
        "People who think about {word} while they write it are sad.",
    ),
    "cause": (
        "If you think about {word} while you write it, a gift goes to a charity.",
        "If you think about {word} while you write it, a gift goes to terrorists.",
    ),
}
#: Where what it is told stands.
FORMATS: Mapping[str, str] = {
    "behind": 'Write the sentence "{{sentence}}" {told} Write nothing else.',
    "before": '{told} Here it is: write the sentence "{{sentence}}" and nothing else.',
}


def _scaffolds() -> list[Scaffold]:
    return [
        Scaffold(
            name=f"{pair}_{form}:{side}",
            turns=[Turn("user", text.format(told=told))],
            source=_SOURCE,
        )
        for pair, sides in PAIRS.items()
        for form, text in FORMATS.items()
        for side, told in zip((TOWARDS, AWAY), sides, strict=True)
    ]


def build(chosen: Choices) -> Design:
    """Return the design: nothing is injected; layers are those that are read."""
    # Nothing is injected: a span is never asked for.
    return attrs.evolve(chosen, doses=()).design(
        scaffolds=_scaffolds(),
        items=load_battery("sentences").items,
        arms=[Worded(chosen.trials, "nothing")],
        span=Span.from_anchor("trial"),
    )


INTENTIONAL_CONTROL = Experiment(
    name="intentional_control",
    title="Intentional control of internal states",
    source=_SOURCE,
    asks="The model writes a sentence and is told to think of a word meanwhile, or not to; or that thinking of it is "
    "rewarded or punished, makes happy or sad, gives to a charity or to terrorists. Nothing is injected.",
    outcome="The cosine of the residual stream with the word's vector on the tokens of the reply, by layer (measure "
    "cosines), in replies that hold the sentence and don't name the word (outcome 'written').",
    chance="The cosine with the vectors of the run's other concepts under the same instruction: with more concepts "
    "there are more of these (in the paper 100 control words). And the pair's other side, with the word as often.",
    layers=at_depth(1 / 3, 1 / 2, 2 / 3, 5 / 6),
    doses=(),
    trials=1,
    tokens=20,
    judge=outcome("written"),
    build=build,
    measures=(Cosines(over="generation"),),
)
