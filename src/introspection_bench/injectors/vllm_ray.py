"""vLLM's workers as Ray actors, on one node or several: for a model that is larger than a node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vllm.v1.executor import ray_utils

from ..errors import ModelError, explain

if TYPE_CHECKING:
    _Executor: Any = object
# Without ray vLLM's module can't even be imported, and vLLM refuses its configuration before anything here is used.
elif ray_utils.ray is None:
    _Executor = object
else:
    from vllm.v1.executor.ray_executor_v2 import RayExecutorV2 as _Executor

#: How long, in seconds, the end of a worker may go unnoticed by who waits for another one's answer.
_NOTICED = 1.0


class Answers:
    """A worker's queue of answers, the wait for which ends when any worker has ended.

    vLLM wakes who waits for a worker of its own node; an answer from another node it would wait for for ever.
    """

    def __init__(self, queue: Any, failed: Callable[[], bool]) -> None:
        self._queue, self._failed = queue, failed

    def dequeue(self, timeout: float | None = None, indefinite: bool = False) -> Any:
        """Return the next answer; raises RuntimeError when a worker has ended, TimeoutError after ``timeout`` s."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._failed():
            left = _NOTICED if end is None else min(_NOTICED, max(0.0, end - time.monotonic()))
            try:
                return self._queue.dequeue(left, indefinite)
            except TimeoutError:
                if end is not None and time.monotonic() >= end:
                    raise
        raise RuntimeError("A worker has ended, or its node.")

    def shutdown(self) -> None:
        """Wake who waits on this node."""
        self._queue.shutdown()


class WatchedRayExecutor(_Executor):  # type: ignore[misc]  # vLLM ships no types that mypy reads here
    """vLLM's executor on Ray, whose calls end with an error when a worker has ended, wherever it was."""

    response_mqs: list[Any]
    is_failed: bool

    def start_worker_monitor(self, inline: bool = False) -> None:
        """Watch the workers, as vLLM does, and have whoever waits for one of them learn of it."""
        self.response_mqs = [Answers(queue, lambda: self.is_failed) for queue in self.response_mqs]
        super().start_worker_monitor(inline)


def ray_executor() -> type[Any]:
    """Return what runs the workers of an engine with ``distributed_executor_backend="ray"``.

    Raises:
        ModelError: vLLM has no workers on Ray for this machine, its first executor was asked for, or its engine in this
            process.
    """
    from vllm import envs
    from vllm.platforms import current_platform

    asked = "distributed_executor_backend='ray'"
    if not current_platform.ray_device_key:
        raise ModelError(
            explain(
                asked,
                required="a machine whose devices vLLM asks Ray for: GPUs",
                got=f"vLLM for {current_platform.device_name!r}, which has no workers on Ray",
                hint="Leave the argument out: the workers of one machine are processes, without Ray.",
            )
        )
    if not envs.VLLM_USE_RAY_V2_EXECUTOR_BACKEND:
        raise ModelError(
            explain(
                "VLLM_USE_RAY_V2_EXECUTOR_BACKEND",
                required="vLLM's second executor on Ray, its default",
                got="0, the first one, whose waiting calls can't be ended when a worker has",
                hint="Take it out of the environment.",
            )
        )
    if not envs.VLLM_ENABLE_V1_MULTIPROCESSING:
        raise ModelError(
            explain(
                "VLLM_ENABLE_V1_MULTIPROCESSING",
                required="an engine in a process of its own, vLLM's default",
                got="0, with which what a dead worker's engine leaves open would block this process",
                hint="Take it out of the environment.",
            )
        )
    return WatchedRayExecutor
