"""Trial records as pandas frames, with dtypes that keep "not applicable" apart from "false"."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .boundaries import checked
from .conditions import Condition
from .digests import digest
from .errors import AnalysisError, explain
from .injection import Receipt
from .measures.readings import FloatArray, Reading
from .trials import TrialRecord
from .untrusted import encodable
from .verdicts import CRITERIA, FURTHER, Asked, Verdict, fits_rubric

_CONDITION = {
    "scaffold": "string",
    "arm": "string",
    "concept": "string",
    "layers": "string",
    "magnitude": "float64",
    "unit": "string",
    "span": "string",
    "beside": "string",
    "model": "string",
    "layer": "Int64",
    "truth": "string",
    "effect": "string",
    "resolved": "string",
    "asked": "string",
}
_TRIAL = {
    "part": "string",
    "item": "string",
    "draw": "Int64",
    "trial": "string",
    "model_fingerprint": "string",
    "backend": "string",
    "seed": "Int64",
    "temperature": "float64",
    "reply": "string",
    "reasoning": "string",
    "reply_tokens": "Int64",
    "finish_reason": "string",
    "source": "string",
    "steers": "Int64",
    "prompt_positions": "Int64",
    "generation_positions": "Int64",
    "mean_ratio": "float64",
    "max_ratio": "float64",
}
_VERDICT = {
    "judge": "string",
    "rubric": "string",
    "judge_model": "string",
    "judged_concept": "string",
    "judged": "string",
    "ground": "string",
    "unscored": "string",
    "strict": "boolean",
}
#: The columns of every frame of trials with their dtypes, but for criteria (``boolean``) and readings (``float64``).
COLUMNS = {**_CONDITION, **_TRIAL, **_VERDICT}

NOT_JUDGED = "not judged"
_NO_RECEIPT = (None, None, None, None)


@checked(AnalysisError)
def records_frame(
    records: Iterable[TrialRecord],
    judge: str | None = None,
    rubric: str | None = None,
    *,
    repeats: bool = False,
    asked: Asked = "own",
) -> pd.DataFrame:
    """Return one row per trial, with the verdict of one judge.

    Args:
        records: the trials.
        judge: the judge whose verdicts are used; None where each trial has only one verdict.
        rubric: the same for the rubric.
        repeats: also the rows that list another trial's draw again (:attr:`TrialRecord.repeat_of`). They are no
            further trials: with them a rate is that of a published table, and its interval is too narrow.
        asked: whether the verdicts are those on the trial's own concept, or on another one of the run's.

    Returns:
        A frame with a fresh index:

        - the condition's columns (:attr:`~introspection_bench.conditions.Condition.columns`): ``layers`` is text, a
          band as ``18-22``; ``layer`` (``Int64``) the one block, NA for a band; ``magnitude`` (``float64``) 0 where
          nothing was steered; ``asked`` the concept that judges are asked about, a decoy where none was injected;
        - ``part``, ``selection`` or ``confirmation``, NA in a run without these;
        - ``item draw trial model_fingerprint backend seed temperature``, ``reply reasoning finish_reason``,
          ``reply_tokens``, NA where the source gives no token ids, and ``source``, where the record came from;
        - ``steers``, their number, and ``prompt_positions generation_positions mean_ratio max_ratio``, the receipt of
          the first steer at the condition's own layers (:func:`receipts_frame` has all);
        - ``judge rubric judge_model judged_concept judged ground``, and ``unscored``: NA on a scored trial, else the
          reason ("not judged" without a verdict);
        - the criteria, dtype ``boolean``: ``affirmative identifies immediate coherent`` always, ``strict``, then any
          other that one of the verdicts answers; NA without a verdict, or where the criterion does not apply;
        - readings with one axis, dtype ``float64``: ``measure.label``, NaN on trials without one. Where a measure of
          one name was read in several ways, ``measure[digest].label``.

    Raises:
        SpecError: several verdicts of a trial match ``judge`` and ``rubric``.
        AnalysisError: no trial has a verdict of ``judge`` and ``rubric``; the message names those there are.
    """
    records = list(records)
    if judge is not None or rubric is not None or asked != "own":
        _check_judged(records, judge, rubric, asked)
    return frame_with(records, lambda record: record.verdict(judge, rubric, asked=asked), repeats=repeats)


def frame_with(
    records: Iterable[TrialRecord], choose: Callable[[TrialRecord], Verdict | None], *, repeats: bool = False
) -> pd.DataFrame:
    """Return the frame of :func:`records_frame` with the verdicts that ``choose`` picks."""
    kept = [r for r in records if repeats or r.repeat_of is None]
    return _frame(kept, [choose(r) for r in kept])


@checked(AnalysisError)
def verdicts_frame(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """Return one row per trial and verdict, in the columns of :func:`records_frame`.

    A trial without verdict has one row. Repeats are among them (:attr:`TrialRecord.repeat_of`).
    """
    pairs = [(record, verdict) for record in records for verdict in record.verdicts or (None,)]
    return _frame([record for record, _ in pairs], [verdict for _, verdict in pairs])


def _frame(records: Sequence[TrialRecord], verdicts: Sequence[Verdict | None]) -> pd.DataFrame:
    columns = _condition_columns([r.condition for r in records])
    columns |= _columns(_TRIAL, map(_trial_row, records))
    columns |= _columns(_VERDICT, map(_verdict_row, verdicts))
    criteria = {c: [None if v is None else v.answers.get(c) for v in verdicts] for c in _criteria(verdicts)}
    answered = {c: pd.array(values, dtype="boolean") for c, values in criteria.items()}
    strict = columns.pop("strict")
    answered = {c: answered.pop(c) for c in CRITERIA} | {"strict": strict} | answered
    return pd.DataFrame({**columns, **answered, **_readings(records)})


@checked(AnalysisError)
def receipts_frame(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """Return one row per steer and trial, in the order of the trial's key.

    Columns: ``trial``, ``steer`` (0-based), what was asked for (``vector layer magnitude unit start stop``, absolute
    positions, ``stop`` NA to the end), and the receipt: ``prompt_positions generation_positions mean_ratio max_ratio``,
    NA where the source has none.
    """
    dtypes = {"trial": "string", "steer": "Int64", "vector": "string", "layer": "Int64", "magnitude": "float64"}
    dtypes |= {"unit": "string", "start": "Int64", "stop": "Int64"}
    dtypes |= {name: _TRIAL[name] for name in ("prompt_positions", "generation_positions", "mean_ratio", "max_ratio")}
    rows = []
    for record in records:
        trial, receipts = record.key.digest, record.receipts
        for number, s in enumerate(record.key.steers):
            receipt = receipts[number] if number < len(receipts) else None
            steered = (s.vector, s.layer, s.magnitude, s.unit, s.start, s.stop)
            rows.append((trial, number, *steered, *_receipt_row(receipt)))
    return pd.DataFrame(_columns(dtypes, rows))


@checked(AnalysisError)
def readings_frame(records: Iterable[TrialRecord], measure: str) -> pd.DataFrame:
    """Return the readings of one measure in long form: a row for each trial and each place along the axes.

    Columns: ``trial``; ``read`` (which measure of that name, and by what: equal rows were read alike), ``read_by``
    (backend and dtype), ``same_model`` (False where other weights read than generated the reply); one for each axis
    with its label; ``value``. Join it with :func:`records_frame` on ``trial``.

    Raises:
        AnalysisError: no trial has a reading of that name; the message names those there are. Or readings of that name
            have different axes.
    """
    found = [(record, reading) for record in records for reading in record.readings]
    mine = [(record, reading) for record, reading in found if reading.measure == measure]
    axes = {tuple(reading.axes) for _, reading in mine}
    if len(axes) != 1:
        there = sorted({reading.measure for _, reading in found})
        raise AnalysisError(
            explain(
                "measure",
                required=f"one of {there}, whose readings have the same axes",
                got=f"{measure!r} with axes {sorted(axes)}" if axes else repr(measure),
                hint="sweep.measure makes readings." if not there else "",
            )
        )
    (names,) = axes
    sizes = [reading.values.size for _, reading in mine]
    shared = [
        (r.key.digest, _read_as(reading), f"{reading.backend} {reading.dtype}", reading.model == r.key.model)
        for r, reading in mine
    ]
    columns = _columns({"trial": "string", "read": "string", "read_by": "string", "same_model": "boolean"}, shared)
    where = np.repeat(np.arange(len(mine)), sizes)
    # The last axis runs fastest, as in the flat array.
    labels = [np.meshgrid(*map(_labels, reading.axes.values()), indexing="ij") for _, reading in mine]
    told = {n: np.concatenate([grid[i].ravel() for grid in labels]) for i, n in enumerate(names)}
    values = np.concatenate([reading.values.ravel() for _, reading in mine]).astype(np.float64)
    return pd.DataFrame({n: c.take(where) for n, c in columns.items()} | told | {"value": values})


def _labels(labels: Sequence[str | int]) -> Any:
    whole = all(isinstance(label, int) for label in labels)
    return np.array(labels, dtype=np.int64 if whole else object)


def _condition_row(condition: Condition) -> tuple[Any, ...]:
    told = condition.columns | {"asked": condition.asked}
    return tuple(encodable(v) if isinstance(v := told[name], str) else v for name in _CONDITION)


def _condition_columns(conditions: Sequence[Condition]) -> dict[str, Any]:
    # Trials of one condition share the object, so that its columns are made once.
    places: dict[int, int] = {}
    rows: list[tuple[Any, ...]] = []
    codes = np.empty(len(conditions), dtype=np.intp)
    for number, condition in enumerate(conditions):
        place = places.setdefault(id(condition), len(rows))
        if place == len(rows):
            rows.append(_condition_row(condition))
        codes[number] = place
    return {name: values.take(codes) for name, values in _columns(_CONDITION, rows).items()}


def _trial_row(record: TrialRecord) -> tuple[Any, ...]:
    key, reply = record.key, record.reply.parted
    return (
        record.trial.part,
        _text(record.trial.item),
        record.trial.draw,
        key.digest,
        _text(key.model),
        _text(key.backend),
        record.seed,
        key.sampling.temperature,
        encodable(reply.text),
        _text(reply.reasoning),
        len(record.reply.token_ids) if record.reply.token_ids or not record.reply.text else None,
        reply.finish_reason,
        encodable(record.source),
        len(key.steers),
        *_receipt_row(own_receipt(record)),
    )


def own_receipt(record: TrialRecord) -> Receipt | None:
    """Return the receipt of the first steer at the condition's own layers and dose; of the first of all without one."""
    receipts = record.receipts
    if len(receipts) < 2:
        return receipts[0] if receipts else None
    layers, dose = record.condition.layers, record.condition.dose
    for steer, receipt in zip(record.key.steers, receipts, strict=False):
        if steer.layer in layers and (dose is None or (steer.magnitude, steer.unit) == (dose.magnitude, dose.unit)):
            return receipt
    return receipts[0]


def _receipt_row(receipt: Receipt | None) -> tuple[Any, ...]:
    if receipt is None:
        return _NO_RECEIPT
    return receipt.prompt_positions, receipt.generation_positions, receipt.mean_ratio, receipt.max_ratio


def _verdict_row(verdict: Verdict | None) -> tuple[Any, ...]:
    if verdict is None:
        return (None, None, None, None, None, None, NOT_JUDGED, None)
    return (
        encodable(verdict.judge),
        encodable(verdict.rubric),
        _text(verdict.judge_model),
        encodable(verdict.concept),
        verdict.judged,
        verdict.ground,
        _text(verdict.unscored),
        verdict.strict,
    )


def _text(value: str | None) -> str | None:
    return None if value is None else encodable(value)


def _criteria(verdicts: Iterable[Verdict | None]) -> tuple[str, ...]:
    """Return the criteria that verdicts answer: the four first and always, then the built-in others, then the rest."""
    # Verdicts of one rubric answer alike: most mappings bring nothing new.
    keys = dict.fromkeys(tuple(v.answers) for v in verdicts if v is not None)
    there = dict.fromkeys(name for names in keys for name in names)
    return tuple(dict.fromkeys([*CRITERIA, *(c for c in FURTHER if c in there), *there]))


def _columns(dtypes: dict[str, str], rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Return rows, each in the order of ``dtypes``, as columns of these."""
    turned = list(zip(*rows, strict=True)) or [()] * len(dtypes)
    return {
        name: np.array(values, dtype=np.float64) if kind == "float64" else pd.array(values, dtype=kind)  # type: ignore[call-overload]  # the stubs take literals alone
        for (name, kind), values in zip(dtypes.items(), turned, strict=True)
    }


def _readings(records: Sequence[TrialRecord]) -> dict[str, FloatArray]:
    """Return the readings with one axis as columns over all records."""
    found: dict[tuple[str, str], dict[tuple[str | int, ...], list[tuple[int, FloatArray]]]] = {}
    for number, record in enumerate(records):
        for reading in record.readings:
            if len(reading.axes) != 1:
                continue
            way = (reading.measure, _read_as(reading))
            (labels,) = reading.axes.values()
            found.setdefault(way, {}).setdefault(labels, []).append((number, reading.values))
    names = [measure for measure, _ in found]
    columns: dict[str, FloatArray] = {}
    for (measure, read), by_labels in found.items():
        name = measure if names.count(measure) == 1 else f"{measure}[{read}]"
        for labels, rows in by_labels.items():
            where, values = np.array([n for n, _ in rows]), np.stack([v for _, v in rows])
            for place, label in enumerate(labels):
                column = columns.setdefault(f"{name}.{label}", np.full(len(records), np.nan))
                column[where] = values[:, place]
    return columns


def _read_as(reading: Reading) -> str:
    """Return eight digits that tell apart what was read, and by what."""
    return _short_digest(reading.measure_digest, reading.model, reading.backend, reading.numerics, reading.dtype)


@functools.lru_cache  # the readings of a run were read in a few ways
def _short_digest(*told: str | int) -> str:
    return digest("read_as", 1, list(told))[:8]


def _check_judged(records: Sequence[TrialRecord], judge: str | None, rubric: str | None, asked: Asked) -> None:
    there = {(v.judge, v.rubric) for record in records for v in record.verdicts if v.asked == asked}
    if not any(judge in (None, j) and fits_rubric(r, rubric) for j, r in there):
        raise AnalysisError(
            explain(
                "judge, rubric",
                required=f"one of {sorted(f'{j}/{r}' for j, r in there)}" if there else "a run that was judged",
                got=f"judge {judge!r}, rubric {rubric!r}, asked {asked!r}",
                hint="Name a judge whose verdicts there are."
                if there
                else f"introspection-bench judge RUN{'' if asked == 'own' else f' --asked {asked}'}",
            )
        )
