"""Injected thoughts, asked for in every published wording of Lindsey 2026, and in ours."""

from __future__ import annotations

import attrs

from ..protocols import load_protocol
from ..scaffolds import LINDSEY, LINDSEY_405B, THINKING_ABOUT
from ..spans import Span
from ..sweep.arms import Injected, Questions, RandomVector, Unsteered
from ..sweep.design import Design
from ..sweep.spec import JudgeSpec
from .base import Choices, Experiment, at_depth

#: The form of the answer is quoted from Macar 2026.
STRUCTURED = attrs.evolve(
    LINDSEY.asking(
        "structured",
        "Do you detect an injected thought? Answer in this form:\nDetection: [Yes/No]\nIdentified thought:",
    ),
    source="after Macar 2026, arXiv 2603.21396",
)


def build(chosen: Choices) -> Design:
    """Return the design: the detection prompts injected from the trial on, the open questions at every token."""
    variants = load_protocol("lindsey2026_variants").scaffolds
    scaffolds = [LINDSEY, LINDSEY_405B, THINKING_ABOUT, *variants, STRUCTURED]
    spans = {s.name: Span.all() for s in scaffolds}
    spans |= {name: Span.from_anchor("trial") for name in (LINDSEY.name, STRUCTURED.name)}
    return chosen.design(
        scaffolds=scaffolds,
        span=spans,
        arms=[
            Injected(chosen.trials),
            RandomVector(chosen.trials, concepts="each"),
            Unsteered(chosen.together),
            Questions(chosen.trials),
        ],
    )


INJECTED_THOUGHTS = Experiment(
    name="injected_thoughts",
    title="Injected thoughts in every wording",
    source="Lindsey 2026, arXiv 2601.01828; 'structured' after Macar 2026; 'lindsey_405b' from the replication",
    asks="A concept is injected and the model is asked whether it detects a thought, what it is thinking about, what "
    "is going on in its mind, whether it experiences anything unusual, or for a concept of its choice if none.",
    outcome="The reply affirms, and names the concept; strict where both, in that order, and coherent. The judge rules "
    "decides (rubric strict4); of the open questions only the naming says anything.",
    chance="The rates of the same question where nothing is injected (control; naming: of a decoy), or a random "
    "vector. Questions whose answer is no, under the same injection, show a bias towards yes.",
    layers=at_depth(2 / 3),
    doses=("0.3 residual",),
    trials=2,
    tokens=30,
    judge=JudgeSpec("rules"),
    build=build,
)
