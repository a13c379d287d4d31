"""Places in the workers' tables, handed out by the injector: it alone decides who holds what."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Sequence

from ...injection import Steer
from ...vectors import ConceptVector


class Arena:
    """Contiguous pieces of a table, first fit."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Free pieces as (start, length), by start; neighbours are one piece.
        self._free = [(0, size)] if size else []

    @property
    def free(self) -> int:
        """How much is free, in pieces of any length."""
        return sum(length for _, length in self._free)

    def take(self, length: int) -> int | None:
        """Return where a piece begins that is the caller's now; None where no free piece is long enough."""
        if length == 0:
            return 0
        for number, (start, room) in enumerate(self._free):
            if room >= length:
                self._free[number : number + 1] = [(start + length, room - length)] if room > length else []
                return start
        return None

    def give_back(self, start: int, length: int) -> None:
        """Take back what :meth:`take` handed out."""
        if length == 0:
            return
        at = bisect.bisect(self._free, (start, length))
        if at < len(self._free) and self._free[at][0] == start + length:
            length += self._free.pop(at)[1]
        if at and sum(self._free[at - 1]) == start:
            start, before = self._free[at - 1][0], self._free[at - 1][1]
            self._free[at - 1] = (start, before + length)
        else:
            self._free.insert(at, (start, length))


class VectorRows:
    """Which row of the workers' table holds which vector. Rows that nobody uses keep theirs until another needs one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._rows: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self.unsent: dict[int, ConceptVector] = {}

    def take(self, steers: Sequence[Steer]) -> list[int] | None:
        """Return the row of each steer's vector, held until given back; None where there is no room for all of them."""
        wanted = {s.key.vector: s.vector for s in steers}
        new = [digest for digest in wanted if digest not in self._rows]
        # Which idle rows may go is looked up as they go: there may be thousands, and this is done for every request.
        idle = len(self._idle) - sum(digest in self._idle for digest in wanted)
        if len(new) > self.size - len(self._rows) + idle:
            return None
        for digest in new:
            row = len(self._rows)
            if row >= self.size:
                oldest = next(digest for digest in self._idle if digest not in wanted)
                del self._idle[oldest]
                row = self._rows.pop(oldest)
            self._rows[digest] = row
            self.unsent[row] = wanted[digest]
        for steer in steers:
            self._users[steer.key.vector] = self._users.get(steer.key.vector, 0) + 1
            self._idle.pop(steer.key.vector, None)
        return [self._rows[s.key.vector] for s in steers]

    def give_back(self, steers: Sequence[Steer]) -> None:
        """Let go of rows that :meth:`take` returned."""
        for digest in (s.key.vector for s in steers):
            self._users[digest] -= 1
            if not self._users[digest]:
                del self._users[digest]
                self._idle[digest] = None
