"""The generating stage: what is planned and not recorded, one reply each. It never judges anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ..errors import SilentInjectionError
from ..injectors.base import Injector
from ..injectors.requests import Completion, check_completion
from ..trials import TrialRecord
from .locks import RunLock, hold
from .planner import PlannedTrial
from .store import Store

#: Called with each trial as soon as it is recorded.
OnTrial = Callable[[TrialRecord], None]


def generating(directory: str | Path) -> AbstractContextManager[RunLock]:
    """Hold the lock of the generating stage, which one process has at a time in a run directory.

    Raises :class:`~introspection_bench.errors.RunLockedError` that names the process that has it.
    """
    return hold(directory, "generate", "generates")


def generate_pending(
    store: Store, injector: Injector, lock: RunLock, pending: Sequence[PlannedTrial], on_trial: OnTrial | None
) -> None:
    """Run trials and record each as soon as it is finished and proved."""
    for completion in _proved(injector, pending):
        lock.check()
        record = store.record(pending[completion.index].trial, completion.reply, completion.receipts)
        if on_trial is not None:
            on_trial(record)


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
