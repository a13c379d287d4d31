"""Where a run's trials are generated: in this process, or by workers of a pool. The port, and the first of the two."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import attrs

from ..injection import Receipt
from ..injectors.base import Injector
from ..trials import Reply
from .planner import PlannedTrial
from .sessions import Process, this_process


@attrs.frozen
class Made:
    """The reply to ``pending[index]`` with its receipts; ``by`` is the worker that made it, None for this process."""

    index: int
    reply: Reply
    receipts: tuple[Receipt, ...]
    by: Process | None = None


class Maker(abc.ABC):
    """What generates trials, ready to work. It writes nothing: the run's process alone does."""

    @property
    def process(self) -> Process | None:
        """What the session of everything that it makes says; None where each of its workers has one of its own."""
        return None

    def describe(self) -> str:
        """Return a few words on its workers for those who wait; empty where there is nothing to say."""
        return ""

    @abc.abstractmethod
    def make(self, pending: Sequence[PlannedTrial]) -> Iterator[list[Made]]:
        """Yield each trial once, as it is finished, in any order, with others that wait already.

        Raises what :meth:`Injector.generate` raises, with the place of the trial in ``pending`` as the error's request.
        """


class Pool(abc.ABC):
    """Workers to be started, each with an injector of its own that is opened as the sweep's was."""

    @abc.abstractmethod
    def start(self, injector: Injector) -> AbstractContextManager[Maker]:
        """Return what starts the workers once there is something to make, and stops them behind the block.

        Raises :class:`~introspection_bench.errors.SpecError` for an injector that can't be opened by others.
        """


@attrs.frozen
class InProcess(Maker):
    """This process and its injector."""

    injector: Injector

    @property
    def process(self) -> Process | None:
        """This process."""
        return this_process("generate", self.injector)

    def make(self, pending: Sequence[PlannedTrial]) -> Iterator[list[Made]]:
        """Yield each trial once, as the injector finishes it."""
        for done in self.injector.generate([trial.request for trial in pending]):
            yield [Made(done.index, done.reply, done.receipts)]


def started(on: Pool | Maker | None, injector: Injector) -> AbstractContextManager[Maker]:
    """Return what generates, ready for the block: by default this process; what is started already stays so."""
    if on is None:
        return nullcontext(InProcess(injector))
    return on.start(injector) if isinstance(on, Pool) else nullcontext(on)
