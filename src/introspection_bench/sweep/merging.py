"""Merging runs of one plan: the union of what they recorded, checked row by row, or nothing.

Runs may be shards, copies that went on apart, or a merged run to which more is added. All is written in one
transaction: a merge that is refused or killed leaves what was there, and doing it again gives the same. Rows are read
in batches, so that memory does not grow with the number of trials.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from ..boundaries import checked, guarded
from ..databases import Database, remove_leftovers
from ..errors import RunsDifferError, SpecError, StoreError, StoreMismatchError, explain
from ..files import replacing
from ..freezing import frozen_mapping
from .layout import make_tables
from .locks import hold
from .manifest import write_manifest
from .sameness import runs_apart
from .store import CREATION_S, FILE_NAME, Store
from .union import TABLES, Source, Union

#: Kilobytes of the target that SQLite may keep in memory: keys come in no order, and its indexes are written all over.
_CACHE_KB = 131_072
#: The tables whose rows a merge tells the number of.
_COUNTED = ("trials", "verdicts", "readings", "effects")


@guarded(SpecError)
@attrs.frozen
class Merged:
    """What a merge came to: the run in ``directory`` has ``recorded`` of ``planned`` trials.

    ``added`` and ``known`` count rows by table (trials, verdicts, readings, effects): those that are new there, and
    those that were there already or stood in several runs.
    """

    directory: Path
    planned: int
    recorded: int
    added: Mapping[str, int] = attrs.field(converter=frozen_mapping)
    known: Mapping[str, int] = attrs.field(converter=frozen_mapping)

    def __str__(self) -> str:
        told = ", ".join(f"{self.added.get(table, 0)} {table}" for table in _COUNTED)
        there = sum(self.known.values())
        return (
            f"{self.directory}: {self.recorded} of {self.planned} planned trials recorded; added {told}; "
            f"{there} rows were there already"
        )


@checked(StoreError)
def merge_runs(runs: Sequence[str | Path], into: str | Path) -> Merged:
    """Write the union of runs of one plan into a directory, and return what it came to.

    Trials, verdicts, readings, effects of doses and sessions come along, with the sessions that recorded them. Of a
    verdict that one run scored and another could not, the scored one counts. The judges' ledgers of costs stay where
    they are. ``into`` may be new, hold an earlier merge, or be one of ``runs``; merging the same again changes nothing.
    Where all of ``runs`` are shards, none may be missing; beside the prepared run, or into an earlier merge, what is
    there is taken, and the rest stays planned.

    Raises:
        StoreMismatchError: two runs are not of one model, backend, numerics, design or plan; the message names the
            field and both values. Or shards are missing, which it names.
        RunsDifferError: two runs made the same trial, verdict, reading or effect, and not the same; the error has each
            difference with both sessions. Nothing is chosen, and nothing is written.
        StoreError: a run that is none, or is damaged.
    """
    target = Path(into) / FILE_NAME
    with contextlib.ExitStack() as stack:
        begun = Store.is_begun(into)
        opened: dict[Path, Source] = {}
        for run in runs:
            source = stack.enter_context(Source.open(_file_of(Path(run))))
            opened.setdefault(source.path.resolve(), source)
        if begun:
            opened.pop(target.resolve(), None)
        # Whole ones first, then by shard: the same whatever order they are given in.
        sources = sorted(opened.values(), key=lambda s: (s.shard.number if s.shard else 0, str(s.path)))
        if not sources and not begun:
            raise StoreError(explain("runs", required="run directories to merge", got="none", hint="Name them."))
        _check_alike(sources)
        with hold(into, "create", "makes the run", patience_s=CREATION_S):
            if Store.is_begun(into):
                with Source.open(target) as there:
                    _check_alike([there, *sources])
                    _check_whole(there)
                with Database.open(target) as database:
                    merged = _merge(database, sources, Path(into))
            else:
                told = {**sources[0].spec, "shard": None, "whole": None}
                remove_leftovers(target)
                with replacing(target) as new, Database.create(new) as database:
                    make_tables(database, told, min(source.created for source in sources))
                    merged = _merge(database, sources, Path(into))
    with Store.open(into) as store:
        write_manifest(store)
    return merged


def _check_alike(runs: Sequence[Source]) -> None:
    """Raise unless runs are of one plan, in model, backend, numerics and design."""
    for first, other in itertools.product(runs[:1], runs[1:]):
        apart = runs_apart(first.spec, other.spec)
        whole = [] if first.whole == other.whole else [("plan", str(first.whole), str(other.whole))]
        for field, mine, theirs in [*apart, *whole]:
            raise StoreMismatchError(
                explain(
                    f"run {other.where}: {field}",
                    required=f"{mine}, as in {first.where}",
                    got=theirs,
                    hint="Runs are merged that have one plan: shards of one prepared run, or copies of one run "
                    "(vectors that were extracted apart make another plan). Nothing was written.",
                )
            )


def _check_whole(into: Source) -> None:
    if into.shard is not None:
        raise StoreMismatchError(
            explain(
                "into",
                required="a directory of its own, or one with the whole plan",
                got=f"{into.where}, shard {into.shard}",
                hint="Name a new directory, and the shard's among the runs.",
            )
        )


def _merge(database: Database, sources: Sequence[Source], into: Path) -> Merged:
    with database.transaction("the merged run") as connection:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        union = Union(database, connection, into)
        lasts = [source.last_rows() for source in sources]
        union.add_sessions(sources)
        for source in sources:
            union.add_plan(source)
        if sources:
            union.check_plan(sources)
        for source, last in zip(sources, lasts, strict=True):
            union.add_vectors(source)
            for table in TABLES:
                union.add_rows(source, table, last[table])
        if union.differences:
            raise RunsDifferError(_told(union.differences), union.differences)
        ((planned,),) = connection.execute("SELECT count(*) FROM planned").fetchall()
        ((recorded,),) = connection.execute("SELECT count(*) FROM trials").fetchall()
    return Merged(into, planned, recorded, {t: union.added[t] for t in _COUNTED}, {t: union.known[t] for t in _COUNTED})


def _told(differences: Sequence[str]) -> str:
    return explain(
        "runs",
        required="the same wherever two have made the same",
        got=f"{len(differences)} that differ, the first: {differences[0].partition(':')[0]}",
        hint="Find out why, or merge without one of the two. Nothing was chosen, and nothing written.",
    )


def _file_of(path: Path) -> Path:
    return path if path.name == FILE_NAME else path / FILE_NAME
