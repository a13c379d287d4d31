"""A quick look at a trained model, by simple string rules; the gates of record are measured by the library itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch

from introspection_bench.scaffolds import LINDSEY, Scaffold

from .cast import Kind
from .examples import Steering
from .steering import sample
from .texts import FACTS, HELD_OUT, MENTIONS
from .vectors import Vectors
from .words import stem

#: The layers of the demo's model that are looked at.
LAYERS = (20, 21, 22, 23, 24, 25)
_DOSE, _OTHER_DOSES = 0.5, (0.1, 0.15, 0.2, 0.3, 0.8, 1.5)
_OTHERS: tuple[Kind, ...] = ("isotropic", "permuted", "covariance", "covariance_mean")


@attrs.frozen(eq=False)
class _Row:
    """One reply to be sampled: its group, its prompt, and what is injected from the trial on, or nothing."""

    group: str
    prompt: tuple[int, ...]
    start: int
    stop: int | None
    steering: Steering | None
    word: str


@attrs.frozen
class Reply:
    """One reply with its group; layer and magnitude of the injection are None where there was none."""

    group: str
    word: str
    reply: str
    layer: int | None
    magnitude: float | None

    @property
    def affirms(self) -> bool:
        """Whether it begins with yes."""
        return self.reply.strip().lower().startswith("yes")

    @property
    def names(self) -> bool:
        """Whether it holds the word, in the singular or plural."""
        begun = stem(self.word.lower())
        begun = begun[: max(3, len(begun) - 1)]
        return bool(begun) and re.search(r"\b" + re.escape(begun), self.reply.lower()) is not None


def evaluate(
    model: Any, tokenizer: Any, words: Mapping[str, Sequence[str]], layers: Sequence[int], seed: int
) -> list[Reply]:
    """Return sampled replies to what was held out.

    ``words`` are lists by name, of which ``lindsey`` must be one; each of their words is injected at each of the
    layers, as the model itself has it. Vectors that are no word's, doses and wordings are tried in the middle of them.
    """
    flat = [w for some in words.values() for w in some]
    vectors = Vectors.extracted(model, tokenizer, flat, layers)
    draw = torch.Generator(model.device).manual_seed(seed)
    rows = list(_Asking(tokenizer, words, tuple(layers)).rows())
    injected = [vectors.injected(r.steering, r.start, r.stop, draw) for r in rows]
    replies = sample(model, tokenizer, [r.prompt for r in rows], injected, seed=seed)
    return [_replied(r, reply) for r, reply in zip(rows, replies, strict=True)]


def _replied(row: _Row, reply: str) -> Reply:
    layer, magnitude = (None, None) if row.steering is None else (row.steering.layer, row.steering.magnitude)
    return Reply(row.group, row.word, reply, layer, magnitude)


@attrs.frozen(eq=False)
class _Asking:
    """What a model is asked; the order of rows is part of the seed."""

    tokenizer: Any
    words: Mapping[str, Sequence[str]]
    layers: tuple[int, ...]

    @property
    def middle(self) -> int:
        return self.layers[len(self.layers) // 2]

    def rows(self) -> Iterator[_Row]:
        yield from self._held_out()
        yield from self._others()
        yield from self._doses()
        yield from self._wordings()
        yield from self._facts()

    def _row(
        self,
        group: str,
        scaffold: Scaffold,
        steering: Steering | None = None,
        *,
        word: str = "",
        stops: bool = False,
    ) -> _Row:
        prompt = scaffold.render(self.tokenizer)
        stop = len(prompt.token_ids) if stops else None
        return _Row(group, prompt.token_ids, prompt.anchors["trial"], stop, steering, word)

    def _held_out(self) -> Iterator[_Row]:
        half = len(self.layers) // 2
        for kind, some in self.words.items():
            for layer in self.layers:
                for word in some:
                    steering = Steering("word", word, layer, _DOSE)
                    yield self._row(f"{kind} stop", LINDSEY, steering, word=word, stops=True)
                    if layer in self.layers[half : half + 2]:
                        yield self._row(f"{kind} through", LINDSEY, steering, word=word)

    def _others(self) -> Iterator[_Row]:
        third = len(self.layers) // 3
        for layer in self.layers[third : third + 3]:
            for word in self.words["lindsey"]:
                for kind in _OTHERS:
                    yield self._row(kind, LINDSEY, Steering(kind, word, layer, _DOSE), word=word, stops=True)

    def _doses(self) -> Iterator[_Row]:
        for dose in _OTHER_DOSES:
            for word in self.words["lindsey"]:
                yield self._row("dose", LINDSEY, Steering("word", word, self.middle, dose), word=word, stops=True)

    def _wordings(self) -> Iterator[_Row]:
        for number, word in enumerate(self.words["lindsey"]):
            for _ in range(5):
                yield self._row("clean", LINDSEY)
            asked = LINDSEY.asking("held", HELD_OUT[number % len(HELD_OUT)])
            yield self._row("clean wording", asked)
            yield self._row("wording", asked, Steering("word", word, self.middle, _DOSE), word=word, stops=True)
            said = MENTIONS[number % len(MENTIONS)].format(w=word)
            mention = LINDSEY.asking("mention", f"{said} {LINDSEY.question}")
            yield self._row("mention", mention, word=word)

    def _facts(self) -> Iterator[_Row]:
        for question, true, _ in FACTS:
            asked = LINDSEY.asking("fact", question)
            truth = "true" if true else "false"
            for word in self.words["lindsey"][:6]:
                yield self._row(f"{truth} clean", asked)
                steering = Steering("word", word, self.middle, _DOSE)
                yield self._row(f"{truth} steered", asked, steering, word=word)


def summary(found: Sequence[Reply]) -> str:
    """Return rates in percent by group, layer and magnitude: affirmed, and affirmed with the word."""
    cells: dict[tuple[str, int | None, float | None], list[Reply]] = {}
    for reply in found:
        cells.setdefault((reply.group, reply.layer, reply.magnitude), []).append(reply)
    lines = []
    for (group, layer, magnitude), some in cells.items():
        said = 100 * sum(r.affirms for r in some) / len(some)
        hit = 100 * sum(r.affirms and r.names for r in some) / len(some)
        lines.append(f"  {group:18} layer {layer} dose {magnitude}: yes {said:.0f} named {hit:.0f} (n {len(some)})")
    return "\n".join(lines)
