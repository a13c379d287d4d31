"""A scripted injector that fails where it is told to, in workers alone, and a run on it; the driver that is killed."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import introspection_bench as ib
from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.sweep import Design, Injected, Planner, Sweep, Unsteered
from introspection_bench.testing import ScriptedInjector
from introspection_bench.trials import Reply, Sampling

DESIGN = Design(
    concepts=ConceptSet("two", [Concept("Oceans", word="Oceans"), Concept("Bread", word="Bread")], baseline=["Desks"]),
    layers=[1],
    doses=["0.5 residual", "2 residual"],
    arms=[Unsteered(20), Injected(15)],
    sampling=Sampling(max_new_tokens=30),
)


class FakeFaultyInjector(ScriptedInjector):
    """Its faults are those of other processes than ``driver``: it dies at some seeds, or when it is opened."""

    fatal: tuple[int, ...] = ()

    @classmethod
    def open(
        cls,
        model: Any,
        *,
        latency_s: float = 0.0,
        driver: int = 0,
        fatal: list[int] | None = None,
        faults: str = "",
    ) -> FakeFaultyInjector:
        """``faults`` is a folder of files, of which each process takes one, which says what becomes of it."""
        opened = cls(str(model), latency_s)
        if driver != os.getpid():
            opened.fatal = tuple(fatal or ())
            for file in sorted(Path(faults).iterdir()) if faults else ():
                with suppress(FileExistsError):
                    os.link(file, f"{faults}.{file.name}")
                    return opened._failed(file.read_text())
        return opened

    def _failed(self, how: str) -> FakeFaultyInjector:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "other weights":
            self._model = how
            return self
        raise MemoryError(how)

    def answer(self, request: ib.Request) -> Reply:
        if request.seed in self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(request)


def sweep_in(directory: Path, planner: Planner = DESIGN, **options: Any) -> Sweep:
    """A run of 80 trials."""
    return Sweep(planner, ib.open_injector(FakeFaultyInjector, "fake", driver=os.getpid(), **options), directory)


if __name__ == "__main__":
    sys.modules["faulty"] = sys.modules["__main__"]
    import faulty

    faulty.FakeFaultyInjector.__module__ = "faulty"
    sweep = sweep_in(Path(sys.argv[1]), latency_s=0.02)
    sweep.generate(lambda _: print("made", flush=True), on=ib.RayPool(2, address=sys.argv[2], shard=8))
