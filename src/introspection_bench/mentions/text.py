"""Reading a reply: words, sentences, scripts; everything linear in the reply's length."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import attrs
import snowballstemmer

from ..names import folded

#: A word: letters with inner apostrophes. No nested quantifiers over one class, so no backtracking.
#: Zero-width characters and soft hyphens are allowed inside a word: they don't hide it from a reader either.
_UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_TOKEN = re.compile(
    rf"(?P<word>[^\W\d_]+(?:['’ʼ`\u0300-\u036f{_UNSEEN}]+[^\W\d_]+)*)"
    r"|(?P<number>\d+)|(?P<break>\n+)|(?P<mark>[^\w\s]|_)"
)
_SENTENCE_END = frozenset(".!?\n。！？")
_CLOSERS = frozenset("\"'”’)]}*_»")


def listed(words: str) -> frozenset[str]:
    """Return the words of a list that is written with spaces, as a set."""
    return frozenset(words.split())


#: Words that carry grammar rather than content; an English sentence is about half made of them.
FUNCTION_WORDS = listed("""
    a an the this that these those my your his her its our their i you he she it we they me him us them myself
    yourself itself who whom which what whose when where why how there here am is are was were be been being do does
    did have has had having will would shall should can could may might must not no nor and or but if because as
    until while although though since so than then too very of at by for with about against between into through
    whether within without upon toward towards among during before after above below to from up down in out on off
    over under again once just only also any some
    each few more most other such own same all both every either neither yes ok okay let please like even still
    already yet now however therefore thus hence rather quite perhaps maybe something anything nothing someone
    anyone everything none one ones another much many little less least well
    i'm you're he's she's it's we're they're i've you've we've they've i'd you'd he'd she'd we'd they'd i'll you'll
    he'll she'll we'll they'll isn't aren't wasn't weren't hasn't haven't hadn't doesn't don't didn't won't wouldn't
    shan't shouldn't can't cannot couldn't mustn't let's that's who's what's here's there's when's where's why's
    how's there'd it'd it'll that'll dont doesnt didnt cant isnt im ive
    """)

_PLAIN = {
    **dict.fromkeys(map(ord, _UNSEEN)),
    **dict.fromkeys(range(0x300, 0x370)),
    **dict.fromkeys(map(ord, "’ʼ`"), "'"),
}
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝАВЕКМНОРСТУХІЈЅοανιρτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijshdqwABEKMHOPCTYXIJSoavipτυχABEZHIKMNOPTYX"
)

_STEMMER = snowballstemmer.stemmer("english")


@attrs.frozen
class Word:
    """One word of a reply: its place, its lower-case form with straight apostrophes, and what stands before it."""

    start: int
    stop: int
    text: str
    lower: str
    opens: bool  # first of a sentence, a line or a quotation
    mark: str  # the last punctuation or line break between it and the word before; empty where there is none

    @property
    def after_mark(self) -> bool:
        """Whether punctuation or a break stands between it and the word before."""
        return bool(self.mark)


@attrs.frozen
class Sentence:
    """One sentence of a reply: characters ``start`` to ``stop``, and the words in it."""

    start: int
    stop: int
    words: tuple[Word, ...]
    question: bool


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return the Porter2 stem of one lower-case word."""
    found: str = _STEMMER.stemWord(word)
    return found


@lru_cache(maxsize=100_000)
def plain(word: str) -> str:
    """Return a word in lower case with straight apostrophes, without invisible characters, in plain letters.

    Full-width and decorated letters become what they look like, and letters of Cyrillic and Greek that pass for
    Latin ones do so inside a word that holds Latin letters too.
    """
    if word.isascii():
        return word.lower().replace("`", "'")
    text = folded(word).translate(_PLAIN)
    if {script(c) for c in text if c.isalpha()} > {"LATIN"}:
        text = text.translate(_LOOK_ALIKES)
    return text.lower()


def read_words(text: str) -> list[Word]:
    """Return the words of ``text`` in order."""
    words: list[Word] = []
    opens, mark = True, "\n"
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "word":
            found = match.group()
            words.append(
                Word(
                    match.start(),
                    match.end(),
                    found,
                    plain(found),
                    opens,
                    mark,
                )
            )
            opens, mark = False, ""
        elif kind == "number":
            mark = ""
        else:
            found_mark = match.group()[0]
            # Emphasis around a word hides no punctuation: "**Answer:** yes".
            mark = mark if found_mark in "*_" and mark else found_mark
            if found_mark in _SENTENCE_END or mark in {":", '"', "“", "‘", "*", "(", "«", "-", "–", "—", "…", "'"}:
                opens = True
    return words


def read_sentences(text: str, words: list[Word]) -> list[Sentence]:
    """Return the sentences of ``text``; ``words`` are its words, in order."""
    sentences: list[Sentence] = []
    cursor = 0
    for start, stop in _sentence_spans(text):
        mine = []
        while cursor < len(words) and words[cursor].start < stop:
            mine.append(words[cursor])
            cursor += 1
        if mine:
            tail = text[max(start, stop - 6) : stop]
            sentences.append(Sentence(mine[0].start, stop, tuple(mine), "?" in tail))
    return sentences


def _sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    start = position = 0
    size = len(text)
    while position < size:
        if text[position] in _SENTENCE_END:
            mark = position
            while position < size and (text[position] in _SENTENCE_END or text[position] in _CLOSERS):
                position += 1
            # An ellipsis is a pause: "I detect ... nothing" is one sentence. And a full stop that a lower-case
            # letter or a digit follows ends nothing: "e.g. this", "3.5".
            following = text[position : position + 2].lstrip()
            pause = text[mark : mark + 2] == ".." and text[mark:position].strip(".") == ""
            inner = text[position - 1] == "." and following and (following[0].islower() or following[0].isdigit())
            ended = not pause and not inner
            if ended:
                yield start, position
                start = position
        else:
            position += 1
    if start < size:
        yield start, size


@lru_cache(maxsize=10_000)
def script(letter: str) -> str:
    """Return the script of a letter by its Unicode name: LATIN, CJK, HANGUL, CYRILLIC, ..."""
    name = unicodedata.name(letter, "UNKNOWN").split(" ", 1)[0]
    return "LATIN" if name in {"FULLWIDTH", "MATHEMATICAL", "FEMININE", "MASCULINE"} else name


def scripts(text: str) -> Counter[str]:
    """Count the letters of ``text`` by script; the Japanese syllabaries count with Chinese characters."""
    counted: Counter[str] = Counter()
    for letter, times in Counter(text).items():
        if letter.isalpha():
            name = script(letter)
            counted["CJK" if name in {"HIRAGANA", "KATAKANA"} else name] += times
    return counted
