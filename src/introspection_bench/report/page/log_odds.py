"""Log-odds of yes at the answer, arm by arm: without a judge, before a word is sampled."""

from __future__ import annotations

import math

import pandas as pd

from ...analysis.contrasts import ArmContrast, contrast
from ...analysis.log_odds import log_odds_by_arm, log_odds_frame, log_odds_sentence, tells_yes_no
from ...conditions import INJECTED, NO_QUESTIONS
from ...errors import AnalysisError
from ...results import Results
from ..tables import Section, TextTable
from .one_way import one_way

#: The heading, and what docs/report.md calls it.
TITLE = "Log-odds of yes"
_COLUMNS = ("Arm", "trials", "log-odds", "unsteered", "change", "yes and no together", "injected less it, in change")


def log_odds_section(results: Results) -> Section | None:
    """Return the mean log-odds of each arm, beside the same prompts unsteered; None where they were not read."""
    sentences, tables = [], []
    for told, part in one_way(results, tells_yes_no):
        frame = log_odds_frame(part)
        by_arm = log_odds_by_arm(frame)
        steered = by_arm[by_arm["steered"] & (by_arm["n_change"] > 0)]["arm"].tolist()
        apart = {arm: _against(part, arm) for arm in steered if arm != INJECTED and INJECTED in steered}
        own = [log_odds_sentence(frame), _unpaired(frame, by_arm), *_battery(steered, apart)]
        sentences += [f"{told}: {said}" if told else said for said in own if said]
        tables.append(_table(by_arm, apart, told))
    if not tables:
        return None
    opening = (
        "The log-odds of yes against no at the answer, in nats, were read before a word was sampled and need no judge. "
        "An arm's change is that from the very same prompts unsteered."
    )
    return Section(TITLE, [opening, *sentences], tables)


def _against(part: Results, arm: str) -> ArmContrast | None:
    try:
        (found,) = contrast(part, of=INJECTED, against=[arm], measure="log-odds")
    except AnalysisError:  # no cell that both have (other layers, doses or concepts), or no finite change in it
        return None
    return found


def _unpaired(frame: pd.DataFrame, by_arm: pd.DataFrame) -> str:
    lacking = int((by_arm["n"] - by_arm["n_change"]).sum())
    if not lacking:
        return ""
    return f"{lacking:,} of {len(frame):,} trials have no unsteered reading of their prompt beside them: no change."


def _battery(steered: list[str], apart: dict[str, ArmContrast | None]) -> list[str]:
    if INJECTED not in steered:
        return []
    if NO_QUESTIONS not in steered:
        return [
            "No question whose answer is no was read under the injection (the arm no_questions), so nothing says "
            "whether the injection moves the answer to any question towards yes."
        ]
    found = apart[NO_QUESTIONS]
    if found is None:
        return [
            "The injection and the questions whose answer is no "
            "share no cell with a change in both: they are not compared."
        ]
    return list(found.sentences)


def _table(by_arm: pd.DataFrame, apart: dict[str, ArmContrast | None], told: str) -> TextTable:
    rows = [
        (
            str(row["arm"]).replace("_", " "),
            f"{row['n']:,}",
            _signed(row["log_odds"]),
            _signed(row["unsteered"]) if row["steered"] else "–",
            _signed(row["change"]) if row["steered"] else "nothing steered",
            f"{row['joint']:.2g}",
            _apart(row["arm"], apart),
        )
        for row in sorted(by_arm.to_dict("records"), key=lambda row: row["arm"] != INJECTED)
    ]
    where = f"{told}: " if told else ""
    return TextTable(
        f"{where}Log-odds of yes, means over concepts in nats; of yes and no together the median probability. Injected "
        "less an arm: the difference of their changes in the cells that both have, of the median concept (of one "
        "concept that of its medians over prompts), with the 95 % interval over concepts like these",
        _COLUMNS,
        rows,
    )


def _apart(arm: str, apart: dict[str, ArmContrast | None]) -> str:
    if arm not in apart:
        return "–"
    found = apart[arm]
    if found is None:
        return "not in one cell"
    estimate = found.found[-1]
    if not estimate.said:
        return f"{_signed(estimate.estimate)} (no interval)"
    return f"{_signed(estimate.estimate)} ({_signed(estimate.low)} to {_signed(estimate.high)})"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.2f}".replace("-", "−")
