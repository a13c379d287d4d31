"""Measures of what the model would say: log-probabilities of token sets, likelihoods of texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from ..boundaries import guarded
from ..errors import SpecError, explain
from ..freezing import frozen_float32, frozen_mapping, frozen_tuple
from ..prompts import RenderedPrompt, Tokenizer
from ..spans import REPLY, Positions, place_of
from .base import Axes, Found, Measure, Pass, Read, Replayed
from .readings import FloatArray

#: The label of the last column of log-probabilities: all sets together.
JOINT = "joint"


def frozen_sets(value: Any) -> Mapping[str, tuple[str, ...]]:
    """Return named sets of texts as a read-only mapping: a converter."""
    return frozen_mapping({name: frozen_tuple(texts) for name, texts in dict(value).items()})


def check_sets(_: object, attribute: attrs.Attribute[Any], value: Mapping[str, tuple[str, ...]]) -> None:
    """Raise :class:`SpecError` unless each set has a name and texts: a validator."""
    empty = [name for name, texts in value.items() if not texts or not all(texts)]
    if not value or empty or JOINT in value:
        raise SpecError(
            explain(
                attribute.name,
                required=f"names of sets, none of them {JOINT!r}, each with its texts",
                got=f"no texts for {empty}" if empty else list(value),
                hint="As in {'yes': ('Yes', ' Yes'), 'no': ('No', ' No')}.",
            )
        )


def token_sets(sets: Mapping[str, Sequence[str]], tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """Return the token ids of each set, sorted, each once.

    Raises :class:`SpecError` for a text that is not one token, and for a token that two sets share.
    """
    found = []
    owner: dict[int, str] = {}
    for name, texts in sets.items():
        ids = set()
        for text in texts:
            tokens = list(tokenizer(text, add_special_tokens=False)["input_ids"])
            if len(tokens) != 1:
                raise SpecError(
                    explain(
                        f"set {name!r}",
                        required="texts that are one token each for this model",
                        got=f"{text!r}, which is {len(tokens)}",
                        hint="Measure longer texts with Continuations, or name the text of their first token.",
                    )
                )
            if owner.setdefault(tokens[0], name) != name:
                raise SpecError(
                    explain(
                        "sets",
                        required="no token in two sets",
                        got=f"{text!r} in {owner[tokens[0]]!r} and {name!r}",
                        hint="Their probabilities would be counted twice.",
                    )
                )
            ids.add(tokens[0])
        found.append(tuple(sorted(ids)))
    return tuple(found)


def ids_of(text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the tokens of a text by itself."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def best_rank(logits: FloatArray, tokens: Sequence[int]) -> tuple[int, int]:
    """Return the rank, from 0, of the likeliest of some tokens among all, and that token."""
    best = max(tokens, key=lambda token: float(logits[token]))
    return int(np.count_nonzero(logits > logits[best])), best


def first_tokens(names: Iterable[str], tokenizer: Tokenizer) -> list[int]:
    """Return the ids with which a text may begin that says one of these names, in either case, after a space or not.

    A token that is a space alone is passed over.
    """
    blank = set(tokenizer(" ", add_special_tokens=False)["input_ids"])
    found = set()
    for name in names:
        for word in {name, name.lower(), name[:1].upper() + name[1:]}:
            for text in (word, f" {word}"):
                ids = tokenizer(text, add_special_tokens=False)["input_ids"]
                found.update([i for i in ids if i not in blank][:1])
    return sorted(found)


def begun_with(prompt: RenderedPrompt, text: str) -> str:
    """Return how a text would begin a reply: behind a space where the prompt ends in the middle of a line of text."""
    inside = prompt.template == "transcript" and not prompt.text[-1:].isspace()
    return f" {text}" if inside or prompt.text[-1:].isalnum() else text


def before(prompt: RenderedPrompt, place: str) -> Positions:
    """Return the one position from which the token at a place is predicted."""
    at = place_of(prompt, place)
    if at < 1:
        raise SpecError(
            explain("at", required="a place behind the first token", got=place, hint="Nothing precedes it.")
        )
    return Positions(at - 1, at, len(prompt.token_ids))


@guarded(SpecError)
@attrs.frozen
class TokenLogprobs(Measure):
    """Log-probabilities of named token sets as the token at one place, with their joint mass.

    ``sets`` map a name to the texts that count for it, each one token of the model ("Yes", " Yes"). ``at`` is an
    anchor, by default ``reply``: the first token of the reply, which needs no reply. Axis: ``set``, the names and last
    ``joint``, the log of the mass of all sets together; where it is small, the sets miss what the model says.
    """

    name: ClassVar[str] = "token_logprobs"
    sets: Mapping[str, tuple[str, ...]] = attrs.field(converter=frozen_sets, validator=check_sets, hash=False)
    at: str = REPLY

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass over the prompt."""
        read = Read("logprobs", before(trial.prompt, self.at), sets=token_sets(self.sets, trial.tokenizer))
        return (Pass((), (read,)),)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:  # noqa: ARG002  # the port's
        """Axis ``set``."""
        return {"set": (*self.sets, JOINT)}, found[0][0][0]


@guarded(SpecError)
@attrs.frozen
class Continuations(Measure):
    """The likelihood of given texts as the beginning of the reply.

    ``texts`` map a name to a text. Axes: ``text``, and ``of``: ``logprob``, the sum over the text's tokens (nats), and
    ``tokens``, their number.
    """

    name: ClassVar[str] = "continuations"
    texts: Mapping[str, str] = attrs.field(converter=frozen_mapping, hash=False)

    @texts.validator
    def _check_texts(self, _: object, value: Mapping[str, str]) -> None:
        if not value or not all(value.values()):
            raise SpecError(explain("texts", required="names with a text each", got=dict(value), hint=""))

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass for each text."""
        length = len(trial.prompt.token_ids)
        found = []
        for text in self.texts.values():
            ids = tuple(trial.tokenizer(text, add_special_tokens=False)["input_ids"])
            where = Positions(length - 1, length - 1 + len(ids), length)
            found.append(Pass(ids, (Read("likelihood", where),)))
        return tuple(found)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:
        """Axes ``text`` and ``of``."""
        rows = [[float(f[0].sum()), float(len(p.forced))] for p, f in zip(passes, found, strict=True)]
        return {"text": tuple(self.texts), "of": ("logprob", "tokens")}, frozen_float32(rows)
