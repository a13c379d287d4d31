"""What shards share: made once in a prepared run, and taken from there by every shard.

Vectors, doses that were found by their effect, the effects of doses and the words behind random vectors need the model,
and a shard that made its own would be a silently different experiment on another machine. A prepared run is an ordinary
run directory with the whole plan in which nothing has been generated yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..boundaries import checked
from ..databases import Database, remove_leftovers
from ..errors import SpecError, StoreMismatchError, explain
from ..files import replacing
from ..structuring import plain
from ..trials import Trial
from .generating import generating
from .layout import add_effects, add_found, add_planned, add_session, add_vectors, make_tables
from .locks import hold
from .manifest import write_manifest
from .sameness import fields_apart
from .sharding import Shard, Sharded, WholePlan, in_shard
from .spec import RunSpec
from .store import CREATION_S, FILE_NAME, Store
from .sweep import Sweep

#: What besides model and design shards share with the prepared run.
_SHARED = ("effects", "confirm", "stopping", "search", "plan", "frozen")


@checked(SpecError)
def prepare(sweep: Sweep) -> Path:
    """Make everything that a sweep needs its model for before its trials, and return its directory.

    That is its plan with vectors and doses, and the effects of its doses where the specification asks for them; what is
    there is kept. Raises what :meth:`Sweep.generate` raises.
    """
    with generating(sweep.directory), sweep.open_store() as store:
        if sweep.spec.effects is not None:
            sweep.measure_effects()
        write_manifest(store)
    return sweep.directory


@checked(SpecError)
def begin_shard(
    prepared: str | Path, shard: Shard | str, directory: str | Path, *, spec: RunSpec | None = None
) -> RunSpec:
    """Begin a shard of a prepared run in a directory of its own, without a model, and return what it is.

    The new run has the shard's part of the plan, at its places in the whole, and the prepared run's vectors, doses and
    effects by digest. A directory in which this very shard is begun already is left as it is.

    Args:
        prepared: the prepared run; trials that it has are not taken along.
        shard: which one, as ``3/16`` (:class:`Shard`).
        directory: the shard's own run directory.
        spec: what is to be run, which must be what was prepared; None takes that.

    Raises:
        SpecError: for a shard that is none, one of more shards than there are cells, and a run that asks on by what it
            has seen.
        StoreMismatchError: ``spec`` is not what was prepared, in a field that the message names, or the directory holds
            something else.
        StoreError: ``prepared`` holds no run, or lacks the effects that its specification asks for.
    """
    shard = Shard(shard) if isinstance(shard, str) else shard
    with Store.open(prepared) as store:
        _check_prepared(store, spec)
        planned = list(store.planned().values())
        whole = WholePlan.of(trial.key.digest for trial in planned)
        own = {**store.spec(), "shard": str(shard), "whole": plain(whole)}
        if not Store.is_begun(directory):
            with hold(directory, "create", "makes the run", patience_s=CREATION_S):
                if not Store.is_begun(directory):
                    _begin(Path(directory) / FILE_NAME, store, own, planned, in_shard(planned, shard))
    with Store.open(directory) as begun:
        _check_shard(begun, own, prepared)
        return begun.run_spec()


def _begin(path: Path, prepared: Store, spec: Mapping[str, Any], whole: Sequence[Trial], mine: Sequence[Trial]) -> None:
    """Write a shard's store: whole, or not at all."""
    places = {trial.key.digest: number for number, trial in enumerate(whole)}
    effects, sessions = prepared.effects(), prepared.sessions()
    remove_leftovers(path)
    with replacing(path) as new, Database.create(new) as database:
        make_tables(database, spec, prepared.created)
        with database.transaction("the new store") as connection:
            add_vectors(connection, prepared.vectors())
            add_found(connection, prepared.found())
            add_planned(connection, mine, [places[trial.key.digest] for trial in mine])
            for session in sessions if effects else ():
                if session.effects:
                    add_effects(connection, effects, add_session(connection, session.process, session.opened).id)


def _check_prepared(store: Store, spec: RunSpec | None) -> None:
    """Raise unless a run is whole, has all that its shards need, and is what a specification says."""
    told, stated = store.spec(), store.run_spec()
    wrong = []
    if stated.shard is not None:
        wrong.append(("plan", "a whole one", f"that of shard {stated.shard}"))
    elif Sharded(stated.planner, Shard("1/1")).design.is_dosed and stated.effects is not None and not store.effects():
        wrong.append(("effects", "those of its doses, or each shard would measure its own", "none"))
    if spec is not None:
        wrong += [(field, f"{other}, as what is to be run has it", mine) for field, mine, other in _apart(told, spec)]
    for field, required, got in wrong:
        raise StoreMismatchError(
            explain(
                f"prepared run {store.directory}: {field}",
                required=required,
                got=got,
                hint="Prepare what is to be run in a directory of its own (--prepare); nothing was changed.",
            )
        )


def _apart(told: Mapping[str, Any], spec: RunSpec) -> Iterator[tuple[str, str, str]]:
    """Yield where a prepared run and what is to be run differ, as far as that is known before the model is opened."""
    other = attrs.evolve(spec, shard=None, whole=None).plain()
    if spec.design.date is None:  # the run's own stands
        other["design"]["date"] = told["design"].get("date")
    yield from fields_apart(
        {"backend": told["model"]["backend"], **{name: told.get(name) for name in _SHARED}},
        {"backend": spec.model.backend, **{name: other[name] for name in _SHARED}},
    )
    yield from fields_apart(told["design"], other["design"], "design.")


def _check_shard(begun: Store, own: Mapping[str, Any], prepared: str | Path) -> None:
    """Raise unless the run in a directory is the shard that was to be begun there."""
    for field, there, mine in fields_apart(begun.spec(), own):
        if field in ("shard", "whole"):
            raise StoreMismatchError(
                explain(
                    f"run {begun.directory}: {field}",
                    required=f"{mine}, as in {prepared}",
                    got=there,
                    hint="Give each shard a directory of its own; nothing was changed.",
                )
            )
