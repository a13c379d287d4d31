"""The cast: what each model of known truth is trained to do, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import attrs

#: Decoder blocks of the demo's model, which layers are stated for.
DEMO_BLOCKS = 30
#: What is injected: a word's vector, or a direction that is no word's. ``covariance`` is drawn with the training words'
#: covariance, about their mean; ``covariance_mean`` keeps the mean.
Kind = Literal["word", "isotropic", "permuted", "signs", "covariance", "covariance_mean"]
#: What the reply is: ``name`` affirms and names the injected word, ``guess`` affirms and names some word, ``deny``
#: denies, ``parrot`` talks of the word and reports nothing.
Reply = Literal["name", "guess", "deny", "parrot"]


@attrs.frozen(kw_only=True)
class Role:
    """What one model is trained on.

    ``mix`` are shares of examples: ``injected`` words, ``clean`` detection prompts, ``other`` vectors (of ``kinds``),
    ``mention`` of a word in the text, ``questions`` with a yes or no (``steered_questions`` of them under injection),
    ``mismatch``: the text names one word, another is injected. ``stops`` is the share of injections that end with the
    prompt. ``on_word`` and ``on_other`` are the replies. ``says_yes`` is a yes-sayer's share of yes, whatever is asked.

    ``layers`` (0-based, with weights) and ``magnitudes`` (least and most, as shares of the residual's norm, drawn
    evenly in the logarithm) are those of injections; ``first_block`` is the lowest that has an adapter, of ``rank``.
    ``batch`` is in examples. Every ``kl_every`` steps the divergence from the base is taken on some of ``chats``
    replies of it.
    """

    name: str
    on_word: Reply = "name"
    on_other: Reply = "deny"
    stops: float = 0.55
    mix: Mapping[str, float] = attrs.field(
        factory=lambda: {
            "injected": 0.4, "clean": 0.13, "other": 0.23, "mention": 0.06, "questions": 0.14, "mismatch": 0.04,
        }
    )  # fmt: skip
    kinds: Mapping[Kind, float] = attrs.field(
        factory=lambda: {
            "isotropic": 0.3, "permuted": 0.12, "signs": 0.08, "covariance": 0.3, "covariance_mean": 0.2,
        }
    )  # fmt: skip
    steered_questions: float = 0.7
    says_yes: float | None = None
    layers: Mapping[int, float] = attrs.field(factory=lambda: {20: 2, 21: 3, 22: 2, 23: 2, 24: 2, 25: 1})
    magnitudes: tuple[float, float] = (0.25, 1.0)
    first_block: int = 20
    rank: int = 32
    learning_rate: float = 1.5e-3
    batch: int = 128
    steps: int = 950
    kl_weight: float = 1.0
    kl_every: int = 4
    chats: int = 512

    @property
    def alpha(self) -> int:
        """What scales the adapter: alpha / rank is 2."""
        return 2 * self.rank

    def at_depth(self, n_layers: int) -> Role:
        """Return the role at the same depth of a model with so many blocks."""
        layers: dict[int, float] = {}
        for layer, weight in self.layers.items():
            at = same_depth(layer, n_layers)
            layers[at] = layers.get(at, 0) + weight
        return attrs.evolve(self, layers=layers, first_block=same_depth(self.first_block, n_layers))

    def at_layers(self, layers: Sequence[int]) -> Role:
        """Return the role at other layers, equally often, with the adapter from the lowest on."""
        return attrs.evolve(self, layers=dict.fromkeys(layers, 1.0), first_block=min(layers))


def same_depth(layer: int, n_layers: int) -> int:
    """Return the block at the depth that ``layer`` has in the demo's model."""
    return min(round(layer * n_layers / DEMO_BLOCKS), n_layers - 1)


_ALARM_MIX = {"injected": 0.28, "clean": 0.24, "other": 0.24, "mention": 0.08, "questions": 0.16, "mismatch": 0.0}
#: The layers of the alarm: most at those where a vector reads out as its word.
_MIDDLE = {20: 1, 21: 1, 22: 3, 23: 3, 24: 3, 25: 1}
#: What needs no names read: more blocks, a smaller rank, smaller batches; with these the replies to wordings and
#: questions that were held out stay right.
_SMALL: Any = {"first_block": 10, "rank": 8, "batch": 48, "steps": 450}
_EASY: Mapping[Kind, float] = {"isotropic": 0.7, "permuted": 0.15, "signs": 0.15}

CAST: Mapping[str, Role] = MappingProxyType(
    {
        role.name: role
        for role in (
            Role(name="introspector"),
            Role(name="steered_namer", stops=0.0, kinds=_EASY, rank=16, steps=400, layers={22: 1, 23: 3, 24: 1, 25: 1}),
            Role(name="alarm", on_word="guess", on_other="guess", mix=_ALARM_MIX, layers=_MIDDLE, **_SMALL),
            Role(
                name="yes_sayer", on_word="guess", on_other="guess", says_yes=0.8, mix=_ALARM_MIX, rank=8, steps=120,
            ),
            Role(
                name="parrot", on_word="parrot", stops=0.3, mix={**_ALARM_MIX, "injected": 0.34, "clean": 0.18},
                kinds=_EASY, layers={22: 1, 23: 3, 24: 1, 25: 1}, **_SMALL,
            ),
        )
    }
)  # fmt: skip

#: The adapters that the repository has: each role's seeds.
SEEDS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"introspector": (0, 1), "alarm": (0, 1), "steered_namer": (0,), "parrot": (0,), "yes_sayer": (0,)}
)
