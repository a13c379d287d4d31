"""Experiments by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..boundaries import checked
from ..errors import SpecError, UnknownNameError, explain, meant
from .base import Experiment
from .forced_identification import FORCED_IDENTIFICATION
from .injected_thoughts import INJECTED_THOUGHTS
from .intentional_control import INTENTIONAL_CONTROL
from .localisation import LOCALISATION, STRENGTH
from .steer_remove_ask import STEER_REMOVE_ASK
from .thoughts_and_text import THOUGHTS_AND_TEXT
from .unintended_outputs import UNINTENDED_OUTPUTS

#: All experiments by name.
EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        e.name: e
        for e in (
            INJECTED_THOUGHTS,
            THOUGHTS_AND_TEXT,
            UNINTENDED_OUTPUTS,
            INTENTIONAL_CONTROL,
            LOCALISATION,
            STRENGTH,
            FORCED_IDENTIFICATION,
            STEER_REMOVE_ASK,
        )
    }
)


@checked(SpecError)
def load_experiment(name: str) -> Experiment:
    """Return an experiment by name; raises :class:`UnknownNameError` with the names there are."""
    if name not in EXPERIMENTS:
        raise UnknownNameError(
            explain(
                "experiment",
                required=f"one of {list(EXPERIMENTS)}",
                got=name,
                hint=meant(name, EXPERIMENTS, "'introspection-bench experiments list' shows them."),
            )
        )
    return EXPERIMENTS[name]
