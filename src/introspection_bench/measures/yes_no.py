"""Whether a model would say yes: log-odds at the answer, ready-made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from ..boundaries import checked, guarded
from ..errors import SpecError, explain
from ..freezing import frozen_float32, frozen_tuple
from ..labelled import labels_in
from ..prompts import Tokenizer
from ..spans import REPLY
from .base import Axes, Found, Measure, Pass, Read, Replayed
from .openings import Opening, Way, check_apart, masses_through, passes_through, ways_through
from .readings import FloatArray
from .tokens import JOINT, before, begun_with, ids_of, token_sets

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
    (where the model has any), ``log_odds`` (yes minus no, nats), ``entropy`` (nats, of the whole distribution). With
    ``unsteered`` the same prompt is read without any steer as well: ``unsteered_log_odds``, ``unsteered_joint``.
    ``through`` are openings that are followed to the answer behind them, each at the cost of a pass
    (:data:`~introspection_bench.measures.OPENINGS`): ``through_log_odds`` and ``through_joint`` are of the first token
    and of all these ways together, the probability of a whole opening times that of what follows it. They need ``at``
    to be the reply, and are left out where labels stand in the place of yes and no. ``at`` is an anchor, by default the
    reply's first token, which needs no reply. By layer read ``Lens(YesNo().sets(tokenizer))``.
    """

    name: ClassVar[str] = "yes_no"
    yes: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=("yes", "yeah", "yep"))
    no: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=("no", "nope", "nah"))
    openings: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=("oh", "I", "well", "hmm", "ah", "okay"))
    at: str = REPLY
    unsteered: bool = True
    through: tuple[Opening, ...] = attrs.field(converter=frozen_tuple, default=())

    def __attrs_post_init__(self) -> None:
        if self.through and self.at != REPLY:
            raise SpecError(
                explain("through", required=f"at={REPLY!r}, where a reply begins", got=self.at, hint="Leave out one.")
            )
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
        left_out = ways_through(self.through, trial.tokenizer)[1]
        if left_out:
            told.append(f"ways left out, ending in no single token: {', '.join(map(repr, left_out))}")
        return (f"{self.name}: {'; '.join(told)}",)

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass over the prompt and one for each way through an opening, and the same unsteered."""
        where = before(trial.prompt, self.at)
        ways: list[Way] = []
        labels = labels_in(trial.prompt.text)
        if labels is None:
            sets = token_sets(self.sets(trial.tokenizer), trial.tokenizer)
            written = [attrs.evolve(o, text=begun_with(trial.prompt, o.text)) for o in self.through]
            ways = ways_through(written, trial.tokenizer)[0]
            check_apart([((), {YES: sets[0], NO: sets[1]}), *ways])
        else:
            sets = _first_tokens({YES: labels.yes, NO: labels.no}, trial.tokenizer)
        first = Read("logprobs", where, sets=sets)
        mine = [Pass((), (first, Read("distribution", where))), *passes_through(ways, len(trial.prompt.token_ids))]
        clean = [Pass((), (first,)), *mine[1:]] if self.unsteered else []
        return (*mine, *(attrs.evolve(one, steered=False) for one in clean))

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:
        """Axis ``of``."""
        masses, logprobs = found[0][0][0].astype(np.float64), found[0][1][0].astype(np.float64)
        yes, no, *opening = masses[:-1]
        told = {YES: yes, NO: no, JOINT: np.logaddexp(yes, no)}
        told |= {OPENING: opening[0]} if opening else {}
        told |= {"log_odds": yes - no, "entropy": entropy(logprobs)}
        steered = sum(one.steered for one in passes)
        told |= _through(passes[:steered], found[:steered])
        if self.unsteered:
            yes, no = found[steered][0][0][:2].astype(np.float64)
            clean = {"log_odds": yes - no, JOINT: np.logaddexp(yes, no)}
            clean |= _through(passes[steered:], found[steered:])
            told |= {f"unsteered_{name}": value for name, value in clean.items()}
        return {"of": tuple(told)}, frozen_float32(list(told.values()))


def _through(passes: Sequence[Pass], found: Found) -> dict[str, float]:
    """Return log-odds and joint mass of the first token and the ways through openings together; nothing without any."""
    if len(passes) < 2:
        return {}
    first, ways = found[0][0][0][:2].astype(np.float64), masses_through(passes[1:], found[1:])
    yes, no = np.logaddexp(first, ways)
    return {"through_log_odds": yes - no, "through_joint": float(np.logaddexp(yes, no))}


def entropy(logprobs: npt.NDArray[np.floating[Any]]) -> float:
    """Return the entropy in nats of a distribution given by its log-probabilities."""
    there = logprobs[np.isfinite(logprobs)]
    return float(-(np.exp(there) * there).sum())


def _texts(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for word in words for text in variants(word)))


def _length(text: str, tokenizer: Tokenizer) -> int:
    return len(ids_of(text, tokenizer))


def _first_tokens(words: dict[str, str], tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """Return the first tokens of each word's forms that begin no form of the other word."""
    first = {
        name: {ids[0] for text in (word, f" {word}") if (ids := ids_of(text, tokenizer))}
        for name, word in words.items()
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
