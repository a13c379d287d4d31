"""What is remembered of batches that were sent, so that a killed process neither loses nor pays for them twice."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import attrs

from ..digests import digest
from ..errors import StoreError, explain
from ..freezing import frozen_tuple


@attrs.frozen
class OpenBatch:
    """A batch with answers that were not delivered yet.

    ``batch_id`` is None where it is not known whether the service received it: the process ended between sending
    and hearing back. ``created`` is the local time (seconds since 1970) just before it was sent. ``size`` counts all
    its requests, ``undelivered`` are those whose answers have not reached a stored verdict.
    """

    intent: str
    batch_id: str | None
    created: float
    size: int
    payload: str
    undelivered: tuple[str, ...] = attrs.field(converter=frozen_tuple)


class BatchLedger(Protocol):
    """The port that :class:`~introspection_bench.judges.claude.ClaudeJudge` keeps its batches in.

    Every method is durable before it returns. The order of calls for one batch: :meth:`intend` before it is sent,
    :meth:`submitted` once the service gave it an id (or :meth:`withdraw` where it certainly was not created), and
    :meth:`delivered` for each request whose answer has been made into a verdict *and taken by the caller*.
    """

    def intend(self, custom_ids: Sequence[str]) -> str:
        """Record that a batch with these requests is about to be sent; returns the intent's own id."""

    def submitted(self, intent: str, batch_id: str) -> None:
        """Record the service's id of an intended batch."""

    def withdraw(self, intent: str) -> None:
        """Forget an intent: no such batch exists, or it can't be read any more."""

    def failed(self, intent: str, custom_ids: Sequence[str]) -> None:
        """Record that this batch gave these requests no answer; other batches with them are not concerned."""

    def delivered(self, custom_ids: Sequence[str]) -> None:
        """Record that these requests' answers were handed over; they are not looked for again."""

    def open(self) -> tuple[OpenBatch, ...]:
        """Return the batches with undelivered requests, newest first."""

    def known(self) -> frozenset[str]:
        """Return the service's ids of all batches that were ever recorded here."""


def payload_digest(custom_ids: Sequence[str]) -> str:
    """Return the digest of a batch's requests; each custom id is itself the digest of a whole request."""
    return digest("batch_payload", 1, sorted(custom_ids))


class SqliteBatchLedger:
    """A ledger in a SQLite file, such as a run's store: tables ``judge_batches`` and ``judge_batch_calls``.

    ``store`` is a path or an open connection. A connection must be in autocommit mode or idle: the ledger commits
    after each of its own writes. Raises :class:`StoreError` where the file can't be opened or is not a database.
    """

    def __init__(self, store: str | Path | sqlite3.Connection) -> None:
        self._own = not isinstance(store, sqlite3.Connection)
        try:
            self._db = store if isinstance(store, sqlite3.Connection) else sqlite3.connect(store, timeout=30)
            with self._db:
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS judge_batches (intent TEXT PRIMARY KEY, batch_id TEXT UNIQUE, "
                    "created REAL NOT NULL, size INTEGER NOT NULL, payload TEXT NOT NULL)"
                )
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS judge_batch_calls (intent TEXT NOT NULL REFERENCES judge_batches "
                    "ON DELETE CASCADE, custom_id TEXT NOT NULL, delivered INTEGER NOT NULL DEFAULT 0, "
                    "PRIMARY KEY (intent, custom_id)) WITHOUT ROWID"
                )
                self._db.execute("CREATE INDEX IF NOT EXISTS judge_batch_ids ON judge_batch_calls (custom_id)")
        except sqlite3.Error as error:
            raise StoreError(
                explain("store", required="a SQLite file that can be written", got=str(error), hint=f"Path: {store}")
            ) from error

    def intend(self, custom_ids: Sequence[str]) -> str:
        """See :class:`BatchLedger`."""
        intent = uuid.uuid4().hex
        with self._db:
            self._db.execute(
                "INSERT INTO judge_batches VALUES (?, NULL, ?, ?, ?)",
                (intent, time.time(), len(custom_ids), payload_digest(custom_ids)),
            )
            self._db.executemany(
                "INSERT INTO judge_batch_calls (intent, custom_id) VALUES (?, ?)", [(intent, c) for c in custom_ids]
            )
        return intent

    def submitted(self, intent: str, batch_id: str) -> None:
        """See :class:`BatchLedger`."""
        with self._db:
            self._db.execute("UPDATE judge_batches SET batch_id = ? WHERE intent = ?", (batch_id, intent))

    def withdraw(self, intent: str) -> None:
        """See :class:`BatchLedger`."""
        with self._db:
            self._db.execute("DELETE FROM judge_batch_calls WHERE intent = ?", (intent,))
            # A batch with an id stays known, so that it is never taken for another intent's.
            self._db.execute("DELETE FROM judge_batches WHERE intent = ? AND batch_id IS NULL", (intent,))

    def failed(self, intent: str, custom_ids: Sequence[str]) -> None:
        """See :class:`BatchLedger`."""
        with self._db:
            self._db.executemany(
                "UPDATE judge_batch_calls SET delivered = 1 WHERE intent = ? AND custom_id = ?",
                [(intent, c) for c in custom_ids],
            )

    def delivered(self, custom_ids: Sequence[str]) -> None:
        """See :class:`BatchLedger`."""
        with self._db:
            self._db.executemany(
                "UPDATE judge_batch_calls SET delivered = 1 WHERE custom_id = ?", [(c,) for c in custom_ids]
            )

    def open(self) -> tuple[OpenBatch, ...]:
        """See :class:`BatchLedger`."""
        calls: dict[str, list[str]] = {}
        for intent, custom_id in self._db.execute(
            "SELECT intent, custom_id FROM judge_batch_calls WHERE delivered = 0 ORDER BY custom_id"
        ):
            calls.setdefault(intent, []).append(custom_id)
        rows = self._db.execute(
            "SELECT intent, batch_id, created, size, payload FROM judge_batches ORDER BY created DESC, rowid DESC"
        )
        return tuple(
            OpenBatch(intent, batch_id, created, size, payload, calls[intent])
            for intent, batch_id, created, size, payload in rows
            if intent in calls
        )

    def known(self) -> frozenset[str]:
        """See :class:`BatchLedger`."""
        rows = self._db.execute("SELECT batch_id FROM judge_batches WHERE batch_id IS NOT NULL")
        return frozenset(row[0] for row in rows)

    def close(self) -> None:
        """Close the file, if this ledger opened it."""
        if self._own:
            self._db.close()


def in_memory_ledger() -> SqliteBatchLedger:
    """Return a ledger that ends with the process: batches under way are then found again by nobody."""
    return SqliteBatchLedger(":memory:")
