"""What must outlive a judging process: batches that were sent, and what every call cost or may have cost."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from ...databases import Database
from ...errors import StoreError, explain
from ...freezing import frozen_tuple

# A call's cost is NULL until the service has answered; until then, and if it never does, what was set aside counts.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS judge_batches (intent TEXT PRIMARY KEY, batch_id TEXT UNIQUE, created REAL NOT NULL, \
size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS judge_batch_calls (intent TEXT NOT NULL REFERENCES judge_batches ON DELETE CASCADE, \
custom_id TEXT NOT NULL, delivered INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (intent, custom_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS judge_batch_ids ON judge_batch_calls (custom_id);
CREATE TABLE IF NOT EXISTS judge_costs (entry TEXT PRIMARY KEY, model TEXT NOT NULL, reserved REAL, cost REAL, \
at REAL NOT NULL);
"""
#: Values of ``delivered`` besides 0, on the way: handed over; not in the results when they were last read.
_DELIVERED, _MISSED = 1, 2
#: The sum of all costs, and how many of them no call can have.
_TOTAL = """
SELECT TOTAL(COALESCE(cost, reserved)), TOTAL(typeof(cost) NOT IN ('real', 'null') OR typeof(reserved) NOT IN
('real', 'null') OR COALESCE(cost, 0) NOT BETWEEN 0 AND 1e15 OR COALESCE(reserved, 0) NOT BETWEEN 0 AND 1e15)
FROM judge_costs
"""
#: What an error calls the ledger.
_PLACE = "the judges' ledger"


def _frozen_set(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


@attrs.frozen
class OpenBatch:
    """A batch with answers that were not delivered yet.

    ``batch_id`` is None where it is not known whether the service received it: the process ended between sending
    and hearing back. ``created`` is the local time (seconds since 1970) just before it was sent. ``size`` counts all
    its requests, ``asked`` are their ids, ``undelivered`` those whose answers have not reached a stored verdict;
    ``missed`` of these were not in its results when an earlier judging read them.
    """

    intent: str
    batch_id: str | None
    created: float
    size: int
    undelivered: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    asked: frozenset[str] = attrs.field(converter=_frozen_set)
    missed: frozenset[str] = attrs.field(converter=_frozen_set)


def batch_entry(intent: str, custom_id: str) -> str:
    """Return the name under which a batch's request stands among the costs."""
    return f"{intent}/{custom_id}"


class Ledger:
    """Batches and costs in a SQLite file, such as a run's store.

    Tables ``judge_batches``, ``judge_batch_calls`` and ``judge_costs``. Every method is durable before it returns,
    and may be called from any thread. The order of calls for one batch: :meth:`intend` before it is sent,
    :meth:`submitted` once the service gave it an id (or :meth:`withdraw` where it certainly was not created), and
    :meth:`delivered` for each request whose answer has been made into a verdict *and taken by the caller*.

    Costs are US dollars, None for a model without a known price. What was set aside counts as spent until it is
    settled or released, also after the process that set it aside was killed. Raises :class:`StoreError` where the
    file can't be opened, read or written.
    """

    def __init__(self, store: str | Path = ":memory:") -> None:
        self.path = str(store)
        self._lock = threading.RLock()
        self._db = Database.in_memory() if self.path == ":memory:" else Database.create(self.path)
        self._db.add_tables(_SCHEMA)

    def is_same(self, other: Ledger) -> bool:
        """Whether both are kept in one file."""
        return self is other or (self.path == other.path and self.path != ":memory:")

    # -- costs

    def reserve(self, model: str, usd: float | None, limit: float | None) -> str | None:
        """Set aside what a call may cost; returns the entry, None if everything would come to more than ``limit``."""
        entry = uuid.uuid4().hex
        with self._writing() as db:
            return entry if self._set_aside(db, model, {entry: usd}, limit) else None

    def settle(self, entry: str, model: str, usd: float | None) -> None:
        """Record what a call cost, in place of what was set aside for it."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO judge_costs VALUES (?, ?, ?, ?, ?) ON CONFLICT (entry) DO UPDATE SET cost = excluded.cost",
                (entry, model, usd, usd, time.time()),
            )

    def release(self, entries: Iterable[str]) -> None:
        """Forget calls that certainly were not billed."""
        with self._writing() as db:
            db.executemany("DELETE FROM judge_costs WHERE entry = ?", [(e,) for e in entries])

    def total(self) -> float:
        """Return what all calls cost, or may have cost, in US dollars; calls without a known price are left out.

        Raises :class:`StoreError` where an entry is no amount of money: a limit can't hold by a damaged ledger.
        """
        total, wrong = self._rows(_TOTAL)[0]
        if wrong:
            raise StoreError(
                explain(
                    f"{self.path}: {_PLACE}",
                    required="costs in US dollars, >= 0",
                    got=f"{wrong:.0f} entries that are none",
                    hint="The file is damaged or was changed by something else: go back to a copy.",
                )
            )
        return float(total)

    def _set_aside(
        self, db: sqlite3.Connection, model: str, costs: Mapping[str, float | None], limit: float | None
    ) -> list[str]:
        """Set aside for as many calls, in order, as stay within the limit; returns their entries."""
        spent, fitting = self.total(), []
        for entry, usd in costs.items():
            spent += usd or 0.0
            if limit is not None and spent > limit:
                break
            fitting.append(entry)
        rows = [(entry, model, costs[entry], time.time()) for entry in fitting]
        db.executemany("INSERT INTO judge_costs VALUES (?, ?, ?, NULL, ?)", rows)
        return fitting

    # -- batches

    def intend(self, model: str, costs: Mapping[str, float | None], limit: float | None) -> OpenBatch | None:
        """Record that a batch is about to be sent, and set aside what it may cost.

        ``costs``: what each request may cost, by its id. The batch holds as many of them, in order, as stay within
        the limit; None if not even the first does.
        """
        intent = uuid.uuid4().hex
        with self._writing() as db:
            entries = self._set_aside(db, model, {batch_entry(intent, c): usd for c, usd in costs.items()}, limit)
            ids = list(costs)[: len(entries)]
            if not ids:
                return None
            batch = OpenBatch(intent, None, time.time(), len(ids), ids, ids, ())
            db.execute("INSERT INTO judge_batches VALUES (?, NULL, ?, ?)", (intent, batch.created, batch.size))
            db.executemany(
                "INSERT INTO judge_batch_calls (intent, custom_id) VALUES (?, ?)", [(intent, c) for c in ids]
            )
            return batch

    def submitted(self, intent: str, batch_id: str) -> None:
        """Record the service's id of an intended batch."""
        with self._writing() as db:
            db.execute("UPDATE judge_batches SET batch_id = ? WHERE intent = ?", (batch_id, intent))

    def withdraw(self, intent: str) -> None:
        """Forget an intent, and what was set aside for it: no such batch exists."""
        with self._writing() as db:
            entries = [
                (batch_entry(intent, custom_id),)
                for (custom_id,) in db.execute("SELECT custom_id FROM judge_batch_calls WHERE intent = ?", (intent,))
            ]
            db.executemany("DELETE FROM judge_costs WHERE entry = ?", entries)
            db.execute("DELETE FROM judge_batch_calls WHERE intent = ?", (intent,))
            db.execute("DELETE FROM judge_batches WHERE intent = ?", (intent,))

    def failed(self, intent: str, custom_ids: Iterable[str]) -> None:
        """Record that this batch gave these requests no answer; other batches with them are not concerned."""
        self._mark(intent, custom_ids, _DELIVERED)

    def missed(self, intent: str, custom_ids: Iterable[str]) -> None:
        """Record that these requests were not in this batch's results: another judging looks once more."""
        self._mark(intent, custom_ids, _MISSED)

    def delivered(self, custom_ids: Iterable[str]) -> None:
        """Record that these requests' answers were handed over; they are not looked for again."""
        with self._writing() as db:
            db.executemany("UPDATE judge_batch_calls SET delivered = 1 WHERE custom_id = ?", [(c,) for c in custom_ids])

    def open(self) -> tuple[OpenBatch, ...]:
        """Return the batches with undelivered requests, newest first."""
        calls: dict[str, dict[str, int]] = {}
        for intent, custom_id, state in self._rows(
            "SELECT intent, custom_id, delivered FROM judge_batch_calls ORDER BY custom_id"
        ):
            calls.setdefault(intent, {})[custom_id] = state
        rows = self._rows("SELECT intent, batch_id, created, size FROM judge_batches ORDER BY created DESC, rowid DESC")
        found = []
        for intent, batch_id, created, size in rows:
            states = calls.get(intent, {})
            undelivered = [c for c, state in states.items() if state != _DELIVERED]
            missed = [c for c in undelivered if states[c] == _MISSED]
            if undelivered:
                found.append(OpenBatch(intent, batch_id, created, size, undelivered, states, missed))
        return tuple(found)

    def known(self) -> frozenset[str]:
        """Return the service's ids of all batches that were ever recorded here."""
        return frozenset(row[0] for row in self._rows("SELECT batch_id FROM judge_batches WHERE batch_id IS NOT NULL"))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _mark(self, intent: str, custom_ids: Iterable[str], state: int) -> None:
        with self._writing() as db:
            db.executemany(
                "UPDATE judge_batch_calls SET delivered = ? WHERE intent = ? AND custom_id = ?",
                [(state, intent, c) for c in custom_ids],
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db.transaction(_PLACE) as connection:
            yield connection

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.rows(_PLACE, statement)
