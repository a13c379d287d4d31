"""Which concept a model would name: the likelihood of each concept's word behind a fixed beginning of the reply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeAlias

import attrs

from ..boundaries import checked, guarded
from ..concepts import Concept, ConceptSet
from ..errors import SpecError, explain
from ..freezing import frozen_float32, frozen_mapping, frozen_tuple
from ..prompts import RenderedPrompt, Tokenizer
from ..spans import Positions
from ..vectors import ConceptVector
from .base import Axes, Found, Measure, Pass, Read, Replayed
from .readings import FloatArray

#: What a reply is made to begin with before it names the concept (after Macar 2026, arXiv 2603.21396).
NAMING_PREFIX = "Yes, I detect an injected thought. The injected thought is about"
#: The names of each of some concepts, that which is written first.
Names: TypeAlias = Mapping[str, tuple[str, ...]]
#: The labels of the axis that likelihoods of concepts have beside ``concept``.
LIKELIHOOD_OF = ("logprob", "tokens")


def as_names(value: Any) -> Any:
    """Return the names of concepts, by concept, the one that is written first: a converter."""
    if value is None:
        return None
    if isinstance(value, ConceptSet):
        value = value.concepts
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        told = tuple(value)
        if told and all(isinstance(c, Concept) for c in told):
            return frozen_mapping({c.name: (_written(c), *c.names) for c in told})
    return frozen_mapping({name: frozen_tuple(texts) for name, texts in dict(value).items()})


def _written(concept: Concept) -> str:
    return (concept.word or concept.names[0]).lower()


def check_names(_: object, attribute: attrs.Attribute[Any], value: Names | None) -> None:
    """Raise :class:`SpecError` unless there are two concepts, each with names, none written alike: a validator."""
    if value is None:
        return
    written = [names[0] for names in value.values() if names and all(isinstance(n, str) and n.strip() for n in names)]
    if len(written) < 2 or len(written) < len(value) or len(set(written)) < len(written):
        raise SpecError(
            explain(
                attribute.name,
                required="at least two concepts, each with its names, the one to be written first, no two the same",
                got=str(dict(value))[:200],
                hint="Give a concept set, or as {'Oceans': ('oceans', 'sea'), 'Bread': ('bread',)}.",
            )
        )


@attrs.frozen
class OfConcepts(Measure):
    """A measure of concepts: a concept set, or their names by concept; None: the run's own."""

    concepts: Names | None = attrs.field(converter=as_names, validator=check_names, hash=False, default=None)

    @checked(SpecError)
    def of_run(self, concepts: ConceptSet | None, vectors: Sequence[ConceptVector]) -> Self:  # noqa: ARG002  # the port's
        """Return it with the run's concepts, unless it has its own."""
        return attrs.evolve(self, concepts=concepts) if self.concepts is None else self

    @property
    def stated(self) -> Names:
        """The names of the concepts; raises :class:`SpecError` where they are left to a run, and none is there."""
        if self.concepts is None:
            raise SpecError(
                explain(
                    "concepts",
                    required="those of a run, or some of your own",
                    got="none",
                    hint="Measure a run that has concepts, or give a concept set.",
                )
            )
        return self.concepts


def likelihood_passes(
    words: Iterable[str], prefix: str, prompt: RenderedPrompt, tokenizer: Tokenizer, *, steered: bool = True
) -> tuple[Pass, ...]:
    """Return a pass for each word, that reads the likelihood of its own tokens behind a prefix of the reply.

    Raises :class:`SpecError` for a tokenizer that writes the prefix otherwise where a word follows.
    """
    length = len(prompt.token_ids)
    begun = tuple(tokenizer(prefix, add_special_tokens=False)["input_ids"])
    start = length - 1 + len(begun)
    found = []
    for word in words:
        ids = tuple(tokenizer(f"{prefix} {word}", add_special_tokens=False)["input_ids"])
        if ids[: len(begun)] != begun or len(ids) == len(begun):
            raise SpecError(
                explain(
                    "prefix",
                    required="a text whose tokens stay the same where a word follows",
                    got=f"{prefix!r}, which {word!r} changes",
                    hint="End it with a whole word, without white space.",
                )
            )
        read = Read("likelihood", Positions(start, length - 1 + len(ids), length))
        found.append(Pass(ids, (read,), None if steered else prompt, steered))
    return tuple(found)


def likelihood_reading(concepts: Iterable[str], found: Found) -> tuple[Axes, FloatArray]:
    """Return axes and values of what :func:`likelihood_passes` read."""
    rows = [[float(f[0].sum()), float(len(f[0]))] for f in found]
    return {"concept": tuple(concepts), "of": LIKELIHOOD_OF}, frozen_float32(rows)


@guarded(SpecError)
@attrs.frozen
class Naming(OfConcepts):
    """The likelihood of each concept of a set as what the injected thought is about, under the trial's own steers.

    The reply is made to begin with ``prefix``, and behind it, after a space, each concept's word is fed in turn: one
    pass a concept. ``concepts`` is a concept set, or maps each concept to its names, of which the first is written (of
    a concept set the word in lower case); None: the run's own. Axes: ``concept``, and ``of``: ``logprob``, the sum over
    the word's own tokens (nats, the prefix not counted), and ``tokens``, their number, by which a length-normalised
    likelihood divides.
    """

    name: ClassVar[str] = "naming"
    prefix: str = NAMING_PREFIX

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass for each concept."""
        words = [names[0] for names in self.stated.values()]
        return likelihood_passes(words, self.prefix, trial.prompt, trial.tokenizer)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:  # noqa: ARG002  # the port's
        """Axes ``concept`` and ``of``."""
        return likelihood_reading(self.stated, found)
