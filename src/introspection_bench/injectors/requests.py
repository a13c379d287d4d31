"""What an injector is asked and what it answers, and the check that an answer is proved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import attrs
import numpy as np
import numpy.typing as npt

from ..boundaries import guarded
from ..errors import NonFiniteError, SilentInjectionError, SpecError, explain
from ..freezing import frozen_ints, frozen_tuple
from ..identity import Sampling
from ..injection import Injection, Receipt, Steer, check_receipts, resolve
from ..measures.base import Read
from ..prompts import RenderedPrompt
from ..trials import Reply

#: What the log of a probability is read of.
_LOGS = ("logprobs", "distribution", "lens")


@guarded(SpecError)
@attrs.frozen
class Request:
    """One reply to make, or with ``forced`` one to feed again. ``steers`` empty is a control; ``seed`` the trial's own.

    ``steers`` come from :func:`introspection_bench.injection.resolve`: in one order, none of magnitude 0, of this very
    prompt; :meth:`of` makes a request of injections. Those of one layer add up, each computed from the stream before
    any of them.

    ``forced`` are token ids that are fed behind the prompt instead of sampled ones, up to and without the last, as in
    sampling; empty runs the prompt alone. ``reads`` say what is read inside the passes. While a reply is sampled only
    ``residuals`` can be: other readings come from replays.

    Raises :class:`SpecError`.
    """

    prompt: RenderedPrompt
    steers: tuple[Steer, ...] = attrs.field(converter=frozen_tuple)
    sampling: Sampling
    seed: int = 0
    forced: tuple[int, ...] | None = attrs.field(converter=attrs.converters.optional(frozen_ints), default=None)
    reads: tuple[Read, ...] = attrs.field(converter=frozen_tuple, default=())

    @classmethod
    def of(
        cls,
        prompt: RenderedPrompt,
        injections: Iterable[Injection],
        sampling: Sampling,
        seed: int = 0,
        *,
        forced: Sequence[int] | None = None,
        reads: Sequence[Read] = (),
    ) -> Self:
        """Return the request of some injections, whose spans are resolved here: raises what :func:`resolve` raises."""
        return cls(prompt, resolve(injections, prompt), sampling, seed, forced, reads)

    @steers.validator
    def _check_steers(self, _: object, steers: tuple[Steer, ...]) -> None:
        foreign = [s for s in steers if s.positions.prompt_length != len(self.prompt.token_ids)]
        orders = [s.key.order for s in steers] if len(steers) > 1 else []
        if foreign or orders != sorted(orders):
            raise SpecError(
                explain(
                    "steers",
                    required="steers resolved for this prompt, in order",
                    got=f"those of a prompt of {foreign[0].positions.prompt_length} tokens"
                    if foreign
                    else "another order",
                    hint="Make the request with Request.of, or the steers with ib.resolve.",
                )
            )

    @reads.validator
    def _check_reads(self, _: object, reads: tuple[Read, ...]) -> None:
        early = sorted({r.kind for r in reads if self.forced is None and r.kind != "residuals"})
        if early:
            raise SpecError(
                explain(
                    "reads",
                    required="residuals alone while a reply is sampled",
                    got=early,
                    hint="Replay the reply: give its token ids as forced.",
                )
            )
        last = len(self.prompt.token_ids) - 1
        stops = [r.positions.stop for r in reads if r.kind == "likelihood" and not self.forced]
        if any(stop is None or stop > last for stop in stops):
            raise SpecError(
                explain(
                    "reads",
                    required=f"a likelihood at positions before {last}, the last token, which none follows",
                    got=f"positions up to {stops}, and nothing forced",
                    hint="Give the tokens that are to follow as forced.",
                )
            )

    @property
    def read_layers(self) -> tuple[int, ...]:
        """The blocks whose stream is read, each once, in order."""
        return tuple(sorted({layer for read in self.reads for layer in read.layers}))

    @property
    def fed(self) -> tuple[int, ...]:
        """The token ids that a replay runs: the prompt, and of the forced ones all but the last."""
        return (*self.prompt.token_ids, *(self.forced or ())[:-1])

    def processed(self, reply_tokens: int) -> int:
        """Return how many positions a correct run processes for a reply of so many tokens: the last is not fed."""
        return len(self.prompt.token_ids) + max(reply_tokens - 1, 0)


@guarded(SpecError)
@attrs.frozen
class Completion:
    """The answer to ``requests[index]``.

    ``receipts`` stand in the order of its steers, ``readings`` in that of its reads: float32 arrays of
    :meth:`~introspection_bench.measures.Read.shape`. On a replay ``reply`` holds the forced tokens.
    """

    index: int
    reply: Reply
    receipts: tuple[Receipt, ...] = attrs.field(converter=frozen_tuple, default=())
    readings: tuple[npt.NDArray[np.float32], ...] = attrs.field(
        converter=frozen_tuple, default=(), eq=False, repr=False
    )


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


def check_completion(request: Request, completion: Completion) -> None:
    """Raise unless the receipts prove the steers, and what was read is there and finite.

    :class:`SilentInjectionError` and :class:`NonFiniteError`, with the index of the request.
    """
    count = len(completion.reply.token_ids)
    try:
        check_receipts(request.steers, count, completion.receipts)
        _check_readings(request, count, completion.readings)
    except SilentInjectionError as error:
        error.request = completion.index
        raise


def _check_readings(request: Request, count: int, readings: Sequence[npt.NDArray[np.float32]]) -> None:
    processed = request.processed(count)
    shapes = [r.shape for r in readings]
    # What only the model knows: the width of its stream, and of how many tokens it makes logits.
    width, vocabulary = (
        next((s[-1] for r, s in zip(request.reads, shapes, strict=False) if r.kind == kind and s), 0)
        for kind in ("residuals", "distribution")
    )
    expected = [r.shape(processed, width, vocabulary) for r in request.reads]
    if shapes != expected:
        raise SilentInjectionError(
            explain(
                "readings",
                required=f"arrays of the shapes {expected}",
                got=shapes,
                hint="The reading hook did not see what it should; nothing is recorded.",
            )
        )
    for read, values in zip(request.reads, readings, strict=True):
        # The log of a probability that underflows is -inf, which is a reading; NaN never is.
        bad = np.argwhere(np.isnan(values) if read.kind in _LOGS else ~np.isfinite(values))
        if len(bad):
            layer, place = (read.layers[bad[0][0]], bad[0][1]) if read.layers else (None, bad[0][0])
            what = "residual stream" if read.kind == "residuals" else read.kind
            raise NonFiniteError(
                explain(
                    f"{what}{'' if layer is None else f' at layer {layer}'}, position {read.positions.start + place}",
                    required="finite numbers",
                    got=f"{values[tuple(bad[0])]} ({len(bad)} numbers in all)",
                    hint="Nothing is recorded. The model overflows its dtype, or its weights hold NaN themselves.",
                )
            )
