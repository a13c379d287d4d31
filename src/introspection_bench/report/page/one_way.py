"""Readings of one measure, read one way on one model: what can stand in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from ...measures import Reading
from ...results import Results

#: What tells two ways of reading one measure apart, with how each is told.
_TOLD = {"backend": "{}", "dtype": "{}", "measure_digest": "settings {:.8}", "model": "weights {:.8}"}


def one_way(results: Results, asked: Callable[[Reading], bool]) -> Iterator[tuple[str, Results]]:
    """Yield the trials with the readings asked for, of one model and read one way, and what tells them from others.

    Models are told apart always, ways of reading only where a trial was read in several.
    """
    read = [attrs.evolve(r, readings=kept) for r in results.records if (kept := [o for o in r.readings if asked(o)])]
    models = dict.fromkeys(r.condition.model for r in read)
    ways: dict[tuple[str, ...], None] = {(): None}
    if any(len(r.readings) > 1 for r in read):
        ways = dict.fromkeys(_way(o) for r in read for o in r.readings)
    varying = [place for place in range(len(_TOLD)) if len({way[place] for way in ways if way}) > 1]
    for model in models:
        for way in ways:
            mine = [
                attrs.evolve(r, readings=[o for o in r.readings if way in ((), _way(o))])
                for r in read
                if r.condition.model == model
            ]
            mine = [record for record in mine if record.readings]
            told = [model] if len(models) > 1 else []
            told += [list(_TOLD.values())[place].format(way[place]) for place in varying]
            if mine:
                yield ", ".join(told), attrs.evolve(results, records=mine)


def _way(reading: Reading) -> tuple[str, ...]:
    return tuple(str(getattr(reading, name)) for name in _TOLD)
