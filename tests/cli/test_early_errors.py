"""What is wrong with layers, scaffolds and spans is known before any weights are loaded.

The model's weights are not there, so that whatever is said of a prompt or a layer was said without them.
"""

from __future__ import annotations

import json
import shutil

import pytest
from cli_samples import command, write_sweep

ASKING = '{{scaffold = "lindsey", question = "Yes?", name = "{}"}}'


@pytest.fixture(scope="module")
def weightless(tmp_path_factory):
    folder = write_sweep(tmp_path_factory.mktemp("weightless"))
    (folder / "model" / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["run", "plan"])
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("design.layers=[99]", "layers: required different blocks from 0 to"),
        ('design.span="from(nowhere)"', "nowhere"),
        (
            f"design.scaffolds=[{ASKING.format('a')}, {ASKING.format('b')}]",
            "scaffolds that differ in the prompt's tokens",
        ),
    ],
)
def test_a_run_is_refused_before_its_weights_are_looked_at(weightless, plan, override, told):
    done = command("run", "sweep.toml", override, *plan, cwd=weightless, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Opening" not in done.stderr
    assert not (weightless / "run").exists()


def test_without_such_a_mistake_it_is_the_weights_that_are_missed(weightless):
    done = command("run", "sweep.toml", cwd=weightless, check=False)
    assert done.returncode == 1
    assert "Opening" in done.stderr
    assert "a model that can be loaded" in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--layer", "99"], "layer: required a block index from 0 to"),
        (["--span", "from(nowhere)"], "nowhere"),
        (["--backend", "torhc"], "Did you mean 'torch'?"),
        ([], "a model that can be loaded"),
    ],
)
def test_try_says_what_is_wrong_with_layer_and_span_without_weights(weightless, options, told):
    words = ["try", "model", "--concept", "Oceans", "--concepts", "concepts.toml", *options]
    done = command(*words, cwd=weightless, check=False)
    assert done.returncode == 1
    assert told in done.stderr


def test_a_study_is_refused_for_its_last_model_before_the_first_is_opened(weightless):
    shutil.copytree(weightless / "model", weightless / "shallow")
    config = weightless / "shallow" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 2}))
    _, _, design = (weightless / "sweep.toml").read_text().partition("[design]")
    text = f'directory = "study"\nmodels = ["model", "shallow"]\n[design]{design}'
    (weightless / "study.toml").write_text(text.replace("layers = [1]", "layers = [3]"))
    done = command("study", "study.toml", cwd=weightless, check=False)
    assert done.returncode == 1
    assert "layers: required different blocks from 0 to 1" in done.stderr
    assert "Opening" not in done.stderr
