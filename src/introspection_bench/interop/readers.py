"""Reading results from anywhere, through one registry and into one value class."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from ..boundaries import checked
from ..errors import PluginError, ResultsFormatError, explain
from ..plugins import Lazy, registered, resolve
from ..records import HEADER_FORMAT, Header, from_json, header_from_json, is_header
from ..results import Results
from ..trials import TrialRecord
from ..untrusted import lines, regular_file
from .rows import unreadable
from .unfolding import parquet_batches, parquet_schema

#: The entry-point group under which third parties register readers.
GROUP = "introspection_bench.readers"
_HEAD_BYTES = 4096


@runtime_checkable
class Reader(Protocol):
    """What a reader is: a module or object with these two functions."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Say, from the name and the first 4 KiB (empty for a folder), whether the path is of this format."""
        ...

    def read(self, path: Path) -> Results:
        """Return its trials; raise :class:`ResultsFormatError` that names record and field."""
        ...


class JsonlReader:
    """Our JSONL export: a header, then one record a line, with all its verdicts and readings."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Claim files called ``*.jsonl``, and any that begins with a line of ours."""
        return head.startswith(b'{"format":"introspection_bench.') or (path.suffix == ".jsonl" and not path.is_dir())

    def read(self, path: Path) -> Results:
        """Read line by line; empty lines are skipped, and a trial that stands twice is an error."""
        header: Header | None = None
        records: list[TrialRecord] = []
        try:
            for number, line in enumerate(lines(path), 1):
                if not line.strip():
                    continue
                if is_header(line) and header is None and not records:
                    header = header_from_json(line, f"{path}: line {number}")
                else:
                    records.append(from_json(line, f"{path}: record {len(records)} (line {number})"))
        except OSError as error:
            raise unreadable(path, error) from error
        return _results(header, records, path)


class ParquetReader:
    """Our Parquet export: one row per trial and verdict, the whole record in the column ``record``."""

    def claims(self, path: Path, head: bytes) -> bool:  # noqa: ARG002  # the port's signature
        """Claim files that begin as Parquet files do."""
        return head.startswith(b"PAR1")

    def read(self, path: Path) -> Results:
        """Read the column ``record``; the rows of one trial (one per verdict) become one record."""
        import pyarrow as pa

        cells: dict[object, int] = {}
        try:
            columns, told = parquet_schema(path)
            kind = columns.get("record")
            if kind is None or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise ResultsFormatError(
                    explain(
                        f"{path}, field 'record'",
                        required="the column 'record' of our exports, JSON text",
                        got=list(columns) if kind is None else str(kind),
                        hint="Export with write_parquet, or register a reader for this layout.",
                    )
                )
            rows = (cell for batch in parquet_batches(path, ["record"]) for cell in batch.column(0).to_pylist())
            for row, cell in enumerate(rows):
                cells.setdefault(cell, row)
        except ResultsFormatError:
            raise
        except (OSError, ValueError, pa.ArrowException) as error:
            raise unreadable(path, error) from error
        header = told.get(HEADER_FORMAT)
        found = None if header is None else header_from_json(header, f"{path}: its metadata")
        return _results(found, _whole_records(cells, path), path)


class CsvReader:
    """Our CSV export: one row per trial and verdict, the whole record in ``record``, the design in ``results``."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Claim files called ``*.csv`` that have the column ``record``."""
        return path.suffix.lower() == ".csv" and b"record" in head.partition(b"\n")[0].rstrip().split(b",")

    def read(self, path: Path) -> Results:
        """Read these two columns; the other ones are for people and other tools."""
        import pandas as pd

        try:
            with regular_file(path, sys.maxsize).open("rb") as file:
                table = pd.read_csv(
                    file,
                    usecols=lambda name: name in ("record", "results"),
                    dtype=str,
                    keep_default_na=False,
                    encoding="utf-8-sig",
                )
        except (OSError, ValueError, OverflowError) as error:
            raise unreadable(path, error) from error
        cells: dict[object, int] = {}
        headers = [text for text in table.get("results", []) if text]
        alone = len(table) == 1 and headers and not table["record"][0]  # results without trials
        for row, cell in enumerate([] if alone else table["record"]):
            cells.setdefault(cell, row)
        if len(headers) > 1:
            raise ResultsFormatError(
                explain(
                    f"{path}, field 'results'", required="one row that says what these are results of",
                    got=f"{len(headers)} rows", hint="Two exports may have been joined: read them one by one.",
                )
            )  # fmt: skip
        header = header_from_json(headers[0], f"{path}, field 'results'") if headers else None
        return _results(header, _whole_records(cells, path), path)


def _whole_records(cells: Mapping[object, int], path: Path) -> list[TrialRecord]:
    """Return the records of a table's different cells, each with the row where it first stands."""
    for cell, row in cells.items():
        if not isinstance(cell, str):
            raise ResultsFormatError(
                explain(f"{path}: row {row}, field 'record'", required="JSON text", got=cell, hint="")
            )
    return [from_json(str(cell), f"{path}: row {row}, field 'record'") for cell, row in cells.items()]


#: By name and loaded when asked for: the reader of runs belongs to the store, which stands above this room.
BUILTIN: Mapping[str, Lazy] = MappingProxyType(
    {
        "introspection_scaling": Lazy(
            "introspection_bench.interop.introspection_scaling", "IntrospectionScalingReader"
        ),
        "csv": Lazy("introspection_bench.interop.readers", "CsvReader"),
        "jsonl": Lazy("introspection_bench.interop.readers", "JsonlReader"),
        "parquet": Lazy("introspection_bench.interop.readers", "ParquetReader"),
        "llama405b": Lazy("introspection_bench.interop.llama405b", "Llama405bReader"),
        "store": Lazy("introspection_bench.sweep.reading", "StoreReader"),
        "study": Lazy("introspection_bench.sweep.reading", "StudyReader"),
    }
)


@checked(ResultsFormatError)
def read_results(path: str | Path, format: str | None = None) -> Results:  # noqa: A002  # the word users look for
    """Return the trials of a run directory or results file, whoever wrote it.

    Args:
        path: a run directory or its ``store.sqlite``; a study's ``.toml``; our export as ``.jsonl``, ``.parquet`` or
            ``.csv``; a ``.judged.json`` of the Llama-3.1-405B study; a ``.jsonl`` of the introspection-scaling study;
            or whatever an installed plugin reads.
        format: ``store``, ``study``, ``jsonl``, ``parquet``, ``csv``, ``llama405b``, ``introspection_scaling`` or
            a plugin's name; None finds it out from the name and the first bytes, built-in formats first.

    Raises:
        ResultsFormatError: there is no such path, no reader claims it, or the file is malformed (the message
            names record and field).
        UnknownNameError: no reader is called ``format``.
    """
    path = Path(path)
    try:
        head = b""
        if not path.is_dir():
            with regular_file(path, sys.maxsize).open("rb") as file:
                head = file.read(_HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if format is not None:
        return _reader(format).read(path)
    for name in _names():
        reader = _reader(name)
        if reader.claims(path, head):
            return reader.read(path)
    raise ResultsFormatError(
        explain(
            str(path),
            required=f"results in a known format, one of {list(_names())}",
            got="a folder without store.sqlite" if path.is_dir() else f"a file that begins with {head[:20]!r}",
            hint="Name the format, or register a reader under the entry-point group introspection_bench.readers.",
        )
    )


def _names() -> Iterator[str]:
    yield from BUILTIN
    yield from sorted(registered(GROUP, BUILTIN))


def _reader(name: str) -> Reader:
    found = resolve(GROUP, BUILTIN, name)
    reader = found() if isinstance(found, type) else found
    if not isinstance(reader, Reader):
        raise PluginError(
            explain(f"reader {name!r}", required="an object with claims and read", got=found, hint="See ib docs.")
        )
    return reader


def _results(header: Header | None, records: list[TrialRecord], path: Path) -> Results:
    """Return the records of an export, with what its header says of them where it still has one."""
    if header is not None and header.trials != len(records):
        raise ResultsFormatError(
            explain(
                str(path),
                required=f"the {header.trials} trials that its header announces",
                got=len(records),
                hint="The file is cut off, or lines were taken out: then take out the header as well (a JSONL export's "
                "first line, a CSV export's column 'results').",
            )
        )
    _check_once(records, path)
    if header is None:
        return Results(
            path.stem, records, source=str(path), notes=["The export says nothing of the run's specification."]
        )
    return Results(header.name, records, header.spec, str(path), header.notes, header.effects, header.doses)


def _check_once(records: Iterable[TrialRecord], path: Path) -> None:
    first: dict[str, int] = {}
    for index, record in enumerate(records):
        if first.setdefault(record.key.digest, index) != index:
            raise ResultsFormatError(
                explain(
                    f"{path}: record {index}",
                    required="each trial once, with all its verdicts",
                    got=f"the trial of record {first[record.key.digest]} again",
                    hint="Two exports may have been joined: read them one by one.",
                )
            )
