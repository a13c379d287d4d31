"""Studies from a file: strict, resumable, with facts found and stated, on tiny models of two architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import introspection_bench as ib
from introspection_bench.analysis import compare_models, model_runs
from introspection_bench.errors import SpecError
from introspection_bench.sweep import Store, Watcher
from introspection_bench.testing import save_tiny_model, tiny_model

SHARED = """
directory = "made"
[design]
layers = ["1/2"]
doses = ["0.5 residual"]
[design.concepts]
name = "tiny"
baseline = ["Desks", "Clouds"]
concepts = [{name = "Oceans", word = "Oceans"}, {name = "Bread", word = "Bread"}]
[design.arms.unsteered]
n = 1
[design.arms.injected]
n = 2
[design.sampling]
max_new_tokens = 4
"""
TRIALS = 1 + 2 * 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An "instruct" model, and a "base" one whose tokenizer has no chat template."""
    folder = tmp_path_factory.mktemp("models")
    found = {name: save_tiny_model(name, folder / name) for name in ("llama", "gpt2")}
    tokenizer = AutoTokenizer.from_pretrained(found["gpt2"])
    tokenizer.chat_template = None
    (found["gpt2"] / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(found["gpt2"])
    return found


def write(folder: Path, models: dict[str, Path], *, more: str = "", base: str = 'tuning = "base"') -> Path:
    text = f"""{more}
{SHARED}
[[models]]
name = "{models["llama"]}"
facts = {{family = "Llamas", tuning = "instruct"}}
[[models]]
name = "{models["gpt2"]}"
facts = {{family = "GPTs", {base}}}
"""
    path = folder / "study.toml"
    path.write_text(text)
    return path


class Told(Watcher):
    def __init__(self) -> None:
        self.opened: list[str] = []

    def planned(self, sweep: Any) -> None:
        self.opened.append(sweep.injector.model.name)


class FakeKill(Watcher):
    """Ends the process, as it were, when the second model is planned."""

    def planned(self, sweep: Any) -> None:
        if sweep.injector.model.name == "gpt2":
            raise KeyboardInterrupt


def test_an_interrupted_study_goes_on_and_its_models_are_compared_by_found_and_stated_facts(
    models: dict[str, Path], tmp_path: Path
) -> None:
    path = write(tmp_path, models)
    study = ib.Study.from_toml(path)
    with pytest.raises(KeyboardInterrupt):
        study.run(watcher=FakeKill())
    assert len(study.results()) == TRIALS
    results = ib.Study.from_toml(path).run()
    assert len(results) == 2 * TRIALS
    assert all(r.verdicts for r in results)
    llama, gpt2 = model_runs(results)
    counted = sum(p.numel() for p in {id(p): p for p in tiny_model("llama")[0].parameters()}.values())
    assert (llama.facts.architecture, llama.facts.parameters) == ("llama", counted)
    assert [r.levels["template"] for r in (llama, gpt2)] == ["chat", "transcript"]
    with Store.open(study.run_directory(study.models[1])) as store:
        assert store.run_spec().model.facts.family == "GPTs"
    # Half of four blocks is block 2 of both, which the comparison calls by its depth.
    found = compare_models(ib.read_results(path), by="family")
    assert set(found.contrasts["also"]) == {"size, tuning, template"}
    matched = found.contrasts.set_index(["arm", "outcome"])["cells"]
    assert (matched["injected", "coherent"], matched["control", "coherent"]) == (1, 1)
    assert set(found.rates["depth"].dropna()) == {"1/2"}


def test_facts_that_are_stated_later_need_no_new_run(models: dict[str, Path], tmp_path: Path) -> None:
    ib.Study.from_toml(write(tmp_path, models)).run(judge=False)
    again = ib.Study.from_toml(write(tmp_path, models, base='tuning = "instruct"'))
    assert {r.levels["tuning"] for r in model_runs(again.results())} == {"instruct"}
    watcher = Told()
    assert len(again.run(judge=False, watcher=watcher)) == 2 * TRIALS
    assert watcher.opened == ["llama", "gpt2"]
    wrong = ib.Study.from_toml(write(tmp_path, models, base="parameters = 7_000_000_000"))
    with pytest.raises(SpecError, match=r"facts of .*gpt2.*parameters"):
        wrong.run(judge=False)


def test_one_model_stands_twice_with_other_options_and_not_without(models: dict[str, Path], tmp_path: Path) -> None:
    design = ib.Study.from_toml(write(tmp_path, models)).planner
    name = str(models["llama"])
    as_it_is, rounded = ib.ModelSpec(name), ib.ModelSpec(name, options={"torch": {"dtype": "bfloat16"}})
    study = ib.Study(design, [as_it_is, rounded], tmp_path / "twice")
    assert len({study.run_directory(m) for m in study.models}) == 2
    other = ib.ModelSpec(name, options={"nnsight": {"dtype": "bfloat16"}})
    with pytest.raises(SpecError, match="each once"):
        ib.Study(design, [as_it_is, other], tmp_path / "twice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[[models]]", "[[model]]"), "models: required a list of models"),
        (('family = "GPTs"', 'familly = "GPTs"'), r"models\[1\].*familly"),
        (('tuning = "base"', 'tuning = "chat"'), r"models\[1\].*tuning"),
        (('directory = "made"', ""), "directory: required the study's directory"),
        (("[design]", 'frozen = "f.json"\n[design]'), "frozen.*single run"),
        (("[design]", "[desing]"), "desing"),
    ],
)
def test_a_slip_in_a_studys_file_is_an_error_that_names_it(
    models: dict[str, Path], tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = write(tmp_path, models)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(SpecError, match=message):
        ib.Study.from_toml(path)


def test_the_example_is_a_study_that_can_be_planned() -> None:
    study = ib.Study.from_toml(Path(__file__).parents[2] / "examples" / "study.toml")
    assert [m.name for m in study.models] == ["demo", "gemma3-270m"]
    assert [m.facts.tuning for m in study.models] == ["instruct", "base"]
