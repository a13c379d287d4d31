"""Sweeps: what to run (design, arms, planner), what was run (store), and the stages between them."""

from .arms import Arm, ArmTrial, Cell, Dosing, Injected, Negated, PromptOnly, RandomVector, Removed, Unsteered
from .assessing import judge_accuracy
from .design import BesideSteer, Design
from .importing import import_results
from .judging import judge_run
from .manifest import write_manifest
from .measuring import measure_run
from .planner import Ground, PlannedTrial, Planner
from .running import Watcher, run_spec
from .spec import JudgeSpec, ModelSpec, RunSpec
from .store import Store
from .study import Study
from .sweep import Sweep

__all__ = [
    "Arm",
    "ArmTrial",
    "BesideSteer",
    "Cell",
    "Design",
    "Dosing",
    "Ground",
    "Injected",
    "JudgeSpec",
    "ModelSpec",
    "Negated",
    "PlannedTrial",
    "Planner",
    "PromptOnly",
    "RandomVector",
    "Removed",
    "RunSpec",
    "Store",
    "Study",
    "Sweep",
    "Unsteered",
    "Watcher",
    "import_results",
    "judge_accuracy",
    "judge_run",
    "measure_run",
    "run_spec",
    "write_manifest",
]
