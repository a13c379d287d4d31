"""One SQLite file per run: the plan, every finished trial, every verdict. Everything else can be made again.

There is no "running" state: what is planned and not recorded is still to do. The file appears whole, with its plan.
Each finished trial and each verdict is one transaction, so a killed process loses only what it had not finished.
Reading writes nothing, so that a finished run can be read where nothing may be written. A file may come from other
people: tables, rows and their agreement are checked, and what is wrong is a :class:`StoreError` that names the place.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from ..analysis.searching import search_note
from ..analysis.stopping import stopping_note
from ..boundaries import checked
from ..databases import Database, remove_leftovers
from ..effects import DoseEffect, Effects, Found, FoundDose
from ..errors import StoreError, VersionWarning, explain
from ..files import write_file
from ..injection import Receipt
from ..measures.readings import Reading
from ..results import Results
from ..trials import Reply, Trial, TrialRecord
from ..vectors import ConceptVector
from ..verdicts import Verdict
from .choosing import Chosen
from .layout import (
    INSERT_READING,
    INSERT_TRIAL,
    INSERT_VERDICT,
    WITH_SESSIONS,
    add_effects,
    add_found,
    add_planned,
    add_session,
    add_vectors,
    check_key,
    check_layout,
    new_store,
    read_effects,
    read_found,
    read_planned,
    read_record,
    read_sessions,
    read_spec,
    reading_row,
    set_spec,
    trial_row,
    verdict_row,
)
from .locks import hold
from .sameness import check_same
from .sessions import Process, Session, differences, sessions_note, this_process, unfinished_note
from .spec import RunSpec
from .written import reader, write

#: Name of the file within a run directory.
FILE_NAME = "store.sqlite"
#: Seconds that a process may take to make a store before another one gives up waiting for it.
CREATION_S = 60.0


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
        spec: RunSpec,
        planned: Sequence[Trial],
        vectors: Iterable[ConceptVector],
        found: Iterable[Found] = (),
    ) -> Self:
        """Start a run, or continue the one that is there.

        Its plan must begin with ``planned``: what a planner asked for later stands behind. A run that had no
        confirmation takes the one of ``spec``, and what it planned so far becomes the selecting part. Raises
        :class:`StoreMismatchError`, with nothing changed, where the directory holds the run of another design, backend,
        model or confirmation, and :class:`StoreError` for a file that isn't a store.
        """
        if not cls.is_begun(directory):
            with hold(directory, "create", "makes the run", patience_s=CREATION_S):
                if not cls.is_begun(directory):  # another process may have made it meanwhile
                    _begin(directory, new_store(spec.plain(), planned, vectors, found=found))
        store = cls.open(directory)
        try:
            check_same(store.directory, store.spec(), store._planned_keys(), spec, planned)
            store._confirm(spec, vectors)
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
        with hold(directory, "create", "makes the run", patience_s=CREATION_S):
            if cls.is_begun(directory):
                raise StoreError(
                    explain("directory", required="one without a run", got=str(directory), hint="Choose another name.")
                )
            _begin(directory, new_store(spec, [r.trial for r in records], (), records))
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
        """What the run is, as plain values (:meth:`RunSpec.plain`; of an imported run, what its source says)."""
        text = self._meta("spec")
        with self._database.guard("table meta, row spec"):
            return MappingProxyType(read_spec(text))

    def run_spec(self) -> RunSpec:
        """What the run is, as a value, its vectors those of the run.

        Raises :class:`~introspection_bench.errors.SpecError` for an imported run, which has none.
        """
        known = {v.digest: v for v in self.vectors()}
        return RunSpec.from_plain(self.spec(), str(self.path), vectors=known)

    def planned(self) -> dict[str, Trial]:
        """Planned trials by key, in order."""
        return read_planned(self._database)

    @checked(StoreError)
    def extend(self, planned: Sequence[Trial], found: Iterable[Found] = (), chosen: Chosen | None = None) -> None:
        """Put further trials behind the plan, with what was found on the model for them, in one transaction.

        Those that are there already stay. ``chosen`` is what these confirm; it is kept with them, and the first that is
        kept stays.
        """
        known, kept = set(self._planned_keys()), {one.key for one in self.found()}
        new = [trial for trial in planned if trial.key.digest not in known]
        doses = [one for one in found if one.key not in kept]
        first = chosen is not None and self.chosen() is None
        if new or doses or first:
            with self._database.transaction("tables planned, found and meta") as connection:
                if first:
                    set_spec(connection, {**self.spec(), "chosen": write(chosen)})
                add_found(connection, doses)
                add_planned(connection, new)

    def chosen(self) -> Chosen | None:
        """What the run has chosen to be confirmed; None before it has, and in a run that confirms nothing."""
        told = self.spec().get("chosen")
        with self._database.guard("table meta, row spec"):
            return None if told is None else reader(self.directory, {}).structure(told, Chosen)

    def found(self) -> list[Found]:
        """What was found on the model when the run was planned: doses by their effect, and how far answers move."""
        return read_found(self._database)

    @checked(StoreError)
    def add_effects(self, effects: Iterable[DoseEffect]) -> None:
        """Keep effects of doses, in one transaction; those that are there already stay."""
        session = self._its_session()
        with self._database.transaction("table effects") as connection:
            add_effects(connection, effects, session)

    def effects(self) -> Effects:
        """The effects of the run's doses on neutral prompts, as far as they were measured."""
        return read_effects(self._database)

    def recorded(self) -> set[str]:
        """Keys of the trials that are finished."""
        return {key for (key,) in self._database.rows("table trials", "SELECT key FROM trials")}

    @checked(StoreError)
    def begin_session(self, process: Process | None = None) -> Session:
        """Open a session, which the rows recorded from now on name; by default of this process.

        Who records without a session opens one so. Warns with a :class:`~introspection_bench.errors.VersionWarning`
        that names the differences where the last session that did the same had other versions.
        """
        process = this_process("other") if process is None else process
        alike = [s for s in self.sessions() if (s.process.stage, s.process.name) == (process.stage, process.name)]
        with self._database.transaction("table sessions") as connection:
            session = self._session = add_session(connection, process)
        last = [s for s in alike if s.recorded][-1:]
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
        """The run's sessions in order, each with how many trials, verdicts, readings and effects name it."""
        return read_sessions(self._database, str(self.path))

    def session_of(self) -> dict[str, int]:
        """The number of the session that recorded a trial, a verdict, a reading or an effect, by the row's key."""
        parts = [f"SELECT key, session FROM {table}" for table in WITH_SESSIONS]  # noqa: S608  # literals
        return dict(self._database.rows("tables with sessions", " UNION ALL ".join(parts)))

    def results(self) -> Results:
        """Every finished trial with its verdicts as one value, with notes on what its numbers rest on.

        Noted is where its sessions had other versions, where it stopped or searched by what it saw, and what it lacks.
        """
        records, spec = self.records(), dict(self.spec())
        told = [sessions_note(self.sessions()), stopping_note(records, spec), search_note(records, spec)]
        told.append(unfinished_note(len(records), len(self._planned_keys())))
        doses = [one for one in self.found() if isinstance(one, FoundDose)]
        name = self.directory.resolve().name
        return Results(name, records, spec, str(self.directory), list(filter(None, told)), self.effects(), doses)

    @checked(StoreError)
    def record(self, trial: Trial, reply: Reply, receipts: Sequence[Receipt]) -> TrialRecord:
        """Keep a finished trial, as :meth:`record_all` does."""
        self.record_all([record := TrialRecord(trial, reply, tuple(receipts))])
        return record

    @checked(StoreError)
    def record_all(self, records: Sequence[TrialRecord], session: Session | None = None) -> None:
        """Keep finished trials, without their verdicts and readings, in one transaction; those that are there stay."""
        number = self._its_session() if session is None else session.id
        rows = [trial_row(record, number) for record in records]
        named = ", ".join(record.key.digest[:12] for record in records[:3])
        with self._database.transaction(f"table trials, row {named}") as connection:
            connection.executemany(f"{INSERT_TRIAL} ON CONFLICT (key) DO NOTHING", rows)

    @checked(StoreError)
    def add_reading(self, trial: str, reading: Reading) -> None:
        """Keep a reading, in one transaction; one that is already there stays as it is."""
        row = reading_row(trial, reading, self._its_session())
        with self._database.transaction(f"table readings, trial {trial[:12]}") as table:
            table.execute(f"{INSERT_READING} ON CONFLICT (key) DO NOTHING", row)

    def reading_keys(self) -> set[str]:
        """Keys of the readings that are there."""
        return {key for (key,) in self._database.rows("table readings", "SELECT key FROM readings")}

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
        """Every finished trial with its verdicts and readings, in the order of the plan."""
        # Verdicts and readings first: what another process records meanwhile can then only lack some, not trials.
        verdicts = self._by_trial("verdicts", "verdict")
        readings = self._by_trial("readings", "reading")
        texts = dict(self._database.rows("table trials", "SELECT key, record FROM trials"))
        planned = self.planned()
        strays = (verdicts.keys() | readings.keys() | texts.keys()) - (texts.keys() & planned.keys())
        if strays:
            raise StoreError(
                explain(
                    str(self.path),
                    required="a planned trial for every reply, and a reply for every verdict and reading",
                    got=f"none for {', '.join(sorted(k[:12] for k in strays)[:3])}, {len(strays)} in all",
                    hint="The file is damaged or was changed by something else: go back to a copy.",
                )
            )
        found = []
        for key, trial in planned.items():
            if key in texts:
                with self._database.guard(f"tables trials, verdicts and readings, trial {key[:12]}"):
                    record = read_record(trial, texts[key], verdicts.get(key, ()), readings.get(key, ()))
                found.append(record)
        return found

    def _by_trial(self, table: str, column: str) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for key, trial, text in self._database.rows(
            f"table {table}",
            f"SELECT key, trial, {column} FROM {table} ORDER BY recorded_at, key",  # noqa: S608  # literals
        ):
            found.setdefault(trial, []).append((key, text))
        return found

    def _planned_keys(self) -> list[str]:
        return [key for (key,) in self._database.rows("table planned", "SELECT key FROM planned ORDER BY position")]

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

    def _meta(self, key: str) -> str:
        rows = self._database.rows("table meta", "SELECT value FROM meta WHERE key = ?", (key,))
        with self._database.guard(f"table meta, row {key}"):
            return str(rows[0][0])

    def _confirm(self, spec: RunSpec, vectors: Iterable[ConceptVector]) -> None:
        """Take the confirmation of ``spec`` where the run has none yet, in one transaction."""
        if spec.confirm is None or self.spec().get("confirm") is not None:
            return
        told = spec.plain()
        with self._database.transaction("tables meta and planned") as connection:
            set_spec(connection, {**self.spec(), **{name: told[name] for name in ("confirm", "further")}})
            connection.execute("UPDATE planned SET part = 'selection' WHERE part IS NULL")
            add_vectors(connection, vectors)


def _file_of(path: Path) -> Path:
    try:
        return path / FILE_NAME if path.is_dir() else path
    except OSError:
        return path  # opening it will say what is wrong with it


def _begin(directory: str | Path, data: bytes) -> None:
    path = Path(directory) / FILE_NAME
    remove_leftovers(path)
    write_file(path, data)
