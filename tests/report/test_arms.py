"""Arms that aren't built in: in frames, tables, figures, exports and the report, each by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from report_samples import make_record, make_run

from introspection_bench.analysis import (
    Results,
    controls,
    counts,
    default_guesses,
    detection,
    excludes,
    narrow_table,
    rates,
    rates_table,
    records_frame,
    shown_of,
)
from introspection_bench.conditions import Beside
from introspection_bench.doses import Dose
from introspection_bench.errors import AnalysisError, IntrospectionBenchError, ResultsFormatError, SpecError
from introspection_bench.interop import read_results, write_jsonl, write_parquet
from introspection_bench.report import DARK, LIGHT, against_controls, write_figures, write_report
from introspection_bench.report.figures.gallery import gallery
from introspection_bench.report.page.headlines import headlines
from introspection_bench.report.page.sections import judge_comparisons
from introspection_bench.report.page.summary import cell_link, cell_tables, facts
from introspection_bench.report.page.transcripts import transcripts_payload
from introspection_bench.trials import TrialRecord
from introspection_bench.verdicts import Verdict

#: One that steered nothing and says yes each time, one that is built in, one whose name needs escaping.
SHAM, NEGATED, HOSTILE = "sham", "negated", "<b>$x_1$ & co.</b>"
#: A direction that is removed beside the injection.
REFUSAL = Beside("refusal", (3, 4, 5), Dose(-1, "projection"), "all")


def sham(index: int, **changes: Any) -> TrialRecord:
    return make_record(index, arm=SHAM, concept=None, layers=(), **changes)


@pytest.fixture(scope="module")
def run() -> list[TrialRecord]:
    mine = [sham(i, affirmative=True, text="It is about tides.") for i in range(6)]
    mine += [
        make_record(i + 100, arm=NEGATED, magnitude=m, affirmative=True, identifies=m > 0.3, immediate=None)
        for i in range(5)
        for m in (0.2, 0.4)
    ]
    mine += [make_record(i + 200, arm=HOSTILE) for i in range(2)]
    return [*make_run(), *mine]


def test_another_arm_is_a_cell_of_its_own_and_alters_no_rate_of_the_others(run: list[TrialRecord]) -> None:
    with_, without = records_frame(run), records_frame(make_run())
    assert detection(with_).equals(detection(without))
    assert excludes(with_).sentences == excludes(without).sentences
    table = counts(with_, ["arm"]).set_index("arm")
    assert dict(table["n_all"]) == {"control": 12, HOSTILE: 2, "injected": 128, NEGATED: 10, SHAM: 6}
    assert table.loc[SHAM, "affirmative"] == 6
    assert rates(controls(with_)).equals(rates(controls(without)))
    guesses = default_guesses(with_, by=["arm"]).set_index("arm")
    assert list(guesses.loc[[SHAM], "guess"]) == ["tides"]


def test_the_terminals_table_tells_every_arm_apart(run: list[TrialRecord]) -> None:
    random = [make_record(i + 300, arm="random", magnitude=0.4) for i in range(3)]
    _, table = narrow_table(records_frame([*run, *random]))
    names = list(table["concept"])
    assert names.count("control") == names.count("sham") == names.count("random") == 1
    assert names.count("love (negated)") == 2
    _, alone = narrow_table(records_frame([r for r in run if r.arm == SHAM]))
    assert list(alone["concept"]) == ["sham"]


def test_the_reports_tables_list_other_arms_after_the_built_in_ones(run: list[TrialRecord]) -> None:
    frame = records_frame(run)
    (table,) = cell_tables(frame)
    names = [row.name for row in table.rows]
    assert names[0] == "control"
    negated = [f"negated · love · layer 19 · {m} residual" for m in (0.2, 0.4)]
    assert names[-4:] == [*negated, f"{HOSTILE} · love · layer 19 · 0.4 residual", "sham"]
    assert table.rows[-1].ratio == "–"
    said = dict(facts(frame, {}, "rules"))
    assert said["Trials"] == f"128 injected, 12 control, 10 negated, 2 {HOSTILE}, 6 sham"
    assert "0 (" not in said["Magnitudes"]
    sentences = headlines(frame)
    assert "with 10 trials of the arm 'negated', 2 trials of the arm '<b>$x_1$ & co.</b>' and 6 trials" in sentences[0]
    assert any(s.startswith("In the arm 'sham', which counts neither") and "6 of 6" in s for s in sentences)


def test_a_run_of_other_arms_alone_has_a_report_and_no_signal_detection(tmp_path: Path) -> None:
    records = [sham(i) for i in range(4)]
    with pytest.raises(AnalysisError, match="injected"):
        detection(records_frame(records))
    page = write_report(records, tmp_path / "r.html").read_text()
    assert "No control was run" in page
    assert write_figures(records, tmp_path / "figures", formats=["svg"])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_arm_has_its_own_line_marker_and_colour_in_a_figure(run: list[TrialRecord], theme: Any) -> None:
    table = rates(records_frame(run), ["scaffold", "arm", "concept", "layers", "magnitude", "unit"])
    figure = against_controls(table, theme=theme)
    axes = figure.axes[0]
    lines = [t.get_text().split(" (n")[0] for t in axes.get_yticklabels()]
    drawn = {
        lines[round(float(line.get_ydata()[0]))]: (line.get_marker(), line.get_color())
        for line in axes.get_lines()
        if len(line.get_ydata()) == 1
    }
    looks = [drawn[n] for n in ("sham", "negated · love · layer 19 · 0.2 residual", "control")]
    looks.append(drawn["love · layer 19 · 0.4 residual"])
    assert len(set(looks)) == 4
    assert len({marker for marker, _ in looks}) == 3  # controls have the outcome's marker, hollow
    assert drawn["negated · love · layer 19 · 0.4 residual"] == looks[1]
    assert any(name.startswith(HOSTILE) for name in lines)


def test_more_arms_than_markers_are_drawn_from_the_start_again(tmp_path: Path) -> None:
    records = [make_record(i, arm=f"arm {i}") for i in range(9)]
    assert write_figures(records, tmp_path, formats=["png"])


def test_dose_figures_of_another_arm_are_apart_from_the_injections(run: list[TrialRecord]) -> None:
    plates = gallery(records_frame(run))
    assert [p.stem for p in plates if "negated" in p.stem] == ["crossover-negated-love-lindsey-residual"]
    assert not any("sham" in p.stem for p in plates)  # it has no dose


def test_another_arm_survives_the_exports(run: list[TrialRecord], tmp_path: Path) -> None:
    write_jsonl(run, tmp_path / "a.jsonl")
    write_parquet(run, tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert read_results(tmp_path / name).records == tuple(run)


@pytest.mark.parametrize("arm", ["", " sham", "Control", "INJECTED", "ran\u200bdom", "sh\x1bam", "s" * 61, "\ud800", 3])
def test_a_name_that_is_none_or_passes_for_a_built_in_arm_is_an_error(arm: Any, tmp_path: Path) -> None:
    record = make_record()
    with pytest.raises(SpecError, match="arm"):
        attrs.evolve(record.condition, arm=arm)
    write_jsonl([record], tmp_path / "a.jsonl")
    text = (tmp_path / "a.jsonl").read_text()
    (tmp_path / "a.jsonl").write_text(text.replace('"arm":"injected"', '"arm":"Control"'))
    with pytest.raises(ResultsFormatError, match="'control', written so") as caught:
        read_results(tmp_path / "a.jsonl")
    assert isinstance(caught.value, IntrospectionBenchError)


def test_transcripts_come_with_injections_first_and_other_arms_last(run: list[TrialRecord]) -> None:
    payload = transcripts_payload(run)
    arms = [payload["conditions"][t[1]]["arm"] for t in payload["trials"]]
    assert list(dict.fromkeys(arms)) == ["injected", "control", NEGATED, HOSTILE, SHAM]
    doses = {c["arm"]: c["dose"] for c in payload["conditions"]}
    assert doses[SHAM] is doses["control"] is None
    assert doses[NEGATED] == "0.4 residual"


@pytest.mark.browser
@pytest.mark.slow
def test_the_report_shows_and_filters_another_arm_in_a_browser(
    run: list[TrialRecord], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    path = write_report(Results("other arms", run), tmp_path / "r.html")
    page = open_page(path)
    for arm, n in ((SHAM, 6), (NEGATED, 10), (HOSTILE, 2), ("control", 12)):
        page.select_option("#f-arm", arm)
        assert page.text_content("#tally") == f"{n} of {len(run)} transcripts"
    page.select_option("#f-arm", SHAM)
    assert page.text_content("#detail h3").startswith("sham · no ")
    page.select_option("#f-dose", "none")
    assert page.text_content("#tally") == f"6 of {len(run)} transcripts"
    assert "nothing was steered" in page.text_content("#detail .meta")
    link = cell_link({"scaffold": "lindsey", "arm": SHAM, **dict.fromkeys(("concept", "layers", "magnitude", "unit"))})
    assert open_page(path, fragment=link).text_content("#tally") == f"6 of {len(run)} transcripts"


def only(verdict: Verdict, rubric: str, *criteria: str) -> Verdict:
    answers = {c: verdict.answer(c) for c in criteria}
    return attrs.evolve(verdict, rubric=rubric, answers=answers, success=criteria)


def test_a_report_says_nothing_of_criteria_that_the_rubric_does_not_ask(tmp_path: Path) -> None:
    run = make_run(trials=3, controls=6)
    records = [attrs.evolve(r, verdicts=[only(r.verdicts[0], "yes/1", "affirmative")]) for r in run]
    both = [attrs.evolve(r, verdicts=[*r.verdicts, *o.verdicts]) for r, o in zip(records, run, strict=True)]
    page = write_report(both, tmp_path / "r.html", rubric="yes/1").read_text()
    assert "All of affirmative (strict) were met in" in page
    assert "All four criteria" not in page
    assert "was named in" not in page
    frame = records_frame(records)
    assert shown_of(frame) == ("affirmative", "strict")
    assert {p.stem for p in gallery(frame)} == {"rates-lindsey"} | {
        f"map-affirmative-{c}-lindsey-residual" for c in ("love", "all-caps")
    }
    (found,) = {a.criteria for _, _, a in judge_comparisons(Results("both", both), Results("both", both).judges[0])}
    assert [c.criterion for c in found] == ["affirmative", "strict"]


def test_criteria_that_no_built_in_rubric_has_are_outcomes_everywhere(tmp_path: Path) -> None:
    def judged(record: TrialRecord) -> TrialRecord:
        answers = {"hedges": record.trial.draw % 2 == 0, "poetic": record.condition.arm == "control"}
        verdict = attrs.evolve(record.verdicts[0], rubric="style/1", answers=answers, success=("hedges", "poetic"))
        return attrs.evolve(record, verdicts=[verdict])

    run = [judged(r) for r in make_run(trials=2, controls=4)]
    frame = records_frame(run)
    assert shown_of(frame) == ("strict", "hedges", "poetic")
    table = rates(frame, ["arm"]).set_index(["arm", "outcome"])
    assert table.loc[("control", "poetic"), ["k", "n"]].tolist() == [4, 4]
    assert table.loc[("injected", "hedges"), ["k", "n"]].tolist() == [16, 32]
    assert list(rates_table(frame, ["arm"]).columns[-3:]) == ["strict", "hedges", "poetic"]
    assert list(narrow_table(frame)[1].columns[-2:]) == ["hedges", "poetic"]
    assert {"map-hedges-love-lindsey-residual", "rates-lindsey"} <= {p.stem for p in gallery(frame)}
    page = write_report(run, tmp_path / "r.html").read_text()
    assert '<th scope="col">poetic</th>' in page
    assert "hedges was true in 16 of 32 scored injected trials" in page
    payload = transcripts_payload(run)
    assert payload["criteria"] == ["strict", "hedges", "poetic"]
    assert payload["marks"] == [1, 2]
    two = [attrs.evolve(r, verdicts=[*r.verdicts, attrs.evolve(r.verdicts[0], judge="other")]) for r in run]
    ((_, _, found),) = judge_comparisons(Results("two", two), Results("two", two).judges[0])
    assert [c.criterion for c in found.criteria] == ["strict", "hedges", "poetic"]


@pytest.fixture(scope="module")
def strange() -> list[TrialRecord]:
    """Arms of every truth that no built-in resembles, bands of layers, a steer beside, items."""
    return [
        *(make_record(i, affirmative=i < 3, identifies=i < 2) for i in range(4)),
        *(make_record(i, beside=(REFUSAL,), affirmative=True) for i in range(4)),
        *(make_record(i, layers=(18, 19, 20), affirmative=i < 1) for i in range(4)),
        *(make_record(i, arm="prompt_only", span="from(trial) stop_at_prompt_end") for i in range(3)),
        *(make_record(i, arm="whispered", truth="injected", affirmative=True, item=f"s{i}") for i in range(2)),
        *(make_record(i, arm="pause", truth="nothing", concept=None, layers=(), affirmative=i < 1) for i in range(5)),
        *(make_record(i, arm="control") for i in range(6)),
        *(make_record(i, arm="control", beside=(REFUSAL,), affirmative=True) for i in range(2)),
        *(make_record(i, arm="random") for i in range(3)),
    ]


def test_what_was_done_is_told_apart_by_bands_and_by_steers_beside(strange: list[TrialRecord]) -> None:
    frame = records_frame(strange)
    (table,) = cell_tables(frame)
    beside = "beside refusal -1 projection at 3-5"
    assert [(row.name, row.n) for row in table.rows] == [
        ("control", 6),
        (f"control · {beside}", 2),
        ("random vector · layer 19 · 0.4 residual", 3),
        ("love · layers 18-20 · 0.4 residual", 4),
        ("love · layer 19 · 0.4 residual", 4),
        (f"love · layer 19 · 0.4 residual · {beside}", 4),
        ("prompt only · love · layer 19 · 0.4 residual", 3),
        ("pause", 5),
        ("whispered · love · layer 19 · 0.4 residual", 2),
    ]
    assert table.rows[5].ratio == "0.4"  # the injection's own receipt, not that of the steer beside it
    _, narrow = narrow_table(frame)
    assert list(narrow["layers"].unique()) == ["–", "19", "18-20"]
    assert list(narrow["beside"].unique()) == ["–", "refusal -1 projection at 3-5"]


def test_false_alarms_are_those_of_every_arm_on_which_nothing_was_done(strange: list[TrialRecord]) -> None:
    found = detection(records_frame(strange)).query("task == 'detection'").fillna({"beside": ""})
    found = found.set_index(["arm", "layers", "beside"])
    counts_ = found[["hits", "signals", "false_alarms", "noises"]]
    assert counts_.loc[("injected", "19", "")].tolist() == [3, 4, 1, 11]
    assert counts_.loc[("whispered", "19", "")].tolist() == [2, 2, 1, 11]
    # What is steered beside is so on controls too, and they alone are compared with.
    assert counts_.loc[("injected", "19", "refusal -1 projection at 3-5")].tolist() == [4, 4, 2, 2]
    assert set(found.index.get_level_values("arm")) == {"injected", "prompt_only", "whispered"}


def test_a_run_of_strange_arms_has_a_report_its_figures_and_its_transcripts(
    strange: list[TrialRecord], tmp_path: Path
) -> None:
    page = write_report(strange, tmp_path / "r.html").read_text()
    for said in ("pause", "whispered", "layers 18-20", "beside refusal -1 projection at 3-5", "prompt only"):
        assert said in page
    assert "All four criteria (strict) were met in none of 2 scored trials of the arm &#39;whispered&#39;" in page
    captions = [p for p in write_figures(strange, tmp_path / "figures", formats=["svg"]) if p.suffix == ".txt"]
    assert len(captions) == len(gallery(records_frame(strange)))
    payload = transcripts_payload(strange)
    assert payload["further"] == ["beside"]
    assert {t[2] for t in payload["trials"]} == {None, "s0", "s1"}
    steers = {payload["conditions"][t[1]]["name"]: [s for s, _ in t[8]] for t in payload["trials"]}
    assert steers["love · layers 18-20 · 0.4 residual"] == [f"layer {n}, 0.4 residual" for n in (18, 19, 20)]
    assert len(steers["control · beside refusal -1 projection at 3-5"]) == 3
    assert steers["pause"] == []


@pytest.mark.browser
def test_cells_with_a_steer_beside_and_items_are_found_in_a_browser(
    strange: list[TrialRecord], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    prompts = {("lindsey", None): "[user]\nWithout an item", ("lindsey", "s1"): "[user]\nThe crooked painting"}
    page = open_page(write_report(strange, tmp_path / "r.html", prompts=prompts))
    for row in (row for table in cell_tables(records_frame(strange)) for row in table.rows):
        page.click(f"#cells a:text-is('{row.name}')")
        expect(page.locator("#tally")).to_have_text(f"{row.n} of {len(strange)} transcripts")
    page.click("#reset")
    page.select_option("#f-item", "s1")
    assert page.text_content("#detail h3") == "whispered · love · layer 19 · 0.4 residual · s1 · no 1"
    assert page.text_content("#detail .prompt") == "[user]\nThe crooked painting"
