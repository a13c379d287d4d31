"""One SQLite file per run: the plan, every finished trial, every verdict. Everything else can be made again.

There is no "running" state: what is planned and not recorded is still to do. Each finished trial and each verdict
is one transaction, so a killed process loses only what it had not finished.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import attrs

from ..digests import canonical_json
from ..errors import StoreError, StoreMismatchError, explain
from ..injection import Receipt
from ..interop.records import from_json, to_json
from ..trials import Reply, TrialRecord, Verdict
from ..vectors import ConceptVector
from .grid import PlannedTrial

#: Name of the file within a run directory.
FILE_NAME = "store.sqlite"
#: Raised with every change of the layout below.
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE planned (key TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE, cell TEXT NOT NULL) STRICT;
CREATE TABLE vectors (
  digest TEXT NOT NULL, layer INTEGER NOT NULL, file BLOB NOT NULL, PRIMARY KEY (digest, layer)
) STRICT;
CREATE TABLE trials (
  key TEXT PRIMARY KEY REFERENCES planned (key), record TEXT NOT NULL, recorded_at TEXT NOT NULL
) STRICT;
CREATE TABLE verdicts (
  key TEXT PRIMARY KEY, trial TEXT NOT NULL REFERENCES trials (key), scored INTEGER NOT NULL,
  verdict TEXT NOT NULL, recorded_at TEXT NOT NULL
) STRICT;
CREATE INDEX verdicts_by_trial ON verdicts (trial);
"""


class Store:
    """An open run. Use :meth:`create` or :meth:`open`, and close it (it is a context manager)."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def create(
        cls,
        directory: str | Path,
        spec: Mapping[str, Any],
        planned: Sequence[PlannedTrial],
        vectors: Iterable[ConceptVector],
    ) -> Self:
        """Start a run, or continue the one that is there.

        Raises :class:`StoreMismatchError`, with nothing changed, where the directory holds the run of another
        grid, backend or model, and :class:`StoreError` for a file that isn't a store.
        """
        path = Path(directory) / FILE_NAME
        if path.exists():
            store = cls.open(path)
            try:
                store._check_same(spec, planned)
            except StoreMismatchError:
                store.close()
                raise
            return store
        return cls._begin(path, spec, planned, vectors)

    @classmethod
    def create_from_records(
        cls, directory: str | Path, spec: Mapping[str, Any], records: Sequence[TrialRecord]
    ) -> Self:
        """Start a run that is finished already: somebody else's trials, with their verdicts, to judge and report.

        ``spec`` is as of :meth:`spec`. Raises :class:`StoreError` where the directory holds a run.
        """
        path = Path(directory) / FILE_NAME
        if path.exists():
            raise StoreError(
                explain("directory", required="one without a run", got=str(directory), hint="Choose another name.")
            )
        store = cls._begin(path, spec, records, ())
        with _transaction(store._connection) as connection:
            connection.executemany(
                "INSERT INTO trials VALUES (?, ?, ?)",
                [(r.key.digest, to_json(attrs.evolve(r, verdicts=())), _now()) for r in records],
            )
        for record in records:
            for verdict in record.verdicts:
                store.add_verdict(record.key.digest, verdict)
        return store

    @classmethod
    def _begin(
        cls,
        path: Path,
        spec: Mapping[str, Any],
        trials: Sequence[PlannedTrial | TrialRecord],
        vectors: Iterable[ConceptVector],
    ) -> Self:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [(t.key.digest, n, canonical_json(_cell(t))) for n, t in enumerate(trials)]
        connection = _connect(path)
        # One transaction with the schema: a process killed here leaves no half-made store.
        with _transaction(connection):
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            meta = {"schema": str(SCHEMA_VERSION), "spec": canonical_json(spec), "created": _now()}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            connection.executemany("INSERT INTO planned VALUES (?, ?, ?)", rows)
            connection.executemany(
                "INSERT INTO vectors VALUES (?, ?, ?)", [(v.digest, v.layer, v.to_bytes()) for v in vectors]
            )
        return cls(path, connection)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run directory or its ``store.sqlite``.

        Raises :class:`StoreError` for a missing file, a file that isn't a store, or another schema version.
        """
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        if not path.is_file():
            raise StoreError(
                explain("run", required=f"a run directory with {FILE_NAME}", got=str(path), hint="Run the sweep first.")
            )
        connection = _connect(path)
        try:
            found = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        except sqlite3.DatabaseError as error:
            connection.close()
            raise StoreError(
                explain(str(path), required="a store of introspection_bench", got=str(error), hint="Check the path.")
            ) from error
        if found is None or found[0] != str(SCHEMA_VERSION):
            connection.close()
            raise StoreError(
                explain(
                    str(path),
                    required=f"schema version {SCHEMA_VERSION}",
                    got=found and found[0],
                    hint="Export it with the version that made it.",
                )
            )
        return cls(path, connection)

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.path.parent

    @property
    def created(self) -> str:
        """When the run was planned: ISO 8601, UTC."""
        return str(self._meta("created"))

    def spec(self) -> Mapping[str, Any]:
        """What the run is, as plain values: ``grid`` (see :meth:`Grid.spec`), ``model``, ``backend``."""
        return MappingProxyType(json.loads(self._meta("spec")))

    def planned(self) -> dict[str, dict[str, Any]]:
        """Planned trials in order: key -> ``arm concept scaffold layer magnitude unit trial_index``."""
        rows = self._connection.execute("SELECT key, cell FROM planned ORDER BY position")
        return {key: json.loads(cell) for key, cell in rows}

    def recorded(self) -> set[str]:
        """Keys of the trials that are finished."""
        return {key for (key,) in self._connection.execute("SELECT key FROM trials")}

    def record(self, trial: PlannedTrial, reply: Reply, receipt: Receipt, model_name: str) -> TrialRecord:
        """Keep a finished trial, in one transaction; one that is already there stays as it is."""
        record = TrialRecord(
            key=trial.key,
            arm=trial.arm,
            concept=trial.concept,
            scaffold=trial.scaffold,
            model_name=model_name,
            reply=reply,
            receipt=receipt,
            seed=trial.key.seed,
        )
        with _transaction(self._connection) as connection:
            connection.execute(
                "INSERT INTO trials VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
                (trial.key.digest, to_json(record), _now()),
            )
        return record

    def add_verdict(self, trial: str, verdict: Verdict) -> None:
        """Keep a verdict, in one transaction. A scored verdict is never replaced; an unscored one may be."""
        row = (verdict.key(trial), trial, verdict.unscored is None, canonical_json(attrs.asdict(verdict)), _now())
        with _transaction(self._connection) as connection:
            connection.execute(
                "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET scored = excluded.scored, "
                "verdict = excluded.verdict, recorded_at = excluded.recorded_at WHERE verdicts.scored = 0",
                row,
            )

    def verdict_keys(self, *, scored_only: bool = False) -> set[str]:
        """Keys of the verdicts that are there."""
        rows = self._connection.execute("SELECT key FROM verdicts WHERE scored >= ?", (int(scored_only),))
        return {key for (key,) in rows}

    def records(self) -> list[TrialRecord]:
        """Every finished trial with its verdicts, in the order of the plan."""
        verdicts: dict[str, list[Any]] = {}
        for trial, verdict in self._connection.execute("SELECT trial, verdict FROM verdicts ORDER BY recorded_at, key"):
            verdicts.setdefault(trial, []).append(json.loads(verdict))
        rows = self._connection.execute(
            "SELECT trials.key, record FROM trials JOIN planned USING (key) ORDER BY position"
        )
        return [self._record(key, text, verdicts.get(key, [])) for key, text in rows]

    def vectors(self) -> list[ConceptVector]:
        """The run's vectors."""
        rows = self._connection.execute("SELECT file FROM vectors ORDER BY rowid")
        return [ConceptVector.from_bytes(data, f"{self.path}: vectors") for (data,) in rows]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _record(self, key: str, text: str, verdicts: list[Any]) -> TrialRecord:
        # Through the one reader of records, which checks types: a store may come from other people.
        data = json.loads(text)
        data["record"]["verdicts"] = verdicts
        return from_json(json.dumps(data), f"{self.path}: trial {key[:12]}")

    def _meta(self, key: str) -> str:
        return str(self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])

    def _check_same(self, spec: Mapping[str, Any], planned: Sequence[PlannedTrial]) -> None:
        mine = self.spec()
        for field in ("backend", "model"):
            if mine[field] != spec[field]:
                raise StoreMismatchError(
                    explain(
                        f"run {self.directory}",
                        required=f"{field} {_short(mine[field])}, which made it",
                        got=_short(spec[field]),
                        hint="Give this run another directory; nothing was changed.",
                    )
                )
        keys = [t.key.digest for t in planned]
        if keys != list(self.planned()):
            grid = json.loads(canonical_json(spec["grid"]))
            changed = sorted(k for k, v in grid.items() if mine["grid"].get(k) != v)
            raise StoreMismatchError(
                explain(
                    f"run {self.directory}",
                    required="the grid that made it",
                    got=f"another grid, different in {changed or 'the rendered prompts'}",
                    hint="Give this grid another directory; nothing was changed.",
                )
            )


def _cell(trial: PlannedTrial | TrialRecord) -> dict[str, Any]:
    key = trial.key
    return {
        "arm": trial.arm,
        "concept": trial.concept,
        "scaffold": trial.scaffold,
        "layer": key.layer,
        "magnitude": key.magnitude,
        "unit": key.unit,
        "trial_index": key.trial_index,
    }


def _short(value: object) -> str:
    return f"{value['name']} ({value['fingerprint'][:12]})" if isinstance(value, Mapping) else str(value)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        connection.execute("PRAGMA journal_mode = WAL")
        # WAL with NORMAL can lose the last commits when the machine loses power; a GPU hour is worth the fsync.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as error:
        raise StoreError(
            explain(
                str(path), required="a SQLite file that can be written", got=str(error), hint="Check path and rights."
            )
        ) from error
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
