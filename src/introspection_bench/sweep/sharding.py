"""Shards: parts of one plan for jobs that know nothing of each other, and what says which plan they are parts of.

A cell's trials stay together, since they share their prefill. The largest cells are dealt first, each to the shard that
has the fewest trials so far (the first of those); cells of one size go by the smallest of their trials' keys. So the
split depends on nothing but the plan's trials, not on their order, and no shard has more trials than another by more
than the largest cell.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from ..boundaries import checked, guarded
from ..conditions import Condition
from ..digests import digest_bytes
from ..errors import SpecError, StoreMismatchError, explain
from ..trials import Trial, TrialRecord
from .design import Design
from .planner import Ground, PlannedTrial, Planner

_WRITTEN = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})")
_Trial = TypeVar("_Trial", Trial, PlannedTrial)


@guarded(SpecError)
@attrs.frozen
class Shard:
    """One of the shards of a plan, written ``3/16``: the third of sixteen.

    >>> Shard("3/16").number, Shard("3/16").of
    (3, 16)

    Raises :class:`SpecError` for a text that is none.
    """

    text: str = attrs.field()

    @text.validator
    def _check(self, _: object, value: str) -> None:
        match = _WRITTEN.fullmatch(value)
        if match is None or int(match[1]) > int(match[2]):
            raise SpecError(
                explain("shard", required="the number of a shard and of all, as 3/16", got=value, hint="From 1 on.")
            )

    @property
    def number(self) -> int:
        """Which one, from 1 on."""
        return int(self.text.partition("/")[0])

    @property
    def of(self) -> int:
        """How many there are."""
        return int(self.text.partition("/")[2])

    def __str__(self) -> str:
        return self.text


@guarded(SpecError)
@attrs.frozen
class WholePlan:
    """The identity of a plan that has shards: a digest of its trials' keys in order, and how many there are."""

    digest: str
    trials: int

    @classmethod
    @checked(SpecError)
    def of(cls, keys: Iterable[str]) -> WholePlan:
        """Return that of a plan with these keys, hex digits each; raises :class:`SpecError` for others."""
        found, count = bytearray(), 0
        for count, key in enumerate(keys, 1):
            try:
                found += bytes.fromhex(key)
            except (TypeError, ValueError) as error:
                raise SpecError(
                    explain(f"key {count}", required="hex digits, as trials' keys are", got=str(key), hint="")
                ) from error
        return cls(digest_bytes("plan", 1, bytes(found)), count)

    def __str__(self) -> str:
        return f"{self.digest[:12]}, {self.trials} trials"


@checked(SpecError)
def in_shard(trials: Sequence[_Trial], shard: Shard) -> list[_Trial]:
    """Return the trials of a plan that a shard has, in the plan's order.

    Raises :class:`SpecError` for more shards than the plan has cells.
    """
    cells: dict[Condition, list[int]] = {}
    for number, trial in enumerate(trials):
        cells.setdefault(trial.condition.cell, []).append(number)
    if shard.of > len(cells):
        raise SpecError(
            explain(
                "shard",
                required=f"at most as many shards as the plan has cells, {len(cells)}",
                got=str(shard),
                hint="A cell's trials stay in one shard, since they share their prefill.",
            )
        )
    loads = [(0, number) for number in range(1, shard.of + 1)]
    mine: list[int] = []
    for places in sorted(cells.values(), key=lambda c: (-len(c), min(trials[n].key.digest for n in c))):
        load, number = loads[0]
        heapq.heapreplace(loads, (load + len(places), number))
        if number == shard.number:
            mine += places
    return [trials[n] for n in sorted(mine)]


@guarded(SpecError)
@attrs.frozen
class Sharded(Planner):
    """Asks for one shard of a design's trials, in a directory that :func:`.begin_shard` has begun.

    Raises :class:`SpecError` for a planner that asks on by what it has seen: it has no plan to be split beforehand.
    """

    split: Planner
    shard: Shard

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.split, Design):
            raise SpecError(
                explain(
                    f"shard {self.shard}",
                    required="a design, whose plan is known beforehand",
                    got=f"{type(self.split).__name__}, which asks on by what it has seen",
                    hint="Run it in one directory, without shards.",
                )
            )

    @property
    def design(self) -> Design:
        """The whole design."""
        return self.split.design

    def ask(self, ground: Ground, done: Sequence[TrialRecord]) -> list[PlannedTrial]:
        """Return the shard's trials, once."""
        return [] if done else in_shard(self.split.ask(ground, []), self.shard)


def check_begun(planner: Planner, told: Mapping[str, Any] | None, directory: Path) -> None:
    """Raise :class:`StoreMismatchError` unless a planner may go on in a directory, as far as shards are concerned.

    ``told`` is the specification in the directory's store, None where there is none.
    """
    mine = planner.shard.text if isinstance(planner, Sharded) else None
    there = None if told is None else told.get("shard")
    if mine != there:
        raise StoreMismatchError(
            explain(
                f"run {directory}",
                required="vectors and doses of a prepared run (begin_shard; --prepared), for a shard"
                if there is None
                else f"shard {there}, which it was begun for",
                got="none yet" if told is None else f"shard {mine}" if there is not None else "a whole run",
                hint="A shard that extracts its own vectors would be another experiment. Nothing was changed.",
            )
        )
