"""The generating stage: what is planned and not recorded, one reply each. It never judges anything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from ..errors import SilentInjectionError, SpecError, explain
from ..injectors.base import Injector
from ..injectors.requests import Completion, check_completion
from ..trials import TrialRecord
from .locks import RunLock, hold
from .planner import PlannedTrial
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


def generate_pending(
    store: Store, injector: Injector, lock: RunLock, pending: Sequence[PlannedTrial], on_trial: OnTrial | None
) -> None:
    """Run trials and record each as soon as it is finished and proved: many a second, some together."""
    with _Recorder(store, lock, on_trial) as recorder:
        for completion in _proved(injector, pending):
            trial = pending[completion.index].trial
            recorder.add(TrialRecord(trial, completion.reply, tuple(completion.receipts)))


class _Recorder:
    """Records trials: each at once, or some in one transaction where they end faster than a disk takes them.

    A transaction waits for the disk, 1 to 20 ms; an engine that ends a thousand trials a second would wait with it.
    What is held back meanwhile is a fraction of a second's work, and is recorded whatever ends the run short of a kill.
    """

    def __init__(self, store: Store, lock: RunLock, on_trial: OnTrial | None) -> None:
        self._store, self._lock, self._on_trial = store, lock, on_trial
        self._held: list[TrialRecord] = []
        self._began, self._ended = time.monotonic(), 0

    def add(self, record: TrialRecord) -> None:
        self._held.append(record)
        self._ended += 1
        fast = self._ended >= max(_FAST_FROM, _FAST_PER_S * (time.monotonic() - self._began))
        if not fast or len(self._held) >= _TOGETHER:
            self._write()

    def _write(self) -> None:
        if not self._held:
            return
        self._lock.check()
        records, self._held = self._held, []
        self._store.record_all(records)
        if self._on_trial is not None:
            for record in records:
                self._on_trial(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._write()


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
        named = type(error)(f"{pending[error.request]}: {error}")
        named.request = error.request
        raise named from error
