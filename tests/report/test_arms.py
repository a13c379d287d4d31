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
    counts,
    default_guesses,
    detection,
    excludes,
    narrow_table,
    rates,
    records_frame,
)
from introspection_bench.arms import ordered
from introspection_bench.errors import AnalysisError, IntrospectionBenchError, ResultsFormatError, SpecError
from introspection_bench.interop import read_results, write_jsonl, write_parquet
from introspection_bench.report import DARK, LIGHT, against_controls, write_figures, write_report
from introspection_bench.report.figures.gallery import gallery
from introspection_bench.report.page.sections import judge_comparisons
from introspection_bench.report.page.summary import cell_link, cell_tables, facts, headlines
from introspection_bench.report.page.transcripts import transcripts_payload
from introspection_bench.trials import TrialRecord

#: One that steered nothing and says yes each time, one that steered, one whose name needs escaping.
SHAM, NEGATED, HOSTILE = "sham", "negated", "<b>$x_1$ & co.</b>"


def steered_nothing(record: TrialRecord) -> TrialRecord:
    key = attrs.evolve(record.key, steers=(), prompt="another")
    return attrs.evolve(record, key=key, concept=None, span=None)


@pytest.fixture(scope="module")
def run() -> list[TrialRecord]:
    mine = [steered_nothing(make_record(i, arm=SHAM, affirmative=True, text="It is about tides.")) for i in range(6)]
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
    assert excludes(with_) == excludes(without)
    table = counts(with_, ["arm"]).set_index("arm")
    assert dict(table["n_all"]) == {"control": 12, HOSTILE: 2, "injected": 128, NEGATED: 10, SHAM: 6}
    assert table.loc[SHAM, "affirmative"] == 6
    assert rates(with_[with_["arm"] == "control"]).equals(rates(without[without["arm"] == "control"]))
    guesses = default_guesses(with_, by=["arm"]).set_index("arm")
    assert list(guesses.loc[[SHAM], "guess"]) == ["tides"]


def test_the_terminals_table_tells_every_arm_apart(run: list[TrialRecord]) -> None:
    random = [make_record(i + 300, arm="random", magnitude=0.4) for i in range(3)]
    _, table = narrow_table(records_frame([*run, *random]))
    names = list(table["concept"])
    assert names.count("control") == names.count("sham") == names.count("love (random)") == 1
    assert names.count("love (negated)") == 2
    _, alone = narrow_table(records_frame([r for r in run if r.arm == SHAM]))
    assert list(alone["concept"]) == ["sham"]


def test_the_reports_tables_list_other_arms_after_the_built_in_ones(run: list[TrialRecord]) -> None:
    frame = records_frame(run)
    (table,) = cell_tables(frame)
    names = [row.name for row in table.rows]
    assert names[0] == "control"
    assert names[-3:] == ["negated · love · layer 19 · 0.2 residual", "negated · love · layer 19 · 0.4 residual",
                          "sham · no concept"]  # fmt: skip
    assert table.rows[-1].ratio == "–"
    said = dict(facts(frame, {}, "rules"))
    assert said["Trials"] == f"128 injected, 12 control, 2 {HOSTILE}, 10 negated, 6 sham"
    assert "0 (" not in said["Magnitudes"]
    sentences = headlines(frame)
    assert "with 2 trials of the arm '<b>$x_1$ & co.</b>', 10 trials of the arm 'negated' and 6 trials" in sentences[0]
    assert any(s.startswith("In the arm 'sham', which counts neither") and "6 of 6" in s for s in sentences)
    assert ordered([SHAM, "injected", "control", NEGATED]) == ["control", "injected", NEGATED, SHAM]


def test_a_run_of_other_arms_alone_has_a_report_and_no_signal_detection(tmp_path: Path) -> None:
    records = [steered_nothing(make_record(i, arm=SHAM)) for i in range(4)]
    with pytest.raises(AnalysisError, match="injected"):
        detection(records_frame(records))
    page = write_report(records, tmp_path / "r.html").read_text()
    assert "No control was run" in page
    assert write_figures(records, tmp_path / "figures", formats=["svg"])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_arm_has_its_own_line_marker_and_colour_in_a_figure(run: list[TrialRecord], theme: Any) -> None:
    table = rates(records_frame(run), ["scaffold", "arm", "concept", "layer", "magnitude", "unit"])
    figure = against_controls(table, theme=theme)
    axes = figure.axes[0]
    lines = [t.get_text().split(" (n")[0] for t in axes.get_yticklabels()]
    drawn = {
        lines[round(float(line.get_ydata()[0]))]: (line.get_marker(), line.get_color())
        for line in axes.get_lines()
        if len(line.get_ydata()) == 1
    }
    looks = [drawn[n] for n in ("sham · no concept", "negated · love · layer 19 · 0.2 residual", "control")]
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
    assert [p.stem for p in plates if "negated" in p.stem] == ["crossover-love-negated-lindsey-residual"]
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
        attrs.evolve(record, arm=arm)
    write_jsonl([record], tmp_path / "a.jsonl")
    text = (tmp_path / "a.jsonl").read_text()
    (tmp_path / "a.jsonl").write_text(text.replace('"arm":"injected"', '"arm":"Control"'))
    with pytest.raises(ResultsFormatError, match="'control', written so") as caught:
        read_results(tmp_path / "a.jsonl")
    assert isinstance(caught.value, IntrospectionBenchError)


def test_transcripts_come_with_injections_first_and_other_arms_last(run: list[TrialRecord]) -> None:
    payload = transcripts_payload(run)
    assert payload["arms"] == ["injected", "control", HOSTILE, NEGATED, SHAM]
    doses = {payload["arms"][t[2]]: t[5] for t in payload["trials"]}
    assert doses[SHAM] == doses["control"] == -1
    assert payload["doses"][doses[NEGATED]] == "0.4 residual"


@pytest.mark.browser
def test_the_report_shows_and_filters_another_arm_in_a_browser(
    run: list[TrialRecord], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    path = write_report(Results("other arms", run), tmp_path / "r.html")
    page = open_page(path)
    for arm, n in ((SHAM, 6), (NEGATED, 10), (HOSTILE, 2), ("control", 12)):
        page.select_option("#f-arm", arm)
        assert page.text_content("#tally") == f"{n} of {len(run)} transcripts"
    page.select_option("#f-arm", SHAM)
    assert page.text_content("#detail h3").startswith("no concept (sham) · no ")
    page.select_option("#f-dose", "none")
    assert page.text_content("#tally") == f"6 of {len(run)} transcripts"
    assert "Unit" not in page.text_content("#detail .meta")
    link = cell_link({"scaffold": "lindsey", "arm": SHAM, "concept": None, "layer": None, "magnitude": 0, "unit": None})
    assert open_page(path, fragment=link).text_content("#tally") == f"6 of {len(run)} transcripts"


def test_a_report_says_nothing_of_criteria_that_the_rubric_does_not_ask(tmp_path: Path) -> None:
    asked = {"identifies": None, "immediate": None, "coherent": None, "required": ("affirmative",)}
    run = make_run(trials=3, controls=6)
    records = [attrs.evolve(r, verdicts=[attrs.evolve(r.verdicts[0], rubric="yes/1", **asked)]) for r in run]
    both = [attrs.evolve(r, verdicts=[*r.verdicts, *o.verdicts]) for r, o in zip(records, run, strict=True)]
    page = write_report(both, tmp_path / "r.html", rubric="yes/1").read_text()
    assert "All of affirmative (strict) were met in" in page
    assert "All four criteria" not in page
    assert "was named in" not in page
    frame = records_frame(records)
    assert {p.stem for p in gallery(frame)} == {"rates-lindsey"} | {
        f"map-affirmative-{c}-lindsey-residual" for c in ("love", "all-caps")
    }
    (found,) = {a.criteria for _, _, a in judge_comparisons(Results("both", both), Results("both", both).judges[0])}
    assert [c.criterion for c in found] == ["affirmative", "strict"]
