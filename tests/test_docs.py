"""What the documentation tells a reader to type works as it stands."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from introspection_bench import errors
from introspection_bench.cli import app
from introspection_bench.report.page.citing import bibtex
from introspection_bench.sweep import RunSpec

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
QUICKSTART = (DOCS / "quickstart.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", QUICKSTART, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.mark.slow
def test_the_python_of_the_quick_start_runs(smol_path: Path, tmp_path: Path) -> None:
    code = block("python").replace('"demo"', repr(str(smol_path)))
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert re.search(r"love +0\.1 +affirmative +\d +2 ", run.stdout), run.stdout


def test_the_sweep_of_the_quick_start_is_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(block("toml"), encoding="utf-8")
    spec = RunSpec.from_toml(path)
    assert [c.name for c in spec.design.concepts] == ["love", "all_caps"]


def commands() -> set[str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(p.read_text(encoding="utf-8") for p in pages)
    return set(re.findall(r"introspection-bench ([a-z][a-z-]+)", text))


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_command_that_the_documentation_names_exists(command: str) -> None:
    run = CliRunner().invoke(app, [command, "--help"])
    assert run.exit_code == 0, run.output


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z][a-z-]*)", QUICKSTART))))
def test_a_make_target_that_the_quick_start_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_page_is_in_one_group_of_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    groups = re.findall(r"^```\{toctree\}\n(.*?)^```$", index, re.DOTALL | re.MULTILINE)
    listed = Counter(line for group in groups for line in group.splitlines() if line and not line.startswith(":"))
    pages = [p.relative_to(DOCS).with_suffix("").as_posix() for p in DOCS.rglob("*.md") if "_build" not in p.parts]
    assert listed == Counter(page for page in pages if page != "index")


def test_the_page_of_the_command_line_says_what_the_commands_say() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "write_api_pages.py"))["command_line"]()
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == written, "run scripts/write_api_pages.py"
    assert "introspection-bench protocols diff" in written
    assert "--max-cost" in written


def test_troubleshooting_has_an_entry_for_every_error_and_warning() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    entries = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    classes = [n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, Exception)]
    assert Counter(entries) == Counter(classes)


def test_the_page_on_citing_has_the_entries_that_reports_have() -> None:
    assert f"```bibtex\n{bibtex()}\n```" in (DOCS / "citing.md").read_text(encoding="utf-8")
