"""Whether a reply gives the concept as the content of the thought that it claims, and where."""

from __future__ import annotations

from collections.abc import Sequence

from ...mentions.naming import Mention
from ...mentions.text import Sentence, Word, listed
from . import lexicon as lex
from .candidates import Context
from .clauses import behind_of
from .frames import unreported
from .statements import Claim

#: Behind one of these stands what a thought is of.
_OF = listed(
    """
    about of is was be it's that's concerns concerned concerning regarding relates related relating revolves involves to
    on with around word concept named called: called like seems appears i'd
    """
)
#: So a sentence goes on from the claim before it.
_GOES_ON = listed(
    """
    it it's it'd its that that's this the my something specifically namely about i i'd i'm i've content topic subject
    word concept thought theme what injected perhaps probably possibly maybe and so
    """
)
_THOUGHT = lex.THOUGHT | listed("content topic subject theme it it's its something one")
#: Behind one of these comes something else than the thought.
_OTHERWISE = listed("reminds remind reminded unlike instead than rather example instance e.g whereas without except")
#: So many words make an answer without a verb, or what a thought is of.
_FRAGMENT, _PHRASE = 5, 7
_SO_NEAR = 3


def given_as_thought(
    text: str, sentences: Sequence[Sentence], claims: Sequence[Claim], mentions: Sequence[Mention], context: Context
) -> Mention | None:
    """Return the place where the concept is given as the thought that a reply claims to notice, or None.

    The concept has to stand in the claim's own sentence, or in one of the next two that goes on from it ("It is
    about ...", "The word is ...", "Rivers."), as what the thought is of. It does not count in a denial, under a
    hypothesis or in an example, behind another thing that is given as the thought, or as one of several guesses.
    """
    made_up = unreported(sentences, text)
    claimed = [c for c in claims if c.kind == "claim"]
    last = -_SO_NEAR
    for number, sentence in enumerate(sentences):
        mine = [c for c in claimed if sentence.start <= c.start < sentence.stop]
        last = number if mine else last
        if number in made_up or sentence.question or number - last >= _SO_NEAR:
            continue
        for mention in mentions:
            inside = sentence.start <= mention.start < sentence.stop and mention.start not in context.echoed
            if inside and _is_content(sentence.words, mention, mine):
                return mention
    return None


def _is_content(words: Sequence[Word], mention: Mention, mine: Sequence[Claim]) -> bool:
    at = next((k for k, w in enumerate(words) if w.stop > mention.start), None)
    if at is None:
        return False
    behind = behind_of(words, at)
    before = [w.lower for w in behind]
    end = next((k for k in range(at, len(words)) if words[k].start >= mention.stop), len(words))
    if _denied(words, at, before) or set(before) & _OTHERWISE or _one_of_several(words, at, end):
        return False
    if len(words) <= _FRAGMENT or any(c.start <= mention.start < c.stop for c in mine):
        return True
    if not mine and not (words[0].lower in _GOES_ON or set(before[:_PHRASE]) & _THOUGHT):
        return False
    return _first_of(words, at, before, claimed=bool(mine))


def _denied(words: Sequence[Word], at: int, before: Sequence[str]) -> bool:
    negators = set(before) & lex.NEGATORS
    # "No, wait: rivers" and "a thought that isn't mine: rivers" deny nothing of it.
    return bool(negators) and not (words[at].mark in {":", "—", "–"} and negators <= {"isn't", "not", "no"})


def _one_of_several(words: Sequence[Word], start: int, stop: int) -> bool:
    """Whether the concept is one of several guesses: "rivers or lakes", "maybe rivers, maybe lakes"."""
    near = [w.lower for w in (*words[max(0, start - _SO_NEAR) : start], *words[stop : stop + _SO_NEAR])]
    guesses = sum(w.lower in lex.MODAL for w in words)
    return "or" in near or "either" in near or guesses > 1


def _first_of(words: Sequence[Word], at: int, before: Sequence[str], *, claimed: bool) -> bool:
    """Whether the concept is what comes first behind "about", "is", "of" or a colon, not behind another thing."""
    of = next((k for k, w in enumerate(before) if w in _OF), None)
    marked = next((k for k in range(at, max(-1, at - _PHRASE), -1) if words[k].mark), None)
    if of is None:
        # "Yes, rivers": what follows a mark, or the very object of the verb.
        return (marked is not None and at - marked <= _SO_NEAR) or claimed
    between = words[at - of : at + 1]
    lists = any(w.mark == "," for w in between[1:]) and not {"and", "like"} & {w.lower for w in between}
    return of <= _PHRASE and not lists
