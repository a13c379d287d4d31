"""Words of a reply that may make a statement about detection, and the clause that they stand in.

One small reader per construction ("detect", "there is a thought", "a thought has been injected", ...); what such a
statement then amounts to, under negation and conditions, is decided in :mod:`.claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import pairwise

import attrs

from . import lexicon as lex
from .clauses import asserts, embedded
from .text import Word

#: So many words before and after a verb belong to its clause at most.
_BEHIND, _AHEAD = 16, 12


@attrs.frozen
class Context:
    """What the reading of a reply has to know: places are given by the character where a word starts.

    ``yes_or_no``: the question asked for a detection, so that "yes" or "I think it is ..." answers it. ``echoed``:
    words that only repeat the question; ``named``: words that name the concept; ``quoted``: words that the reply
    quotes.
    """

    yes_or_no: bool = False
    echoed: Collection[int] = frozenset()
    named: Collection[int] = frozenset()
    quoted: frozenset[int] = frozenset()


@attrs.frozen
class Found:
    """A word that may make a claim.

    ``start`` is the index of the word at which the statement begins; ``alone`` says that it needs no "I" as its
    subject, ``you`` that its subject is the experimenter ("you injected the word ..."), ``vague`` that it speaks of
    something odd and of no thought.
    """

    start: int
    alone: bool = False
    you: bool = False
    vague: bool = False
    names: bool = False


Reader = Callable[[Sequence[Word], int, Context], "Found | None"]


def candidate(words: Sequence[Word], i: int, context: Context) -> Found | None:
    """Return how word ``i`` may make a statement about detection, or None where it does not."""
    for read in _readers().get(words[i].lower, ()):
        found = read(words, i, context)
        if found is not None:
            return found
    return None


@cache
def _readers() -> Mapping[str, tuple[Reader, ...]]:
    table: dict[str, tuple[Reader, ...]] = {}
    for read, among in (
        (_detects, lex.DETECT),
        (_perceives, lex.PERCEIVE),
        (_has, lex.HAVE),
        (_is_there, lex.THERE),
        (_placed, lex.PLACED),
        (_presupposes, lex.THOUGHT),
        (_elliptic, lex.IT),
        (_disowns, lex.OWN),
        (_detection, lex.DETECTION),
    ):
        for word in among:
            table[word] = (*table.get(word, ()), read)
    return table


def _detects(words: Sequence[Word], i: int, _: Context) -> Found | None:
    if not asserts(words, i):
        return None
    ahead = ahead_of(words, i)
    near = {w.lower for w in (*ahead, *words[max(0, i - 6) : i])}
    # What is in the user's words is no thought.
    theirs = {("in", "your")} & set(pairwise(w.lower for w in ahead))
    if (theirs or (ahead and ahead[0].lower == "that")) and not near & (lex.INJECTED | lex.THOUGHT | lex.ANOMALY):
        return None
    return Found(i, alone=bool(near & lex.INJECTED))


def _detection(words: Sequence[Word], i: int, _: Context) -> Found | None:
    """Read "no detection", and "detec" where the reply was cut: as denials only."""
    return Found(i) if {w.lower for w in words[max(0, i - 4) : i]} & lex.NOTHING else None


def _perceives(words: Sequence[Word], i: int, context: Context) -> Found | None:
    verb = words[i].lower
    if not asserts(words, i):
        return None
    ahead = ahead_of(words, i)
    if _of_the_task(ahead):
        return None
    near, close = {w.lower for w in ahead}, {w.lower for w in ahead[:5]}
    anomaly = verb not in lex.LOOK and near & lex.ANOMALY
    object_named = context.yes_or_no and verb in lex.SENSE and any(w.start in context.named for w in ahead[:6])
    one = bool(ahead) and ahead[0].lower in {"one", "it"}
    thought = verb in lex.SENSE and (close & lex.THOUGHT or (one and context.yes_or_no))
    if not (near & lex.INJECTED or anomaly or object_named or thought):
        return None
    return Found(i, vague=not near & (lex.INJECTED | lex.THOUGHT))


def _of_the_task(ahead: Sequence[Word]) -> bool:
    """Whether what is noticed is the task: "I see that you want ...", "I recognize the idea of injected thoughts"."""
    lower = [w.lower for w in ahead[:6]]
    if lower[:1] == ["that"] and lower[1:2] and lower[1] in lex.TASK_OWNERS:
        return not set(lower[2:4]) & lex.INJECTED
    at = next((k for k, w in enumerate(lower) if w in lex.INJECTED), len(lower))
    return bool(set(lower[:at]) & lex.ABOUT_TASK) and bool(set(lower[:at]) & {"of", "about", "with", "on"})


def _has(words: Sequence[Word], i: int, context: Context) -> Found | None:
    ahead = ahead_of(words, i)
    near, close = {w.lower for w in ahead}, {w.lower for w in ahead[:5]}
    # "I have looked", "that might have been injected": the perfect of another verb.
    perfect = ahead and (ahead[0].lower.endswith("ed") and ahead[0].lower not in lex.INJECTED)
    placed = len(ahead) > 1 and ahead[1].lower in lex.PLACED
    passive = ahead and ahead[0].lower == "been" and (not placed or i == 0 or words[i - 1].lower not in lex.SELF)
    if perfect or passive or close & (lex.ABILITY | lex.INNER_NOUNS):
        return None
    compound = {b.lower for a, b in pairwise(ahead[:6]) if a.lower == "thought"} & lex.COMPOUNDS
    thought = "thought" in close and not compound and ahead[0].lower not in {"thought", "been"}
    impression = close & lex.IMPRESSION and near & (lex.THOUGHT | lex.INJECTED | {"something"})
    answer = close & (lex.IMPRESSION | {"sentiment", "answer"}) and any(w.start in context.named for w in ahead)
    return Found(i) if near & lex.INJECTED or thought or impression or (answer and context.yes_or_no) else None


def _is_there(words: Sequence[Word], i: int, _: Context) -> Found | None:
    ahead = ahead_of(words, i)
    near, close = {w.lower for w in ahead}, {w.lower for w in ahead[:6]}
    exists = words[i].lower == "there's" or near & lex.IS
    return (
        Found(i, alone=True) if exists and close & lex.THOUGHT and (near & lex.INJECTED or "thought" in close) else None
    )


def _placed(words: Sequence[Word], i: int, _: Context) -> Found | None:
    """Read "a thought has been injected", "something was put here", "you injected the word"."""
    before = [w.lower for w in words[max(0, i - 8) : i]][::-1]
    what = {"thought", "concept", "something", "idea", "word", "nothing", "one"}
    if before[:1] and before[0] in lex.PASSIVE and set(before) & what:
        strange = words[i].lower in lex.INJECTED or {"something", "nothing"} & set(before)
        return Found(i, alone=True) if strange and "being" not in before[:1] else None
    if (
        before[:1]
        and before[0] in {"you", "you've", "have"}
        and words[i].lower in lex.INJECTED
        and before[:2] != ["have", "i"]
    ):
        return Found(i, alone=True, you=True) if {w.lower for w in ahead_of(words, i)[:4]} & lex.THOUGHT else None
    return None


def _presupposes(words: Sequence[Word], i: int, context: Context) -> Found | None:
    """Read "the injected thought is ..." and "this shows an injected thought": both take detection for granted."""
    following = [w.lower for w in words[i + 1 : i + 8]]
    before = [w.lower for w in words[max(0, i - 5) : i]][::-1]
    injected = bool(before) and before[0] in lex.INJECTED
    if embedded(words, i - 1):
        return None
    definite = not set(before[1:2]) & (lex.ARTICLES - {"the", "this", "that", "my", "your"})
    if injected and _says_what(following) and (definite or set(following[1:3]) & lex.PRESENT):
        return Found(i - 1, alone=True, names=True)
    if context.yes_or_no and i <= 2 and words[i].lower in lex.ANSWERED and _says_what(following):
        quoted = any(w.mark in {'"', "“", "'", "‘", ":"} for w in words[i + 2 : i + 5])
        if before[:1] == ["the"] and (quoted or any(w.start in context.named for w in words[i + 2 : i + 6])):
            return Found(i - 1, alone=True, names=True)
    if following[:1] and following[0] in {"injected", "you", "you've", "that", "being"}:
        done = [k for k, w in enumerate(following[:4]) if w in lex.INJECTED]
        if done and _says_what(following[done[-1] + 1 :]):
            return Found(i, alone=True, names=True)
    if injected and set(before[1:4]) & {"for", "as"} and set(before) & lex.TAKE:
        return Found(i - 1)
    return Found(i - 1, alone=True) if injected and _signified(before[1:]) else None


def _signified(before: Sequence[str]) -> bool:
    """Whether the words before an injected thought, nearest first, take something at hand as a sign of it."""
    at = next((k for k, w in enumerate(before[:3]) if w in lex.SIGNIFIES), None)
    if at is None or not set(before[:at]) <= lex.BETWEEN:
        return False
    # "Patterns that suggest ..." and "changes that may indicate ..." are about no change at hand.
    general = before[at] in lex.SIGNIFY and set(before[at + 1 : at + 2]) & {"that", "which", *lex.LOWERS}
    return not general or bool(set(before[at + 1 : at + 3]) & {"this", "it"})


def _says_what(following: Sequence[str]) -> bool:
    """Whether "is" follows the thought, at once or behind "for Trial 1", and then anything but the task's own words."""
    at = next((k for k, w in enumerate(following) if w in lex.COPULA), None)
    if at is None or not set(following[:at]) <= lex.ON_TRIAL:
        return False
    what = following[at + 1 : at + 5]
    return not set(what[:3]) & lex.UNSPECIFIC


def _elliptic(words: Sequence[Word], i: int, context: Context) -> Found | None:
    """Read "I think it is 'X'" and "I'd say it's about X": short for "I detect it, and it is X"."""
    if not context.yes_or_no:
        return None
    behind = {w.lower for w in words[max(0, i - 3) : i] if not w.after_mark or w.lower == "i"}
    if words[i - 1].lower in lex.WH and i > 0:
        return None
    ahead = words[i + 1 : i + 5]
    is_so = words[i].lower != "it" or (ahead and ahead[0].lower in lex.COPULA)
    object_named = any(w.start in context.named or w.lower in {"about", "word", "concept"} for w in ahead)
    return Found(i) if behind & lex.BELIEVE and is_so and object_named else None


def _disowns(words: Sequence[Word], i: int, _: Context) -> Found | None:
    """Read "something that isn't mine" and "it doesn't belong here": the negation is part of the claim."""
    negated = next((k for k in range(max(0, i - 4), i) if words[k].lower in lex.NEGATORS), None)
    if negated is None:
        return None
    before = [w.lower for w in words[max(0, i - _BEHIND) : negated]]
    if "i" in before:
        # In "I feel a thought that isn't mine" the thought is disowned, in "I don't think it is mine" nothing is.
        before = before[len(before) - before[::-1].index("i") :]
        if not before or before[-1] not in {"that", "which"}:
            return None
    about = set(before) & {"something", "it", "that", "which", "thought", "one", "feeling", "word", "idea"}
    return Found(negated, alone=True) if about and not set(before) & {"anything", "any"} else None


def ahead_of(words: Sequence[Word], i: int) -> list[Word]:
    """Return the words of the clause behind word ``i``, as far as the next "but"."""
    found = []
    for word in words[i + 1 : i + 1 + _AHEAD]:
        if _contrasts(word) or word.mark == ";":
            break
        found.append(word)
    return found


def _contrasts(word: Word) -> bool:
    return word.lower in lex.CONTRAST or (word.lower in lex.MILD_CONTRAST and word.after_mark)


def behind_of(words: Sequence[Word], i: int) -> list[Word]:
    """Return the words of the clause before word ``i``, nearest first."""
    found: list[Word] = []
    subject = False
    for j in range(i - 1, max(-1, i - 1 - _BEHIND), -1):
        word = words[j]
        if _contrasts(word):
            break
        found.append(word)
        subject = subject or word.lower in lex.SELF or word.lower in lex.THERE
        # A comma ends the clause only where the clause has its subject: "I do not, however, detect ...".
        if word.after_mark and subject:
            break
    return found
