"""Where a reply denies having thoughts or a mind at all."""

from __future__ import annotations

from collections.abc import Sequence

from .text import Sentence, listed

#: What a mind has, or is.
MIND = listed(
    """
    thoughts thought feelings emotions consciousness mind experiences feeling awareness brain sentience
    """
)


def denies_mind(sentences: Sequence[Sentence]) -> tuple[int, int] | None:
    """Return the characters (start, stop) by which the reply denies having thoughts or a mind at all, or None.

    "I don't have thoughts of my own" does; "I don't notice an injected thought" reports on this moment and does not.
    """
    for sentence in sentences:
        words = sentence.words
        for i, word in enumerate(words):
            if word.lower not in {"don't", "not", "no", "lack", "without"}:
                continue
            near = [w.lower for w in words[i + 1 : i + 8]]
            has = word.lower == "lack" or "have" in near[:3] or "possess" in near[:3]
            if has and set(near) & MIND and "injected" not in near:
                return word.start, words[min(i + 7, len(words) - 1)].stop
    return None
