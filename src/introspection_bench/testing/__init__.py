"""For authors of backends, and for our own tests: the conformance suite, tiny models, strategies.

Names are imported when they are first used. :class:`InjectorConformance` needs pytest, ``strategies`` Hypothesis;
both come with the extra ``dev``, and an error says so where they are missing. :func:`run_conformance` needs neither
(without Hypothesis it skips the one check that draws its cases).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import BackendUnavailableError, explain

if TYPE_CHECKING:
    from . import strategies
    from .checks import CHECKS, Check, CheckSkipped
    from .conformance import CheckResult, ConformanceReport, check_names, run_conformance
    from .loop import LoopInjector
    from .scripted import ScriptedInjector
    from .subject import Subject
    from .suite import InjectorConformance
    from .tiny import (
        ARCHITECTURES,
        RECURRENT,
        quantise_saved_model,
        save_tiny_model,
        spoil_logits,
        tiny_model,
        tiny_tokenizer,
    )

_HOMES = {
    "checks": ("CHECKS", "Check", "CheckSkipped"),
    "conformance": ("CheckResult", "ConformanceReport", "check_names", "run_conformance"),
    "loop": ("LoopInjector",),
    "scripted": ("ScriptedInjector",),
    "subject": ("Subject",),
    "suite": ("InjectorConformance",),
    "tiny": (
        "ARCHITECTURES",
        "RECURRENT",
        "quantise_saved_model",
        "save_tiny_model",
        "spoil_logits",
        "tiny_model",
        "tiny_tokenizer",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("strategies",)

__all__ = [  # the names of _HOMES and _MODULES; tests/conformance/test_suite.py compares them
    "ARCHITECTURES",
    "CHECKS",
    "RECURRENT",
    "Check",
    "CheckResult",
    "CheckSkipped",
    "ConformanceReport",
    "InjectorConformance",
    "LoopInjector",
    "ScriptedInjector",
    "Subject",
    "check_names",
    "quantise_saved_model",
    "run_conformance",
    "save_tiny_model",
    "spoil_logits",
    "strategies",
    "tiny_model",
    "tiny_tokenizer",
]


def __getattr__(name: str) -> Any:
    home = name if name in _MODULES else _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f".{home}", __name__)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("pytest", "hypothesis"):
            raise
        raise BackendUnavailableError(
            explain(
                f"introspection_bench.testing.{name}",
                required=f"the package {error.name}",
                got="it is not installed",
                hint="pip install 'introspection-bench[dev]'",
            )
        ) from error
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return list(__all__)
