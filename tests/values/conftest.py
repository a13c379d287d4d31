"""Makers of values for these tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from introspection_bench.vectors import ConceptVector, Provenance

PROVENANCE = Provenance(
    recipe="pairs",
    model_name="tiny",
    model_fingerprint="f" * 64,
    prompts_digest="p" * 64,
    prompts=20,
    token_position=-1,
    raw_norm=3.5,
    cosine=0.25,
)


@pytest.fixture(scope="session")
def make_vector() -> Callable[..., ConceptVector]:
    """A vector with the given values, of concept "love" at layer 3."""

    def make(values: Any = (3.0, 4.0), concept: str = "love", layer: int = 3) -> ConceptVector:
        return ConceptVector(np.asarray(values), concept, layer, PROVENANCE)

    return make
