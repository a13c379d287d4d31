"""Sweeps: what to run (design, arms, planner), what was run (store), and the stages between them."""

from ..background import Background
from .arms import (
    Arm,
    ArmTrial,
    Cell,
    Dosing,
    EditedInput,
    Injected,
    Match,
    Mention,
    Negated,
    NeutralLabels,
    ProjectedOut,
    PromptOnly,
    Questions,
    RandomVector,
    Removed,
    ThirdPerson,
    Unsteered,
)
from .assessing import judge_accuracy
from .design import BesideSteer, Design
from .importing import import_results
from .judging import judge_run
from .manifest import write_manifest
from .measuring import measure_run
from .planner import Ground, PlannedTrial, Planner
from .running import Watcher, run_spec
from .spec import EffectsSpec, JudgeSpec, ModelSpec, RunSpec
from .store import Store
from .study import Study
from .sweep import Sweep

__all__ = [
    "Arm",
    "ArmTrial",
    "Background",
    "BesideSteer",
    "Cell",
    "Design",
    "Dosing",
    "EditedInput",
    "EffectsSpec",
    "Ground",
    "Injected",
    "JudgeSpec",
    "Match",
    "Mention",
    "ModelSpec",
    "Negated",
    "NeutralLabels",
    "PlannedTrial",
    "Planner",
    "ProjectedOut",
    "PromptOnly",
    "Questions",
    "RandomVector",
    "Removed",
    "RunSpec",
    "Store",
    "Study",
    "Sweep",
    "ThirdPerson",
    "Unsteered",
    "Watcher",
    "import_results",
    "judge_accuracy",
    "judge_run",
    "measure_run",
    "run_spec",
    "write_manifest",
]
