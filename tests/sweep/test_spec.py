"""Sweeps as TOML files."""

from __future__ import annotations

from pathlib import Path

import pytest

import introspection_bench
from introspection_bench.errors import SpecError
from introspection_bench.sweep.spec import SweepSpec

GOOD = """
directory = "runs/x"
[model]
name = "some/model"
[model.options.torch]
dtype = "float32"
[concepts]
set = "lindsey2026"
names = ["Bread"]
layers = [1]
[grid]
magnitudes = [0.5, 2]
unit = "residual"
trials = 3
[sampling]
max_new_tokens = 8
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def test_a_good_file_gives_its_values_and_a_directory_beside_it(tmp_path):
    spec = SweepSpec.from_toml(write(tmp_path, GOOD))
    assert spec.grid.magnitudes == [0.5, 2.0]
    assert spec.grid.controls == 20
    assert spec.model.options == {"torch": {"dtype": "float32"}}
    assert spec.directory == str(tmp_path / "runs" / "x")
    assert [c.name for c in spec.concept_set()] == ["Bread"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("trials = 3", 'trials = "3"', r"whole number, got .* @ file\.grid\.trials"),
        ("trials = 3", "trials = true", r"whole number, got .* @ file\.grid\.trials"),
        ("trials = 3", "trails = 3", r"unknown key trails @ file\.grid"),
        ("magnitudes = [0.5, 2]", "magnitudes = 0.5", r"list.* @ file\.grid\.magnitudes"),
        ("magnitudes = [0.5, 2]", 'magnitudes = [0.5, "2"]', r"number.* @ file\.grid\.magnitudes\[1\]"),
        ('unit = "residual"', "", r"missing @ file\.grid\.unit"),
        ('unit = "residual"', 'unit = "norm"', r"unit.*norm"),
        ('name = "some/model"', "name = 3", r"text, got 3 @ file\.model\.name"),
        ("[sampling]", "[samplign]", r"unknown key samplign"),
        ("max_new_tokens = 8", "max_new_tokens = 0", r"max_new_tokens"),
        ("trials = 3", "trials = -3", r"grid\.trials: required a whole number >= 0; got -3"),
        ("magnitudes = [0.5, 2]", "magnitudes = [2, 0.5, 2]", r"grid\.magnitudes: .* twice"),
        ("magnitudes = [0.5, 2]", "magnitudes = [nan]", r"grid\.magnitudes: required finite"),
        ("trials = 3", "trials = 3 3", r"line 14"),
        ("[model.options.torch]\n", "[model.options]\n", r"options"),
        ("options.torch", "options.trch", r"model\.options: required one of .*'torch'.*; got trch"),
        ("options.torch", "options.vllm", r"model\.options: .* is now 'vllm-lens'"),
    ],
)
def test_a_slip_in_the_file_is_an_error_that_names_the_key_or_line(tmp_path, old, new, told):
    assert old in GOOD
    with pytest.raises((SpecError, ValueError, LookupError), match=told) as caught:
        SweepSpec.from_toml(write(tmp_path, GOOD.replace(old, new)))
    assert isinstance(caught.value, introspection_bench.IntrospectionBenchError)


def test_the_demos_own_file_is_a_good_one():
    spec = SweepSpec.from_toml(Path(introspection_bench.__file__).parent / "demo.toml")
    assert spec.model.name == "demo"
    assert len(spec.concept_set()) >= 2
