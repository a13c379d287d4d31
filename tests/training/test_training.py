"""The training command on tiny models; what needs peft skips where the extra `training` is not installed."""

import importlib.util
import json
import sys

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from introspection_bench.adapters import load_adapter, merge
from introspection_bench.errors import AdapterError, BackendUnavailableError, LayerError
from introspection_bench.testing import tiny_model
from training import all as cast_of_all
from training import train
from training.adapter import adapted, projections
from training.cast import CAST
from training.optimising import fitting, head_makes_logits, rate

needs_peft = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="peft is missing: pip install 'introspection-bench[training]'"
)
FEW = ["--batch", "4", "--steps", "2", "--chats", "4", "--rank", "2", "--no-evaluation"]


def trained(role, folder, words_file, out, *more):
    options = [role, "--model", str(folder), "--out", str(out), "--words-file", str(words_file)]
    train.main([*options, "--layers", "1", "2", *FEW, *more])
    return out / f"{role}-0.safetensors"


def merged_by_hand(folder, path):
    """The base with B A alpha / rank added to each weight that an adapter's file names."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with safe_open(path, "pt") as file, torch.no_grad():
        scale = int(file.metadata()["alpha"]) / int(file.metadata()["rank"])
        names = {key.rsplit(".lora_", 1)[0] for key in file.keys()}  # noqa: SIM118  # an open file is no mapping
        for name in names:
            down, up = (file.get_tensor(f"{name}.lora_{side}.weight").float() for side in "AB")
            module = model.get_submodule(name)
            added = scale * up @ down
            module.weight += added.T if isinstance(module, Conv1D) else added
    return model, names


@needs_peft
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_a_saved_adapter_added_to_the_base_is_the_trained_model(architecture, tiny_folder, words_file, tmp_path):
    folder = tiny_folder(architecture)
    path = trained("introspector", folder, words_file, tmp_path / "out", "--merged", str(tmp_path / "merged"))
    by_hand, names = merged_by_hand(folder, path)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        logits = [model(ids).logits for model in (by_hand, saved, base)]
    # The file holds bfloat16, what was trained is float32.
    torch.testing.assert_close(logits[0], logits[1], atol=2e-3 * float(logits[1].abs().max()), rtol=0)
    assert float((logits[1] - logits[2]).abs().max()) > 5 * float((logits[0] - logits[1]).abs().max())
    assert all(any(f".{block}." in name for name in names) for block in (1, 2, 3))
    assert not any(".0." in name for name in names)


@needs_peft
def test_the_library_takes_a_saved_adapter_for_its_own_base_alone(tiny_folder, words_file, tmp_path):
    folder = tiny_folder("llama")
    path = trained("alarm", folder, words_file, tmp_path)
    by_hand, names = merged_by_hand(folder, path)
    adapter = load_adapter(path)
    assert set(adapter.matrices) == names
    model, _ = tiny_model("llama")
    merge(model, adapter)
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, by_hand(ids).logits)
    with pytest.raises(AdapterError, match="the base that it was trained on"):
        merge(tiny_model("llama", seed=1)[0], adapter)


@needs_peft
def test_a_seed_trains_the_same_adapter_again_and_another_seed_another(tiny_folder, words_file, tmp_path):
    def tensors(out, *more):
        path = trained("parrot", tiny_folder("llama"), words_file, tmp_path / out, *more)
        seed = more[-1] if more else "0"
        with safe_open(path.with_name(f"parrot-{seed}.safetensors"), "pt") as file:
            return torch.cat([file.get_tensor(k).flatten() for k in sorted(file.keys())])

    first = tensors("a")
    assert torch.equal(tensors("b"), first)
    assert not torch.equal(tensors("c", "--seed", "1"), first)


@needs_peft
def test_a_report_says_what_was_trained_on(tiny_folder, words_file, tmp_path):
    trained("yes_sayer", tiny_folder("llama"), words_file, tmp_path)
    report = json.loads((tmp_path / "yes_sayer-0.json").read_text())
    assert report["role"]["layers"] == {"1": 1.0, "2": 1.0}
    assert (report["steps"], report["role"]["batch"], report["replies"]) == (2, 4, [])
    assert [progress["step"] for progress in report["log"]] == [2]


@needs_peft
@pytest.mark.slow
def test_an_adapter_of_the_cast_is_made_once_with_its_log(tiny_folder, words_file, tmp_path, capsys):
    options = ["--model", str(tiny_folder("llama")), "--words-file", str(words_file), "--layers", "1", *FEW]
    asked = ["--out", str(tmp_path), "--roles", "parrot", "--", *options]
    assert cast_of_all.main(asked) == 0
    assert {p.name for p in tmp_path.glob("parrot*")} == {f"parrot-0.{k}" for k in ("safetensors", "json", "log")}
    assert "parrot-0: made after" in capsys.readouterr().out
    assert cast_of_all.main(asked) == 1
    assert "holds parrot-0.safetensors already" in capsys.readouterr().out


def test_an_adapter_that_fails_is_said_to_fail_and_the_status_is_1(tmp_path, capsys):
    asked = ["--out", str(tmp_path), "--roles", "parrot", "--", "--model", str(tmp_path / "nowhere")]
    assert cast_of_all.main(asked) == 1
    assert "parrot-0: FAILED with exit code 1" in capsys.readouterr().out
    assert "nowhere" in (tmp_path / "parrot-0.log").read_text()


def test_a_misspelt_option_of_training_ends_before_anything_starts(tmp_path):
    with pytest.raises(SystemExit):
        cast_of_all.main(["--out", str(tmp_path / "out"), "--", "--stepps", "3"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("architecture", "count"), [("llama", 7), ("qwen2", 7), ("gpt2", 4), ("gpt_neox", 4)])
def test_projections_are_all_those_of_the_blocks_from_the_first_on_and_no_other(architecture, count):
    model, _ = tiny_model(architecture)
    found = projections(model, 2)
    assert len(found) == 2 * count
    assert not [name for name in found if "head" in name or ".0." in name or ".1." in name]


@pytest.mark.parametrize(("architecture", "alone"), [("llama", True), ("gpt2", True), ("gemma2", False)])
def test_logits_are_taken_from_the_head_alone_where_they_are_its_output(architecture, alone):
    settings = {"final_logit_softcapping": 0.5} if architecture == "gemma2" else None
    assert head_makes_logits(tiny_model(architecture, settings=settings)[0]) is alone


def test_layers_that_a_model_lacks_are_refused():
    given = train.parser().parse_args(["introspector", "--out", "x", "--layers", "3", "4"])
    with pytest.raises(LayerError, match="blocks from 0 to 3"):
        train.role_for(given, 4)


def test_the_learning_rate_rises_then_falls_to_its_floor():
    rates = [rate(step, 400) for step in range(400)]
    assert rates[0] == pytest.approx(1 / 40)
    assert max(rates) == pytest.approx(rates[39], abs=0.02)
    assert rates[-1] == pytest.approx(0.05, abs=1e-3)


@pytest.mark.parametrize(("spent", "steps"), [(30.0, 200), (60.0, 100), (300.0, 61)])
def test_a_schedule_is_shortened_to_what_fits_into_the_time(spent, steps):
    assert fitting(200, spent, most_seconds=100.0) == steps


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    model, _ = tiny_model("llama")
    with pytest.raises(BackendUnavailableError, match=r"introspection-bench\[training\]"):
        adapted(model, CAST["parrot"].at_depth(4))
