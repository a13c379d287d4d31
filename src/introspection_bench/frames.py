"""Trial records as one pandas frame, with dtypes that keep "not applicable" apart from "false"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from .arms import BUILTIN, CONTROL, INJECTED
from .boundaries import checked
from .errors import AnalysisError, explain
from .trials import CRITERIA, FURTHER, TrialRecord, as_row
from .untrusted import encodable

#: What trials of one cell share (:attr:`introspection_bench.trials.TrialRecord.cell`).
CELL_COLUMNS = ("scaffold", "arm", "concept", "layer", "magnitude", "unit")

#: Everything a verdict says, in the order of every table: four criteria, all four at once, refusal, no verdict.
OUTCOMES = (*CRITERIA, "strict", "refused", "unscored")

_TEXT = (
    "trial",
    "model",
    "model_fingerprint",
    "backend",
    "scaffold",
    "arm",
    "concept",
    "unit",
    "span",
    "reply",
    "reasoning",
    "finish_reason",
    "judge",
    "rubric",
    "judge_model",
    "judged_concept",
    "judged",
    "ground",
    "unscored",
    "control_for",
    "source",
)
_WHOLE = ("layer", "trial_index", "seed", "reply_tokens", "prompt_positions", "generation_positions")
_REAL = ("magnitude", "temperature", "mean_ratio", "max_ratio")
_TRUTH = (*CRITERIA, "strict", *FURTHER)
_DTYPES = {
    **dict.fromkeys(_TEXT, "string"),
    **dict.fromkeys(_WHOLE, "Int64"),
    **dict.fromkeys(_REAL, "float64"),
    **dict.fromkeys(_TRUTH, "boolean"),
}


@checked(AnalysisError)
def records_frame(
    records: Iterable[TrialRecord], judge: str | None = None, rubric: str | None = None, *, repeats: bool = False
) -> pd.DataFrame:
    """Return one row per trial, with the verdict of one judge.

    Args:
        records: the trials.
        judge: the judge whose verdicts are used; None where each trial has only one verdict.
        rubric: the same for the rubric.
        repeats: also the rows that list another trial's draw again (:attr:`TrialRecord.repeat_of`). They are no
            further trials: with them a rate is that of a published table, and its interval is too narrow.

    Returns:
        A frame with a fresh index and, besides the fields of :func:`introspection_bench.trials.as_row`:

        - ``affirmative identifies immediate coherent strict refused names_as_thought``: dtype ``boolean``; NA where
          the judge gave no verdict, or where the criterion does not apply.
        - ``unscored``: dtype ``string``; NA on a scored trial, else the reason ("not judged" without a verdict).
        - ``concept``: the injected concept; NA on every control, so that the controls of a run form one cell.
          What a control stands against is in ``control_for``.
        - ``layer trial_index seed reply_tokens`` and the receipt's positions: ``Int64``; ``magnitude
          temperature mean_ratio max_ratio``: ``float64``; everything else ``string``.
        - ``reply_tokens`` is NA where the source gives no token ids; ``source`` says where the record came from.

    Raises:
        SpecError: several verdicts of a trial match ``judge`` and ``rubric``.
        AnalysisError: no trial has a verdict of ``judge`` and ``rubric``; the message names those there are.
    """
    records = list(records)
    if judge is not None or rubric is not None:
        _check_judged(records, judge, rubric)
    rows = []
    for record in records:
        if record.repeat_of is not None and not repeats:
            continue
        row = dict(as_row(record, record.verdict(judge, rubric)))
        row["control_for"] = row["concept"] if record.arm == CONTROL else None
        row["concept"] = None if record.arm == CONTROL else row["concept"]
        if not record.reply.token_ids and record.reply.text:
            row["reply_tokens"] = None
        row["source"] = encodable(record.source)
        rows.append(row)
    frame = pd.DataFrame(rows, columns=None if rows else list(_DTYPES))
    return frame.astype({name: dtype for name, dtype in _DTYPES.items() if name in frame.columns})


def _check_judged(records: Sequence[TrialRecord], judge: str | None, rubric: str | None) -> None:
    there = {(v.judge, v.rubric) for record in records for v in record.verdicts}
    if not any(judge in (None, j) and rubric in (None, r) for j, r in there):
        raise AnalysisError(
            explain(
                "judge, rubric",
                required=f"one of {sorted(f'{j}/{r}' for j, r in there)}" if there else "a run that was judged",
                got=f"judge {judge!r}, rubric {rubric!r}",
                hint="Name a judge whose verdicts there are." if there else "introspection-bench judge RUN",
            )
        )


@checked(AnalysisError)
def injected(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with a concept's vector in them (the arm ``injected``, and no other)."""
    require_columns(frame, ["arm"])
    return frame[frame["arm"] == INJECTED]


@checked(AnalysisError)
def controls(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the control trials."""
    require_columns(frame, ["arm"])
    return frame[frame["arm"] == CONTROL]


@checked(AnalysisError)
def dosed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have a dose: neither controls, nor an arm of somebody's own that steered nothing."""
    require_columns(frame, ["arm", "layer", "unit"])
    stated = frame["arm"].isin(BUILTIN) | frame["layer"].notna() | frame["unit"].notna()
    return frame[stated & (frame["arm"] != CONTROL)]


@checked(AnalysisError)
def scored(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have a verdict."""
    require_columns(frame, ["unscored"])
    return frame[frame["unscored"].isna()]


@checked(AnalysisError)
def coherent(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that a judge found coherent."""
    require_columns(frame, ["coherent"])
    return frame[frame["coherent"].fillna(value=False)]


def require_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise :class:`AnalysisError` unless the frame has these columns."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise AnalysisError(
            explain(
                "frame",
                required=f"the columns {list(columns)}",
                got=f"none called {missing}",
                hint="Make the frame with records_frame or Results.frame.",
            )
        )


def check_grouping(frame: pd.DataFrame, by: Sequence[str]) -> None:
    """Raise :class:`AnalysisError` for columns that are not there, and for magnitudes pooled over units.

    A magnitude means nothing without its unit: groups by ``magnitude`` must also be groups by ``unit`` as soon
    as the frame holds two units.
    """
    require_columns(frame, by)
    if len(set(by)) < len(by):
        raise AnalysisError(explain("by", required="each column once", got=list(by), hint="Drop the duplicate."))
    units = sorted(frame["unit"].dropna().unique()) if "unit" in frame.columns else []
    if "magnitude" in by and "unit" not in by and len(units) > 1:
        raise AnalysisError(
            explain(
                "by",
                required="'unit' beside 'magnitude'",
                got=f"{list(by)} with the units {units}",
                hint="5 raw and 5 residual are different doses; group by both.",
            )
        )
