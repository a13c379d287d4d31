"""The page's first screen on what would explain the result away: the controls beside it, and the verdict in words."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pandas as pd

from ...analysis.arms_compared import counted, held_against
from ...analysis.binomial import percent
from ...analysis.by_concept import ByConcept
from ...analysis.contrast import points
from ...analysis.contrasts import ANSWERS
from ...analysis.explaining import Explained, explain_away
from ...analysis.identification import beyond_observer
from ...conditions import INJECTED, injected_first
from ...effects import Effects
from ...results import JudgeName, Results
from ...verdicts import fits_rubric
from ..tables import Section, TextTable
from .judged import verdict_frame
from .naming import OBSERVER
from .one_way import one_way

#: The heading, and what docs/explaining_rules.md calls it.
TITLE = "What would explain it away"
#: The largest difference of rates that counts as none on a page.
MARGIN = 0.1
_DECIDED = {"holds": "explains it", "excluded": "does not explain it", "not decided": "not decided"}


def answering(results: Results, chosen: JudgeName | None) -> JudgeName | None:
    """Return whose verdicts on answers by yes or no stand beside a judge's: its own, else those of most trials."""
    there = [j for j in results.judges if fits_rubric(j.rubric, ANSWERS) and j.asked == "own"]
    own = [j for j in there if chosen is not None and (j.judge, j.model) == (chosen.judge, chosen.model)]
    return next(iter([*own, *there]), None)


@attrs.frozen(eq=False)
class Told:
    """What a run tells that explanations rest on, by one judge; see :func:`explain_away` for each."""

    frame: pd.DataFrame
    answers: pd.DataFrame | None = None
    effects: Effects | None = None
    mismatched: pd.DataFrame | None = None
    observed: pd.DataFrame | None = None
    blinded: bool = True

    def explained(self, *, margin: float = MARGIN, confidence: float = 0.95) -> tuple[Explained, ...]:
        """Return what would explain the reports away."""
        return explain_away(
            self.frame,
            self.answers,
            self.effects,
            mismatched=self.mismatched,
            observed=self.observed,
            margin=margin,
            confidence=confidence,
            blinded=self.blinded,
        )


def told_by(results: Results, chosen: JudgeName | None, frame: pd.DataFrame | None = None) -> Told:
    """Return what a run tells by a judge's verdicts, with its own on other concepts and what observers name beside.

    ``frame`` holds the verdicts of ``chosen`` where the caller has them already.
    """
    answers = answering(results, chosen)
    second = None if chosen is None else attrs.evolve(chosen, asked="mismatched")
    return Told(
        verdict_frame(results, chosen) if frame is None else frame,
        None if answers is None else verdict_frame(results, answers),
        results.effects,
        verdict_frame(results, second) if second in results.judges else None,
        _observed(results),
        chosen is None or chosen.blinded,
    )


def _observed(results: Results) -> pd.DataFrame | None:
    """Return what observers name of each model's trials; of several, the one that read most of them, or came first."""
    found: dict[str, pd.DataFrame] = {}
    kept = [r for r in results.records if any(o.measure == OBSERVER for o in r.readings)]
    bare = attrs.evolve(results, records=[attrs.evolve(r, verdicts=()) for r in kept])
    for _, part in one_way(bare, lambda reading: reading.measure == OBSERVER):
        model, read = part.records[0].condition.model, beyond_observer(part.records)
        if model not in found or len(read) > len(found[model]):
            found[model] = read
    return pd.concat(found.values()) if found else None


def explained_section(told: Told, *, margin: float = MARGIN) -> Section | None:
    """Return the strict rate with its controls beside it and the verdicts; None where no injected trial is scored."""
    found = told.explained(margin=margin)
    if not found:
        return None
    said = [sentence for each in found for sentence in each.sentences]
    rests = (
        f"Where less than {margin * 100:.3g} points remain, with 95 % confidence, it is called as often; "
        "where an interval decides neither, nothing is claimed. The rules: the docs' page explaining_rules."
    )
    return Section(TITLE, [*said, rests], [_table(told.frame, told.answers, found, margin)])


def _table(frame: pd.DataFrame, answers: pd.DataFrame | None, found: Iterable[Explained], margin: float) -> TextTable:
    found = list(found)
    arms = injected_first(frame["arm"])
    rows = [_row(frame, answers, arm, found, margin) for arm in arms]
    return TextTable(
        "The strict rate with its controls beside it. Injected less an arm: strict rates in the cells that both have, "
        "in points, with the 95 % interval on these concepts",
        ("Arm", "affirmed", "named", "strict", "injected less it", "verdict"),
        rows,
    )


def _row(
    frame: pd.DataFrame, answers: pd.DataFrame | None, arm: str, found: Iterable[Explained], margin: float
) -> tuple[str, ...]:
    scaffolds = frame.loc[frame["arm"] == arm, "scaffold"]
    name = arm.replace("_", " ")
    if scaffolds.str.contains(":").any():  # another question, whose answer is no report
        says = None if answers is None or "says_yes" not in answers else counted((answers, arm, "says_yes"))
        return (name, f"says yes {_rate(says)}", "–", "–", "–", _verdict(arm, found))
    rates = [_rate(counted((frame, arm, outcome))) for outcome in ("affirmative", "identifies", "strict")]
    apart = None
    if arm != INJECTED:
        of = ((frame, INJECTED, "strict"), (frame, arm, "strict"))
        apart = held_against(*of, margin=margin, confidence=0.95)
    told = (
        "–"
        if apart is None
        else f"{_points(apart.these.estimate)} ({_points(apart.these.low)} to {_points(apart.these.high)})"
    )
    return (name, *rates, told, _verdict(arm, found))


def _points(share: float) -> str:
    return points(round(share, 3) + 0.0)


def _rate(by: ByConcept | None) -> str:
    if by is None:
        return "–"
    unscored = f", {by.unscored:,} unscored" if by.unscored else ""
    return f"{percent(by.counts.rate)} ({sum(by.counts.successes):,}/{sum(by.counts.trials):,}{unscored})"


def _verdict(arm: str, found: Iterable[Explained]) -> str:
    """Return what an arm's trials say of each task; a rule of several arms is decided by the one that explains most."""
    told = [
        f"{each.task}: {_DECIDED[decision]}"
        for each in found
        for finding in each.findings
        for name, decision in finding.by_arm
        if name == arm and decision in _DECIDED
    ]
    return "; ".join(dict.fromkeys(told)) or "–"
