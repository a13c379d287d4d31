"""Exports that lose nothing: JSONL (one record a line) and Parquet (one row per trial and verdict)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ..boundaries import checked
from ..errors import ResultsFormatError, SpecError, explain
from ..files import replacing
from ..records import HEADER_FORMAT, Header, header_to_json, to_json
from ..results import Results
from ..trials import TrialRecord

#: Records alone, or with what they are the results of: then name, specification and notes are written as well.
Exported = Results | Iterable[TrialRecord]


@checked(ResultsFormatError)
def write_jsonl(records: Exported, path: str | Path) -> int:
    """Write one JSON object a line, the full record with all its verdicts and readings; return how many records.

    Of :class:`~introspection_bench.results.Results` the first line is a header with their name, specification and
    notes, which :func:`introspection_bench.read_results` gives back. An existing file is replaced, and only when the
    new one is complete. Raises :class:`~introspection_bench.errors.OutputError` where it can't be written.
    """
    count = 0
    with replacing(path) as new, new.open("w", encoding="ascii", newline="\n") as out:
        if isinstance(records, Results):
            out.write(header_to_json(Header.of(records)) + "\n")
        for record in records:
            out.write(to_json(record) + "\n")
            count += 1
    return count


@checked(ResultsFormatError)
def write_parquet(records: Exported, path: str | Path) -> int:
    """Write one row per trial and verdict; return how many rows.

    The columns are those of :func:`introspection_bench.frames.verdicts_frame` for reading with any tool, and ``record``
    with the full record as JSON text (the same in each row of a trial), from which
    :func:`introspection_bench.read_results` reads everything back. Of
    :class:`~introspection_bench.results.Results` the file's metadata hold name, specification and notes. A trial
    without verdict has one row. An existing file is replaced, and only when the new one is complete. Raises
    :class:`~introspection_bench.errors.OutputError` where it can't be written.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ..frames import verdicts_frame

    whole = list(records)
    frame = verdicts_frame(whole)
    frame["record"] = pd.array([text for r in whole for text in [to_json(r)] * max(len(r.verdicts), 1)], dtype="string")
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, OverflowError) as error:
        raise ResultsFormatError(
            explain("records", required="values that Parquet can hold", got=str(error), hint="Export as JSONL.")
        ) from error
    if isinstance(records, Results):
        told = {HEADER_FORMAT: header_to_json(Header.of(records))}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **told})
    with replacing(path) as new:
        pq.write_table(table, new, compression="zstd")
    return len(frame)


#: Writes records to a path, and returns how many lines or rows.
Writer = Callable[[Exported, str | Path], int]
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
