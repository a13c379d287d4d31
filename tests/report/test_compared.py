"""The page of two runs compared, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_checks import assert_fits_and_is_faultless
from report_samples import make_run

from introspection_bench.analysis import Results, compare
from introspection_bench.report import write_comparison

pytestmark = pytest.mark.browser

HOSTILE = "</dd><script>alert('a')</script><img src=x onerror=\"alert('b')\">"


def test_a_comparison_escapes_what_the_runs_say_fits_each_width_and_has_no_fault_that_axe_knows(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    prompt = "A first sentence that both runs have in their prompts. "
    first = Results(f"a {HOSTILE}", make_run(4), {"prompt": f"{prompt}What now?", "doses": [0.1, HOSTILE]})
    second = Results("b", make_run(5), {"prompt": f"{prompt}{HOSTILE * 4}", "doses": [0.1, 0.2]})
    page = open_page(write_comparison(compare(first, second), tmp_path / "compare.html"), ready="dl.changes")
    assert page.locator("script, img").count() == 0
    assert HOSTILE in page.text_content("h1")
    assert "only in b" in page.text_content("main")
    assert [text.strip() for text in page.locator("dl.changes ins").all_text_contents()][-1].startswith(HOSTILE)
    assert_fits_and_is_faultless(page)
