"""What a worker does, in a process of its own: it opens a model once, and generates what it is sent.

Ray runs the class; it is a plain one, and writes nothing.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

from ...doses import Dose
from ...freezing import frozen_mapping, frozen_tuple
from ...injection import Injection, Steer
from ...injectors.base import Injector
from ...injectors.registry import open_injector
from ...injectors.requests import Completion, Request
from ...spans import Positions, Span
from ...vectors import ConceptVector
from ..generating import Pace
from ..sessions import Process, WorkerPlace, this_process

#: Vectors that a worker keeps at hand; others are fetched again.
_AT_HAND = 1024


@attrs.frozen
class Opening:
    """How an injector was opened, for others to open it alike: its class's module and name, the model, the options."""

    module: str
    name: str
    model: str
    options: Mapping[str, Any] = attrs.field(converter=frozen_mapping, repr=False)  # they may hold credentials

    def open(self) -> Injector:
        """Open it; raises what :func:`~introspection_bench.open_injector` raises."""
        backend: type[Injector] = getattr(import_module(self.module), self.name)
        return open_injector(backend, self.model, **self.options)


@attrs.frozen
class Opened:
    """What a worker opened: the session that it has, and what of its model stands in every trial's key."""

    process: Process
    identity: tuple[str, int, str]


@attrs.frozen
class Failure:
    """An exception of a worker as plain values: not every library's can be sent. ``request`` is that of its call."""

    kind: str
    text: str
    trace: str
    request: int | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return what is told of an exception."""
        trace = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, str(error), trace, getattr(error, "request", None))


@attrs.frozen
class SentSteer:
    """A steer whose vector goes by its digest: the same few vectors are in thousands of requests."""

    vector: str
    layer: int
    dose: Dose
    span: Span
    positions: Positions


@attrs.frozen
class SentRequest:
    """A request on its way: ``bare`` of its steers, which stand beside it."""

    bare: Request
    steers: tuple[SentSteer, ...] = attrs.field(converter=frozen_tuple)

    @classmethod
    def of(cls, request: Request) -> SentRequest:
        """Take a request's vectors out of it."""
        steers = [SentSteer(s.vector.digest, s.layer, s.dose, s.injection.span, s.positions) for s in request.steers]
        return cls(attrs.evolve(request, steers=()), steers)

    def whole(self, vectors: Mapping[str, ConceptVector]) -> Request:
        """Put the vectors back."""
        steers = [
            Steer(Injection(vectors[s.vector], s.layer, s.dose, s.span), s.positions)
            for s in self.steers
        ]  # fmt: skip
        return attrs.evolve(self.bare, steers=steers)


def identity(injector: Injector) -> tuple[str, int, str]:
    """Return what of an injector stands in every trial's key: backend, its numerics, the model's fingerprint."""
    return injector.name, injector.numerics, injector.model.fingerprint


class Worker:
    """A worker: each method is a call from the run's process."""

    def __init__(self) -> None:
        self._injector: Injector | None = None
        self._process: Process | None = None
        self._vectors: dict[str, ConceptVector] = {}
        self._pace = Pace()

    def place(self) -> WorkerPlace:
        """Return where it runs."""
        import ray

        context = ray.get_runtime_context()
        devices = [f"{kind} {n}" for kind, ids in context.get_accelerator_ids().items() for n in ids]
        return WorkerPlace(context.get_node_id(), os.getpid(), devices)

    def open(self, opening: Opening) -> Opened | Failure:
        """Open the model."""
        try:
            self._injector = opening.open()
            process = attrs.evolve(this_process("generate", self._injector), worker=self.place())
            return Opened(process, identity(self._injector))
        except Exception as error:  # whatever it is, the run's process tells it, once for all workers
            return Failure.of(error)

    def generate(
        self, requests: Sequence[SentRequest], vectors: Mapping[str, Any]
    ) -> Iterator[list[Completion] | Failure]:
        """Yield completions as they are finished, where they are many a second some together; or what went wrong.

        ``vectors`` are references to the files of the vectors, by digest.
        """
        held: list[Completion] = []
        try:
            self._fetch({s.vector for r in requests for s in r.steers}, vectors)
            if self._injector is None:
                raise RuntimeError("nothing is open")
            for completion in self._injector.generate([r.whole(self._vectors) for r in requests]):
                held.append(completion)
                if self._pace.full(len(held)):
                    yield held
                    held = []
        except Exception as error:
            if held:
                yield held
            yield Failure.of(error)
        else:
            if held:
                yield held

    def _fetch(self, wanted: set[str], vectors: Mapping[str, Any]) -> None:
        import ray

        if len(self._vectors) > _AT_HAND:
            self._vectors = {digest: v for digest, v in self._vectors.items() if digest in wanted}
        missing = sorted(wanted - self._vectors.keys())
        for digest, data in zip(missing, ray.get([vectors[d] for d in missing]), strict=True):
            self._vectors[digest] = ConceptVector.from_bytes(data, f"vector {digest[:12]}")
