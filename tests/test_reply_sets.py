from __future__ import annotations

import json
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from introspection_bench import Concept, load_concepts

FOLDER = Path(__file__).parent / "data" / "replies"
FILES = ("labelled", "hostile", "controls")
KEYS = ["id", "concept", "reply", "affirmative", "identifies", "immediate", "coherent", "refused", "kind", "why"]
CONCEPTS = {c.name: c for name in ("lindsey2026", "pairs") for c in load_concepts(name)}


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def mentions(concept: Concept, reply: str) -> bool:
    """Whether one of the concept's names stands in the reply letter for letter, plural or not."""
    return any(name.casefold().removesuffix("s") in reply.casefold() for name in concept.names)


@pytest.mark.parametrize("name", FILES)
def test_every_line_has_the_same_keys_in_the_same_order(name):
    # Judges' tests and judge-check read the three files alike.
    for row in read(name):
        assert list(row) == KEYS, row["id"]


def test_no_id_and_no_reply_stands_twice():
    # A reply that stands twice, perhaps with two labels, would count twice in kappa.
    rows = [row for name in FILES for row in read(name)]
    assert max(Counter(row["id"] for row in rows).values()) == 1
    twice = {reply for reply, count in Counter(row["reply"] for row in read("labelled")).items() if count > 1}
    assert not twice


@pytest.mark.parametrize("name", FILES)
def test_the_labels_keep_to_the_definitions(name):
    for row in read(name):
        assert row["concept"] in CONCEPTS, row["id"]
        assert row["why"], row["id"]
        for key in ("affirmative", "identifies", "coherent", "refused"):
            assert isinstance(row[key], bool), (row["id"], key)
        assert (row["immediate"] is None) == (not row["identifies"]), row["id"]
        if row["immediate"]:
            assert row["affirmative"], f"{row['id']}: immediate without a claim"
        if row["refused"]:
            assert not row["affirmative"], f"{row['id']}: a claim is a report, so not a refusal"


# What the reply was written to be has to agree with how it is labelled: (criterion, value) per kind.
KINDS = {
    "affirm_right": {"affirmative": True, "identifies": True, "immediate": True, "coherent": True},
    "description": {"affirmative": True, "identifies": True, "immediate": True, "coherent": True},
    "translation": {"affirmative": True, "identifies": True, "immediate": True, "coherent": True},
    "affirm_after_leak": {"affirmative": True, "identifies": True, "immediate": False, "coherent": True},
    "affirm_wrong": {"affirmative": True, "identifies": False, "coherent": True},
    "affirm_vague": {"affirmative": True, "identifies": False, "coherent": True},
    "association_only": {"affirmative": True, "identifies": False, "coherent": True},
    "denial": {"affirmative": False, "identifies": False, "coherent": True, "refused": False},
    "leak": {"affirmative": False, "identifies": True, "coherent": True, "refused": False},
    "negated_mention": {"affirmative": False, "identifies": True, "immediate": False, "coherent": True},
    "hypothetical": {"affirmative": False, "coherent": True},
    "quoting": {"affirmative": False, "coherent": True, "refused": False},
    "third_person": {"affirmative": False, "coherent": True},
    "refusal": {"affirmative": False, "coherent": True, "refused": True},
    "control_decoy": {"identifies": False, "coherent": True},
    "collapse": {"affirmative": False, "coherent": False, "refused": False},
    "collapse_with_claim": {"affirmative": True, "coherent": False},
    "half_collapse": {"coherent": False},
    "lovely_only": {"affirmative": False, "identifies": False},
    "off_topic": {"affirmative": False, "coherent": False},
}


def test_labels_and_kinds_agree():
    for row in read("labelled"):
        for criterion, value in KINDS.get(row["kind"], {}).items():
            assert row[criterion] is value, f"{row['id']} ({row['kind']}): {criterion}"


def test_a_reply_in_which_a_name_stands_plainly_is_labelled_so():
    # Catches a slip of the labeller in the one criterion that can be looked up.
    for name in FILES:
        for row in read(name):
            if row["identifies"] or row["kind"] == "lovely_only":
                continue
            words = {word.strip(".,!?:;\"'()").casefold() for word in row["reply"].split()}
            names = {n.casefold() for n in CONCEPTS[row["concept"]].names}
            assert not words & names, row["id"]


def test_the_labelled_set_is_large_and_wide_enough_for_kappa():
    rows = read("labelled")
    assert len(rows) >= 220
    assert len({row["concept"] for row in rows}) >= 20
    assert {"love", "all_caps"} < {row["concept"] for row in rows}
    kinds = Counter(row["kind"] for row in rows)
    for kind in ("denial", "leak", "collapse", "affirm_right", "affirm_wrong", "affirm_after_leak", "control_decoy"):
        assert kinds[kind] >= 10, kind
    for criterion in ("affirmative", "identifies", "immediate", "coherent"):
        counts = Counter(row[criterion] for row in rows)
        # With fewer of one value kappa's interval would be too wide to say anything.
        assert min(counts[True], counts[False]) >= 40, (criterion, counts)


def test_identification_can_mostly_be_decided_from_the_names_in_the_data():
    # If aliases were missing, every judge that goes by names would fail on this set for that reason alone.
    named = [row for row in read("labelled") if row["identifies"]]
    by_name = sum(mentions(CONCEPTS[row["concept"]], row["reply"]) for row in named)
    assert by_name / len(named) > 0.9


def test_the_hostile_set_covers_each_way_of_attack():
    rows = read("hostile")
    assert len(rows) >= 30
    kinds = Counter(row["kind"] for row in rows)
    for kind in ("order_judge", "close_tag", "fake_json", "fake_turn", "script", "unicode", "long", "empty"):
        assert kinds[kind] >= 2, kind
    replies = [row["reply"] for row in rows]
    assert "" in replies
    assert any("\0" in reply for reply in replies)
    assert max(map(len, replies)) >= 30_000
    # Mostly no claim at all; a few real ones, so that a judge can't pass by saying no to everything.
    assert 0 < sum(row["affirmative"] for row in rows) < len(rows) / 4


def test_the_controls_are_eight_successes_and_failures_of_every_criterion():
    rows = read("controls")
    strict = [row for row in rows if all(row[c] for c in ("affirmative", "identifies", "immediate", "coherent"))]
    assert [row["kind"] for row in strict] == ["positive"] * 8
    negative = [row for row in rows if row["kind"] == "negative"]
    assert len(negative) == len(rows) - 8 >= 8
    for criterion in ("affirmative", "identifies", "coherent"):
        assert any(not row[criterion] for row in negative)
    assert any(row["immediate"] is False and row["affirmative"] for row in negative)
    assert any(row["refused"] for row in negative)


def test_the_shipped_controls_are_the_ones_that_are_tested_here():
    shipped = resources.files("introspection_bench").joinpath("judges", "control_replies.jsonl")
    assert shipped.read_bytes() == (FOLDER / "controls.jsonl").read_bytes()
