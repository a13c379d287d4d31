"""The arm that injects into one of several sentences, each in its turn: which of them it was is what is asked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import attrs

from ...boundaries import checked, guarded
from ...conditions import CONTROL, INJECTED, RANDOM
from ...doses import Dose
from ...errors import SpecError, explain
from ...injection import Injection
from ...spans import Span
from .base import Arm, ArmTrial, Cell, Over, check_n
from .injecting import Injected, Unsteered
from .randoms import RandomVector

_NAMES = {"injected": INJECTED, "random": RANDOM, "nothing": CONTROL}


@checked(SpecError)
def span_of_place(place: int) -> Span:
    """Return the span of the place of that number, from 1 on: from the anchor ``s1`` up to the anchor ``s1_end``."""
    return Span.between(f"s{place}", f"s{place}_end")


@guarded(SpecError)
@attrs.frozen
class Located(Arm):
    """An injection on the tokens of one of several sentences and nowhere else, each sentence in its turn.

    The scaffold has ``places`` numbered sentences, with the anchors ``s1`` and ``s1_end`` (the first token behind the
    sentence), ``s2`` and so on. A concept's trials go through the places in turn, each concept from another one on, and
    shifted against the design's items, so that over as many trials as there are places times items every place comes
    with every item: no sentence is any place's own. Whoever answers without regard to the injection is right in 1 of
    ``places`` at most.

    ``what`` is injected: the concept, a ``random`` vector of its norm, or ``nothing``, where a place to be right about
    is drawn by the trial's digest. With ``weaker``, a share of the dose between 0 and 1, the same vector stands on all
    other places at that share of it, so that the place differs from them in strength alone.
    """

    n: int = attrs.field(validator=check_n)
    places: int = 3
    what: Literal["injected", "random", "nothing"] = "injected"
    weaker: float | None = None
    concepts: Over = "each"

    def __attrs_post_init__(self) -> None:
        share = self.weaker
        wrong = share is not None and (isinstance(share, bool) or not math.isfinite(share) or not 0 < share < 1)
        if isinstance(self.places, bool) or not 2 <= self.places <= 20 or wrong:
            raise SpecError(
                explain(
                    "arm.places, arm.weaker",
                    required="2 to 20 places, and a share of the dose between 0 and 1, if any",
                    got=(self.places, share),
                    hint="As in Located(6, places=2, weaker=0.5).",
                )
            )

    @property
    def name(self) -> str:
        """By what is injected."""
        return _NAMES[self.what]

    @property
    def dosed(self) -> bool:
        """Without an injection there is no dose."""
        return self.what != "nothing"

    def trials(self, cell: Cell) -> Iterator[ArmTrial]:
        """Yield the trials."""
        inner: Arm = Unsteered(self.n)
        if self.what != "nothing":
            inner = (Injected if self.what == "injected" else RandomVector)(self.n, concepts=self.concepts)
        seen: Counter[str | None] = Counter()
        for made in inner.trials(cell):
            concept, number = made.like or (made.concept, seen[made.concept])
            seen[made.concept] += 1
            if not made.injections:
                yield made
                continue
            first = 0 if concept is None else cell.concepts.index(concept)
            round_, step = divmod(number, len(cell.items))
            yield self._at(made, (first + step + round_) % self.places + 1)

    def _at(self, made: ArmTrial, place: int) -> ArmTrial:
        """Return a trial with its injections at one place, and the weaker ones at all others."""
        here = [attrs.evolve(i, span=span_of_place(place)) for i in made.injections]
        if self.weaker is None:
            return attrs.evolve(made, injections=here)
        others = [k for k in range(1, self.places + 1) if k != place]
        beside = {f"weaker on {k}": tuple(self._weakened(i, k) for i in made.injections) for k in others}
        return attrs.evolve(made, injections=here, beside=beside)

    def _weakened(self, injection: Injection, place: int) -> Injection:
        dose = Dose(injection.dose.magnitude * (self.weaker or 0.0), injection.dose.unit)
        return attrs.evolve(injection, dose=dose, span=span_of_place(place))
