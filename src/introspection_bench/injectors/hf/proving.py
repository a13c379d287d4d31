"""The proof, when a model is opened, that what an injector computes is what one uncached pass computes.

Two things are compared: the residual stream of captures and replies, and the tokens of replies, which must be those
that the seeds choose from that pass's logits: a ``generate`` that was replaced, or that forbids or favours tokens,
would give replies of another model.

Caches are where architectures differ most: recurrent and convolutional states are written in place, position encodings
may depend on how much was run at once, and some models can't continue from a cache by more than a token. No list of
names would stay complete, so the injector's own captures and replies on a small probe are compared with passes that use
no cache at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...doses import Dose, Unit
from ...errors import ModelError, NonFiniteError, explain
from ...identity import Sampling
from ...injection import Injection
from ...measures.base import Read
from ...prompts import RenderedPrompt
from ...spans import Span
from ...vectors import ConceptVector, Provenance
from ..base import Limits, ModelInfo
from ..requests import Request
from .blocks import embedding_of
from .hooks import BlockCapture, Row, session
from .sampling import noisy, step_keys

if TYPE_CHECKING:
    from ..base import Injector

FloatArray = npt.NDArray[np.float32]

#: Relative error that rounding alone may make, by the stream's dtype. Recurrences round worse than attention does, and
#: what a wrong cache does is of another size.
ROUNDING = {"float32": 5e-3, "float64": 5e-3, "float16": 2e-2, "bfloat16": 6e-2}
_MOST_NOISE = 0.3
#: Rows at once while probing: more prompts than this make a second batch, which must find the shared cache untouched.
ROWS = 2
_LENGTH, _NEW_TOKENS, _LAYERS = 16, 3, 8
#: Linear attention works through a prompt in pieces, most often of 64 tokens: the probe should cross one's end.
_RECURRENT_LENGTH = 72


class SharingProbe:
    """Prompts with a common beginning, requests on one of them, and what uncached passes make of both.

    ``blocks`` are the decoder blocks; about eight of them are looked at. The prompts slide out of a short attention
    window, and stay within the model's ``limits``.
    """

    def __init__(self, model: Any, blocks: Sequence[nn.Module], info: ModelInfo, limits: Limits) -> None:
        self._model, self._blocks = model, blocks
        self._device, _ = embedding_of(model)
        vocabulary = limits.vocabulary or 3
        last = len(blocks) - 1
        self.layers = sorted({round(n * last / (_LAYERS - 1)) for n in range(_LAYERS)})
        length = _probe_length(model.config, limits)
        ids = [3 + (7 * n) % max(1, min(vocabulary, 120) - 3) for n in range(length)]
        ids = [i % vocabulary for i in ids]
        half, third = length // 2, length // 3
        # Of three lengths, so that the short ones are padded where an injector pads.
        tails = (ids[half:], ids[half:-3][::-1], ids[half:-1][::-1])
        self.prompts = [RenderedPrompt((*ids[:half], *tail), "", {"third": third}) for tail in tails]
        steered = _injection(info.hidden_size, len(blocks) // 2, Span.from_anchor("third"))
        # Three rows make two batches, the second from a cache that the first has been continued from.
        sampling = Sampling(2.0, max_new_tokens=_NEW_TOKENS)
        self.requests = [
            self._request(self.prompts[0], injections, sampling, seed)
            for seed, injections in enumerate(((), (steered,), (steered,)))
        ]
        # A model that keeps states outside its cache takes this for the next token of the prompt before.
        self.shortest = self._request(RenderedPrompt(ids[:1], ""), (), sampling, 3)
        self._alone = [self._pass(p.token_ids, ())[0] for p in self.prompts]
        #: Relative error that is taken for rounding.
        self.tolerance = ROUNDING.get(info.dtype, 6e-2)
        if info.dtype in ("float16", "bfloat16"):
            self.tolerance = max(self.tolerance, 4 * self._noise())

    def _request(
        self, prompt: RenderedPrompt, injections: Sequence[Injection], sampling: Sampling, seed: int
    ) -> Request:
        everywhere = Read("residuals", Span.all().resolve(prompt), self.layers)
        return Request.of(prompt, injections, sampling, seed, reads=(everywhere,))

    def deviation(self, injector: Injector) -> float:
        """Return the largest relative error of the injector's own captures and replies; NaN counts as infinite."""
        captured = injector._capture(self.prompts, self.layers)
        worst = [apart(row[:, None], alone[:, -1:]) for row, alone in zip(captured, self._alone, strict=True)]
        # All before the first uncached pass, which may clear what one request leaves behind for the next.
        runs = [self.requests, [self.shortest], [self.shortest]]
        for request, completion in [(run[c.index], c) for run in runs for c in injector._generate(run)]:
            ids = (*request.prompt.token_ids, *completion.reply.token_ids[:-1])
            expected, logits = self._pass(ids, request.steers)
            got = completion.readings[0] if completion.readings else None
            fits = got is not None and got.shape == expected.shape
            worst.append(apart(got, expected) if got is not None and fits else np.inf)
            worst.append(_misses(logits[len(request.prompt.token_ids) - 1 :], completion.reply.token_ids, request))
        found = max(worst)
        return found if np.isfinite(found) else np.inf

    def problem(self, injector: Injector, *, noisy: bool = True) -> str | None:
        """Return what an injector computes wrongly, or None; a :class:`NonFiniteError` is raised as it is.

        Without ``noisy`` errors above 30 % are never taken for rounding, however far apart passes of other shapes are.
        """
        allowed = self.tolerance if noisy else min(self.tolerance, _MOST_NOISE)
        try:
            deviation = self.deviation(injector)
        except NonFiniteError:
            raise
        except Exception as error:  # caches that don't fit fail in any way
            return f"{type(error).__name__}: {error}"
        return None if deviation <= allowed else f"off by {deviation:.2g}"

    def _pass(self, ids: Sequence[int], row: Row, copies: int = 1) -> tuple[FloatArray, torch.Tensor]:
        """One pass without a cache: residuals (layers, positions, hidden_size) and logits (positions, vocabulary)."""
        captures = {layer: BlockCapture() for layer in self.layers}
        with session(self._blocks, None, [row] * copies, 0, captures), torch.inference_mode():
            done = self._model(input_ids=torch.tensor([list(ids)] * copies, device=self._device), use_cache=False)
        residuals = np.stack([capture.residuals()[-1].numpy() for capture in captures.values()])
        return residuals, done.logits[-1].float().cpu()

    def _noise(self) -> float:
        """How far uncached passes of other shapes differ from each other over the same tokens."""
        ids = self.prompts[0].token_ids
        base = self._alone[0]
        longer, _ = self._pass((*ids, *ids[:_NEW_TOKENS]), ())
        several, _ = self._pass(ids, (), copies=ROWS + 1)
        return max(apart(several, base), apart(longer[:, : len(ids)], base))


def require_proof(injector: Injector, model: Any, blocks: Sequence[nn.Module]) -> None:
    """Raise :class:`ModelError` unless the injector's captures and replies equal passes without any cache."""
    problem = SharingProbe(model, blocks, injector.model, injector.limits).problem(injector)
    if problem is not None:
        raise ModelError(unproved(problem))


def unproved(found: str) -> str:
    """The text of the error for a model that no way of running it carries."""
    return explain(
        "model",
        required="captures and replies that equal passes without a cache, token by token",
        got=found,
        hint="This version of transformers can't continue this model as it should, or its generate was altered.",
    )


def _probe_length(config: Any, limits: Limits) -> int:
    text = config.get_text_config(decoder=True)
    window = getattr(text, "sliding_window", None)
    length = window + _NEW_TOKENS if isinstance(window, int) and 0 < window <= 4 * _LENGTH else _LENGTH
    kinds = getattr(text, "layer_types", None) or getattr(text, "layers_block_type", None) or ()
    if any("attention" not in str(kind) or "linear" in str(kind) for kind in kinds):
        length = max(length, _RECURRENT_LENGTH)
    bounds = [bound - _NEW_TOKENS for bound in (limits.positions, limits.switch) if bound is not None]
    return max(6, min([length, *bounds]))


def _injection(width: int, layer: int, span: Span) -> Injection:
    values = np.random.default_rng(layer).standard_normal(width)
    made = Provenance("synthetic", "probe", "", "", 0, -1, float(np.linalg.norm(values)), None)
    return Injection(ConceptVector(values, "probe", layer, made), layer, Dose(0.5, Unit.RESIDUAL), span)


def _misses(logits: torch.Tensor, tokens: Sequence[int], request: Request) -> float:
    """By how much the tokens miss being those that the request's seed chooses from ``logits`` (tokens, vocabulary).

    In lengths of the logits, so that an error which is rounding in the residuals is rounding here.
    """
    keys = torch.from_numpy(step_keys(request.seed, request.sampling.max_new_tokens))[: len(tokens)]
    shaped = logits / request.sampling.temperature
    scores = noisy(shaped, keys)
    chosen = scores.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    # A model may forbid tokens by infinity.
    size = shaped.where(shaped.isfinite(), 0.0).square().mean(dim=-1).sqrt()
    return float(((scores.amax(dim=-1) - chosen) / size.clamp_min(1e-9)).max())


def apart(one: FloatArray, other: FloatArray) -> float:
    """The largest ‖one - other‖/‖other‖ over layers and positions."""
    scale = np.maximum(np.linalg.norm(other, axis=-1), 1e-9)
    return float((np.linalg.norm(one - other, axis=-1) / scale).max())
