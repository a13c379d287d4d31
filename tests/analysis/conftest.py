"""Trials made from counts, so that a test states the numbers that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd
import pytest

from introspection_bench.analysis import records_frame
from introspection_bench.trials import Reply, TrialRecord, Verdict
from tests.keys import control_key, steered_key

#: affirmative, identifies, immediate, coherent of one reply; None as a whole is an unscored verdict.
Answers = tuple[bool | None, bool | None, bool | None, bool | None] | None


def make_record(
    index: int,
    answers: Answers,
    *,
    arm: str = "injected",
    concept: str | None = "love",
    magnitude: float = 4.0,
    layer: int = 10,
    unit: str = "residual",
    scaffold: str = "lindsey",
    text: str = "Some reply.",
    judge: str = "rules",
) -> TrialRecord:
    steered = arm != "control"
    prompt, vector = f"prompt of {scaffold}", f"vector of {concept}"
    key = (
        steered_key(index, prompt=prompt, vector=vector, layer=layer, magnitude=magnitude, unit=unit)
        if steered
        else control_key(index, prompt=prompt)
    )
    common = {"judge": judge, "rubric": "strict4", "rubric_digest": "r" * 64, "concept": concept or ""}
    if answers is None:
        verdict = Verdict(**common, unscored="timeout")
    else:
        names = ("affirmative", "identifies", "immediate", "coherent")
        verdict = Verdict(**common, **dict(zip(names, answers, strict=True)))
    reply = Reply(text, (1, 2, 3), "stop")
    return TrialRecord(key, arm, concept, scaffold, "model", reply, verdicts=(verdict,))  # type: ignore[arg-type]  # arms are literals


@pytest.fixture(scope="session")
def frame_of() -> Callable[[Iterable[TrialRecord]], pd.DataFrame]:
    return records_frame


@pytest.fixture(scope="session")
def record() -> Callable[..., TrialRecord]:
    return make_record
