r"""What a report of 100,000 trials costs: to write, on the disk, and to open.

    python benchmarks/report_scale.py             # needs Chromium at /usr/bin/chromium
    python benchmarks/report_scale.py --trials 10000

No model is run: replies are random words, 130 each, and verdicts are random. The design is 10 concepts, 5 layers and
10 doses, with as many draws as make up the number, and a hundred controls. Ends with status 1 where the page is larger
than 20 MB or takes longer than 2 s of its own processor time to open. Run to its end on 2026-11-26 on 2 cores under
other work: written in 37.6 s of processor time, a page of 13.7 MB that opens in 0.93 s of it (docs/report.md).
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import introspection_bench as ib
from introspection_bench.conditions import Condition
from introspection_bench.identity import Sampling, SteerKey, TrialKey

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MOST_BYTES = 20_000_000
MOST_SECONDS = 2.0
WORDS = ("I", "do", "not", "detect", "any", "thought", "about", "the", "ocean", "a", "quiet", "letter", "that", "comes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    wanted = parser.parse_args().trials
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    results = ib.Results("scale", made(wanted))
    print(f"{len(results):,} trials, peak so far {peak():.2f} GB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        began, worked = time.perf_counter(), time.process_time()
        page = ib.write_report(results, Path(folder) / "report.html")
        wall, work = time.perf_counter() - began, time.process_time() - worked
        print(f"written in {wall:.1f} s ({work:.1f} s of processor time), peak {peak():.2f} GB", flush=True)
        beside = [file.stat().st_size for file in Path(f"{page}.transcripts").glob("*")]
        size = page.stat().st_size
        print(f"page {size / 1e6:.1f} MB; beside it {len(beside)} files, {sum(beside) / 1e6:.1f} MB")
        slowest = max(opened(page) for _ in range(3))
    sys.exit(size > MOST_BYTES or slowest > MOST_SECONDS)


def peak() -> float:
    """Return the most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def opened(page: Path) -> float:
    """Open the page in a new browser and print how long that took; returns the page's own work in s."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("#list .item")
        wall = time.perf_counter() - began
        work = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]
        tab.focus("#list")
        began = time.perf_counter()
        tab.keyboard.press("End")
        tab.wait_for_selector("#detail .reply")
        last = time.perf_counter() - began
        browser.close()
    print(f"opened in {wall:.2f} s ({work:.2f} s of processor time); the last transcript after {last:.2f} s")
    return float(work)


def made(wanted: int) -> list[ib.TrialRecord]:
    source = random.Random(7)  # noqa: S311  # sample data, not secrets
    draws = max(1, wanted // 500)
    cells = [(c, n, d / 10) for c in range(10) for n in range(5) for d in range(1, 11)]
    records = []
    for concept, layer, dose in cells:
        condition = steered(f"concept {concept}", layer, dose)
        steer = SteerKey(f"vector {concept}", layer, dose, "residual", 0, None)
        records += [finished(condition, (steer,), draw, source) for draw in range(draws)]
    control = told("control", concept=None, asked="concept 0", layers=(), dose=None, span=None, truth="nothing")
    return records + [finished(control, (), draw, source) for draw in range(100)]


def steered(concept: str, layer: int, dose: float) -> Condition:
    return told(
        "injected",
        concept=concept,
        asked=concept,
        layers=(layer,),
        dose=ib.Dose(dose, "residual"),
        span="from(trial)",
        truth="injected",
    )


def told(arm: str, **changes: Any) -> Condition:
    return Condition(arm=arm, scaffold="lindsey", model="model", **changes)


def finished(condition: Condition, steers: tuple[SteerKey, ...], draw: int, source: random.Random) -> ib.TrialRecord:
    key = TrialKey("m", "torch", 1, f"prompt of {condition.arm} {condition.concept}", steers, Sampling(), draw)
    reply = ib.Reply(" ".join(source.choices(WORDS, k=130)), tuple(range(140)), "length")
    receipts = [ib.Receipt(30, 139, s.magnitude, 1.1 * s.magnitude) for s in steers]
    said, named = source.random() < 0.1, source.random() < 0.05
    answers = {"affirmative": said, "identifies": named, "immediate": said if named else None, "coherent": True}
    verdict = ib.Verdict("rules", "strict4", "d" * 64, str(condition.asked), answers)
    return ib.TrialRecord(ib.Trial(key, condition, None, draw), reply, receipts, [verdict])


if __name__ == "__main__":
    main()
