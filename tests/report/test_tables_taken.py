"""Tables of the page: sorted by keyboard, taken along as CSV and LaTeX; and nothing that axe-core objects to."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from report_samples import make_record, make_run, second_opinion

from introspection_bench import Results, load_battery
from introspection_bench.report import write_report
from introspection_bench.report.page import html as page_html
from introspection_bench.trials import TrialRecord
from tests.analysis.test_explaining import alive
from tests.report.test_measured_sections import CONCEPTS, asked_under, scores

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_html, "MOST_FIGURES", 1)  # they take most of the time
        records = [*make_run(2, layers=(14,)), make_record(0, concept='=1+"x"', magnitude=0.9)]
        return write_report(records, tmp_path_factory.mktemp("tables") / "a run.html")


def full_run() -> Results:
    """A run with nearly everything that a page has a section for."""
    items = load_battery("wordings").items[:2]
    asked: list[TrialRecord] = []
    for place, record in enumerate(make_run(1, concepts=CONCEPTS[:5], layers=(19,), magnitudes=(0.2, 0.4))):
        trial = attrs.evolve(record.trial, item=items[place % 2].name)
        readings = () if record.concept is None else (scores("naming", record.concept),)
        verdicts = (*record.verdicts, second_opinion(record, coherent=place % 3 > 0))
        asked.append(attrs.evolve(record, trial=trial, verdicts=verdicts, readings=readings))
    spec = {"design": {"items": [{"name": i.name, "slots": dict(i.slots)} for i in items], "seed": 4}}
    records = [*asked, *asked_under("injected", 3.0), make_record(0, unscored="no answer"), make_record(1, verdicts=())]
    return Results("A run of everything", records, spec, notes=("A note.",), effects=alive(concepts=CONCEPTS[:2]))


def known_run() -> Results:
    """A run of another model, with the same dose."""
    records = [make_record(n, model="m+introspector", affirmative=True) for n in range(2)]
    return Results("known", [*records, make_record(0, arm="control", concept=None, model="m+introspector")])


def taken(page: Any, kind: str, name: str) -> str:
    with page.expect_download() as download:
        page.click(f"#cells .tools button:text-is('{kind}')")
    assert download.value.suggested_filename.startswith(name)
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_a_table_sorts_by_its_rates_from_the_keyboard_and_says_so(report: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(report)
    names = "[...document.querySelectorAll('#cells tbody th')].map((e) => e.textContent)"
    rates = "[...document.querySelectorAll('#cells tbody tr')].map((r) => r.cells[4].querySelector('b').textContent)"
    before = page.evaluate(names)
    head = page.locator("#cells thead th").nth(4)
    head.locator("button").focus()
    for order in ("ascending", "descending"):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        shown = [float(text.replace("\u00a0%", "")) for text in page.evaluate(rates)]
        assert shown == sorted(shown, reverse=order == "descending")
        assert len(set(shown)) > 1
    assert page.locator("[aria-sort]").count() == 1
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert page.evaluate(names) == before


def test_a_table_is_taken_along_as_numbers_without_formulas_and_as_latex_that_escapes(
    report: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(report)
    first, *rows = list(csv.DictReader(taken(page, "CSV", "concept-injection-lindsey").splitlines()))
    assert first["Cell"] == "control"
    assert (first["affirmative k"], first["affirmative n"], float(first["affirmative high"])) == (
        "0",
        "12",
        pytest.approx(0.2646, abs=1e-4),
    )
    assert (first["n"], first["immediate n"], first["immediate rate"]) == ("12", "0", "")
    strange = next(r for r in rows if "0.9 residual" in r["Cell"])
    assert strange["Cell"].startswith('\'=1+"x"')
    tex = taken(page, "LaTeX", "concept-injection-lindsey")
    assert r"\toprule" in tex
    assert r"all\_caps $\cdot$ layer 14 $\cdot$ 0.1 residual & 2 & 0 & " in tex
    assert r"~\% (" in tex
    with page.expect_download() as download:
        page.click("#cite .tools button")
    assert download.value.suggested_filename == "introspection_bench.bib"
    assert Path(download.value.path()).read_text(encoding="utf-8").startswith("@")


def test_sections_and_figures_have_addresses_and_a_transcripts_link_leaves_out_where_the_file_lies(
    report: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(report)
    for address in page.evaluate("[...document.querySelectorAll('a.anchor')].map((a) => a.getAttribute('href'))"):
        assert page.locator(f"[id='{address[1:]}']").count() == 1
    assert page.locator("figure .anchor[href='#figure-rates-lindsey']").count() == 1
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (t) => { window.t = t; }}})")
    page.click("#detail .bar button:text-is('Copy link')")
    assert page.evaluate("window.t").startswith("a run.html#trial=")


def test_axe_finds_nothing_at_any_width_in_light_and_dark(
    report: Path, open_page: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    monkeypatch.setattr(page_html, "MOST_FIGURES", 2)
    full = write_report(full_run(), tmp_path / "full.html", beside=known_run())
    for path in (report, full):
        page = open_page(path)
        for width in (390, 800, 1400):
            for scheme in ("light", "dark"):
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme)
                # Contrast takes five sixths of the time; on the large page it is looked at twice.
                looked = path == report or (width, scheme) in ((390, "light"), (1400, "dark"))
                rules = {} if looked else {"color-contrast": {"enabled": False}}
                options = {"resultTypes": ["violations"], "rules": rules}
                found = Axe().run(page, options=options).response["violations"]
                said = [(v["id"], [n["html"][:150] for n in v["nodes"]][:3]) for v in found]
                assert not said, f"{path.name}, {width} px, {scheme}"
    assert page.locator("main > section").count() >= 12
