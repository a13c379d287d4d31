"""The Injector port: what every backend must do, and the checks that none can skip."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import numpy.typing as npt

from ..boundaries import guarded
from ..errors import (
    CaptureError,
    LayerError,
    NonFiniteError,
    SilentInjectionError,
    SpecError,
    VectorError,
    explain,
)
from ..freezing import frozen_tuple
from ..injection import Injection, Positions, Receipt, check_receipt
from ..scaffolds import RenderedPrompt, Tokenizer
from ..trials import Reply, Sampling


@guarded(SpecError)
@attrs.frozen
class ModelInfo:
    """What an injector found when it opened the model.

    ``fingerprint`` identifies weights, configuration, tokenizer and dtype; ``n_layers`` counts decoder blocks;
    ``hidden_size`` is the width of the residual stream; ``dtype`` that of the stream ("float32", "bfloat16").
    """

    name: str
    fingerprint: str
    n_layers: int
    hidden_size: int
    dtype: str


@attrs.frozen
class Limits:
    """What a request must keep to; None where there is no limit.

    ``positions``: most tokens that are processed for one request. ``vocabulary``: rows of the embedding.
    ``switch``: a sequence of more tokens than this is encoded in another way from its first position on (RoPE
    ``longrope``), so that what was computed for a shorter one must not be continued beyond it.
    """

    positions: int | None = None
    vocabulary: int | None = None
    switch: int | None = None

    def check(self, token_ids: Sequence[int], max_new_tokens: int, name: str) -> None:
        """Raise :class:`SpecError` for a prompt and reply that the model called ``name`` can't carry."""
        wrong = [i for i in token_ids if i < 0 or (self.vocabulary is not None and i >= self.vocabulary)]
        if wrong:
            raise SpecError(
                explain(
                    "prompt",
                    required=f"token ids from 0 to {(self.vocabulary or 0) - 1}, the embedding of {name}",
                    got=wrong[0],
                    hint="Render the prompt with this model's own tokenizer.",
                )
            )
        # The last sampled token is never fed back.
        length, end = len(token_ids), len(token_ids) + max(max_new_tokens, 1) - 1
        if self.positions is not None and end > self.positions:
            raise SpecError(
                explain(
                    "prompt and max_new_tokens",
                    required=f"at most {self.positions} positions of {name}",
                    got=f"{length} prompt tokens and {max_new_tokens} new ones, {end} positions",
                    hint="Shorten the prompt or ask for fewer tokens.",
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


@guarded(SpecError)
@attrs.frozen
class Request:
    """One reply to make. ``injection`` None is a control; ``seed`` is the trial's own.

    ``capture_layers`` asks for the residual stream that leaves those blocks, injection included, at every
    position that is processed: the prompt and all sampled tokens but the last.

    ``positions`` are those to steer, None where nothing is: on controls, magnitude 0 among them. The span is resolved
    here, once: making a request raises :class:`AnchorNotFoundError` and :class:`EmptySpanError`.
    """

    prompt: RenderedPrompt
    injection: Injection | None
    sampling: Sampling
    seed: int = 0
    capture_layers: tuple[int, ...] = attrs.field(converter=frozen_tuple, default=())
    positions: Positions | None = attrs.field(init=False, eq=False, repr=False)

    @positions.default
    def _resolved(self) -> Positions | None:
        if self.injection is None:
            return None
        found = self.injection.span.resolve(self.prompt)
        return None if self.injection.magnitude == 0 else found


@guarded(SpecError)
@attrs.frozen
class Completion:
    """The answer to ``requests[index]``.

    ``residuals`` has the shape (len(capture_layers), prompt tokens + sampled tokens - 1, hidden_size), float32;
    None where nothing was to be captured.
    """

    index: int
    reply: Reply
    receipt: Receipt
    residuals: npt.NDArray[np.float32] | None = attrs.field(default=None, eq=False, repr=False)


def failures_last(indices: Sequence[int], finish: Callable[[int], Completion]) -> Iterator[Completion]:
    """Yield ``finish(n)`` for the n-th of ``indices``, requests that ended together; raise only behind all of them.

    A reply that can't be proved thus costs none of those beside it. The error gets the index of its request.
    """
    failure: SilentInjectionError | None = None
    for number, index in enumerate(indices):
        try:
            completion = finish(number)
        except SilentInjectionError as error:
            error.request = index
            failure = failure or error
        else:
            yield completion
    if failure is not None:
        raise failure


class Injector(abc.ABC):
    """A model that can be steered and sampled.

    The contract, which ``introspection_bench.testing`` checks:

    - Site: an injection at layer L is added to the residual stream that leaves decoder block L (0-based), before
      the final norm, at exactly the positions of its span; :func:`introspection_bench.injection.delta_length`
      in float32 gives the length, the delta is cast to the stream's dtype and added.
    - Requests are independent: a request's reply depends neither on the other requests of the call nor on their
      order (beyond the floating-point effects of batching), and an earlier request never alters a later one.
    - Magnitude 0 and ``injection=None`` are bit-identical.
    - Every completion carries a receipt made inside the forward passes, measured on the stream: a position that
      kept every bit was not touched.
    - No reply rests on a number that isn't finite: a steered sum or logits (:class:`NonFiniteError`).
    - Prompts are token ids: nothing is added to them.

    A backend implements :meth:`open`, :attr:`model`, :attr:`tokenizer`, :meth:`_generate` and :meth:`_capture`,
    and overrides :meth:`close` where it holds something. The public methods validate first, so that a wrong
    request raises before any forward pass.
    """

    #: The registry name of the backend; part of every trial's key.
    name: ClassVar[str]
    #: The version of the backend's arithmetic, part of every trial's key: raised with every change after which the same
    #: request may give another reply (order of adding, sampling, dtype of a norm). A run never goes on under another.
    numerics: ClassVar[int] = 1
    #: The options that it was opened with by name; None where it was opened by its class.
    opened_with: Mapping[str, Any] | None = None

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

    @abc.abstractmethod
    def _capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the unsteered residuals at each prompt's last token: (prompts, layers, hidden_size)."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield a completion for each request, as it finishes, in any order.

        All requests are validated before the first forward pass: :class:`VectorError` for a wrong width,
        :class:`LayerError` for a layer out of range. A reply whose receipt does not prove its injection raises
        :class:`SilentInjectionError` instead of being yielded, and :class:`NonFiniteError` one that rests on a number
        which isn't finite: logits, a steered sum, a captured residual. A model that somebody has altered since it was
        opened is a :class:`ModelError`.
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

    def capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the unsteered residual stream at each prompt's last token.

        The result has the shape (len(prompts), len(layers), hidden_size), float32, all layers in one pass.
        Raises :class:`LayerError`, and :class:`CaptureError` where the backend returns something else.
        """
        prompts, layers = list(prompts), list(layers)
        if not prompts or not layers:
            raise SpecError(
                explain(
                    "prompts and layers",
                    required="at least one of each",
                    got=f"{len(prompts)} prompts, {len(layers)} layers",
                    hint="Nothing was captured.",
                )
            )
        for layer in layers:
            self.check_layer(layer)
        for prompt in prompts:
            self.limits.check(prompt.token_ids, 1, self.model.name)
        if self._unchanged is not None:
            self._unchanged.check()
        captured = self._capture(prompts, layers)
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
                    f"residual stream at layer {layers[column]}, last token of prompt {prompt}",
                    required="finite numbers",
                    got=f"{captured[tuple(bad[0])]} ({len(bad)} numbers in all)",
                    hint="Nothing was extracted. The model overflows its dtype, or its weights hold NaN themselves.",
                )
            )
        return captured

    def validate(self, request: Request) -> None:
        """Raise what is wrong with a request, before anything runs.

        :class:`SpecError` for token ids or lengths beyond :attr:`limits`, and what :meth:`generate` names.
        """
        self.limits.check(request.prompt.token_ids, request.sampling.max_new_tokens, self.model.name)
        for layer in request.capture_layers:
            self.check_layer(layer)
        if request.injection is None:
            return
        self.check_layer(request.injection.layer)
        width = request.injection.vector.values.size
        if width != self.model.hidden_size:
            raise VectorError(
                explain(
                    f"vector {request.injection.vector.concept!r}",
                    required=f"width {self.model.hidden_size}, the residual stream of {self.model.name}",
                    got=f"width {width} (extracted on {request.injection.vector.provenance.model_name})",
                    hint="Extract the vector on this model.",
                )
            )

    def check_layer(self, layer: int) -> None:
        """Raise :class:`LayerError` unless ``layer`` is a block of this model."""
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < self.model.n_layers:
            raise LayerError(
                explain(
                    "layer",
                    required=f"a block index from 0 to {self.model.n_layers - 1} of {self.model.name}",
                    got=layer,
                    hint="Layers are 0-based: layer L is the output of block L.",
                )
            )

    def close(self) -> None:  # noqa: B027  # optional: most backends hold nothing
        """Free what the backend holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def check_completion(request: Request, completion: Completion) -> None:
    """Raise unless the receipt proves the injection, and what was captured is finite.

    :class:`SilentInjectionError` and :class:`NonFiniteError`, with the index of the request.
    """
    try:
        check_receipt(request.positions, len(completion.reply.token_ids), completion.receipt)
        if completion.residuals is not None:
            _check_finite(request, completion.residuals)
    except SilentInjectionError as error:
        error.request = completion.index
        raise


def _check_finite(request: Request, residuals: npt.NDArray[np.float32]) -> None:
    bad = np.argwhere(~np.isfinite(residuals))
    if len(bad):
        number, position, _ = (int(n) for n in bad[0])
        raise NonFiniteError(
            explain(
                f"residual stream at layer {request.capture_layers[number]}, position {position}",
                required="finite numbers",
                got=f"{residuals[tuple(bad[0])]} ({len(bad)} numbers in all)",
                hint="The reply is not recorded. The model overflows its dtype, or its weights hold NaN themselves.",
            )
        )
