"""Rules on what would explain a result away that rest on no other arm: on the injected trials and their doses alone."""

from __future__ import annotations

import pandas as pd

from .arms_compared import counted
from .explaining_rules import Evidence, Task
from .finding import Finding, above_margin, remaining
from .live import LIVE_BY, live_cells
from .same_trials import same_trials

#: Above this share of cells whose dose is not alive, a report can't be of the concept.
MOST_DEAD = 0.5
#: Above this share of cells whose vector reads out as its word, naming may be the steering.
MOST_READ_OUT = 0.5


def parrot(evidence: Evidence) -> Finding:
    """Say whether the concept is named without a thought being affirmed."""
    frame = evidence.frame
    both = frame.assign(identifies=frame["identifies"] & frame["affirmative"])
    by = counted((both, evidence.arm, "identifies"))
    if by is None:
        return _not_run("parrot", "naming", "verdicts on affirming and naming", evidence.margin)
    words = ("repeats the concept without affirming: a parrot", "names the concept in replies that affirm")
    return above_margin("parrot", evidence, by, words)


def mismatched_names(evidence: Evidence) -> Finding:
    """Say whether the same replies pass as often for naming another concept of the run."""
    name, margin = "another concept", evidence.margin
    other = evidence.mismatched
    missing = "verdicts on another concept of the run, of a blind judge (judge --asked mismatched)"
    if other is None or other.empty or not evidence.blinded:
        return _not_run(name, "naming", missing, margin)
    mine = evidence.mine.assign(other=_by_trial(evidence.mine, other, "identifies"))
    found = same_trials(mine, "identifies", "other", margin=margin, confidence=evidence.confidence)
    if found is None:
        return _not_run(name, "naming", missing, margin)
    words = (
        "names another concept as often: a judge that finds any concept, or replies that name any",
        "names the concept more often than another one in the same replies",
    )
    return remaining(name, evidence, "naming", found, words=words)


def observer(evidence: Evidence) -> Finding:
    """Say whether a reader of the text before the name would name the concept, too.

    An observer that guesses among k concepts is right on 1 in k trials, which accounts for nothing: what is beyond it
    is held against the margin less that part of it.
    """
    name = "observer"
    how = "a reader of the text (sweep.measure(measures.Observer(concepts)))"
    mine, told = evidence.mine, evidence.observed
    if told is None or told.empty:
        return _not_run(name, "naming", how, evidence.margin)
    observed = _by_trial(mine, told, "observed")
    scored = mine["identifies"].notna()
    lacking, among = int((observed.isna() & scored).sum()), int(told["among"].min())
    if lacking or among < 2:
        which = f", on {lacking:,} of {int(scored.sum()):,} trials" if lacking else " of two concepts or more"
        return _not_run(name, "naming", how + which, evidence.margin)
    by = counted((mine.assign(identifies=mine["identifies"] & ~observed), evidence.arm, "identifies"))
    if by is None:
        return _not_run(name, "naming", "verdicts on naming", evidence.margin)
    words = (
        "names hardly more than a reader of the text before the name would: the text gives the concept away",
        "names the concept where the text before the name does not give it away",
    )
    return above_margin(name, evidence, by, words, evidence.margin * (1 - 1 / among))


def dose(evidence: Evidence, task: Task) -> Finding:
    """Say in how many cells (concept, layers, dose) of the injected trials the dose was not alive."""
    lacks = "the doses' effects (sweep.measure_effects)"
    cells, missing = _cells(evidence, "live", lacks)
    if missing:
        return _not_run("dose", task, missing, MOST_DEAD)
    dead = cells.count(False)
    words = f"dose not alive in {dead} of {len(cells)} cells"
    return Finding("dose", task, "holds" if dead > MOST_DEAD * len(cells) else "excluded", words, MOST_DEAD)


def reads_out(evidence: Evidence) -> Finding:
    """Say in how many cells of the injected trials the vector itself reads out as the concept's word."""
    name = "reads out"
    lacks = "vectors' ranks under the logit lens (sweep.measure_effects, on a backend with a lens of vectors)"
    cells, missing = _cells(evidence, "reads_out", lacks)
    if missing:
        return _not_run(name, "naming", missing, MOST_READ_OUT)
    out = cells.count(True)
    words = f"the vector reads out as the word in {out} of {len(cells)} cells"
    if out > MOST_READ_OUT * len(cells):
        return Finding(name, "naming", "holds", f"naming may be the steering: {words}", MOST_READ_OUT)
    return Finding(name, "naming", "excluded", words, MOST_READ_OUT)


def _cells(evidence: Evidence, column: str, lacks: str) -> tuple[list[bool], str]:
    """Return what the effects tell of each cell of the injected trials, and what is missing for it."""
    if evidence.effects is None or not len(evidence.effects) or evidence.mine.empty:
        return [], lacks
    told = live_cells(evidence.mine, evidence.effects).groupby(list(LIVE_BY), dropna=False)[column].first()
    unknown = int(told.isna().sum())
    if unknown:
        return [], lacks + (f", in {unknown} of {len(told)} cells" if unknown < len(told) else "")
    return [bool(value) for value in told], ""


def _by_trial(trials: pd.DataFrame, told: pd.DataFrame, column: str) -> pd.Series:
    """Return what another table tells of each trial, NA where it has none."""
    known = dict(zip(told["trial"], told[column], strict=True))
    return pd.Series([known.get(trial, pd.NA) for trial in trials["trial"]], trials.index, dtype="boolean")


def _not_run(rule: str, task: Task, missing: str, threshold: float) -> Finding:
    return Finding(rule, task, "not run", missing, threshold)
