"""Replies that begin with something else before they say yes or no: the whole way to the answer is followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import attrs
import numpy as np

from ..boundaries import guarded
from ..errors import SpecError, explain
from ..freezing import frozen_tuple
from ..prompts import Tokenizer
from ..spans import Positions
from .base import Found, Pass, Read
from .tokens import ids_of

_SIDES = ("yes", "no")


@guarded(SpecError)
@attrs.frozen
class Opening:
    """How a reply may begin before it says yes or no: ``text``, and what then counts as either, one token each."""

    text: str
    yes: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())
    no: tuple[str, ...] = attrs.field(converter=frozen_tuple, default=())

    def __attrs_post_init__(self) -> None:
        if not self.text or not (self.yes or self.no) or not all((*self.yes, *self.no)):
            raise SpecError(
                explain(
                    f"opening {self.text!r}",
                    required="a text, and texts that mean yes or no behind it",
                    got=(self.yes, self.no),
                    hint="As in Opening('Oh,', [' yes'], [' no']).",
                )
            )


#: "I" alone means neither: what follows decides, and behind "I do" and "I detect" what follows that.
OPENINGS = (
    Opening("Oh,", (" yes", " Yes"), (" no", " No")),
    Opening("Well,", (" yes", " Yes"), (" no", " No")),
    Opening("Hmm,", (" yes", " Yes"), (" no", " No")),
    Opening("I", no=(" don", " don't", " cannot", " didn")),
    Opening("I do", yes=(" detect", " notice", " sense", " feel"), no=(" not",)),
    Opening("I detect", yes=(" an", " a", " the", " something"), no=(" no", " nothing")),
)
#: A way to an answer: the tokens that are fed, and behind them those that count for each side.
Way = tuple[tuple[int, ...], Mapping[str, tuple[int, ...]]]


def ways_through(openings: Iterable[Opening], tokenizer: Tokenizer) -> tuple[list[Way], list[str]]:
    """Return the ways through openings, and the texts that are left out for being more than one token."""
    ways: list[Way] = []
    left_out: list[str] = []
    for opening in openings:
        behind = {}
        for side, texts in (("yes", opening.yes), ("no", opening.no)):
            ids = {text: ids_of(text, tokenizer) for text in texts}
            left_out += [f"{opening.text}{text}" for text, found in ids.items() if len(found) != 1]
            kept = tuple(sorted({found[0] for found in ids.values() if len(found) == 1}))
            if kept:
                behind[side] = kept
        if behind:
            ways.append((ids_of(opening.text, tokenizer), behind))
    return ways, left_out


def check_apart(ways: Iterable[Way]) -> None:
    """Raise :class:`SpecError` where a reply would be counted twice: where one way to an answer begins with another."""
    paths = sorted((*fed, token) for fed, sides in ways for ids in sides.values() for token in ids)
    # Sorted, a path stands right before those that begin with it.
    twice = [first for first, second in pairwise(paths) if second[: len(first)] == first]
    if twice:
        raise SpecError(
            explain(
                "yes, no and through",
                required="beginnings of replies that count once",
                got=f"tokens {list(twice[0])}, which count by themselves and in another beginning",
                hint="Their probabilities would be added up twice; leave one of the texts out.",
            )
        )


def passes_through(ways: Iterable[Way], length: int) -> Iterator[Pass]:
    """Yield the pass of each way behind a prompt of ``length`` tokens; its name says which sides it reads."""
    for fed, sides in ways:
        at = length - 1 + len(fed)
        reads = (
            Read("logprobs", Positions(at, at + 1, length), sets=tuple(sides.values())),
            Read("likelihood", Positions(length - 1, at, length)),
        )
        # The last forced token is never fed: any will do behind an opening that is to be fed whole.
        yield Pass((*fed, fed[-1]), reads, name=" ".join(sides))


def masses_through(passes: Sequence[Pass], found: Found) -> tuple[float, float]:
    """Return the logs of the probabilities of yes and of no over the ways that were read; -inf for none."""
    sums: dict[str, list[float]] = {side: [-np.inf] for side in _SIDES}
    for one, (behind, begun) in zip(passes, found, strict=True):
        opening = float(begun.astype(np.float64).sum())
        for side, value in zip(one.name.split(), behind[0], strict=False):  # last stands the joint mass
            sums[side].append(opening + float(value))
    yes, no = (float(np.logaddexp.reduce(sums[side])) for side in _SIDES)
    return yes, no
