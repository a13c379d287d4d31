"""The Injector port: what every backend must do, and the checks that none can skip."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import numpy.typing as npt

from ..boundaries import checked, guarded
from ..doses import Unit
from ..errors import (
    CaptureError,
    LayerError,
    SpecError,
    VectorError,
    explain,
)
from ..identity import Sampling
from ..injection import Injection, check_receipts
from ..measures.base import Read, ReadKind
from ..model_facts import ModelFacts
from ..prompts import RenderedPrompt, Tokenizer
from ..showing import listing, shown, table_html
from ..spans import Positions
from ..vectors import ConceptVector
from .requests import Completion, Request, check_completion


@guarded(SpecError)
@attrs.frozen
class ModelInfo:
    """What an injector found when it opened the model.

    ``fingerprint`` identifies weights, configuration, tokenizer and dtype; ``n_layers`` counts decoder blocks;
    ``hidden_size`` is the width of the residual stream; ``dtype`` that of the stream ("float32", "bfloat16"). ``facts``
    are those that the loaded model tells of itself.
    """

    name: str
    fingerprint: str
    n_layers: int
    hidden_size: int
    dtype: str
    facts: ModelFacts = attrs.field(factory=ModelFacts)


@attrs.frozen
class Limits:
    """What a request must keep to; None where there is no limit.

    ``positions``: most tokens that are processed for one request. ``vocabulary``: rows of the embedding.
    ``switch``: a sequence of more tokens than this is encoded in another way from its first position on (RoPE
    ``longrope``), so that what was computed for a shorter one must not be continued beyond it. ``hint`` says what to
    do about too many positions.
    """

    positions: int | None = None
    vocabulary: int | None = None
    switch: int | None = None
    hint: str = "Shorten the prompt or ask for fewer tokens."

    def check_ids(self, what: str, token_ids: Sequence[int], name: str) -> None:
        """Raise :class:`SpecError` for ids, those of ``what``, that the model called ``name`` doesn't know."""
        wrong = [i for i in token_ids if i < 0 or (self.vocabulary is not None and i >= self.vocabulary)]
        if wrong:
            raise SpecError(
                explain(
                    what,
                    required=f"token ids from 0 to {(self.vocabulary or 0) - 1}, the embedding of {name}",
                    got=wrong[0],
                    hint="Make them with this model's own tokenizer.",
                )
            )

    def check(self, token_ids: Sequence[int], max_new_tokens: int, name: str) -> None:
        """Raise :class:`SpecError` for a prompt and reply that the model called ``name`` can't carry."""
        self.check_ids("prompt", token_ids, name)
        # The last sampled token is never fed back.
        length, end = len(token_ids), len(token_ids) + max(max_new_tokens, 1) - 1
        if self.positions is not None and end > self.positions:
            raise SpecError(
                explain(
                    "prompt and max_new_tokens",
                    required=f"at most {self.positions} positions of {name}",
                    got=f"{length} prompt tokens and {max_new_tokens} new ones, {end} positions",
                    hint=self.hint,
                )
            )
        if self.switch is not None and length <= self.switch < end:
            raise SpecError(
                explain(
                    "prompt and max_new_tokens",
                    required=f"all within {self.switch} positions of {name}, or a prompt beyond them",
                    got=f"{length} prompt tokens and {max_new_tokens} new ones, {end} positions",
                    hint="Its position encoding changes there, for earlier positions too, in the middle of a reply.",
                )
            )


def check_block(layer: int, n_layers: int, name: str) -> None:
    """Raise :class:`LayerError` unless ``layer`` is one of the blocks of the model called ``name``."""
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < n_layers:
        raise LayerError(
            explain(
                "layer",
                required=f"a block index from 0 to {n_layers - 1} of {name}",
                got=layer,
                hint="Layers are 0-based: layer L is the output of block L.",
            )
        )


class Injector(abc.ABC):
    """A model that can be steered and sampled.

    The contract, which ``introspection_bench.testing`` checks:

    - Site: an injection at layer L is added to the residual stream that leaves decoder block L (0-based), before
      the final norm, at exactly the positions of its span; :func:`introspection_bench.doses.delta_length`
      in float32 gives the length, the delta is cast to the stream's dtype and added.
    - Requests are independent: a request's reply depends neither on the other requests of the call nor on their
      order (beyond the floating-point effects of batching), and an earlier request never alters a later one.
    - Steers of one layer add up, each computed from the stream before any of them, cast to the stream's dtype and added
      one after the other in the request's order.
    - A request without steers is bit-identical to one on an engine that was never steered.
    - Every completion carries a receipt for each steer, made inside the forward passes, measured on the stream: a
      position that kept every bit was not touched.
    - A replay (``forced``) steers and reads what the sampled run did: same positions, ratios within the dtype's noise.
    - No reply rests on a number that isn't finite: a steered sum or logits (:class:`NonFiniteError`).
    - Prompts are token ids: nothing is added to them.

    A backend implements :meth:`open`, :attr:`model`, :attr:`tokenizer` and :meth:`_generate`, overrides
    :meth:`_capture` where it has a faster way than replays, and :meth:`close` where it holds something. The public
    methods validate first, so that a wrong request raises before any forward pass.
    """

    #: The registry name of the backend; part of every trial's key.
    name: ClassVar[str]
    #: The version of the backend's arithmetic, part of every trial's key: raised with every change after which the same
    #: request may give another reply (order of adding, sampling, dtype of a norm). A run never goes on under another.
    numerics: ClassVar[int] = 1
    #: The units that it can steer in, and what it can read; anything else is an error before anything runs.
    units: ClassVar[frozenset[Unit]] = frozenset(Unit)
    reads: ClassVar[frozenset[ReadKind]] = frozenset(("residuals",))
    #: The options that it was opened with by name; None where it was opened by its class.
    opened_with: Mapping[str, Any] | None = None
    #: The model that it was opened of by name, as it was given; None where that was an object, or is not known.
    opened_of: str | None = None

    #: Called within :meth:`generate` with how many tokens steps sampled, over all replies that are not finished; so
    #: that a batch of long replies is seen to move. A backend whose steps nobody can see leaves it alone.
    on_tokens: Callable[[int], None] | None = None

    #: Called within :meth:`capture` with each prompt that was read, where the backend reads them by replays.
    on_captured: Callable[[], None] | None = None

    #: What the model looked like when it was opened (:class:`.unchanged.Unchanged`), where a caller could alter it.
    _unchanged: Any = None

    @classmethod
    @abc.abstractmethod
    def open(cls, model: Any) -> Self:
        """Open a model; a subclass adds its own options by explicit keyword."""

    @property
    @abc.abstractmethod
    def model(self) -> ModelInfo:
        """What was opened."""

    @property
    @abc.abstractmethod
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""

    @property
    def limits(self) -> Limits:
        """How many positions and which token ids a request may have; by default nothing is known of them."""
        return Limits()

    @abc.abstractmethod
    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield one completion per request, in any order, each as soon as it is finished."""

    def _capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the unsteered residuals at each prompt's last token: (prompts, layers, hidden_size)."""
        return self._capture_steered(prompts, layers, -1, ())

    @checked(SpecError)
    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield a completion for each request, as it finishes, in any order.

        All requests are validated before the first forward pass: :class:`SpecError` for anything else than requests,
        :class:`VectorError` for a wrong width, :class:`LayerError` for a layer out of range. A reply whose receipt does
        not prove its injection raises :class:`SilentInjectionError` instead of being yielded, and
        :class:`NonFiniteError` one that rests on a number which isn't finite: logits, a steered sum, a captured
        residual. A model that somebody has altered since it was opened is a :class:`ModelError`.
        """
        requests = list(requests)
        for request in requests:
            self.validate(request)
        if self._unchanged is not None:
            self._unchanged.check()
        return self._checked(requests)

    def _checked(self, requests: Sequence[Request]) -> Iterator[Completion]:
        missing = set(range(len(requests)))
        for completion in self._generate(requests) if requests else ():
            check_completion(requests[completion.index], completion)
            missing.discard(completion.index)
            yield completion
        if missing:
            raise CaptureError(
                explain(
                    f"backend {self.name!r}",
                    required="one completion for every request",
                    got=f"none for requests {sorted(missing)}",
                    hint="The backend lost them; run again, nothing was recorded for them.",
                )
            )

    @checked(SpecError)
    def capture(
        self,
        prompts: Sequence[RenderedPrompt],
        layers: Sequence[int],
        *,
        position: int = -1,
        beside: Sequence[Injection] = (),
    ) -> npt.NDArray[np.float32]:
        """Return the residual stream at one token of each prompt, by default the last.

        The result has the shape (len(prompts), len(layers), hidden_size), float32, all layers in one pass.
        ``position`` counts from the end; ``beside`` are injections under which the prompts are run. Raises
        :class:`LayerError`, :class:`SpecError` for a position that a prompt lacks, and :class:`CaptureError` where the
        backend returns something else.
        """
        prompts, layers = list(prompts), list(layers)
        shortest = min((len(p.token_ids) for p in prompts), default=0)
        if not prompts or not layers or not -shortest <= position < 0:
            raise SpecError(
                explain(
                    "prompts, layers and position",
                    required=f"at least one prompt and layer, and a position from {-shortest} to -1",
                    got=f"{len(prompts)} prompts, {len(layers)} layers, position {position}",
                    hint="Nothing was captured.",
                )
            )
        for layer in layers:
            self.check_layer(layer)
        for prompt in prompts:
            self.limits.check(prompt.token_ids, 1, self.model.name)
        if self._unchanged is not None:
            self._unchanged.check()
        if position == -1 and not any(not i.is_null for i in beside):
            captured = self._capture(prompts, layers)
        else:
            captured = self._capture_steered(prompts, layers, position, beside)
        expected = (len(prompts), len(layers), self.model.hidden_size)
        if captured.shape != expected:
            raise CaptureError(
                explain(
                    f"backend {self.name!r}",
                    required=f"activations of shape {expected}",
                    got=f"shape {captured.shape}",
                    hint="The capture hook did not see what it should; nothing was extracted.",
                )
            )
        bad = np.argwhere(~np.isfinite(captured))
        if len(bad):
            prompt, column, _ = bad[0]
            raise CaptureError(
                explain(
                    f"residual stream at layer {layers[column]}, token {position} of prompt {prompt}",
                    required="finite numbers",
                    got=f"{captured[tuple(bad[0])]} ({len(bad)} numbers in all)",
                    hint="Nothing was extracted. The model overflows its dtype, or its weights hold NaN themselves.",
                )
            )
        return captured

    def _capture_steered(
        self, prompts: Sequence[RenderedPrompt], layers: Sequence[int], position: int, beside: Sequence[Injection]
    ) -> npt.NDArray[np.float32]:
        """Read one token of each prompt in replays without a reply, whose receipts are checked like any other's."""
        requests = []
        for prompt in prompts:
            length = len(prompt.token_ids)
            read = Read("residuals", Positions(length + position, length + position + 1, length), layers)
            request = Request.of(prompt, beside, Sampling(0.0, max_new_tokens=1), forced=(), reads=(read,))
            self.validate(request)
            requests.append(request)
        # What a backend leaves out stays NaN, which capture refuses.
        found = np.full((len(prompts), len(layers), self.model.hidden_size), np.nan, dtype=np.float32)
        for completion in self._generate(requests):
            check_receipts(requests[completion.index].steers, 0, completion.receipts)
            found[completion.index] = completion.readings[0][:, 0]
            if self.on_captured is not None:
                self.on_captured()
        return found

    @property
    def has_vector_lens(self) -> bool:
        """Whether :meth:`vector_logits` can be asked of this model."""
        return "lens" in self.reads and type(self)._logits_of is not Injector._logits_of

    @checked(SpecError)
    def vector_logits(self, vectors: Sequence[ConceptVector]) -> npt.NDArray[np.float32]:
        """Return the logits (vectors, vocabulary) that the final norm and the unembedding make of vectors themselves.

        Each is scaled to the norm of a stream of ones, so that its direction alone decides. Raises :class:`SpecError`
        for a backend that can't, and :class:`VectorError` for another width than the model's.
        """
        for vector in vectors:
            self._check_width(vector)
        size = np.sqrt(self.model.hidden_size)
        rows = [v.values * (size / max(float(np.linalg.norm(v.values)), 1e-30)) for v in vectors]
        return self._logits_of(np.array(rows, np.float32).reshape(len(rows), self.model.hidden_size))

    def _logits_of(self, streams: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:  # noqa: ARG002  # the port's
        """Return the logits of streams (n, hidden_size) that leave the last block; by default a backend can't."""
        raise SpecError(
            explain(
                f"backend {self.name!r}",
                required="one that offers the logit lens of vectors",
                got="one that does not",
                hint="Open the same model with the backend 'torch' or 'nnsight'.",
            )
        )

    def validate(self, request: Request) -> None:
        """Raise what is wrong with a request, before anything runs.

        :class:`SpecError` for token ids or lengths beyond :attr:`limits` and for units or reads that this backend
        lacks, and what :meth:`generate` names.
        """
        new = request.sampling.max_new_tokens if request.forced is None else len(request.forced)
        self.limits.check(request.prompt.token_ids, new, self.model.name)
        self.limits.check_ids("forced", request.forced or (), self.model.name)
        for read in request.reads:
            self._check_can("read", read.kind, self.reads)
            for ids in read.sets:
                self.limits.check_ids("sets", ids, self.model.name)
            for layer in read.layers:
                self.check_layer(layer)
            for vector in read.vectors:
                self._check_width(vector)
        for steer in request.steers:
            self._check_can("unit", steer.dose.unit, self.units)
            self.check_layer(steer.layer)
            self._check_width(steer.vector)

    def _check_can(self, what: str, wanted: str, able: Collection[str]) -> None:
        if wanted not in able:
            raise SpecError(
                explain(
                    f"{what} {str(wanted)!r}",
                    required=f"what backend {self.name!r} can, one of {sorted(map(str, able))}",
                    got=str(wanted),
                    hint="Take another backend (introspection-bench backends says what each can).",
                )
            )

    def _check_width(self, vector: ConceptVector) -> None:
        width = vector.values.size
        if width != self.model.hidden_size:
            raise VectorError(
                explain(
                    f"vector {vector.concept!r}",
                    required=f"width {self.model.hidden_size}, the residual stream of {self.model.name}",
                    got=f"width {width} (extracted on {vector.provenance.model_name})",
                    hint="Extract the vector on this model.",
                )
            )

    def check_layer(self, layer: int) -> None:
        """Raise :class:`LayerError` unless ``layer`` is a block of this model."""
        check_block(layer, self.model.n_layers, self.model.name)

    def __repr__(self) -> str:
        m = self.model
        return shown(self, repr(m.name), f"{m.n_layers} layers", f"hidden {m.hidden_size}", m.dtype, m.fingerprint[:8])

    def _repr_html_(self) -> str:
        m = self.model
        rows = [("layers", m.n_layers), ("hidden size", m.hidden_size), ("dtype", m.dtype), ("backend", self.name)]
        rows += [("units", listing(sorted(self.units))), ("reads", listing(sorted(self.reads)))]
        return table_html(f"{type(self).__name__} {m.name}", [*rows, ("fingerprint", m.fingerprint)])

    def close(self) -> None:  # noqa: B027  # optional: most backends hold nothing
        """Free what the backend holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
