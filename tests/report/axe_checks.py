"""What every page is checked for: at each width and in each colour scheme, by axe-core and for scrolling sideways."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe


def assert_fits_and_is_faultless(page: Any) -> None:
    """A page doesn't scroll sideways, and axe finds nothing, at 390, 800 and 1400 px, light and dark."""
    for width in (390, 800, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page)
            assert found.violations_count == 0, f"{width} px, {scheme}: {found.generate_report()}"
