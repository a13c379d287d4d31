"""The page's first three lines: the controls beside what was found, and no more than the numbers carry."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_samples import make_record

from introspection_bench.analysis import records_frame
from introspection_bench.report import write_report
from introspection_bench.report.page import html as page_html
from introspection_bench.report.page.answer import Answer, answer
from introspection_bench.verdicts import CRITERIA


def told(*records: list, **options: bool) -> Answer:
    found = answer(records_frame([r for part in records for r in part]), **options)
    assert found is not None
    return found


def controls(count: int, affirming: int) -> list:
    return [make_record(i, arm="control", affirmative=i < affirming) for i in range(count)]


def injected(count: int, **changes: object) -> list:
    return [make_record(i, **changes) for i in range(count)]


def test_what_was_found_has_the_controls_in_the_same_sentence_and_a_null_says_what_they_leave_standing() -> None:
    said = told(injected(20), controls(20, 2))
    assert said.asked.endswith("20 injected trials in 1 cell (1 concept, 1 layer and 1 dose), 20 controls.")
    assert said.found.startswith(
        "A thought was affirmed in 0 of 20 scored injected trials, and in 2 of 20 scored controls (no difference shown"
    )
    assert "(strict) were met in 0 of 20, and in 0 of 20 controls, asked about a decoy" in said.found
    assert said.excluded.startswith("Strict rates above 16.8 %; ")
    assert "Not excluded by 20 controls: false alarms in up to 31.7 % of trials." in said.excluded


def test_a_difference_is_called_shown_only_where_its_interval_leaves_zero_out() -> None:
    assert "(a difference is shown)" in told(injected(40, affirmative=True), controls(40, 0)).found
    assert "(a difference is shown, the other way round)" in told(injected(40), controls(40, 40)).found
    assert "(no difference shown)" in told(injected(3, affirmative=True), controls(1, 0)).found


def test_without_scored_controls_it_says_that_nothing_is_excluded_of_false_alarms() -> None:
    for alone, lacks in (([], "no control was run"), ([make_record(0, arm="control", unscored="x")], "is scored")):
        said = told(injected(4), alone)
        assert lacks in said.found
        assert "no rate of false alarms is excluded" in said.excluded


def test_a_cell_that_names_its_concept_always_and_is_never_coherent_does_not_lead() -> None:
    broken = [make_record(i, magnitude=2, identifies=True, coherent=False) for i in range(15)]
    said = told(broken, injected(15), controls(20, 0))
    assert "15 of 15" not in "".join(text for _, text in said.lines)
    assert "15 of 30 replies were coherent" in said.found


def test_a_judge_that_was_told_which_trials_are_controls_is_not_asked_about_them() -> None:
    said = told(injected(4, **dict.fromkeys(CRITERIA, True)), controls(4, 0), blinded=False)
    assert "decoy" not in said.found


def test_each_setting_is_set_against_its_own_controls() -> None:
    second = [make_record(i, scaffold="other") for i in range(4)]
    said = told(injected(4), second, controls(4, 4))
    assert "each of 2 settings is set against its own controls below" in said.found
    assert "affirm more often" not in said.excluded


def test_the_page_leads_with_the_answer_then_the_first_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_html, "MOST_FIGURES", 1)
    page = write_report([*injected(3), *controls(2, 0)], tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.index('class="answer"') < page.index("<figure") < page.index('class="headline"')
    assert page.count("<figure") == 1
    assert answer(records_frame([])) is None
    assert answer(records_frame(controls(2, 0))) is None
