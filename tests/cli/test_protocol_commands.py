"""The commands about protocols, and run --protocol."""

from __future__ import annotations

import pytest

from introspection_bench import read_results
from introspection_bench.protocols import protocol_names
from introspection_bench.sweep import Store
from introspection_bench.testing import save_tiny_model
from tests.cli.cli_samples import command

FEW = ("design.arms.injected.n=1", "design.arms.unsteered.n=1", "design.sampling.max_new_tokens=2")
TWO = 'design.concepts={set="lindsey2026", names=["Dust", "Bread"]}'


def test_list_shows_every_protocol_and_show_its_fields_remarks_and_prompts(tmp_path):
    listed = command("protocols", "list", cwd=tmp_path).stdout
    assert all(name in listed for name in protocol_names())
    shown = " ".join(command("protocols", "show", "macar2026", cwd=tmp_path).stdout.split())
    # Cells are broken over lines beside each other.
    assert all(part in shown for part in ("unverified: the model is", "default of the", "published code, not of"))
    assert "Trial {n}: Do you detect an injected thought?" in shown
    assert "false positives 0 of 5000" in shown


@pytest.mark.parametrize("name", protocol_names())
def test_show_tells_each_protocol_without_a_model(tmp_path, name):
    shown = command("protocols", "show", name, cwd=tmp_path).stdout
    assert shown.startswith(name)
    assert "[user]" in shown


def test_diff_shows_the_fields_that_differ_and_no_others(tmp_path):
    told = command("protocols", "diff", "llama405b2026", "llama405b2026/layer70", cwd=tmp_path).stdout
    fields = [line.split()[1] for line in told.splitlines()[2:] if line.strip() and not line.startswith(" ")]
    assert fields == ["layers", "doses", "scaffolds"]


@pytest.mark.parametrize("name", sorted({*protocol_names()} - {"macar2026/refusal"}))  # which the next test runs
def test_each_protocol_can_be_planned_on_the_demo_s_model_by_one_command(tmp_path, smol_path, name):
    done = command("run", "--protocol", name, "--model", smol_path, "--plan", *FEW, cwd=tmp_path)
    assert "prompt tokens" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_protocol_runs_under_its_name_with_values_replaced_and_goes_on_where_it_was(tmp_path):
    model = save_tiny_model("llama", tmp_path / "model")
    words = ("run", "--protocol", "macar2026/refusal", "--model", model, *FEW, TWO)
    command(*words, cwd=tmp_path)
    again = command(*words, cwd=tmp_path).stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == "macar2026_refusal"
    assert "3 trials planned, 3 recorded" in " ".join(again.split())
    with Store.open(folder) as store:
        spec = store.run_spec()
    assert spec.protocol == "macar2026/refusal"
    assert [c.name for c in spec.design.concepts] == ["Dust", "Bread"]
    assert [steer.name for steer in spec.design.beside] == ["refusal"]
    assert len(read_results(folder).records) == 3


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--protocol", "lindsey2026"],
        ["--protocol", "lindsey2026", "--model", "m", "sweep.toml"],
        ["--protocol", "lindsey2026", "--model", "m", "design.seed=1", "sweep.toml"],
        ["--model", "m"],
    ],
)
def test_run_takes_a_specification_or_a_protocol_with_a_model(tmp_path, words):
    done = command("run", *words, cwd=tmp_path, check=False)
    assert (done.returncode, "--protocol NAME with --model NAME" in done.stderr) == (1, True)


def test_a_misspelt_protocol_or_key_is_one_line_that_says_what_was_meant(tmp_path):
    assert "'lindsey2026'" in command("protocols", "show", "lindsy2026", cwd=tmp_path, check=False).stderr
    wrong = command("run", "--protocol", "lindsey2026", "--model", "m", "design.armz.n=1", cwd=tmp_path, check=False)
    assert "armz" in wrong.stderr
