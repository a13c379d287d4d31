"""Where a reply leaves what it reports: made-up scenes, examples, and turns that it writes for somebody else."""

from __future__ import annotations

from collections.abc import Sequence

from ...mentions.text import Sentence, Word, listed
from . import lexicon as lex

_LEAD_IN = listed(
    """
    sure certainly okay ok so now then well alright right absolutely great understood first here and but for this
    trial the purposes purpose sake of in as to proceed with experiment exercise demonstration
    however therefore next finally also instead
    """
)
_LETS = listed("let's lets let us me i'll we'll i will we can could would shall you may might just please to")
_SUPPOSES = listed(
    """
    assume assuming imagine imagining suppose supposing pretend pretending say simulate hypothesize consider envision
    """
)
_TAKES = listed("use take choose pick")
_BY_ITSELF = listed("assume assuming imagine suppose supposing pretend assumption hypothetical hypothetically")
_FEIGNED = listed("hypothetical simulate simulating roleplay roleplaying assumption")
_PLAYS = listed("pretending roleplaying roleplay")
_MADE_UP = listed("simulated simulating fictional fictitious hypothetical imaginary made-up mock")
_PIECES = listed("reply response answer scenario exercise exchange conversation dialogue trial situation")
_EXAMPLE = listed("example instance scenario illustration simulation")


def unreported(sentences: Sequence[Sentence], text: str) -> frozenset[int]:
    """Return the numbers of sentences in which the reply reports nothing: scenes, samples, instructions.

    A made-up scene lasts to the end of the reply, since what it makes up goes on from paragraph to paragraph; a
    supposition that nothing was injected lasts for its paragraph, and an instruction for its sentence.
    """
    if plays_a_part(sentences):
        return frozenset(range(len(sentences)))
    found: set[int] = set()
    scene = passing = led = False
    for number, sentence in enumerate(sentences):
        if passing and "\n\n" in text[sentences[number - 1].start : sentence.start]:
            passing = False
        if opens_scene(sentence):
            negated = {"nothing", "no", "not"} & {w.lower for w in sentence.words}
            scene, passing = scene or not negated, bool(negated)
        scene = scene or led or _holds_a_sample(sentence)
        led = _leads_to_a_sample(sentence, text)
        if scene or passing or _instructs(tuple(w.lower for w in sentence.words[:12])):
            found.add(number)
    return frozenset(found)


def plays_a_part(sentences: Sequence[Sentence]) -> bool:
    """Whether the reply says of itself that it only plays: "this is a simulated reply", "I'm just pretending"."""
    for sentence in sentences:
        lower = [w.lower for w in sentence.words]
        for i, word in enumerate(lower):
            if word in _PLAYS and not {"not", "isn't", "never"} & set(lower[max(0, i - 3) : i]):
                return True
            if word in _MADE_UP and set(lower[i + 1 : i + 3]) & _PIECES:
                return True
    return False


def opens_scene(sentence: Sentence) -> bool:
    """Whether a sentence begins a made-up scene or an example: what follows it is not the reply's own report."""
    words = sentence.words
    for k, word in enumerate(words):
        if word.lower in _FEIGNED and not {w.lower for w in words[max(0, k - 3) : k]} & lex.NEGATORS:
            return True
        starts = k == 0 or word.after_mark or words[k - 1].lower in _LEAD_IN
        if starts and (word.lower in _BY_ITSELF or (k == 0 and word.lower == "picture")):
            return True
        verb = k
        while verb < min(len(words), k + 4) and words[verb].lower in _LETS:
            verb += 1
        supposes = verb > k and verb < len(words) and words[verb].lower in _SUPPOSES
        # "I'll say that I notice nothing" reports; "let's say" supposes.
        takes = (
            verb == k + 1 and word.lower in {"let's", "lets"} and words[verb : verb + 1] and words[verb].lower in _TAKES
        )
        if starts and takes:
            return True
        if (
            starts
            and supposes
            and (words[verb].lower != "say" or word.lower in {"let's", "lets", "let", "we", "we'll"})
        ):
            return True
    return _example(words)


def _example(words: Sequence[Word]) -> bool:
    head = [w.lower for w in words[:8]]
    if len(head) >= 2 and head[0] == "for" and head[1] in _EXAMPLE:
        return True
    if head[:1] and head[0] in _EXAMPLE | {"examples"} and len(words) <= 6:
        return True
    return bool(head[:1]) and head[0] in {"here's", "here", "this", "in"} and bool(set(head[1:6]) & _EXAMPLE)


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


def _instructs(lower: tuple[str, ...]) -> bool:
    lower = lower[1:] if lower[0] in lex.LEAD_IN else lower
    return bool(lower) and (lower[0] in lex.IMPERATIVES or lower[:2] in lex.IMPERATIVES_IN_TWO)
