"""Anybody's table of trials: which column holds what, what their arms are called, in which unit their doses are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import attrs

from ..boundaries import checked, guarded
from ..conditions import BUILTIN, RANDOMS, Condition, Truth, check_arm, parse_layers
from ..digests import digest
from ..doses import Dose, Unit
from ..errors import IntrospectionBenchError, ResultsFormatError, SpecError, explain
from ..freezing import frozen_mapping, frozen_tuple
from ..results import Results
from ..spans import Span
from ..trials import Reply, Sampling, SteerKey, Trial, TrialKey, TrialRecord
from ..verdicts import CRITERIA, Verdict, check_criterion
from .rows import table_rows

#: What a column may hold. ``draw`` names the random numbers behind a reply: rows that share it, and the reply, are
#: one draw listed several times. ``unscored`` holds the reason for which a row has no verdict.
FIELDS = (
    "reply",
    "arm",
    "truth",
    "concept",
    "asked",
    "item",
    "layers",
    "magnitude",
    "unit",
    "span",
    "model",
    "scaffold",
    "draw",
    "unscored",
)
UNKNOWN = "unknown"

T = TypeVar("T")

_YES_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _checked_unit(value: str | Unit | None) -> Unit | None:
    return None if value is None else Unit.parse(value)


@guarded(SpecError)
@attrs.frozen
class TableLayout:
    """How somebody's table is read.

    Attributes:
        columns: our field -> their column; ``reply`` and ``arm`` are needed, the rest of :data:`FIELDS` may be there.
            ``layers`` are written ``19``, ``18-22`` or ``4,8``; ``truth`` says ``injected``, ``nothing`` or ``other``.
        arms: their word in the arm's column -> ``injected``, ``random``, ``control``, or the name of
            an arm of its own (:mod:`introspection_bench.conditions`); every word must be listed.
        unit: of the column ``magnitude``; needed where there is one, unless a column ``unit`` says it.
        criteria: a criterion's name -> the column with the answers to it.
        success: the criteria that count as success in that judge's verdicts; to be stated where the table lacks some
            of ``strict4``'s four.
        judge: whose answers the criteria's columns are; ``judge_model`` likewise.
        rubric: a name for what that judge was asked.
        blinded: whether that judge was told no more than reply and concept.

    Raises :class:`SpecError` that names the argument.
    """

    columns: Mapping[str, str] = attrs.field(converter=frozen_mapping)
    arms: Mapping[str, str] = attrs.field(converter=frozen_mapping)
    unit: Unit | None = attrs.field(converter=_checked_unit, default=None)
    criteria: Mapping[str, str] = attrs.field(converter=frozen_mapping, factory=dict)
    success: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=CRITERIA)
    judge: str = "published"
    judge_model: str | None = None
    rubric: str = UNKNOWN
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
                    hint="Written as reply=transcript,arm=condition: our field first, then the table's column. What a "
                    "judge answered stands in criteria.",
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
        self._check_unit()
        self._check_criteria()

    def _check_unit(self) -> None:
        stated = (self.unit is not None) + ("unit" in self.columns)
        if stated != ("magnitude" in self.columns):
            raise SpecError(
                explain(
                    "unit",
                    required="a unit, or a column of units, exactly where a column holds magnitudes",
                    got=f"unit {self.unit}, columns {sorted(self.columns)}",
                    hint=f"State one of {[u.value for u in Unit]} (the docs' page design); it is never guessed.",
                )
            )

    def _check_criteria(self) -> None:
        for name in self.criteria:
            check_criterion(name)
        lacking = [name for name in self.success if name not in self.criteria]
        if self.criteria and (lacking or not self.success):
            raise SpecError(
                explain(
                    "success",
                    required=f"some of the table's criteria, {sorted(self.criteria)}",
                    got=list(self.success),
                    hint="State which answers make a reply count, as in success=('affirmative',).",
                )
            )


@checked(ResultsFormatError)
def read_table(path: str | Path, layout: TableLayout) -> Results:
    """Return the trials of a CSV, JSONL or Parquet table, one for each row.

    On arms where nothing was done (``truth`` is ``nothing``), a row's concept is the one that it stands against, and
    layer, dose and span are those of the injected trials beside it: they are dropped. A row whose ``draw`` and reply
    another row of its model, scaffold and arm had before is a repetition (:attr:`TrialRecord.repeat_of`): it is kept,
    and no rate counts it. Token ids, receipts and sampling are not known of such trials; the default
    :class:`Sampling` stands in their keys and means nothing.

    Raises :class:`ResultsFormatError` that names row and column, and :class:`SpecError` for a layout that does not
    fit the table's columns.
    """
    path = Path(path)
    return records_of(table_rows(path), layout, path)


def records_of(rows: Iterable[tuple[int, Mapping[str, Any]]], layout: TableLayout, path: Path) -> Results:
    """Return numbered rows as trials; see :func:`read_table`."""
    records: list[TrialRecord] = []
    alike: Counter[TrialKey] = Counter()
    draws: dict[tuple[Any, ...], str] = {}
    for number, data in rows:
        row = _Row(data, layout, f"{path}: row {number}")
        records.append(_repeated(_record(row, alike), row, draws))
    if not records:
        raise ResultsFormatError(explain(str(path), required="at least one row", got="none", hint="It may be cut off."))
    spec = {
        "unit": layout.unit and layout.unit.value,
        "judge": f"{layout.judge}/{layout.rubric}",
        "columns": dict(layout.columns),
        "criteria": dict(layout.criteria),
    }
    return Results(path.stem, records, spec, str(path), _notes(records))


def _repeated(record: TrialRecord, row: _Row, draws: dict[tuple[Any, ...], str]) -> TrialRecord:
    """Return the record, with the trial named whose draw it lists again."""
    draw = row.value("draw")
    if draw is None:
        return record
    same = (record.condition.model, record.scaffold, record.arm, str(draw), record.reply.text)
    first = draws.setdefault(same, record.key.digest)
    return record if first == record.key.digest else attrs.evolve(record, repeat_of=first)


def _notes(records: list[TrialRecord]) -> tuple[str, ...]:
    notes = ["Token ids, seeds, sampling, receipts and the model's fingerprint are not in the file."]
    repeated = sum(r.repeat_of is not None for r in records)
    if repeated:
        notes.append(f"{repeated} of {len(records)} rows list a draw again; rates count each draw once.")
    return tuple(notes)


def _record(row: _Row, alike: Counter[TrialKey]) -> TrialRecord:
    condition = _condition(row)
    item = row.text("item")
    key = TrialKey(
        model=digest("published_model", 1, [condition.model]),
        backend=UNKNOWN,
        numerics=0,
        prompt=digest("published_prompt", 2, [condition.scaffold, item]),
        steers=_steers(condition),
        sampling=Sampling(),
        draw=0,
    )
    draw = alike[key]
    alike[key] += 1
    return TrialRecord(
        trial=Trial(attrs.evolve(key, draw=draw), condition, item, draw),
        reply=Reply(row.needed("reply"), (), "unknown").parted,
        verdicts=_verdicts(row, condition.asked),
        source=row.where,
    )


def _condition(row: _Row) -> Condition:
    arm, stated = row.arm(), row.text("concept")
    truth, scaffold = row.truth(arm), row.text("scaffold") or UNKNOWN
    did_nothing = truth == "nothing"
    return Condition(
        arm=arm,
        scaffold=scaffold,
        concept=None if did_nothing or arm in RANDOMS else stated,
        asked=row.text("asked") or stated,
        layers=() if did_nothing else row.layers(),
        dose=None if did_nothing else row.dose(),
        span=None if did_nothing else row.span(),
        model=row.text("model") or UNKNOWN,
        wording=digest("published_wording", 1, [scaffold]),
        truth=truth,
    )


def _steers(condition: Condition) -> tuple[SteerKey, ...]:
    """Return one steer for each layer, None for an unknown one; none where nothing was added."""
    dose = condition.dose
    if condition.truth == "nothing" or (dose is not None and dose.is_null):
        return ()
    told = [condition.model, condition.arm, condition.concept or condition.asked]
    return tuple(
        SteerKey(
            vector=digest("published_vector", 2, [*told, layer]),
            layer=layer,
            magnitude=1.0 if dose is None else dose.magnitude,  # once whatever the source added
            unit=None if dose is None else dose.unit.value,
            start=None,
            stop=None,
        )
        for layer in condition.layers or (None,)
    )


def _verdicts(row: _Row, asked: str | None) -> tuple[Verdict, ...]:
    layout = row.layout
    unscored = row.text("unscored")
    if not layout.criteria and unscored is None:
        return ()
    return (
        Verdict(
            judge=layout.judge,
            rubric=layout.rubric,
            rubric_digest=digest("published_rubric", 1, layout.rubric),
            concept=asked or "",
            answers={} if unscored else {name: row.answer(column) for name, column in layout.criteria.items()},
            success=layout.success,
            judge_model=layout.judge_model,
            blinded=layout.blinded,
            unscored=unscored,
        ),
    )


@attrs.frozen
class _Row:
    data: Mapping[str, Any]
    layout: TableLayout
    where: str

    def cell(self, column: str) -> Any:
        """What stands in a column, None for an empty cell."""
        if column not in self.data:
            raise SpecError(
                explain("columns", required=f"columns of {self.where}: {sorted(self.data)}", got=column, hint="")
            )
        found = self.data[column]
        return None if found == "" else found

    def value(self, field: str) -> Any:
        """What stands in a field's column, None for an empty cell and where the field has no column."""
        column = self.layout.columns.get(field)
        return None if column is None else self.cell(column)

    def bad(self, column: str, required: str, got: object) -> ResultsFormatError:
        return ResultsFormatError(
            explain(f"{self.where}, column {column!r}", required=required, got=got, hint="Mend the row.")
        )

    def wrong(self, field: str, required: str, got: object) -> ResultsFormatError:
        return self.bad(self.layout.columns[field], f"{required} ({field})", got)

    def text(self, field: str) -> str | None:
        found = self.value(field)
        if found is not None and not isinstance(found, str):
            raise self.wrong(field, "text", found)
        return found

    def parsed(self, field: str, parse: Callable[[str], T]) -> T | None:
        """What one of our own classes makes of a text."""
        found = self.text(field)
        try:
            return None if found is None else parse(found)
        except IntrospectionBenchError as error:
            raise self.wrong(field, "what can be read", error) from error

    def needed(self, field: str) -> str:
        found = self.text(field)
        if found is None and field == "reply" and self.data[self.layout.columns[field]] == "":
            return ""  # a model may say nothing
        if found is None:
            raise self.wrong(field, "text", "nothing")
        return found

    def arm(self) -> str:
        word = self.needed("arm")
        if word not in self.layout.arms:
            raise self.wrong("arm", f"one of {sorted(self.layout.arms)}, as arms says", word)
        return self.layout.arms[word]

    def truth(self, arm: str) -> Truth:
        told = self.text("truth")
        known: Truth | None = BUILTIN.get(arm)
        if told is None:
            return known or "other"
        fitting = [word for word in get_args(Truth) if word == told and known in (None, word)]
        if not fitting:
            raise self.wrong("truth", f"{known!r} on the arm {arm!r}" if known else f"one of {get_args(Truth)}", told)
        found: Truth = fitting[0]
        return found

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

    def dose(self) -> Dose | None:
        magnitude = self.number("magnitude")
        if magnitude is None:
            return None
        unit = self.layout.unit or self.parsed("unit", Unit.parse)
        if unit is None:
            raise self.wrong("unit", "the unit of the magnitude", "nothing")
        return Dose(magnitude, unit)

    def layers(self) -> tuple[int, ...]:
        found = self.value("layers")
        if isinstance(found, float) and found.is_integer():  # as frames have whole numbers beside empty cells
            found = int(found)
        text = str(found) if type(found) is int else found
        if text is None:
            return ()
        try:
            return parse_layers(text)
        except IntrospectionBenchError as error:
            raise self.wrong("layers", "blocks, as 19, 18-22 or 4,8", found) from error

    def span(self) -> str | None:
        found = self.parsed("span", Span.parse)
        return None if found is None else str(found)

    def answer(self, column: str) -> bool | None:
        found = self.cell(column)
        if found is None or isinstance(found, bool):
            return found
        known = _YES_NO.get(str(found).strip().lower())
        if known is None:
            raise self.bad(column, "true or false", found)
        return known
