"""One SQLite file per run: the plan, every finished trial, every verdict. Everything else can be made again.

There is no "running" state: what is planned and not recorded is still to do. The file appears whole, with its plan.
Each finished trial and each verdict is one transaction, so a killed process loses only what it had not finished.
Reading writes nothing, so that a finished run can be read where nothing may be written. A file may come from other
people: tables, rows and their agreement are checked, and what is wrong is a :class:`StoreError` that names the place.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from ..boundaries import checked
from ..databases import Database, remove_leftovers
from ..digests import canonical_json
from ..errors import StoreError, StoreMismatchError, VersionWarning, explain
from ..files import write_file
from ..injection import Receipt
from ..results import Results
from ..trials import Reply, TrialRecord, Verdict
from ..vectors import ConceptVector
from .grid import PlannedTrial
from .layout import (
    INSERT_TRIAL,
    INSERT_VERDICT,
    add_session,
    check_key,
    check_layout,
    new_store,
    read_cell,
    read_process,
    read_record,
    read_spec,
    trial_row,
    verdict_row,
)
from .locks import hold
from .sessions import Process, Session, differences, sessions_note, this_process

#: Name of the file within a run directory.
FILE_NAME = "store.sqlite"
#: Seconds that a process may take to make a store before another one gives up waiting for it.
_CREATION_S = 60.0


class Store:
    """An open run. Use :meth:`create` or :meth:`open`, and close it (it is a context manager)."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database
        self._session: Session | None = None

    @classmethod
    @checked(StoreError)
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
        if not cls.is_begun(directory):
            with hold(directory, "create", "makes the run", patience_s=_CREATION_S):
                if not cls.is_begun(directory):  # another process may have made it meanwhile
                    _begin(directory, new_store(spec, planned, vectors))
        store = cls.open(directory)
        try:
            store._check_same(spec, planned)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    @checked(StoreError)
    def create_from_records(
        cls, directory: str | Path, spec: Mapping[str, Any], records: Sequence[TrialRecord]
    ) -> Self:
        """Start a run that is finished already: somebody else's trials, with their verdicts, to judge and report.

        It appears with all of them or not at all. ``spec`` is as of :meth:`spec`. Raises :class:`StoreError` where
        the directory holds a run.
        """
        with hold(directory, "create", "makes the run", patience_s=_CREATION_S):
            if cls.is_begun(directory):
                raise StoreError(
                    explain("directory", required="one without a run", got=str(directory), hint="Choose another name.")
                )
            _begin(directory, new_store(spec, records, (), records))
        return cls.open(directory)

    @classmethod
    @checked(StoreError)
    def is_begun(cls, directory: str | Path) -> bool:
        """Say whether the directory holds a run; a store that was cut off before its plan was in it is none.

        Raises :class:`StoreError` where that can't be told.
        """
        found = Database.open_if_any(Path(directory) / FILE_NAME)
        if found is not None:
            found.close()
        return found is not None

    @classmethod
    @checked(StoreError)
    def open(cls, path: str | Path) -> Self:
        """Open a run directory or its ``store.sqlite``: for reading, and for writing when it is first written to.

        Raises :class:`StoreError` for a missing file, a file that isn't a store or is damaged, another schema
        version, and tables that were changed or added.
        """
        path = _file_of(Path(path))
        database = Database.open_if_any(path)
        if database is None:
            raise StoreError(
                explain("run", required=f"a run directory with {FILE_NAME}", got=str(path), hint="Run the sweep first.")
            )
        try:
            check_layout(database)
        except BaseException:
            database.close()
            raise
        return cls(path, database)

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.path.parent

    @property
    def created(self) -> str:
        """When the run was planned: ISO 8601, UTC."""
        return str(self._meta("created"))

    def spec(self) -> Mapping[str, Any]:
        """What the run is, as plain values: ``grid`` (see :meth:`Grid.spec`), ``model``, ``backend``, ``numerics``."""
        text = self._meta("spec")
        with self._database.guard("table meta, row spec"):
            return MappingProxyType(read_spec(text))

    def planned(self) -> dict[str, dict[str, Any]]:
        """Planned trials in order: key -> ``arm concept scaffold layer magnitude unit trial_index``."""
        found = {}
        for key, text in self._database.rows("table planned", "SELECT key, cell FROM planned ORDER BY position"):
            with self._database.guard(f"table planned, row {key[:12]}"):
                found[key] = read_cell(text)
        return found

    def recorded(self) -> set[str]:
        """Keys of the trials that are finished."""
        return {key for (key,) in self._database.rows("table trials", "SELECT key FROM trials")}

    @checked(StoreError)
    def begin_session(self, process: Process | None = None) -> Session:
        """Open a session, which the trials and verdicts recorded from now on name; by default of this process.

        Who records without a session opens one so. Warns with a :class:`~introspection_bench.errors.VersionWarning`
        that names the differences where the last session that did the same had other versions.
        """
        process = this_process("other") if process is None else process
        alike = [s for s in self.sessions() if (s.process.stage, s.process.name) == (process.stage, process.name)]
        with self._database.transaction("table sessions") as connection:
            session = self._session = add_session(connection, process)
        last = [s for s in alike if s.trials or s.verdicts][-1:]
        changed = differences([*last, session])
        if changed:
            warnings.warn(
                f"run {self.directory}: this session goes on with other versions than the one of {last[0].opened}: "
                f"{'; '.join(changed)}. Both are in the store and in manifest.json.",
                VersionWarning,
                stacklevel=4,  # the check of arguments is a frame, too
            )
        return session

    def sessions(self) -> list[Session]:
        """The run's sessions in order, each with the number of trials and of verdicts that name it."""
        counts = [
            dict(self._database.rows(f"table {table}", f"SELECT session, count(*) FROM {table} GROUP BY session"))  # noqa: S608  # two literals
            for table in ("trials", "verdicts")
        ]
        found = []
        for number, opened, text in self._database.rows(
            "table sessions", "SELECT id, opened, process FROM sessions ORDER BY id"
        ):
            with self._database.guard(f"table sessions, row {number}"):
                found.append(Session(number, opened, read_process(text), *(c.pop(number, 0) for c in counts)))
        if any(counts):
            raise StoreError(
                explain(
                    str(self.path),
                    required="a session for every trial and verdict",
                    got=f"none for the sessions {sorted({*counts[0], *counts[1]})[:3]}",
                    hint="The file is damaged or was changed by something else: go back to a copy.",
                )
            )
        return found

    def session_of(self) -> dict[str, int]:
        """The number of the session that recorded a trial or a verdict, by the row's key."""
        rows = self._database.rows(
            "tables trials and verdicts", "SELECT key, session FROM trials UNION ALL SELECT key, session FROM verdicts"
        )
        return dict(rows)

    def results(self) -> Results:
        """Every finished trial with its verdicts as one value, with a note where its sessions had other versions."""
        note = sessions_note(self.sessions())
        name = self.directory.resolve().name
        return Results(name, self.records(), dict(self.spec()), str(self.directory), [note] if note else [])

    @checked(StoreError)
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
            span=trial.span,
            scaffold_digest=trial.scaffold_digest,
        )
        session = self._its_session()
        with self._database.transaction(f"table trials, row {trial.key.digest[:12]}") as connection:
            connection.execute(f"{INSERT_TRIAL} ON CONFLICT (key) DO NOTHING", trial_row(record, session))
        return record

    @checked(StoreError)
    def add_verdict(self, trial: str, verdict: Verdict) -> None:
        """Keep a verdict, in one transaction. A scored verdict is never replaced; an unscored one may be."""
        session = self._its_session()
        with self._database.transaction(f"table verdicts, trial {trial[:12]}") as connection:
            connection.execute(
                f"{INSERT_VERDICT} ON CONFLICT (key) DO UPDATE SET scored = excluded.scored, "
                "verdict = excluded.verdict, recorded_at = excluded.recorded_at, session = excluded.session "
                "WHERE verdicts.scored = 0",
                verdict_row(trial, verdict, session),
            )

    @checked(StoreError)
    def verdict_keys(self, *, scored_only: bool = False) -> set[str]:
        """Keys of the verdicts that are there."""
        rows = self._database.rows("table verdicts", "SELECT key FROM verdicts WHERE scored >= ?", (int(scored_only),))
        return {key for (key,) in rows}

    def records(self) -> list[TrialRecord]:
        """Every finished trial with its verdicts, in the order of the plan."""
        # Verdicts first: what another process records meanwhile can then only lack verdicts, not trials.
        verdicts: dict[str, dict[str, str]] = {}
        for key, trial, text in self._database.rows(
            "table verdicts", "SELECT key, trial, verdict FROM verdicts ORDER BY recorded_at, key"
        ):
            verdicts.setdefault(trial, {})[key] = text
        rows = self._database.rows(
            "table trials", "SELECT trials.key, record FROM trials LEFT JOIN planned USING (key) ORDER BY position"
        )
        there = {key for key, _ in rows}
        planned = {key for (key,) in self._database.rows("table planned", "SELECT key FROM planned")}
        strays = (verdicts.keys() | there) - (there & planned)
        if strays:
            raise StoreError(
                explain(
                    str(self.path),
                    required="a planned trial for every reply, and a reply for every verdict",
                    got=f"none for {', '.join(sorted(k[:12] for k in strays)[:3])}, {len(strays)} in all",
                    hint="The file is damaged or was changed by something else: go back to a copy.",
                )
            )
        return [self._record(key, text, verdicts.get(key, {})) for key, text in rows]

    def vectors(self) -> list[ConceptVector]:
        """The run's vectors."""
        found = []
        for digest, data in self._database.rows("table vectors", "SELECT digest, file FROM vectors ORDER BY rowid"):
            with self._database.guard(f"table vectors, row {digest[:12]}"):
                vector = ConceptVector.from_bytes(data, f"vector {digest[:12]}")
                check_key(digest, vector.digest)
                found.append(vector)
        return found

    def _its_session(self) -> int:
        return (self._session or self.begin_session()).id

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _record(self, key: str, text: str, verdicts: Mapping[str, str]) -> TrialRecord:
        with self._database.guard(f"table trials or verdicts, trial {key[:12]}"):
            return read_record(key, text, verdicts)

    def _meta(self, key: str) -> str:
        rows = self._database.rows("table meta", "SELECT value FROM meta WHERE key = ?", (key,))
        with self._database.guard(f"table meta, row {key}"):
            return str(rows[0][0])

    def _check_same(self, spec: Mapping[str, Any], planned: Sequence[PlannedTrial]) -> None:
        mine = self.spec()
        for field in ("backend", "numerics", "model"):
            if mine.get(field) != spec.get(field):
                raise StoreMismatchError(
                    explain(
                        f"run {self.directory}",
                        required=f"{field} {_short(mine.get(field))}, which made it",
                        got=_short(spec.get(field)),
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


def _short(value: object) -> str:
    return f"{value['name']} ({value['fingerprint'][:12]})" if isinstance(value, Mapping) else str(value)


def _file_of(path: Path) -> Path:
    try:
        return path / FILE_NAME if path.is_dir() else path
    except OSError:
        return path  # opening it will say what is wrong with it


def _begin(directory: str | Path, data: bytes) -> None:
    path = Path(directory) / FILE_NAME
    remove_leftovers(path)
    write_file(path, data)
