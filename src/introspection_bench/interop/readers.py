"""Reading results from anywhere, through one registry and into one value class."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import attrs

from ..boundaries import checked
from ..errors import PluginError, ResultsFormatError, explain
from ..plugins import Lazy, registered, resolve
from ..records import FORMAT, from_json
from ..results import Results
from ..trials import TrialRecord
from ..untrusted import lines, regular_file
from .unfolding import parquet_batches, parquet_columns

#: The entry-point group under which third parties register readers.
GROUP = "introspection_bench.readers"
_STORE_NAME = "store.sqlite"
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


class StoreReader:
    """Our own store: a run directory, or its ``store.sqlite``."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Claim SQLite files and folders that hold ``store.sqlite``."""
        return head.startswith(b"SQLite format 3\0") or (path / _STORE_NAME).is_file()

    def read(self, path: Path) -> Results:
        """Read all records and the grid's specification; raises StoreError as the store does."""
        from ..sweep.store import Store

        with Store.open(path) as store:
            return attrs.evolve(store.results(), source=str(path))


class JsonlReader:
    """Our JSONL export: one record a line, with all its verdicts."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Claim files called ``*.jsonl``, and any that begins with a line of ours."""
        return head.startswith(b'{"format":"' + FORMAT.encode()) or (path.suffix == ".jsonl" and not path.is_dir())

    def read(self, path: Path) -> Results:
        """Read line by line; empty lines are skipped, and a trial that stands twice is an error."""
        try:
            records = [
                from_json(line, f"{path}: record {number - 1} (line {number})")
                for number, line in enumerate(lines(path), 1)
                if line.strip()
            ]
        except OSError as error:
            raise _unreadable(path, error) from error
        return Results(path.stem, _once(records, path), {}, str(path))


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
            columns = parquet_columns(path)
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
            raise _unreadable(path, error) from error
        for cell, row in cells.items():
            if not isinstance(cell, str):
                raise ResultsFormatError(
                    explain(f"{path}: row {row}, field 'record'", required="JSON text", got=cell, hint="")
                )
        records = [from_json(str(cell), f"{path}: row {row}, field 'record'") for cell, row in cells.items()]
        return Results(path.stem, _once(records, path), {}, str(path))


BUILTIN: Mapping[str, Lazy] = MappingProxyType(
    {
        "store": Lazy("introspection_bench.interop.readers", "StoreReader"),
        "introspection_scaling": Lazy(
            "introspection_bench.interop.introspection_scaling", "IntrospectionScalingReader"
        ),
        "jsonl": Lazy("introspection_bench.interop.readers", "JsonlReader"),
        "parquet": Lazy("introspection_bench.interop.readers", "ParquetReader"),
        "llama405b": Lazy("introspection_bench.interop.llama405b", "Llama405bReader"),
    }
)


@checked(ResultsFormatError)
def read_results(path: str | Path, format: str | None = None) -> Results:  # noqa: A002  # the word users look for
    """Return the trials of a run directory or results file, whoever wrote it.

    Args:
        path: a run directory or its ``store.sqlite``; our ``.jsonl`` or ``.parquet`` export; a ``.judged.json``
            of the Llama-3.1-405B study; a ``.jsonl`` of the introspection-scaling study; or whatever an installed
            plugin reads.
        format: ``store``, ``jsonl``, ``parquet``, ``llama405b``, ``introspection_scaling`` or a plugin's name; None
            finds it out from the name and the first bytes, built-in formats first.

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
        raise _unreadable(path, error) from error
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


def _once(records: list[TrialRecord], path: Path) -> list[TrialRecord]:
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
    return records


def _unreadable(path: Path, error: Exception) -> ResultsFormatError:
    return ResultsFormatError(
        explain(str(path), required="a readable results file or run directory", got=str(error), hint="Check the path.")
    )
