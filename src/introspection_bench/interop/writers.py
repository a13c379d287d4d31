"""Exports: JSONL (one record a line), Parquet and CSV (one row per trial and verdict). None loses anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..boundaries import checked
from ..errors import ResultsFormatError, SpecError, explain
from ..files import replacing
from ..records import HEADER_FORMAT, Header, header_to_json, to_json
from ..results import Results
from ..trials import TrialRecord
from ..untrusted import no_formula

if TYPE_CHECKING:
    from pandas.api.extensions import ExtensionArray

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
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ..frames import verdicts_frame

    whole = list(records)
    frame = verdicts_frame(whole)
    frame["record"] = _whole_records(whole)
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


@checked(ResultsFormatError)
def write_csv(records: Exported, path: str | Path) -> int:
    """Write one row per trial and verdict, for a spreadsheet as well; return how many rows.

    The columns are those of :func:`write_parquet`, with ``record``, from which
    :func:`introspection_bench.read_results` reads everything back. Of :class:`~introspection_bench.results.Results` the
    last column, ``results``, holds name, specification and notes in the first row and nothing in the others (without
    trials there is one row that holds nothing else). UTF-8, comma, cells with line breaks in quotation marks, an empty
    cell for what is not known or does not apply. Replies are other people's text: where one would be a formula (it
    begins with ``=``, ``+``, ``-``, ``@``, a tabulator or a line break), an apostrophe stands before it, which
    spreadsheets take for "this is text". A spreadsheet that saves the file cuts cells at 32,767 characters: then it is
    a table, and no longer read back. An existing file is replaced, and only when the new one is complete.
    Raises :class:`~introspection_bench.errors.OutputError` where it can't be written.
    """
    import pandas as pd

    from ..frames import verdicts_frame

    whole = list(records)
    frame = verdicts_frame(whole)
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.StringDtype):
            frame[name] = frame[name].map(no_formula, na_action="ignore")
    frame.columns = pd.Index([no_formula(str(name)) for name in frame.columns])
    frame["record"] = _whole_records(whole)
    if isinstance(records, Results):
        # A comment line before the table, or a file beside it, is what tools stumble over and people lose.
        frame["results"] = ""
        frame.loc[0, "results"] = header_to_json(Header.of(records))
    with replacing(path) as new:
        # RFC 4180's end of a line; with "\n" alone Python 3.11 leaves a bare "\r" in a cell without quotation marks.
        frame.to_csv(new, index=False, encoding="utf-8", lineterminator="\r\n")
    return sum(max(len(r.verdicts), 1) for r in whole)


def _whole_records(records: Sequence[TrialRecord]) -> ExtensionArray:
    """Return each trial as JSON text, as often as it has rows: the column from which an export is read back."""
    import pandas as pd

    return pd.array([text for r in records for text in [to_json(r)] * max(len(r.verdicts), 1)], dtype="string")


#: Writes records to a path, and returns how many lines or rows.
Writer = Callable[[Exported, str | Path], int]
#: The formats that are read back without loss, by name, which is also how the file ends.
WRITERS: dict[str, Writer] = {"jsonl": write_jsonl, "parquet": write_parquet, "csv": write_csv}


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
