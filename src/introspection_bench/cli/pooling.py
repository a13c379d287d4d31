"""The options of commands that generate on workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SpecError, explain

if TYPE_CHECKING:
    from ..sweep import RayPool

WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", help="Generate on so many workers on Ray, each with the model (docs' page scale)."),
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", help="For --workers: the cluster's address, or auto; by default this machine alone."),
]
WorkerGpusOption = Annotated[
    float | None,
    typer.Option("--worker-gpus", help="For --workers: GPUs of each, by default 1 where the cluster has any."),
]


def asked_pool(workers: int | None, ray: str | None, gpus: float | None) -> RayPool | None:
    """Return the pool that the options ask for, None for none.

    Raises :class:`~introspection_bench.errors.SpecError` for options of a pool without one, and what
    :class:`~introspection_bench.RayPool` raises.
    """
    if workers is None:
        if ray is not None or gpus is not None:
            raise SpecError(explain("--ray and --worker-gpus", required="--workers N beside them", got="none", hint=""))
        return None
    from ..sweep import RayPool

    return RayPool(workers, gpus, address=ray)
