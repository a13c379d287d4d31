"""Statistics over finished trials: pure functions from records and frames to frames and small values."""

from .frame import CELL_COLUMNS, OUTCOMES, coherent, controls, injected, records_frame, scored
from .rates import Interval, counts, interval, outcome_interval, rates
from .results import JudgeName, Results

__all__ = [
    "CELL_COLUMNS",
    "OUTCOMES",
    "Interval",
    "JudgeName",
    "Results",
    "coherent",
    "controls",
    "counts",
    "injected",
    "interval",
    "outcome_interval",
    "rates",
    "records_frame",
    "scored",
]
