"""The documentation's own pages in Chromium, as `make docs` left them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

BUILT = Path(__file__).resolve().parents[2] / "docs" / "_build" / "html"
WIDTHS, SCHEMES = (390, 800, 1400), ("light", "dark")
#: A first page in every way of looking at it; a notebook, lists, wide tables and signatures where they are tightest.
VIEWS = [
    *[("index", width, scheme) for width in WIDTHS for scheme in SCHEMES],
    ("first_injection", 390, "light"),
    ("cli", 390, "dark"),
    ("exports", 800, "dark"),
    ("api/interop", 1400, "light"),
    ("search", 390, "light"),
]


@pytest.mark.browser
@pytest.mark.parametrize(("page", "width", "scheme"), VIEWS)
def test_axe_finds_nothing_on_a_page_of_the_documentation(chromium: Any, page: str, width: int, scheme: str) -> None:
    path = BUILT / f"{page}.html"
    if not path.exists():
        pytest.skip(f"{path.name} is not built: make docs")
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        shown = context.new_page()
        shown.goto(path.as_uri())
        found = Axe().run(shown).response["violations"]
    finally:
        context.close()
    assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in found] == []
