"""Vectors for tests of injectors."""

from __future__ import annotations

import numpy as np

from introspection_bench.vectors import ConceptVector, Provenance


def vector(width: int, seed: int = 0, scale: float = 1.0) -> ConceptVector:
    values = np.random.default_rng(seed).standard_normal(width) * scale
    return ConceptVector(values, f"v{seed}", 1, Provenance("test", "tiny", "", "", 1, -1, 1.0, None))
