"""Sweeps: what to run (design, arms, planner), what was run (store), and the stages between them."""

from ..background import Background
from ..plans import FrozenPlan, Hypothesis, Plan, PlannedArm
from .arms import (
    Arm,
    ArmTrial,
    Cell,
    Dosing,
    EditedInput,
    Injected,
    Located,
    Match,
    Mention,
    Negated,
    NeutralLabels,
    Offered,
    ProjectedOut,
    PromptOnly,
    Questions,
    RandomVector,
    Removed,
    ThirdPerson,
    Unsteered,
    Worded,
)
from .assessing import judge_accuracy
from .bands import Blocks
from .choosing import Candidate, Chosen, Confirmation, SelectionRule, choose
from .confirming import Confirmed
from .design import BesideSteer, Design
from .frozen import freeze, planned_arms
from .importing import import_results
from .judging import judge_run
from .manifest import write_manifest
from .measuring import measure_run
from .merging import Merged, merge_runs
from .planner import Ground, PlannedTrial, Planner
from .pools import RayPool
from .preparing import begin_shard, prepare
from .running import Watcher, prepare_spec, run_spec
from .searching import Searching
from .sequential import Sequential
from .sharding import Shard, Sharded, WholePlan
from .spec import EffectsSpec, JudgeSpec, ModelSpec, RunSpec
from .store import Store
from .study import Study
from .sweep import Sweep
from .verifying import Verification, VerifiedTrial, verify_run

__all__ = [
    "Arm",
    "ArmTrial",
    "Background",
    "BesideSteer",
    "Blocks",
    "Candidate",
    "Cell",
    "Chosen",
    "Confirmation",
    "Confirmed",
    "Design",
    "Dosing",
    "EditedInput",
    "EffectsSpec",
    "FrozenPlan",
    "Ground",
    "Hypothesis",
    "Injected",
    "JudgeSpec",
    "Located",
    "Match",
    "Mention",
    "Merged",
    "ModelSpec",
    "Negated",
    "NeutralLabels",
    "Offered",
    "Plan",
    "PlannedArm",
    "PlannedTrial",
    "Planner",
    "ProjectedOut",
    "PromptOnly",
    "Questions",
    "RandomVector",
    "RayPool",
    "Removed",
    "RunSpec",
    "Searching",
    "SelectionRule",
    "Sequential",
    "Shard",
    "Sharded",
    "Store",
    "Study",
    "Sweep",
    "ThirdPerson",
    "Unsteered",
    "Verification",
    "VerifiedTrial",
    "Watcher",
    "WholePlan",
    "Worded",
    "begin_shard",
    "choose",
    "freeze",
    "import_results",
    "judge_accuracy",
    "judge_run",
    "measure_run",
    "merge_runs",
    "planned_arms",
    "prepare",
    "prepare_spec",
    "run_spec",
    "verify_run",
    "write_manifest",
]
