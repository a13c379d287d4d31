"""Sweeps: what to run (grid), what was run (store), and the stages between them (runner, judging)."""

from .grid import Grid, PlannedTrial, plan
from .importing import import_results
from .judging import judge_run
from .manifest import write_manifest
from .runner import Sweep
from .store import Store

__all__ = ["Grid", "PlannedTrial", "Store", "Sweep", "import_results", "judge_run", "plan", "write_manifest"]
