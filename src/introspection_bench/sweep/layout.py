"""The tables of a run's store, and how values become rows and rows become values again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import attrs

from ..conditions import Condition
from ..databases import Database
from ..digests import canonical_json
from ..effects import DoseEffect, Drawn, Effects, Found, FoundDose, Moved
from ..errors import StoreError, explain
from ..identity import TrialKey
from ..injection import Receipt
from ..measures.readings import Reading
from ..structuring import plain, strict_converter
from ..trials import Reply, Trial, TrialRecord
from ..untrusted import parse_json
from ..vectors import ConceptVector
from ..verdicts import Verdict
from .sessions import Process, Session, this_process

#: What planning finds on the model, by the word for its kind.
_FOUND: Mapping[str, type[Found]] = MappingProxyType({"dose": FoundDose, "moved": Moved, "drawn": Drawn})
#: Raised with every change of the layout below.
SCHEMA_VERSION = 6

# A cell's trials share their condition and all of their key but the draw and the seed: those stand once, in "cells".
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE cells (id INTEGER PRIMARY KEY, condition TEXT NOT NULL, key TEXT NOT NULL) STRICT;
CREATE TABLE planned (
  key TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE, cell INTEGER NOT NULL REFERENCES cells (id),
  item TEXT, draw INTEGER NOT NULL, key_draw INTEGER NOT NULL, given_seed TEXT, part TEXT
) STRICT;
CREATE TABLE vectors (
  concept TEXT NOT NULL, layer INTEGER NOT NULL, digest TEXT NOT NULL, file BLOB NOT NULL,
  PRIMARY KEY (concept, layer, digest)
) STRICT;
CREATE TABLE found (key TEXT PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL) STRICT;
CREATE TABLE effects (
  key TEXT PRIMARY KEY, effect TEXT NOT NULL, session INTEGER NOT NULL REFERENCES sessions (id)
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
CREATE TABLE readings (
  key TEXT PRIMARY KEY, trial TEXT NOT NULL REFERENCES trials (key), measure TEXT NOT NULL,
  reading TEXT NOT NULL, recorded_at TEXT NOT NULL, session INTEGER NOT NULL REFERENCES sessions (id)
) STRICT;
CREATE INDEX verdicts_by_trial ON verdicts (trial);
CREATE INDEX readings_by_trial ON readings (trial);
"""
#: Tables whose names begin so are the judges' ledger's, which checks them itself.
_LEDGER = "judge_"

#: The tables whose rows name the session that recorded them.
WITH_SESSIONS = ("trials", "verdicts", "readings", "effects")
#: The columns of the table planned, less the position.
PLANNED = "key, cell, item, draw, key_draw, given_seed, part"
INSERT_TRIAL = "INSERT INTO trials VALUES (?, ?, ?, ?)"
INSERT_VERDICT = "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?)"
INSERT_READING = "INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?)"


def new_store(
    spec: Mapping[str, Any],
    trials: Sequence[Trial],
    vectors: Iterable[ConceptVector],
    records: Sequence[TrialRecord] = (),
    found: Iterable[Found] = (),
) -> bytes:
    """Return the content of a new run's file: plan, vectors, what planning found, and what is recorded already."""
    with Database.in_memory() as database:
        make_tables(database, spec, now())
        with database.transaction("the new store") as connection:
            add_vectors(connection, vectors)
            add_found(connection, found)
            add_planned(connection, trials)
            if records:
                session = add_session(connection, this_process("import")).id
                connection.executemany(INSERT_TRIAL, [trial_row(r, session) for r in records])
                verdicts = [verdict_row(r.key.digest, v, session) for r in records for v in r.verdicts]
                connection.executemany(INSERT_VERDICT, verdicts)
                readings = [reading_row(r.key.digest, v, session) for r in records for v in r.readings]
                connection.executemany(INSERT_READING, readings)
        return database.to_bytes()


def make_tables(database: Database, spec: Mapping[str, Any], created: str) -> None:
    """Make the tables of a run that nothing is planned in yet."""
    database.add_tables(_SCHEMA)
    with database.transaction("table meta") as connection:
        meta = {"schema": str(SCHEMA_VERSION), "spec": canonical_json(spec), "created": created}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


def set_spec(connection: sqlite3.Connection, spec: Mapping[str, Any]) -> None:
    """Write what the run is in place of what stood there."""
    connection.execute("UPDATE meta SET value = ? WHERE key = 'spec'", (canonical_json(spec),))


def add_vectors(connection: sqlite3.Connection, vectors: Iterable[ConceptVector]) -> None:
    """Write the rows of vectors; those that are there already stay."""
    connection.executemany(
        "INSERT INTO vectors VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(v.concept, v.layer, v.digest, v.to_bytes()) for v in vectors],
    )


def add_found(connection: sqlite3.Connection, found: Iterable[Found]) -> None:
    """Write the rows of what planning found on the model; those that are there already stay."""
    kinds = {kind: name for name, kind in _FOUND.items()}
    rows = [(one.key, kinds[type(one)], canonical_json(plain(one))) for one in found]
    connection.executemany("INSERT INTO found VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)


def add_effects(connection: sqlite3.Connection, effects: Iterable[DoseEffect], session: int) -> None:
    """Write the rows of effects; those that are there already stay."""
    rows = [(effect.key, canonical_json(plain(effect)), session) for effect in effects]
    connection.executemany("INSERT INTO effects VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)


def read_found(database: Database) -> list[Found]:
    """Return what planning found on the model, in order."""
    found: list[Found] = []
    for key, kind, text in database.rows("table found", "SELECT key, kind, value FROM found ORDER BY rowid"):
        with database.guard(f"table found, row {key[:12]}"):
            found.append(read_one_found(key, kind, text))
    return found


def read_one_found(key: str, kind: str, text: str) -> Found:
    """Return what a row of the table found says; checks its key."""
    value: Found = _CONVERTER.structure(parse_json(text), _FOUND[kind])
    check_key(key, value.key)
    return value


def read_effect(key: str, text: str) -> DoseEffect:
    """Return what a row of the table effects says; checks its key."""
    value = _CONVERTER.structure(parse_json(text), DoseEffect)
    check_key(key, value.key)
    return value


def read_effects(database: Database) -> Effects:
    """Return the effects of the run's doses, in the order in which they were measured."""
    found = []
    for key, text in database.rows("table effects", "SELECT key, effect FROM effects ORDER BY rowid"):
        with database.guard(f"table effects, row {key[:12]}"):
            found.append(read_effect(key, text))
    return Effects(found)


def add_planned(
    connection: sqlite3.Connection, trials: Sequence[Trial], positions: Sequence[int] | None = None
) -> None:
    """Write trials behind those that are planned already, or at the positions that they have in a whole plan."""
    position, cell = (
        int(connection.execute(f"SELECT coalesce(max({column}), -1) + 1 FROM {table}").fetchone()[0])  # noqa: S608  # literals
        for column, table in (("position", "planned"), ("id", "cells"))
    )
    cells: dict[tuple[str, str], int] = {}
    written: dict[int, str] = {}
    rows = []
    for number, trial in enumerate(trials):
        # By identity: trials of one cell share the object, and its text costs more than all else of the row.
        shared = written.get(id(trial.condition))
        if shared is None:
            shared = written[id(trial.condition)] = canonical_json(plain(trial.condition))
        base = (shared, _shared_key(trial.key))
        own = cells.setdefault(base, cell + len(cells))
        seed = None if trial.key.given_seed is None else str(trial.key.given_seed)
        at = position + number if positions is None else positions[number]
        row = (trial.key.digest, at, own, trial.item, trial.draw, trial.key.draw, seed, trial.part)
        rows.append(row)
    connection.executemany("INSERT INTO cells VALUES (?, ?, ?)", [(n, *base) for base, n in cells.items()])
    connection.executemany("INSERT INTO planned VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _shared_key(key: TrialKey) -> str:
    return canonical_json({**plain(key), "draw": 0, "given_seed": None})


def read_planned(database: Database) -> dict[str, Trial]:
    """Return the planned trials by key, in order; of one cell they share the condition."""
    cells = read_cells(database)
    return {
        row[0]: planned_trial(database, cells, row)
        for row in database.rows("table planned", f"SELECT {PLANNED} FROM planned ORDER BY position")  # noqa: S608  # literals
    }


def read_cells(database: Database) -> dict[int, tuple[Condition, TrialKey]]:
    """Return what the trials of each row of the table cells share, by the row's number."""
    cells: dict[int, tuple[Condition, TrialKey]] = {}
    for number, condition, key in database.rows("table cells", "SELECT id, condition, key FROM cells"):
        with database.guard(f"table cells, row {number}"):
            shared = _CONVERTER.structure(parse_json(key), TrialKey)
            cells[number] = _CONVERTER.structure(parse_json(condition), Condition), shared
    return cells


def planned_trial(database: Database, cells: Mapping[int, tuple[Condition, TrialKey]], row: tuple[Any, ...]) -> Trial:
    """Return the trial of a row of the table planned, its columns as in :data:`PLANNED`; checks its key."""
    key, cell, item, draw, key_draw, seed, part = row
    with database.guard(f"table planned, row {key[:12]}"):
        condition, shared = cells[cell]
        own = shared
        if key_draw or seed is not None:
            own = attrs.evolve(shared, draw=key_draw, given_seed=None if seed is None else int(seed))
        check_key(key, own.digest)
        return Trial(own, condition, item, draw, part)


def trial_row(record: TrialRecord, session: int) -> tuple[object, ...]:
    """Return the row of a finished trial, without its verdicts and readings."""
    told = Stored(record.reply, record.receipts, record.source, record.repeat_of)
    return record.key.digest, canonical_json(plain(told)), now(), session


def verdict_row(trial: str, verdict: Verdict, session: int) -> tuple[object, ...]:
    """Return the row of a verdict on the trial with this digest."""
    return verdict.key(trial), trial, verdict.unscored is None, canonical_json(plain(verdict)), now(), session


def reading_row(trial: str, reading: Reading, session: int) -> tuple[object, ...]:
    """Return the row of a reading of the trial with this digest."""
    return reading.key(trial), trial, reading.measure_digest, canonical_json(plain(reading)), now(), session


def add_session(connection: sqlite3.Connection, process: Process, opened: str | None = None) -> Session:
    """Write the row of a session, by default of one that opens now, and return it with its number."""
    opened = opened or now()
    statement = "INSERT INTO sessions (opened, process) VALUES (?, ?)"
    number = connection.execute(statement, (opened, canonical_json(process.plain()))).lastrowid
    return Session(int(number or 0), opened, process)


def read_sessions(database: Database, where: str) -> list[Session]:
    """Return a run's sessions in order, each with how many rows name it."""
    counts = [
        dict(database.rows(f"table {table}", f"SELECT session, count(*) FROM {table} GROUP BY session"))  # noqa: S608  # literals
        for table in WITH_SESSIONS
    ]
    found = []
    for number, opened, text in database.rows("table sessions", "SELECT id, opened, process FROM sessions ORDER BY id"):
        with database.guard(f"table sessions, row {number}"):
            process = _CONVERTER.structure(parse_json(text), Process)
            found.append(Session(number, opened, process, *(c.pop(number, 0) for c in counts)))
    if any(counts):
        raise StoreError(
            explain(
                where,
                required="a session for every trial, verdict, reading and effect",
                got=f"none for the sessions {sorted({n for c in counts for n in c})[:3]}",
                hint="The file is damaged or was changed by something else: go back to a copy.",
            )
        )
    return found


@attrs.frozen
class Stored:
    """What the row of a trial holds besides the plan's."""

    reply: Reply
    receipts: tuple[Receipt, ...]
    source: str
    repeat_of: str | None


def read_stored(text: str) -> Stored:
    """Return what the row of a trial says."""
    return _CONVERTER.structure(parse_json(text), Stored)


def read_of_trial(kind: type[Verdict] | type[Reading], key: str, trial: str, text: str) -> Verdict | Reading:
    """Return what the row of a verdict or a reading says; checks its key."""
    value: Verdict | Reading = _CONVERTER.structure(parse_json(text), kind)
    check_key(key, value.key(trial))
    return value


def read_record(
    trial: Trial, text: str, verdicts: Iterable[tuple[str, str]], readings: Iterable[tuple[str, str]]
) -> TrialRecord:
    """Return a finished trial with its verdicts and readings, given as (key, text); checks types and keys."""
    stored = read_stored(text)
    return TrialRecord(
        trial,
        stored.reply,
        stored.receipts,
        tuple(_read_all(Verdict, trial, verdicts)),
        tuple(_read_all(Reading, trial, readings)),
        stored.source,
        stored.repeat_of,
    )


def _read_all(kind: Any, trial: Trial, rows: Iterable[tuple[str, str]]) -> Iterator[Any]:
    for key, text in rows:
        yield read_of_trial(kind, key, trial.key.digest, text)


def check_key(key: str, digest: str) -> None:
    """Raise ValueError unless a row's key is that of its content."""
    if key != digest:
        raise ValueError(f"its content is that of {digest[:12]}")


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
                "--to run.parquet'); its rows can be read as a table (the docs' page other_results).",
            )
        )
    database.check_schema(_SCHEMA, _LEDGER)


def read_spec(text: str) -> dict[str, Any]:
    """Return a run's specification; raises what a row's reader raises where what everybody relies on is missing."""
    found = parse_json(text)
    _CONVERTER.structure(found, _SpecShape)
    return dict(found)


@attrs.frozen
class _Named:
    name: str


@attrs.frozen
class _AskedShape:
    name: str
    transcript: str


@attrs.frozen
class _ConceptsShape:
    concepts: list[_Named]


@attrs.frozen
class _DesignShape:
    concepts: _ConceptsShape | None
    scaffolds: list[_AskedShape]


@attrs.frozen
class _ModelShape:
    name: str
    backend: str


@attrs.frozen
class _FoundShape:
    fingerprint: str


@attrs.frozen
class _SpecShape:
    """What everybody who reads a run relies on in its specification."""

    design: _DesignShape
    model: _ModelShape
    found: _FoundShape
    numerics: int


_CONVERTER = strict_converter(forbid_extra_keys=False)


def now() -> str:
    """Return the time, UTC, as rows have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
