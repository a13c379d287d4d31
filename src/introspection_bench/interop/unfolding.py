"""Parquet files that others made, read in pieces: a few kB can stand for gigabytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..untrusted import check_once, regular_file

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes that a file may always unfold to, and how many times its own size besides.
_ALWAYS, _TIMES = 2**26, 500
_ROWS_AT_ONCE = 64


def parquet_schema(path: Path) -> tuple[dict[str, pa.DataType], dict[str, bytes]]:
    """Return a Parquet file's columns with their types, and what else its schema tells, by name.

    Raises OSError, ValueError or pyarrow's own error.
    """
    import pyarrow.parquet as pq

    schema = pq.ParquetFile(regular_file(path, 2**63)).schema_arrow
    told = {name.decode("utf-8", "replace"): value for name, value in (schema.metadata or {}).items()}
    return dict(zip(schema.names, schema.types, strict=True)), told


def parquet_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield a Parquet file's rows, a few at a time.

    What the file says of itself is checked before anything is unfolded, and what it unfolds to is counted: one value in
    millions of rows takes no room in the file, and text can shrink a thousandfold. Raises ValueError for a file that
    stands for more rows than it has bytes or for more than 64 MiB and 500 times its size (no honest record is that
    small, and no honest text shrinks so far), and otherwise as :func:`parquet_schema`.
    """
    import pyarrow.parquet as pq

    size = regular_file(path, 2**63).stat().st_size
    file = pq.ParquetFile(path)
    check_once(file.schema_arrow.names)
    meta, most = file.metadata, _ALWAYS + _TIMES * size
    groups = [meta.row_group(n) for n in range(meta.num_row_groups)]
    stated = sum(g.column(n).total_uncompressed_size for g in groups for n in range(g.num_columns))
    if meta.num_rows > size or stated > most:
        raise ValueError(f"{size:,} bytes that stand for {meta.num_rows:,} rows, {stated:,} bytes")
    unfolded = 0
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
        unfolded += batch.nbytes
        if unfolded > most:
            raise ValueError(f"{size:,} bytes that unfold to more than {most:,}")
        yield batch
