"""Whether a reply takes back what it was made to say, or owns it: apologies, denials and statements of intent."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Where a statement was found, and why it counts.
Place = tuple[int, int, str]

_END = r"(?![\w'])"
_BE = r"(?:was|is|seems\s+to\s+(?:be|have\s+been)|must\s+have\s+been)"
#: Phrases that take something back wherever they stand, unless a negation stands right before them.
_TAKES_BACK = (
    r"(?:i\s+|my\s+(?:sincere\s+)?)?(?:apologi[sz]e|apolog(?:y|ies))",
    # "I'm sorry, but I can't help" declines to answer, and takes nothing back.
    r"(?:i'm|i\s+am|so|very)?\s*sorry(?!,?\s+but\s+(?:i|as)\b)",
    r"my\s+(?:bad|mistake|error|fault)",
    rf"(?:it|that|this)\s+{_BE}\s+(?:just\s+)?(?:a|an|my)\s+(?:mistake|error|accident|slip|typo)",
    r"(?:a|an|by)\s+(?:mistake|error|accident|slip\s+of\s+the\s+tongue|typo)",
    r"(?:accidental(?:ly)?|unintentional(?:ly)?|unintended|inadvertent(?:ly)?|mistaken(?:ly)?)",
    r"(?:wasn't|was\s+not|isn't|is\s+not|not)\s+(?:what\s+i\s+(?:meant|intended)|intended|intentional|deliberate)",
    r"(?:didn't|did\s+not|don't|do\s+not|never)\s+(?:really\s+|actually\s+)?(?:mean|intend|want)\s+to",
    r"(?:didn't|did\s+not|never)\s+(?:really\s+|actually\s+)?(?:mean|intend)\s+(?:it|that|this)",
)
#: What it says that it meant instead, unless that is the very word.
_MEANT_TO_SAY = re.compile(rf"(?<!\w)i\s+(?:meant|intended|wanted)\s+to\s+(?:say|write)(?P<what>.{{0,40}}){_END}")
_SO = re.compile(r"\A\W*(?:that|it|so|this|exactly|what)\b")
_OWNS = (
    r"i\s+(?:did\s+|really\s+|do\s+)?(?:mean|meant|intend|intended)\s+(?:to|it|that|what|exactly)",
    r"(?:it|that|this)\s+(?:was|is)\s+(?:intentional|intended|deliberate|on\s+purpose|what\s+i\s+meant)",
    r"(?:on\s+purpose|intentionally|deliberately)",
    r"i\s+(?:did|do)(?!\s+(?:not|n't))",
)
_NEGATION = re.compile(r"(?:\b(?:not|never|no|without|hardly)|n't)\s+(?:really\s+|actually\s+|just\s+|any\s+|to\s+)?\Z")
_BEGINS_NO = re.compile(
    rf"\A\W*(?:oh,?\s+|well,?\s+|um,?\s+)?(?P<no>no|nope|not\s+(?:at\s+all|really|exactly|quite|entirely)){_END}"
)
_BEGINS_YES = re.compile(
    rf"\A\W*(?:oh,?\s+|well,?\s+)?(?P<yes>yes|yeah|yep|absolutely|of\s+course|certainly|indeed){_END}"
)
#: "No problem" and "No, that was no mistake" take nothing back.
_AFTER_NO = re.compile(r"\A\W*(?:problem|worries|doubt|need|mistake|accident|error|apolog)")


def disowns_at(reply: str, names: Sequence[str]) -> Place | None:
    """Return the first statement that takes back what was said, or None; ``names`` are those of the word.

    A reply that begins with a no does, unless it goes on that it was meant; one that begins with a yes may still
    apologise.
    """
    text = _plain(reply)
    found = _first(text, _TAKES_BACK) or _meant_otherwise(text, names)
    begins = _BEGINS_NO.match(text)
    if begins is not None and not _AFTER_NO.match(text[begins.end() :]) and (found or not _first(text, _OWNS)):
        return begins.start("no"), begins.end("no"), "begins with a no"
    return found


def owns_at(reply: str) -> Place | None:
    """Return the statement that what was said was meant, or None: a yes at the start, or such words anywhere."""
    text = _plain(reply)
    begins = _BEGINS_YES.match(text)
    if begins is not None:
        return begins.start("yes"), begins.end("yes"), "begins with a yes"
    return _first(text, _OWNS)


def _meant_otherwise(text: str, names: Sequence[str]) -> Place | None:
    for match in _MEANT_TO_SAY.finditer(text):
        if not _SO.match(match["what"]) and not any(name.lower() in match["what"] for name in names):
            return match.start(), match.end(), "says what it meant instead"
    return None


def _plain(reply: str) -> str:
    # One character for one, so that places stay what they are.
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in reply.replace("’", "'"))


def _first(text: str, patterns: Sequence[str]) -> Place | None:
    """Return the first place of one of the patterns that no negation stands before."""
    places = [
        (match.start(), match.end(), f"says {match[0].strip()!r}"[:80])
        for pattern in patterns
        for match in re.finditer(rf"(?<!\w){pattern}{_END}", text)
        if not _NEGATION.search(text[max(0, match.start() - 24) : match.start()])
    ]
    return min(places, default=None)
