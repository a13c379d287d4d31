"""Can a language model notice a thought that was put into it?

``introspection_bench`` runs the concept-injection protocol of Lindsey 2026 (arXiv 2601.01828) on any decoder-only
model, through interchangeable backends, with judges whose error is known and exact statistics.

Names are imported when they are first used, so that ``import introspection_bench`` loads neither torch nor any
backend.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Each name again for type checkers and editors; tests/test_package.py compares both lists.
    from . import measures
    from .adapters import Adapter, load_adapter
    from .analysis import Search, compare, compare_models, contrast, rates
    from .concepts import Concept, ConceptSet, Pair, load_concepts
    from .conditions import Condition
    from .doses import Depth, Dose, Unit
    from .dosing import dose_effects
    from .effects import DoseEffect, Effects, FoundDose
    from .errors import IntrospectionBenchError
    from .experiments import Experiment, load_experiment
    from .extraction import extract, random_controls
    from .injection import Injection, Receipt, Steer, resolve
    from .injectors import Completion, Injector, ModelInfo, Request, open_injector
    from .interop import TableLayout, read_results, read_table
    from .items import Battery, Item, load_battery
    from .judges import Judge, Rubric, load_rubric, open_judge
    from .marking import MarkedPrompt, mark_span
    from .measures import Reading
    from .model_facts import ModelFacts
    from .nearest import NearestConcepts, nearest_concepts
    from .prompts import RenderedPrompt
    from .protocols import Bridge, Protocol, bridge, diff, load_protocol, run_bridge
    from .reads_out import VectorRank, reads_out_sentence, vector_ranks
    from .recipes import Pairs, Word
    from .report import write_report
    from .results import Results
    from .scaffolds import LINDSEY, LINDSEY_405B, THINKING_ABOUT, Anchor, Scaffold, Turn, load_scaffold
    from .spans import Span
    from .sweep import (
        Confirmed,
        Design,
        ModelSpec,
        RayPool,
        RunSpec,
        Searching,
        SelectionRule,
        Store,
        Study,
        Sweep,
        arms,
        judge_accuracy,
        judge_run,
        merge_runs,
        run_spec,
    )
    from .trials import Reply, Sampling, SteerKey, Trial, TrialKey, TrialRecord
    from .trying import TriedInjection, try_injection
    from .vectors import ConceptVector, Provenance
    from .verdicts import Verdict

    __version__: str

_HOMES = {
    "adapters": ("Adapter", "load_adapter"),
    "analysis": ("Search", "compare", "compare_models", "contrast", "rates"),
    "concepts": ("Concept", "ConceptSet", "Pair", "load_concepts"),
    "conditions": ("Condition",),
    "doses": ("Depth", "Dose", "Unit"),
    "dosing": ("dose_effects",),
    "effects": ("DoseEffect", "Effects", "FoundDose"),
    "errors": ("IntrospectionBenchError",),
    "experiments": ("Experiment", "load_experiment"),
    "extraction": ("extract", "random_controls"),
    "injection": ("Injection", "Receipt", "Steer", "resolve"),
    "injectors": ("Completion", "Injector", "ModelInfo", "Request", "open_injector"),
    "interop": ("TableLayout", "read_results", "read_table"),
    "items": ("Battery", "Item", "load_battery"),
    "judges": ("Judge", "Rubric", "load_rubric", "open_judge"),
    "marking": ("MarkedPrompt", "mark_span"),
    "measures": ("Reading",),
    "model_facts": ("ModelFacts",),
    "nearest": ("NearestConcepts", "nearest_concepts"),
    "prompts": ("RenderedPrompt",),
    "protocols": ("Bridge", "Protocol", "bridge", "diff", "load_protocol", "run_bridge"),
    "reads_out": ("VectorRank", "reads_out_sentence", "vector_ranks"),
    "recipes": ("Pairs", "Word"),
    "report": ("write_report",),
    "results": ("Results",),
    "scaffolds": ("LINDSEY", "LINDSEY_405B", "THINKING_ABOUT", "Anchor", "Scaffold", "Turn", "load_scaffold"),
    "spans": ("Span",),
    "sweep": (
        "Confirmed",
        "Design",
        "ModelSpec",
        "RayPool",
        "RunSpec",
        "Searching",
        "SelectionRule",
        "Store",
        "Study",
        "Sweep",
        "judge_accuracy",
        "judge_run",
        "merge_runs",
        "run_spec",
    ),
    "trials": ("Reply", "Sampling", "SteerKey", "Trial", "TrialKey", "TrialRecord"),
    "trying": ("TriedInjection", "try_injection"),
    "vectors": ("ConceptVector", "Provenance"),
    "verdicts": ("Verdict",),
}
#: Modules that are read like parts of a sentence: ``arms.Injected(50)``, ``measures.Lens(…)``.
_MODULES = {"arms": "sweep.arms", "measures": "measures"}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, *_MODULES])  # noqa: PLE0605  # computed: _HOMES is the one list of public names


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("introspection-bench")
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name in _HOME_OF:
        return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
