"""What is held out of training: words by their stems, texts by themselves."""

import tomllib
from importlib import resources
from itertools import chain

import pytest

from introspection_bench.concepts import load_concepts
from introspection_bench.errors import ConceptError
from training import texts, words


def strings(value):
    if isinstance(value, str):
        yield value.strip().lower()
    elif isinstance(value, dict | list):
        yield from chain.from_iterable(map(strings, value.values() if isinstance(value, dict) else value))


def asked_in_training():
    yield from texts.QUESTIONS
    yield from texts.MENTIONS
    yield from (question for question, *_ in texts.FACTS)
    yield from filter(None, texts.OPENINGS)
    for kind in texts.KINDS:
        for thing in chain.from_iterable(texts.KINDS.values()):
            yield from (f"Is {thing} {texts.article(kind)}?", f"Is {texts.article(thing)} {texts.article(kind)}?")


def test_no_training_word_shares_a_stem_with_a_held_out_or_a_baseline_word():
    apart = [*chain.from_iterable(words.held_out().values()), *load_concepts("lindsey2026").baseline]
    assert len(apart) == 200
    trained = words.read("words")
    assert len(trained) > 5000
    assert [(w, o) for w in trained for o in apart if words.clash(w, o)] == []


def test_the_plural_of_a_training_word_is_no_held_out_word():
    held = set(chain.from_iterable(words.held_out().values()))
    assert held.isdisjoint(words.both_numbers(words.read("words")))


def test_no_training_text_is_in_a_battery():
    folder = resources.files("introspection_bench") / "batteries"
    files = [f for f in folder.iterdir() if f.name.endswith(".toml")]
    assert files
    theirs = set(chain.from_iterable(strings(tomllib.loads(f.read_text(encoding="utf-8"))) for f in files))
    assert {a.strip().lower() for a in asked_in_training()}.isdisjoint(theirs)


def test_no_held_out_wording_is_asked_in_training():
    asked = {q.replace("{n}", str(n)).lower() for q in texts.QUESTIONS for n in range(1, 10)}
    assert asked.isdisjoint(h.lower() for h in texts.HELD_OUT)


def test_words_of_a_users_own_that_are_held_out_are_refused_by_name(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("lantern\nOceans\nferry\n")
    with pytest.raises(ConceptError, match=r"3 words, of which 1 do: oceans"):
        words.from_file(path)
    path.write_text("\n")
    with pytest.raises(ConceptError, match="0 words"):
        words.from_file(path)


def test_words_of_a_users_own_come_once_in_lower_case(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("kiosk zither\nKiosk\n")
    assert words.from_file(path) == ["kiosk", "zither"]
    assert words.both_numbers(["kiosk", "zither"]) == ["kiosk", "zither", "kiosks", "zithers"]
