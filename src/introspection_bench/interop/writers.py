"""Exports that lose nothing: JSONL (one record a line) and Parquet (one row per trial and verdict)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..files import replacing
from ..trials import CRITERIA, FURTHER, TrialRecord, as_row
from .records import to_json


def write_jsonl(records: Iterable[TrialRecord], path: str | Path) -> int:
    """Write one JSON object a line, the full record with all its verdicts; return how many.

    An existing file is replaced, and only when the new one is complete. Raises
    :class:`~introspection_bench.errors.OutputError` where it can't be written.
    """
    count = 0
    with replacing(path) as new, new.open("w", encoding="ascii", newline="\n") as out:
        for record in records:
            out.write(to_json(record) + "\n")
            count += 1
    return count


def write_parquet(records: Iterable[TrialRecord], path: str | Path) -> int:
    """Write one row per trial and verdict; return how many rows.

    The columns are those of :func:`introspection_bench.trials.as_row` for reading with any tool, and ``record``
    with the full record as JSON text (the same in each row of a trial), from which
    :func:`introspection_bench.read_results` reads everything back. A trial without verdict has one row. An
    existing file is replaced, and only when the new one is complete. Raises
    :class:`~introspection_bench.errors.OutputError` where it can't be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for record in records:
        text = to_json(record)
        for verdict in record.verdicts or (None,):
            flat = {name: _storable(value) for name, value in as_row(record, verdict).items()}
            rows.append({**flat, "record": text})
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _SCHEMA.items()])
    with replacing(path) as new:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), new, compression="zstd")
    return len(rows)


# Written out, because Arrow would take the type of a column from its values, and an all-NA column has none.
_SCHEMA = {
    **dict.fromkeys(("trial", "model", "model_fingerprint", "backend", "scaffold", "arm", "concept"), "string"),
    "layer": "int64",
    "magnitude": "float64",
    **dict.fromkeys(("unit", "span"), "string"),
    **dict.fromkeys(("trial_index", "seed"), "int64"),
    "temperature": "float64",
    "reply": "string",
    "reply_tokens": "int64",
    "finish_reason": "string",
    **dict.fromkeys(("prompt_positions", "generation_positions"), "int64"),
    **dict.fromkeys(("mean_ratio", "max_ratio"), "float64"),
    **dict.fromkeys(("judge", "rubric", "judge_model", "judged_concept"), "string"),
    **dict.fromkeys((*CRITERIA, "strict", *FURTHER), "bool"),
    "unscored": "string",
    "record": "string",
}


def _storable(value: object) -> object:
    # A reply may hold half a surrogate pair, which UTF-8 can't carry; the column "record" keeps it as it was.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
