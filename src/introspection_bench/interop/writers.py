"""Exports that lose nothing: JSONL (one record a line) and Parquet (one row per trial and verdict)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..boundaries import checked
from ..errors import ResultsFormatError, SpecError, explain
from ..files import replacing
from ..records import to_json
from ..trials import CRITERIA, FURTHER, TrialRecord, as_row


@checked(ResultsFormatError)
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


@checked(ResultsFormatError)
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

    rows: list[dict[str, Any]] = []
    for record in records:
        text = to_json(record)
        rows.extend({**as_row(record, verdict), "record": text} for verdict in record.verdicts or (None,))
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _SCHEMA.items()])
    try:
        table = pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowException, OverflowError) as error:
        raise ResultsFormatError(
            explain("records", required="values that Parquet can hold", got=str(error), hint="Export as JSONL.")
        ) from error
    with replacing(path) as new:
        pq.write_table(table, new, compression="zstd")
    return len(rows)


#: Writes records to a path, and returns how many lines or rows.
Writer = Callable[[Iterable[TrialRecord], str | Path], int]
#: The formats by name, which is also how the file ends.
WRITERS: dict[str, Writer] = {"jsonl": write_jsonl, "parquet": write_parquet}


@checked(ResultsFormatError)
def writer_for(path: str | Path, format: str | None = None) -> Writer:  # noqa: A002  # the word users look for
    """Return what writes a file of this name: by its ending, or by ``format`` where it has another.

    Raises :class:`SpecError` for an unknown format, a name without a known ending where no format is given, and a
    format that contradicts the ending (a ``.parquet`` that holds JSONL would be found out much later).
    """
    ending = Path(path).suffix.removeprefix(".").lower()
    if format is None and ending in WRITERS:
        return WRITERS[ending]
    if format not in WRITERS:
        raise SpecError(
            explain(
                "format",
                required=f"one of {sorted(WRITERS)}, or a file name that ends in one",
                got=format or str(path),
                hint="Name the format with --format, or let the file end in it.",
            )
        )
    if ending in WRITERS and ending != format:
        raise SpecError(
            explain("format", required=f"{ending!r}, as {path} ends", got=format, hint="Change the name or the format.")
        )
    return WRITERS[format]


# Written out, because Arrow would take the type of a column from its values, and an all-NA column has none.
_SCHEMA = {
    **dict.fromkeys(("trial", "model", "model_fingerprint", "backend", "scaffold", "arm", "concept"), "string"),
    "layer": "int64",
    "magnitude": "float64",
    **dict.fromkeys(("unit", "span"), "string"),
    **dict.fromkeys(("trial_index", "seed"), "int64"),
    "temperature": "float64",
    **dict.fromkeys(("reply", "reasoning"), "string"),
    "reply_tokens": "int64",
    "finish_reason": "string",
    **dict.fromkeys(("prompt_positions", "generation_positions"), "int64"),
    **dict.fromkeys(("mean_ratio", "max_ratio"), "float64"),
    **dict.fromkeys(("judge", "rubric", "judge_model", "judged_concept", "judged", "ground"), "string"),
    **dict.fromkeys((*CRITERIA, "strict", *FURTHER), "bool"),
    "unscored": "string",
    "record": "string",
}
