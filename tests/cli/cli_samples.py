"""A tiny sweep to run, and the command to run it with."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import attrs
import pytest

from introspection_bench.cli import main
from introspection_bench.testing import save_tiny_model

CONCEPTS = """
name = "tiny"
baseline = ["Desks", "Jackets"]
[[concepts]]
name = "Oceans"
word = "Oceans"
aliases = ["the sea"]
[[concepts]]
name = "Bread"
word = "Bread"
"""
SWEEP = """
directory = "run"
[model]
name = "{model}"
[model.options.torch]
device = "cpu"
batch_size = 4
[design]
concepts = "concepts.toml"
layers = [1]
doses = ["0.5 residual"]
[design.arms.unsteered]
n = 4
[design.arms.injected]
n = {trials}
[design.arms.random]
n = 8
[design.sampling]
max_new_tokens = 8
"""


@attrs.frozen
class Done:
    returncode: int
    stdout: str
    stderr: str


def command(*words, cwd, check=True, stdin="", columns=200):
    """Run the command in this process: a new one takes seconds to import torch, for each of fifty calls."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setenv("COLUMNS", str(columns))
        patch.setattr(sys, "argv", ["introspection-bench", *map(str, words)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
    done = Done(code, out.getvalue(), err.getvalue())
    if check:
        assert done.returncode == 0, done.stderr
    return done


def write_sweep(folder: Path, trials: int = 4) -> Path:
    model = save_tiny_model("llama", folder / "model")
    (folder / "concepts.toml").write_text(CONCEPTS)
    (folder / "sweep.toml").write_text(SWEEP.format(model=model, trials=trials))
    return folder
