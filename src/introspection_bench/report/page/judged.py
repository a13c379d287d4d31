"""Whose verdicts a page is about, and the trials with them."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ...errors import AnalysisError, SpecError, explain
from ...frames import frame_with
from ...results import JudgeName, Results
from ...trials import TrialRecord
from ...verdicts import Verdict, fits_rubric


def choose_judge(results: Results, judge: str | None = None, rubric: str | None = None) -> JudgeName | None:
    """Return whose verdicts to use: of those that fit the names, the judge with the most; None without verdicts.

    Raises:
        AnalysisError: names were given and no verdict fits them.
    """
    own = [j for j in results.judges if j.asked == "own"]
    fitting = [j for j in own if judge in (None, j.judge) and fits_rubric(j.rubric, rubric)]
    if fitting:
        return fitting[0]
    if judge is None and rubric is None:
        return None
    raise AnalysisError(
        explain(
            "judge",
            required="a judge and rubric that gave verdicts here",
            got=f"{judge or 'any judge'}/{rubric or 'any rubric'}",
            hint=f"There are: {[str(j) for j in results.judges] or 'no verdicts at all'}.",
        )
    )


def verdict_frame(records: Iterable[TrialRecord], judge: JudgeName | None) -> pd.DataFrame:
    """Return one row per trial with the verdict of exactly this judge, rubric, judge model and blinding.

    Raises :class:`~introspection_bench.errors.SpecError` where a trial has several of them.
    """

    def choose(record: TrialRecord) -> Verdict | None:
        found = [v for v in record.verdicts if judge is not None and judge.gave(v)]
        if len(found) > 1:
            raise SpecError(
                explain(
                    f"verdicts of {record.trial}",
                    required=f"one of {judge}",
                    got=f"{len(found)}, about {sorted({v.concept for v in found})}",
                    hint="Leave out of the records what is not to be reported.",
                )
            )
        return found[0] if found else None

    return frame_with(records, choose)
