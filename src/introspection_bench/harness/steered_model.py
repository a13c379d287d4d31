"""A model and what is injected whenever it is asked anything: what an injection does to a model's other abilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs

from ..boundaries import checked, guarded
from ..concepts import ConceptSet, load_concepts
from ..digests import digest
from ..doses import Depth, Dose, as_layer
from ..errors import CaptureError, IntrospectionBenchError, SilentInjectionError, SpecError, explain
from ..extraction import extract
from ..freezing import frozen_tuple
from ..identity import Sampling, TrialKey
from ..injection import Injection
from ..injectors.base import Injector
from ..injectors.registry import open_injector
from ..injectors.requests import Completion, Request, check_completion
from ..scaffolds import Scaffold
from ..spans import Span
from ..vectors import ConceptVector

#: Where a concept is injected unless it is said: Lindsey 2026's depth.
_DEPTH = "2/3"


@attrs.frozen
class Asked:
    """One question as a request, under the identity that a trial of it would have."""

    key: TrialKey
    request: Request

    @checked(SpecError)
    def drawn(self, draw: int) -> Asked:
        """Return the same question asked for the ``draw``-th time, from 0: another seed, unless one was given."""
        key = attrs.evolve(self.key, draw=draw)
        return Asked(key, attrs.evolve(self.request, seed=key.seed))


@guarded(SpecError)
@attrs.frozen
class SteeredModel:
    """An open model, and the injections under which it answers everything: none of them is the model as it is."""

    injector: Injector
    injections: tuple[Injection, ...] = attrs.field(converter=frozen_tuple, default=())

    @classmethod
    @checked(SpecError)
    def open(
        cls,
        model: str | Injector,
        *,
        backend: str | type[Injector] = "torch",
        vector: str | Path | ConceptVector | None = None,
        concept: str | None = None,
        concepts: str | ConceptSet = "lindsey2026",
        layer: int | str | Depth | None = None,
        dose: str | Dose | None = None,
        span: str | Span | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Open a model under at most one injection.

        Args:
            model: a model's name, opened on ``backend`` with its ``options``, or an injector, used as it is.
            backend: of a model that is given by name.
            vector: what is injected: a file of :meth:`ConceptVector.save`, or the vector itself.
            concept: instead of a vector the name of a concept in ``concepts``, extracted by its own recipe.
            concepts: the set that the concept and its baseline words are of.
            layer: a 0-based block or a depth (``20``, ``"2/3"``); by default the vector's own, of a concept 2/3.
            dose: as in ``"0.3 residual"``; no effect. One of magnitude 0 adds nothing.
            span: where it is added; by default ``all``.
            options: of the backend, by name.

        Raises:
            SpecError: a vector and a concept, one without a dose, or layer, dose or span without either.
            VectorFileError, LayerError, InjectionError, UnknownNameError: as they say; and what opening and extraction
                raise.
        """
        _check(vector, concept, {"layer": layer, "dose": dose, "span": span})
        own = isinstance(model, str)
        injector = open_injector(backend, model, **(options or {})) if isinstance(model, str) else model
        try:
            if dose is None:
                return cls(injector)
            where = Span.parse(span) if isinstance(span, str) else span or Span.all()
            if concept is not None:
                block = _block(injector, _DEPTH if layer is None else layer)
                of = load_concepts(concepts) if isinstance(concepts, str) else concepts
                (found,) = extract(injector, [of[concept]], [block], baseline=of.baseline)
            else:
                found = vector if isinstance(vector, ConceptVector) else ConceptVector.load(vector or "")
                block = _block(injector, found.layer if layer is None else layer)
            return cls(injector, (Injection(found, block, Dose.parse(dose), where),))
        except BaseException:
            if own:
                injector.close()
            raise

    @property
    def identity(self) -> str:
        """A digest of the weights, the backend's arithmetic and all that is injected: of what makes its answers."""
        told = [[i.vector.digest, i.layer, str(i.dose), str(i.span)] for i in self.injections if not i.is_null]
        return digest(
            "steered_model", 1, [self.injector.model.fingerprint, self.injector.name, self.injector.numerics, *told]
        )

    @checked(SpecError)
    def ask(self, scaffold: Scaffold, sampling: Sampling, seed: int | None = None) -> Asked:
        """Return a question as a request that this model can carry.

        Without a ``seed`` it is drawn by one that derives from everything else. Raises what :meth:`Scaffold.render`,
        :meth:`Span.resolve` and :meth:`Injector.validate` raise.
        """
        prompt = scaffold.render(self.injector.tokenizer)
        request = Request.of(prompt, self.injections, sampling)
        key = TrialKey(
            model=self.injector.model.fingerprint,
            backend=self.injector.name,
            numerics=self.injector.numerics,
            prompt=prompt.digest,
            steers=[steer.key for steer in request.steers],
            sampling=sampling,
            draw=0,
            given_seed=seed,
        )
        self.injector.validate(request)
        return Asked(key, request).drawn(0)

    @checked(SpecError)
    def answers(self, asked: Sequence[Asked]) -> list[Completion | Exception]:
        """Return for each question its answer with the receipts that prove it, or the error that it ended in.

        One without proof costs none of those beside it.
        """
        found: dict[int, Completion | Exception] = {}
        while missing := [n for n in range(len(asked)) if n not in found]:
            requests = [asked[n].request for n in missing]
            try:
                for completion in self.injector.generate(requests):
                    # Again here, although the port checks it: a plugin may have replaced the port's own generate.
                    check_completion(requests[completion.index], completion)
                    found[missing[completion.index]] = completion
            except Exception as error:  # an engine's own error, such as too little memory, is each question's
                one = isinstance(error, SilentInjectionError) and error.request is not None
                for n in [missing[error.request]] if one else missing:  # type: ignore[attr-defined]  # as `one` says
                    found.setdefault(n, error)
            else:
                for n in missing:
                    found.setdefault(n, _lost(self.injector))
        return [found[n] for n in range(len(asked))]


def _check(vector: object, concept: object, how: Mapping[str, object]) -> None:
    given = [name for name, value in {"vector": vector, "concept": concept}.items() if value is not None]
    stated = [name for name, value in how.items() if value is not None]
    if len(given) > 1 or (given and "dose" not in stated) or (stated and not given):
        raise SpecError(
            explain(
                "vector, concept, layer, dose and span",
                required="a vector or a concept, with a dose; or none of them for the model as it is",
                got=f"{', '.join([*given, *stated])} alone",
                hint='As in concept="Oceans", dose="0.3 residual".',
            )
        )


def _block(injector: Injector, layer: int | str | Depth) -> int:
    at = as_layer(layer)
    block = at.layer(injector.model.n_layers) if isinstance(at, Depth) else at
    injector.check_layer(block)
    return block


def _lost(injector: Injector) -> IntrospectionBenchError:
    return CaptureError(
        explain(f"backend {injector.name!r}", required="a reply", got="none", hint="The backend lost it: ask again.")
    )
