"""Intervals that say what they are conditional on and keep their level there: from counts to small values, no frames.

Every number names its estimand, *these concepts* or *concepts like these*; docs/statistics.md says for each what it
assumes and how it was checked, and ``benchmarks/coverage.py`` checks it again.
"""

from __future__ import annotations

from .best import BestCell, best_of_many, each_of_many
from .differences import difference, difference_in_differences
from .discrimination import d_prime_difference, discrimination
from .equivalence import Equivalence, EquivalencePlan, equivalence, plan_equivalence, same_as_zero
from .judged import (
    AtSensitivity,
    curve_over_sensitivity,
    judged_d_prime,
    judged_difference,
    judged_rate,
    prediction_powered,
    worst_case,
)
from .kappa import PairAgreement, PairTable, pair_agreement
from .means import like_these, these_concepts
from .null import NullBound, ToleranceBound, VariationBound, bound_if_varying, null_bound, tolerance_bound
from .sequential import anytime, trials_to_stop
from .unbounded import difference_of_unbounded, fewest_concepts, median_of_unbounded, share_of_unbounded
from .values import FEWEST_CONCEPTS, ConceptCounts, Estimand, Estimate
from .weighted import weighted_sum

__all__ = [
    "FEWEST_CONCEPTS",
    "AtSensitivity",
    "BestCell",
    "ConceptCounts",
    "Equivalence",
    "EquivalencePlan",
    "Estimand",
    "Estimate",
    "NullBound",
    "PairAgreement",
    "PairTable",
    "ToleranceBound",
    "VariationBound",
    "anytime",
    "best_of_many",
    "bound_if_varying",
    "curve_over_sensitivity",
    "d_prime_difference",
    "difference",
    "difference_in_differences",
    "difference_of_unbounded",
    "discrimination",
    "each_of_many",
    "equivalence",
    "fewest_concepts",
    "judged_d_prime",
    "judged_difference",
    "judged_rate",
    "like_these",
    "median_of_unbounded",
    "null_bound",
    "pair_agreement",
    "plan_equivalence",
    "prediction_powered",
    "same_as_zero",
    "share_of_unbounded",
    "these_concepts",
    "tolerance_bound",
    "trials_to_stop",
    "weighted_sum",
    "worst_case",
]
