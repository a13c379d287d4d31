"""The first screen's box on what would explain a result away."""

from __future__ import annotations

import attrs

from introspection_bench import Results
from introspection_bench.analysis import records_frame
from introspection_bench.measures import Reading
from introspection_bench.report import write_report
from introspection_bench.report.page.explained import TITLE, Told, answering, explained_section, told_by
from tests.analysis.test_explaining import CONCEPTS, alive, introspector, magnitude_alarm, run, scripted

NONE = {"affirmative": False, "identifies": False, "immediate": None, "coherent": True}


def test_each_arm_stands_beside_the_strict_rate_with_its_difference_and_verdict():
    section = explained_section(Told(*scripted(magnitude_alarm), alive()))
    (table,) = section.tables
    rows = {row[0]: row for row in table.rows}
    assert table.rows[0][0] == "injected"
    assert rows["random"][1] == "100 % (60/60)"
    assert rows["random"][-1] == "detection: explains it"
    assert rows["control"][-1] == "detection: does not explain it"
    assert rows["no questions"][1:5] == ("says yes 0 % (0/60)", "–", "–", "–")
    assert "Naming: hardly ever names the concept under injection: nothing there to explain." in section.sentences


def test_a_strict_rate_is_set_against_each_arm_in_points():
    section = explained_section(Told(*scripted(introspector), alive()))
    rows = {row[0]: row for row in section.tables[0].rows}
    assert rows["injected"][3:5] == ("100 % (60/60)", "–")
    assert rows["random"][4].startswith("+100 (+")


def test_the_page_has_the_box_behind_the_first_sentences_and_lists_what_was_not_run(tmp_path):
    records = run(introspector, n=3, arms=("injected", "control", "random"))
    page = write_report(Results("r", records), tmp_path / "r.html", rubric="strict4").read_text(encoding="utf-8")
    assert page.index('class="headline"') < page.index(f">{TITLE}</h3>") < page.index('id="null"')
    assert "not run, so that nothing is claimed without it" in page
    assert "nothing here explains it away" not in page


def test_a_run_without_verdicts_has_no_such_box():
    frame = records_frame([])
    assert explained_section(Told(frame, None, alive())) is None


def test_answers_judged_by_any_version_of_the_rubric_are_found():
    assert answering(Results("r", run(introspector, n=1)), None).rubric == "yesno/1"


def read_by(record, names: str, backend: str = "torch"):
    """A trial with an observer's reading, which names one concept of two."""
    values = [[-1.0 if c == names else -2.0, 1.0] for c in CONCEPTS[:2]]
    axes = {"concept": CONCEPTS[:2], "of": ("logprob", "tokens")}
    reading = Reading("observer", "d" * 64, axes, values, "m", backend, 1, "float32")
    return attrs.evolve(record, readings=(*record.readings, reading))


def test_second_verdicts_and_what_observers_name_are_found_in_the_run_itself():
    records = [read_by(r, CONCEPTS[1]) for r in run(introspector, arms=("injected",), concepts=CONCEPTS[:1])]
    again = [attrs.evolve(r.verdicts[0], concept="bread", asked="mismatched", answers=NONE) for r in records]
    twice = [attrs.evolve(r, verdicts=(*r.verdicts, v)) for r, v in zip(records, again, strict=True)]
    results = Results("r", twice)
    chosen = next(j for j in results.judges if j.asked == "own" and j.rubric == "strict4")
    (naming,) = (e for e in told_by(results, chosen).explained() if e.task == "naming")
    decided = {f.rule: f.decision for f in naming.findings}
    assert decided["another concept"] == decided["observer"] == "excluded"
    without = told_by(Results("r", records), chosen)
    assert without.mismatched is None


def test_of_two_observers_that_read_the_same_trials_the_one_of_more_trials_is_used():
    records = run(introspector, n=4, arms=("injected",), concepts=CONCEPTS[:1])
    twice = [read_by(r, CONCEPTS[0]) if n else r for n, r in enumerate(records)]
    twice = [read_by(r, CONCEPTS[1], backend="nnsight") for r in twice]
    told = told_by(Results("r", twice), None)
    assert told.observed["observed"].tolist() == [False] * 4
