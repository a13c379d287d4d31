"""Running a grid: plan, resume, generate, record. Judging is a stage of its own."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from ..boundaries import checked
from ..errors import SilentInjectionError, SpecError, StoreError, explain
from ..files import file_stem, make_own_folder
from ..injectors.base import Completion, Injector, check_completion
from ..results import Results
from ..trials import Part, TrialRecord
from ..vectors import ConceptVector
from .grid import Grid, PlannedTrial, plan
from .judging import JudgingSummary, judge_run
from .locks import RunLock, hold
from .manifest import write_manifest
from .sessions import this_process
from .store import Store

if TYPE_CHECKING:
    from ..judges.base import Judge

#: Called with each trial as soon as it is recorded.
OnTrial = Callable[[TrialRecord], None]


class Sweep:
    """One grid, on one injector, in one run directory.

    Making a sweep plans it: every prompt is rendered and every request validated, and nothing is written. The same
    grid on the same model continues a run, with the run's own date, and its own vectors where the grid's differ by
    rounding alone or by the day (:meth:`Grid.with_vectors_of`); another grid is an error. Raises what :func:`plan` and
    :meth:`Injector.validate` raise, and :class:`~introspection_bench.errors.StoreError` for a store that can't be read.
    """

    @checked(SpecError)
    def __init__(self, grid: Grid, injector: Injector, directory: str | Path) -> None:
        self.injector = injector
        self.directory = Path(directory)
        self.grid = _continued(grid, self.directory)
        self.planned: list[PlannedTrial] = plan(
            self.grid, injector.model, injector.name, injector.numerics, injector.tokenizer
        )
        for trial in self.planned:
            injector.validate(trial.request)

    def spec(self) -> dict[str, Any]:
        """What the run is, as plain values: grid, model, backend with the version of its numerics."""
        return {
            "grid": self.grid.spec(),
            "model": attrs.asdict(self.injector.model),
            "backend": self.injector.name,
            "numerics": self.injector.numerics,
        }

    def run(self, on_trial: OnTrial | None = None) -> Results:
        """Run what is not recorded yet, and return the whole run.

        Each trial is recorded in a transaction of its own as soon as it is finished, so an interrupted run loses
        only what was under way; run it again to go on. Raises
        :class:`~introspection_bench.errors.RunLockedError` where another process generates in the directory,
        :class:`~introspection_bench.errors.StoreMismatchError` for a directory with another run, and
        :class:`~introspection_bench.errors.SilentInjectionError` rather than record an unproven injection, or a reply
        that rests on a number which isn't finite; it names the trial. Warns where the last session had other versions
        (:meth:`Store.begin_session`).
        """
        with generating(self.directory) as lock, self.open_store() as store:
            done = store.recorded()
            pending = [t for t in self.planned if t.key.digest not in done]
            if pending:
                store.begin_session(this_process("generate", self.injector))
            self._write_aside(store)
            for completion in _proved(self.injector, pending):
                trial, reply = pending[completion.index], completion.reply
                lock.check()
                record = store.record(trial, reply, completion.receipt, self.injector.model.name)
                if on_trial is not None:
                    on_trial(record)
            return store.results()

    def judge(self, judge: str | Judge, *, retry_unscored: bool = False, part: Part = "answer") -> JudgingSummary:
        """Judge every recorded reply that this judge has not scored; see :func:`judge_run`."""
        with Store.open(self.directory) as store:
            return judge_run(store, judge, retry_unscored=retry_unscored, part=part)

    def results(self) -> Results:
        """What is recorded so far, with all verdicts."""
        with Store.open(self.directory) as store:
            return store.results()

    def open_store(self) -> Store:
        """Create the run's store, or open it if it is this very run's."""
        return Store.create(self.directory, self.spec(), self.planned, self.grid.vectors)

    def _write_aside(self, store: Store) -> None:
        """Write what the store can always remake: vectors as files, and a manifest for people."""
        folder = make_own_folder(self.directory / "vectors")
        for vector in store.vectors():
            name = f"{file_stem(vector.concept)}-layer{vector.layer}-{vector.digest[:8]}.safetensors"
            vector.save(folder / name)
        write_manifest(store)


def generating(directory: str | Path) -> AbstractContextManager[RunLock]:
    """Hold the lock of the generating stage, which one process has at a time in a run directory.

    Raises :class:`~introspection_bench.errors.RunLockedError` that names the process that has it.
    """
    return hold(directory, "generate", "generates")


def _proved(injector: Injector, pending: Sequence[PlannedTrial]) -> Iterator[Completion]:
    """Yield completions whose receipts hold; an error of one that doesn't names its trial."""
    try:
        for completion in injector.generate([t.request for t in pending]):
            # Again here, although the port checks it: a plugin may have replaced the port's own generate.
            check_completion(pending[completion.index].request, completion)
            yield completion
    except SilentInjectionError as error:
        if error.request is None:
            raise
        named = type(error)(f"{pending[error.request].shown}: {error}")
        named.request = error.request
        raise named from error


def _continued(grid: Grid, directory: Path) -> Grid:
    """Return the grid with the date and the vectors of the run that it goes on with, a date of its own otherwise."""
    if not Store.is_begun(directory):
        return attrs.evolve(grid, date=grid.day)
    with Store.open(directory) as store:
        known = grid.with_vectors_of(store.vectors())
        return attrs.evolve(known, date=grid.date or _date_of(store) or known.day)


def run_date(directory: str | Path) -> datetime.date | None:
    """Return the date that a run's prompts were rendered with; None where there is no run, or it doesn't say."""
    if not Store.is_begun(directory):
        return None
    with Store.open(directory) as store:
        return _date_of(store)


def run_vectors(directory: str | Path) -> list[ConceptVector]:
    """Return a run's vectors; none where there is no run."""
    if not Store.is_begun(directory):
        return []
    with Store.open(directory) as store:
        return store.vectors()


def _date_of(store: Store) -> datetime.date | None:
    stated = store.spec()["grid"].get("date")
    try:
        return None if stated is None else datetime.date.fromisoformat(stated)
    except (TypeError, ValueError) as error:
        raise StoreError(
            explain(f"{store.path}: grid.date", required="a date, as 2026-07-26", got=stated, hint="It is damaged.")
        ) from error
