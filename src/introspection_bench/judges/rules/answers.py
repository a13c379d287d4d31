"""What answers a question about detection by itself: yes, no, "I do", "my answer is yes", "no injected thought"."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from ...mentions.text import Word
from . import lexicon as lex
from .candidates import Context
from .statements import Claim, Kind

#: "Injected thought: dust", "Detected: yes", "**Detection** - none": the entries of a form.
_ENTRY = re.compile(
    r"(?:^|(?<=[.;,]\s))[ \t>*_#\-\d.)]*"
    r"(?P<key>(?:(?:my|the)[ ])?(?:(?P<what>injected[ ](?:thought|word|concept))|thought[ ]injected|injection"
    r"|detect(?:ed|ion))"
    r"(?:[ ](?:detected|present|found|is|word|content))?)"
    r"[ \t*_]*:[ \t*_]*(?P<value>[^\n]{1,80})",
    re.IGNORECASE | re.MULTILINE,
)

#: An entry of more words is a text of its own.
_LONGEST_ENTRY = 6
_DENIALS = (["not", "detected"], ["i", "don't"], ["there", "isn't"], ["there", "wasn't"], ["i", "didn't"])
_ASSENTS = (["i", "do"], ["i", "do", "indeed"], ["i", "did"], ["detected"], ["thought", "detected"])


def read_answers(words: Sequence[Word], context: Context, *, opening: bool, offered: bool) -> list[Claim]:
    """Return the answers in one sentence, in order.

    ``opening`` says that the sentence is one of the first two; ``offered`` that the next one goes on to the task
    ("I'm ready", "please proceed"), so that a yes before it only agrees to take part.
    """
    lower = [w.lower for w in words]
    found: list[Claim] = []
    on_the_matter = bool(lex.ON_THE_MATTER & set(lower)) or any(w.start in context.named for w in words)
    once = sum(w in lex.YES for w in lower) == 1
    for i, word in enumerate(words):
        if word.lower not in lex.ANSWERS:
            continue
        ends = i + 1 == len(words) or words[i + 1].after_mark
        led = _led(words, lower, i, ends=ends)
        if word.lower in lex.YES:
            inner = word.mark in {",", ";", "-", "–", "—"} and ends and once
            settled = opening or on_the_matter or i + 1 == len(words)
            if (led or inner) and settled and not _aside(lower, i, offered=offered, on_the_matter=on_the_matter):
                says = lower[i + 1 : i + 3]
                bare = (bool(says) and not ends) or (says[:1] == ["i"] and not set(says[1:]) <= lex.SAYS)
                found.append(_answer("claim", word, word, "answers yes", bare=bare or not (opening or on_the_matter)))
        elif word.lower == "answer":
            found.extend(_named_answer(words, lower, i))
        # "No, that is a lovely question": behind the opening, a no with more after it may answer anything.
        elif ends and ((led and (i > 0 or opening or len(words) <= 2)) or (i > 0 and word.mark in set(",.-–—"))):
            found.append(_answer("denial", word, word, "answers no"))
        elif word.lower == "no" and (word.opens or word.after_mark) and _nothing_injected(lower[i + 1 : i + 5]):
            found.append(_answer("denial", word, words[min(i + 3, len(words) - 1)], "answers 'no ...'"))
    if lower in _ASSENTS:
        found.append(_answer("claim", words[0], words[-1], f"answers {' '.join(lower)!r}"))
    if lower[-2:] in _DENIALS and (len(lower) <= 6 or words[-2].after_mark):
        found.append(_answer("denial", words[-2], words[-1], f"answers {' '.join(lower[-2:])!r}"))
    return found


def _answer(kind: Kind, first: Word, last: Word, why: str, *, bare: bool = False) -> Claim:
    return Claim(kind, first.start, last.stop, why, bare=bare, answer=True)


def _led(words: Sequence[Word], lower: Sequence[str], i: int, *, ends: bool) -> bool:
    """Whether what stands before a yes or a no leaves it an answer: nothing, "hmm", "my report:", "I'd say".

    '"immediate": "yes"' and "coherent: yes" are somebody's table.
    """
    if i <= 3 and set(lower[:i]) <= lex.INTERJECTIONS:
        return True
    if words[i].mark == ":":
        return i > 0 and lower[i - 1] in lex.BEFORE_ANSWER
    if lower[i - 1] == "but" and ends:
        return True
    return i > 1 and ends and lower[i - 1] == "say" and lower[i - 2] in {"i'd", "would"}


def _aside(lower: Sequence[str], i: int, *, offered: bool, on_the_matter: bool) -> bool:
    """Whether the yes at ``i`` answers something else ("yes, I'm friendly", "yes, let's begin") or by halves."""
    following = lower[i + 1 : i + 8]
    pair = (following[0], following[1]) if len(following) > 1 else None
    if set(following) & lex.COURTESY or following[:1] == ["or"] or pair == ("and", "no") or "if" in following[:5]:
        return True
    if offered and len(lower) - i <= 5 and set(following) <= lex.AGREES:
        return True
    if pair == ("i", "would") and following[2:3] == ["say"]:
        return False
    if pair in lex.ALWAYS_ASIDE or (pair == ("i", "can") and not set(following[2:]) & lex.SINGULAR):
        return True
    return not on_the_matter and (following[:1] == ["i'm"] or (pair in lex.ASIDES and len(lower) > i + 3))


def _named_answer(words: Sequence[Word], lower: Sequence[str], i: int) -> list[Claim]:
    if "is" not in lower[i : i + 2]:
        return []
    for later in words[i + 2 : i + 6]:
        if later.lower in lex.YES | {"no"}:
            kind: Kind = "denial" if later.lower == "no" else "claim"
            return [_answer(kind, words[i], later, f"answers {later.lower}")]
    return []


def _nothing_injected(following: Sequence[str]) -> bool:
    """Whether a "no" goes on as "injected thought" or "detection": a report without a verb, or cut before it."""
    near = set(following[:2])
    return bool(near & {"detection", "injection"}) or bool(near & lex.INJECTED and set(following) & lex.THOUGHT)


def entries(text: str, stop: int, skipped: Collection[int]) -> Iterator[Claim]:
    """Yield what the entries of a form say in ``text`` before ``stop``; not those that start in ``skipped``."""
    for match in _ENTRY.finditer(text, 0, stop):
        if match.start("key") in skipped:
            continue
        words = match["value"].strip(" \t*_.!\"“”'‘’}$").lower().replace("’", "'").split()
        # "[yes/no]" is there to be filled in, and a sentence behind a heading explains it.
        if not words or not words[0][0].isalnum() or len(words) > _LONGEST_ENTRY:
            continue
        value = words[0].strip(",.;:-\"“”'")
        if value in lex.NO_VALUE or words[0] in lex.NO_VALUE:
            kind: Kind = "denial"
        elif value in lex.YES | lex.YES_VALUE or (
            match["what"] and not set(words) & lex.EXPLAINS and "/" not in words[0]
        ):
            kind = "claim"
        else:
            continue
        yield Claim(kind, match.start("key"), match.end(), f"fills in a form: {value!r}", answer=True)
