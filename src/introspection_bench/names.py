"""When two texts are one name, and where a text holds a name: Unicode writes the same word in many ways.

Names are kept in normal form C (Unicode Standard Annex 15), so that "é" as one character and as "e" with a combining
accent are one name everywhere. Names are compared, and found in texts, by :func:`folded`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import attrs

#: What takes no room, beside the format characters.
_INVISIBLE = re.compile("[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]")


def composed(name: Any) -> Any:
    """Return a text in normal form C; anything else as it is, for a validator to refuse."""
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


def folded(text: str) -> str:
    """Return what two texts that a reader takes for the same name have in common.

    Case folding (ß is ss, both lower-case sigmas are one), compatibility forms (full-width letters, ligatures) as
    what they stand for, characters that can't be seen left out, and the dot of a Turkish İ, which the small i has.
    """
    if text.isascii():
        return text.casefold()
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("i\u0307", "i")
    return "".join(c for c in text if unicodedata.category(c) != "Cf" and not _INVISIBLE.match(c))


@attrs.frozen
class Reading:
    """A text in another writing, and where its characters stand in the original."""

    text: str
    _starts: tuple[int, ...]
    _stops: tuple[int, ...]

    @classmethod
    def of(cls, original: str, writing: Callable[[str], str]) -> Reading:
        """Write each character of a text, with its marks, by ``writing``."""
        parts: list[str] = []
        starts: list[int] = []
        stops: list[int] = []
        for start, stop in _characters(original):
            parts.append(writing(original[start:stop]))
            starts += [start] * len(parts[-1])
            stops += [stop] * len(parts[-1])
        return cls("".join(parts), tuple(starts), tuple(stops))

    def original(self, start: int, stop: int) -> tuple[int, int]:
        """Return the place in the original of the characters from ``start`` to ``stop``."""
        if start < stop:
            return self._starts[start], self._stops[stop - 1]
        at = self._starts[start] if start < len(self._starts) else (self._stops or (0,))[-1]
        return at, at


def find_name(text: str, name: str) -> list[tuple[int, int]]:
    """Return where ``text`` holds ``name``, word boundaries aside: (start, stop) of each place, in order."""
    wanted = folded(name)
    reading = Reading.of(text, _folded_character)
    found = re.finditer(re.escape(wanted), reading.text) if wanted else ()
    return [reading.original(m.start(), m.end()) for m in found]


@lru_cache(maxsize=10_000)
def _folded_character(character: str) -> str:
    return folded(character)


def _characters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of a text's characters, each with the marks that belong to it."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not _belongs(text[at]):
            yield start, at
            start = at


def _belongs(character: str) -> bool:
    """Whether a character is a part of the one before it: a mark, or a further letter of a Hangul syllable."""
    return character > "\u02ff" and (unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff")
