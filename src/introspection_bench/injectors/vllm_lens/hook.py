"""The vllm-lens ``Hook`` of one request: what it adds to the stream, and what it reads there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_rank

from ...doses import Unit
from ...errors import SilentInjectionError, explain
from ...injection import Steer
from ...measures.base import Read, ReadKind
from ...spans import Positions
from ..reading import cosines, distribution, likelihoods, log_masses
from ..requests import Request
from ..steering import coefficients, steer
from .records import OF_LAYERS, LayerLog
from .sites import SITES, Claim, Ending, Sites


@attrs.define(eq=False)
class Addition:
    """One steer of the request, by its number among them: ``direction`` (1, hidden_size), ``lengths`` (1, 4)."""

    number: int
    layer: int
    unit: Unit
    positions: Positions
    direction: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, number: int, asked: Steer) -> Addition:
        """Return what a worker needs of a steer."""
        direction = torch.tensor(asked.vector.unit.values)[None]
        lengths = torch.tensor([coefficients(asked)], dtype=torch.float32)
        return cls(number, asked.layer, asked.unit, asked.positions, direction, lengths)


@attrs.define(eq=False)
class Reading:
    """One read of the request, by its number among them, at ``layers``.

    ``operand`` is what the rows are compared with: of ``cosines`` the vectors (vectors, hidden_size), of
    ``likelihood`` the token ids that follow each position of the sequence; empty otherwise.
    """

    number: int
    kind: ReadKind
    layers: tuple[int, ...]
    positions: Positions
    sets: tuple[tuple[int, ...], ...]
    operand: Tensor

    @classmethod
    def of(cls, number: int, read: Read, tokens: Sequence[int], last: int) -> Reading:
        """Return what a worker needs of a read of a sequence of ``tokens``, ``last`` being the last block."""
        operand = torch.empty(0)
        if read.kind == "cosines":
            operand = torch.tensor(np.stack([v.values for v in read.vectors]))
        elif read.kind == "likelihood":
            operand = torch.tensor(tokens[1:], dtype=torch.long)
        layers = read.layers if read.kind in OF_LAYERS else (last,)
        return cls(number, read.kind, layers, read.positions, read.sets, operand)

    def at_end(self, layer: int, last: int) -> bool:
        """Whether it is read behind the last block: there the lens is the model's own prediction."""
        return layer == last and self.kind in ("logprobs", "likelihood", "distribution", "lens")


@attrs.frozen(eq=False)
class _Pass:
    """What of one pass is one request's at one block: ``count`` positions from ``first`` on, rows from ``row`` on."""

    sites: Sites
    log: LayerLog
    layer: int
    first: int
    row: int
    count: int

    def window(self, positions: Positions) -> tuple[int, int]:
        """Return which of the request's rows are among some positions: (start, stop)."""
        lo = min(max(positions.start - self.first, 0), self.count)
        return lo, self.count if positions.stop is None else min(max(positions.stop - self.first, 0), self.count)


class Steering:
    """The function of one request's vllm-lens ``Hook``: steers and reads at its layers, and writes down both.

    It never raises: vllm-lens would drop the changes of all requests at that block and go on.
    """

    def __init__(self, key: str, request: Request, last: int) -> None:
        tokens = (*request.prompt.token_ids, *(request.forced or ()))
        self.key = key
        self.last = last
        self.additions = [Addition.of(n, asked) for n, asked in enumerate(request.steers)]
        self.readings = [Reading.of(n, read, tokens, last) for n, read in enumerate(request.reads)]

    @property
    def layers(self) -> list[int]:
        """The blocks that the hook is needed at."""
        return sorted({a.layer for a in self.additions}.union(*(r.layers for r in self.readings)))

    def __call__(self, ctx: Any, hidden: Tensor) -> Tensor | None:
        """Return the changed rows (tokens of this pass, hidden_size), or None where nothing is steered."""
        log: LayerLog = ctx.saved.setdefault(ctx.layer_idx, LayerLog())
        if log.error is not None:
            return None
        try:
            return self._run(ctx, log, hidden)
        except Exception as error:  # see the class: reported through the log instead
            log.error = f"{type(error).__name__}: {error}"
            return None

    def _run(self, ctx: Any, log: LayerLog, hidden: Tensor) -> Tensor | None:
        sites: Sites = SITES[ctx.model]
        first, count = sites.first_position(self.key), ctx.seq_len
        if hidden.ndim != 2 or len(hidden) != count:
            raise SilentInjectionError(
                explain(
                    f"output of block {ctx.layer_idx}",
                    required=f"shape ({count}, hidden_size)",
                    got=f"{tuple(hidden.shape)}",
                    hint="This model's blocks can't be steered through vllm-lens.",
                )
            )
        log.begin(first, count)
        # ``hidden`` is a slice of the whole pass's rows, so its offset says which rows these are.
        here = _Pass(sites, log, ctx.layer_idx, first, hidden.storage_offset() // hidden.stride(0), count)
        changed = self._steer(here, hidden)
        self._read(here, hidden if changed is None else changed)
        return changed

    def _steer(self, here: _Pass, hidden: Tensor) -> Tensor | None:
        """Add the request's steers one after the other, each computed from the stream before any of them."""
        found = [(a, here.window(a.positions)) for a in self.additions if a.layer == here.layer]
        found = [(a, (lo, hi)) for a, (lo, hi) in found if lo < hi]
        if not found:
            return None
        site = here.sites.blocks[here.layer]
        changed = hidden.clone()
        for addition, (lo, hi) in found:
            update_norms = None
            if addition.unit is Unit.UPDATE:
                update_norms = site.update_norms(slice(here.row + lo, here.row + hi))[None]
            addition.direction = addition.direction.to(hidden.device)
            addition.lengths = addition.lengths.to(hidden.device)
            stream, measured = steer(
                changed[None, lo:hi],
                addition.direction,
                addition.lengths,
                None,
                update_norms,
                origin=hidden[None, lo:hi],
                projecting=addition.unit is Unit.PROJECTION,
            )
            # A sum that isn't finite is an error already. It must not reach the engine's cache, whose pages other
            # requests get later: attention multiplies what is left in them by 0, and NaN by 0 is NaN.
            changed[lo:hi] = torch.where(measured[2, 0].isfinite()[:, None], stream[0], changed[lo:hi])
            here.log.steered(addition.number, here.first + lo, measured[:, 0].T)
        kept = _gaps([window for _, window in found], here.count)
        site.claims.append(Claim(here.log, here.row, here.count, kept))
        return changed

    def _read(self, here: _Pass, stream: Tensor) -> None:
        """Read what is asked for at this block, now or, behind the last one, when the model is through."""
        keeps = get_tensor_model_parallel_rank() == 0
        later = []
        for reading in self.readings:
            lo, hi = here.window(reading.positions)
            if here.layer not in reading.layers or lo >= hi:
                continue
            if reading.at_end(here.layer, self.last):
                later.append((reading, lo, hi))
            elif reading.kind == "lens":
                self._predict(here, reading, here.sites.head.normed(stream[lo:hi]), lo)
            elif keeps and reading.kind == "residuals":
                here.log.read(reading.number, here.first + lo, stream[lo:hi].to("cpu", torch.float32, copy=True))
            elif keeps:
                reading.operand = reading.operand.to(stream.device)
                here.log.read(reading.number, here.first + lo, cosines(stream[lo:hi], reading.operand))
        if later:

            def told(final: Tensor) -> None:
                for reading, lo, hi in later:
                    self._predict(here, reading, final[lo:hi], lo)

            here.sites.head.pending.append(Ending(here.log, slice(here.row, here.row + here.count), stream, told))

    @staticmethod
    def _predict(here: _Pass, reading: Reading, final: Tensor, lo: int) -> None:
        """Read what is predicted at rows that the final norm gave, the first of which is row ``lo`` of the request."""
        position, head = here.first + lo, here.sites.head
        if reading.kind == "likelihood":
            following = reading.operand[position : position + len(final)].to(final.device)
            # An engine that schedules ahead may run one position more than the sequence has.
            found = head.reduced(final[: len(following)], lambda logits, rows: likelihoods(logits, following[rows]))
        elif reading.kind == "distribution":
            found = head.reduced(final, lambda logits, _: distribution(logits))
        else:
            found = head.reduced(final, lambda logits, _: log_masses(logits, reading.sets))
        if found is not None:
            here.log.read(reading.number, position, found)


def _gaps(windows: Sequence[tuple[int, int]], count: int) -> tuple[tuple[int, int], ...]:
    """Return the (start, stop) among ``count`` rows that no window covers."""
    found, at = [], 0
    for lo, hi in sorted(windows):
        if at < lo:
            found.append((at, lo))
        at = max(at, hi)
    return (*found, (at, count)) if at < count else tuple(found)
