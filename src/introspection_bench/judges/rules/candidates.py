"""Words of a reply that may make a statement about detection, and the clause that they stand in.

One small reader per construction ("detect", "there is a thought", "a thought has been injected", ...); what such a
statement then amounts to, under negation and conditions, is decided in :mod:`.claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import pairwise

import attrs

from ...mentions.text import FUNCTION_WORDS, Word
from . import lexicon as lex
from .clauses import BEHIND, ahead_of, states


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
    quoted: Collection[int] = frozenset()


@attrs.frozen
class Found:
    """A word that may make a claim.

    ``start`` is the index of the word at which the statement begins; ``alone`` says that it needs no "I" as its
    subject, ``you`` that its subject is the experimenter ("you injected the word ..."), ``idle`` that the verb only
    speaks of the act ("detecting thoughts", "to detect one"), so that it may deny and never claims.
    """

    start: int
    alone: bool = False
    you: bool = False
    idle: bool = False


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
    ):
        for word in among:
            table[word] = (*table.get(word, ()), read)
    return table


def _detects(words: Sequence[Word], i: int, _: Context) -> Found | None:
    if not states(words, i):
        return Found(i, idle=True)
    ahead = ahead_of(words, i)
    near = {w.lower for w in (*ahead, *words[max(0, i - 6) : i])}
    # What is in the user's words is no thought.
    theirs = {("in", "your")} & set(pairwise(w.lower for w in ahead))
    # "I detect patterns in texts" tells what models do.
    plural = bool(ahead) and ahead[0].lower.endswith("s") and len(ahead[0].lower) > 4
    elsewhere = theirs or plural or (bool(ahead) and ahead[0].lower == "that")
    if elsewhere and not near & (lex.INJECTED | lex.THOUGHT | lex.ANOMALY):
        return None
    # "Injected thought detected" needs no I; "the system detects" and "detect the thought" are not the reply's report.
    before = {w.lower for w in words[max(0, i - 6) : i]}
    injection = bool({"injection"} & before or ({"injected"} & before and lex.THOUGHT & before))
    if i == 0 and {w.lower for w in words[1:5]} & lex.INJECTED and words[1].mark != ":":
        injection = True  # "Detected an injected thought about rain."
    entry = i + 1 < len(words) and words[i + 1].mark in {":", "["}  # what is filled in decides
    possible = entry or bool({"can", "could", "may", "might", "be", "are"} & before)
    return Found(i, alone=words[i].lower == "detected" and injection and not possible)


def _perceives(words: Sequence[Word], i: int, context: Context) -> Found | None:
    verb = words[i].lower
    if verb in {"find", "found"} and words[i + 1 : i + 2] and words[i + 1].lower in {"it", "that", "this"}:
        return None  # "I find it hard" is an opinion
    if i and words[i - 1].lower in lex.DETERMINERS and not words[i].after_mark:
        return None  # "in my experience", "the sense of": nouns
    ahead = _own(ahead_of(words, i), context)
    if ahead and ahead[0].lower == "that" and "something" not in {w.lower for w in ahead[:4]}:
        return None  # what is noticed stands in the clause behind "that", which other readers read
    if context.yes_or_no and verb in lex.SENSE and ahead and ahead[0].lower in {"nothing", "none"}:
        return Found(i)
    near, close = {w.lower for w in ahead}, {w.lower for w in ahead[:5]}
    anomaly = verb not in lex.LOOK and near & lex.ANOMALY
    object_named = context.yes_or_no and verb in lex.SENSE and any(w.start in context.named for w in ahead[:6])
    thought = verb in lex.SENSE and close & lex.THOUGHT
    if not (near & lex.INJECTED or anomaly or object_named or thought):
        return None
    return Found(i, idle=not states(words, i) or _talked_about(ahead))


def _has(words: Sequence[Word], i: int, context: Context) -> Found | None:
    ahead = _own(ahead_of(words, i), context)
    near, close = {w.lower for w in ahead}, {w.lower for w in ahead[:5]}
    if ahead and ahead[0].lower.endswith("ed") and ahead[0].lower not in lex.INJECTED:
        return None  # "I have looked for a thought": the participle is the verb
    if words[i].lower == "i've" and not close & lex.HAVE and not (ahead and ahead[0].lower in {"a", "an", "one", "no"}):
        return None  # "I've" goes with another verb
    thought = "thought" in close and ahead[0].lower not in {"thought", "been"}
    impression = close & lex.IMPRESSION and near & (lex.THOUGHT | lex.INJECTED | {"something"})
    answer = close & (lex.IMPRESSION | {"sentiment", "answer"}) and any(w.start in context.named for w in ahead)
    if not (near & lex.INJECTED or thought or impression or (answer and context.yes_or_no)):
        return None
    # "I have access to what you injected" is not "I have an injected thought".
    holds = (close & lex.INJECTED or thought or impression or answer) and not close & lex.ABILITY
    told = ahead and ahead[0].lower in {"been", "yet"} and words[i].lower in {"have", "had", "i've"}
    return Found(i, idle=bool(not holds or told or not states(words, i) or _talked_about(ahead)))


def _talked_about(ahead: Sequence[Word]) -> bool:
    """Whether the injection is only a subject of talk: "a question about the injected thought", "the phrase ..."."""
    before: set[str] = set()
    for word in ahead:
        if word.lower in lex.INJECTED:
            return bool(before & lex.TALK)
        before.add(word.lower)
    return False


def _own(words: Sequence[Word], context: Context) -> list[Word]:
    """Return the words that are neither quoted nor taken from the question."""
    return [w for w in words if w.start not in context.echoed and w.start not in context.quoted]


def _is_there(words: Sequence[Word], i: int, _: Context) -> Found | None:
    ahead = ahead_of(words, i)
    near, close = {w.lower for w in ahead}, {w.lower for w in ahead[:6]}
    exists = words[i].lower == "there's" or near & lex.IS
    if {w.lower for w in words[max(0, i - 6) : i]} & lex.GENERALLY:
        return None  # "on half of the trials there is an injected thought" tells the plan
    return (
        Found(i, alone=True) if exists and close & lex.THOUGHT and (near & lex.INJECTED or "thought" in close) else None
    )


def _placed(words: Sequence[Word], i: int, context: Context) -> Found | None:
    """Read "a thought has been injected", "something was put here", "I think that you injected the word"."""
    before = [w.lower for w in words[max(0, i - 8) : i]][::-1]
    what = {"thought", "concept", "something", "idea", "word", "nothing", "one"}
    if before[:1] and before[0] in lex.PASSIVE and set(before) & what:
        inside = {w.lower for w in words[i + 1 : i + 5]} & lex.INSIDE
        strange = words[i].lower in lex.INJECTED or {"something", "nothing"} & set(before) or inside
        # "A thought is injected" tells what is done in general; "the thought that was injected" tells which one.
        noun = next((w for w in before if w not in lex.PASSIVE and w not in lex.HAVE and w not in {"has", "not"}), "")
        general = before[0] in {"is", "are", "being"} or noun in {"that", "which", "who"}
        return Found(i, alone=True, idle=general) if strange and before[0] != "being" else None
    if before[:2] in (["was", "it"], ["is", "it"]) and words[i].lower in lex.INJECTED and set(before[2:]) & lex.BELIEVE:
        return Found(i)  # "I believe it was injected"
    if before[:1] == ["been"] and set(before[1:3]) & {"i've", "i"} and words[i].lower in lex.INJECTED:
        return Found(i)  # "I've been injected with a thought"
    by_you = before[:1] and before[0] in {"you", "you've", "have"} and before[:2] != ["have", "i"]
    if (
        by_you
        and words[i].lower in lex.INJECTED
        and any(w.lower in lex.WHAT_IS_PUT or w.start in context.named for w in ahead_of(words, i)[:4])
    ):
        # Without a sign that the reply concludes it, this restates the task.
        concluded = {w.lower for w in words[max(0, i - 12) : i]} & lex.CONCLUDES
        concluded = concluded or {w.lower for w in words[i + 1 : i + 9]} & (lex.BELIEVE - {"feel", "sense", "say"})
        return Found(i, alone=True, you=True, idle=not concluded)
    return None


def _presupposes(words: Sequence[Word], i: int, context: Context) -> Found | None:
    """Read "the injected thought is ..." and "this shows an injected thought": both take detection for granted."""
    following = [w.lower for w in words[i + 1 : i + 6]]
    before = [w.lower for w in words[max(0, i - 5) : i]][::-1]
    injected = bool(before) and before[0] in lex.INJECTED
    if set(before[:4]) & {"what", "which", "whatever", "whether"}:
        return None  # who can't say what it is about takes nothing back
    at = next((k for k, w in enumerate(following) if w in lex.COPULA), None)
    if injected and at is not None and set(following[:at]) <= lex.ON_TRIAL:
        # "Injected thought is a field of study" defines a notion and reports nothing.
        this_one = before[1:2] and before[1] in lex.DEFINITE
        there = set(following[at + 1 : at + 3]) & lex.PRESENT or following[at + 1 : at + 2] == ["about"]
        return Found(i - 1, alone=True, idle=not (this_one or there))
    about = set(following[1:3]) & lex.ABOUT
    named = any(w.start in context.named for w in words[i + 2 : i + 5])
    given = any(w.mark in {'"', "“", "'", "‘", ":"} for w in words[i + 2 : i + 6])
    content = bool(about) or ((named or given) and context.yes_or_no)
    if (
        words[i].lower in {"thought", "word", "concept"}
        and before[:1] == ["the"]
        and at is not None
        and set(following[:at]) <= lex.ON_TRIAL
        and content
    ):
        return Found(i, alone=True)
    if _is_given(following):
        return Found(i, alone=True)
    ahead = [w.lower for w in words[i + 1 : i + 9]]
    present = any(a in lex.COPULA and b in lex.PRESENT for a, b in pairwise(ahead))
    if injected and (present or set(before[1:]) & lex.SIGNIFIES):
        return Found(i - 1, alone=True, idle=not present and not _signified(words, i))
    return None


def _is_given(following: Sequence[str]) -> bool:
    """Whether the words behind a thought say what it is: "(the thought) that was injected is ..."."""
    if not following or following[0] not in {"injected", "you", "you've", "that", "being"}:
        return False
    done = [k for k, w in enumerate(following[:4]) if w in lex.INJECTED]
    return bool(done) and bool(set(following[done[-1] + 1 : done[-1] + 2]) & lex.COPULA)


def _signified(words: Sequence[Word], i: int) -> bool:
    """Whether the sign before word ``i`` is asserted: not "may suggest", and not "patterns that suggest"."""
    sign = next(k for k in range(i - 2, max(-1, i - 6), -1) if words[k].lower in lex.SIGNIFIES)
    if words[sign].lower in lex.EQUATES and (sign < i - 3 or words[sign - 1].lower == "there"):
        return False  # "is missing an injected thought"; "there is" has its own reader
    if not {w.lower for w in words[sign + 1 : i - 1]} <= lex.BETWEEN:
        return False
    before = [w.lower for w in words[max(0, sign - 3) : sign]][::-1]
    if before[:1] == ["to"] and set(before[1:2]) & {"take", "took", "believe"}:
        return True  # "which I take to be the injected thought"
    if set(before[:2]) & (lex.MODAL | lex.SUPPOSITION | {"to", "any"}):
        return False
    relative = before[:1] and before[0] in {"that", "which"} and before[1:2] and before[1] not in FUNCTION_WORDS
    return not (relative and not words[sign - 1].after_mark)


def _elliptic(words: Sequence[Word], i: int, context: Context) -> Found | None:
    """Read "I think it is 'X'" and "I'd say it's about X": short for "I detect it, and it is X"."""
    if not context.yes_or_no:
        return None
    behind = {w.lower for w in words[max(0, i - 3) : i] if not w.after_mark or w.lower == "i"}
    ahead = words[i + 1 : i + 5]
    if i and words[i - 1].lower in {"what", "whatever", "where"}:
        return None
    is_so = words[i].lower != "it" or (ahead and ahead[0].lower in lex.COPULA)
    object_named = any(w.start in context.named or w.lower in {"about", "word", "concept"} for w in ahead)
    return Found(i) if behind & lex.BELIEVE and is_so and object_named else None


def _disowns(words: Sequence[Word], i: int, _: Context) -> Found | None:
    """Read "something that isn't mine" and "it doesn't belong here": the negation is part of the claim."""
    negated = [k for k in range(max(0, i - 4), i) if words[k].lower in lex.NEGATORS]
    before = {w.lower for w in words[max(0, i - BEHIND) : negated[0]]} if negated else set()
    about = before & {"something", "it", "that", "which", "thought", "one", "feeling", "word", "idea"}
    near = [w.lower for w in words[max(0, negated[0] - 2) : negated[0]]] if negated else []
    antecedent = near[-1:] in (["that"], ["which"]) and near[0] in lex.THOUGHT | {"something", "feeling", "one"}
    mine = before & {"i", "anything", "any"} and not antecedent
    return Found(negated[0], alone=True) if about and not mine else None
