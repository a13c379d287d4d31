"""The page over several runs, in a real browser and from file://."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_checks import assert_fits_and_is_faultless
from report_samples import make_record

from introspection_bench.errors import OutputError
from introspection_bench.report import ListedRun, write_report, write_run_index

HOSTILE = "</td><script>alert('a')</script><img src=x onerror=\"alert('b')\">"


def index(folder: Path, recorded: int = 8, report: Path | None = None) -> Path:
    told = {
        "model": f"m {HOSTILE}",
        "spec": "lindsey",
        "judged": 8,
        "headline": "strict (rules): control 0/4, injected 0/4",
    }
    first = ListedRun(f"a {HOSTILE}", planned=8, recorded=recorded, report=report, **told)
    broken = ListedRun("b" * 90, error=f"store: {HOSTILE}")
    return write_run_index([first, broken], folder / "index.html", title=f"Runs in {HOSTILE}")


@pytest.mark.browser
def test_the_page_of_runs_leads_to_a_report_escapes_what_runs_say_and_has_no_fault_that_axe_knows(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    report = write_report([make_record()], tmp_path / "a %41#?" / "report.html", title="The first")
    page = open_page(index(tmp_path, recorded=3, report=report), ready="table.runs")
    assert page.locator("img").count() == 0
    assert HOSTILE in page.text_content("h1")
    assert "3/8 unfinished" in page.text_content("tbody")
    assert_fits_and_is_faultless(page)
    page.click("tbody a")
    page.wait_for_selector("#browser[data-ready]")
    assert page.text_content("h1") == "The first"


@pytest.mark.browser
def test_the_page_loads_again_while_a_run_goes_on_until_the_reader_stops_it(tmp_path: Path, chromium: Any) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.clock.install()
    page.goto(index(tmp_path, recorded=3).as_uri())
    index(tmp_path, recorded=5)
    page.clock.run_for(31_000)
    page.wait_for_selector("text=5/8")
    page.uncheck("#follow")
    index(tmp_path, recorded=6)
    page.clock.run_for(61_000)
    assert "5/8" in page.text_content("tbody")
    page.goto(index(tmp_path, recorded=8).as_uri())
    assert page.locator("#follow").count() == 0
    context.close()


def test_a_file_that_is_no_page_of_runs_is_not_replaced(tmp_path: Path) -> None:
    report = tmp_path / "index.html"
    report.write_text(before := '<meta name="generator" content="introspection_bench">')  # as a report has it
    with pytest.raises(OutputError, match="another file"):
        write_run_index([], report)
    assert report.read_text() == before
