"""The tables of a run's store, and how values become rows and rows become values again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from ..databases import Database
from ..digests import canonical_json
from ..errors import StoreError, explain
from ..records import from_json, to_json
from ..structuring import strict_converter
from ..trials import TrialRecord, Verdict
from ..untrusted import parse_json
from ..vectors import ConceptVector
from .grid import PlannedTrial
from .sessions import Process, Session, this_process

#: Raised with every change of the layout below.
SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE planned (key TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE, cell TEXT NOT NULL) STRICT;
CREATE TABLE vectors (
  digest TEXT NOT NULL, layer INTEGER NOT NULL, file BLOB NOT NULL, PRIMARY KEY (digest, layer)
) STRICT;
CREATE TABLE sessions (id INTEGER PRIMARY KEY, opened TEXT NOT NULL, process TEXT NOT NULL) STRICT;
CREATE TABLE trials (
  key TEXT PRIMARY KEY REFERENCES planned (key), record TEXT NOT NULL, recorded_at TEXT NOT NULL,
  session INTEGER NOT NULL REFERENCES sessions (id)
) STRICT;
CREATE TABLE verdicts (
  key TEXT PRIMARY KEY, trial TEXT NOT NULL REFERENCES trials (key), scored INTEGER NOT NULL,
  verdict TEXT NOT NULL, recorded_at TEXT NOT NULL, session INTEGER NOT NULL REFERENCES sessions (id)
) STRICT;
CREATE INDEX verdicts_by_trial ON verdicts (trial);
"""
#: Tables whose names begin so are the judges' ledger's, which checks them itself.
_LEDGER = "judge_"


def new_store(
    spec: Mapping[str, Any],
    trials: Sequence[PlannedTrial | TrialRecord],
    vectors: Iterable[ConceptVector],
    records: Sequence[TrialRecord] = (),
) -> bytes:
    """Return the content of a new run's file, with its plan, its vectors, and what is recorded of it already."""
    with Database.in_memory() as database:
        database.add_tables(_SCHEMA)
        with database.transaction("the new store") as connection:
            meta = {"schema": str(SCHEMA_VERSION), "spec": canonical_json(spec), "created": _now()}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            connection.executemany(
                "INSERT INTO planned VALUES (?, ?, ?)",
                [(t.key.digest, n, canonical_json(_cell(t))) for n, t in enumerate(trials)],
            )
            connection.executemany(
                "INSERT INTO vectors VALUES (?, ?, ?)", [(v.digest, v.layer, v.to_bytes()) for v in vectors]
            )
            if records:
                session = add_session(connection, this_process("import")).id
                connection.executemany(INSERT_TRIAL, [trial_row(r, session) for r in records])
                verdicts = [verdict_row(r.key.digest, v, session) for r in records for v in r.verdicts]
                connection.executemany(INSERT_VERDICT, verdicts)
        return database.to_bytes()


INSERT_TRIAL = "INSERT INTO trials VALUES (?, ?, ?, ?)"
INSERT_VERDICT = "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?)"


def trial_row(record: TrialRecord, session: int) -> tuple[object, ...]:
    """Return the row of a finished trial, without its verdicts."""
    return record.key.digest, to_json(attrs.evolve(record, verdicts=())), _now(), session


def verdict_row(trial: str, verdict: Verdict, session: int) -> tuple[object, ...]:
    """Return the row of a verdict on the trial with this digest."""
    text = canonical_json(attrs.asdict(verdict))
    return verdict.key(trial), trial, verdict.unscored is None, text, _now(), session


def add_session(connection: sqlite3.Connection, process: Process) -> Session:
    """Write the row of a new session, and return it with its number."""
    opened = _now()
    statement = "INSERT INTO sessions (opened, process) VALUES (?, ?)"
    number = connection.execute(statement, (opened, canonical_json(process.plain()))).lastrowid
    return Session(int(number or 0), opened, process)


def read_process(text: str) -> Process:
    """Return what a session says of its process; raises what a row's reader raises."""
    return _CONVERTER.structure(parse_json(text), Process)


def _cell(trial: PlannedTrial | TrialRecord) -> dict[str, Any]:
    key = trial.key
    return {
        "arm": trial.arm,
        "concept": trial.concept,
        "scaffold": trial.scaffold,
        "layer": key.layer,
        "magnitude": key.magnitude,
        "unit": key.unit,
        "trial_index": key.draw,
    }


def check_layout(database: Database) -> None:
    """Raise :class:`StoreError` unless a file has this version's tables, and no others but the judges' ledger's."""
    rows = database.rows("a store of introspection_bench", "SELECT value FROM meta WHERE key = 'schema'")
    if rows != [(str(SCHEMA_VERSION),)]:
        raise StoreError(
            explain(
                str(database.path),
                required=f"schema version {SCHEMA_VERSION}",
                got=rows[0][0] if rows else None,
                hint="Export it with the version of introspection-bench that made it ('introspection-bench export RUN "
                "--to run.parquet'); its rows can be read as a table (docs/other_results.md).",
            )
        )
    database.check_schema(_SCHEMA, _LEDGER)


def read_spec(text: str) -> dict[str, Any]:
    """Return a run's specification; raises what a row's reader raises where what everybody relies on is missing."""
    found = parse_json(text)
    _CONVERTER.structure(found, _SpecShape)
    return dict(found)


def read_cell(text: str) -> dict[str, Any]:
    """Return what tables call a planned trial: arm, concept, scaffold and so on."""
    return attrs.asdict(_CONVERTER.structure(parse_json(text), _CellShape))


def read_record(key: str, text: str, verdicts: Mapping[str, str]) -> TrialRecord:
    """Return a trial with its verdicts (by their keys), through the one reader of records, which checks types."""
    data = parse_json(text)
    data["record"]["verdicts"] = [parse_json(verdict) for verdict in verdicts.values()]
    record = from_json(json.dumps(data), f"trial {key[:12]}")
    check_key(key, record.key.digest)
    found = zip(verdicts, record.verdicts, strict=True)
    return attrs.evolve(record, verdicts=[_of_key(known, verdict, record) for known, verdict in found])


def _of_key(known: str, verdict: Verdict, record: TrialRecord) -> Verdict:
    if known == verdict.key(record.key.digest):
        return verdict
    check_key(known, verdict.key(record.key.digest, version=1))
    # Given before reasoning was told apart: it is about all that the reply held.
    return verdict if record.reply.is_plain else attrs.evolve(verdict, judged="whole")


def check_key(key: str, digest: str) -> None:
    """Raise ValueError unless a row's key is that of its content."""
    if key != digest:
        raise ValueError(f"its content is that of {digest[:12]}")


@attrs.frozen
class _CellShape:
    arm: str
    concept: str | None
    scaffold: str
    layer: int | None
    magnitude: float
    unit: str | None
    trial_index: int


@attrs.frozen
class _ScaffoldShape:
    name: str
    transcript: str


@attrs.frozen
class _ConceptShape:
    name: str


@attrs.frozen
class _GridShape:
    concepts: list[_ConceptShape]
    scaffolds: list[_ScaffoldShape]


@attrs.frozen
class _ModelShape:
    name: str
    fingerprint: str


@attrs.frozen
class _SpecShape:
    """What everybody who reads a run relies on in its specification."""

    backend: Any
    grid: _GridShape
    model: _ModelShape


_CONVERTER = strict_converter(forbid_extra_keys=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
