"""The rows of tables that others made: CSV, JSONL or Parquet, as mappings with the number of each."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ResultsFormatError, explain
from ..untrusted import check_once, lines, parse_json
from .unfolding import parquet_batches

Rows = Iterator[tuple[int, Mapping[str, Any]]]


def table_rows(path: Path) -> Rows:
    """Yield a table's rows with their numbers, read by how the file's name ends.

    Raises :class:`ResultsFormatError` that names the row.
    """
    kinds = {".csv": _csv_rows, ".jsonl": jsonl_rows, ".parquet": _parquet_rows}
    if path.suffix not in kinds:
        raise ResultsFormatError(
            explain(str(path), required=f"a file ending in {sorted(kinds)}", got=path.name, hint="")
        )
    return kinds[path.suffix](path)


def jsonl_rows(path: Path) -> Rows:
    """Yield the objects of a JSONL file with their line numbers; raises :class:`ResultsFormatError`."""
    try:
        for number, line in enumerate(lines(path), 1):
            if line.strip():
                row = parse_json(line)
                if not isinstance(row, dict):
                    raise unreadable(f"{path}: row {number}", "not a JSON object")
                yield number, row
    except ResultsFormatError:
        raise
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _csv_rows(path: Path) -> Rows:
    try:
        text = (line.decode() for line in lines(path))
        table = csv.DictReader(text, strict=True)
        check_once(table.fieldnames or ())
        for number, row in enumerate(table, 2):
            if None in row or None in row.values():
                raise unreadable(f"{path}: row {number}", "another number of cells than there are columns")
            yield number, row
    except ResultsFormatError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise unreadable(path, error) from error


def _parquet_rows(path: Path) -> Rows:
    import pyarrow as pa

    number = 0
    try:
        for batch in parquet_batches(path):
            yield from enumerate(batch.to_pylist(), number)
            number += len(batch)
    except ResultsFormatError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def unreadable(where: str | Path, got: object) -> ResultsFormatError:
    """Return the error of a file that can't be read at all, or not from some place on."""
    return ResultsFormatError(
        explain(str(where), required="a readable results file", got=str(got), hint="It may be cut off or damaged.")
    )
