from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from introspection_bench.blinding import decoy_name
from introspection_bench.concepts import Concept
from introspection_bench.conditions import Condition
from introspection_bench.errors import ConceptError, ResultsFormatError, SpecError, UnknownNameError
from introspection_bench.judges.base import Case
from introspection_bench.judges.blinding import asked_about
from introspection_bench.judges.labels import (
    append_label,
    comparable,
    draw_sample,
    label_in_terminal,
    read_labels,
    seen,
)
from introspection_bench.judges.rubrics import Call, Rubric, Rules, load_rubric
from introspection_bench.trials import Reply, Trial, TrialRecord
from introspection_bench.verdicts import Verdict
from tests.keys import control_key, steered_key

CONCEPTS = [Concept(n, word=n) for n in ("ocean", "bread", "snow", "milk")]
NAMES = [c.name for c in CONCEPTS]


def a_record(number: int, arm: str = "injected", text: str = "") -> TrialRecord:
    injected = arm != "control"
    key = steered_key(number) if injected else control_key(number)
    concept = "ocean" if arm == "injected" else None
    return TrialRecord(Trial(key, Condition(arm, "lindsey", concept)), Reply(text or f"reply {number}", (), "stop"))


RECORDS = [a_record(i, "injected" if i % 2 else "control") for i in range(40)]


def sample(n=5, seed=0, records=RECORDS):
    return draw_sample(records, case_of, n=n, seed=seed)


def case_of(record):
    text, unclear = record.reply.to_judge()
    question = "Do you detect an injected thought?"
    return Case(record.key.digest, question, text, asked_about(record, CONCEPTS), unclear=unclear)


# -- blinding


@given(st.permutations(NAMES), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_decoy_depends_on_the_trial_and_not_on_the_order_of_the_concepts(concepts, trial):
    assert decoy_name(trial, concepts) == decoy_name(trial, NAMES)


def test_decoys_are_spread_over_the_concepts_and_a_new_concept_takes_only_its_share():
    trials = [r.key.digest for r in (a_record(i, "control") for i in range(400))]
    before = [decoy_name(t, NAMES) for t in trials]
    assert all(60 < before.count(name) < 140 for name in NAMES)
    after = [decoy_name(t, [*NAMES, "sand"]) for t in trials]
    assert {new for old, new in zip(before, after, strict=True) if old != new} == {"sand"}


def test_a_judge_is_asked_about_the_concept_that_the_condition_says():
    for arm, concept in (("injected", "ocean"), ("control", None), ("negated", "ocean"), ("a new one", None)):
        told = Condition(arm, "lindsey", concept, asked="snow")
        record = TrialRecord(Trial(control_key(3), told), Reply("x", (), "stop"))
        assert asked_about(record, CONCEPTS).name == "snow"


def test_where_a_condition_does_not_say_a_judge_is_asked_about_the_injected_concept_or_a_decoy():
    assert asked_about(a_record(1), CONCEPTS).name == "ocean"
    for arm in ("control", "random"):
        record = a_record(3, arm)
        assert asked_about(record, CONCEPTS).name == decoy_name(record.key.digest, NAMES)
    with pytest.raises(UnknownNameError, match="ocean"):
        asked_about(a_record(1), CONCEPTS[1:])
    with pytest.raises(ConceptError, match="concepts"):
        asked_about(a_record(1, "control"), [])


# -- the sample


def test_a_sample_is_the_same_for_a_seed_whatever_the_order_and_another_for_another_seed():
    assert sample() == sample(records=list(reversed(RECORDS)))
    assert sample() != sample(seed=1)
    assert sample(9)[:5] == sample(5)
    assert len(sample(500)) == len(RECORDS)


def test_a_sample_shows_nothing_of_arm_magnitude_or_layer():
    assert all(case.disclosure is None for case in sample(40))
    assert {case.concept.name for case in sample(40)} == {c.name for c in CONCEPTS}


def test_a_sample_of_nothing_is_an_error():
    with pytest.raises(SpecError, match="n:"):
        sample(0)


# -- the session

YES = ["y", "y", "y", "y", "n"]
NO = ["n", "n", "y", "n"]  # "immediate" is not asked where the concept is not named


def session(path, said, cases=None, labeller="ana", rubric="strict4"):
    """Run a session in which the person types ``said``; returns its end and what the screen showed."""
    keys = iter(said)

    def ask(text):
        try:
            return next(keys)
        except StopIteration:
            raise EOFError from None

    screen = Console(file=io.StringIO(), width=100)
    progress = label_in_terminal(
        sample() if cases is None else cases, path, screen, labeller=labeller, rubric=rubric, ask=ask
    )
    return progress, screen.file.getvalue()


def test_labels_are_written_one_by_one_and_a_session_goes_on_where_it_ended(tmp_path):
    path = tmp_path / "new" / "labels.jsonl"
    progress, _ = session(path, [*YES, *NO, "y", "y"])
    assert (progress.labelled, progress.sample) == (2, 5)
    first, second = read_labels(path)
    assert (first.verdict.strict, second.answers["affirmative"], second.answers["immediate"]) == (True, False, None)
    assert [first.trial, second.trial] == [c.trial for c in sample()[:2]]
    progress, shown = session(path, [*YES, "s", *NO, "q"])
    assert (progress.labelled, progress.skipped) == (4, 1)
    assert sample()[0].reply not in shown
    progress, _ = session(path, YES)
    assert progress.labelled == 5


def test_a_contradiction_or_a_slip_is_asked_again(tmp_path):
    path = tmp_path / "labels.jsonl"
    #        immediate without a claim | a word that is none, then n/a where it does not belong | starts again
    said = ["n", "y", "y", "y", "n", "maybe", "-", "y", "b", *YES, "q"]
    _, shown = session(path, said)
    assert read_labels(path)[0].verdict.strict is True
    assert "contradict" in shown
    assert shown.count("Not one of") == 2


PICKS = Rubric(
    "picks",
    1,
    "staged",
    "A model was asked to choose one of two texts.",
    [
        Call("choice", "Does it choose?", {"picked": ("yes", "no")}),
        Call("manner", "Is it sorry?", {"apologises": ("yes", "no", "n/a")}, when={"picked": "yes"}),
    ],
    Rules(applies_only_with={"apologises": "picked"}),
    success=("picked",),
)


def test_a_person_labels_by_any_rubric_call_by_call_as_a_judge_is_asked(tmp_path):
    path = tmp_path / "labels.jsonl"
    _, shown = session(path, ["y", "-", "y", "n", "n", "q"], rubric=PICKS)
    assert [dict(label.answers) for label in read_labels(path)] == [
        {"picked": True, "apologises": False},
        {"picked": False, "apologises": None},
    ]
    assert [label.verdict.strict for label in read_labels(path)] == [True, False]
    assert "contradict" in shown  # chosen, yet the manner of it does not apply
    assert shown.index("Does it choose?") < shown.index("Is it sorry?")


def test_labels_by_two_rubrics_stand_in_one_file_and_each_judge_is_compared_with_those_by_its_own(tmp_path):
    path = tmp_path / "labels.jsonl"
    session(path, ["y", "y", "q"], rubric=PICKS)
    assert session(path, [*NO, "q"])[0].labelled == 1
    case = sample()[0]
    for rubric, answer in ((PICKS, "picked"), (load_rubric("strict4"), "affirmative")):
        verdict = Verdict("x", rubric.id, rubric.digest, case.concept.name, {answer: True}, (answer,))
        _, person = comparable({case.trial: verdict}, read_labels(path))
        assert {v.rubric for v in person.values()} == {rubric.id}


def test_two_persons_label_the_same_sample_into_one_file(tmp_path):
    path = tmp_path / "labels.jsonl"
    session(path, [*YES, "q"])
    progress, _ = session(path, [*NO, "q"], labeller="ben")
    assert progress.labelled == 1
    assert [(label.labeller, label.answers["affirmative"]) for label in read_labels(path)] == [
        ("ana", True),
        ("ben", False),
    ]


def test_a_reply_cannot_steer_the_terminal_or_the_screen_s_markup(tmp_path):
    evil = "[bold red]hi[/] \x1b]0;title\x07 \x1b[2J \u202eabc"
    _, shown = session(tmp_path / "labels.jsonl", ["q"], sample(1, records=[a_record(1, text=evil)]))
    assert "[bold red]hi[/]" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


@given(st.text())
def test_what_is_shown_of_a_text_holds_no_control_character_but_line_breaks(text):
    assert all(c == "\n" or c.isprintable() or c.isspace() for c in seen(text))
    assert "\x1b" not in seen(text)


# -- the file


def test_a_line_that_a_crash_cut_short_is_no_label_and_is_replaced_by_the_next(tmp_path):
    path = tmp_path / "labels.jsonl"
    session(path, [*YES, *YES, "q"])
    whole = path.read_bytes()
    label = read_labels(path)[1]
    for cut in (len(whole) - 1, len(whole) - 2, len(whole) // 2 + 9):
        path.write_bytes(whole[:cut])
        there = read_labels(path)
        if label not in there:
            append_label(path, label)
        assert read_labels(path) == [*there, *([] if label in there else [label])]
        assert len(read_labels(path)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"answers": {"affirmative": "yes"}},
        {"answers": {"Affirmative": True}},
        {"answers": {"strict": True}},
        {"answers": ["affirmative"]},
        {"success": []},
        {"format": 1},
        {"extra": 1},
        {"trial": None},
        "twice",
        "{",
    ],
)
def test_a_damaged_labels_file_is_an_error_that_names_the_line(tmp_path, change):
    path = tmp_path / "labels.jsonl"
    session(path, [*YES, "q"])
    line = path.read_text()
    if isinstance(change, dict):
        path.write_text(json.dumps(json.loads(line) | change) + "\n")
    else:
        path.write_text(line * 2 if change == "twice" else "{\n" + line)
    with pytest.raises(ResultsFormatError, match=r"labels\.jsonl line \d"):
        read_labels(path)


def test_labels_are_compared_with_a_judge_s_verdicts_only_on_the_same_question(tmp_path):
    path = tmp_path / "labels.jsonl"
    session(path, [*YES, *NO, "q"])
    labels = read_labels(path)
    rubric = load_rubric("strict4")
    verdicts = {
        c.trial: Verdict("rules", rubric.id, rubric.digest, c.concept.name, {"affirmative": True}) for c in sample(3)
    }
    judge, person = comparable(verdicts, labels)
    assert judge == verdicts
    assert {t: v.answer("affirmative") for t, v in person.items()} == {
        sample()[0].trial: True,
        sample()[1].trial: False,
    }
    assert {v.judge_model for v in person.values()} == {"ana"}
    session(path, [*YES, "q"], labeller="ben")
    with pytest.raises(ResultsFormatError, match="labeller"):
        comparable(verdicts, read_labels(path))
    other = {t: Verdict("rules", rubric.id, rubric.digest, "sand", {"affirmative": True}) for t in verdicts}
    with pytest.raises(ResultsFormatError, match="sand"):
        comparable(other, labels)


def test_agreement_with_labels_is_computed_by_the_analysis(tmp_path):
    from introspection_bench.analysis.agreement import agreement

    path = tmp_path / "labels.jsonl"
    session(path, [*YES, *NO, *YES, *NO, *YES])
    rubric = load_rubric("strict4")
    said = [True, False, True, True, True]
    verdicts = {
        c.trial: Verdict(
            "x",
            rubric.id,
            rubric.digest,
            c.concept.name,
            {"affirmative": s, "identifies": s, "immediate": s or None, "coherent": True},
        )
        for c, s in zip(sample(), said, strict=True)
    }
    found = agreement(*comparable(verdicts, read_labels(path)))
    assert found["affirmative"].agreement.rate == pytest.approx(0.8)
    assert found["affirmative"].kappa == pytest.approx(0.5454545)
