"""The first screen's box on what would explain a result away."""

from __future__ import annotations

from introspection_bench import Results
from introspection_bench.analysis import records_frame
from introspection_bench.report import write_report
from introspection_bench.report.page.explained import TITLE, answering, explained_section
from tests.analysis.test_explaining import alive, introspector, magnitude_alarm, run, scripted


def test_each_arm_stands_beside_the_strict_rate_with_its_difference_and_verdict():
    section = explained_section(*scripted(magnitude_alarm), alive())
    (table,) = section.tables
    rows = {row[0]: row for row in table.rows}
    assert table.rows[0][0] == "injected"
    assert rows["random"][1] == "100 % (60/60)"
    assert rows["random"][-1] == "detection: explains it"
    assert rows["control"][-1] == "detection: does not explain it"
    assert rows["no questions"][1:5] == ("says yes 0 % (0/60)", "–", "–", "–")
    assert "Naming: hardly ever names the concept under injection: nothing there to explain." in section.sentences


def test_a_strict_rate_is_set_against_each_arm_in_points():
    section = explained_section(*scripted(introspector), alive())
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
    assert explained_section(frame, None, alive()) is None


def test_answers_judged_by_any_version_of_the_rubric_are_found():
    assert answering(Results("r", run(introspector, n=1)), None).rubric == "yesno/1"
