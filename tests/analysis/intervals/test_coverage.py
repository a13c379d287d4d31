"""The simulation behind docs/statistics.md, in a part that is quick enough for every run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def load(name: str = "coverage"):
    spec = importlib.util.spec_from_file_location(f"{name}_of_intervals", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # attrs looks a class's module up by its name
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_interval_keeps_its_level_in_the_small_grid(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["coverage.py", "--small"])
    assert load().main() == 0, capsys.readouterr().out


def test_a_level_that_is_not_kept_is_told_and_exits_1(monkeypatch, capsys) -> None:
    module = load()
    broken = module.Result("an interval", "five concepts", 0.95, 0.85, 1000)
    monkeypatch.setattr(module, "CHECKS", (lambda rng, small: iter([broken]),))
    monkeypatch.setattr(sys, "argv", ["coverage.py", "--small"])
    assert module.main() == 1
    assert "NOT KEPT: an interval: five concepts" in capsys.readouterr().out


def test_the_intervals_of_contrasts_keep_their_level_in_the_small_grid(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["contrast_coverage.py", "--small"])
    assert load("contrast_coverage").main() == 0, capsys.readouterr().out
