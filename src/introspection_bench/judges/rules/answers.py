"""What answers by itself: "yes", "no", "I do", "my answer is yes", and the entries of a form."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import attrs

from . import lexicon as lex
from .text import Word

Kind = Literal["claim", "denial"]

#: "Injected thought: dust", "Detected: yes", "**Detection** - none": the entries of a form.
_ENTRY = re.compile(
    r"(?:^|(?<=[.;,]\s))[ \t>*_#\-\d.)]*"
    r"(?P<key>(?:(?:my|the)[ ])?(?:injected[ ](?:thought|word|concept)|thought[ ]injected|injection|detect(?:ed|ion))"
    r"(?:[ ](?:detected|present|found|is|word|content))?)"
    r"[ \t*_]*:[ \t*_\"“'‘]*(?P<value>[^\s*_\"“”.,;]+)",
    re.IGNORECASE | re.MULTILINE,
)


@attrs.frozen
class Claim:
    """One statement about detection: characters ``start`` to ``stop``, and the words that made it one.

    ``hedged`` says that it stands under a might, may or perhaps; ``bare`` that it is a yes which runs on into
    something other than a statement of its own; ``vague`` that it is no statement of the speaker about a thought, but
    about something odd or without an "I"; ``beyond`` that it denies the ability rather than the detection.
    """

    kind: Kind
    start: int
    stop: int
    why: str
    hedged: bool = False
    bare: bool = False
    vague: bool = False
    beyond: bool = False


def entries(text: str, stop: int, skipped: Collection[int]) -> Iterator[Claim]:
    """Yield what the entries of a form say in ``text`` before ``stop``; not those that start in ``skipped``."""
    for match in _ENTRY.finditer(text, 0, stop):
        if match.start("key") in skipped:
            continue
        value = match["value"].lower()
        kind: Kind = "denial" if value in lex.NO_VALUE else "claim"
        # "[yes/no]" and "..." are there to be filled in.
        if value[0].isalnum() and "/" not in value.replace("n/a", ""):
            yield Claim(kind, match.start("key"), match.end(), f"fills in a form: {value!r}")


def answers(words: Sequence[Word], *, opening: bool) -> list[Claim]:
    """Read what answers by itself; ``opening`` says that the sentence is one of the reply's first two."""
    lower = [w.lower for w in words]
    found: list[Claim] = []
    once = sum(w in lex.YES for w in lower) == 1
    for i, word in enumerate(words):
        if word.lower not in lex.ANSWERS:
            continue
        # "No, that is a lovely question": behind the opening, a no with more after it may answer anything.
        answering = i == 0 and (opening or len(words) <= 2)
        answering = answering or lower == ["but", "no"]
        ends = i + 1 == len(words) or words[i + 1].after_mark
        # "So: yes" and "... put here, yes." answer; '"immediate": "yes"' and "coherent: yes" are somebody's table.
        led = i > 0 and (word.mark in {":", "*", "_"} and lower[i - 1] in lex.LEADS)
        inner = word.mark in {",", ";", "-", "–", "—"} and ends and once
        if word.lower in lex.YES and (i == 0 or led or inner) and not _is_no_answer(lower, i):
            says = lower[i + 1 : i + 3]
            bare = (bool(says) and not ends) or (says[:1] == ["i"] and not set(says[1:]) <= lex.SAYS)
            found.append(Claim("claim", word.start, word.stop, "answers yes", bare=bare or not opening))
        elif (
            word.lower in {"no", "nope"}
            and ends
            and (answering or led or (i > 0 and word.mark in {",", ".", "-", "–", "—"}))
        ):
            found.append(Claim("denial", word.start, word.stop, "answers no"))
        elif word.lower == "answer" and "is" in lower[i : i + 2]:
            for later in words[i + 2 : i + 6]:
                if later.lower in lex.YES | {"no"}:
                    kind: Kind = "denial" if later.lower == "no" else "claim"
                    found.append(Claim(kind, word.start, later.stop, f"answers {later.lower}"))
                    break
    if lower in (["detected"], ["trial", "detected"], ["thought", "detected"]):
        found.append(Claim("claim", words[0].start, words[-1].stop, "answers 'detected'"))
    if lower in (["i", "do"], ["i", "do", "indeed"], ["i", "did"]):
        found.append(Claim("claim", words[0].start, words[-1].stop, "answers 'I do'"))
    if lower[-2:] in (["i", "don't"], ["there", "isn't"], ["there", "wasn't"], ["i", "didn't"]) and (
        len(lower) == 2 or words[-2].after_mark or len(lower) <= 6
    ):
        found.append(Claim("denial", words[-2].start, words[-1].stop, f"answers {' '.join(lower[-2:])!r}"))
    return found


def _is_no_answer(lower: Sequence[str], i: int) -> bool:
    """Whether a yes only agrees to go on, offers a choice, or says what the speaker is or could do."""
    following = lower[i + 1 : i + 8]
    if set(following) & lex.COURTESY or "if" in lower[:i] or "no" in lower[max(0, i - 2) : i + 3]:
        return True
    if following[:2] in (["i", "am"], ["i'm", "a"], ["i'm", "an"]):
        return not set(following[1:5]) & (lex.DETECT | lex.PERCEIVE | lex.ACCEPT)
    # "Yes, I can detect injected thoughts" tells of an ability, "... that one was injected" of this trial.
    able = following[:2] in (["i", "can"], ["i", "could"], ["i", "would"], ["i", "should"])
    return able and not set(following[2:]) & {"that", "the", "a", "an", "this", "one", "something", "it"}
