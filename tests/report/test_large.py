"""Reports of large runs: the transcripts lie beside the page, and load as they are looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from playwright.sync_api import expect
from report_samples import make_record, make_run, second_opinion

from introspection_bench.cli.results import tell_beside
from introspection_bench.report import write_report
from introspection_bench.report.page import html as page_html
from introspection_bench.report.page import parts
from introspection_bench.report.page.transcripts import transcripts_payload
from introspection_bench.trials import TrialRecord

LAST = "A zebra. </script><script>alert('script')</script><img src=x onerror=\"alert('img')\"> \u2028 🙂"


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits at which a run of a few hundred trials is a large one."""
    monkeypatch.setattr(parts, "MOST_IN_PAGE", 20_000)
    monkeypatch.setattr(parts, "PART_BYTES", 10_000)
    monkeypatch.setattr(page_html, "MOST_FIGURES", 0)  # they take most of the time


def large_run() -> list[TrialRecord]:
    records = make_run(30, concepts=("love",), layers=(14,))
    first = records[0]
    records[0] = attrs.evolve(first, verdicts=(*first.verdicts, second_opinion(first, affirmative=True)))
    # Controls come last, and of these the one with the highest number.
    return [*records, make_record(999, arm="control", text=LAST, unscored="no answer")]


def files_of(page: Path) -> list[Path]:
    return sorted(Path(f"{page}.transcripts").glob("*.js"))


@pytest.mark.browser
def test_a_transcript_of_the_last_file_is_found_and_shown_from_a_file_address(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    path = write_report(large_run(), tmp_path / "a #1 run.html")
    count = len(large_run())
    page = open_page(path)
    expect(page.locator("#tally")).to_have_text(f"{count} of {count} transcripts")
    expect(page.locator("#detail .reply")).to_be_visible()  # of the first file, which came by itself
    expect(page.locator("#list .snippet").first).not_to_have_text("…")
    page.focus("#list")
    page.keyboard.press("End")
    expect(page.locator("#detail .reply")).to_have_text(LAST)
    assert page.text_content("#detail .verdict .note") == "Unscored: no answer"
    page.reload()
    page.wait_for_selector("#browser[data-ready]")
    page.fill("#q", "ZEBRA")
    expect(page.locator("#tally")).to_have_text(f"1 of {count} transcripts")
    expect(page.locator("#detail .reply mark")).to_have_text("zebra")
    assert page.text_content("#detail .reply") == LAST
    assert page.locator("img[src=x], #detail script").count() == 0
    assert f"of {len(files_of(path))} files" not in page.text_content("#tally")


@pytest.mark.browser
def test_filters_count_before_any_file_is_read_and_a_missing_file_is_named(tmp_path: Path, chromium: Any) -> None:
    path = write_report(large_run(), tmp_path / "r.html")
    last = files_of(path)[-1]
    for file in files_of(path):
        file.unlink()
    page = chromium.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#browser[data-ready]")
    page.select_option("#f-arm", "control")
    expect(page.locator("#tally")).to_have_text(f"13 of {len(large_run())} transcripts")
    page.focus("#list")
    page.keyboard.press("End")
    expect(page.locator("#detail .warning")).to_contain_text(f"r.html.transcripts/{last.name} is missing")
    page.fill("#q", "zebra")
    expect(page.locator("#tally")).to_contain_text("Not searched: r.html.transcripts/0000-")
    page.close()


def test_page_and_files_together_hold_what_one_page_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = large_run()
    path = write_report(records, tmp_path / "r.html", prompts={("lindsey", None): "[user]\nHello"})
    in_page = re.search(r'id="transcripts-data">(.*?)</script>', path.read_text(encoding="utf-8"), flags=re.S)
    assert in_page is not None
    data = json.loads(in_page[1])
    rests = []
    for number, file in enumerate(files_of(path)):
        text = file.read_text(encoding="ascii")
        assert not re.search("[<>&]", text)
        call = re.fullmatch(rf"introspectionBenchPart\({number},(.*)\)\n", text)
        assert call is not None
        rests += json.loads(call[1])
    tell_beside(path)
    assert "r.html.transcripts; keep" in capsys.readouterr().out
    assert [file.name for file in files_of(path)] == [name for name, _ in data["parts"]]
    whole = transcripts_payload(records, prompts={("lindsey", None): "[user]\nHello"})
    for head, rest, row in zip(data["trials"], rests, whole["trials"], strict=True):
        verdicts = [[v[0], v[1], *told] for v, told in zip(head[4], rest[5], strict=True)]
        assert [*head[:4], *rest[:5], verdicts, *rest[6:]] == row
    assert {name: told for name, told in data.items() if name in whole and name != "trials"} == {
        name: told for name, told in whole.items() if name != "trials"
    }
    # Small again, it is one file, and of what lay beside it only what is somebody else's stays.
    beside = Path(f"{path}.transcripts")
    (beside / "mine.js").write_text("1")
    monkeypatch.setattr(parts, "MOST_IN_PAGE", 10_000_000)
    assert "This file holds everything" in write_report(records, path).read_text(encoding="utf-8")
    assert [file.name for file in beside.iterdir()] == ["mine.js"]


def test_a_report_that_fails_leaves_the_older_page_with_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(large_run(), tmp_path / "r.html")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file()}

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("introspection_bench.report.page.html.write_file", full)
    with pytest.raises(OSError, match="No space"):
        write_report([attrs.evolve(r, verdicts=()) for r in large_run()], path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file()} == before
