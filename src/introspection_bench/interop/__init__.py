"""Readers of result files, ours and other people's, and exports of ours.

Names are imported when they are first used: reading a file needs no pyarrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .control_vectors import read_control_vectors, vectors_by_layer, write_control_vectors
    from .hub import write_hub
    from .inspect_log import write_inspect
    from .readers import Reader, read_results
    from .tabular import TableLayout, read_table
    from .writers import write_csv, write_jsonl, write_parquet, writer_for

_HOME_OF = {
    "Reader": "readers",
    "TableLayout": "tabular",
    "read_control_vectors": "control_vectors",
    "read_results": "readers",
    "read_table": "tabular",
    "vectors_by_layer": "control_vectors",
    "write_control_vectors": "control_vectors",
    "write_csv": "writers",
    "write_hub": "hub",
    "write_inspect": "inspect_log",
    "write_jsonl": "writers",
    "write_parquet": "writers",
    "writer_for": "writers",
}

__all__ = [
    "Reader",
    "TableLayout",
    "read_control_vectors",
    "read_results",
    "read_table",
    "vectors_by_layer",
    "write_control_vectors",
    "write_csv",
    "write_hub",
    "write_inspect",
    "write_jsonl",
    "write_parquet",
    "writer_for",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
