"""How far a run's trials are, within a batch too: by the tokens of replies that are not finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..injectors.base import Injector
from ..notebook import Bars
from ..trials import TrialRecord
from .generating import OnTrial
from .planner import PlannedTrial


class Moving:
    """``total`` trials of which so many were ``done`` at first: what has come since.

    ``longest`` is the longest reply that may come, in tokens: by it those under way count as parts of trials. 0: they
    do not.
    """

    def __init__(self, total: int, done: int, longest: int = 0) -> None:
        self.total, self.longest = total, longest
        self.new = 0
        self._before, self._finished, self._sampled = done, 0, 0

    def on_trial(self, record: TrialRecord) -> None:
        """Take in one recorded trial."""
        self.new += 1
        self._finished += len(record.reply.token_ids)

    def on_tokens(self, count: int) -> None:
        """Take in so many tokens, of replies that are not finished too."""
        self._sampled += count

    @property
    def done(self) -> int:
        """How many trials are recorded."""
        return self._before + self.new

    @property
    def position(self) -> float:
        """How many trials are done, those under way as the parts of their longest possible replies."""
        under_way = max(self._sampled - self._finished, 0) / self.longest if self.longest else 0.0
        return min(self.done + under_way, self.total)

    @property
    def tokens(self) -> int:
        """How many tokens were sampled, as far as somebody could see."""
        return max(self._finished, self._sampled)


@contextmanager
def told_of_tokens(injector: Injector, on_tokens: Callable[[int], None]) -> Iterator[None]:
    """Hear of each step's tokens meanwhile; whoever heard before still does."""
    before = injector.on_tokens

    def both(count: int) -> None:
        on_tokens(count)
        if before is not None:
            before(count)

    injector.on_tokens = both
    try:
        yield
    finally:
        injector.on_tokens = before


@contextmanager
def trials_shown(
    shown: Bars, injector: Injector, done: int, pending: Sequence[PlannedTrial], on_trial: OnTrial | None
) -> Iterator[OnTrial | None]:
    """Show a bar of trials meanwhile, if any are; what is returned is to be called with each record."""
    with shown.bar("trials", done, done + len(pending)) as bar:
        if bar is None:
            yield on_trial
            return
        longest = max(trial.key.sampling.max_new_tokens for trial in pending)
        moving, began = Moving(done + len(pending), done, longest), time.monotonic()

        def tell() -> None:
            speed = moving.tokens / max(time.monotonic() - began, 1e-9)
            bar.reach(moving.position, note=f"{speed:.1f} tokens/s")

        def on_tokens(count: int) -> None:
            moving.on_tokens(count)
            tell()

        def one_more(record: TrialRecord) -> None:
            moving.on_trial(record)
            tell()
            if on_trial is not None:
                on_trial(record)

        with told_of_tokens(injector, on_tokens):
            yield one_more
