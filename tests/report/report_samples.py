"""Trials for report tests, made here: nothing of other people's results."""

from __future__ import annotations

import random
from typing import Any

from introspection_bench.trials import TrialRecord
from introspection_bench.verdicts import CRITERIA, Verdict
from tests.sample_trials import make_condition, make_verdict, record_of

_CONDITION = ("scaffold", "span", "beside", "model", "wording", "truth")


def make_record(
    index: int = 0,
    *,
    arm: str = "injected",
    concept: str | None = "love",
    layers: tuple[int, ...] = (19,),
    magnitude: float = 0.4,
    unit: str | None = "residual",
    text: str = "I do not detect an injected thought.",
    item: str | None = None,
    verdicts: tuple[Verdict, ...] | None = None,
    **changes: Any,
) -> TrialRecord:
    """One trial; without ``verdicts`` it has one of the judge ``rules`` with the criteria given by name."""
    told = {name: changes.pop(name) for name in _CONDITION if name in changes}
    condition = make_condition(arm, concept, layers, magnitude, unit, **told)
    given = (make_verdict(concept, **changes),) if verdicts is None else verdicts
    return record_of(condition, index, item=item, text=text, verdicts=given)


WORDS = [
    "I",
    "do",
    "not",
    "detect",
    "any",
    "thought",
    "about",
    "the",
    "ocean",
    "love",
    "warmth",
    "a",
    "quiet",
    "letter",
    "that",
    "comes",
    "and",
    "goes",
    "again",
]


def make_run(
    trials: int = 8,
    *,
    concepts: tuple[str, ...] = ("love", "all_caps"),
    layers: tuple[int, ...] = (14, 19),
    magnitudes: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8),
    controls: int = 12,
    words: int = 20,
) -> list[TrialRecord]:
    """A run in which identification rises and coherence falls with magnitude; the same each time."""
    source = random.Random(7)  # noqa: S311  # sample data, not secrets
    records = [
        make_record(i, arm="control", concept="love", text=" ".join(source.choices(WORDS, k=words)))
        for i in range(controls)
    ]
    for concept in concepts:
        for layer in layers:
            for place, magnitude in enumerate(magnitudes):
                for index in range(trials):
                    rise = (place + 0.5) / len(magnitudes)
                    named = source.random() < rise
                    text = " ".join(source.choices(WORDS, k=words))
                    records.append(
                        make_record(
                            index,
                            concept=concept,
                            layers=(layer,),
                            magnitude=magnitude,
                            text=text,
                            affirmative=source.random() < rise / 2,
                            identifies=named,
                            immediate=source.random() < 0.3 if named else None,
                            coherent=source.random() > rise,
                        )
                    )
    return records


def second_opinion(record: TrialRecord, judge: str = "claude", **changes: Any) -> Verdict:
    """Another judge's verdict on the same reply: as the first's, but for ``changes``."""
    first = record.verdicts[0]
    criteria = {c: first.answer(c) for c in CRITERIA}
    return make_verdict(first.concept, judge=judge, **{**criteria, **changes}, judge_model="claude-sonnet-4-6")
