"""SQLite files with one guard around every access: whatever goes wrong is a :class:`StoreError` that says where.

A file is opened for reading, and for writing when it is first written to: what is finished can be read where nothing
may be written. The journal is SQLite's rollback journal, so that a run is one file, which also holds on network disks
(write-ahead logs need memory that all readers share). A file may come from other people: its triggers, views and
functions never run, and :meth:`Database.check_schema` refuses tables that differ from ours.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import cattrs

from .errors import IntrospectionBenchError, OutputError, StoreError, explain
from .files import check_in_place
from .structuring import problems

#: Seconds to wait for another process to finish its write.
_PATIENCE_S = 30.0
#: The longest text or blob that is read, in bytes; a vector or reply has thousands.
_LONGEST = 256 * 2**20
#: What SQLite keeps beside a file: with something in it, the file alone is not the whole truth.
_ASIDE = ("-journal", "-wal")

_WAYS_OUT = {
    "FULL": "The disk is full: make room and do it again; what was recorded before is safe.",
    "BUSY": f"Another process kept it locked for {_PATIENCE_S:.0f} s: wait until it is done, or end it.",
    "LOCKED": "Another connection keeps it locked: close it first.",
    "READONLY": "It can't be written: check its rights and its folder's, or copy the folder to where you may write.",
    "CANTOPEN": "Check your rights on the file and its folder. Where a process was killed while it wrote, copy the "
    "folder with everything in it to where you may write.",
    "PERM": "Check your rights on the file and its folder.",
    "AUTH": "Check your rights on the file and its folder.",
    "CORRUPT": "The file is damaged: go back to a copy, or see what `sqlite3 FILE .recover` still finds.",
    "NOTADB": "Check the path: this is no SQLite file, or a damaged one.",
    "IOERR": "The disk failed or is full; what was recorded before is safe. Do it again, or copy the folder elsewhere.",
    "TOOBIG": "No value of ours is that large: the file is damaged, or not from this package.",
}
_DAMAGED = "The file is damaged or was changed by something else: go back to a copy."


class Database:
    """An open SQLite file; a context manager. Use :meth:`open`, :meth:`create` or :meth:`in_memory`.

    It may be shared by threads. Every method raises :class:`StoreError` that names the file, the place in it and what
    to do, for everything that SQLite or a row can do wrong.
    """

    def __init__(self, path: Path | None, connection: sqlite3.Connection, *, writable: bool) -> None:
        self.path = path
        self._connection = connection
        self._writable = writable
        # Judges work in several threads, and a connection's transaction is one thread's.
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open an existing file, for reading until it is written to.

        Raises :class:`StoreError` for a missing, foreign or damaged file, and for one whose last write was cut off
        where it can't be undone (the folder can't be written): what was recorded could not be told from what was not.
        """
        path = Path(path)
        with _explained(path, "it"):
            if not path.is_file():
                raise StoreError(
                    explain(str(path), required="a SQLite file", got="no such file", hint="Check the path.")
                )
            return cls(path, _for_reading(path), writable=False)

    @classmethod
    def open_if_any(cls, path: str | Path) -> Self | None:
        """Open a file as :meth:`open` does; None where there is none, or one that was begun and holds no table."""
        path = Path(path)
        with _explained(path, "it"):
            if not path.is_file():
                return None
        found = cls.open(path)
        if found.rows("its schema", _SCHEMA_QUERY):
            return found
        found.close()
        return None

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Open a file for writing; it is made where it is missing."""
        path = Path(path)
        with _explained(path, "it"):
            return cls(path, _for_writing(path, "rwc"), writable=True)

    @classmethod
    def in_memory(cls) -> Self:
        """Return a database that ends with the process."""
        return cls(
            None, _settled(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)), writable=True
        )

    def rows(self, place: str, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. ``place`` is what an error calls it ("table trials").

        They are read at once: a reader that takes its time would keep writers waiting.
        """
        with self._lock, self.guard(place):
            return self._connection.execute(statement, parameters).fetchall()

    @contextmanager
    def transaction(self, place: str) -> Iterator[sqlite3.Connection]:
        """Yield the connection inside a transaction: all of what is written is kept, or nothing."""
        with self._lock, self.guard(place):
            self._make_writable()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite ends it by itself where the disk is full.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def guard(self, place: str) -> Iterator[None]:
        """Turn what reading or making sense of a row raises into a :class:`StoreError` that names file and place."""
        with _explained(self.path, place):
            yield

    def check_schema(self, statements: str, others: str = "") -> None:
        """Raise :class:`StoreError` unless the tables and indexes are exactly those of these statements.

        ``others`` is the prefix of tables that somebody else answers for, who checks them by the same method; tables
        that begin with it and are not in ``statements`` are let be, but triggers and views never are.
        """
        expected = _schema_of(statements)
        found = set(self.rows("its schema", _SCHEMA_QUERY))
        ours = {name for _, name, _, _ in expected}
        let_be = {
            row
            for row in found - expected
            if row[1] not in ours and row[0] in ("table", "index") and others and str(row[2]).startswith(others)
        }
        self._require(expected, found - let_be)

    def _require(self, expected: set[tuple[Any, ...]], found: set[tuple[Any, ...]]) -> None:
        if expected != found:
            wrong = sorted({f"{kind} {name}" for kind, name, *_ in expected ^ found})
            raise StoreError(
                explain(
                    str(self.path),
                    required="the tables that this package makes",
                    got=f"missing, changed or added: {', '.join(wrong)}",
                    hint="It was changed by something else, or is no file of this package.",
                )
            )

    def add_tables(self, statements: str) -> None:
        """Make what is missing of these tables and indexes, in one transaction.

        The statements are written with CREATE TABLE IF NOT EXISTS, and checked afterwards to be what is there.
        """
        expected = _schema_of(statements)
        if not expected <= set(self.rows("its schema", _SCHEMA_QUERY)):
            with self.transaction("its schema") as connection:
                for statement in _split(statements):
                    connection.execute(statement)
        self._require(expected, expected & set(self.rows("its schema", _SCHEMA_QUERY)))

    def to_bytes(self) -> bytes:
        """Return the content of a file that holds the same."""
        with self._lock, self.guard("it"):
            return self._connection.serialize()

    def close(self) -> None:
        """Close the file."""
        with self._lock, self.guard("it"):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _make_writable(self) -> None:
        if self._writable or self.path is None:
            return
        # Closed first: a reader of a write-ahead log keeps a lock as long as it is open.
        self._connection.close()
        try:
            self._connection, self._writable = _for_writing(self.path, "rw"), True
        except BaseException:
            self._connection = _for_reading(self.path)
            raise


def remove_leftovers(path: Path) -> None:
    """Remove what SQLite kept beside a file that is gone or empty: it would be written into the next of that name."""
    with _explained(path, "what SQLite left beside it"):
        for aside in (*_ASIDE, "-shm"):
            path.with_name(path.name + aside).unlink(missing_ok=True)


_SCHEMA_QUERY = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"


def _schema_of(statements: str) -> set[tuple[Any, ...]]:
    with Database.in_memory() as scratch:
        for statement in _split(statements):
            scratch._connection.execute(statement)
        return set(scratch.rows("its schema", _SCHEMA_QUERY))


def _split(statements: str) -> list[str]:
    return [s for s in statements.split(";") if s.strip()]


def _connect(path: Path, query: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{query}"
    return _settled(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_PATIENCE_S, check_same_thread=False))


def _settled(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    # What a stranger wrote into the schema calls no function.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _checked(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return the connection if its file is whole: a lost index entry would hide a row without an error."""
    try:
        (told,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if told != "ok":
            raise sqlite3.DatabaseError(f"damaged: {told}")
    except BaseException:
        connection.close()
        raise
    return connection


def _for_reading(path: Path) -> sqlite3.Connection:
    try:
        return _checked(_connect(path, "mode=ro"))
    except sqlite3.Error as error:
        other = _other_way(path, error)
        if other is None:
            raise
        return _checked(_connect(path, other))


def _for_writing(path: Path, mode: str) -> sqlite3.Connection:
    for name in ("", *_ASIDE):
        check_in_place(path.with_name(path.name + name))
    connection = _checked(_connect(path, f"mode={mode}"))
    # A GPU hour is worth the fsyncs: with EXTRA a machine that loses power loses no commit.
    connection.execute("PRAGMA synchronous = EXTRA")
    with suppress(sqlite3.OperationalError):  # a file with a write-ahead log that others read keeps it for now
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_S * 1000:.0f}")
    return connection


def _other_way(path: Path, error: sqlite3.Error) -> str | None:
    """Return how else a file that can't be opened for reading may be read, None where there is no right way."""
    if _name(error) not in ("READONLY", "CANTOPEN"):
        return None
    effective = os.access in os.supports_effective_ids
    if any(_holds_something(path, aside) for aside in _ASIDE) or os.access(
        path.parent, os.W_OK, effective_ids=effective
    ):
        return "mode=rw"  # a killed process left its journal: SQLite has to take back what it had not finished
    # A file with a write-ahead log needs one in its folder to be read; without one it is the whole truth, and nobody
    # writes it in a folder that is only read.
    return "immutable=1"


def _holds_something(path: Path, aside: str) -> bool:
    with suppress(FileNotFoundError):
        return path.with_name(path.name + aside).stat().st_size > 0
    return False


def _name(error: sqlite3.Error) -> str:
    return (getattr(error, "sqlite_errorname", None) or "").removeprefix("SQLITE_").partition("_")[0]


@contextmanager
def _explained(path: Path | None, place: str) -> Iterator[None]:
    where = f"{path}: {place}" if path else place
    try:
        yield
    except (StoreError, OutputError):
        raise
    except IntrospectionBenchError as error:
        raise StoreError(explain(where, required="what this package wrote", got=str(error), hint=_DAMAGED)) from error
    except sqlite3.Error as error:
        hint = _WAYS_OUT.get(_name(error), "Check the file and its folder.")
        if "damaged:" in str(error):
            hint = _WAYS_OUT["CORRUPT"]
        raise StoreError(explain(where, required="to be read or written", got=str(error), hint=hint)) from error
    except OSError as error:
        got = error.strerror or str(error)
        raise StoreError(
            explain(where, required="a file that can be opened", got=got, hint=_WAYS_OUT["CANTOPEN"])
        ) from error
    except cattrs.BaseValidationError as error:
        got = problems(error, "value")
        raise StoreError(explain(where, required="what this package wrote", got=got, hint=_DAMAGED)) from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        raise StoreError(explain(where, required="what this package wrote", got=got, hint=_DAMAGED)) from error
