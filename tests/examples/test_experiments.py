"""The example experiments in a short form: they run to their tables, and steer and read what they say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from introspection_bench.interop import read_results

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, tmp_path, *arguments):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--directory", str(tmp_path / "run"), *arguments])
    return module


@pytest.fixture(scope="module", autouse=True)
def model(smol_path):
    return smol_path


@pytest.mark.slow
def test_thoughts_and_text_steers_the_sentences_tokens_alone(tmp_path, capsys):
    run("thoughts_and_text", tmp_path, "--trials", "1")
    assert len(re.findall(r"^(think|repeat) +(injected|control) .*%$", capsys.readouterr().out, re.M)) == 6
    injected = [r for r in read_results(tmp_path / "run") if r.arm == "injected"]
    assert {r.receipts[0].generation_positions for r in injected} == {0}
    assert all(5 < r.receipts[0].prompt_positions < 20 for r in injected)


@pytest.mark.slow
def test_intentional_control_steers_nothing_and_reads_every_reply(tmp_path, capsys):
    run("intentional_control", tmp_path, "--trials", "1", "--layers", "20")
    assert re.search(r"^ +20 the word it is told of +-?0\.\d+ +-?0\.\d+ +-?0\.\d+$", capsys.readouterr().out, re.M)
    records = list(read_results(tmp_path / "run"))
    assert len(records) == 16
    assert all(not r.key.steers and len(r.readings) == 1 for r in records)


@pytest.mark.slow
def test_refusal_direction_is_removed_in_unsteered_trials_too(tmp_path, capsys):
    run("refusal_direction", tmp_path, "--trials", "1")
    assert len(re.findall(r"^refusal removed +(injected|control) ", capsys.readouterr().out, re.M)) == 4
    records = list(read_results(tmp_path / "run" / "refusal_removed"))
    assert {(r.arm, len(r.receipts)) for r in records} == {("injected", 31), ("control", 30)}
