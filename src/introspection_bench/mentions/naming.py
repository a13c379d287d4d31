"""Where a reply names a concept: its names and their inflected forms, at word boundaries."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import attrs

from ..names import find_name, folded
from .text import Word, listed, read_words, script, stem

#: What may stand before the concept where a reply opens with it.
_BEFORE = listed("a an the oh ah well hmm my")
_INNER_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
#: Plurals that no suffix makes.
_IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "men": "man",
    "mice": "mouse",
    "people": "person",
    "teeth": "tooth",
    "women": "woman",
}
#: What inflection may put in place of what: (ending of the one form, ending of the other).
_ENDINGS = frozenset(
    {
        ("", "s"),
        ("", "es"),
        ("", "'s"),
        ("", "s'"),
        ("", "ed"),
        ("", "d"),
        ("", "ing"),
        ("e", "ing"),
        ("y", "ies"),
        ("y", "ied"),
        ("s", "ed"),
        ("s", "d"),
        ("s", "ing"),
        ("es", "ed"),
        ("es", "ing"),
        ("ed", "ing"),
        ("d", "ing"),
        ("ies", "ying"),
        ("ied", "ying"),
        ("ies", "ied"),
        ("ied", "ies"),
        ("f", "ves"),
        ("fe", "ves"),
    }
)


@attrs.frozen
class Mention:
    """One place where the concept is named: characters ``start`` to ``stop``, by which of its names."""

    start: int
    stop: int
    name: str


@lru_cache(maxsize=100_000)
def same_word(name: str, form: str) -> bool:
    """Whether ``form`` is ``name`` or an inflected form of it; both in lower case.

    Inflection only: "loves", "loved" and "loving" are forms of "love", while "lovely" and "lover" are other words,
    though the stemmer takes the first for one. Both tests have to hold: the stems are equal (so that "caring" is
    not a form of "car") and the endings are those of inflection (so that "university" is not one of "universe").
    """
    if form == name:
        return True
    form = _IRREGULAR.get(form, form)
    name = _IRREGULAR.get(name, name)
    if form == name:
        return True
    shared = 0
    for a, b in zip(name, form, strict=False):
        if a != b:
            break
        shared += 1
    if shared < 2 or min(len(name), len(form)) < 3:
        return False
    # "run", "running": the doubled consonant belongs to the ending; so the cut may lie a little to the left.
    for cut in range(shared, max(1, shared - 4), -1):
        one, other = name[cut:], form[cut:]
        if (one, other) in _ENDINGS or (other, one) in _ENDINGS:
            return (one == "" and other in {"'s", "s'"}) or "ves" in (one, other) or stem(name) == stem(form)
        doubled = cut >= 2 and (one[:1] == name[cut - 1] or other[:1] == form[cut - 1])
        if doubled and (one in {"", one[:1]} or other in {"", other[:1]}) and stem(name) == stem(form):
            ending = (other or one)[1:]
            if ending in {"ed", "ing"}:
                return True
    return False


@attrs.frozen
class _Name:
    text: str
    parts: tuple[str, ...]
    joined: str
    latin: bool


@lru_cache(maxsize=4_000)
def _prepare(names: tuple[str, ...]) -> tuple[_Name, ...]:
    prepared = []
    for name in names:
        parts = tuple(w.lower for w in read_words(name))
        if parts or folded(name):  # an emoji has no words
            latin = bool(parts) and all(script(c) == "LATIN" for part in parts for c in part if c.isalpha())
            prepared.append(_Name(name, parts, "".join(parts), latin))
    return tuple(prepared)


@lru_cache(maxsize=4_000)
def _by_start(names: tuple[str, ...]) -> Mapping[str, tuple[_Name, ...]]:
    """Group the names by the two letters with which a form of them may begin."""
    groups: dict[str, list[_Name]] = {}
    for name in _prepare(names):
        if name.latin:
            first = name.parts[0]
            forms = {first, _IRREGULAR.get(first, first), *(f for f, base in _IRREGULAR.items() if base == first)}
            for start in {form[:2] for form in forms}:
                groups.setdefault(start, []).append(name)
    return {start: tuple(group) for start, group in groups.items()}


def find_mentions(
    text: str, words: Sequence[Word], names: tuple[str, ...], echoed: Collection[int] = ()
) -> list[Mention]:
    """Return the places of ``text`` that name the concept, in order.

    ``words`` are the words of ``text``; ``echoed`` the starts of words that only repeat the question, which name
    nothing. A name of several words may be written with spaces, hyphens or as one word, and a name of one word as
    two ("upper case"); a name of one word is found in words that were run together, too ("thatLove"). Names in
    other scripts than Latin are found as substrings. Linear in the text.
    """
    found: list[Mention] = []
    prepared = _prepare(names)
    by_start = _by_start(names)
    for i, word in enumerate(words):
        for name in by_start.get(word.lower[:2], ()):
            stop = None if word.start in echoed else _ends_at(words, i, name)
            if stop is not None:
                found.append(Mention(word.start, words[stop].stop, name.text))
                break
        if not word.text.islower() and word.text[1:].lower() != word.text[1:] and not word.text.isupper():
            found.extend(_glued_mentions(word, by_start))
    for name in prepared:
        if not name.latin:
            found += [Mention(start, stop, name.text) for start, stop in find_name(text, name.text)]
    return sorted(found, key=lambda m: m.start)


def opening_mention(words: Sequence[Word], mentions: Sequence[Mention]) -> Mention | None:
    """Return the mention with which a reply opens, or None: nothing but an article or a filler stands before it.

    Of Lindsey 2026 (arXiv 2601.01828): a reply whose first words already are the concept was led by it. What may stand
    before it is ours.
    """
    if mentions and all(word.lower in _BEFORE for word in words if word.stop <= mentions[0].start):
        return mentions[0]
    return None


def _glued_mentions(word: Word, by_start: Mapping[str, tuple[_Name, ...]]) -> list[Mention]:
    """Find names in words that were run together ("thatLove"): cut where a capital follows a small letter."""
    found = []
    for part in _INNER_WORD.finditer(word.text):
        lower = part.group().lower()
        if lower == word.lower:
            continue
        for name in by_start.get(lower[:2], ()):
            if len(name.parts) == 1 and same_word(name.joined, lower):
                found.append(Mention(word.start + part.start(), word.start + part.end(), name.text))
                break
    return found


def _ends_at(words: Sequence[Word], i: int, name: _Name) -> int | None:
    last = i + len(name.parts) - 1
    if last < len(words) and all(same_word(p, words[i + k].lower) for k, p in enumerate(name.parts)):
        return last
    joined = ""
    for j in range(i, min(i + 3, len(words))):
        joined += words[j].lower
        if len(joined) > len(name.joined) + 4:
            return None
        several = j > i or len(name.parts) > 1
        if several and len(name.joined) >= 6 and same_word(name.joined, joined):
            return j
    return None
