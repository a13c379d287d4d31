"""Readers of other people's result files, and exports of ours."""

from .readers import Reader, read_results
from .writers import write_jsonl, write_parquet

__all__ = ["Reader", "read_results", "write_jsonl", "write_parquet"]
