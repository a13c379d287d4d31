"""Trials made from counts, so that a test states the numbers that it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from introspection_bench.trials import TrialRecord
from introspection_bench.verdicts import CRITERIA
from tests.sample_trials import make_condition, make_verdict, record_of

#: affirmative, identifies, immediate, coherent of one reply; None as a whole is an unscored verdict.
Answers = tuple[bool | None, bool | None, bool | None, bool | None] | None


def make_record(
    index: int,
    answers: Answers,
    *,
    arm: str = "injected",
    concept: str | None = "love",
    magnitude: float = 4.0,
    layer: int | tuple[int, ...] = 10,
    unit: str | None = "residual",
    text: str = "Some reply.",
    judge: str = "rules",
    item: str | None = None,
    **condition: Any,
) -> TrialRecord:
    layers = (layer,) if isinstance(layer, int) else layer
    where = make_condition(arm, concept, layers, magnitude, unit, **condition)
    given = {"unscored": "timeout"} if answers is None else dict(zip(CRITERIA, answers, strict=True))
    verdict = make_verdict(concept, judge=judge, **{"refused": None, **given})
    return record_of(where, index, item=item, text=text, verdicts=(verdict,))


@pytest.fixture(scope="session")
def record() -> Callable[..., TrialRecord]:
    return make_record
