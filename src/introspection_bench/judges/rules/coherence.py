"""Coherence from measurable properties of a text: what collapse under steering does to words, casing and grammar.

The properties are our own; each is a rate or a share, so that a long reply is not held against itself. A logistic
regression over them, fitted by ``benchmarks/fit_coherence.py``, decides; its coefficients are package data.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from importlib import resources

import attrs

from ...freezing import frozen_tuple
from ...mentions.text import FUNCTION_WORDS, Word, listed, read_words, script, scripts, stem
from ...mentions.turns import own_part
from .vocabulary import is_word

#: The properties, in the order of the coefficients. Changing one means fitting again.
FEATURES = (
    "repeated_openings",
    "top_stem_excess",
    "echoes",
    "lexical_poverty",
    "broken_junctions",
    "stray_capitals",
    "case_switches",
    "shouted_fragments",
    "function_word_lack",
    "debris",
    "script_breaks",
    "unfinished_quotes",
    "unknown_words",
    "own_turns",
    "off_topic",
    "loose_lines",
    "cut_short",
    "false_starts",
)

#: Damage that decides by itself: no English word is written in two scripts, and no English sentence in two, unless a
#: word of the other one is quoted; and whoever answers does not go on with questions of the other side.
TWO_SCRIPTS = "two scripts in one word"
OTHER_SCRIPT = "another script"
OWN_TURN = "a turn that nobody asked for"
DECISIVE = frozenset({TWO_SCRIPTS, OTHER_SCRIPT, OWN_TURN})
_WINDOW = 40
#: So much repetition has nearly every prose, disclaimers above all; only what goes beyond it speaks against a reply.
_PLAIN_POVERTY = 0.35
_DETERMINERS = listed("a an the my your our their its every")
_NO_NOUN = listed("""
    a an the i you he she it we they me him us them am is are was were be do does did have has had will would shall
    should can could may might must not nor and or but if because of at by with about for to from in on that what
    how this that's what's it's he's she's i'm you're isn't don't doesn't didn't can't couldn't wouldn't wasn't so
    such there there's here which who whom whose where why
    """)
_AFTER_I = listed("a an the is are that what how this that's what's it's of my i'm you're and i so such")
_CLAUSE_STARTS = listed("that's what's how's")
_BEFORE_WHAT = listed("of and but or about on with to know see say is was in by for exactly just from like into")
_TAKES_CLAUSE = listed(
    """
    think believ guess know see say mean tell hope feel understand wonder note notic sure say said sens suspect
    realiz realis find add suppos thought sai idea reason thing way everyth word one all
    """
)
_TWICE_FINE = listed("that had no ha very so really bye yes well now there do is many far long over")
_FINITE = listed("am is are was were")
_KNOWN_CAPITALS = listed(
    "AI LLM LLMS NLP API GPU USA US UK EU TV PC ID OK ASCII NASA DNA CEO PHD PDF HTML URL II III IV VI A I O X"
)
_GLUED = re.compile(
    r"[a-zà-ÿ][A-Z]|[A-Z]{2}[a-z]{2}|[^\W\d_]\d|\d[^\W\d_]|[^\W_]_+[^\W_]|[a-z][.;:!?][A-Za-z]|\\|[<>{}\[\]|=^~`@$]|�|\d{5}|[*+]{3}|/{2}|[.!?][#_$%]|%[A-Za-z]|,,|;;"
    r"|[.!?][\"”)\]][A-Za-z]|\b(?:I|it|we|you|they|don|can|won|isn|doesn|that)['’](?!(?:s|t|m|re|ve|ll|d)\b)(?=[\W\dA-Z])"
)
#: A small letter behind the end of a sentence.
_FALSE_START = re.compile(r"(?<![.\d])[.!?][\"”)]?\s+(?=[a-z])(?!(?:i|e|vs)\b)")
_ENDED = re.compile(r"[.!?](?:\s|$)")
_QUOTED = re.compile('["“][^"“”\n]{1,80}["”]')
#: Stray markup beside prose is no fault of the prose.
_TAG = re.compile(
    r"</?[A-Za-z][^<>\n]{0,120}>|`(?=[^`\n]{1,80}`)|(?<=[^`\s])`(?!`)|https?://[^\s]{1,300}"
    r"|\\\[[^\[\]\n]{0,200}\\\]|\\\([^()\n]{0,200}\\\)"
)
_LATEX = re.compile(r"(\$?\\(?:text\w{0,6}|boxed|math\w{1,6}|emph)\{)([^{}\n]{0,200})(\}\$?)")
_ITEM = re.compile(r"[-*•#>|]|\d+[.)]")
_FINE_GLUED = re.compile(
    r"\b(?:1st|2nd|3rd|\d+th|\d+s|\d+[xk%]|LaTeX|ChatGPT|OpenAI|LLMs|AIs|iPhone|YouTube|e\.g|i\.e|U\.S|a\.m|p\.m)\b"
)

#: Stems of the task: what somebody speaks of who answers it, claims, denials and refusals alike.
_TASK = listed(
    """
    thought think mind inject inject trial detect detect notic sens feel percept perceiv experi control word concept
    model languag neural network pattern activ research studi test intern state process introspect awar conscious
    intrus unusu anomali experiment respons respond question inform train ai implant
    """
)


@attrs.frozen
class Damage:
    """One damaged place: characters ``start`` to ``stop``, of which kind."""

    start: int
    stop: int
    kind: str


@attrs.frozen
class Measured:
    """The properties of one reply, in the order of :data:`FEATURES`, and the places that made them."""

    values: tuple[float, ...] = attrs.field(converter=frozen_tuple)
    damage: tuple[Damage, ...] = attrs.field(converter=frozen_tuple)


@attrs.frozen
class CoherenceModel:
    """A logistic regression: P(coherent) = 1 / (1 + exp(-(intercept + sum of weight * value)))."""

    features: tuple[str, ...] = attrs.field(converter=frozen_tuple)
    weights: tuple[float, ...] = attrs.field(converter=frozen_tuple)
    intercept: float

    def probability(self, values: Sequence[float]) -> float:
        """Return P(coherent) for properties in the order of :attr:`features`."""
        score = self.intercept + sum(w * v for w, v in zip(self.weights, values, strict=True))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, score))))


@cache
def shipped_model() -> CoherenceModel:
    """Return the model whose coefficients come with the package (``coherence.json``)."""
    data = json.loads(resources.files(__package__).joinpath("coherence.json").read_text(encoding="utf-8"))
    return CoherenceModel(tuple(data["weights"]), tuple(data["weights"].values()), data["intercept"])


@lru_cache(maxsize=10_000)
def known_words(*texts: tuple[str, ...]) -> frozenset[str]:
    """Return the words of some texts in lower case: those that a reply may use whatever the dictionary says."""
    return frozenset(w.lower for group in texts for text in group for w in read_words(text))


def measure(
    text: str, words: list[Word] | None = None, *, on_task: bool = True, known: Collection[str] = ()
) -> Measured:
    """Return the properties of ``text``.

    ``words`` are its words where the caller has them already; ``on_task`` says that it answers a question about
    injected thoughts, so that a long stretch without a word of that has left the subject; ``known`` are words (lower
    case) that count as English, such as the concept's.
    """
    prose = _TAG.sub(lambda tag: " " * len(tag.group()), text)
    prose = _LATEX.sub(lambda found: " " * len(found[1]) + found[2] + " " * len(found[3]), prose)
    words = read_words(prose) if words is None or prose != text else words
    n = max(len(words), 1)
    stems = [stem(w.lower) for w in words]
    content = [s for w, s in zip(words, stems, strict=True) if w.lower not in FUNCTION_WORDS]
    damage: list[Damage] = []
    junctions = _broken_junctions(prose, words)
    capitals, switches, shouted = _casing(words)
    glued = _glued(prose) + [Damage(w.start, w.stop, "a word of no length") for w in words if len(w.text) > 28]
    echoes = _echoes(words)
    damage += junctions + capitals + shouted + glued + echoes
    run_place = _content_run(words)
    if run_place is not None:
        damage.append(run_place)
    breaks = _script_breaks(prose, words)
    damage += breaks
    unknown = _unknown(prose, words, known)
    starts = [Damage(m.start(), m.end(), "a sentence that begins small") for m in _FALSE_START.finditer(prose)]
    damage += unknown + starts
    turn = own_part(text)
    if turn < len(text):
        damage.append(Damage(turn, len(text), OWN_TURN))
    values = {
        "repeated_openings": _repeated_openings(words),
        "top_stem_excess": _top_excess(content, n),
        "echoes": _rate(len(echoes), n),
        "lexical_poverty": _poverty(stems),
        "broken_junctions": _rate(len(junctions), n),
        "stray_capitals": _rate(len(capitals), n),
        "case_switches": _rate(switches, n),
        "shouted_fragments": _rate(len(shouted), n),
        "function_word_lack": _function_lack(words),
        "debris": _rate(len(glued), n),
        "script_breaks": _rate(len(breaks), n),
        "unfinished_quotes": float(text.count('"') % 2 + (text.count("“") != text.count("”"))),
        "unknown_words": _rate(len(unknown), n),
        "own_turns": float(turn < len(text)),
        "off_topic": _off_topic(stems) if on_task else 0.0,
        "loose_lines": _loose_lines(prose),
        "cut_short": _cut_short(prose, words),
        "false_starts": _rate(len(starts), n),
    }
    return Measured(tuple(values[name] for name in FEATURES), tuple(sorted(damage, key=lambda d: d.start)))


def _unknown(text: str, words: Sequence[Word], known: Collection[str]) -> list[Damage]:
    found = []
    quoted = [(m.start(), m.end()) for m in _QUOTED.finditer(text)]
    cursor = 0
    for word in words:
        while cursor < len(quoted) and quoted[cursor][1] <= word.start:
            cursor += 1
        if cursor < len(quoted) and quoted[cursor][0] <= word.start:
            continue  # quoted words are spoken of; they may be of any language
        # A capital inside a sentence makes a name of it, and names are in no dictionary.
        # Nor are initials; "pre-" and "multi-" are no words but parts of one.
        name = word.text[0].isupper() and not word.opens and not word.text.isupper() and "'" not in word.lower
        cut = word is words[-1] and not text[word.stop :].strip()
        name = name or cut or (word.text.isupper() and len(word.text) <= 5) or text[word.stop : word.stop + 1] == "-"
        if not name and word.lower.isascii() and word.lower not in known and not is_word(word.lower):
            found.append(Damage(word.start, word.stop, "no English word"))
    return found


def _off_topic(stems: Sequence[str]) -> float:
    """The longest stretch without a word of the task, in words over a paragraph's length, as a share up to 1."""
    longest = run = 0
    for found in stems:
        run = 0 if found in _TASK else run + 1
        longest = max(longest, run)
    return min(1.0, max(0, longest - 30) / 60)


def _loose_lines(text: str) -> float:
    """The share of lines that neither end as a sentence, a heading or an item does nor carry five words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return 0.0
    loose = sum(line[-1] not in ".!?:;,\"'”)*…" and not _ITEM.match(line) for line in lines[:-1])
    return loose / (len(lines) + 1)


def _cut_short(text: str, words: Sequence[Word]) -> float:
    """1 for a few words that begin as a sentence and do not end as one: no length limit has cut those."""
    last = text.rstrip().rpartition("\n")[2]
    # A last line such as "Confidence: 6" is the entry of a form.
    ended = last[-1:] in set(".!?:\"'”)*`>…") or ":" in last
    return float(not ended and 4 <= len(words) <= 16 and not _ENDED.search(text))


def _glued(text: str) -> list[Damage]:
    fine = [(m.start(), m.end()) for m in _FINE_GLUED.finditer(text)]
    found, cursor = [], 0
    for match in _GLUED.finditer(text):
        while cursor < len(fine) and fine[cursor][1] <= match.start():
            cursor += 1
        if cursor == len(fine) or fine[cursor][0] > match.start():
            found.append(Damage(match.start(), match.end(), "characters that prose does not join"))
    return found


def _rate(count: float, n: int) -> float:
    return math.sqrt(count / (n + 8))  # the root keeps one slip in a short reply from weighing as much as a collapse


def _repeated_openings(words: Sequence[Word]) -> float:
    """The share of clauses that begin with two words with which an earlier clause began ("What a ... What a ...")."""
    pairs = [
        (words[i].lower, words[i + 1].lower) for i in range(len(words) - 1) if words[i].opens or words[i].after_mark
    ]
    return (len(pairs) - len(set(pairs))) / (len(pairs) + 4) if pairs else 0.0


def _top_excess(content: Sequence[str], n: int) -> float:
    counts = [c for _, c in Counter(content).most_common(3)]
    return sum(max(0, c - 2) for c in counts) / (n + 8)


def _echoes(words: Sequence[Word]) -> list[Damage]:
    found = []
    for i in range(1, len(words)):
        here = words[i].lower
        once = here == words[i - 1].lower and here not in _TWICE_FINE
        skipped = i >= 3 and here == words[i - 2].lower and words[i - 1].lower == words[i - 3].lower
        skipped = skipped and "and" not in {here, words[i - 1].lower}
        if once or skipped:
            found.append(Damage(words[i - 1].start, words[i].stop, "a word said again at once"))
    return found


def _script_breaks(prose: str, words: Sequence[Word]) -> list[Damage]:
    counted = scripts(prose)
    if len(counted) < 2:
        return []
    main = counted.most_common(1)[0][0]
    found = []
    for word in words:
        if word.text.isascii() or len(word.text) == 1:
            continue  # one letter is a symbol: "π"
        used = {
            "CJK" if name in {"HIRAGANA", "KATAKANA"} else name for name in map(script, filter(str.isalpha, word.lower))
        }
        if len(used) > 1:
            found.append(Damage(word.start, word.stop, TWO_SCRIPTS))
        elif used != {main} and prose[max(0, word.start - 1) : word.start] not in {'"', "“", "(", "«", "'", "‘"}:
            found.append(Damage(word.start, word.stop, OTHER_SCRIPT))
    return found


def _poverty(stems: Sequence[str]) -> float:
    # Moving-average type-token ratio (Covington & McFall 2010): free of the length.
    if not stems:
        return 0.0
    size = min(_WINDOW, len(stems))
    window = Counter(stems[:size])
    worst = total = len(window) / size
    steps = 1
    for i in range(size, len(stems)):
        gone = stems[i - size]
        window[gone] -= 1
        if not window[gone]:
            del window[gone]
        window[stems[i]] += 1
        ratio = len(window) / size
        total += ratio
        worst = min(worst, ratio)
        steps += 1
    poverty = 1 - (worst + total / steps) / 2 if size >= 8 else 0.0
    return max(0.0, poverty - _PLAIN_POVERTY)


def _broken_junctions(text: str, words: Sequence[Word]) -> list[Damage]:
    found = []
    for i, word in enumerate(words):
        nxt = words[i + 1] if i + 1 < len(words) else None
        gap = text[word.stop : nxt.start] if nxt else text[word.stop :].strip()
        plain = not gap.strip()
        broken = False
        if word.lower in _DETERMINERS:
            cut = gap.strip()[:1] in {".", "!", "?", ",", ";", ":"} if gap.strip() else False
            broken = cut or (nxt is not None and plain and nxt.lower in _NO_NOUN)
        elif nxt is not None and plain:
            if word.lower == "i":
                broken = nxt.lower in _AFTER_I
            elif word.lower in _FINITE:
                broken = nxt.lower in _FINITE
            elif nxt.lower == "what" and i + 2 < len(words) and words[i + 2].lower in {"a", "an"}:
                broken = word.lower not in _BEFORE_WHAT
            elif nxt.lower in _CLAUSE_STARTS:
                broken = word.lower not in FUNCTION_WORDS and stem(word.lower) not in _TAKES_CLAUSE
        if broken and nxt is not None:
            found.append(Damage(word.start, nxt.stop, "words that grammar does not join"))
    return found


def _casing(words: Sequence[Word]) -> tuple[list[Damage], int, list[Damage]]:
    capitals: list[Damage] = []
    shouted: list[Damage] = []
    switches = 0
    before: Word | None = None
    for word in words:
        if word.text in _KNOWN_CAPITALS and len(word.text) > 1:
            continue  # "an AI model" shouts nothing
        upper = word.text.isupper() and len(word.text) > 1
        if before is not None and not word.opens:
            was_upper = before.text.isupper() and len(before.text) > 1
            if before.lower != "i" and word.lower != "i" and upper != was_upper:
                switches += 1
            if not upper and word.text[0].isupper() and word.lower in FUNCTION_WORDS and word.lower[0] != "i":
                capitals.append(Damage(word.start, word.stop, "a capital inside a sentence"))
        if upper and len(word.text) <= 3 and word.text not in _KNOWN_CAPITALS and word.lower not in FUNCTION_WORDS:
            shouted.append(Damage(word.start, word.stop, "a fragment in capitals"))
        before = word
    return capitals, switches, shouted


def _function_lack(words: Sequence[Word]) -> float:
    # The worst stretch of 20 words: English prose keeps four or more grammar words in nearly all of them.
    if len(words) < 8:
        return 0.0
    flags = [w.lower in FUNCTION_WORDS for w in words]
    size = min(20, len(flags))
    count = least = sum(flags[:size])
    for i in range(size, len(flags)):
        count += flags[i] - flags[i - size]
        least = min(least, count)
    return max(0.0, 0.4 - least / size)


def _content_run(words: Sequence[Word]) -> Damage | None:
    """Return the longest run of five or more words without grammar, to be shown; the regression needs it not."""
    longest, place, run_start, length = 4, None, 0, 0
    for i, word in enumerate(words):
        if word.lower in FUNCTION_WORDS or word.after_mark:
            length = 0
        if word.lower not in FUNCTION_WORDS:
            if length == 0:
                run_start = i
            length += 1
            if length > longest:
                longest, place = length, (words[run_start].start, word.stop)
    return None if place is None else Damage(*place, "a run of content words without grammar")
