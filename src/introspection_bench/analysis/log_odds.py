"""Log-odds of yes at the answer: beside the same prompt unsteered, and beside questions whose answer is no."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..boundaries import checked
from ..conditions import NO_QUESTIONS, ordered
from ..errors import AnalysisError, explain
from ..frames import frame_with
from ..measures.readings import Reading
from ..trials import TrialRecord
from ..untrusted import encodable
from .selection import check_grouping, require_columns

#: Below this joint mass of yes and no the log-odds say little of what the model would say.
LEAST_JOINT = 0.5
#: What tells the cells apart in which arms are compared, the scaffold's base for the scaffold.
LOG_ODDS_BY = ("model", "base", "layers", "magnitude", "unit", "beside")
_TOLD = (
    "trial", "arm", "truth", "concept", "asked", "item", "scaffold", "layers", "magnitude", "unit", "beside", "model",
    "draw", "seed", "part",
)  # fmt: skip
_MEANS = ("log_odds", "unsteered", "change")


@checked(AnalysisError)
def log_odds_frame(records: Iterable[TrialRecord], measure: str = "yes_no") -> pd.DataFrame:
    """Return one row for each trial with log-odds at its answer, beside those of its own prompt unsteered.

    ``measure`` is the name of readings with one axis that has ``yes`` and ``no``, log-probabilities: those of
    :class:`~introspection_bench.measures.YesNo`, or of a ``TokenLogprobs`` with two such sets.

    Columns:

    - ``trial arm truth concept asked item scaffold layers magnitude unit beside model draw seed part`` as in
      :func:`~introspection_bench.analysis.records_frame`, and ``base``, the design's scaffold that an arm's own one
      was made from;
    - ``log_odds`` (nats, yes minus no), ``joint`` (the probability of both together, not its log), ``opening`` (that
      of openings that commit to neither, NaN where not read), ``entropy`` (nats, NaN where not read);
    - ``unsteered``: the mean log-odds of the very same prompt where the arm steers nothing, on ``n_unsteered`` trials
      of the run; where the run has none, what the reading itself found there without any steers (not on trials with
      steers beside the arm's own). ``change`` = ``log_odds`` - ``unsteered``, NaN without either. The distribution at
      the answer depends on the prompt and the steers alone, so trials of one prompt pair whatever their seeds;
    - ``read``: a number that trials of the same prompt and steers share: one pass, one value, however many draws.

    Raises:
        AnalysisError: no trial has such a reading, or one has several.
    """
    found = [(record, reading) for record in records if (reading := _reading(record, measure)) is not None]
    if not found:
        raise AnalysisError(
            explain(
                "records",
                required=f"trials with readings of {measure!r} that tell yes and no",
                got="none",
                hint="sweep.measure(measures.YesNo()), or introspection-bench measure RUN '{measure = \"yes_no\"}'.",
            )
        )
    kept = [record for record, _ in found]
    frame = frame_with(kept, lambda _: None, repeats=True)[list(_TOLD)]
    frame.insert(_TOLD.index("scaffold") + 1, "base", frame["scaffold"].str.split(":").str[0])
    read = [_numbers(reading) for _, reading in found]
    for name in ("log_odds", "joint", "opening", "entropy"):
        frame[name] = np.array([row[name] for row in read], dtype=np.float64)
    # Prompts of which no arm steers anything are known by what stands in the key: their digest and all other steers.
    prompt = pd.Series([f"{r.key.model} {r.key.prompt} {r.condition.beside}" for r in kept], index=frame.index)
    still = pd.Series([not r.condition.layers and r.condition.dose is None for r in kept], index=frame.index)
    clean = frame["log_odds"][still].groupby(prompt[still])
    # A reading of the prompt without any steers is what was asked for only where nothing else is steered beside.
    own = pd.Series([row["unsteered"] for row in read], index=frame.index, dtype=np.float64)
    own = own.where(frame["beside"].isna())
    frame["unsteered"] = prompt.map(clean.mean()).astype(np.float64).fillna(own)
    frame["n_unsteered"] = prompt.map(clean.size()).fillna(0).astype("Int64")
    frame["change"] = frame["log_odds"] - frame["unsteered"]
    steered = [(told, r.key.steers) for told, r in zip(prompt, kept, strict=True)]
    numbers = {told: number for number, told in enumerate(dict.fromkeys(steered))}
    frame["read"] = np.array([numbers[told] for told in steered], dtype=np.int64)
    return frame


@checked(AnalysisError)
def log_odds_contrast(
    frame: pd.DataFrame, arm: str = "injected", battery: str = NO_QUESTIONS, by: Sequence[str] = LOG_ODDS_BY
) -> pd.DataFrame:
    """Return how much more an arm moves the log-odds of its question than those of a battery, concept by concept.

    ``frame`` comes from :func:`log_odds_frame`. The difference in differences of a concept is (arm - the same prompt
    unsteered) - (battery - the same prompt unsteered), each a mean over the concept's trials in a cell of ``by``: where
    an injection makes the model say yes to anything it is near 0, however large the first difference is. Trials without
    their unsteered prompt don't count; concepts that one of the two lacks are left out.

    Columns: ``by``, ``concept``; ``n`` and ``log_odds`` (means of the arm as they are) and ``change``; ``n_battery``
    and ``battery_change``; ``did`` (nats). Means over concepts, with their intervals, are the caller's: concepts are
    the clusters.

    Raises:
        AnalysisError: a column is missing, or the arm or the battery has no trial with a difference.
    """
    require_columns(frame, ["arm", "asked", "log_odds", "change"])
    check_grouping(frame, [*by, "concept"])
    there = frame[frame["change"].notna()]
    there = there.assign(concept=there["concept"].fillna(there["asked"]))
    parts = {}
    for name in (arm, battery):
        mine = there[there["arm"] == encodable(name)]
        if mine.empty:
            raise AnalysisError(
                explain(
                    "arm, battery",
                    required=f"trials of {name!r} with their prompts unsteered beside them",
                    got=f"{int((frame['arm'] == encodable(name)).sum())} trials of it, none with its unsteered prompt",
                    hint="Run it with its clean arm (Questions(n, steered=False); Unsteered(n) for the scaffold).",
                )
            )
        grouped = mine.groupby([*by, "concept"], dropna=False, sort=False)
        parts[name] = grouped.agg(n=("change", "size"), log_odds=("log_odds", "mean"), change=("change", "mean"))
    second = parts[battery].drop(columns="log_odds").rename(columns={"n": "n_battery", "change": "battery_change"})
    table = parts[arm].reset_index().merge(second.reset_index(), on=[*by, "concept"], how="inner")
    table["did"] = table["change"] - table["battery_change"]
    return table


@checked(AnalysisError)
def log_odds_by_arm(frame: pd.DataFrame) -> pd.DataFrame:
    """Return each arm's mean log-odds of yes and their mean change from the same prompts unsteered.

    ``frame`` comes from :func:`log_odds_frame`. Means are over concepts (on arms without one those asked about), each
    weighing the same. Columns: ``arm``; ``n`` trials on ``concepts``; ``log_odds`` (nats); ``joint``, the median over
    trials of the probability of yes and no together; ``steered``, whether anything is steered: an arm that steers
    nothing is its own prompt unsteered, and its change none by construction; ``n_change``, how many trials have their
    prompt unsteered beside them, and of these ``unsteered`` and ``change`` (NaN without any). Raises
    :class:`AnalysisError` for a missing column.
    """
    require_columns(frame, ["arm", "concept", "asked", "layers", "unit", "beside", *_MEANS, "joint"])
    about = frame.assign(concept=frame["concept"].fillna(frame["asked"]).fillna(""))
    rows = []
    for arm in ordered(about["arm"]):
        mine = about[about["arm"] == arm]
        paired = mine[mine["change"].notna()]
        row = {"arm": arm, "n": len(mine), "concepts": mine["concept"].nunique()}
        row |= {"log_odds": _over_concepts(mine, "log_odds"), "joint": float(mine["joint"].median())}
        row |= {"steered": bool(mine[["layers", "unit", "beside"]].notna().any(axis=None)), "n_change": len(paired)}
        row |= {name: _over_concepts(paired, name) for name in ("unsteered", "change")}
        rows.append(row)
    return pd.DataFrame(rows)


@checked(AnalysisError)
def log_odds_sentence(frame: pd.DataFrame) -> str:
    """Return a sentence where the joint mass of yes and no is small on many trials; an empty one where it is not.

    It is small below :data:`LEAST_JOINT`; the sentence stands where that is so on any trial, and says on how many, and
    what share of the mass openings have there.
    """
    require_columns(frame, ["joint", "opening"])
    small = frame[frame["joint"] < LEAST_JOINT]
    if small.empty:
        return ""
    opening = small["opening"].median()
    told = "" if np.isnan(opening) else f'; openings such as "Oh" or "I" have {opening:.2f}'
    return (
        f"On {len(small)} of {len(frame)} trials yes and no together have less than {LEAST_JOINT} of the probability "
        f"at the answer (median there {small['joint'].median():.2g}{told}): the log-odds are those of words that the "
        "model would seldom say."
    )


def tells_yes_no(reading: Reading, measure: str = "yes_no") -> bool:
    """Return whether a reading is of this measure and has the log-probabilities of yes and of no."""
    return reading.measure == measure and len(reading.axes) == 1 and {"yes", "no"} <= set(_of(reading))


def _over_concepts(part: pd.DataFrame, column: str) -> float:
    return float(part.groupby("concept")[column].mean().mean())


def _reading(record: TrialRecord, measure: str) -> Reading | None:
    mine = [r for r in record.readings if tells_yes_no(r, measure)]
    if len(mine) > 1:
        raise AnalysisError(
            explain(
                f"readings of {measure!r}",
                required="one of each trial",
                got=f"{len(mine)} of {record.trial}, by {sorted({f'{r.backend} {r.dtype}' for r in mine})}",
                hint="Give records whose readings were read one way.",
            )
        )
    return mine[0] if mine else None


def _of(reading: Reading) -> tuple[Any, ...]:
    (labels,) = reading.axes.values()
    return labels


def _numbers(reading: Reading) -> dict[str, float]:
    told = dict(zip(_of(reading), reading.values.astype(np.float64), strict=True))
    yes, no = told["yes"], told["no"]
    return {
        "log_odds": yes - no,
        "joint": float(np.exp(np.logaddexp(yes, no))),
        "opening": float(np.exp(told.get("opening", np.nan))),
        "entropy": told.get("entropy", np.nan),
        "unsteered": told.get("unsteered_log_odds", np.nan),
    }
