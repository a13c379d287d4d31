"""The HTML report in a real browser: nothing leaves the page, nothing in a reply becomes markup, keys and filters."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from playwright.sync_api import expect
from report_samples import make_record, make_run, second_opinion

from introspection_bench.report import write_report
from introspection_bench.verdicts import Evidence

pytestmark = pytest.mark.browser

HOSTILE = (
    "</script><script>alert('script')</script><img src=x onerror=\"alert('img')\"><!-- \u2028 \u2029 ]]> "
    "<style>*{display:none}</style>{{ 7*7 }} &lt;b&gt; \x00 \ud800 end"
)


@pytest.fixture(scope="module")
def run_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(
        make_run(), tmp_path_factory.mktemp("report") / "run.html", prompts={("lindsey", None): "[user]\nHello"}
    )


def tally(page: Any) -> tuple[int, int]:
    shown, total = re.fullmatch(r"([\d,]+) of ([\d,]+) transcripts", page.text_content("#tally")).groups()
    return int(shown.replace(",", "")), int(total.replace(",", ""))


def await_tally(page: Any, start: str) -> None:
    expect(page.locator("#tally")).to_have_text(f"{start} transcripts")


def heading(page: Any) -> str:
    return str(page.text_content("#detail h3"))


def test_filters_narrow_the_list_together_and_clearing_them_brings_all_back(
    run_report: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(run_report)
    assert tally(page) == (140, 140)
    page.select_option("#f-concept", "love")
    assert tally(page) == (64, 140)
    page.select_option("#f-arm", "injected")
    page.select_option("#f-layer", "14")
    page.select_option("#f-dose", "0.8 residual")
    page.select_option("#f-scaffold", "lindsey")
    assert tally(page) == (8, 140)
    yes = 0
    for answer, expected in (("yes", True), ("no", True), ("n/a", False)):
        page.select_option("#f-identifies", answer)
        yes += tally(page)[0]
        assert (tally(page)[0] > 0) is expected or answer == "no"
    assert yes == 8
    page.click("#reset")
    assert tally(page) == (140, 140)


def test_search_finds_text_of_replies_and_marks_it_in_the_transcript(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    records = [make_record(i, text="Nothing there.") for i in range(5)] + [make_record(9, text="A Zebra, a zebra!")]
    page = open_page(write_report(records, tmp_path / "r.html"))
    page.fill("#q", "ZEBRA")
    await_tally(page, "1 of 6")
    assert page.locator("#detail .reply mark").all_text_contents() == ["Zebra", "zebra"]
    page.fill("#q", "no such text")
    await_tally(page, "0 of 6")
    assert page.text_content("#detail") == "No transcript matches these filters."


def test_keys_move_search_help_and_can_be_switched_off(run_report: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(run_report)
    first = heading(page)
    page.keyboard.press("j")
    second = heading(page)
    assert first != second
    page.keyboard.press("k")
    assert heading(page) == first
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    assert heading(page) == second
    page.keyboard.press("End")
    last = heading(page)
    active = page.get_attribute("#list", "aria-activedescendant")
    assert page.get_attribute(f"[id='{active}']", "aria-posinset") == "140"
    page.keyboard.press("ArrowDown")
    assert heading(page) == last
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("jk?")  # letters in the search box are text
    assert page.input_value("#q") == "jk?"
    page.keyboard.press("Escape")
    assert page.input_value("#q") == ""
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.uncheck("#single-keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")
    before = heading(page)
    page.keyboard.press("k")
    assert heading(page) == before


def test_the_address_restores_filters_and_the_chosen_transcript(
    run_report: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(run_report)
    page.select_option("#f-dose", "0.4 residual")
    for _ in range(3):
        page.keyboard.press("j")
    # The page itself is asked: what the driver knows of the address comes later.
    address, title = page.evaluate("location.href"), heading(page)
    again = open_page(run_report, fragment=address[address.index("#") :])
    assert heading(again) == title
    assert again.input_value("#f-dose") == "0.4 residual"
    assert tally(again) == (32, 140)


def test_a_cell_of_the_table_leads_to_exactly_its_transcripts(run_report: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(run_report)
    for name, count in (("all_caps · layer 19 · 0.2 residual", 8), ("control", 12)):
        page.click(f"#cells a:text-is('{name}')")
        await_tally(page, f"{count} of 140")


def test_a_section_link_leaves_the_filters_alone(run_report: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(run_report)
    page.select_option("#f-layer", "14")
    page.click("nav.contents a[href='#cells']")
    assert tally(page) == (64, 140)
    assert page.input_value("#f-layer") == "14"


def test_markup_in_replies_names_and_notes_stays_text(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    verdict = attrs.evolve(
        make_record().verdicts[0], notes=HOSTILE, judge=HOSTILE[:-10], evidence=(Evidence("coherent", 0, 9, HOSTILE),)
    )
    record = make_record(0, text=HOSTILE, concept="<i>love</i>", scaffold="</script>x", verdicts=(verdict,))
    path = write_report(
        [record],
        tmp_path / "hostile.html",
        title=f"<b>{HOSTILE}",
        spec={"<u>": {"x": HOSTILE}},
        notes=[HOSTILE],
        prompts={("</script>x", None): HOSTILE},
    )
    page = open_page(path)
    page.click("#detail summary")
    assert page.locator("img[src=x], body b > script, #detail script, .reply img, dd u").count() == 0
    shown = page.evaluate("document.querySelector('#detail .reply').textContent")
    assert shown == HOSTILE.replace("\ud800", "\ufffd") or "\u2028 \u2029" in shown
    assert shown.startswith("</script><script>alert('script')</script><img")
    assert page.is_visible("#detail .reply")
    assert "49" not in page.text_content("h1")


def test_evidence_behind_wide_characters_is_marked_at_the_right_place(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    text = "🙂🙂 it is love, I think"
    at = text.index("love")
    evidence = (Evidence("identifies", at, at + 4, "the name"), Evidence("coherent", at + 2, at + 6, "a sentence"))
    verdict = attrs.evolve(make_record().verdicts[0], evidence=evidence)
    page = open_page(write_report([make_record(text=text, verdicts=(verdict,))], tmp_path / "e.html"))
    assert page.locator("#detail .evidence").all_text_contents() == ["lo", "ve", ", "]
    assert page.text_content("#detail .reply") == text
    assert page.locator("#detail .reasons li").all_text_contents() == ["identifies: the name", "coherent: a sentence"]


def test_with_two_judges_the_filters_follow_the_chosen_judge_and_disagreement_can_be_found(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    records = []
    for i in range(6):
        record = make_record(i)
        other = second_opinion(record, affirmative=i < 2)
        records.append(attrs.evolve(record, verdicts=(*record.verdicts, other)))
    page = open_page(write_report(records, tmp_path / "two.html"))
    page.select_option("#f-scored", "disagree")
    assert tally(page) == (2, 6)
    page.select_option("#f-scored", "")
    page.select_option("#f-affirmative", "yes")
    assert tally(page)[0] in (0, 2)
    counts = {tally(page)[0]}
    page.select_option("#f-judge", "1")
    counts.add(tally(page)[0])
    assert counts == {0, 2}


def test_ten_thousand_transcripts_open_within_two_seconds_and_few_rows_exist(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    records = make_run(2500, controls=0, words=80, layers=(14,), magnitudes=(0.2, 0.8))
    assert len(records) == 10_000
    path = write_report(records, tmp_path / "large.html")
    page = open_page(path)
    # The page's own work in processor time: what the clock on the wall shows depends on what else the machine does.
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    page.wait_for_selector("#list .item")
    seconds = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]
    assert tally(page) == (10_000, 10_000)
    assert page.locator("#list .item").count() < 60
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_selector("[aria-posinset='10000'][aria-selected='true']")
    assert 0 < seconds < 2, f"opening took {seconds} s"


@pytest.mark.parametrize("width", [320, 380, 768, 1280, 1920])
def test_the_page_never_scrolls_sideways(run_report: Path, open_page: Callable[..., Any], width: int) -> None:
    page = open_page(run_report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = "[...document.querySelectorAll('#detail, #list, figure')].map((e) => e.getBoundingClientRect().right)"
    assert max(page.evaluate(boxes)) <= width


def test_a_dark_setting_gives_a_dark_page_with_dark_figures(run_report: Path, open_page: Callable[..., Any]) -> None:
    light, dark = (open_page(run_report, scheme=s) for s in ("light", "dark"))
    sum_of = (
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b)"
    )
    assert light.evaluate(sum_of) > 600
    assert dark.evaluate(sum_of) < 120
    source = "document.querySelector('figure img').currentSrc"
    assert light.evaluate(source) != dark.evaluate(source)


def test_every_control_has_a_name_and_every_id_occurs_once(run_report: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(run_report)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert (
        page.evaluate("[...document.querySelectorAll('select, input')].filter(e => !e.labels.length).map(e => e.id)")
        == []
    )
    assert page.evaluate("[...document.images].every(i => i.alt && i.naturalWidth > 0)")


def test_print_shows_tables_in_full_without_the_controls(run_report: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(run_report)
    page.emulate_media(media="print")
    assert not page.is_visible("#filters")
    assert not page.is_visible("#list")
    assert page.is_visible("#detail .reply")
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
