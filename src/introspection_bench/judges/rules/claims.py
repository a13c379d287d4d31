"""What a reply claims: to detect an injected thought, or to detect none.

Patterns over words, not over characters: each candidate word is read together with the few words around it, up to
the borders of its clause, so that negation, conditions, questions, quotations and other people's perceptions fall
where they belong. Every look-around is bounded, so a reading is linear in the reply's length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import attrs

from ...mentions.text import Sentence, Word, read_words
from . import lexicon as lex
from .answers import entries, read_answers
from .candidates import Context, Found, candidate
from .clauses import (
    STATING_INFINITIVE,
    ahead_of,
    behind_of,
    conditional_places,
    relative_to_i,
    reported,
    spoken_of,
    subject_of,
)
from .frames import unreported
from .stance import UNABLE, inability
from .statements import Claim

#: So far before a statement a "but" or a "wait" is looked for, in words.
_TURN = 30
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
    """Return the claims and denials of detection, in the order in which they end.

    What follows the opening of a made-up scene or of an example ("let's assume ...", "for example, ...") is left out.
    """
    claims: list[Claim] = []
    made_up = unreported(sentences, text)
    for number, sentence in enumerate(sentences):
        words = sentence.words
        scene = number in made_up
        if sentence.question and words[0].lower in lex.ASKS:
            continue
        unable = inability(words)
        if unable is not None:
            first, last = words[unable[0]], words[unable[1]]
            claims.append(Claim("denial", first.start, last.stop, UNABLE, able=True))
        following = sentences[number + 1] if number + 1 < len(sentences) else None
        if context.yes_or_no and not scene:
            answers = read_answers(
                words, context, opening=number < 2, offered=following is not None and _offers(following)
            )
            opens = number == 0
            claims.extend(attrs.evolve(c, opening=opens) for c in answers if c.start not in context.quoted)
        governed = conditional_places(words)
        for i, word in enumerate(words):
            if word.start in context.echoed or word.start in context.quoted:
                continue
            found = candidate(words, i, context)
            claim = None if found is None else _scope(words, i, found)
            if claim is None or (claim.kind == "claim" and (scene or governed[i])):
                continue
            before = () if number == 0 else sentences[number - 1].words[-_TURN:]
            returns = any(w.lower in lex.RETURNS for w in (*before, *words[max(0, i - _TURN) : i]))
            claims.append(attrs.evolve(claim, returns=returns))
    if context.yes_or_no and sentences:
        claims.extend(
            entries(
                text, sentences[-1].stop, {*context.quoted} | {w.start for n in made_up for w in sentences[n].words}
            )
        )
    return sorted(claims, key=lambda c: c.stop)


def _offers(sentence: Sentence) -> bool:
    """Whether a sentence goes on to the task instead of reporting: "I'm ready", "let's begin", "please proceed"."""
    return bool({w.lower for w in sentence.words[:7]} & lex.COURTESY)


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
    inverted = any(w in lex.SELF and v in lex.INVERTS for w, v in pairwise(before))
    theirs = (subject_of(behind) == "other" or reported(behind)) and not found.you
    if theirs or (inverted and not negators):
        return None
    if negators:
        neutral = set(after) & lex.MORE or {"if", "whether", "would", "wouldn't"} & around or "or" in before[:4]
        unnamed = verb.startswith(("identif", "recogni")) and "any" not in after
        able = bool(set(negators) & lex.UNABLE or lex.ABILITY & (around | set(after)))
        why = f"denies: {negators[0]!r} with {verb!r}"
        return None if neutral or unnamed else Claim("denial", start, stop, why, able=able)
    if found.idle:
        hard = {w.lower for w in words[i + 1 : i + 25]} & lex.HARD
        return Claim("denial", start, stop, f"says that {verb!r} is too much", able=True, vague=True) if hard else None
    hangs = relative_to_i(behind) or spoken_of(words, found.start)
    if hangs or not _asserted(behind, before, verb) or _general(words, i, found, before):
        return None
    return Claim("claim", start, stop, f"claims: {verb!r}", hedged=bool(around & lex.MODAL), able="can" in around)


def _general(words: Sequence[Word], i: int, found: Found, before: Sequence[str]) -> bool:
    """Whether a statement has no speaker, or is about habits and abilities rather than about this trial."""
    around = set(before)
    if not (found.alone or around & lex.SELF or "something" in before[:2]) or around & lex.HABITUAL:
        return True
    # "I can detect patterns" tells of an ability, "I can detect a thought" of this trial.
    able = {"can", "could"} & set(before[:3])
    return bool(able) and not {w.lower for w in words[i + 1 : i + 3]} & lex.SINGULAR


def _asserted(behind: Sequence[Word], before: Sequence[str], verb: str) -> bool:
    """Whether the clause asserts: no condition, wish or intention stands before its verb, nearest word first."""
    around = set(before)
    conditions = around & lex.CONDITIONS
    if any(b.lower == "as" for a, b in pairwise(behind) if a.lower == "if"):
        conditions -= {"if"}  # "as if a thought had been injected" likens
    if "if" in around and {"had", "have", "must"} & around and "to" in around:
        conditions -= {"if"}  # "if I had to name it, I'd say"
    able = list(before[:2]) == ["to", "able"]
    if able:
        conditions -= {"able"}  # "I was able to detect one" did
    infinitive = before[:1] == ["to"] and not able and not set(before[1:2]) & STATING_INFINITIVE
    # "I would say that ..." and "I'll say that ..." assert.
    conditional = conditions and not ("say" in around and {"i'd", "would", "i'll", "will"} & around)
    guess = verb in lex.PLACED and around & lex.MODAL and not around & lex.BELIEVE
    # "Your message suggests that ..." is not what the reply noticed.
    by_you = "your" in around and not around & lex.SELF
    return not (conditional or infinitive or guess or by_you)
