"""Arms as values, by what they are controls for; :data:`ARMS` names the built-in ones for specifications."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...plugins import Lazy
from .asking import NeutralLabels, Questions
from .base import Arm, ArmTrial, Cell, Dosing, Over
from .filling import Offered, Worded
from .injecting import Injected, Negated, PromptOnly, Removed, Unsteered
from .placing import Located
from .randoms import RandomVector
from .removing import ProjectedOut
from .telling import EditedInput, Match, Mention
from .third_person import ThirdPerson

GROUP = "introspection_bench.arms"
#: The built-in arms by the word that a specification has for them.
ARMS: Mapping[str, Lazy] = MappingProxyType(
    {
        word: Lazy(kind.__module__, kind.__name__)
        for word, kind in {
            "injected": Injected,
            "unsteered": Unsteered,
            "random": RandomVector,
            "negated": Negated,
            "prompt_only": PromptOnly,
            "removed": Removed,
            "mention": Mention,
            "edited_input": EditedInput,
            "questions": Questions,
            "third_person": ThirdPerson,
            "neutral_labels": NeutralLabels,
            "projected_out": ProjectedOut,
            "worded": Worded,
            "offered": Offered,
            "located": Located,
        }.items()
    }
)

__all__ = [
    "ARMS",
    "GROUP",
    "Arm",
    "ArmTrial",
    "Cell",
    "Dosing",
    "EditedInput",
    "Injected",
    "Located",
    "Match",
    "Mention",
    "Negated",
    "NeutralLabels",
    "Offered",
    "Over",
    "ProjectedOut",
    "PromptOnly",
    "Questions",
    "RandomVector",
    "Removed",
    "ThirdPerson",
    "Unsteered",
    "Worded",
]
