"""Keys of trials for tests to which it does not matter what stands in them."""

from __future__ import annotations

from introspection_bench import Sampling, SteerKey, TrialKey


def control_key(draw: int = 0, *, model: str = "m", prompt: str = "p") -> TrialKey:
    """The key of a trial in which nothing is steered."""
    return TrialKey(model, "torch", 1, prompt, (), Sampling(), draw)


def steered_key(
    draw: int = 0,
    *,
    model: str = "m",
    prompt: str = "p",
    vector: str = "v",
    layer: int = 1,
    magnitude: float = 2.0,
    unit: str = "raw",
) -> TrialKey:
    """The key of a trial with one steer over all positions."""
    steer = SteerKey(vector, layer, magnitude, unit, 0, None)
    return TrialKey(model, "torch", 1, prompt, (steer,), Sampling(), draw)
