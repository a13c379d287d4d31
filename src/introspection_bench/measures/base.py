"""The port of measures: what a backend is asked to read inside a pass, and how a measure asks."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from ..boundaries import guarded
from ..concepts import ConceptSet
from ..digests import digest
from ..errors import LayerError, SpecError, explain
from ..freezing import frozen_ints, frozen_tuple
from ..prompts import RenderedPrompt, Tokenizer
from ..spans import Positions, Span
from ..vectors import ConceptVector
from .readings import FloatArray

#: What a backend can read inside a pass: see :class:`Read`.
ReadKind = Literal["logprobs", "likelihood", "distribution", "residuals", "cosines", "lens"]
#: What each of them takes beside positions.
_NEEDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "logprobs": frozenset({"sets"}),
        "likelihood": frozenset(),
        "distribution": frozenset(),
        "residuals": frozenset({"layers"}),
        "cosines": frozenset({"layers", "vectors"}),
        "lens": frozenset({"layers", "sets"}),
    }
)
#: What each read of each pass brought.
Found: TypeAlias = Sequence[Sequence[FloatArray]]
#: The named dimensions of a reading, in order, with the label of each place along them.
Axes: TypeAlias = Mapping[str, tuple[str | int, ...]]


def _frozen_sets(sets: Iterable[Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(map(frozen_ints, frozen_tuple(sets)))


@guarded(SpecError)
@attrs.frozen
class Read:
    """What one pass is to read, settled for one prompt: what a backend takes (``Request.reads``).

    With P the processed positions within ``positions``, what comes back is float32 of the shape:

    - ``logprobs`` (P, sets + 1): the log of the probability that the next token is one of each of ``sets``; last the
      log of the probability that it is in any of them.
    - ``likelihood`` (P,): the log-probability of the token that does come next.
    - ``distribution`` (P, vocabulary): the log-probability of every token to come next.
    - ``residuals`` (layers, P, hidden_size): the stream that leaves each block, steers included.
    - ``cosines`` (layers, P, vectors): its cosine with each of ``vectors``.
    - ``lens`` (layers, P, sets + 1): as ``logprobs``, of the final norm and the unembedding applied to it.
    """

    kind: ReadKind
    positions: Positions
    layers: tuple[int, ...] = attrs.field(converter=frozen_ints, default=())
    sets: tuple[tuple[int, ...], ...] = attrs.field(converter=_frozen_sets, default=())
    vectors: tuple[ConceptVector, ...] = attrs.field(converter=frozen_tuple, default=())

    def __attrs_post_init__(self) -> None:
        needs = _NEEDS.get(self.kind)
        given = {name for name in ("layers", "sets", "vectors") if getattr(self, name)}
        if needs is None or given != needs or not all(self.sets):
            raise SpecError(
                explain(
                    f"read {self.kind!r}",
                    required=f"one of {list(_NEEDS)}" if needs is None else f"{sorted(needs)} alone, no set empty",
                    got=sorted(given),
                    hint="See ib.measures.Read.",
                )
            )

    def shape(self, processed: int, hidden_size: int, vocabulary: int = 0) -> tuple[int, ...]:
        """Return the shape of what comes back where so many positions were processed.

        ``vocabulary``, which a ``distribution`` needs, counts the tokens that the model makes logits of.
        """
        stop = processed if self.positions.stop is None else min(self.positions.stop, processed)
        places = max(stop - self.positions.start, 0)
        match self.kind:
            case "logprobs":
                return (places, len(self.sets) + 1)
            case "likelihood":
                return (places,)
            case "distribution":
                return (places, vocabulary)
            case "residuals":
                return (len(self.layers), places, hidden_size)
            case "cosines":
                return (len(self.layers), places, len(self.vectors))
            case "lens":
                return (len(self.layers), places, len(self.sets) + 1)


@guarded(SpecError)
@attrs.frozen
class Pass:
    """One replay: the token ids that are fed behind the prompt, and what is read.

    ``forced`` empty runs the prompt alone; of k tokens the last is not fed, as in sampling. ``prompt`` is another one
    than the trial's, None for its own: steers are resolved for the trial's prompt, so that over another one nothing is
    steered. ``steered`` False leaves out all of the trial's steers. ``name`` is what its measure knows it by.
    """

    forced: tuple[int, ...] = attrs.field(converter=frozen_ints)
    reads: tuple[Read, ...] = attrs.field(converter=frozen_tuple)
    prompt: RenderedPrompt | None = None
    steered: bool = True
    name: str = ""

    def __attrs_post_init__(self) -> None:
        if self.prompt is not None and self.steered:
            raise SpecError(
                explain(
                    "steered",
                    required="False over another prompt than the trial's",
                    got="True",
                    hint="The trial's steers count positions of its own prompt.",
                )
            )


@guarded(SpecError)
@attrs.frozen
class Replayed:
    """What a measure is told of a trial: its prompt, its reply's recorded tokens, and of the model that is to read.

    ``text`` is the reply as it was read, its reasoning included.
    """

    prompt: RenderedPrompt
    reply: tuple[int, ...] = attrs.field(converter=frozen_ints)
    tokenizer: Tokenizer
    n_layers: int
    text: str = ""

    def blocks(self, chosen: tuple[int, ...] | None) -> tuple[int, ...]:
        """Return the chosen blocks, None for all; raises :class:`LayerError` for one that the model lacks."""
        layers = tuple(range(self.n_layers)) if chosen is None else chosen
        wrong = [n for n in layers if not 0 <= n < self.n_layers]
        if wrong:
            raise LayerError(
                explain("layers", required=f"blocks from 0 to {self.n_layers - 1}", got=wrong, hint="0-based.")
            )
        return layers


class Measure(abc.ABC):
    """What is read of a trial: a frozen value, named, and the same for every backend.

    A subclass is an attrs class whose fields are all that decides what is read; :attr:`digest` covers them.
    """

    #: What it is called in specifications, tables and readings.
    name: ClassVar[str]

    @property
    def digest(self) -> str:
        """SHA-256 of the name and the fields, vectors by their own digests."""
        fields = attrs.fields(type(self))  # type: ignore[arg-type]  # subclasses are attrs classes: see the docstring
        return digest("measure", 1, [self.name, *(_told(getattr(self, f.name)) for f in fields)])

    def of_run(self, concepts: ConceptSet | None, vectors: Sequence[ConceptVector]) -> Measure:  # noqa: ARG002  # for subclasses
        """Return the measure with what it leaves to a run: the run's own concepts and vectors, where it takes some."""
        return self

    @abc.abstractmethod
    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """Return what is to be run and read for one trial.

        Raises :class:`SpecError` for what this model or tokenizer can't carry, before anything runs.
        """

    def notes(self, trial: Replayed) -> tuple[str, ...]:  # noqa: ARG002  # what a measure has to say of it
        """Return sentences on what is counted for this model and what is not; they stand in each reading."""
        return ()

    @abc.abstractmethod
    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:
        """Return axes and values; ``found[p][r]`` is what read r of pass p brought."""


def _told(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [[k, _told(v)] for k, v in value.items()]
    if isinstance(value, tuple):
        return [_told(v) for v in value]
    if attrs.has(type(value)) and not isinstance(value, ConceptVector | Span):
        return [_told(getattr(value, f.name)) for f in attrs.fields(type(value))]
    return value.digest if isinstance(value, ConceptVector) else str(value) if isinstance(value, Span) else value


def parse_span(value: Any) -> Any:
    """Return the span that a text stands for, anything else as it is: a converter."""
    return Span.parse(value) if isinstance(value, str) else value


def places(read: Read, count: int) -> tuple[int, ...]:
    """Return the absolute positions of what a read brought."""
    return tuple(range(read.positions.start, read.positions.start + count))
