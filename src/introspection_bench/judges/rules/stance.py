"""Where a reply stands besides its claims: on the fence, declining to take part."""

from __future__ import annotations

from collections.abc import Sequence

from ...mentions.mind import MIND
from ...mentions.text import Sentence, Word
from . import lexicon as lex
from .statements import Claim

#: Why a statement that detection is beyond the speaker is a denial.
UNABLE = "denies the ability"


def on_the_fence(text: str) -> bool:
    """Whether the reply says that it can't tell either way."""
    lower = text.lower().replace("’", "'")
    return any(phrase in lower for phrase in lex.FENCE)


def find_refusal(sentences: Sequence[Sentence]) -> Claim | None:
    """Return the statement by which the reply declines to take part or to answer, or None."""
    for sentence in sentences:
        words = sentence.words
        for i, word in enumerate(words):
            ahead = words[i + 1 : i + 7]
            lower = [w.lower for w in ahead]
            unwilling = word.lower == "not" and (set(lower[:2]) & lex.NOT_WILLING or words[i - 1].lower == "rather")
            if not (word.lower in lex.DECLINES or unwilling):
                continue
            by_me = i == 0 or {w.lower for w in words[max(0, i - 4) : i]} & lex.SELF
            if by_me and word.lower in {"decline", "refuse"}:
                return Claim("denial", word.start, word.stop, f"declines: {word.lower!r}")
            for k, later in enumerate(ahead):
                # "can't help but notice" declines nothing.
                if by_me and later.lower in lex.TAKE_PART and lower[k + 1 : k + 2] != ["but"]:
                    return Claim("denial", word.start, later.stop, f"declines: {later.lower!r}")
    return None


def without_report(claims: Sequence[Claim]) -> Claim | None:
    """Return the denial of the ability that stands in a report's place, or None where there is a report."""
    reports = any(not c.able or c.kind == "claim" for c in claims)
    return None if reports else next((c for c in claims if c.why == UNABLE), None)


def inability(words: Sequence[Word]) -> tuple[int, int] | None:
    """Return first and last word of a statement that detection is beyond the speaker, or None.

    "I don't have the ability to detect ...", "I'm not capable of ...", "this is beyond my capabilities", "as a model
    I can't perceive ...", "detecting thoughts isn't something that I can do".
    """
    lower = [w.lower for w in words]
    speaks_of_itself, inner = bool(set(lower) & lex.AS_MODEL), bool(set(lower) & lex.INNER)
    for i, word in enumerate(lower):
        if word == "beyond" and set(lower[i + 1 : i + 6]) & (lex.POWER | {"scope", "me"}):
            return max(0, i - 2), min(i + 3, len(words) - 1)
        negated = word in lex.NEGATORS
        if not negated:
            continue
        near = lower[i + 1 : i + 8]
        mine = set(lower[max(0, i - 8) : i + 3]) & lex.SELF or set(near) & lex.SELF
        able = word in {"unable", "incapable"} or set(near[:6]) & lex.POWER
        power = able or word in {"cannot", "can't"} or near[:1] == ["be"]
        if {"unable", "able"} & {word, *near[:2]} and {"any", "this"} & set(near):
            continue  # "I'm unable to detect any in this trial" reports
        if mine and able and (inner or set(near) & MIND):
            return i, min(i + 6, len(words) - 1)
        if mine and power and set(near[:4]) & lex.INNER and speaks_of_itself:
            return i, min(i + 6, len(words) - 1)
    return None
