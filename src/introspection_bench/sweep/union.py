"""The union of what runs of one plan recorded, row by row: checked where it is new, compared where it is there."""

from __future__ import annotations

import contextlib
import operator
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import attrs

from ..databases import Database
from ..digests import canonical_json, digest
from ..errors import StoreError, StoreMismatchError, explain
from ..measures.readings import Reading
from ..structuring import plain
from ..vectors import ConceptVector
from ..verdicts import Verdict
from .again import receipts_alike
from .layout import (
    PLANNED,
    Stored,
    check_key,
    check_layout,
    planned_trial,
    read_cells,
    read_effect,
    read_of_trial,
    read_one_found,
    read_sessions,
    read_spec,
    read_stored,
)
from .sessions import Session
from .sharding import Shard, WholePlan
from .store import FILE_NAME

_Row = tuple[Any, ...]
#: Rows that are read at once.
_BATCH = 500
#: Lower than any row's number.
_BEFORE_ALL = -(2**63)


@attrs.frozen(eq=False)
class Source:
    """A run to be merged, open for reading."""

    path: Path
    database: Database
    spec: Mapping[str, Any]
    created: str
    shard: Shard | None
    whole: WholePlan

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[Source]:
        """Open a run's file; raises :class:`StoreError` for one that is none or is damaged."""
        database = Database.open_if_any(path)
        if database is None:
            raise StoreError(
                explain("runs", required=f"run directories, with {FILE_NAME}", got=str(path), hint="Check the path.")
            )
        with database:
            check_layout(database)
            if database.rows("its references", "SELECT * FROM pragma_foreign_key_check LIMIT 1"):
                raise StoreError(
                    explain(
                        str(path),
                        required="a planned trial and a session for everything recorded",
                        got="rows without",
                        hint="The file is damaged or was changed: leave it out, or go back to a copy.",
                    )
                )
            meta = dict(database.rows("table meta", "SELECT key, value FROM meta"))
            with database.guard("table meta, row spec"):
                spec = read_spec(meta["spec"])
                text = spec.get("shard")
                shard = None if text is None else Shard(text)
                keys = (row[0] for batch in _batches(database, "planned", "key", by="position") for row in batch)
                whole = WholePlan.of(keys) if shard is None else WholePlan(**spec["whole"])
                yielded = cls(path, database, spec, str(meta["created"]), shard, whole)
            yield yielded

    @property
    def where(self) -> str:
        """The run's directory."""
        return str(self.path.parent)

    def last_rows(self) -> dict[str, int]:
        """Return the last row of each table, which another process may write on meanwhile.

        Trials last: all verdicts and readings up to here are then of trials up to here.
        """
        found = {}
        for table in reversed(list(TABLES)):
            ((last,),) = self.database.rows(f"table {table}", f"SELECT coalesce(max(rowid), 0) FROM {table}")  # noqa: S608  # literals
            found[table] = last
        return found


class Union:
    """One merge under way: into a database within a transaction of its."""

    def __init__(self, database: Database, connection: sqlite3.Connection, into: Path) -> None:
        self._database, self._target = database, connection
        self.added: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.differences: list[str] = []
        self._cells = {shared: number for number, shared in read_cells(database).items()}
        #: By the number of a session in the target: the runs that have it, with its number there, and what it is.
        self._came: dict[int, dict[str, int]] = {}
        self._told: dict[int, str] = {}
        self._sessions: dict[tuple[str, str], int] = {}
        self._numbers: dict[Path, dict[int, int]] = {}
        for session in read_sessions(database, str(into)):
            self._sessions[session.opened, canonical_json(session.process.plain())] = session.id
            self._note(session.id, str(into), session)

    def _note(self, number: int, where: str, session: Session) -> None:
        self._came.setdefault(number, {})[where] = session.id
        self._told[number] = f"on {session.process.host} ({session.opened})"

    def add_sessions(self, sources: Sequence[Source]) -> None:
        """Add the sessions of all runs, in the order of time: the same whatever order the runs are given in."""
        found = [
            (session.opened, canonical_json(session.process.plain()), session, source)
            for source in sources
            for session in read_sessions(source.database, source.where)
        ]
        for opened, process, session, source in sorted(found, key=lambda told: told[:2]):
            number = self._sessions.get((opened, process))
            if number is None:
                statement = "INSERT INTO sessions (opened, process) VALUES (?, ?)"
                number = int(self._target.execute(statement, (opened, process)).lastrowid or 0)
                self._sessions[opened, process] = number
            self._note(number, source.where, session)
            self._numbers.setdefault(source.path, {})[session.id] = number

    def add_plan(self, source: Source) -> None:
        """Add what of a plan is not there yet, at its places."""
        cells = read_cells(source.database)
        numbers: dict[int, int] = {}
        for number, condition, key in source.database.rows("table cells", "SELECT id, condition, key FROM cells"):
            shared = cells[number]
            if shared not in self._cells:
                self._cells[shared] = len(self._cells)
                self._target.execute("INSERT INTO cells VALUES (?, ?, ?)", (self._cells[shared], condition, key))
            numbers[number] = self._cells[shared]
        for batch in _batches(source.database, "planned", f"position, {PLANNED}", by="position"):
            there = self._there("planned", f"position, {PLANNED}", [row[1] for row in batch], key=1)
            new = []
            for position, key, cell, *rest in batch:
                row = (position, key, numbers.get(cell), *rest)
                if there.get(key, row) != row:
                    raise another_plan(source, f"trial {key[:12]} at place {position}", "another place or condition")
                if key not in there:
                    planned_trial(source.database, cells, (key, cell, *rest))
                    new.append(row)
            try:
                insert = f"INSERT INTO planned (position, {PLANNED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # literals
                self._target.executemany(insert, new)
            except sqlite3.IntegrityError as error:
                raise another_plan(source, "one trial at each place of the plan", "two") from error

    def check_plan(self, sources: Sequence[Source]) -> None:
        """Raise unless the plan is whole, and the one that all runs say that they are of."""
        keys = (row[0] for batch in _batches(self._database, "planned", "key", by="position") for row in batch)
        found, whole = WholePlan.of(keys), sources[0].whole
        if found.trials < whole.trials:
            raise StoreMismatchError(
                explain(
                    "runs",
                    required=f"all shards of the plan, {whole.trials} trials",
                    got=f"{found.trials}, without shard {', '.join(_missing(sources)) or 'of another split'}",
                    hint="Run these first; or name the prepared run too, whose plan says what is left. Nothing was "
                    "written.",
                )
            )
        if found != whole:
            raise another_plan(sources[0], str(whole), str(found))

    def add_vectors(self, source: Source) -> None:
        """Add the vectors that are not there yet."""
        there = {digest for (digest,) in self._target.execute("SELECT digest FROM vectors")}
        for batch in _batches(source.database, "vectors", "digest, concept, layer, file", size=8):
            for found, concept, layer, data in batch:
                if found not in there:
                    with source.database.guard(f"table vectors, row {found[:12]}"):
                        check_key(found, ConceptVector.from_bytes(data, f"vector {found[:12]}").digest)
                    self._target.execute("INSERT INTO vectors VALUES (?, ?, ?, ?)", (concept, layer, found, data))

    def add_rows(self, source: Source, table: str, last: int) -> None:
        """Add the rows of a table that are not there yet, and compare those that are."""
        told = TABLES[table]
        place = told.columns.index("session") if "session" in told.columns else None
        numbers = self._numbers.get(source.path, {})
        columns = ", ".join(told.columns)
        settled = ", ".join(f"{column} = excluded.{column}" for column in told.columns[1:])
        insert = (
            f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(told.columns))}) "  # noqa: S608  # literals
            f"ON CONFLICT (key) DO UPDATE SET {settled}"
        )
        for batch in _batches(source.database, table, columns, last=last):
            there = self._there(table, columns, [row[0] for row in batch])
            new = []
            for given in batch:
                row = given
                with source.database.guard(f"table {table}, row {given[0][:12]}"):
                    if place is not None:
                        row = (*given[:place], numbers[given[place]], *given[place + 1 :])
                    mine = there.get(row[0])
                    if mine is None:
                        told.read(row)
                    kept = row if mine is None else self._settle(source, table, mine, row)
                self.added[table] += mine is None
                self.known[table] += mine is not None
                new += [] if kept is None else [kept]
            self._target.executemany(insert, new)

    def _settle(self, source: Source, table: str, mine: _Row, theirs: _Row) -> _Row | None:
        """Return the row that takes the place of one that is there, None where that stays; note a difference."""
        told = TABLES[table]
        if mine[told.value] == theirs[told.value]:
            return None
        one, other = told.read(mine), told.read(theirs)
        if told.alike(one, other):  # the one that was recorded first stays, whatever order they come in
            return min(mine, theirs, key=lambda row: (row[told.at], row[told.value]))
        if table == "verdicts" and mine[_SCORED] != theirs[_SCORED]:
            return max(mine, theirs, key=lambda row: row[_SCORED])
        sides = [
            f"{self._origin(told, mine, source, there=True)}: {told.tell(one)}",
            f"{self._origin(told, theirs, source, there=False)}: {told.tell(other)}",
        ]
        of = f" of trial {mine[1][:12]}" if "trial" in told.columns else ""
        self.differences.append(f"{told.name} {mine[0][:12]}{of}: {'; '.join(sides)}")
        return None

    def _origin(self, told: _Table, row: _Row, source: Source, *, there: bool) -> str:
        """Return where a row comes from, of the two that a difference has: ``source``, or what was there before it."""
        if "session" not in told.columns:
            return "another run" if there else source.where
        number = row[told.columns.index("session")]
        came = self._came[number]
        runs = [where for where in came if (where != source.where) == there] or list(came)
        return f"{' or '.join(f'{run}, session {came[run]}' for run in runs)} {self._told[number]}"

    def _there(self, table: str, columns: str, keys: Sequence[str], *, key: int = 0) -> dict[str, _Row]:
        marks = ", ".join("?" * len(keys))
        rows = self._target.execute(f"SELECT {columns} FROM {table} WHERE key IN ({marks})", list(keys))  # noqa: S608  # literals
        return {row[key]: row for row in rows}


def _batches(
    database: Database, table: str, columns: str, *, by: str = "rowid", last: int = 2**63 - 1, size: int = _BATCH
) -> Iterator[list[_Row]]:
    """Yield the rows of a table in batches, up to the one with the number ``last``."""
    statement = f"SELECT {by}, {columns} FROM {table} WHERE {by} > ? AND {by} <= ? ORDER BY {by} LIMIT {size}"  # noqa: S608  # literals
    at = _BEFORE_ALL
    while batch := database.rows(f"table {table}", statement, (at, last)):
        at = batch[-1][0]
        yield [row[1:] for row in batch]


def _missing(sources: Iterable[Source]) -> list[str]:
    """Return the shards that are not among some, all of one split; none where there are several splits."""
    shards = [source.shard for source in sources if source.shard is not None]
    splits = {shard.of for shard in shards}
    there = {shard.number for shard in shards}
    return [f"{n}/{of}" for of in splits for n in range(1, of + 1) if n not in there] if len(splits) == 1 else []


def another_plan(source: Source, required: str, got: str) -> StoreMismatchError:
    """Return the error for a run whose plan is not the one that is to be merged."""
    return StoreMismatchError(
        explain(
            f"run {source.where}: plan",
            required=required,
            got=got,
            hint="Its store was changed by something else, or is of another plan. Nothing was written.",
        )
    )


@attrs.frozen
class _Table:
    """A table to be merged: what a row of it is called, its columns (the key first), where its value and its time are.

    ``read`` makes sense of a row, and raises where there is none; ``tell`` says in words what was read; ``alike`` is
    whether two machines agree.
    """

    name: str
    columns: tuple[str, ...]
    value: int
    at: int
    read: Callable[[_Row], Any]
    tell: Callable[[Any], str] = lambda value: digest("value", 1, plain(value))[:12]
    alike: Callable[[Any, Any], bool] = operator.eq


def _read_verdict(row: _Row) -> Verdict:
    found = cast("Verdict", read_of_trial(Verdict, row[0], row[1], row[3]))
    check_key(f"scored {row[_SCORED]}", f"scored {int(found.unscored is None)}")
    return found


def _read_reading(row: _Row) -> Reading:
    found = cast("Reading", read_of_trial(Reading, row[0], row[1], row[3]))
    check_key(row[2], found.measure_digest)
    return found


def _tell_trial(stored: Stored) -> str:
    reply = f"reply {digest('reply', 1, plain(stored.reply))[:12]}, {len(stored.reply.token_ids)} tokens"
    receipts = [
        f"{r.prompt_positions}+{r.generation_positions} positions by {r.mean_ratio:.6g}, at most {r.max_ratio:.6g}"
        for r in stored.receipts
    ]
    return f"{reply}, receipts {receipts or 'none'}"


def _trials_alike(one: Stored, other: Stored) -> bool:
    """Whether two replies are the same, and their receipts but for the last bits, in which batches differ."""
    same = attrs.evolve(one, receipts=()) == attrs.evolve(other, receipts=())
    alike = map(receipts_alike, one.receipts, other.receipts)
    return same and len(one.receipts) == len(other.receipts) and all(alike)


def _verdicts_alike(one: Verdict, other: Verdict) -> bool:
    """Whether two verdicts say the same: two that could not be scored do, whatever the reasons."""
    return one == other or None not in (one.unscored, other.unscored)


#: The column of a verdict's row that says whether it is scored.
_SCORED = 2
#: What is merged, each table before those that refer to it.
TABLES: Mapping[str, _Table] = MappingProxyType(
    {
        "found": _Table("dose", ("key", "kind", "value"), 2, 1, lambda row: read_one_found(*row)),
        "trials": _Table(
            *("trial", ("key", "record", "recorded_at", "session"), 1, 2),
            lambda row: read_stored(row[1]),
            _tell_trial,
            _trials_alike,
        ),
        "effects": _Table("effect", ("key", "effect", "session"), 1, 2, lambda row: read_effect(*row[:2])),
        "readings": _Table(
            "reading", ("key", "trial", "measure", "reading", "recorded_at", "session"), 3, 4, _read_reading
        ),
        "verdicts": _Table(
            *("verdict", ("key", "trial", "scored", "verdict", "recorded_at", "session"), 3, 4),
            _read_verdict,
            alike=_verdicts_alike,
        ),
    }
)
