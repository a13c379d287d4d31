"""What a reader of the text alone would name: the same model, unsteered, shown the reply up to its claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from ..boundaries import guarded
from ..errors import SpecError
from ..items import Item
from ..mentions.naming import find_mentions
from ..mentions.text import read_words
from ..scaffolds import Scaffold, Turn
from ..untrusted import encodable
from .base import Axes, Found, Pass, Replayed
from .naming import OfConcepts, likelihood_passes, likelihood_reading
from .readings import FloatArray

#: What the observer is asked; ``reply`` is what stands before the claim, ``words`` are the concepts'.
OBSERVING = Scaffold(
    name="observer",
    turns=(
        Turn(
            "user",
            "Another conversation is about one of these subjects: {words}. Below is how a message in it begins; it is "
            "cut off at some point. Which of them is it about? If nothing in it says so, guess.\n\n{reply}",
        ),
    ),
    source="introspection_bench",
)
_PREFIX = "The subject is"
_NOTHING = "(The message is cut off before its first word.)"


def before_claim(reply: str, names: Mapping[str, Sequence[str]]) -> str:
    """Return a reply up to where it first names any of the concepts, inflected or not; all of it for none.

    What counts as naming is what the rules judge takes for it, so that no form that a judge would count is shown. A
    quotation mark that opens the name goes with it.
    """
    words = read_words(reply)
    places = [mention.start for told in names.values() for mention in find_mentions(reply, words, tuple(told))]
    return reply[: min(places, default=len(reply))].rstrip(" \t\n\"'“‘*_")


@guarded(SpecError)
@attrs.frozen
class Observer(OfConcepts):
    """The likelihood of each concept for the same model **without any steer**, shown the reply up to its claim.

    It is what the text itself gives away: a reply that speaks of waves before it says "ocean". ``concepts`` is a
    concept set, or maps each to its names; None: the run's own. The first name is the one in the list that the
    observer is shown and what it would answer, and at the first place where the reply (its reasoning included) has any
    name of any concept it is cut off (:func:`before_claim`). The observer is not told of injections. Axes as those of
    :class:`~introspection_bench.measures.Naming`. Source: after arXiv 2608.20569; the wording is ours.
    """

    name: ClassVar[str] = "observer"

    def passes(self, trial: Replayed) -> tuple[Pass, ...]:
        """One pass for each concept, over another prompt, nothing steered."""
        concepts = self.stated
        words = [names[0] for names in concepts.values()]
        shown = encodable(before_claim(trial.text, concepts)) or _NOTHING
        # In alphabetical order, so that the list's order tells nothing.
        item = Item("reply", {"reply": shown, "words": ", ".join(sorted(words))})
        prompt = OBSERVING.fill(item).render(trial.tokenizer, trial.prompt.date)
        return likelihood_passes(words, _PREFIX, prompt, trial.tokenizer, steered=False)

    def reading(self, passes: Sequence[Pass], found: Found) -> tuple[Axes, FloatArray]:  # noqa: ARG002  # the port's
        """Axes ``concept`` and ``of``."""
        return likelihood_reading(self.stated, found)
