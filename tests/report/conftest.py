"""A real Chromium, and a page that must stay silent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
#: What a report has once its transcripts can be looked at.
READY = "#browser[data-ready]"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, headless; a missing one fails under CI and skips elsewhere."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium")
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a report; at the end of the test no console error, no page error and no request may have occurred."""
    contexts, troubles = [], []

    def opened(
        path: Path,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        fragment: str = "",
        ready: str = READY,
    ) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: troubles.append(f"console {m.type}: {m.text}") if m.type != "log" else None)
        page.on("pageerror", lambda e: troubles.append(f"page error: {e}"))
        page.on(
            "request",
            lambda r: troubles.append(f"request: {r.url[:100]}") if not r.url.startswith(("file:", "data:")) else None,
        )
        page.on("requestfailed", lambda r: troubles.append(f"failed: {r.url[:100]}"))
        page.on("dialog", lambda d: troubles.append(f"a script ran: {d.message}"))
        page.goto(path.as_uri() + fragment)
        page.wait_for_selector(ready)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []
