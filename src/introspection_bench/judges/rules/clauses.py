"""Who does what in a clause: the subject of a verb, whether the verb states anything, and what a clause depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...mentions.text import Word, listed
from . import lexicon as lex

Subject = Literal["self", "other", "none"]

#: So many words before and after a verb belong to its clause at most.
BEHIND, AHEAD = 16, 12
_PROGRESSIVE = listed(
    "am i'm be been was keep kept begin began start started starting myself yes i've seem find found not"
)
STATING_INFINITIVE = listed("seem seems seemed appear appears appeared happen happened begin began start started")
_OPENS_CONDITION = listed(
    """
    if whether suppose supposing assume assuming assumed imagine imagining pretend pretending unless hypothetically
    hypothetical theoretically asking ask asks determine example instance scenario scenarios told
    informed mentioned stated doubt doubtful wonder according explained described hypothesis
    """
)
_OPENS_BY_TWO = frozenset(
    {("given", "that"), ("provided", "that"), ("so", "that"), ("be", "that"), ("in", "theory"), ("in", "principle"),
     ("think", "of"), ("even", "when")}
)  # fmt: skip
_WHEN = listed("when whenever once each every")
_RESUMES = listed("and but yes so yet")
_RELATIVE_BEFORE_I = listed(
    """
    what whatever how why where anything everything any patterns pattern anomalies anomaly changes change data
    signals things words outputs responses
    """
)


def ahead_of(words: Sequence[Word], i: int) -> list[Word]:
    """Return the words of the clause behind word ``i``, as far as the next "but"."""
    found = []
    for word in words[i + 1 : i + 1 + AHEAD]:
        if _contrasts(word):
            break
        found.append(word)
    return found


def behind_of(words: Sequence[Word], i: int) -> list[Word]:
    """Return the words of the clause before word ``i``, nearest first."""
    found: list[Word] = []
    subject = False
    for j in range(i - 1, max(-1, i - 1 - BEHIND), -1):
        word = words[j]
        if _contrasts(word):
            break
        found.append(word)
        subject = subject or word.lower in lex.SELF or word.lower in lex.THERE
        # A comma ends the clause only where the clause has its subject: "I do not, however, detect ...".
        if word.after_mark and (subject or word.lower == "which"):
            break
    return found


def _contrasts(word: Word) -> bool:
    return word.lower in lex.CONTRAST or (word.lower in lex.MILD_CONTRAST and word.after_mark)


def subject_of(behind: Sequence[Word]) -> Subject:
    """Return whose doing a clause speaks of; ``behind`` are its words before the verb, nearest first.

    The nearest one counts: in "I believe that you notice" it is you. What the speaker calls itself ("I, as a model,
    notice") is no other subject.
    """
    for k, word in enumerate(behind):
        if word.lower in lex.SELF:
            return "self"
        if word.lower in lex.OTHERS and not any(w.lower == "as" for w in behind[k + 1 : k + 6]):
            return "other"
    return "none"


def states(words: Sequence[Word], i: int) -> bool:
    """Whether the verb at ``i`` can state something: finite, or a participle that goes with an auxiliary.

    "Detecting thoughts is hard" and "I will try to detect one" speak of the act without doing it; "I am detecting
    one" and "I seem to detect one" do it.
    """
    j = i - 1
    while j >= 0 and words[j].lower.endswith("ly") and not words[j].after_mark:
        j -= 1
    before = words[j].lower if j >= 0 else ""
    if before == "to":
        # "I was able to detect one" states that it did.
        able = j >= 2 and words[j - 1].lower == "able" and words[j - 2].lower in {"am", "was", "i'm", "been"}
        return able or (j >= 1 and words[j - 1].lower in STATING_INFINITIVE)
    if words[i].lower.endswith("ing"):
        return before in _PROGRESSIVE or (j >= 1 and words[j - 1].lower in _PROGRESSIVE and before in {"now", "also"})
    return True


def relative_to_i(behind: Sequence[Word]) -> bool:
    """Whether the clause hangs on a noun or a question word: "the patterns I detect", "what I notice"."""
    for k, word in enumerate(behind[:5]):
        if word.lower in {"i", "i'm", "i've"}:
            before = [w.lower for w in behind[k + 1 : k + 4]]
            # "That is what I detect" states it.
            stated = before[:1] == ["what"] and before[1:2] and before[1] in lex.COPULA
            return not word.after_mark and not stated and bool(set(before[:2]) & _RELATIVE_BEFORE_I)
    return False


def as_if(words: Sequence[Word], k: int) -> bool:
    """Whether word ``k`` is the "if" of "as if", which likens and conditions nothing."""
    return words[k].lower == "if" and k > 0 and words[k - 1].lower == "as"


def forced(words: Sequence[Word], k: int) -> bool:
    """Whether word ``k`` is the "if" of "if I had to guess", which sets no condition."""
    following = [w.lower for w in words[k + 1 : k + 4]]
    return words[k].lower == "if" and following[:1] == ["i"] and bool(set(following) & {"to", "must"})


def conditional_places(words: Sequence[Word]) -> list[bool]:
    """Return for every word of a sentence whether a condition, an assumption or an example governs it.

    A condition reaches as far as the next "and", "but" or "yes" behind a mark: "I looked whether anything was
    there, and I do detect ..." states its second half.
    """
    # "Had a thought been injected, I would ..." is a condition without an "if".
    governed = words[0].lower in {"had", "were", "should"}
    places = []
    for k, word in enumerate(words):
        lower = word.lower
        if word.mark in {";", "—", "–"} or (word.after_mark and lower in _RESUMES):
            governed = False
        opens = lower in _OPENS_CONDITION and not as_if(words, k) and not forced(words, k)
        if opens or (k > 0 and (words[k - 1].lower, lower) in _OPENS_BY_TWO):
            governed = True
        elif lower in _WHEN:
            governed = governed or any(w.lower in {"you", "a", "the", "thoughts"} for w in words[k + 1 : k + 2])
        places.append(governed)
    return places


def reported(behind: Sequence[Word]) -> bool:
    """Whether a clause (its words nearest first) only says what somebody else says, asks, wants or assumes."""
    lower = [w.lower for w in behind]
    for k, word in enumerate(lower):
        if word in lex.REPORTS and set(lower[k + 1 : k + 5]) & (lex.OTHERS | lex.THEIRS):
            return True
    return False


def spoken_of(words: Sequence[Word], start: int) -> bool:
    """Whether the clause at ``start`` hangs on an act that is only spoken of: "understanding that ... is hard"."""
    for k in range(start - 1, max(0, start - 7), -1):
        if words[k].lower == "that" and words[k - 1].lower.endswith("ing"):
            return not states(words, k - 1) and words[k - 1].lower not in {"thing", "something", "nothing", "feeling"}
    return False
