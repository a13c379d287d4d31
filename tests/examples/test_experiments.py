"""The example of a removed direction in a short form: it runs to its table, and removes what it says."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from pathlib import Path

import pytest

import introspection_bench as ib
from introspection_bench.interop import read_results

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, tmp_path, *arguments):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--directory", str(tmp_path / "run"), *arguments])
    return module


@pytest.fixture(scope="module")
def smol(smol_path):
    with ib.open_injector("torch", "demo") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _opened_once(smol, monkeypatch):
    """The examples share a model, which takes as long to open as they take to run."""

    def open_injector(backend, model):
        assert (backend, model) == ("torch", "demo")
        return contextlib.nullcontext(smol)

    monkeypatch.setattr(ib, "open_injector", open_injector)


@pytest.mark.slow
@pytest.mark.slow
def test_refusal_direction_is_removed_in_unsteered_trials_too(tmp_path, capsys):
    run("refusal_direction", tmp_path, "--trials", "1", "--tokens", "4")
    assert len(re.findall(r"^refusal removed +(injected|control) ", capsys.readouterr().out, re.M)) == 4
    records = list(read_results(tmp_path / "run" / "refusal_removed"))
    assert {(r.arm, len(r.receipts)) for r in records} == {("injected", 31), ("control", 30)}
