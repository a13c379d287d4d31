"""A pool on Ray: actors on one machine or a cluster, each with an injector of its own.

Ray serialises what goes between its processes and is trusted as they are: connect only to a cluster of your own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from ...boundaries import checked, guarded
from ...errors import SpecError, explain
from ...injectors.base import Injector
from ..making import Maker, Pool
from .connecting import check_installed
from .crew import Crew
from .worker import Opening


@guarded(SpecError)
@attrs.frozen
class RayPool(Pool):
    """Workers on Ray (https://docs.ray.io), an actor each, for ``Sweep.generate(on=…)`` and ``run --workers``.

    ``n`` is how many workers; ``num_gpus`` and ``num_cpus`` what Ray sets apart for each, by default a GPU where the
    cluster has any, and a core. ``address`` is that of a cluster ("auto" for the one of this machine), None for a Ray
    of this process alone, which ends with it; where Ray is connected already, that is used. ``shard`` is the most
    trials that a worker is sent at a time: several times what its engine has in flight, which runs empty at a shard's
    end.

    Raises :class:`SpecError`, and :class:`~introspection_bench.errors.BackendUnavailableError` where Ray is missing.
    """

    n: int = attrs.field(default=2)
    num_gpus: float | None = attrs.field(default=None)
    address: str | None = attrs.field(default=None, kw_only=True)
    num_cpus: float = attrs.field(default=1.0, kw_only=True)
    shard: int = attrs.field(default=512, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_installed()
        for name, least in (("n", 1), ("shard", 1), ("num_cpus", 0), ("num_gpus", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not value >= least):
                raise SpecError(explain(f"RayPool.{name}", required=f"a number >= {least}", got=value, hint=""))
        if self.address is not None and self.address.startswith("ray://"):
            raise SpecError(
                explain(
                    "RayPool.address",
                    required="a cluster that this machine is a node of: 'auto', or the head's host:port",
                    got=self.address,
                    hint="Ray's client can't stream replies: start the run on a node of the cluster.",
                )
            )

    @checked(SpecError)
    @contextmanager
    def start(self, injector: Injector) -> Iterator[Maker]:
        """Return the workers, started once there is something to make, and end them behind the block.

        Raises :class:`SpecError` for an injector that was not opened by :func:`~introspection_bench.open_injector` of a
        model's name and plain options: others can't open it alike.
        """
        crew = Crew(self, injector, opening_of(injector))
        try:
            yield crew
        finally:
            crew.stop()


def opening_of(injector: Injector) -> Opening:
    """Return how an injector was opened; raises :class:`SpecError` as :meth:`RayPool.start`."""
    kind = type(injector)
    options = injector.opened_with
    got = f"one that was made by hand ({kind.__name__} of {injector.model.name})"
    if injector.opened_of is not None and options is not None:
        got = f"the class {kind.__qualname__} of {kind.__module__}"
        if "." not in kind.__qualname__ and kind.__module__ != "__main__":
            try:
                plain = json.loads(json.dumps(dict(options)))
            except (TypeError, ValueError) as error:
                got = f"options that are no plain values ({error})"
            else:
                return Opening(kind.__module__, kind.__name__, _absolute(injector.opened_of), plain)
    raise SpecError(
        explain(
            "injector",
            required="one that each worker can open alike",
            got=got,
            hint="Open it by name, ib.open_injector('torch', 'org/model', dtype='bfloat16'), of a class that can be "
            "imported and with options that are plain values.",
        )
    )


def _absolute(model: str) -> str:
    # Workers have another working directory.
    return str(Path(model).absolute()) if os.path.exists(model) else model
