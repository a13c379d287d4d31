"""Vectors for tests of injectors, and what is made of them."""

from __future__ import annotations

import numpy as np

from introspection_bench import Dose, Injection, RenderedPrompt, Span, Unit
from introspection_bench.measures import Read
from introspection_bench.vectors import ConceptVector, Provenance


def vector(width: int, seed: int = 0, scale: float = 1.0) -> ConceptVector:
    values = np.random.default_rng(seed).standard_normal(width) * scale
    return ConceptVector(values, f"v{seed}", 1, Provenance("test", "tiny", "", "", 1, -1, 1.0, None))


def steer(
    magnitude: float, unit: str = "residual", layer: int = 1, span: Span | None = None, seed: int = 0, width: int = 64
) -> Injection:
    """An injection of a random vector, by default everywhere at the tiny models' block 1."""
    return Injection(vector(width, seed), layer, Dose(magnitude, Unit(unit)), span or Span.all())


def everywhere(prompt: RenderedPrompt, layers: tuple[int, ...]) -> tuple[Read, ...]:
    """What reads the stream of some layers at all positions; nothing for none."""
    return (Read("residuals", Span.all().resolve(prompt), layers),) if layers else ()
