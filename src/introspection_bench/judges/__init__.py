"""Judges: the port, the registry, versioned rubrics, and one module per judge."""

from .base import Case, Disclosure, Judge
from .registry import BUILTIN, open_judge
from .rubrics import Rubric, load_rubric
from .structural import with_structural_rules

__all__ = ["BUILTIN", "Case", "Disclosure", "Judge", "Rubric", "load_rubric", "open_judge", "with_structural_rules"]
