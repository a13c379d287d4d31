"""The head of a report, how it is cited, and its layout on paper and on a phone."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_samples import make_record, make_run

from introspection_bench import __version__
from introspection_bench.report import write_report
from introspection_bench.report.page import html as page_html
from introspection_bench.results import Results
from introspection_bench.verdicts import CRITERIA

SPEC = {
    "model": {"name": "org/model", "backend": "torch", "options": {"torch": {"revision": "abc<b>"}}},
    "found": {"fingerprint": "f" * 64, "dtype": "bfloat16"},
    "design": {"seed": 41},
}
SESSIONS = [
    {"stage": "generate", "versions": {"torch": "2.9", "vllm": "0.26"}},
    {"stage": "judge", "versions": {"torch": "9.9"}},
    {"stage": "generate", "versions": {"torch": "2.10"}},
]


def head_of(page: Path) -> dict[str, str]:
    facts = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page.read_text(encoding="utf-8").partition("</header>")[0])
    return {html.unescape(term): html.unescape(text) for term, text in facts}


def test_the_head_says_date_versions_revision_dtype_and_seed_of_the_run(tmp_path: Path) -> None:
    manifest = {"created": "2026-11-26T10:00:00", "sessions": SESSIONS}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    results = Results("r", [make_record()], SPEC, str(tmp_path))
    page = write_report(results, tmp_path / "r.html")
    assert "abc<b>" not in page.read_text(encoding="utf-8")
    said = head_of(page)
    assert said["Model's revision"] == "abc<b>; fingerprint ffffffffffff"
    assert said["Dtype"] == "bfloat16"
    assert said["Seed"].startswith("41 of the design")
    assert said["Date"] == "2026-11-26T10:00:00"
    assert said["Versions"] == "torch 2.9, then 2.10, vllm 0.26"


@pytest.mark.parametrize(
    "manifest", ["[1", '{"sessions": 3, "created": null}', '{"sessions": [null, {"versions": 1}]}']
)
def test_of_a_source_that_states_nothing_the_head_claims_nothing(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest, encoding="utf-8")
    results = Results("r", [make_record()], {"model": "a name", "found": [1]}, str(tmp_path))
    said = head_of(write_report(results, tmp_path / "r.html"))
    assert not {"Model's revision", "Dtype", "Seed", "Date", "Versions"} & said.keys()


def test_the_page_and_the_citation_file_cite_the_same_work(tmp_path: Path) -> None:
    text = html.unescape(write_report([make_record()], tmp_path / "r.html").read_text(encoding="utf-8"))
    entries = text[text.index('class="bibtex"') :].partition("</pre>")[0]
    assert f"version = {{{__version__}}}" in entries
    assert entries.count("{") == entries.count("}")
    cff = (Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8")
    for title in re.findall(r'title: "(.*)"', cff):
        assert title in entries.replace("\\_", "_")
    assert "2601.01828" in cff
    assert "2601.01828" in entries


@pytest.mark.browser
def test_on_a_phone_the_name_of_a_cell_stays_and_on_paper_no_table_is_below_8_points(
    tmp_path: Path, open_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_html, "MOST_FIGURES", 0)  # they take most of the time
    met = make_record(7, text="It is <b>love</b>.", **dict.fromkeys(CRITERIA, True))
    page = open_page(write_report([*make_run(2), met], tmp_path / "r.html"), width=390)
    assert not page.is_visible("#appendix")
    left = """() => {
      const frame = document.querySelector('#cells .scroll');
      frame.scrollLeft = 10000;
      const name = frame.querySelector('tbody th').getBoundingClientRect().left - frame.getBoundingClientRect().left;
      return [frame.scrollLeft, name];
    }"""
    scrolled, name = page.evaluate(left)
    assert scrolled > 100
    assert 0 <= name < 5
    page.emulate_media(media="print")
    smallest = """() => Math.min(...[...document.querySelectorAll('main *')].filter((e) =>
      [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && e.checkVisibility())
      .map((e) => parseFloat(getComputedStyle(e).fontSize)))"""
    assert page.evaluate(smallest) >= 8 * 96 / 72 - 0.01
    # On paper there is no browser: the successes' transcripts stand at the end.
    assert page.text_content("#appendix .reply") == "It is <b>love</b>."
    assert page.locator("#appendix .reply").count() == 1
    assert page.is_visible("#appendix")
    assert not page.is_visible(".tools >> nth=0")
