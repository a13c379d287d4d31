"""What the documentation tells a reader to type works as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from introspection_bench.cli import app
from introspection_bench.sweep import RunSpec

ROOT = Path(__file__).resolve().parent.parent
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")


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
