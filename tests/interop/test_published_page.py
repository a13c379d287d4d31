"""The page of published results: the counts of its tables come out of the files again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.published, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def tables(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_page_of_published_results_says_what_its_command_computes(published):
    files = sorted((published / "llama405b").glob("*.judged.json"))
    files += sorted((published / "introspection_scaling").glob("*.jsonl"))
    if len(files) < 7:
        pytest.skip("the studies' files are not shipped")
    command = [sys.executable, ROOT / "examples" / "published.py", *files]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    page = (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
    assert sorted(tables(shown)) == sorted(tables(page))
