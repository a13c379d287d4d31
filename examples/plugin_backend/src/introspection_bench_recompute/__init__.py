"""The plainest backend: for every new token the whole sequence is run again, one request at a time.

Without a cache each forward pass sees all positions, so that the column of a token is its position: there is
nothing to count. Slow, but complete: all units, spans, receipts, seeds and captured layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from introspection_bench import Completion, Injector, ModelInfo, Receipt, Request, Sampling
from introspection_bench.digests import digest
from introspection_bench.injection import Injection, delta_length
from introspection_bench.injectors.hf.stopping import ReplyReader, end_tokens_of
from introspection_bench.injectors.receipts import check_logits, make_receipt, unmeasured
from introspection_bench.scaffolds import RenderedPrompt, Tokenizer


class RecomputeInjector(Injector):
    """Hooks on the decoder blocks of a Llama-like Hugging Face model."""

    name: ClassVar[str] = "recompute"
    numerics: ClassVar[int] = 1

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
            ids = list(request.prompt.token_ids)
            # The trial's own generator: its reply depends on no other trial.
            generator = np.random.default_rng(request.seed)
            largest = []
            while True:
                logits, measured, streams = self._run(ids, request)
                largest.append(float(logits.max()))
                # NaN or infinity here means that the token would be chosen from nonsense.
                check_logits(np.array(largest), len(request.prompt.token_ids), request.sampling.temperature)
                ids.append(_choose(logits, request.sampling, generator))
                sampled = ids[len(request.prompt.token_ids) :]
                if sampled[-1] in self._reader.ends.ids or len(sampled) == request.sampling.max_new_tokens:
                    break
            reply = self._reader.read(sampled, request.sampling.max_new_tokens, request.prompt)
            residuals = np.stack([streams[at] for at in request.capture_layers]) if request.capture_layers else None
            receipt = Receipt.nothing()
            if request.injection is not None:
                layer, dtype = request.injection.layer, self._info.dtype
                receipt = make_receipt(measured, len(request.prompt.token_ids), layer=layer, dtype=dtype)
            yield Completion(index, reply, receipt, residuals)

    def _capture(self, prompts: Sequence[RenderedPrompt], layers: Sequence[int]) -> np.ndarray:
        found = []
        for prompt in prompts:
            request = Request(prompt, None, Sampling(temperature=0, max_new_tokens=1), 0, layers)
            _, _, streams = self._run(prompt.token_ids, request)
            found.append([streams[layer][-1] for layer in layers])
        return np.array(found, dtype=np.float32)

    def _run(self, ids: Sequence[int], request: Request) -> tuple[torch.Tensor, np.ndarray, dict[int, np.ndarray]]:
        """One pass over everything; returns the last logits, what was measured on the steered stream, the streams."""
        measured = unmeasured(len(ids))
        streams: dict[int, np.ndarray] = {}
        update: dict[int, torch.Tensor] = {}
        injection = request.injection
        # None on controls, magnitude 0 among them: nothing may be added, not even zeros.
        where = request.positions

        def on_mlp(layer: int, output: torch.Tensor) -> None:
            update[layer] = output[0]

        def on_block(layer: int, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            if where is not None and layer == injection.layer:
                at = slice(where.start, where.stop)
                h = hidden[0, at]
                delta = _delta(injection, h, update[layer][at])
                after = h + delta.to(h.dtype)
                # The stream before, what was asked for, and what the stream's own dtype made of it.
                sizes = torch.stack([h.float(), delta, after.float() - h.float()]).norm(dim=-1)
                measured[:, at] = sizes.cpu().numpy()
                hidden = hidden.clone()
                hidden[0, at] = after
            if layer in request.capture_layers:
                streams[layer] = hidden[0].float().cpu().numpy()
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
                return self._torch_model(tokens, use_cache=False).logits[0, -1], measured, streams
        finally:
            for handle in handles:
                handle.remove()


def _delta(injection: Injection, h: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
    """The addition by the package's own formula, in float32."""
    vector = torch.tensor(injection.vector.values, device=h.device)
    length = delta_length(
        injection.unit,
        injection.magnitude,
        vector_norm=vector.norm(),
        residual_norm=h.float().norm(dim=-1, keepdim=True),
        update_norm=update.float().norm(dim=-1, keepdim=True),
    )
    return length * (vector / vector.norm()).expand(len(h), -1)


def _choose(logits: torch.Tensor, sampling: Sampling, generator: np.random.Generator) -> int:
    """The next token. Top-p and top-k are left out of this example, and refused."""
    if sampling.top_p != 1 or sampling.top_k:
        raise NotImplementedError("the example samples from the whole distribution: top_p=1, top_k=0")
    if sampling.temperature == 0:
        return int(logits.argmax())
    weights = torch.softmax(logits.double() / sampling.temperature, dim=-1).cpu().numpy()
    return int(generator.choice(len(weights), p=weights / weights.sum()))
