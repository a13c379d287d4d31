"""Runs of our own as results: the readers that :func:`introspection_bench.read_results` uses for them."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from ..results import Results
from ..untrusted import read_text
from .store import FILE_NAME, Store
from .study import Study

#: A study's models in its file, whatever stands before them.
_MODELS = re.compile(r"^\s*(\[\[\s*models\s*\]\]|models\s*=)", re.MULTILINE)


class StoreReader:
    """Our own store: a run directory, or its ``store.sqlite``."""

    def claims(self, path: Path, head: bytes) -> bool:
        """Claim SQLite files and folders that hold ``store.sqlite``."""
        return head.startswith(b"SQLite format 3\0") or (path / FILE_NAME).is_file()

    def read(self, path: Path) -> Results:
        """Read all records and the run's specification; raises StoreError as the store does."""
        with Store.open(path) as store:
            return attrs.evolve(store.results(), source=str(path))


class StudyReader:
    """A study's file: all runs that it has begun."""

    def claims(self, path: Path, head: bytes) -> bool:  # noqa: ARG002  # the port's signature
        """Claim TOML files with a list of models."""
        if path.suffix != ".toml" or path.is_dir():
            return False
        try:
            return _MODELS.search(read_text(path)) is not None
        except (OSError, ValueError):
            return False

    def read(self, path: Path) -> Results:
        """Read the records of each run; raises what :meth:`Study.from_toml` and :meth:`Study.results` raise."""
        return attrs.evolve(Study.from_toml(path).results(), source=str(path))
