"""Whether a model would say yes: log-odds at the answer, ready-made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs
import numpy as np

from ..boundaries import checked, guarded
from ..errors import SpecError, explain
from ..freezing import frozen_float32, frozen_tuple
from ..labelled import labels_in
from ..prompts import Tokenizer
from ..spans import REPLY
from .base import Axes, Found, Measure, Pass, Read, Replayed
from .readings import FloatArray
from .tokens import JOINT, before, token_sets

YES, NO, OPENING = "yes", "no", "opening"


def variants(word: str) -> tuple[str, ...]:
    """Return a word as an answer may begin with it: lower case, capital, all capitals; after a space or not."""
    cases = dict.fromkeys((word.lower(), word.capitalize(), word.upper()))
    return tuple(space + case for space in ("", " ") for case in cases)


@guarded(SpecError)
@attrs.frozen
class YesNo(Measure):
    """Log-odds of yes against no as the first token of the answer, with their joint mass and the entropy there.

    The texts that count are the words of ``yes`` and ``no`` in lower case, with a capital and in capitals, each after a
    space and without one, as far as they are **one token** of the model: the others are dropped, and :meth:`notes` says
    which. ``openings`` are words that an answer often begins with and that commit to neither ("Oh, I do", "I don't"):
    they count for neither side, and their mass is read apart, so that a small joint mass has its reason beside it.
    Where the question tells two words that stand for yes and no (:class:`~introspection_bench.labelled.Labels`), those
    count in their place, a word of several tokens by its first one.

    Axis ``of``, natural logarithms: ``yes`` and ``no`` (log of the mass of each), ``joint`` (of both), ``opening``
    (where the model has any), ``log_odds`` (yes minus no, nats), ``entropy`` (nats, of the whole distribution).
    ``at`` is an anchor, by default the reply's first token, which needs no reply. By layer read
    ``Lens(YesNo().sets(tokenizer))``.
    """

    name: ClassVar[str] = "yes_no"
    yes: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=("yes", "yeah", "yep"))
    no: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=("no", "nope", "nah"))
    openings: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=("oh", "I", "well", "hmm", "ah", "okay"))
    at: str = REPLY

    def __attrs_post_init__(self) -> None:
        if not (self.yes and self.no and all([*self.yes, *self.no, *self.openings])):
            raise SpecError(
                explain("yes, no", required="words for both, none empty", got=[self.yes, self.no], hint="As yes, no.")
            )

    @checked(SpecError)
    def sets(self, tokenizer: Tokenizer) -> dict[str, tuple[str, ...]]:
        """Return the texts that count, by set: those that are one token of a model.

        Raises :class:`SpecError` where none is left for yes or for no.
        """
        words = {YES: self.yes, NO: self.no, OPENING: self.openings}
        found = {name: tuple(t for t in _texts(told) if _length(t, tokenizer) == 1) for name, told in words.items()}
        for name in (YES, NO):
            if not found[name]:
                raise SpecError(
                    explain(
                        f"YesNo.{name}",
                        required="a word that is one token of this model",
                        got=list(words[name]),
                        hint="Read longer texts with Continuations.",
                    )
                )
        return {name: texts for name, texts in found.items() if texts}

    def notes(self, trial: Replayed) -> tuple[str, ...]:
        """Say which texts count for this model, and which were dropped."""
        if labels_in(trial.prompt.text) is not None:
            return ()
        kept = self.sets(trial.tokenizer)
        dropped = [t for t in _texts((*self.yes, *self.no)) if t not in (*kept[YES], *kept[NO])]
        told = [f"{name} counts {', '.join(map(repr, kept[name]))}" for name in (YES, NO)]
        if dropped:
            told.append(f"dropped, being no single token of this model: {', '.join(map(repr, dropped))}")
        return (f"{self.name}: {'; '.join(told)}",)

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass over the prompt."""
        where = before(trial.prompt, self.at)
        labels = labels_in(trial.prompt.text)
        if labels is None:
            sets = token_sets(self.sets(trial.tokenizer), trial.tokenizer)
        else:
            sets = _first_tokens({YES: labels.yes, NO: labels.no}, trial.tokenizer)
        return (Pass((), (Read("logprobs", where, sets=sets), Read("distribution", where))),)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:  # noqa: ARG002  # the port's
        """Axis ``of``."""
        masses, logprobs = found[0][0][0].astype(np.float64), found[0][1][0].astype(np.float64)
        yes, no, *opening = masses[:-1]
        told = {YES: yes, NO: no, JOINT: np.logaddexp(yes, no)}
        told |= {OPENING: opening[0]} if opening else {}
        told |= {"log_odds": yes - no, "entropy": entropy(logprobs)}
        return {"of": tuple(told)}, frozen_float32(list(told.values()))


def entropy(logprobs: FloatArray) -> float:
    """Return the entropy in nats of a distribution given by its log-probabilities."""
    there = logprobs[np.isfinite(logprobs)]
    return float(-(np.exp(there) * there).sum())


def _texts(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for word in words for text in variants(word)))


def _ids(text: str, tokenizer: Tokenizer) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _length(text: str, tokenizer: Tokenizer) -> int:
    return len(_ids(text, tokenizer))


def _first_tokens(words: dict[str, str], tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """Return the first tokens of each word's forms that begin no form of the other word."""
    first = {
        name: {ids[0] for text in (word, f" {word}") if (ids := _ids(text, tokenizer))} for name, word in words.items()
    }
    shared = set.intersection(*first.values())
    found = [tuple(sorted(ids - shared)) for ids in first.values()]
    if not all(found):
        raise SpecError(
            explain(
                "labels",
                required="two words that begin with different tokens of this model",
                got=list(words.values()),
                hint="Give the arm a battery of other words.",
            )
        )
    return tuple(found)
