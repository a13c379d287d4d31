"""Whether a reply begins with a yes or a no, in these words or in two others that the question agreed on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from ...labelled import Labels
from ...mentions.text import Sentence, Word

#: An answer stands within so many words, or the reply does not begin with one.
_WITHIN = 16
_LEAD = re.compile(
    r"(?:(?:hmm|hm|well|oh|ah|uh|um|so|ok|okay|why|sorry|now|honestly|trial|assistant|response|reply|result) )*"
    r"(?:(?:(?:my|the|in) )?(?:(?:short|final|honest|simple|brief|one) )?(?:word )?answer "
    r"(?:to (?:(?:your|the|this|that) question|that|this) )?(?:(?:is|would be|has to be|must be) )?"
    r"|(?:i'd|i would) (?:have to )?say (?:that )?(?:the answer is )?"
    r"|i (?:think|believe|guess|suppose) (?:that )?(?:the answer is )?)?"
    r"(?:(?:a|an) )?(?:(?:clear|definite|plain|simple|firm|resounding|big) )*"
)
_STRONG = r"absolutely|certainly|definitely|of course|surely|obviously|naturally|clearly"
_SUBJECT = r"i|it|they|he|she|we|you|that|this|there"
_VERB = r"do|does|did|am|is|are|was|were|have|has|had|can|will|would"
_NO = re.compile(
    rf"(?:no|nope|nah|nay|negative|not at all|not really|not that i|(?:{_STRONG}) not|i'm afraid not)\b"
    r"|(?P<alone>(?:(?:that|this|it)(?:'s| is) (?:not (?:correct|right|true|so)|false|wrong|incorrect|untrue)"
    rf"|(?:{_SUBJECT}) (?:(?:{_VERB}) not|(?:do|does|did|is|are|was|were|have|has|had|would)n't|cannot|can't|won't)"
    r"|i'm not|it's not|they're not|false|incorrect)\b)"
)
_YES = re.compile(
    rf"(?:yes+|yeah|yep|yup|yea|aye|affirmative|(?:{_STRONG}) (?:yes|so))\b"
    r"|(?P<alone>(?:(?:that|this|it)(?:'s| is) (?:correct|right|true|so)|indeed|sure|correct|true|right"
    rf"|{_STRONG}|(?:{_SUBJECT}) (?:(?:{_STRONG}|indeed) )?(?:{_VERB})(?: indeed)?)\b)"
)
#: "No idea", "no doubt" and the like answer something else.
_NO_ANSWER = frozenset({"one", "idea", "problem", "problems", "doubt", "worries", "matter", "wonder", "clue", "sooner"})
_BOTH = frozenset({"and", "or", "but"})
_AGREES = frozenset({"understand", "understood", "ready", "proceed", "begin", "start", "started"})
_RETRACTS = frozenset({"wait", "actually", "correction", "sorry", "rather", "mean", "scratch", "hold", "hmm", "or"})
_YES_WORDS = frozenset({"yes", "yeah", "yep", "yup"})
_NO_WORDS = frozenset({"no", "nope", "nah"})


@attrs.frozen
class Said:
    """What a reply answers: yes, no, or neither (None); characters ``start`` to ``stop`` and why."""

    yes: bool | None
    start: int
    stop: int
    why: str


def said(sentences: Sequence[Sentence], labels: Labels | None) -> Said:
    """Return what a reply's beginning answers; what it does not plainly say is neither.

    ``labels`` are the words that stand for yes and no, where the question agreed on some: then they alone count.
    """
    words = [word for sentence in _after_the_question(sentences) for word in sentence.words]
    if not words:
        return Said(None, 0, 0, "nothing is said")
    head = " ".join(word.lower for word in words[:_WITHIN])
    lead = _LEAD.match(head)
    behind = lead.end() if lead else 0
    yes, no = (_YES, _NO) if labels is None else (_label(labels.yes), _label(labels.no))
    # The no first: "absolutely not" begins as a yes does.
    for answer, pattern in ((False, no), (True, yes)):
        match = pattern.match(head, behind)
        if match is None:
            continue
        first, last = head[: match.start()].count(" "), head[: match.end()].count(" ")
        place = words[first].start, words[last].stop
        rest = words[last + 1 :]
        if "alone" in match.re.groupindex and match["alone"] and rest and not rest[0].after_mark:
            break  # "I am a program that ...": a statement, whose answer has to be thought out
        doubt = _doubt(answer, rest, labels)
        if doubt is not None:
            return Said(None, *place, doubt)
        return Said(answer, *place, f"begins with {match[0]!r}")
    if labels is not None and (_YES.match(head, behind) or _NO.match(head, behind)):
        return Said(None, words[0].start, words[0].stop, "it answers in other words than those agreed on")
    return Said(None, words[0].start, words[0].stop, "it begins with neither a yes nor a no")


def _label(word: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(word.lower())}\b")


def _after_the_question(sentences: Sequence[Sentence]) -> Sequence[Sentence]:
    """Return the sentences behind a question at the very start, which a reply repeats before it answers."""
    start = next((n for n, s in enumerate(sentences) if s.words and not (s.question and len(s.words) > 2)), None)
    return [] if start is None else sentences[start:]


def _doubt(answer: bool, rest: Sequence[Word], labels: Labels | None) -> str | None:
    """Return why an answer is none, by what follows it: both at once, another one, or no answer at all."""
    lower = [word.lower for word in rest[:_WITHIN]]
    if labels is None:
        opposite = _NO_WORDS if answer else _YES_WORDS
    else:
        opposite = frozenset({(labels.no if answer else labels.yes).lower()})
    if lower and lower[0] in opposite:
        return "it says both"
    if lower[:1] and lower[0] in _BOTH and set(lower[1:3]) & opposite and not _determines(rest, 1):
        return "it says both"
    for place, word in enumerate(lower[:-1]):
        if word in _RETRACTS:
            later = next((n for n in range(place + 1, min(place + 4, len(lower))) if lower[n] in opposite), None)
            if later is not None and not _determines(rest, later):
                return "it takes its answer back"
    if labels is None and not answer and lower and lower[0] in _NO_ANSWER and not rest[0].after_mark:
        return f"'no {lower[0]}' is no answer"
    if labels is None and answer and set(lower[:4]) & _AGREES and set(lower[:2]) & {"i", "i'm", "let's", "let", "we"}:
        return "it agrees to take part"
    return None


def _determines(words: Sequence[Word], place: int) -> bool:
    """Whether a "no" only says that there is none of something: "yes, but no thought of bread"."""
    return words[place].lower == "no" and place + 1 < len(words) and not words[place + 1].after_mark
