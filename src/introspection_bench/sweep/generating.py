"""The generating stage: what is planned and not recorded, one reply each. It never judges anything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from ..errors import SilentInjectionError, SpecError, explain
from ..injectors.requests import Completion, check_completion
from ..trials import TrialRecord
from .locks import RunLock, hold
from .making import Made, Maker
from .planner import PlannedTrial
from .sessions import Process, Session, WorkerPlace
from .store import Store

#: Called with each trial as soon as it is recorded.
OnTrial = Callable[[TrialRecord], None]
#: A run is fast that ended so many trials, and so many a second since it began; how many are then recorded together.
_FAST_FROM, _FAST_PER_S, _TOGETHER = 256, 64, 32


def generating(directory: str | Path) -> AbstractContextManager[RunLock]:
    """Hold the lock of the generating stage, which one process has at a time in a run directory.

    Raises :class:`~introspection_bench.errors.RunLockedError` that names the process that has it.
    """
    return hold(directory, "generate", "generates")


def pending_trials(
    planned: Sequence[PlannedTrial], done: Collection[str], limit: int | None = None
) -> list[PlannedTrial]:
    """Return what of a plan is not recorded, in its order; ``done`` are the keys of what is.

    With ``limit`` only what of the plan's first so many is not, the cells taken in turn: one trial of each before a
    second of any, and where there are fewer trials than cells, of cells that lie evenly apart. A larger limit holds
    what a smaller one held. Raises :class:`SpecError` for one below 1.
    """
    if limit is None:
        chosen = set(range(len(planned)))
    elif isinstance(limit, bool) or limit < 1:
        raise SpecError(
            explain("limit", required="a whole number >= 1", got=limit, hint="Leave it out for all trials.")
        )
    else:
        chosen = set(_in_turn(planned)[:limit])
    return [trial for n, trial in enumerate(planned) if n in chosen and trial.key.digest not in done]


def _in_turn(planned: Sequence[PlannedTrial]) -> list[int]:
    """Return the places of a plan's trials so that any first few of them are spread over its cells."""
    cells = list(dict.fromkeys(t.condition.cell for t in planned))
    bits = len(cells).bit_length()
    # Numbers read backwards in binary lie evenly apart, however many of them are taken.
    turn = {cell: int(f"{n:0{bits}b}"[::-1], 2) for n, cell in enumerate(cells)}
    seen: Counter[object] = Counter()
    order = []
    for n, trial in enumerate(planned):
        cell = trial.condition.cell
        order.append((seen[cell], turn[cell], n))
        seen[cell] += 1
    return [n for _, _, n in sorted(order)]


def check_once(planned: Sequence[PlannedTrial]) -> None:
    """Raise :class:`SpecError` for a trial that is planned twice."""
    seen: dict[str, PlannedTrial] = {}
    for trial in planned:
        other = seen.setdefault(trial.key.digest, trial)
        if other is not trial:
            raise SpecError(
                explain(
                    "plan",
                    required="trials that differ in what alters the reply",
                    got=f"the same trial twice: {other} and {trial}",
                    hint="Their vectors have the same values, or two arms do the same: leave one out.",
                )
            )


def generate_pending(
    store: Store, maker: Maker, lock: RunLock, pending: Sequence[PlannedTrial], on_trial: OnTrial | None
) -> None:
    """Run trials and record each as soon as it is finished and proved: many a second, some together."""
    with _Recorder(store, lock, on_trial) as recorder:
        for some in _proved(maker, pending):
            recorder.add([(TrialRecord(pending[m.index].trial, m.reply, m.receipts), m.by) for m in some])


class Pace:
    """How fast trials end: whether some should be handed on together."""

    def __init__(self) -> None:
        self._began, self._ended = time.monotonic(), 0

    def full(self, held: int) -> bool:
        """Count one more that ended, and say whether the ``held`` ones are to be handed on now."""
        self._ended += 1
        fast = self._ended >= max(_FAST_FROM, _FAST_PER_S * (time.monotonic() - self._began))
        return not fast or held >= _TOGETHER


class _Recorder:
    """Records trials: each at once, or some in one transaction where they end faster than a disk takes them.

    A transaction waits for the disk, 1 to 20 ms; an engine that ends a thousand trials a second would wait with it.
    What is held back meanwhile is a fraction of a second's work, and is recorded whatever ends the run short of a kill.
    """

    def __init__(self, store: Store, lock: RunLock, on_trial: OnTrial | None) -> None:
        self._store, self._lock, self._on_trial = store, lock, on_trial
        self._held: list[tuple[TrialRecord, Process | None]] = []
        self._sessions: dict[WorkerPlace | None, Session] = {}
        self._pace = Pace()

    def add(self, records: Sequence[tuple[TrialRecord, Process | None]]) -> None:
        self._held += records
        if len(records) > 1 or self._pace.full(len(self._held)):
            self._write()

    def _write(self) -> None:
        if not self._held:
            return
        self._lock.check()
        held, self._held = self._held, []
        mine = [record for record, by in held if by is None]
        if mine:
            self._store.record_all(mine)
        for by in {by.worker: by for _, by in held if by is not None}.values():
            theirs = [record for record, other in held if other is not None and other.worker == by.worker]
            self._store.record_all(theirs, self._session_of(by))
        if self._on_trial is not None:
            for record, _ in held:
                self._on_trial(record)

    def _session_of(self, process: Process) -> Session:
        """Return the session of a worker, which is opened with the first that it made."""
        if process.worker not in self._sessions:
            self._sessions[process.worker] = self._store.begin_session(process)
        return self._sessions[process.worker]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._write()


def _proved(maker: Maker, pending: Sequence[PlannedTrial]) -> Iterator[list[Made]]:
    """Yield what is made and whose receipts hold; an error of one that doesn't names its trial."""
    try:
        for some in maker.make(pending):
            good, failure = [], None
            for made in some:
                try:
                    # Again here, although the port checks it: a plugin may have replaced the port's own generate, and
                    # what workers send came over a wire.
                    completion = Completion(made.index, made.reply, made.receipts)
                    check_completion(pending[made.index].request, completion)
                    good.append(made)
                except SilentInjectionError as error:
                    failure = failure or error
            yield good
            if failure is not None:
                raise failure
    except SilentInjectionError as error:
        if error.request is None:
            raise
        named = type(error)(f"{pending[error.request]}: {error}")
        named.request = error.request
        raise named from error
