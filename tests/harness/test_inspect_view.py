"""A log of ours in Inspect's own viewer, in a real browser: scripts/test_inspect.sh runs it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request

import attrs
import pytest

from introspection_bench import LINDSEY, Results
from introspection_bench.interop import write_inspect
from introspection_bench.results import JudgeName
from tests.odd_values import make_records
from tests.report.conftest import chromium  # noqa: F401  # the same browser as the report's tests

pytest.importorskip("inspect_ai", reason="not installed: scripts/test_inspect.sh")
pytestmark = pytest.mark.browser


def written(folder):
    """Twelve trials of Lindsey's question: the first not judged, the second unscored, and two judges for the others."""
    records = []
    for record in make_records()[:12]:
        trial = attrs.evolve(record.trial, condition=attrs.evolve(record.condition, wording=LINDSEY.digest))
        (verdict,) = record.verdicts
        records.append(attrs.evolve(record, trial=trial, verdicts=[verdict, attrs.evolve(verdict, judge="second")]))
    failed = attrs.evolve(records[1].verdicts[0], answers={}, unscored="<b>timeout</b>")
    records[:2] = [attrs.evolve(records[0], verdicts=[]), attrs.evolve(records[1], verdicts=[failed])]
    results = Results("run", records)
    write_inspect(results, folder / "run.eval")
    return results


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    """Our log, and the address of Inspect's viewer over its folder."""
    folder = tmp_path_factory.mktemp("logs")
    results = written(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inspect_ai", "view", "--log-dir", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urllib.request.urlopen(address, timeout=5).close()  # our own server
                break
            except OSError:
                time.sleep(0.2)
        yield results, address
        server.terminate()


@pytest.fixture
def page(viewed, chromium):  # noqa: F811  # the fixture, by its name
    context = chromium.new_context(viewport={"width": 1500, "height": 1000})
    opened = context.new_page()
    failures = []
    opened.on("pageerror", lambda error: failures.append(str(error)))
    opened.goto(f"{viewed[1]}/#/tasks/run.eval")
    opened.wait_for_selector("text=12 Samples")
    yield opened
    context.close()
    assert failures == []


def test_the_viewer_lists_every_trial_in_order_with_condition_and_reply(viewed, page):
    text = page.inner_text("body")
    for number, record in enumerate(viewed[0], 1):
        assert f"{number:02} {record.condition}" in text
    assert text.count("I see an ocean.") == 11  # the one that nobody judged has no score to show an answer by
    assert "NaN" not in text


def test_the_viewers_totals_are_ours_and_say_which_judge_and_how_many_are_unscored(viewed, page):
    page.get_by_text("All scoring...").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    rows = re.sub(r"\s+", " ", dialog.inner_text())
    for judge in sorted({str(JudgeName.of(v)) for r in viewed[0] for v in r.verdicts}):
        mine = [
            v.answers["affirmative"]
            for r in viewed[0]
            if r.arm == "injected"
            for v in r.verdicts
            if str(JudgeName.of(v)) == judge and v.answers
        ]
        n_all = sum(r.arm == "injected" for r in viewed[0])
        partly = f" ({len(mine)}/{n_all})" if len(mine) < n_all else ""
        assert f"affirmative on injected, {judge}{partly} {sum(mine)}.0 {len(mine)}.0" in rows, rows


def test_a_trials_page_shows_turns_scores_reason_and_what_was_injected(viewed, page):
    record = viewed[0].records[1]
    page.get_by_text(f"02 {record.condition}").click()
    page.get_by_role("tab", name="Messages").click()
    page.get_by_text("Do you detect an injected thought?").last.wait_for()
    page.get_by_role("tab", name="Scoring").click()
    page.get_by_text("<b>timeout</b>").first.wait_for()
    assert "grader_failed" in page.inner_text("body")
    page.get_by_role("tab", name="Info").click()
    page.get_by_text(record.key.digest).wait_for()
    assert f"{record.seed:,}" not in page.inner_text("body")
    assert str(record.seed) in page.inner_text("body")
