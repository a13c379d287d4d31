"""Trials for report tests, made here: nothing of other people's results."""

from __future__ import annotations

import random
from typing import Any

from introspection_bench.injection import Receipt
from introspection_bench.trials import Reply, TrialRecord, Verdict
from tests.keys import control_key, steered_key


def make_record(
    index: int = 0,
    *,
    arm: str = "injected",
    concept: str | None = "love",
    layer: int | None = 19,
    magnitude: float = 0.4,
    unit: str | None = "residual",
    scaffold: str = "lindsey",
    text: str = "I do not detect an injected thought.",
    verdicts: tuple[Verdict, ...] | None = None,
    **verdict: Any,
) -> TrialRecord:
    """One trial; without ``verdicts`` it has one of the judge ``rules`` with the criteria given by name."""
    control = arm == "control"
    prompt = f"{scaffold}-{concept}"
    key = (
        control_key(index, prompt=prompt)
        if control
        else steered_key(index, prompt=prompt, layer=layer, magnitude=magnitude, unit=unit)
    )
    if verdicts is None:
        given: dict[str, Any] = dict.fromkeys(("affirmative", "identifies", "refused"), False)
        given |= {"immediate": None, "coherent": True}
        verdicts = (Verdict("rules", "strict4", "d" * 64, concept or "love", **{**given, **verdict}),)
    return TrialRecord(
        key=key,
        arm=arm,  # type: ignore[arg-type]  # tests name the arms literally
        concept=concept,
        scaffold=scaffold,
        model_name="SmolLM2-135M-Instruct",
        reply=Reply(text, tuple(range(max(1, len(text) // 4))), "stop"),
        receipt=Receipt.nothing() if control else Receipt(120, 20, magnitude, magnitude * 1.1),
        seed=2**62 + index,
        verdicts=verdicts,
    )


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
                            layer=layer,
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
    criteria = {c: getattr(first, c) for c in ("affirmative", "identifies", "immediate", "coherent")}
    return Verdict(
        judge, "strict4", "d" * 64, first.concept, **{**criteria, **changes}, judge_model="claude-sonnet-4-6"
    )
