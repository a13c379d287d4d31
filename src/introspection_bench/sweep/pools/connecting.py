"""The way to Ray: a cluster's, or one of this process alone, and what room it has."""

from __future__ import annotations

import math
import os
import warnings
from importlib.util import find_spec
from typing import Any

from ...errors import BackendUnavailableError, IntrospectionBenchWarning, WorkerError, explain

#: For Ray on this machine alone: what goes through its shared memory are vectors, and a container's is often small.
_OBJECT_STORE_BYTES = 100 * 2**20


def check_installed() -> None:
    """Raise :class:`BackendUnavailableError` where Ray is not installed."""
    if find_spec("ray") is None:
        raise BackendUnavailableError(
            explain(
                "workers on Ray",
                required="the package ray",
                got="it is not installed",
                hint="pip install 'introspection-bench[ray]'",
            )
        )


def connect(address: str | None, cpus: float) -> tuple[Any, bool]:
    """Return Ray, connected, and whether that was done here; ``cpus`` is how many one of our own must have.

    Raises :class:`WorkerError` where none answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        return ray, False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is None:
            # Ray counts cores and holds nobody to them: more workers than cores are the caller's wish.
            ray.init(
                address="local",
                num_cpus=max(os.cpu_count() or 1, math.ceil(cpus)),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:  # ConnectionError among them
        raise WorkerError(
            explain(
                f"Ray at {address or 'this machine'}",
                required="a cluster that answers",
                got=str(error),
                hint="Start it with 'ray start --head' on one machine and 'ray start --address HEAD:6379' on others.",
            )
        ) from error
    return ray, True


def room_for(ray: Any, n: int, num_cpus: float, num_gpus: float | None) -> dict[str, float]:
    """Return what each of ``n`` workers needs, as Ray's resources: by default a GPU where there is any.

    Raises :class:`WorkerError` where no node has it; warns where fewer than ``n`` fit.
    """
    gpus = float(ray.cluster_resources().get("GPU", 0) >= 1) if num_gpus is None else num_gpus
    needs = {"CPU": num_cpus, "GPU": gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = sum(min([int(has.get(name, 0) // need) for name, need in needs.items() if need] or [n]) for has in nodes)
    one = f"{num_cpus:g} CPU and {gpus:g} GPU"
    told = "; ".join(f"{has.get('CPU', 0):g} CPU, {has.get('GPU', 0):g} GPU" for has in nodes[:4])
    told = f"{len(nodes)} nodes ({told}{', …' if len(nodes) > 4 else ''})"
    if not fits:
        raise WorkerError(
            explain(
                f"a worker of {one}",
                required="a node of the cluster with room for it",
                got=told,
                hint="Ask for less (num_gpus, num_cpus), or add a node first.",
            )
        )
    if fits < n:
        text = f"{n} workers of {one} each were asked for, and the cluster has room for {fits}: {told}."
        warnings.warn(text, IntrospectionBenchWarning, stacklevel=2)
    return needs
