"""What a run is, as a TOML file and as a store has it."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

import introspection_bench
from introspection_bench import Depth, Dose, Item, Span, Word
from introspection_bench.errors import SpecError
from introspection_bench.measures import Lens, Naming, Observer, TokenLogprobs, YesNo
from introspection_bench.sweep import BesideSteer, Injected, JudgeSpec, RandomVector, RunSpec, Store, Sweep, Unsteered

GOOD = """
directory = "runs/x"
[model]
name = "some/model"
[model.options.torch]
dtype = "float32"
[design]
layers = [1, "2/3", [4, 5]]
doses = ["0.5 residual", "2 raw"]
span = "from(trial) stop_at_prompt_end"
[design.recipe]
name = "word"
case = "as_is"
[design.concepts]
set = "lindsey2026"
names = ["Bread"]
[design.arms.injected]
n = 3
[design.arms.unsteered]
n = 20
[design.sampling]
max_new_tokens = 8
[[measures]]
measure = "token_logprobs"
sets = { yes = ["Yes", " Yes"], no = ["No"] }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def test_a_good_file_gives_its_values_and_a_directory_beside_it(tmp_path):
    spec = RunSpec.from_toml(write(tmp_path, GOOD))
    assert spec.design.doses == (Dose(0.5, "residual"), Dose(2, "raw"))
    assert spec.design.layers == ((1,), (Depth(2 / 3),), (4, 5))
    assert spec.design.span == Span.from_anchor("trial", stop_at_prompt_end=True)
    assert spec.design.recipe == Word(case="as_is")
    assert spec.design.arms == (Injected(3), Unsteered(20))
    assert spec.model.options == {"torch": {"dtype": "float32"}}
    assert spec.measures == (TokenLogprobs({"yes": ("Yes", " Yes"), "no": ("No",)}),)
    assert spec.directory == str(tmp_path / "runs" / "x")
    assert [c.name for c in spec.design.concepts] == ["Bread"]
    assert len(spec.design.concepts.baseline) == 100


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["design.arms.injected.n=5"], lambda s: s.design.arms[0].n == 5),
        (["design.arms.random.n = 7"], lambda s: s.design.arms[-1] == RandomVector(7)),
        (['design.doses=["1 raw"]'], lambda s: s.design.doses == (Dose(1, "raw"),)),
        (["model.name=other/model"], lambda s: s.model.name == "other/model"),
        (["design.sampling.temperature=0", "design.seed=3"], lambda s: s.design.sampling.temperature == 0),
    ],
)
def test_an_override_takes_the_place_of_what_the_file_says(tmp_path, overrides, found):
    assert found(RunSpec.from_toml(write(tmp_path, GOOD), overrides))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("design.arms.injected.n", "key=value"),
        ("=3", "key=value"),
        ("design..n=3", "key=value"),
        ("design.arms.injected.m=3", "unknown key m"),
        ("design.layers.n=3", "layers is none"),
        ("design.arms.sham.n=3", "sham"),
    ],
)
def test_an_override_that_means_nothing_is_an_error(tmp_path, override, told):
    with pytest.raises(SpecError, match=told):
        RunSpec.from_toml(write(tmp_path, GOOD), [override])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("n = 3", 'n = "3"', r"whole number, got .* @ spec\.design\.arms\.injected\.n"),
        ("n = 3", "n = true", r"whole number, got .* @ spec\.design\.arms\.injected\.n"),
        ("n = 3", "m = 3", r"unknown key m"),
        ("n = 3", "n = 0", r"arm\.n: required a whole number >= 1; got 0"),
        ("[design.arms.injected]", "[design.arms.injectd]", r"arm: required one of .*'injected'.*; got injectd"),
        ('doses = ["0.5 residual", "2 raw"]', "doses = 0.5", r"list.* @ spec\.design\.doses"),
        ('"2 raw"', "2", r"a dose as .* @ spec\.design\.doses\[1\]"),
        ('"2 raw"', '"2 norm"', r"unit.*norm"),
        ('"2 raw"', '"0.50 residual"', r"design\.doses: .* twice"),
        ('"2 raw"', '"nan raw"', r"magnitude: required a finite"),
        ('"2/3"', '"two"', r"depth as .* @ spec\.design\.layers\[1\]"),
        ("layers = [1,", "layers = [-1,", r"design\.layers: required 0-based"),
        ('case = "as_is"', 'case = "upper"', r"case"),
        ('name = "word"', 'name = "words"', r"recipe: required one of \['pairs', 'word'\]; got words"),
        ('name = "some/model"', "name = 3", r"text, got 3 @ spec\.model\.name"),
        ("[design.sampling]", "[design.samplign]", r"unknown key samplign"),
        ("max_new_tokens = 8", "max_new_tokens = 0", r"max_new_tokens"),
        ("n = 3", "n = 3 3", r"line 18"),
        ("[model.options.torch]\n", "[model.options]\n", r"options"),
        ("options.torch", "options.trch", r"model\.options: required one of .*'torch'.*; got trch"),
        ('directory = "runs/x"', "", r"directory: required the run directory"),
        ('measure = "token_logprobs"', 'measure = "logits"', r"measure: required one of .*; got logits"),
        ('no = ["No"]', "no = []", r"sets.*no texts for \['no'\]"),
    ],
)
def test_a_slip_in_the_file_is_an_error_that_names_the_key_or_line(tmp_path, old, new, told):
    assert old in GOOD
    with pytest.raises((SpecError, ValueError, LookupError), match=told) as caught:
        RunSpec.from_toml(write(tmp_path, GOOD.replace(old, new, 1)))
    assert isinstance(caught.value, introspection_bench.IntrospectionBenchError)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("layers = [1,", "layer = [1,", "line 8: unknown key layer, did you mean 'layers'? @ spec.design"),
        ("n = 20", "n = 0", "line 20: arm.n: required a whole number >= 1; got 0"),
        ("n = 3", 'n = "3"', "line 18: required a whole number, got '3' @ spec.design.arms.injected.n"),
        (
            '"Bread"',
            '"bread"',
            "line 14: concept: required a concept of 'lindsey2026'; got bread. Did you mean",
        ),
        ("[design.arms.injected]", "[design.arms.injectd]", "line 17: arm: required"),
        ("[design.arms.injected]", "[design.arms.injectd]", "Did you mean 'injected'? @ spec.design.arms.injectd"),
        ("max_new_tokens = 8", "max_new_tokens = 0", "line 22: sampling.max_new_tokens"),
        ('measure = "token_logprobs"', 'measure = "token_logprob"', "line 24: measure: required"),
        (
            'measure = "token_logprobs"',
            'measure = "token_logprob"',
            "'token_logprobs'? @ spec.measures[0]",
        ),
        ("options.torch", "options.trch", "(line 5): model.options: required one of"),
        ("options.torch", "options.trch", "Did you mean 'torch'?"),
        ("[model.options", 'backend = "torc"\n[model.options', "(line 5): model.backend: required"),
        ("[design]", '[judge]\nname = "rule"\n[design]', "(line 8): judge.name: required"),
        ("[design]", '[judge]\nname = "rule"\n[design]', "Did you mean 'rules'?"),
        (
            "[design]",
            '[[also_judged]]\n[[also_judged]]\nname = "chap"\n[design]',
            "(line 9): also_judged.name: ",
        ),
    ],
)
def test_a_slip_is_told_with_its_line_and_the_name_that_was_meant(tmp_path, old, new, told):
    with pytest.raises(introspection_bench.IntrospectionBenchError) as caught:
        RunSpec.from_toml(write(tmp_path, GOOD.replace(old, new, 1)))
    assert told in str(caught.value)
    assert str(tmp_path / "sweep.toml") in str(caught.value)


def test_a_slip_in_an_override_is_told_of_the_override_and_of_no_line(tmp_path):
    with pytest.raises(SpecError, match=r"override design\.seeds=3: unknown key seeds, did you mean 'seed'"):
        RunSpec.from_toml(write(tmp_path, GOOD), ["design.seeds=3"])


def test_further_verdicts_stand_in_the_file_and_the_first_judge_is_asked_about_the_trials_own_concepts(tmp_path):
    further = '[[also_judged]]\noptions = {rubric = "yesno"}\n[[also_judged]]\nasked = "mismatched"\n'
    spec = RunSpec.from_toml(write(tmp_path, GOOD + further))
    assert spec.also_judged == (JudgeSpec(options={"rubric": "yesno"}), JudgeSpec(asked="mismatched"))
    assert RunSpec.from_plain(json.loads(json.dumps(spec.plain())), "here") == spec
    with pytest.raises(SpecError, match=r"judge\.asked.*also_judged"):
        RunSpec.from_toml(write(tmp_path, GOOD + '[judge]\nasked = "mismatched"\n'))


def test_the_demos_own_file_is_a_good_one():
    spec = RunSpec.from_toml(Path(introspection_bench.__file__).parent / "demo.toml")
    assert spec.model.name == "demo"
    assert len(spec.design.concepts) >= 2


def test_what_a_store_holds_is_the_same_specification_whatever_its_design_has(design, injector, tmp_path):
    slotted = introspection_bench.Scaffold(
        name="slotted",
        turns=[introspection_bench.Turn("user", "Read {sentence} {braces not a slot}")],
        anchors=[introspection_bench.Anchor("trial", "{sentence}", offset=-1)],
    )
    vector = Sweep(design, injector, "/no/such/run").vectors[0]
    rich = attrs.evolve(
        design,
        scaffolds=["lindsey", slotted],
        items=[Item("one", {"sentence": "the sea"})],
        layers=[Depth(1 / 2), (0, 1)],
        recipe=Word(layer=Depth(1 / 3), normalise=True),
        arms=[*design.arms, RandomVector(2)],
        beside=[BesideSteer("removed", [vector], [3], "-1 projection")],
        paired="draw",
        seed=7,
    )
    sweep = Sweep(rich, injector, tmp_path / "run")
    with sweep.open_store() as store:
        told, found = json.loads(json.dumps(dict(store.spec()))), store.run_spec()
    assert found == sweep.spec
    assert RunSpec.from_plain(told, "here", vectors={v.digest: v for v in sweep.vectors}) == sweep.spec
    again = Sweep(found.design, injector, tmp_path / "run")
    assert [t.key for t in again.planned] == [t.key for t in sweep.planned]
    assert [t.condition for t in again.planned] == [t.condition for t in sweep.planned]


def test_an_imported_run_has_no_specification_of_its_own_and_says_so(finished_import):
    with pytest.raises(SpecError):
        finished_import.run_spec()


def test_measures_are_told_apart_by_all_that_they_read():
    measures = [
        TokenLogprobs({"yes": ("Yes",)}),
        TokenLogprobs({"yes": ("Yes", " Yes")}),
        TokenLogprobs({"yes": ("Yes",)}, at="trial"),
        YesNo(),
        YesNo(yes=("Aye",)),
        YesNo(openings=()),
        Naming({"a": ("a",), "b": ("b",)}),
        Naming({"a": ("a",), "b": ("b",)}, prefix="It is"),
        Observer({"a": ("a",), "b": ("b",)}),
        Lens({"yes": ("Yes",)}),
        Lens({"yes": ("Yes",)}, layers=(1,)),
    ]
    assert len({m.digest for m in measures}) == len(measures)


@pytest.fixture
def finished_import(tmp_path):
    spec = {
        "design": {"concepts": None, "scaffolds": []},
        "model": {"name": "m", "backend": "b"},
        "found": {"fingerprint": "imported"},
        "numerics": 0,
    }
    with Store.create_from_records(tmp_path / "import", spec, []) as store:
        yield store
