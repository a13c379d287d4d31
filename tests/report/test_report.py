"""The report without a browser: what it says, for ordinary and for degenerate runs."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import make_record, make_run, second_opinion

from introspection_bench.analysis import ConceptCounts, Results, difference, records_frame
from introspection_bench.analysis.binomial import bounds, interval, percent
from introspection_bench.analysis.cells import dose_text
from introspection_bench.errors import AnalysisError
from introspection_bench.items import Item
from introspection_bench.report import write_report
from introspection_bench.report.page.conversations import known_prompts
from introspection_bench.report.page.sections import clustered, null_section
from introspection_bench.report.page.transcripts import script_json, transcripts_payload
from introspection_bench.scaffolds import LINDSEY, LINDSEY_405B, Scaffold, Turn
from introspection_bench.structuring import plain
from introspection_bench.trials import TrialRecord
from introspection_bench.verdicts import CRITERIA, Evidence


def page_text(path: Path) -> str:
    """The page as a reader sees it, without markup, styles and data."""
    text = re.sub(r"<(script|style)\b.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))


def report_text(records: Any, folder: Path, **options: Any) -> str:
    return page_text(write_report(records, folder / "report.html", **options))


def counted(hits: int, trials: int, **criteria: Any) -> list[TrialRecord]:
    return [make_record(i, **dict.fromkeys(criteria, i < hits)) for i in range(trials)]


def test_headline_numbers_come_with_count_interval_and_denominator(tmp_path: Path) -> None:
    records = [*counted(5, 20, identifies=True), *(make_record(i, arm="control") for i in range(40))]
    text = report_text(records, tmp_path)
    assert (
        "The injected concept was named in 5 of 20 scored injected trials: 25 %, 95 % interval 8.66 to 49.1 % (these"
        in text
    )
    most = difference(ConceptCounts([0], [20]), ConceptCounts([0], [40]), estimand="these concepts").high
    assert (
        "in 0 of 40 scored controls and 0 of 20 scored injected trials: no difference shown, up to "
        f"{100 * most:.3g} points more not excluded" in text
    )


def test_tables_of_cells_say_that_their_intervals_are_not_adjusted_for_looking_at_many(tmp_path: Path) -> None:
    text = report_text(make_run(2, layers=(14,), controls=4), tmp_path)
    assert "is not adjusted for looking at many: there are 9 on this page." in text
    assert "looking at many" not in report_text([make_record(i) for i in range(3)], tmp_path)


def test_a_null_comes_with_the_rates_that_it_excludes(tmp_path: Path) -> None:
    text = report_text([make_record(i) for i in range(20)], tmp_path)
    assert "What this null excludes" in text
    assert "above 16.8 %" in text
    assert "1.15 %" in text  # 0 of 20 under 20 %


def test_a_best_cells_rate_stands_beside_its_correction_and_the_bound_for_all_cells(tmp_path: Path) -> None:
    hits = [make_record(i, magnitude=0.8, **dict.fromkeys(CRITERIA, i < 6)) for i in range(20)]
    frame = records_frame([*hits, *(make_record(i, magnitude=m) for m in (0.2, 0.4) for i in range(20))])
    section = null_section(frame)
    assert section.title == "What these counts exclude"
    row = next(r for r in section.tables[0].rows if "highest of 3 cells" in r)
    assert row[1:3] == ("6/20", "30 %; corrected for the choice 30.3 %")
    each = interval(6, 20, confidence=0.95 ** (1 / 3))
    assert row[3] == f"above {percent(each.high)}, below {percent(each.low)}"
    assert any("chosen for being the highest" in s for s in section.sentences)
    assert not any("The best of" in s and "corrected for the choice" not in s for s in section.sentences)
    # One cell was not chosen: it is no row of its own, and nothing is corrected.
    alone = null_section(frame[frame["magnitude"] == 0.2])
    assert alone.title == "What this null excludes"
    assert "corrected" not in str(alone)
    assert any(s.startswith("In the one cell: If the true rate were 20 %, 0 of 20") for s in alone.sentences)


def test_rates_over_concepts_are_said_for_outcomes_that_apply_and_no_others() -> None:
    records = [make_record(i, concept=c, affirmative=i < 3) for c in ("love", "dust") for i in range(10)]
    (said,) = clustered(records_frame(records))
    assert "affirmative: 6 of 20 on 2 concepts, on average 30 %" in said
    assert "it takes 5" in said
    assert clustered(records_frame(records), ("immediate",)) == []
    assert clustered(records_frame([make_record(0, arm="control")])) == []


def test_random_vectors_are_an_arm_of_their_own_and_no_part_of_the_injected_rates(tmp_path: Path) -> None:
    records = [*counted(0, 10), *(make_record(i, arm="random", identifies=True) for i in range(7))]
    text = report_text(records, tmp_path)
    assert "with 7 trials under random vectors" in text
    assert "named in 0 of 10 scored injected trials" in text
    assert "random vector · layer 19" in text


def test_receipts_are_averaged_by_cell_and_their_absence_is_said(tmp_path: Path) -> None:
    records = [make_record(0), make_record(1)]
    assert "0.4 </td>" in write_report(records, tmp_path / "a.html").read_text().replace("0.4</td>", "0.4 </td>")
    bare = [attrs.evolve(r, receipts=()) for r in records]
    assert "2 steered trials of 2 came without a receipt" in report_text(bare, tmp_path)


DEGENERATE = {
    "no trial": [],
    "one trial": [make_record()],
    "only controls": [make_record(i, arm="control") for i in range(3)],
    "no controls": [make_record(i) for i in range(3)],
    "nothing judged": [make_record(i, verdicts=()) for i in range(3)] + [make_record(0, arm="control", verdicts=())],
    "all unscored": [make_record(i, unscored="refused to judge") for i in range(3)],
    "controls unscored": [make_record(0), make_record(0, arm="control", verdicts=())],
    "unknown unit": [make_record(i, unit=None, magnitude=m) for i in range(3) for m in (1, 2)],
    "a direction removed": [make_record(i, unit="projection", magnitude=m) for i in range(3) for m in (1, 2)],
    "no layer": [make_record(i, layers=(), magnitude=m) for i in range(3) for m in (1, 2)],
    "no concept": [make_record(i, concept=None, magnitude=m) for i in range(3) for m in (1, 2)],
    "two units": [make_record(0, unit=u, magnitude=m) for u in ("raw", "residual") for m in (1, 2)],
    "only random vectors": [make_record(i, arm="random") for i in range(3)],
    "never applicable": [make_record(i, coherent=None, immediate=None) for i in range(3)],
    "empty replies": [make_record(i, text="") for i in range(3)],
}


@pytest.mark.parametrize("records", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_a_degenerate_run_still_gives_a_report_without_nan(records: list[TrialRecord], tmp_path: Path) -> None:
    text = report_text(records, tmp_path)
    assert not re.search(r"\bnan\b|\bNaN\b|<NA>|\bNone\b", text), text


def test_what_is_missing_is_said_in_words(tmp_path: Path) -> None:
    assert "No trial has a verdict" in report_text(DEGENERATE["nothing judged"], tmp_path)
    assert "no control was run" in report_text(DEGENERATE["no controls"], tmp_path)
    assert "3 unscored (see Judges for the reasons)" in report_text(DEGENERATE["all unscored"], tmp_path)
    assert "by a dose that their source does not state" in report_text(DEGENERATE["unknown unit"], tmp_path)
    assert "refused to judge" in report_text(DEGENERATE["all unscored"], tmp_path)


def test_with_two_judges_the_page_says_whose_verdicts_count_and_how_far_they_agree(tmp_path: Path) -> None:
    records = [
        attrs.evolve(r, verdicts=(*r.verdicts, second_opinion(r, coherent=i % 4 > 0)))
        for i, r in enumerate(make_record(i) for i in range(20))
    ]
    text = report_text(records, tmp_path, judge="claude")
    assert "tables and figures use claude/strict4 (claude-sonnet-4-6), blinded" in text
    assert "coherent was" not in text
    assert re.search(r"The reply was coherent in 15 of 20", text)
    assert re.search(r"coherent 20 75 % \(50\.9 to 91\.3 %\)", text)


def test_an_unknown_judge_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="rules/strict4"):
        write_report([make_record()], tmp_path / "r.html", judge="gpt")
    assert not (tmp_path / "r.html").exists()


def test_results_bring_their_name_spec_and_notes(tmp_path: Path) -> None:
    results = Results(
        "my run", [make_record()], {"grid": {"layers": [14, 19]}, "versions": {"torch": "2.13"}}, "", ["N1"]
    )
    text = report_text(results, tmp_path)
    for said in ("my run", "grid.layers 14, 19", "torch 2.13", "N1"):
        assert said in text
    assert "Another title" in report_text(results, tmp_path, title="Another title")


def test_credentials_in_a_spec_are_not_written(tmp_path: Path) -> None:
    spec = {"judge": {"api_key": "sk-1234", "token": "abcd-1234", "max_new_tokens": 77}, "stop_token": "efgh-1234"}
    page = write_report([make_record()], tmp_path / "r.html", spec=spec).read_text()
    assert "1234" not in page
    assert "77" in page


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = make_run(2, concepts=("love",), layers=(14,), magnitudes=(0.2, 0.8))
    first = write_report(records, tmp_path / "a.html").read_bytes()
    assert write_report(records, tmp_path / "b.html").read_bytes() == first


def test_a_report_that_fails_leaves_the_older_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report([make_record()], tmp_path / "r.html")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report([make_record(1)], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_asks_for_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = write_report(make_run(2, concepts=("love",), layers=(14,)), tmp_path / "r.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href|srcset)=["'](?!data:|#)""", page)
    assert "unsafe-inline" not in page


@given(st.text(max_size=200))
def test_any_text_survives_the_data_element_and_can_not_end_it(text: str) -> None:
    data = script_json([text, "</script><!--"])
    assert json.loads(data) == [text, "</script><!--"]
    assert data.isascii()
    assert not re.search(r"[<>&]", data)


@given(st.text(max_size=60), st.data())
def test_evidence_offsets_select_the_same_text_in_utf16(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    verdict = attrs.evolve(make_record().verdicts[0], evidence=(Evidence("coherent", start, stop, ""),))
    payload = transcripts_payload([make_record(text=text, verdicts=(verdict,))])
    (_, first, last, _) = payload["trials"][0][9][0][5][0]
    units = text.encode("utf-16-le", "surrogatepass")
    assert units[2 * first : 2 * last].decode("utf-16-le", "surrogatepass") == text[start:stop]


@given(st.floats(0, 1))
def test_a_rate_above_zero_is_never_written_as_zero_and_one_below_one_never_as_one(rate: float) -> None:
    shown = float(percent(rate).removesuffix(" %"))
    assert (shown == 0) == (rate == 0)
    assert (shown == 100) == (rate > 1 - 1e-15)
    assert shown == pytest.approx(100 * rate, rel=0.005)


def test_numbers_are_written_as_in_the_issue() -> None:
    assert [percent(r) for r in (0, 0.0091799, 0.168433, 1)] == ["0 %", "0.918 %", "16.8 %", "100 %"]
    assert bounds(0, 0.168433) == "0 to 16.8 %"
    assert dose_text({"magnitude": 10.0, "unit": "update"}) == "10 update"
    assert dose_text({"magnitude": 0.5, "unit": None}) == "dose not stated"


@pytest.mark.published
def test_the_published_run_is_reported_with_its_unit_and_bounds(published: Path, tmp_path: Path) -> None:
    from introspection_bench.interop import read_results

    text = report_text(read_results(published / "llama405b" / "layer84_canonical.judged.json"), tmp_path)
    for said in (
        "0 of 400",
        "above 0.918 %",
        "above 28.4 %",
        "above 84.2 %",
        "0 of 80 scored controls",
        "10.89",
        "9.55",
        "10 update",
    ):
        assert said in text, said


@pytest.mark.slow
def test_a_run_of_many_concepts_shows_them_pooled_before_each_of_them_and_says_what_it_left_out(tmp_path: Path) -> None:
    concepts = tuple(f"concept{i}" for i in range(30))
    records = make_run(1, concepts=concepts, layers=(14,), magnitudes=(0.2, 0.8), controls=0)
    path = write_report(records, tmp_path / "many.html")
    assert "The first 24 of 32 figures" in page_text(path)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", path.read_text(), flags=re.S)
    assert captions[1].startswith("30 concepts pooled under lindsey, layer 14")
    assert "treat trials of one concept as independent" in captions[1]


def test_the_wording_of_a_scaffold_is_shown_only_where_the_digest_proves_it() -> None:
    def record(wording: str, item: str | None = None, scaffold: str = "lindsey") -> TrialRecord:
        return make_record(wording=wording, item=item, scaffold=scaffold)

    assert known_prompts(Results("r", [record(LINDSEY.digest)])) == {("lindsey", None): LINDSEY.transcript}
    assert known_prompts(Results("r", [record("0" * 64)])) == {}
    mine = Scaffold("mine", [Turn("user", "Say {word}.")])
    spec = {"design": {"scaffolds": [plain(mine), "another"], "items": [plain(Item("one", {"word": "tide"}))]}}
    records = [record(mine.digest, item, "mine") for item in ("one", "unknown", None)]
    assert known_prompts(Results("r", records, spec)) == {("mine", "one"): "[user]\nSay tide."}
    two = [record(LINDSEY.digest), record(LINDSEY_405B.digest)]
    assert known_prompts(Results("r", two)) == {}  # one name, two wordings
