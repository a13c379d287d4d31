"""The manifest: what a run's store says of how it was made, as a file for people."""

from __future__ import annotations

import json
from pathlib import Path

from ..boundaries import checked
from ..errors import StoreError
from ..files import write_file
from .locks import hold
from .store import Store

#: Seconds that another process may take to write the same.
_PATIENCE_S = 30.0


@checked(StoreError)
def write_manifest(store: Store) -> Path:
    """Write ``manifest.json`` beside a store, from the store alone, and return its path.

    It holds ``created``, ``sessions`` (each with its number, when it was opened, versions, machine and options) and the
    specification. Whoever writes it writes the same. Raises :class:`~introspection_bench.errors.OutputError` where it
    can't be written, and :class:`~introspection_bench.errors.StoreError` for a damaged store.
    """
    with hold(store.directory, "manifest", "writes the manifest", patience_s=_PATIENCE_S):
        sessions = [{"id": s.id, "opened": s.opened, **s.process.plain()} for s in store.sessions()]
        manifest = {"created": store.created, "sessions": sessions, **store.spec()}
        return write_file(store.directory / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
