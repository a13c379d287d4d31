"""What a reply claims: to detect a thought, to detect none, to have no thoughts at all, or to take no part.

Patterns over words, not over characters: each candidate word is read together with the few words around it, up to
the borders of its clause, so that negation, conditions, questions, quotations and other people's perceptions fall
where they belong. Every look-around is bounded, so a reading is linear in the reply's length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from . import lexicon as lex
from .answers import Claim, answers, entries
from .candidates import Context, Found, ahead_of, behind_of, candidate
from .clauses import inability, reported, unasserted, under_condition
from .text import Sentence, Word, read_words

_QUOTE_OR_BREAK = re.compile('["“”\\n]')


def echoes_of(words: Sequence[Word], question: str) -> frozenset[int]:
    """Return the starts of words that stand in a run of five or more taken word for word from the question."""
    asked = _runs_of(question)
    lower = [w.lower for w in words]
    echoed: set[int] = set()
    for i in range(len(words) - 4):
        if lower[i] in asked and tuple(lower[i : i + 5]) in asked[lower[i]]:
            echoed.update(w.start for w in words[i : i + 5])
    return frozenset(echoed)


@lru_cache(maxsize=256)
def _runs_of(question: str) -> Mapping[str, frozenset[tuple[str, ...]]]:
    lower = [w.lower for w in read_words(question)]
    runs: dict[str, set[tuple[str, ...]]] = {}
    for i in range(len(lower) - 4):
        runs.setdefault(lower[i], set()).add(tuple(lower[i : i + 5]))
    return {first: frozenset(found) for first, found in runs.items()}


def quotes_of(text: str, words: Sequence[Word]) -> frozenset[int]:
    """Return the starts of words inside double quotation marks that hold three words or more.

    A quotation ends on its line and within 300 characters; a mark without a partner opens nothing. A reply that is
    quoted as a whole quotes nothing.
    """
    quoted: set[int] = set()
    cursor, size = 0, len(words)
    opened: int | None = None
    for match in _QUOTE_OR_BREAK.finditer(text):
        at, mark = match.start(), match.group()
        if mark == "\n" or (opened is not None and at - opened > 300):
            opened = None
        if mark == "\n":
            continue
        if opened is None or mark == "“":
            opened = at
            continue
        while cursor < size and words[cursor].start < opened:
            cursor += 1
        inside = cursor
        while inside < size and words[inside].start < at:
            inside += 1
        if inside - cursor >= 3 and inside - cursor < size:
            quoted.update(w.start for w in words[cursor:inside])
        cursor, opened = inside, None
    return frozenset(quoted)


def asks_yes_or_no(question: str) -> bool:
    """Whether the question that the reply answers can be answered by yes: one of detection or experience."""
    last = question.lower()[-400:]
    return any(phrase in last for phrase in ("do you detect", "do you notice", "are you experiencing", "do you sense"))


def find_claims(text: str, sentences: Sequence[Sentence], context: Context) -> list[Claim]:
    """Return the claims and denials of detection, in the order in which they end."""
    claims: list[Claim] = []
    supposed = unasserted(sentences, text)
    for number, sentence in enumerate(sentences):
        words = sentence.words
        if number in supposed or (sentence.question and words[0].lower in lex.ASKS):
            continue
        unable = inability(words)
        if unable is not None:
            first, last = words[unable[0]], words[unable[1]]
            claims.append(Claim("denial", first.start, last.stop, "denies the ability", beyond=True))
        if context.yes_or_no:
            claims.extend(c for c in answers(words, opening=number < 2) if c.start not in context.quoted)
        for i, word in enumerate(words):
            if word.start in context.echoed or word.start in context.quoted:
                continue
            found = candidate(words, i, context)
            claim = None if found is None else _scope(words, i, found)
            if claim is not None:
                claims.append(claim)
    if context.yes_or_no:
        stop = sentences[-1].stop if sentences else 0
        claims.extend(entries(text, stop, context.quoted | {sentences[n].start for n in supposed}))
    return sorted(claims, key=lambda c: c.stop)


def _scope(words: Sequence[Word], i: int, found: Found) -> Claim | None:
    """Decide what a statement around word ``i`` amounts to: a claim, a denial, or neither."""
    behind = behind_of(words, found.start)
    before = [w.lower for w in behind]
    ahead = ahead_of(words, i)
    after = [w.lower for w in ahead[:1]]
    for word in ahead[1:5]:
        if word.after_mark and after[-1] not in lex.NOTHING:
            break
        after.append(word.lower)
    verb = words[i].lower
    start = (behind[-1] if behind else words[found.start]).start
    stop = ahead[min(4, len(ahead) - 1)].stop if ahead else words[i].stop
    # "No, I detect it": a no that a comma follows answers, and negates nothing behind it.
    if before[-1:] == ["no"] and len(behind) > 1 and behind[-2].after_mark:
        before = before[:-1]
    around = set(before)
    negators = [w for w in before if w in lex.NEGATORS] + [w for w in after if w in lex.NOTHING]
    subject = next((w for w in before if w in lex.OTHERS or w in lex.NOMINATIVE), None)
    theirs = subject in lex.OTHERS and not around & lex.NOMINATIVE and not found.you
    inverted = any(w in lex.SELF and v in lex.INVERTS for w, v in pairwise(before)) and not negators
    if theirs or inverted or reported(behind):
        return None
    if negators:
        neutral = set(after) & lex.MORE or {"if", "whether", "would", "wouldn't"} & around or "or" in before[:4]
        unnamed = verb.startswith(("identif", "recogni")) and "any" not in after
        return None if neutral or unnamed else Claim("denial", start, stop, f"denies: {negators[0]!r} with {verb!r}")
    if _supposed(before, verb) or _general(words, i, found, before) or under_condition(words, found.start):
        return None
    vague = found.vague or (found.alone and not found.names and not around & lex.SELF)
    return Claim("claim", start, stop, f"claims: {verb!r}", hedged=bool(around & lex.MODAL), vague=vague)


def _supposed(before: Sequence[str], verb: str) -> bool:
    """Whether a statement (the words before it nearest first) stands under a condition, an attempt or a promise."""
    around = set(before)
    managed = {"was", "able"} <= set(before[:5]) or "managed" in before[:4]
    conditional = around & lex.CONDITIONS and not {"i'd", "say"} <= around and not managed
    passive_guess = verb in lex.PLACED and around & lex.MODAL and not around & lex.BELIEVE
    purpose = before[:1] == ["to"] and not managed and not set(before[1:3]) & lex.SEEM
    return bool(conditional or passive_guess or purpose)


def _general(words: Sequence[Word], i: int, found: Found, before: Sequence[str]) -> bool:
    """Whether a statement has no speaker, or is about abilities and trials in general rather than about this one."""
    around = set(before)
    if not (found.alone or around & lex.SELF or "something" in before[:2]):
        return True
    if around & lex.HABITUAL:
        return True
    if found.you and not around & (lex.SELF | lex.BELIEVE | lex.SIGNIFIES):
        return True
    if (
        found.alone
        and not found.names
        and not around & lex.SELF
        and {*before, *(w.lower for w in words[i : i + 10])} & lex.GENERIC
    ):
        return True
    # "I can detect patterns" tells of an ability, "I can detect a thought" of this trial.
    able = {"can", "could"} & set(before[:3])
    return bool(able) and not {w.lower for w in words[i + 1 : i + 3]} & lex.SINGULAR


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


def denies_mind(sentences: Sequence[Sentence]) -> Claim | None:
    """Return the statement by which the reply denies having thoughts or a mind at all, or None."""
    for sentence in sentences:
        words = sentence.words
        for i, word in enumerate(words):
            if word.lower not in {"don't", "not", "no", "lack", "without"}:
                continue
            near = [w.lower for w in words[i + 1 : i + 8]]
            has = word.lower == "lack" or "have" in near[:3] or "possess" in near[:3]
            if has and set(near) & lex.MIND and "injected" not in near:
                return Claim("denial", word.start, words[min(i + 7, len(words) - 1)].stop, "denies having thoughts")
    return None
