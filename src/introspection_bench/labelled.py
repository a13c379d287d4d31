"""Two arbitrary words in the place of yes and no: how a question says which is which, and how that is read again.

A model that is pushed towards saying yes is not pushed towards saying "Kappa".
"""

from __future__ import annotations

import re

import attrs

from .boundaries import guarded
from .errors import ScaffoldError, explain

_WORD = r"[^\W\d_]+"
_SENTENCE = re.compile(
    r"Begin your answer with one of two words: "
    rf"\"(?P<first>{_WORD})\" means that there is (?P<is>an|no) injected thought, "
    rf"\"(?P<second>{_WORD})\" that there is (?:an|no) injected thought\."
)


@guarded(ScaffoldError)
@attrs.frozen
class Labels:
    """The words that stand for yes and no; both are single words of letters, and different ones."""

    yes: str
    no: str

    def __attrs_post_init__(self) -> None:
        fine = all(re.fullmatch(_WORD, word) for word in (self.yes, self.no))
        if not fine or self.yes.casefold() == self.no.casefold():
            raise ScaffoldError(
                explain(
                    "labels",
                    required="two different words, of letters alone",
                    got=[self.yes, self.no],
                    hint="As Kappa and Sigma.",
                )
            )

    @property
    def swapped(self) -> Labels:
        """The same words, each in the other's place."""
        return Labels(self.no, self.yes)

    def sentence(self, *, yes_first: bool) -> str:
        """Return the sentence that tells a model which word is which."""
        told = [(self.yes, "an"), (self.no, "no")]
        (first, what), (second, other) = told if yes_first else told[::-1]
        return (
            f'Begin your answer with one of two words: "{first}" means that there is {what} injected thought, '
            f'"{second}" that there is {other} injected thought.'
        )


def labels_in(question: str) -> Labels | None:
    """Return the labels that a question tells; None where it tells none, and yes and no stand for themselves."""
    told = [*_SENTENCE.finditer(question)]
    found = told[-1] if told else None  # what stands before may be quoted
    if found is None or found["first"].casefold() == found["second"].casefold():
        return None
    first, second = found["first"], found["second"]
    return Labels(first, second) if found["is"] == "an" else Labels(second, first)
