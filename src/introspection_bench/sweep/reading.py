"""A run directory as results: the reader that :func:`introspection_bench.read_results` uses for runs of our own."""

from __future__ import annotations

from pathlib import Path

import attrs

from ..results import Results
from .store import FILE_NAME, Store


class StoreReader:
    """Our own store: a run directory, or its ``store.sqlite``."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Claim SQLite files and folders that hold ``store.sqlite``."""
        return head.startswith(b"SQLite format 3\0") or (path / FILE_NAME).is_file()

    def read(self, path: Path) -> Results:
        """Read all records and the run's specification; raises StoreError as the store does."""
        with Store.open(path) as store:
            return attrs.evolve(store.results(), source=str(path))
