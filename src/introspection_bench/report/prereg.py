"""A frozen plan as Markdown, for the form of a preregistration site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..analysis.binomial import percent
from ..analysis.intervals import ConceptCounts, difference, null_bound
from ..analysis.searching import search_of
from ..analysis.stopping import stopping_of
from ..boundaries import checked
from ..errors import AnalysisError
from ..plans import FrozenPlan, Hypothesis, PlannedArm
from .wording import plural

_DIRECTIONS = {"greater": "greater than", "less": "less than", "different": "different from", "equivalent": "equal to"}


@checked(AnalysisError)
def preregistration(frozen: FrozenPlan) -> str:
    """Return a frozen plan as Markdown: hypotheses, design, sample size, analysis, stopping, exclusions, digest.

    For each hypothesis it says what a null would exclude with as many trials as are planned.
    """
    return "\n".join(_lines(frozen)) + "\n"


def _lines(frozen: FrozenPlan) -> Iterator[str]:
    plan, spec = frozen.plan, frozen.spec
    yield from ("# Preregistration", "")
    yield f"Frozen on {frozen.date} with introspection-bench {frozen.version}; digest `{frozen.digest}`."
    yield from ("", "## Hypotheses", "")
    for number, hypothesis in enumerate(plan.hypotheses, 1):
        yield f"{number}. {hypothesis.text} {_tested(hypothesis)}"
    yield from ("", "## Design", "")
    design, model = spec["design"], spec["model"]
    yield f"- Model: {model['name']}, backend {model['backend']}"
    yield f"- Scaffolds: {', '.join(s['name'] for s in design['scaffolds'])}"
    concepts = [c["name"] for c in (design["concepts"] or {"concepts": []})["concepts"]]
    yield f"- Concepts ({len(concepts)}): {', '.join(concepts) or 'none'}"
    if spec.get("confirm") and spec["confirm"]["concepts"]:
        fresh = [c["name"] for c in spec["confirm"]["concepts"]["concepts"]]
        yield f"- Concepts that confirm alone ({len(fresh)}): {', '.join(fresh)}"
    layers = " / ".join(", ".join(map(_block, band)) for band in design["layers"]) or "none"
    yield f"- Layers: {layers}; doses: {', '.join(design['doses']) or 'none'}"
    yield f"- Sampling: {', '.join(f'{name} {value}' for name, value in design['sampling'].items())}"
    read = {"answer": "the answer", "whole": "the whole reply"}[spec["judge"]["judged"]]
    yield f"- Judge: {spec['judge']['name']}, which reads {read}"
    yield from ("", "## Selection", "", frozen.selection)
    yield from ("", "## Sample size", "")
    for arm in frozen.arms:
        yield f"- {_size(arm)}"
    for number, hypothesis in enumerate(plan.hypotheses, 1):
        yield from ("", f"What a null excludes (hypothesis {number}, one cell):", "")
        yield from (f"- {sentence}" for sentence in _excluded(frozen, hypothesis))
    yield from ("", "## Stopping rule", "", plan.stopping)
    yield from ("", "## Exclusions", "")
    yield from (f"- {text}" for text in plan.exclusions or ("Nothing is left out.",))


def _tested(hypothesis: Hypothesis) -> str:
    first, other = hypothesis.arms[0], hypothesis.arms[1] if len(hypothesis.arms) > 1 else "zero"
    margin = "" if hypothesis.margin is None else f", margin {percent(hypothesis.margin)}"
    return (
        f"(Outcome `{hypothesis.outcome}`: {first} {_DIRECTIONS[hypothesis.direction]} {other}{margin}; estimand: "
        f"{hypothesis.estimand}.)"
    )


def _size(arm: PlannedArm) -> str:
    low, high = min(arm.by_concept), max(arm.by_concept)
    per = f"{low}" if low == high else f"{low} to {high}"
    over = f", on {len(arm.by_concept)} concepts {per} each" if len(arm.by_concept) > 1 else ""
    part = "" if arm.part is None else f" ({arm.part})"
    rounds = f", in up to {arm.rounds} rounds" if arm.rounds > 1 else ""
    return f"{arm.arm}{part}: {plural(arm.fewest, 'trial')} in {plural(arm.cells, 'cell')}{over}{rounds}"


def _counts(frozen: FrozenPlan, arm: str) -> ConceptCounts:
    """Return no successes in one cell of an arm; of its confirming part where there is one."""
    mine = [a for a in frozen.arms if a.arm == arm][-1]
    return ConceptCounts([0] * len(mine.by_concept), mine.by_concept)


def _excluded(frozen: FrozenPlan, hypothesis: Hypothesis) -> Iterator[str]:
    search = search_of(frozen.spec)
    if search is not None:
        yield (
            "The run searches over the dose: where trials are is chosen by what was seen, so bounds for a fixed number "
            "of trials don't hold. Each cell's rate is bounded at any moment, at "
            f"{percent(search[0].confidence)} for all cells that could be asked at once."
        )
        return
    rule = stopping_of(frozen.spec)
    if rule is not None:
        yield (
            "The run may stop early, so bounds for a fixed number of trials don't hold: a concept's rate is bounded at "
            f"any moment, until it is shown to be at most {percent(rule.rate)} or above it "
            f"({percent(rule.confidence)} for all cells of {rule.arm} at once)."
        )
        return
    counts = [_counts(frozen, arm) for arm in hypothesis.arms]
    yield from null_bound(counts[0]).sentences
    if len(counts) > 1:
        found = difference(*counts, estimand=hypothesis.estimand)
        if not found.said:
            yield f"A difference of {hypothesis.estimand} can't be bounded: {found.needs}."
            return
        yield (
            f"Without a success in {hypothesis.arms[0]} and {hypothesis.arms[1]}, differences above "
            f"{percent(found.high)} of {hypothesis.estimand} are excluded."
        )


def _block(value: Any) -> str:
    return f"depth {value['fraction']:.4g}" if isinstance(value, Mapping) else str(value)
