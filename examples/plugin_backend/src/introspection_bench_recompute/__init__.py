"""The plainest backend: for every new token the whole sequence is run again, one request at a time.

Without a cache each forward pass sees all positions, so that the column of a token is its position: there is
nothing to count. Slow, but complete: all units and spans, several steers, receipts, replays, seeds, and all that can be
read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from introspection_bench import Completion, Injector, ModelInfo, Request, Sampling
from introspection_bench.digests import digest
from introspection_bench.injectors.hf.stopping import ReplyReader, end_tokens_of
from introspection_bench.injectors.reading import cosines, likelihoods, log_masses
from introspection_bench.injectors.receipts import check_logits, make_receipt, unmeasured
from introspection_bench.injectors.steering import coefficients, projects, steer
from introspection_bench.measures import Read, ReadKind
from introspection_bench.templates import Tokenizer


class RecomputeInjector(Injector):
    """Hooks on the decoder blocks of a Llama-like Hugging Face model."""

    name: ClassVar[str] = "recompute"
    numerics: ClassVar[int] = 1
    reads: ClassVar[frozenset[ReadKind]] = frozenset(("logprobs", "likelihood", "residuals", "cosines", "lens"))

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._torch_model = model
        self._tokenizer = tokenizer
        self._blocks = model.model.layers
        ends = end_tokens_of(model, tokenizer)
        self._reader = ReplyReader(tokenizer, ends)
        config = model.config
        # A fingerprint must tell models apart that answer differently; a real backend hashes all of the weights.
        weights = [str(float(p.detach().double().sum())) for p in model.parameters()]
        told = [config.model_type, weights, sorted(tokenizer.get_vocab().items()), ends.ids]
        self._info = ModelInfo(
            name=type(model).__name__,
            fingerprint=digest("recompute", 2, told),
            n_layers=len(self._blocks),
            hidden_size=config.hidden_size,
            dtype=str(model.dtype).removeprefix("torch."),
        )

    @classmethod
    def open(cls, model: Any, *, tokenizer: Any = None) -> Self:
        """Take a loaded model with its tokenizer, or the path of a Hugging Face folder."""
        if isinstance(model, str):
            from transformers import AutoModelForCausalLM, AutoTokenizer

            tokenizer = tokenizer or AutoTokenizer.from_pretrained(model)
            model = AutoModelForCausalLM.from_pretrained(model).eval()
        return cls(model, tokenizer)

    @property
    def model(self) -> ModelInfo:
        """What was opened."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        tokenizer: Tokenizer = self._tokenizer
        return tokenizer

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for index, request in enumerate(requests):
            length = len(request.prompt.token_ids)
            if request.forced is not None:
                # A replay: the tokens are given, and one pass sees them all.
                logits, measured, streams = self._run(request.fed, request)
                reply = self._reader.forced(request.forced, request.prompt)
            else:
                ids = list(request.prompt.token_ids)
                # The trial's own generator: its reply depends on no other trial.
                generator = np.random.default_rng(request.seed)
                largest = []
                while True:
                    logits, measured, streams = self._run(ids, request)
                    largest.append(float(logits[-1].max()))
                    # NaN or infinity here means that the token would be chosen from nonsense.
                    check_logits(np.array(largest), length, request.sampling.temperature)
                    ids.append(_choose(logits[-1], request.sampling, generator))
                    sampled = ids[length:]
                    if sampled[-1] in self._reader.ends.ids or len(sampled) == request.sampling.max_new_tokens:
                        break
                reply = self._reader.read(sampled, request.sampling.max_new_tokens, request.prompt)
            steers = enumerate(request.steers)
            receipts = [make_receipt(measured[:, n], steer, dtype=self._info.dtype) for n, steer in steers]
            following = torch.tensor([*request.prompt.token_ids, *reply.token_ids])[1:]
            readings = [self._reading(read, logits, following, streams) for read in request.reads]
            yield Completion(index, reply, receipts, readings)

    def _run(self, ids: Sequence[int], request: Request) -> tuple[torch.Tensor, np.ndarray, dict[int, torch.Tensor]]:
        """One pass over everything; returns the logits, what was measured on the steered stream, and the streams."""
        measured = unmeasured(len(request.steers), len(ids))
        streams: dict[int, torch.Tensor] = {}
        update: dict[int, torch.Tensor] = {}

        def on_mlp(layer: int, output: torch.Tensor) -> None:
            update[layer] = output.float().norm(dim=-1)

        def on_block(layer: int, output: Any) -> Any:
            origin = hidden = output[0] if isinstance(output, tuple) else output
            at = torch.arange(len(ids), device=hidden.device)
            # One after the other, each computed from the stream before any of them.
            for n, one in enumerate(request.steers):
                if one.layer != layer:
                    continue
                where = one.positions
                hidden, sizes = steer(
                    hidden,
                    torch.tensor(one.vector.unit.values, device=hidden.device)[None],
                    torch.tensor([coefficients(one)], device=hidden.device),
                    ((where.start <= at) & (at < (len(ids) if where.stop is None else where.stop)))[None],
                    update[layer],
                    origin=origin,
                    projecting=projects([one]),
                )
                measured[:, n] = sizes[:, 0].cpu().numpy()
            streams[layer] = hidden[0]
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handles = []
        for layer, block in enumerate(self._blocks):
            handles += [
                block.mlp.register_forward_hook(lambda _m, _a, output, layer=layer: on_mlp(layer, output)),
                block.register_forward_hook(lambda _m, _a, output, layer=layer: on_block(layer, output)),
            ]
        try:
            with torch.inference_mode():
                tokens = torch.tensor([list(ids)], device=self._torch_model.device)
                return self._torch_model(tokens, use_cache=False).logits[0], measured, streams
        finally:
            for handle in handles:
                handle.remove()

    def _reading(
        self, read: Read, logits: torch.Tensor, following: torch.Tensor, streams: dict[int, torch.Tensor]
    ) -> np.ndarray:
        """What one read asks for; the last two dimensions are those of ``Read.shape``."""
        at = slice(read.positions.start, read.positions.stop)
        chosen = [streams[layer][at] for layer in read.layers]
        model = self._torch_model
        with torch.inference_mode():
            match read.kind:
                case "logprobs":
                    found = log_masses(logits[at], read.sets)
                case "likelihood":
                    found = likelihoods(logits[at], following[at].to(logits.device))
                case "cosines":
                    vectors = torch.tensor(np.stack([v.values for v in read.vectors]), device=logits.device)
                    found = torch.stack([cosines(stream, vectors) for stream in chosen])
                case "lens":
                    found = torch.stack([log_masses(model.lm_head(model.model.norm(s)), read.sets) for s in chosen])
                case _:
                    found = torch.stack(chosen)
            return found.float().cpu().numpy()


def _choose(logits: torch.Tensor, sampling: Sampling, generator: np.random.Generator) -> int:
    """The next token. Top-p and top-k are left out of this example, and refused."""
    if sampling.top_p != 1 or sampling.top_k:
        raise NotImplementedError("the example samples from the whole distribution: top_p=1, top_k=0")
    if sampling.temperature == 0:
        return int(logits.argmax())
    weights = torch.softmax(logits.double() / sampling.temperature, dim=-1).cpu().numpy()
    return int(generator.choice(len(weights), p=weights / weights.sum()))
