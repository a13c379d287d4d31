"""Word vectors as the library extracts them, and directions made of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import attrs
import torch
from torch import Tensor

from introspection_bench.concepts import Concept, load_concepts
from introspection_bench.injectors.hf.blocks import hidden_of
from introspection_bench.recipes import Word
from introspection_bench.scaffolds import Scaffold, Turn

from .examples import Steering
from .steering import Injected, hooked

#: Of so many words' vectors, weighted by noise, a direction with the words' covariance is made.
_MIXED = 128


def padded(rows: Sequence[Sequence[int]], fill: int, device: torch.device) -> Tensor:
    """Return token ids padded on the right, (rows, longest)."""
    longest = max(map(len, rows))
    return torch.tensor([[*r, *[fill] * (longest - len(r))] for r in rows], device=device)


def _last_states(model: Any, tokenizer: Any, texts: Sequence[str], layers: Sequence[int]) -> Tensor:
    """Return the stream behind each of ``layers`` at the last token of user turns: (texts, layers, hidden_size)."""
    prompts = [Scaffold("extraction", [Turn("user", text)], filled=True).render(tokenizer).token_ids for text in texts]
    last = torch.tensor([len(p) - 1 for p in prompts], device=model.device)
    kept: dict[int, Tensor] = {}

    def keep(layer: int, _: Any, __: Any, output: Any) -> None:
        kept[layer] = hidden_of(output)[torch.arange(len(last), device=last.device), last].float()

    with hooked({n: partial(keep, n) for n in layers}, model):
        model(input_ids=padded(prompts, tokenizer.eos_token_id, model.device), use_cache=False)
    return torch.stack([kept[n] for n in layers], dim=1)


@torch.no_grad()
def word_vectors(model: Any, tokenizer: Any, words: Sequence[str], layers: Sequence[int], rows: int = 256) -> Tensor:
    """Return each word's vector as the library's recipe ``word`` makes it: (words, layers, hidden_size), float32."""
    baseline = load_concepts("lindsey2026").baseline
    asked = [Word().contrast(Concept(w, word=w), baseline) for w in words]

    def states(texts: Sequence[str]) -> Tensor:
        parts = [texts[first : first + rows] for first in range(0, len(texts), rows)]
        return torch.cat([_last_states(model, tokenizer, part, layers) for part in parts])

    return states([c.positive[0] for c in asked]) - states(asked[0].negative).mean(dim=0, keepdim=True)


@attrs.frozen(eq=False)
class Vectors:
    """Words, the layers that their vectors are of, and the vectors: (words, layers, hidden_size)."""

    words: dict[str, int]
    layers: tuple[int, ...]
    values: Tensor

    @classmethod
    def extracted(cls, model: Any, tokenizer: Any, words: Sequence[str], layers: Sequence[int]) -> Self:
        """Return the vectors that a model has for words."""
        found = word_vectors(model, tokenizer, words, layers)
        return cls({word: at for at, word in enumerate(words)}, tuple(layers), found)

    def injected(
        self, steering: Steering | None, start: int, stop: int | None, draw: torch.Generator
    ) -> Injected | None:
        """Return what a steering adds to a row at the positions from ``start`` up to ``stop``."""
        if steering is None:
            return None
        return Injected(steering.layer, steering.magnitude, self.direction(steering, draw), start, stop)

    def direction(self, steering: Steering, draw: torch.Generator) -> Tensor:
        """Return the unit direction of a steering, (hidden_size,); what is random is drawn."""
        at = self.layers.index(steering.layer)
        vector = self.values[self.words[steering.word], at]
        noise: dict[str, Any] = {"device": vector.device, "generator": draw}
        match steering.kind:
            case "isotropic":
                vector = torch.randn(vector.shape, **noise)
            case "permuted":
                vector = vector[torch.randperm(len(vector), **noise)]
            case "signs":
                vector = vector * (torch.randint(0, 2, vector.shape, **noise) * 2 - 1)
            case "covariance" | "covariance_mean":
                some = self.values[torch.randint(0, len(self.values), (_MIXED,), **noise), at]
                mean = self.values[:, at].mean(dim=0)
                vector = torch.randn(_MIXED, **noise) @ (some - mean) / _MIXED**0.5
                vector = vector + mean if steering.kind == "covariance_mean" else vector
        unit: Tensor = vector / vector.norm()
        return unit
