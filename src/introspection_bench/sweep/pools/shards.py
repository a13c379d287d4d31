"""Which trials go out together, and what becomes of those whose worker died. Nothing here knows of processes."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence

from ...errors import WorkerError, explain
from ..planner import PlannedTrial

#: So many shards for each worker are what is left cut into, so that all end at about the same time.
_SHARES = 2
#: Trials that were under way when a worker died go out again in smaller and smaller shards, so that one that kills its
#: worker is alone at last; the last death is an error.
_AFTER_DEATHS = (8, 1)
MOST_DEATHS = len(_AFTER_DEATHS) + 1


class Shards:
    """The trials of a call that are not under way, by their places in it."""

    def __init__(self, pending: Sequence[PlannedTrial], most: int) -> None:
        self._pending = pending
        self._most = most
        self._groups = deque(alike(pending))
        self._suspects: deque[list[int]] = deque()
        self._deaths: Counter[int] = Counter()
        self.left = len(pending)

    def take(self, workers: int) -> list[int]:
        """Return the next shard, empty where nothing is left.

        Trials that share a prefill stay together as far as a shard holds them. Shards get smaller towards the end.
        """
        if self._suspects:
            shard = self._suspects.popleft()
        else:
            size = min(self._most, math.ceil(self.left / (_SHARES * max(workers, 1))))
            shard = []
            while self._groups and len(shard) < size:
                group, room = self._groups[0], size - len(shard)
                if len(group) <= room:
                    shard += self._groups.popleft()
                elif shard and len(group) <= size:
                    break  # whole in the next one rather than a part in each
                else:
                    shard += group[:room]
                    self._groups[0] = group[room:]
        self.left -= len(shard)
        return shard

    def give_back(self, trials: Sequence[int]) -> None:
        """Take trials that were not begun: they are the next to go out."""
        if trials:
            self._groups.appendleft(list(trials))
            self.left += len(trials)

    def died(self, trials: Sequence[int], how: str) -> None:
        """Take trials that were under way when their worker died.

        Raises :class:`WorkerError` that names the trial where one was under way at the third such death.
        """
        self._deaths.update(trials)
        worst = max(trials, key=lambda n: self._deaths[n], default=None)
        if worst is not None and self._deaths[worst] >= MOST_DEATHS:
            raise WorkerError(
                explain(
                    str(self._pending[worst]),
                    required="a reply",
                    got=f"{MOST_DEATHS} workers that died at it, the last one alone with it: {how}",
                    hint="All else that was finished is recorded. Leave the trial out, or give workers more memory.",
                )
            )
        for deaths in sorted({self._deaths[n] for n in trials}):
            some, size = [n for n in trials if self._deaths[n] == deaths], _AFTER_DEATHS[deaths - 1]
            self._suspects += [some[start : start + size] for start in range(0, len(some), size)]
        self.left += len(trials)


def alike(pending: Sequence[PlannedTrial]) -> list[list[int]]:
    """Return the places of trials that share a prefill, prompt by prompt, both in the order of their first ones."""
    prompts: dict[object, dict[object, list[int]]] = {}
    for place, planned in enumerate(pending):
        steers = prompts.setdefault(planned.key.prompt, {})
        steers.setdefault(planned.key.steers, []).append(place)
    return [group for steers in prompts.values() for group in steers.values()]
