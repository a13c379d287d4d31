"""What the prefix cache holds, and the proof of it: requests of one cell share a prefill, and never anyone else's.

A cell is a prompt with what is injected into it. Each has a salt of its own, which vLLM hashes into the blocks of the
prompt, so that neither another injection nor a control ever reads them. A request whose prompt came from the cache is
proved by what the request measured that filled it.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from ..requests import Request
from ..steering import NOT_STEERED
from .wire import CACHED


@attrs.define(eq=False)
class Cell:
    """One cell: its salt, who is in flight, and for each steer what was measured (3, prompt positions from START)."""

    salt: str
    members: set[str] = attrs.field(factory=set)
    proved: list[npt.NDArray[np.float32]] = attrs.field(factory=list)

    def learn(self, measured: list[npt.NDArray[np.float32]], prompts: list[int]) -> None:
        """Keep what a member measured at its steers' first ``prompts`` positions, those of the prompt."""
        if not self.proved:
            self.proved = [np.full((3, n), NOT_STEERED, dtype=np.float32) for n in prompts]
        for known, sizes in zip(self.proved, measured, strict=True):
            new = sizes[:, : known.shape[1]]
            ran = ~(new[1] < 0)
            known[:, ran] = new[:, ran]

    def fill(self, measured: list[npt.NDArray[np.float32]]) -> bool:
        """Put what others proved where a member's positions came from the cache; return whether all of it is there."""
        whole = True
        for number, sizes in enumerate(measured):
            (cached,) = np.nonzero(sizes[0] == CACHED)
            known = self.proved[number] if self.proved else np.full((3, 0), NOT_STEERED, dtype=np.float32)
            cached = cached[cached < known.shape[1]]
            there = cached[~(known[1, cached] < 0)]
            sizes[:, there] = known[:, there]
            whole &= len(there) == len(cached)
        return whole


class Cells:
    """The cells of an engine. One that is forgotten and comes again gets another salt, and so an empty cache."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._cells: OrderedDict[Any, Cell] = OrderedDict()
        self._numbers = itertools.count()

    def of(self, request: Request) -> Cell:
        """Return the cell of a request; one that is replayed or read has its own, since it must run every position."""
        if request.forced is not None or request.reads:
            return self._new()
        # A control of one prompt may read what a control of another left: the cache knows their tokens apart.
        prompt = request.prompt.token_ids if request.steers else ()
        key = (prompt, tuple(s.key for s in request.steers))
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = self._new()
        self._cells.move_to_end(key)
        for old in [k for k, c in itertools.islice(self._cells.items(), 8) if not c.members]:
            if len(self._cells) <= self._most or old == key:
                break
            del self._cells[old]
        return cell

    def _new(self) -> Cell:
        return Cell(f"introspection-{next(self._numbers)}")
