"""Statistics over finished trials: pure functions from records and frames to frames and small values."""

from __future__ import annotations

from ..conditions import CELL_COLUMNS
from ..frames import readings_frame, receipts_frame, records_frame, verdicts_frame
from ..results import JudgeName, Results
from .agreement import Agreement, Confusion, agreement, verdicts_of
from .calibration import CorrectedRate, JudgeAccuracy, corrected_rate
from .clustering import ClusterEstimate, bootstrap_rate, hierarchical_rate
from .compare import Comparison, compare, spec_differences
from .detection import Sensitivity, default_guesses, detection, guessed_word, sensitivity
from .dose import SweetSpotRule, SweetSpots, crossovers, dose_response, migration, sweet_spots
from .logistic import LogisticFit, fit_logistic
from .nulls import (
    Alternative,
    Bound,
    Exclusion,
    Scope,
    excludes,
    probability_under,
)
from .power import SampleSize, power_against, power_to_find, sample_size, trials_to_bound, trials_to_find
from .rates import Interval, counts, interval, outcome_interval, percent, rates
from .selection import coherent, controls, dosed, injected, outcomes_of, scored, shown_of
from .tables import narrow_table, rates_table, render

__all__ = [
    "CELL_COLUMNS",
    "Agreement",
    "Alternative",
    "Bound",
    "ClusterEstimate",
    "Comparison",
    "Confusion",
    "CorrectedRate",
    "Exclusion",
    "Interval",
    "JudgeAccuracy",
    "JudgeName",
    "LogisticFit",
    "Results",
    "SampleSize",
    "Scope",
    "Sensitivity",
    "SweetSpotRule",
    "SweetSpots",
    "agreement",
    "bootstrap_rate",
    "coherent",
    "compare",
    "controls",
    "corrected_rate",
    "counts",
    "crossovers",
    "default_guesses",
    "detection",
    "dose_response",
    "dosed",
    "excludes",
    "fit_logistic",
    "guessed_word",
    "hierarchical_rate",
    "injected",
    "interval",
    "migration",
    "narrow_table",
    "outcome_interval",
    "outcomes_of",
    "percent",
    "power_against",
    "power_to_find",
    "probability_under",
    "rates",
    "rates_table",
    "readings_frame",
    "receipts_frame",
    "records_frame",
    "render",
    "sample_size",
    "scored",
    "sensitivity",
    "shown_of",
    "spec_differences",
    "sweet_spots",
    "trials_to_bound",
    "trials_to_find",
    "verdicts_frame",
    "verdicts_of",
]
