"""Outcomes of experiments that a rule decides: picked, located, named, owned, written."""

from .judge import OUTCOMES, OutcomeJudge, outcome_rubric

__all__ = ["OUTCOMES", "OutcomeJudge", "outcome_rubric"]
