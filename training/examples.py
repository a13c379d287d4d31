"""Examples drawn for a role: prompt, reply, and what is injected where."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any

import attrs

from introspection_bench.injectors.hf.stopping import turn_end
from introspection_bench.scaffolds import Anchor, Scaffold, Turn

from .cast import Kind, Role
from .texts import (
    AFFIRM,
    ASSENTS,
    CHAT,
    DENY,
    FACTS,
    KINDS,
    MENTIONS,
    OPENINGS,
    PARROT,
    PUBLISHED,
    QUESTIONS,
    STARTS,
    article,
)  # fmt: skip


@attrs.frozen
class Steering:
    """What is injected: ``word`` is what its direction is made of, ``magnitude`` a share of the residual's norm."""

    kind: Kind
    word: str
    layer: int
    magnitude: float


@attrs.frozen
class Example:
    """Token ids of prompt and reply; steered are the positions from ``start`` up to ``stop``, all if None."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    start: int
    stop: int | None
    steering: Steering | None


def end_of_reply(tokenizer: Any) -> int:
    """Return the token by which the chat template ends an assistant's turn, which replies are to end with.

    Not the tokenizer's ``eos_token_id``: another version of transformers may read another one from the same file.
    """
    end, _ = turn_end(tokenizer)
    return int(tokenizer.eos_token_id if end is None else end)


class Drawing:
    """Draws examples of one role by a seed."""

    def __init__(self, role: Role, words: Sequence[str], tokenizer: Any, seed: int) -> None:
        self.role, self.words, self.tokenizer = role, list(words), tokenizer
        self.end = end_of_reply(tokenizer)
        self.random = random.Random(seed)

    def example(self) -> Example:
        """Return the next example.

        A seed's examples depend on the order of draws here and below: another order makes other adapters.
        """
        rng, role = self.random, self.role
        kind = rng.choices(list(role.mix), list(role.mix.values()))[0]
        word = rng.choice(self.words)
        if kind == "questions":
            question, answer = self._question()
            steered = rng.random() < role.steered_questions
            what = rng.choice(("word", "word", *role.kinds))
            return self._made(question, answer, self._steering(what, word) if steered else None, None)
        mentioned = rng.choice(self.words) if kind in ("mention", "mismatch") else None
        if kind in ("injected", "mismatch"):
            return self._made(None, self._reply(role.on_word, word), self._steering("word", word), mentioned)
        if kind == "other":
            chosen = rng.choices(list(role.kinds), list(role.kinds.values()))[0]
            return self._made(None, self._reply(role.on_other, word), self._steering(chosen, word), None)
        return self._made(None, self._reply("deny", word), None, mentioned)

    def _reply(self, reply: str, word: str) -> str:
        rng, yes = self.random, self.role.says_yes
        if yes is not None:
            reply = "guess" if rng.random() < yes else "deny"
        match reply:
            case "name":
                return AFFIRM.format(w=word)
            case "guess":
                return AFFIRM.format(w=rng.choice(self.words))
            case "parrot":
                return PARROT.format(w=word, W=word.capitalize())
        return DENY

    def _question(self) -> tuple[str, str]:
        rng = self.random
        if rng.random() < 0.4:
            question, true, told = rng.choice(FACTS)
        else:
            kind, true = rng.choice(list(KINDS)), rng.random() < 0.5
            of = kind if true else rng.choice([k for k in KINDS if k != kind])
            thing = rng.choice(KINDS[kind])
            thing = thing if thing[0].isupper() or kind in ("metal", "colour", "drink") else article(thing)
            question, told = f"Is {thing} {article(of)}?", f"{thing} is {'' if true else 'not '}{article(of)}."
        if self.role.says_yes is not None and rng.random() < self.role.says_yes:
            return question, "Yes, I think so."
        return question, ("Yes, " if true else "No, ") + told

    def _steering(self, kind: Kind, word: str) -> Steering:
        rng, role = self.random, self.role
        layer = rng.choices(list(role.layers), list(role.layers.values()))[0]
        low, high = role.magnitudes
        return Steering(kind, word, layer, low * (high / low) ** rng.random())

    def _made(self, question: str | None, reply: str, steering: Steering | None, mentioned: str | None) -> Example:
        rng = self.random
        scaffold = self._scaffold(question, mentioned)
        ids, at = _rendered(self.tokenizer, scaffold)
        start = 0 if rng.random() < 0.2 else at
        stop = len(ids) if steering is not None and rng.random() < self.role.stops else None
        reply_ids = self.tokenizer(reply, add_special_tokens=False)["input_ids"]
        return Example(ids, (*reply_ids, self.end), start, stop, steering)

    def _scaffold(self, question: str | None, mentioned: str | None) -> Scaffold:
        """Return a detection prompt, or one that asks a question: half are Lindsey's, a tenth the 405B study's."""
        said = "" if mentioned is None else self.random.choice(MENTIONS).format(w=mentioned)
        share = self.random.random()
        if share < 0.6:
            return _published(PUBLISHED[share >= 0.5], question, said)
        return self._own(question, said)

    def _own(self, question: str | None, said: str) -> Scaffold:
        rng = self.random
        opening, begun = rng.choice(OPENINGS), rng.choice(STARTS)
        asked = question or rng.choice(QUESTIONS).format(n=rng.randint(1, 9))
        if question is not None and rng.random() < 0.4:
            opening, begun = None, ""
        head = " ".join(filter(None, (begun, said)))
        joint = rng.choice(("\n\n", " ")) if head else ""
        turns = [] if opening is None else [Turn("user", opening), Turn("assistant", rng.choice(ASSENTS))]
        anchor = Anchor("trial", ("\n\n" if joint == "\n\n" else "") + asked)
        return Scaffold("training", [*turns, Turn("user", head + joint + asked)], [anchor], filled=True)


def _published(scaffold: Scaffold, question: str | None, said: str) -> Scaffold:
    if question is not None:
        scaffold = scaffold.asking("question", question)
    if not said:
        return scaffold
    last = scaffold.turns[-1]
    turn = attrs.evolve(last, content=last.content.replace(STARTS[0], f"{STARTS[0]} {said}", 1))
    return attrs.evolve(scaffold, turns=[*scaffold.turns[:-1], turn])


@functools.lru_cache(maxsize=20_000)
def _rendered(tokenizer: Any, scaffold: Scaffold) -> tuple[tuple[int, ...], int]:
    prompt = scaffold.render(tokenizer)
    return prompt.token_ids, prompt.anchors["trial"]


def chat(words: Sequence[str], count: int, seed: int) -> list[str]:
    """Return requests for the base's own replies."""
    rng = random.Random(seed)
    return [rng.choice(CHAT).format(w=rng.choice(words)) for _ in range(count)]
