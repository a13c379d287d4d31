"""What the conformance checks look at: an injector, prompts and vectors that fit it, and measured additions."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from ..doses import Dose, Unit, delta_length
from ..errors import ConformanceError
from ..identity import Sampling
from ..injection import Injection
from ..injectors.base import Injector
from ..injectors.requests import Completion, Request
from ..measures.base import Read
from ..prompts import RenderedPrompt
from ..scaffolds import Scaffold, Turn
from ..spans import Positions, Span
from ..vectors import ConceptVector, Provenance
from .noise import measured_noise

FloatArray = npt.NDArray[np.float32]

#: Allowed error of a measured addition, relative to the larger of ‖h‖ and ‖delta‖, by the stream's dtype. Prefill and
#: decode run different kernels, so that the same residual comes out a few units of least precision apart.
TOLERANCES = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 6e-2}
#: How many times the engine's own largest noise is allowed of a position, and its usual noise of half of them. An FP8
#: model on an H100 had 0.072 at most in a measurement, and 0.144 in a check.
TIMES_LARGEST, TIMES_USUAL = 2.5, 1.5
#: Noise above which nothing can be told: additions are of half the residual's norm, and one too many must stand out.
MOST_NOISE = 0.18

#: What was measured of each injector, by the lengths of replies and prompts.
_NOISES: weakref.WeakKeyDictionary[Injector, dict[tuple[int, int], FloatArray]] = weakref.WeakKeyDictionary()

_TEXTS = (
    "Ok, let's get started. Trial 1: do you notice an injected thought about the sea? Tell me about it.",
    "Tell me about the trees of your country, one after another.",
    "Count from one to twenty in words.",
    "Write a long story about an old house.",
    "What would you like to talk about today?",
    "List everything that one can find in a kitchen.",
    "Explain how a bicycle works, step by step.",
    "Describe the weather of each month.",
)


@attrs.define
class Subject:
    """An injector under test.

    ``reference`` is an injector on the same model that is trusted (check 16); ``half`` the same backend on a
    bfloat16 or float16 model (checks 12 and 21), None where ``injector`` itself has such a model or there is none;
    ``unsound`` the same backend on a model whose logits hold NaN (check 20).
    ``tolerance`` overrides :data:`TOLERANCES` and what is measured. ``reply_tokens`` is the length of the replies that
    are looked at, ``long_prompt`` the length in tokens of long prompts, ``concurrency`` the number of requests at once
    in check 18.
    """

    injector: Injector
    reference: Injector | None = None
    half: Injector | None = None
    unsound: Injector | None = None
    tolerance: float | None = None
    reply_tokens: int = 6
    long_prompt: int = 160
    concurrency: int = 8
    _norms: dict[int, float] = attrs.field(factory=dict, init=False)
    __dict__: dict[str, Any] = attrs.field(init=False, repr=False, eq=False)  # cached_property needs it

    @property
    def stated_error(self) -> float:
        """The tolerance that was given, or the dtype's."""
        return self.tolerance if self.tolerance is not None else TOLERANCES.get(self.injector.model.dtype, 6e-2)

    @cached_property
    def error(self) -> float:
        """What is allowed of any position: the stated tolerance, on half-precision models more if noise calls for it.

        That is :data:`TIMES_LARGEST` times the largest difference that the engine has with itself. Raises
        :class:`ConformanceError` where it is so large that nothing can be told.
        """
        if self.tolerance is not None or self.exact:
            return self.stated_error
        largest = float(self.noise.max())
        require(
            largest <= MOST_NOISE,
            f"without any injection the same tokens' residuals differ by {largest:.3g} between batch shapes: "
            f"above {MOST_NOISE}, steering can't be told from noise; try a larger dtype, or state a tolerance",
        )
        return max(self.stated_error, TIMES_LARGEST * largest)

    @cached_property
    def usual_error(self) -> float:
        """What is allowed of means, and of half of the positions, however far single ones may jump.

        So a dose that is a fifth off, at every position, is seen even where a tenth is allowed of one.
        """
        if self.tolerance is not None or self.exact:
            return self.stated_error
        return min(self.error, max(self.stated_error, TIMES_USUAL * float(np.median(self.noise))))

    @property
    def noise(self) -> FloatArray:
        """How far the engine disagrees with itself without injection, relative to ‖h‖: (layers x positions,).

        At all layers that the checks look at, of prompts short and long (:func:`.noise.measured_noise`). Quantised
        activations (FP8) turn a rounding error into one of their own, coarse steps, at few positions.
        """
        known, key = _NOISES.setdefault(self.injector, {}), (self.reply_tokens, self.long_prompt)
        if key not in known:
            known[key] = self._measured_noise()
        return known[key]

    def _measured_noise(self) -> FloatArray:
        last = self.injector.model.n_layers - 1
        layers = sorted({0, max(self.layer - 1, 0), self.layer, min(self.layer + 1, last), last})

        def ask(prompt: RenderedPrompt, tokens: int) -> Request:
            return self.request(prompt, layers=layers, tokens=tokens)

        return measured_noise(self.run, ask, [*self.prompts, self.long], 2 * self.reply_tokens)

    @property
    def exact(self) -> bool:
        """Whether replies may be compared token by token between batches: on float32 models alone."""
        return self.injector.model.dtype == "float32"

    @property
    def layer(self) -> int:
        """A layer in the middle."""
        return self.injector.model.n_layers // 2

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units that the injector declares."""
        return tuple(unit for unit in Unit if unit in self.injector.units)

    # Prompts and vectors

    @cached_property
    def prompts(self) -> tuple[RenderedPrompt, ...]:
        """Prompts of different lengths, with the anchors ``first`` and ``last`` a third and two thirds in."""
        scaffolds = [Scaffold("conformance", [Turn("user", text)]) for text in _TEXTS]
        return tuple(with_anchors(s.render(self.injector.tokenizer).token_ids) for s in scaffolds)

    @property
    def prompt(self) -> RenderedPrompt:
        """The first prompt."""
        return self.prompts[0]

    @cached_property
    def long(self) -> RenderedPrompt:
        """A prompt of ``long_prompt`` tokens: longer than two cache blocks of any engine, and than chunks set short."""
        scaffold = Scaffold("conformance", [Turn("user", " ".join(_TEXTS * 8))])
        ids = scaffold.render(self.injector.tokenizer).token_ids
        return with_anchors((ids * (self.long_prompt // len(ids) + 1))[: self.long_prompt])

    def vector(self, seed: int = 0, layer: int | None = None) -> ConceptVector:
        """A random direction whose norm is half the residual's at the first prompt's last token."""
        layer = self.layer if layer is None else layer
        if layer not in self._norms:
            self._norms[layer] = float(np.linalg.norm(self.injector.capture([self.prompt], [layer])[0, 0]))
        noise = np.random.default_rng(seed).standard_normal(self.injector.model.hidden_size)
        values = noise / np.linalg.norm(noise) * 0.5 * self._norms[layer]
        return make_vector(values, layer, self.injector)

    def direction(self, layer: int | None = None) -> ConceptVector:
        """A direction between the residual's own, at the first prompt's last token, and a random one.

        The stream holds much of it there, and is not gone where it is removed.
        """
        layer = self.layer if layer is None else layer
        held = self.injector.capture([self.prompt], [layer])[0, 0]
        values = held + 2 * self.vector(11, layer).values
        return make_vector(values, layer, self.injector)

    def injection(
        self,
        span: Span | None = None,
        *,
        unit: Unit = Unit.RESIDUAL,
        magnitude: float = 0.5,
        layer: int | None = None,
        vector: ConceptVector | None = None,
        seed: int = 0,
    ) -> Injection:
        """An injection at the middle layer, over every position, of half the residual's norm, unless told otherwise.

        In the unit ``projection`` it is half of what the residual has of the vector, which is :meth:`direction`.
        """
        layer = self.layer if layer is None else layer
        if vector is None:
            vector = self.direction(layer) if unit is Unit.PROJECTION else self.vector(seed, layer)
        if unit is Unit.ABSOLUTE:
            magnitude = magnitude * 2 * vector.norm
        elif unit is Unit.RAW:
            magnitude = magnitude * 2
        return Injection(vector, layer, Dose(magnitude, unit), span or Span.all())

    # Runs

    def request(
        self,
        prompt: RenderedPrompt,
        *injections: Injection,
        layers: Iterable[int] = (),
        tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        forced: Sequence[int] | None = None,
        reads: Sequence[Read] = (),
    ) -> Request:
        """One request; greedy unless told otherwise; the stream is read at ``layers``, at every position."""
        sampling = Sampling(temperature=temperature, max_new_tokens=tokens or self.reply_tokens)
        everywhere = Positions(0, None, len(prompt.token_ids))
        stream = [Read("residuals", everywhere, dict.fromkeys(layers))] if layers else []
        return Request.of(prompt, injections, sampling, seed, forced=forced, reads=[*stream, *reads])

    def run(self, *requests: Request) -> list[Completion]:
        """Completions in the order of the requests; complains of missing, doubled and unasked ones."""
        found: dict[int, Completion] = {}
        for completion in self.injector.generate(requests):
            require(completion.index not in found, f"request {completion.index} was answered twice")
            found[completion.index] = completion
        done = [found[i] for i in range(len(requests))]
        for request, completion in zip(requests, done, strict=True):
            sampled, limit = len(completion.reply.token_ids), request.sampling.max_new_tokens
            if request.forced is None:
                require(1 <= sampled <= limit, f"asked for at most {limit} tokens, got {sampled}")
            else:
                told = completion.reply.token_ids
                require(told == request.forced, f"a replay of {request.forced} came back as a reply of {told}")
            got = [values.shape for values in completion.readings]
            shapes = [
                r.shape(request.processed(sampled), self.injector.model.hidden_size, found[-1] if found else 0)
                for r, found in zip(request.reads, got, strict=False)
            ]
            require(got == shapes, f"what is read must have the shapes {shapes}, got {got}")
        return done

    def clean(self, prompt: RenderedPrompt, reply: Sequence[int], layers: Iterable[int]) -> FloatArray:
        """The unsteered residuals over the same tokens: the reply is fed back as prompt.

        What leaves block L at one position depends on the tokens and the blocks up to L alone. So whatever an
        injection at L did to the reply, this is the ``h`` that it was added to, at every position.
        """
        same_tokens = RenderedPrompt((*prompt.token_ids, *reply[:-1]), "")
        return residuals(self.run(self.request(same_tokens, layers=layers, tokens=1))[0])

    def steered(
        self, prompt: RenderedPrompt, *injections: Injection, tokens: int | None = None
    ) -> tuple[Completion, FloatArray, FloatArray]:
        """Run alone, all injections at one layer; returns (completion, h, what was added).

        The latter two are of the shape (positions, hidden_size).
        """
        layer = [injections[0].layer]
        completion = self.run(self.request(prompt, *injections, layers=layer, tokens=tokens))[0]
        h = self.clean(prompt, completion.reply.token_ids, layer)[0]
        return completion, h, residuals(completion)[0] - h

    def with_reply(
        self, *injections: Injection, at_least: int = 4, tokens: int | None = None
    ) -> tuple[RenderedPrompt, Completion, FloatArray, FloatArray]:
        """As :meth:`steered`, on the first prompt whose steered reply is long enough to look at."""
        for prompt in self.prompts:
            completion, h, added = self.steered(prompt, *injections, tokens=tokens)
            if len(completion.reply.token_ids) >= at_least:
                return prompt, completion, h, added
        raise ConformanceError(
            f"no prompt of {len(self.prompts)} was answered with {at_least} tokens or more under injection; "
            "the model ends its replies at once, so that steering while generating can't be looked at"
        )

    # Comparisons

    def check_addition(
        self, prompt: RenderedPrompt, injections: Sequence[Injection], h: FloatArray, added: FloatArray, what: str
    ) -> None:
        """Require at each position the sum of the formulas' deltas for injections at one layer, and nothing elsewhere.

        For the unit ``update``, whose norm the port does not show, the direction and the sign of the one injection.
        """
        inside = [span_mask(prompt, injection.span, len(h)) for injection in injections]
        somewhere = np.logical_or.reduce(inside)
        scale = np.linalg.norm(h, axis=1)
        outside = np.flatnonzero(~somewhere)
        self._within(added[outside], scale[outside], f"{what}: positions outside the span", outside)
        deltas = [expected_delta(injection, h) for injection in injections]
        told = [delta * where[:, None] for delta, where in zip(deltas, inside, strict=True) if delta is not None]
        if len(told) == len(deltas):
            expected = np.sum(told, axis=0)
            scale = np.maximum(scale, np.linalg.norm(told, axis=-1).max(axis=0))
            error = (added - expected)[somewhere]
            self._within(error, scale[somewhere], f"{what}: the addition within the span", np.flatnonzero(somewhere))
            return
        (injection,) = injections
        direction = injection.vector.values / injection.vector.norm * np.sign(injection.dose.magnitude)
        along = added[somewhere] @ direction
        across = added[somewhere] - along[:, None] * direction
        require(bool((along > 0).all()), f"{what}: a position of the span was not steered along the vector")
        scale = np.maximum(scale[somewhere], along)
        self._within(across, scale, f"{what}: across the vector", np.flatnonzero(somewhere))

    def check_row(
        self, prompt: RenderedPrompt, injections: Sequence[Injection], completion: Completion, what: str
    ) -> None:
        """As :meth:`check_addition`, for a completion of any batch; a control must have got nothing."""
        layer = injections[0].layer if injections else self.layer
        h = self.clean(prompt, completion.reply.token_ids, [layer])[0]
        if not injections:
            self.same(residuals(completion)[0], h, f"{what}, a control")
            return
        what = f"{what}, {' and '.join(str(i.span) for i in injections)}"
        self.check_addition(prompt, injections, h, residuals(completion)[0] - h, what)

    def same(self, one: FloatArray, other: FloatArray, what: str) -> None:
        """Require equal residuals (…, hidden_size) within the tolerance."""
        require(one.shape == other.shape, f"{what}: shapes {one.shape} and {other.shape}")
        flat, base = (a.reshape(-1, a.shape[-1]) for a in (one - other, other))
        self._within(flat, np.linalg.norm(base, axis=1), what, np.arange(len(flat)))

    def _within(self, error: FloatArray, scale: FloatArray, what: str, positions: npt.NDArray[np.int_]) -> None:
        if not len(error):
            return
        relative = np.linalg.norm(error, axis=1) / np.maximum(scale, 1e-12)
        bad = ~(relative <= self.error)  # written so that NaN is bad
        # Noise jumps at few positions: what is wrong at more than half of them is none.
        usual = float(np.sort(relative)[(len(relative) - 1) // 2]) if len(relative) > 1 else 0.0
        if not bad.any() and usual > self.usual_error:
            raise ConformanceError(
                f"{what}: relative error {usual:.3g} or more at half of {len(relative)} positions "
                f"(allowed {self.usual_error:.3g} of half of them, {self.error:.3g} of any)"
            )
        if bad.any():
            raise ConformanceError(
                f"{what}: relative error {np.nanmax(relative) if not np.isnan(relative).all() else np.nan:.3g} "
                f"(allowed {self.error:.3g}), wrong at {int(bad.sum())} of {len(bad)} positions, "
                f"first at position {int(positions[bad][0])}"
            )


def require(fine: bool, message: str) -> None:
    """Raise :class:`ConformanceError` with the message unless ``fine``."""
    if not fine:
        raise ConformanceError(message)


def residuals(completion: Completion) -> FloatArray:
    """The stream (layers, positions, hidden_size), which is the first thing that :meth:`Subject.request` reads."""
    if not completion.readings:
        raise ConformanceError("nothing was read, though the residuals were asked for")
    return completion.readings[0]


def with_anchors(ids: Sequence[int]) -> RenderedPrompt:
    """A prompt of these ids with the anchors ``first``, ``last`` and ``tail`` (the last token)."""
    n = len(ids)
    return RenderedPrompt(ids, "", {"first": n // 3, "last": max(2 * n // 3, n // 3 + 1), "tail": n - 1})


def make_vector(values: npt.ArrayLike, layer: int, injector: Injector) -> ConceptVector:
    """A vector with the provenance of a synthetic one."""
    norm = float(np.linalg.norm(np.asarray(values, dtype=np.float64)))
    model = injector.model
    return ConceptVector(
        values, "conformance", layer, Provenance("synthetic", model.name, model.fingerprint, "", 0, -1, norm, None)
    )


def span_mask(prompt: RenderedPrompt, span: Span, positions: int) -> npt.NDArray[np.bool_]:
    """Which of the processed positions the span steers."""
    where = span.resolve(prompt)
    at = np.arange(positions)
    return (at >= where.start) & (at < (positions if where.stop is None else where.stop))


def expected_delta(injection: Injection, h: FloatArray) -> FloatArray | None:
    """The addition by the unit's formula at each position (positions, hidden_size); None for the unit ``update``."""
    dose = injection.dose
    if dose.unit is Unit.UPDATE:
        return None
    values = injection.vector.values.astype(np.float64)
    norm = float(np.linalg.norm(values))
    wide = h.astype(np.float64)
    length = delta_length(
        Unit(dose.unit),
        dose.magnitude,
        vector_norm=norm,
        residual_norm=np.linalg.norm(wide, axis=1),
        along=wide @ (values / norm),
    )
    delta = np.broadcast_to(length, (len(h),))[:, None] * (values / norm)
    return delta.astype(np.float32)
