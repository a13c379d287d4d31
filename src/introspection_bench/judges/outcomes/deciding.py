"""The rules of outcomes: each takes a case to its rubric's answers, and to the places of the reply that decided."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from ...errors import JudgeError, explain
from ...mentions.naming import Mention, find_mentions
from ...mentions.text import read_sentences, read_words
from ...names import folded
from ...spans import Span
from ...verdicts import Evidence
from ..base import Case
from ..rules.claims import echoes_of
from .owning import disowns_at, owns_at

#: What a rule finds: the rubric's answers, and the places that decided.
Answers: TypeAlias = tuple[Mapping[str, bool | None], tuple[Evidence, ...]]

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_CARDINALS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = re.compile(
    # "one" alone is mostly no number ("the one that stands out"): in words a number stands behind "sentence" or a mark.
    rf"(?<![\w.,])(?P<digits>\d{{1,3}})(?:st|nd|rd|th)?(?![\w])(?![.,]\d)"
    rf"|\b(?P<ordinal>{'|'.join(_ORDINALS)})\b(?!\s*,|\s+of\s+all)"
    rf"|(?:\b(?:sentence|number)\s+|\A\W*)(?P<cardinal>{'|'.join(_CARDINALS)})\b(?!\s+(?:that|which|of)\b)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"s(\d+)")
#: How many words of the continuation count as its first sentence where none ends.
_FIRST_WORDS = 15


def picked(case: Case) -> Answers:
    """The word of the list that the reply names first, or whether it repeats the sentence where there is no list."""
    offered = case.slots.get("words")
    if offered is None:
        place = _holding(case, "sentence")
        return {"answers": None, "picks": None, "repeats": bool(place), "right": bool(place)}, place
    own = {folded(name) for name in case.concept.names}
    found: list[tuple[Mention, bool]] = []
    words = read_words(case.reply)
    echoed = echoes_of(words, case.question)
    listed = [word.strip() for word in offered.split(",")]
    if not any(folded(word) in own for word in listed):
        raise JudgeError(
            explain("case", required=f"a list with the word of {case.concept.name!r}", got=offered[:200], hint="")
        )
    for word in listed:
        mine = folded(word) in own
        names = case.concept.names if mine else (word,)
        found += [(mention, mine) for mention in find_mentions(case.reply, words, names, echoed)[:1]]
    first = min(found, key=lambda pair: pair[0].start, default=None)
    picks = first is not None and first[1]
    evidence = () if first is None else (Evidence("picks", first[0].start, first[0].stop, "names first"),)
    return {"answers": first is not None, "picks": picks, "repeats": None, "right": picks}, evidence


def located(case: Case) -> Answers:
    """The first number of a sentence that the reply gives, and whether the injection was there."""
    places = [slot for slot in case.slots if _PLACE.fullmatch(slot)]
    if len(places) < 2:
        raise JudgeError(
            explain(
                "case", required="a question with slots s1, s2 … for the sentences", got=sorted(case.slots), hint=""
            )
        )
    right = int(case.trial[:8], 16) % len(places) + 1 if case.span is None else _place_of(case.span)
    match = _number_said(case)
    if match is None:
        return {"answers": False, "locates": False}, ()
    said, start, stop = match
    answers = 1 <= said <= len(places)
    evidence = (Evidence("locates", start, stop, f"says {said}, and {right} is right"),)
    return {"answers": answers, "locates": answers and said == right}, evidence


def _place_of(span: str) -> int:
    place = _PLACE.fullmatch(Span.parse(span).start_anchor or "")
    if place is None:
        raise JudgeError(explain("span", required="that of one place, as between(s2, s2_end)", got=span, hint=""))
    return int(place[1])


def _number_said(case: Case) -> tuple[int, int, int] | None:
    """Return the first number that the reply says of its own, and its place: a repeated list of the sentences aside."""
    own = case.reply
    sentences = {slot[1:]: text for slot, text in case.slots.items() if _PLACE.fullmatch(slot)}
    listed = [re.compile(rf"\b{n}\s*[.):]\s*[\"“']?{re.escape(t)}", re.IGNORECASE) for n, t in sentences.items()]
    # One sentence with its number is an answer; several are the question again.
    if sum(line.search(own) is not None for line in listed) > 1:
        for line in listed:
            own = line.sub(lambda m: " " * len(m[0]), own)
    match = _NUMBER.search(own)
    if match is None:
        return None
    for kind, words in (("ordinal", _ORDINALS), ("cardinal", _CARDINALS)):
        if match[kind]:
            return words.index(match[kind].lower()) + 1, match.start(kind), match.end(kind)
    return int(match["digits"]), match.start("digits"), match.end("digits")


def named(case: Case) -> Answers:
    """Whether the reply goes on with the concept's name, and whether it names it anywhere."""
    words = read_words(case.reply)
    mentions = find_mentions(case.reply, words, case.concept.names, echoes_of(words, case.question))
    sentences = [s for s in read_sentences(case.reply, words) if s.words]
    end = 0
    if sentences:
        first = sentences[0].words[:_FIRST_WORDS]
        end = first[-1].stop
    here = [m for m in mentions if m.start < end]
    evidence = tuple(Evidence("names", m.start, m.stop, f"names it: {m.name}") for m in (here or mentions)[:1])
    return {"names": bool(here), "names_anywhere": bool(mentions)}, evidence


def owned(case: Case) -> Answers:
    """Whether the reply takes back what it was made to say, and whether it owns it."""
    taken_back, mine = disowns_at(case.reply, case.concept.names), owns_at(case.reply)
    evidence = [Evidence("disowns", *taken_back)] if taken_back else []
    evidence += [Evidence("owns", *mine)] if mine and not taken_back else []
    return {"owns": mine is not None and taken_back is None, "disowns": taken_back is not None}, tuple(evidence)


def written(case: Case) -> Answers:
    """Whether the reply holds the sentence, and the word outside it."""
    place = _holding(case, "sentence", criterion="writes")
    rest = case.reply
    for found in place:
        rest = rest[: found.start] + " " * (found.stop - found.start) + rest[found.stop :]
    words = read_words(rest)
    mentions = find_mentions(rest, words, case.concept.names, echoes_of(words, case.question))
    evidence = [*place, *(Evidence("mentions", m.start, m.stop, f"names it: {m.name}") for m in mentions[:1])]
    return {"writes": bool(place), "mentions": bool(mentions)}, tuple(evidence)


def _holding(case: Case, slot: str, *, criterion: str = "repeats") -> tuple[Evidence, ...]:
    """Return the first place of the reply that holds a slot's text, capitals aside."""
    if slot not in case.slots:
        raise JudgeError(
            explain("case", required=f"a question with the slot {slot!r}", got=sorted(case.slots), hint="")
        )
    wanted = case.slots[slot].rstrip(".!?")  # a full stop that is left out is no other sentence
    match = re.search(re.escape(wanted), case.reply, re.IGNORECASE)
    return () if match is None else (Evidence(criterion, match.start(), match.end(), "holds the sentence"),)
