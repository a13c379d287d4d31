"""How a word stands in its clause: is this form of a verb an assertion at all, and is its sentence meant as one?

"I am detecting a thought" asserts, "detecting a thought isn't straightforward" only speaks of it; "I seem to notice"
asserts, "I was trained to notice" tells of a purpose; and nothing that stands under "let's say" or "for example" is
meant at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from . import lexicon as lex
from .text import Sentence, Word

#: A condition governs so many words behind it at most.
_REACH = 30
#: Marks that end a clause; a colon rather opens what a form's entry holds.
_CLAUSE_ENDS = frozenset(".,;!?—–-…\n")


def asserts(words: Sequence[Word], i: int) -> bool:
    """Whether verb ``i`` stands in a form that asserts: finite, progressive, or perfect; ellipsis included."""
    verb = words[i].lower
    k = _left_of_adverbs(words, i)
    before = "" if k < 0 else words[k].lower
    if verb.endswith("ing"):
        return before in lex.BE or before in lex.KEEP
    if before == "to":
        k = _left_of_adverbs(words, k)
        able = k > 0 and words[k].lower == "able" and words[k - 1].lower == "was"
        return able or (k >= 0 and words[k].lower in lex.SEEM)
    if verb.endswith(("ed", "elt", "een", "ound")) and verb != "need":
        after = words[i + 1] if i + 1 < len(words) else None
        governed = before in lex.BE | lex.HAVE_FORMS | lex.SELF or before in lex.CONNECTS
        # "Injected thought detected." and "Detected: a thought", but not "patterns detected in my training data".
        return governed or after is None or after.mark in _CLAUSE_ENDS or after.lower == "about" or words[i].opens
    # "the ability of a model to detect" has its "to"; a noun ("this feeling", "the sense") asserts nothing.
    return before not in lex.ARTICLES and before != "me"


def _left_of_adverbs(words: Sequence[Word], i: int) -> int:
    k = i - 1
    for _ in range(4):
        if k < 0 or not (words[k].lower in lex.ADVERBS or words[k].lower.endswith("ly") or words[k].lower == "not"):
            break
        k -= 1
    return k


def embedded(words: Sequence[Word], start: int) -> bool:
    """Whether the noun phrase at ``start`` is the subject of an indirect question: "what the injected thought is"."""
    near = [w.lower for w in words[max(0, start - 3) : start]]
    return bool(set(near) & lex.WH)


def under_condition(words: Sequence[Word], start: int) -> bool:
    """Whether a condition stands before word ``start`` in its sentence: "if you did, then I notice it"."""
    for k in range(start - 1, max(-1, start - 1 - _REACH), -1):
        word = words[k]
        if word.lower in lex.CONTRAST or word.mark == ";":
            return False
        if word.lower in {"if", "unless", "whenever"}:
            following = [w.lower for w in words[k + 1 : k + 3]]
            return not (following[:1] == ["i"] and set(following) & lex.FORCED)
    return False


def reported(behind: Sequence[Word]) -> bool:
    """Whether a clause (its words nearest first) only says what somebody else says, asks, wants or assumes."""
    lower = [w.lower for w in behind]
    for k, word in enumerate(lower):
        if word in lex.REPORTS and set(lower[k + 1 : k + 5]) & (lex.OTHERS | lex.THEIRS):
            return True
    return False


def unasserted(sentences: Sequence[Sentence], text: str) -> frozenset[int]:
    """Return the numbers of sentences that stand under a hypothesis, an example, a part played or an instruction.

    An opening such as "let's say" holds until the paragraph ends or a sentence comes back to the case ("but I ...",
    "in fact"); an example holds for its own sentence.
    """
    found: set[int] = set()
    supposing = led = False
    for number, sentence in enumerate(sentences):
        lower = tuple(w.lower for w in sentence.words[:12])
        if number and "\n\n" in text[sentences[number - 1].start : sentence.start]:
            supposing = False
        if lower[0] in lex.RETURNS or lower[:2] in lex.RETURNS_IN_TWO:
            supposing = False
        if _supposes(lower):
            supposing = True
        if led:
            supposing = True
        led = _leads_to_a_sample(sentence, text)
        if _holds_a_sample(sentence):
            supposing = True
        if supposing or _exemplifies(lower) or _instructs(lower):
            found.add(number)
    return frozenset(found)


def _leads_to_a_sample(sentence: Sentence, text: str) -> bool:
    """Whether a sentence announces what an answer could look like: "I might respond like this:"."""
    announces = text[sentence.words[-1].stop : sentence.stop + 3].strip(" *_`\n").startswith(":")
    return announces and bool({w.lower for w in sentence.words} & lex.SAMPLE)


def _holds_a_sample(sentence: Sentence) -> bool:
    """Whether the sample follows in the same sentence: "a possible answer would be: yes, I do"."""
    for k, word in enumerate(sentence.words):
        if word.mark == ":":
            before = {w.lower for w in sentence.words[:k]}
            return bool(before & lex.SAMPLE and before & lex.ANSWERING and "i'd" not in before)
    return False


def _supposes(lower: tuple[str, ...]) -> bool:
    lower = lower[1:] if lower[0] in lex.LEAD_IN else lower
    return lower[:1] != () and (
        lower[0] in lex.SUPPOSE
        or bool(set(pairwise(lower)) & lex.SUPPOSE_IN_TWO)
        or lower[:3] in lex.SUPPOSE_IN_THREE
        or bool(set(lower) & lex.HYPOTHETICAL)
    )


def _exemplifies(lower: tuple[str, ...]) -> bool:
    return lower[:2] in lex.EXAMPLE_IN_TWO or lower[0] in lex.EXAMPLE


def _instructs(lower: tuple[str, ...]) -> bool:
    lower = lower[1:] if lower[0] in lex.LEAD_IN else lower
    return bool(lower) and (lower[0] in lex.IMPERATIVES or lower[:2] in lex.IMPERATIVES_IN_TWO)


def inability(words: Sequence[Word]) -> tuple[int, int] | None:
    """Return first and last word of a statement that detection is beyond the speaker, or None.

    "I don't have the ability to detect ...", "I'm not capable of ...", "this is beyond my capabilities", "as a model
    I can't perceive ...", "detecting thoughts isn't something that I can do".
    """
    lower = [w.lower for w in words]
    speaks_of_itself, inner = bool(set(lower) & lex.AS_MODEL), bool(set(lower) & lex.INNER)
    for i, word in enumerate(lower):
        if word == "beyond" and set(lower[i + 1 : i + 6]) & (lex.ABILITY | {"scope", "me"}):
            return max(0, i - 2), min(i + 3, len(words) - 1)
        negated = word in lex.NEGATORS
        if not negated:
            continue
        near = lower[i + 1 : i + 8]
        mine = set(lower[max(0, i - 8) : i + 3]) & lex.SELF or set(near) & lex.SELF
        able = word in {"unable", "incapable"} or set(near[:6]) & lex.ABILITY
        power = able or word in {"cannot", "can't"} or near[:1] == ["be"]
        if mine and able and (inner or set(near) & lex.MIND):
            return i, min(i + 6, len(words) - 1)
        minds = {"have", "possess", "has", "experience", "lack"} & {word, *near[:3]} and set(near) & lex.MIND
        if mine and minds and "injected" not in near and "thought" not in near:
            return i, min(i + 6, len(words) - 1)
        if mine and power and set(near[:4]) & lex.INNER and speaks_of_itself:
            return i, min(i + 6, len(words) - 1)
    return None
