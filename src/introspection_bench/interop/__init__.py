"""Readers of result files, ours and other people's, and exports of ours.

Names are imported when they are first used: the store shares :mod:`.records` and must not load pandas for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .readers import Reader, read_results
    from .writers import write_jsonl, write_parquet

_HOME_OF = {"Reader": "readers", "read_results": "readers", "write_jsonl": "writers", "write_parquet": "writers"}

__all__ = ["Reader", "read_results", "write_jsonl", "write_parquet"]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
