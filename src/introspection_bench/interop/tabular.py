"""Anybody's table of trials: which column holds what, what their arms are called, in which unit their doses are."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..arms import CONTROL, check_arm
from ..boundaries import checked, guarded
from ..digests import digest
from ..errors import ResultsFormatError, SpecError, explain
from ..freezing import frozen_mapping
from ..injection import Unit
from ..results import Results
from ..trials import CRITERIA, FURTHER, Arm, Reply, Sampling, SteerKey, TrialKey, TrialRecord, Verdict
from ..untrusted import check_once, lines, parse_json
from .unfolding import parquet_batches

#: What a column may hold. ``draw`` names the random numbers behind a reply: rows that share it, and the reply, are
#: one draw listed several times. ``unscored`` holds the reason for which a row has no verdict.
FIELDS = ("reply", "arm", "concept", "layer", "magnitude", "model", "scaffold", "draw", "unscored", *CRITERIA, *FURTHER)
UNKNOWN = "unknown"

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _checked_unit(value: str | Unit | None) -> Unit | None:
    return None if value is None else Unit.parse(value)


@guarded(SpecError)
@attrs.frozen
class TableLayout:
    """How somebody's table is read.

    Attributes:
        columns: our field -> their column; ``reply`` and ``arm`` are needed, the rest of :data:`FIELDS` may be there.
        arms: their word in the arm's column -> ``injected``, ``random``, ``control``, or the name of
            an arm of its own (:mod:`introspection_bench.arms`); every word must be listed.
        unit: of the column ``magnitude``; needed where there is one, since no table says it by itself.
        judge: whose verdicts the criteria's columns are; ``judge_model`` likewise.
        rubric: a name for what that judge was asked.
        required: what counts as success in that judge's verdicts.
        blinded: whether that judge was told no more than reply and concept.

    Raises :class:`SpecError` that names the argument.
    """

    columns: Mapping[str, str] = attrs.field(converter=frozen_mapping)
    arms: Mapping[str, str] = attrs.field(converter=frozen_mapping)
    unit: Unit | None = attrs.field(converter=_checked_unit, default=None)
    judge: str = "published"
    judge_model: str | None = None
    rubric: str = UNKNOWN
    required: tuple[str, ...] = CRITERIA
    blinded: bool = False

    def __attrs_post_init__(self) -> None:
        unknown = sorted(set(self.columns) - set(FIELDS))
        missing = [name for name in ("reply", "arm") if name not in self.columns]
        if unknown or missing:
            raise SpecError(
                explain(
                    "columns",
                    required=f"'reply' and 'arm', and otherwise some of {FIELDS}",
                    got=f"unknown {unknown}, missing {missing}",
                    hint="Written as reply=transcript,arm=condition: our field first, then the table's column.",
                )
            )
        if not self.arms:
            raise SpecError(
                explain(
                    "arms",
                    required="the table's words for its arms",
                    got=dict(self.arms),
                    hint="Written as clean=control,steered=injected: the table's word first, then ours.",
                )
            )
        for arm in self.arms.values():
            check_arm(arm)
        if ("magnitude" in self.columns) != (self.unit is not None):
            raise SpecError(
                explain(
                    "unit",
                    required="a unit exactly where a column holds magnitudes",
                    got=f"unit {self.unit}, columns {sorted(self.columns)}",
                    hint=f"State one of {[u.value for u in Unit]} (docs/design.md); it is never guessed.",
                )
            )


@checked(ResultsFormatError)
def read_table(path: str | Path, layout: TableLayout) -> Results:
    """Return the trials of a CSV, JSONL or Parquet table, one for each row.

    A row whose ``draw`` and reply another row of its model, scaffold and arm had before is a repetition
    (:attr:`TrialRecord.repeat_of`): it is kept, and no rate counts it. Token ids, receipts and sampling are not known
    of such trials; the default :class:`Sampling` stands in their keys and means nothing.

    Raises :class:`ResultsFormatError` that names row and column, and :class:`SpecError` for a layout that does not
    fit the table's columns.
    """
    path = Path(path)
    return records_of(_rows(path), layout, path)


def records_of(rows: Iterable[tuple[int, Mapping[str, Any]]], layout: TableLayout, path: Path) -> Results:
    """Return numbered rows as trials; see :func:`read_table`."""
    records: list[TrialRecord] = []
    counts: dict[tuple[Any, ...], int] = {}
    draws: dict[tuple[Any, ...], str] = {}
    for number, row in rows:
        record = _record(_Row(row, layout, f"{path}: row {number}"), counts)
        draw = row.get(layout.columns.get("draw", ""))
        if draw not in (None, ""):
            same = (record.model_name, record.scaffold, record.arm, str(draw), record.reply.text)
            first = draws.setdefault(same, record.key.digest)
            record = record if first == record.key.digest else attrs.evolve(record, repeat_of=first)
        records.append(record)
    if not records:
        raise ResultsFormatError(explain(str(path), required="at least one row", got="none", hint="It may be cut off."))
    judged = f"{layout.judge}/{layout.rubric}"
    spec = {"unit": layout.unit and layout.unit.value, "judge": judged, "columns": dict(layout.columns)}
    return Results(path.stem, records, spec, str(path), _notes(records))


def _notes(records: list[TrialRecord]) -> tuple[str, ...]:
    notes = ["Token ids, seeds, sampling, receipts and the model's fingerprint are not in the file."]
    repeated = sum(r.repeat_of is not None for r in records)
    if repeated:
        notes.append(f"{repeated} of {len(records)} rows list a draw again; rates count each draw once.")
    return tuple(notes)


def _record(row: _Row, counts: dict[tuple[Any, ...], int]) -> TrialRecord:
    arm, concept = row.arm(), row.text("concept")
    layer, magnitude = row.whole("layer"), row.number("magnitude")
    model, scaffold = row.text("model") or UNKNOWN, row.text("scaffold") or UNKNOWN
    injected = arm != CONTROL
    cell = (model, scaffold, arm, *((concept, layer, magnitude) if injected else ()))
    index = counts[cell] = counts.get(cell, -1) + 1
    unit = row.layout.unit
    steer = SteerKey(
        vector=digest("published_vector", 1, [model, layer, arm, concept]),
        layer=layer,
        magnitude=magnitude or 0.0,
        unit=None if unit is None else unit.value,
        start=None,
        stop=None,
    )
    key = TrialKey(
        model=digest("published_model", 1, [model]),
        backend=UNKNOWN,
        numerics=0,
        prompt=digest("published_prompt", 1, [scaffold]),
        steers=(steer,) if injected else (),
        sampling=Sampling(),
        draw=index,
    )
    return TrialRecord(
        key=key,
        arm=arm,
        concept=concept,
        scaffold=scaffold,
        model_name=model,
        reply=Reply(row.needed("reply"), (), "unknown").parted,
        verdicts=_verdicts(row, concept),
        source=row.where,
        span=UNKNOWN if injected else None,
        scaffold_digest=digest("published_wording", 1, [scaffold]),
    )


def _verdicts(row: _Row, concept: str | None) -> tuple[Verdict, ...]:
    layout = row.layout
    answers: dict[str, Any] = {name: row.truth(name) for name in (*CRITERIA, *FURTHER) if name in layout.columns}
    unscored = row.text("unscored")
    if not answers and unscored is None:
        return ()
    return (
        Verdict(
            judge=layout.judge,
            rubric=layout.rubric,
            rubric_digest=digest("published_rubric", 1, layout.rubric),
            concept=concept or "",
            judge_model=layout.judge_model,
            blinded=layout.blinded,
            required=layout.required,
            unscored=unscored,
            **({} if unscored else answers),
        ),
    )


@attrs.frozen
class _Row:
    data: Mapping[str, Any]
    layout: TableLayout
    where: str

    def wrong(self, field: str, required: str, got: object) -> ResultsFormatError:
        column = self.layout.columns[field]
        return ResultsFormatError(
            explain(f"{self.where}, column {column!r} ({field})", required=required, got=got, hint="Mend the row.")
        )

    def value(self, field: str) -> Any:
        """The cell, None where the field has no column or the cell is empty."""
        column = self.layout.columns.get(field)
        if column is None:
            return None
        if column not in self.data:
            raise SpecError(
                explain("columns", required=f"columns of {self.where}: {sorted(self.data)}", got=column, hint="")
            )
        found = self.data[column]
        return None if found == "" and field != "reply" else found

    def text(self, field: str) -> str | None:
        found = self.value(field)
        if found is not None and not isinstance(found, str):
            raise self.wrong(field, "text", found)
        return found

    def needed(self, field: str) -> str:
        found = self.text(field)
        if found is None:
            raise self.wrong(field, "text", "nothing")
        return found

    def arm(self) -> Arm:
        word = self.needed("arm")
        if word not in self.layout.arms:
            raise self.wrong("arm", f"one of {sorted(self.layout.arms)}, as arms says", word)
        return self.layout.arms[word]

    def number(self, field: str) -> float | None:
        found = self.value(field)
        if found is None:
            return None
        try:
            value = float(found) if isinstance(found, str | int | float) and not isinstance(found, bool) else math.nan
        except (ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise self.wrong(field, "a finite number", found)
        return value

    def whole(self, field: str) -> int | None:
        found = self.number(field)
        if found is None:
            return None
        if found != int(found) or found < 0:
            raise self.wrong(field, "a whole number >= 0", found)
        return int(found)

    def truth(self, field: str) -> bool | None:
        found = self.value(field)
        if found is None or isinstance(found, bool):
            return found
        known = _TRUTH.get(str(found).strip().lower())
        if known is None:
            raise self.wrong(field, "true or false", found)
        return known


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    kinds = {".csv": _csv_rows, ".jsonl": jsonl_rows, ".parquet": _parquet_rows}
    if path.suffix not in kinds:
        raise ResultsFormatError(
            explain(str(path), required=f"a file ending in {sorted(kinds)}", got=path.name, hint="")
        )
    return kinds[path.suffix](path)


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = (line.decode() for line in lines(path))
        table = csv.DictReader(text, strict=True)
        check_once(table.fieldnames or ())
        for number, row in enumerate(table, 2):
            if None in row or None in row.values():
                raise _unreadable(f"{path}: row {number}", "as many cells as there are columns")
            yield number, row
    except ResultsFormatError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(str(path), str(error)) from error


def jsonl_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the objects of a JSONL file with their line numbers; raises :class:`ResultsFormatError`."""
    try:
        for number, line in enumerate(lines(path), 1):
            if line.strip():
                row = parse_json(line)
                if not isinstance(row, dict):
                    raise _unreadable(f"{path}: row {number}", "not a JSON object")
                yield number, row
    except ResultsFormatError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), str(error)) from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow as pa

    number = 0
    try:
        for batch in parquet_batches(path):
            yield from enumerate(batch.to_pylist(), number)
            number += len(batch)
    except ResultsFormatError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(str(path), str(error)) from error


def _unreadable(where: str, got: str) -> ResultsFormatError:
    return ResultsFormatError(explain(where, required="a readable table", got=got, hint="It may be cut off."))
