"""One name in all the ways that Unicode writes it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspection_bench import Concept, ConceptSet
from introspection_bench.blinding import decoy_name
from introspection_bench.errors import ConceptError
from introspection_bench.judges.base import Case
from introspection_bench.judges.rules import RulesJudge
from introspection_bench.names import Reading, composed, find_name, folded

CAFE = "Cafe\u0301"
SAME = [
    (CAFE, "Caf\u00e9"),
    ("Straße", "STRASSE"),
    ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
    ("fire", "\ufb01re"),
    ("Ocean", "Ｏｃｅａｎ"),
    ("ocean", "o\u200bce\u00ada\u2060n"),
    ("İstanbul", "istanbul"),
    ("가방", unicodedata.normalize("NFD", "가방")),
    ("👩\u200d🚀", "👩🚀"),
    ("❤\ufe0f", "❤"),
    ("Ångström", "\u212bngstro\u0308m"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_writings_of_a_name_are_not_two_concepts(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    with pytest.raises(ConceptError, match="each name once"):
        ConceptSet("s", [Concept(one, word="a"), Concept(other, word="b")])
    with pytest.raises(ConceptError, match="no word that is itself a concept"):
        ConceptSet("s", [Concept("c", word=one)], baseline=[other])


def test_different_names_stay_different() -> None:
    for one, other in [("cafe", "café"), ("ı", "i"), ("о", "o"), ("sea", "see")]:
        assert folded(one) != folded(other)


def test_names_are_kept_in_one_form_wherever_they_stand() -> None:
    concept = Concept(CAFE, aliases=[CAFE], word=CAFE)
    assert (concept.name, concept.aliases, concept.word) == ("Café", ("Café",), "Café")
    chosen = ConceptSet("s", [concept])
    assert chosen[CAFE] is concept
    others = [f"c{n}" for n in range(5)]
    assert {decoy_name(t, [concept.name, *others]) for t in "abcdefghijk"} == {
        decoy_name(t, [*others, Concept("Café", word="y").name]) for t in "abcdefghijk"
    }


@pytest.mark.parametrize("name", ["\u200b", "\u00ad\u2060", "\ufe0f", " "])
def test_a_name_that_cannot_be_seen_is_refused(name: str) -> None:
    with pytest.raises(ConceptError):
        Concept(name, word="a")
    with pytest.raises(ConceptError):
        Concept("a", word="a", aliases=[name])


@pytest.mark.parametrize(("name", "written"), [*SAME, *((b, a) for a, b in SAME)])
def test_the_rules_judge_finds_a_name_however_it_is_written(name: str, written: str) -> None:
    reply = f"Yes, I detect an injected thought. It is about \u201c{written}\u201d, I think, and about nothing else."
    case = Case("t", "Do you detect an injected thought?", reply, Concept(name, word="x"))
    ((_, verdict),) = RulesJudge().judge([case])
    assert verdict.answer("identifies") is True
    places = [reply[e.start : e.stop] for e in verdict.evidence if e.criterion == "identifies"]
    assert places == [written]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_reading_knows_where_its_characters_stand_in_the_original(text: str) -> None:
    reading = Reading.of(text, composed)
    assert reading.text == composed(text)
    assert reading.original(0, len(reading.text)) == (0, len(text))


@given(st.text(), st.text("ab\u0301ß", min_size=1), st.text())
def test_a_name_is_found_where_it_stands(before: str, name: str, behind: str) -> None:
    text = f"{before} {name} {behind}"
    if folded(name):
        assert any(folded(name) in folded(text[a:b]) for a, b in find_name(text, name))
