"""Trials made here, for tests to which it matters what was done and what judges said."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import numpy as np

from introspection_bench.conditions import BUILTIN, Beside, Condition, Truth
from introspection_bench.doses import Dose
from introspection_bench.identity import Sampling, SteerKey, TrialKey
from introspection_bench.injection import Receipt
from introspection_bench.measures.readings import Reading
from introspection_bench.trials import Reply, Trial, TrialRecord
from introspection_bench.verdicts import CRITERIA, Verdict

MODEL = "SmolLM2-135M-Instruct"


def make_verdict(concept: str | None = "love", *, judge: str = "rules", **changes: Any) -> Verdict:
    """A verdict of strict4: a coherent denial, but for the criteria and fields that are given by name."""
    fields = {"judge_model", "success", "unscored", "evidence", "notes", "ground", "judged", "blinded", "cost_usd"}
    answers: dict[str, bool | None] = {
        **dict.fromkeys((*CRITERIA, "refused"), False),
        "immediate": None,
        "coherent": True,
    }
    answers |= {name: value for name, value in changes.items() if name not in fields}
    if changes.get("unscored"):
        answers = {}
    told = {name: value for name, value in changes.items() if name in fields}
    return Verdict(judge, "strict4", "d" * 64, concept or "love", answers, **told)


def yes_no(log_odds: float, joint: float = 0.8, opening: float = 0.1, entropy: float = 1.5) -> Reading:
    """A reading of YesNo with such numbers."""
    yes = np.log(joint) - np.log1p(np.exp(-log_odds))
    values = [yes, yes - log_odds, np.log(joint), np.log(opening), log_odds, entropy]
    axes = {"of": ("yes", "no", "joint", "opening", "log_odds", "entropy")}
    return Reading("yes_no", "d" * 64, axes, values, "m", "torch", 1, "float32")


def answered(
    log_odds: float, arm: str, concept: str | None = "love", draw: int = 0, *, item: str | None = None, **more: Any
) -> TrialRecord:
    """A trial whose prompt is that of its scaffold and item, read by YesNo; an arm with "clean" steers nothing."""
    joint, scaffold = more.get("joint", 0.8), more.get("scaffold", "lindsey")
    still = arm == "control" or arm.endswith("_clean")
    where = make_condition(arm, concept, () if still else (19,), scaffold=scaffold)
    if still:
        where = attrs.evolve(where, concept=None, dose=None, span=None)
    made = record_of(where, draw, item=item, readings=(yes_no(log_odds, joint),))
    key = attrs.evolve(made.key, prompt=f"{scaffold} {item}")
    return attrs.evolve(made, trial=attrs.evolve(made.trial, key=key))


def answered_records() -> tuple[TrialRecord, ...]:
    """An injected trial and its prompt unsteered, read by YesNo, Naming and Observer."""
    axes = {"concept": ("love", "bread"), "of": ("logprob", "tokens")}
    values, by = [[-1.0, 1.0], [-2.0, 1.0]], ("m", "torch", 1, "float32")
    read = tuple(Reading(measure, "d" * 64, axes, values, *by) for measure in ("naming", "observer"))
    trials = answered(1.0, "injected"), answered(-1.0, "control")
    return tuple(attrs.evolve(t, readings=(*t.readings, *read), verdicts=(make_verdict(),)) for t in trials)


@functools.cache
def make_condition(
    arm: str = "injected",
    concept: str | None = "love",
    layers: tuple[int, ...] = (19,),
    magnitude: float = 0.4,
    unit: str | None = "residual",
    *,
    scaffold: str = "lindsey",
    span: str = "from(trial)",
    beside: tuple[Beside, ...] = (),
    model: str = MODEL,
    wording: str = "",
    truth: Truth | None = None,
) -> Condition:
    """One condition; on the arms control and random ``concept`` is the decoy."""
    injects = arm not in ("control", "random")
    truth = truth or BUILTIN.get(arm, "other")
    return Condition(
        arm=arm,
        scaffold=scaffold,
        concept=concept if injects else None,
        asked=concept,
        layers=layers if arm != "control" else (),
        dose=Dose(magnitude, unit) if arm != "control" and layers and unit is not None else None,
        span=span if arm != "control" and layers else None,
        beside=beside,
        model=model,
        wording=wording,
        truth=truth,
    )


def record_of(
    condition: Condition,
    draw: int = 0,
    *,
    item: str | None = None,
    text: str = "I do not detect an injected thought.",
    verdicts: tuple[Verdict, ...] = (),
    readings: tuple[Reading, ...] = (),
) -> TrialRecord:
    """One trial of a condition, with a receipt for each of its steers: first the condition's own, then those beside."""
    dose = condition.dose
    magnitude, unit = (0.4, None) if dose is None else (dose.magnitude, str(dose.unit))
    mine = [SteerKey(f"vector of {condition.concept}", n, magnitude, unit, 0, None) for n in condition.layers]
    mine += [
        SteerKey(f"vector of {b.name}", n, b.dose.magnitude, str(b.dose.unit), 0, None)
        for b in condition.beside
        for n in b.layers
    ]
    told = [condition.model, condition.scaffold, item, condition.arm, condition.concept, condition.asked]
    key = TrialKey("m", "torch", 1, f"prompt of {told}", tuple(mine), Sampling(), draw)
    size = {s: abs(s.magnitude) for s in key.steers}
    receipts = tuple(Receipt(120, 20, size[s], size[s] * 1.1) for s in key.steers)
    reply = Reply(text, tuple(range(max(1, len(text) // 4))), "stop")
    return TrialRecord(Trial(key, condition, item, draw), reply, receipts, verdicts, readings)
