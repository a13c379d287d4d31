"""Every public value: whatever its constructor and its methods are given works, or is an error of ours."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
import warnings

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench import analysis, judges, sweep
from introspection_bench.boundaries import guarded
from introspection_bench.errors import (
    AnalysisError,
    ConceptError,
    InjectionError,
    IntrospectionBenchError,
    ScaffoldError,
    SpecError,
    VectorError,
)
from introspection_bench.report import LIGHT
from introspection_bench.sweep.sessions import this_process
from tests.odd_values import ODD, a_few, exported, fault, made_vector, make_records, near

RECORD = make_records()[1]
INTERVAL = analysis.interval(1, 10)
BOUND = analysis.Bound("all", "coherent", INTERVAL, 2)
PROMPT = ib.RenderedPrompt([1, 2, 3], "a b c", {"first": 1})
LOVE = ib.load_concepts("pairs")["love"]
STRICT4 = judges.load_rubric("strict4")
FRAME = pd.DataFrame({"a": [1]})
SPOTS = pd.DataFrame({"passes": [True], "established": [True], "ruled_out": [False]})
CELLS = pd.DataFrame({"outcome": ["coherent"], "p_holm": [0.5]})


def fields(value):
    """The arguments that a value was made of."""
    return {f.name: getattr(value, f.name) for f in attrs.fields(type(value)) if f.init}


def confusion():
    verdicts = analysis.verdicts_of(make_records(), "rules", "strict4/1")
    return analysis.agreement(verdicts, verdicts)


#: Of each class a value, which the odd ones differ from in one argument.
VALUES = [
    ib.Concept("Bread", ["loaf"], "Bread"), ib.load_concepts("pairs"), ib.Pair("a", "b"), ib.LINDSEY,
    ib.Turn("user", "a"), ib.Anchor("trial", "a"), PROMPT, ib.Sampling(), ib.Span.from_anchor("first"),
    ib.Injection(made_vector(), 1, 0.5, "residual", "all"), ib.Receipt(1, 1, 0.1, 0.2), made_vector(),
    made_vector().provenance, RECORD, RECORD.key, RECORD.reply, RECORD.verdicts[0], STRICT4,
    ib.Grid([made_vector()], [LOVE], [0.5], "residual"), ib.Results("r", make_records(), {"a": 1}),
    ib.TableLayout({"reply": "r", "arm": "a"}, {"c": "control"}), ib.ModelInfo("m", "f", 4, 64, "float32"),
    ib.Request(PROMPT, None, ib.Sampling()), ib.Completion(0, RECORD.reply, ib.Receipt.nothing()),
    judges.Case("t", "q", "r", LOVE), judges.Disclosure("control", 0.0, None, None),
    sweep.PlannedTrial(RECORD.key, "control", None, "s", ib.Request(PROMPT, None, ib.Sampling())),
    INTERVAL, BOUND, analysis.Scope(), analysis.Alternative(1, 10, 0.1, 0.5), LIGHT,
    analysis.Exclusion("coherent", BOUND, BOUND, BOUND, BOUND, [BOUND]), analysis.plan(0.2),
    analysis.JudgeAccuracy(9, 10, 9, 10), analysis.CorrectedRate(INTERVAL, 0.1, 0.1, 0.0, 0.2, 0.95, True),
    analysis.JudgeName("rules", "strict4/1", None, True), analysis.LogisticFit("fitted", 3),
    analysis.SweetSpotRule(), analysis.SweetSpots(analysis.SweetSpotRule(), SPOTS, 0.95),
    analysis.Sensitivity(INTERVAL, INTERVAL, 1.0, 0.0, 0.5, 1.5), confusion(), confusion().criteria[0],
    analysis.Comparison("a", "b", FRAME, CELLS, FRAME, FRAME, 0.95),
    analysis.ClusterEstimate("gee", "coherent", 0.1, 0.0, 0.2, 0.95, 10, 3, "estimated", INTERVAL),
    RECORD.key.steers[0],
]  # fmt: skip
#: Classes that are no values.
OTHERS = {
    "IntrospectionBenchError": "the base of errors",
    "Injector": "a port: tests/conformance",
    "Judge": "a port: tests/judges",
    "Reader": "a protocol",
    "Unit": "its parse is among METHODS",
    "Store": "its classmethods are among METHODS",
    "Sweep": "its constructor is among METHODS",
}
#: Methods that take arguments, with arguments that work.
METHODS = {
    "Span.parse": (ib.Span.parse, {"text": "all"}),
    "Span.from_anchor": (ib.Span.from_anchor, {"anchor": "first", "stop_at_prompt_end": True}),
    "Span.between": (ib.Span.between, {"first": "a", "last": "b"}),
    "Span.all": (ib.Span.all, {"stop_at_prompt_end": True}),
    "Span.resolve": (ib.Span.all().resolve, {"prompt": PROMPT}),
    "Unit.parse": (ib.Unit.parse, {"value": "raw"}),
    "ConceptVector.load": (ib.ConceptVector.load, {"path": "v.safetensors"}),
    "ConceptVector.save": (made_vector().save, {"path": "w.safetensors"}),
    "ConceptVector.from_bytes": (ib.ConceptVector.from_bytes, {"data": made_vector().to_bytes(), "where": "here"}),
    "ConceptVector.random_like": (made_vector().random_like, {"seed": 1}),
    "ConceptSet.from_toml": (ib.ConceptSet.from_toml, {"path": "c.toml"}),
    "ConceptSet.select": (lambda name: ib.load_concepts("pairs").select(name), {"name": "love"}),
    "ConceptSet.__getitem__": (ib.load_concepts("pairs").__getitem__, {"name": "love"}),
    "Results.frame": (ib.Results("r", make_records()).frame, {"judge": "rules", "rubric": "strict4/1"}),
    "TrialRecord.verdict": (RECORD.verdict, {"judge": "rules", "rubric": "strict4/1"}),
    "Reply.to_judge": (RECORD.reply.to_judge, {"part": "answer"}),
    "Verdict.key": (RECORD.verdicts[0].key, {"trial": "t"}),
    "JudgeName.of": (analysis.JudgeName.of, {"verdict": RECORD.verdicts[0]}),
    "Scope.apply": (analysis.Scope().apply, {"frame": ib.Results("r", make_records()).frame()}),
    "Bound.under": (BOUND.under, {"rate": 0.2}),
    "Grid.with_vectors_of": (VALUES[18].with_vectors_of, {"known": [made_vector()]}),
    "Scaffold.render": (ib.LINDSEY.render, {}),
    "Store.open": (ib.Store.open, {"path": "nowhere"}),
    "Store.is_begun": (ib.Store.is_begun, {"directory": "nowhere"}),
    "Store.create": (ib.Store.create, {"directory": "s", "spec": {}, "planned": [], "vectors": []}),
    "Store.create_from_records": (ib.Store.create_from_records, {"directory": "t", "spec": {}, "records": []}),
    "Store.record": (
        lambda **odd: in_a_store("record", odd),
        {"trial": VALUES[26], "reply": RECORD.reply, "receipt": ib.Receipt.nothing(), "model_name": "m"},
    ),
    "Store.begin_session": (lambda **odd: in_a_store("begin_session", odd), {"process": this_process("other")}),
    "Store.add_verdict": (lambda **odd: in_a_store("add_verdict", odd), {"trial": "t", "verdict": RECORD.verdicts[0]}),
    "Store.verdict_keys": (lambda **odd: in_a_store("verdict_keys", odd), {"scored_only": True}),
    "Sweep": (ib.Sweep, {"grid": VALUES[18], "injector": None, "directory": "d"}),
}
LEAVES_OUT = {"Scaffold.render": {"tokenizer": None, "date": None}}


def in_a_store(method, arguments):
    with tempfile.TemporaryDirectory() as folder, ib.Store.create_from_records(folder, {}, make_records()) as store:
        getattr(store, method)(**arguments)


def named(value):
    return type(value).__name__


def test_every_exported_class_has_a_value_here_or_is_none():
    classes = {name for name, value in exported().items() if inspect.isclass(value)}
    assert sorted(classes - {*map(named, VALUES), *OTHERS}) == []
    assert sorted({*map(named, VALUES), *OTHERS} - classes) == []


def test_every_method_of_an_exported_class_that_takes_an_argument_is_tried():
    classes = [*map(type, VALUES), ib.Store]
    missing = []
    for cls in classes:
        for name, method in inspect.getmembers(cls, lambda m: inspect.isfunction(m) or inspect.ismethod(m)):
            mine = name in vars(cls) and not name.startswith("_")
            takes = mine and set(inspect.signature(method).parameters) - {"self"}
            if takes and f"{cls.__name__}.{name}" not in METHODS:
                missing.append(f"{cls.__name__}.{name}")
    assert missing == []


def make_and_use(cls, arguments):
    """Make a value, and ask it for all that it tells."""
    value = cls(**arguments)
    repr(value), str(value), value == value
    for name, member in inspect.getmembers(cls):
        if isinstance(member, property):
            getattr(value, name)


def quietly(call):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        call()


@pytest.mark.parametrize("value", VALUES, ids=named)
def test_a_value_of_an_odd_argument_works_in_all_it_tells_or_is_an_error_of_ours(value):
    make_and_use(type(value), fields(value))
    wrong = []
    for name in fields(value):
        for odd in ODD:
            arguments = {**fields(value), name: odd}
            wrong += fault(lambda a=arguments: quietly(lambda: make_and_use(type(value), a)), f"{name}={odd!r:.40}")
    assert wrong == []


@pytest.mark.parametrize("value", VALUES, ids=named)
@a_few
@given(data=st.data())
def test_a_value_of_nearly_right_arguments_works_or_is_an_error_of_ours(value, data):
    good = fields(value)
    name = data.draw(st.sampled_from(sorted(good)))
    odd = data.draw(near(good[name]))
    assert fault(lambda: quietly(lambda: make_and_use(type(value), {**good, name: odd})), name) == []


@pytest.mark.parametrize("name", METHODS)
def test_a_method_given_an_odd_argument_works_or_is_an_error_of_ours(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    method, good = METHODS[name]
    good = LEAVES_OUT.get(name, good)
    wrong = []
    for parameter in good:
        for odd in ODD:
            arguments = {**good, parameter: odd}
            wrong += fault(lambda a=arguments: quietly(lambda: method(*a.values())
                           if "__getitem__" in name else method(**a)), f"{parameter}={odd!r:.40}")  # fmt: skip
    assert wrong == []


#: A frame multiplies its cells, which is pandas' own matter.
NO_FRAMES = [odd for odd in ODD if not isinstance(odd, pd.DataFrame)]


@pytest.mark.parametrize("odd", NO_FRAMES, ids=lambda odd: f"{odd!r:.20}")
def test_a_vector_times_anything_is_a_vector_an_error_of_ours_or_python_s_own_refusal(odd):
    with contextlib.suppress(IntrospectionBenchError, TypeError):
        assert isinstance(made_vector() * odd, ib.ConceptVector)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ib.Grid([made_vector()], [LOVE], 0.5, "residual"), SpecError, "magnitudes"),
        (lambda: ib.Grid(made_vector(), [LOVE], [0.5], "residual"), SpecError, "vectors"),
        (lambda: ib.Grid(["love"], [LOVE], [0.5], "residual"), SpecError, "vectors"),
        (lambda: ib.Grid([made_vector()], ["love"], [0.5], "residual"), SpecError, "concepts"),
        (lambda: ib.Grid([made_vector()], "pairs", [0.5], "residual"), SpecError, "load_concepts"),
        (lambda: ib.Grid([made_vector()], [LOVE], [0.5], "residual", scaffolds=ib.LINDSEY), SpecError, "scaffolds"),
        (lambda: ib.Grid([made_vector()], [LOVE], [0.5], "residual", scaffolds=[3]), SpecError, "load_scaffold"),
        (lambda: ib.Grid([made_vector()], [LOVE], [0.5], "residual", layers=3), SpecError, "layers"),
        (lambda: ib.Grid([made_vector()], [LOVE], [0.5], "residual", sampling=0.7), SpecError, "Sampling"),
        (lambda: ib.Grid([made_vector()], [LOVE], [0.5], "residual", span="all"), SpecError, "span"),
        (lambda: ib.Scaffold("s", ["Do you notice?"], ib.Span.all()), ScaffoldError, "Turn"),
        (lambda: ib.Scaffold("s", "Do you notice?", ib.Span.all()), IntrospectionBenchError, "list"),
        (lambda: ib.Scaffold("s", [ib.Turn("user", "a")], "all"), ScaffoldError, "span"),
        (lambda: ib.ConceptSet("s", ["Bread"]), ConceptError, "concepts"),
        (lambda: ib.Concept("love", pairs=[("a", "b")]), ConceptError, "pairs"),
        (lambda: ib.Injection("love", 1, 0.5, "residual", "all"), InjectionError, "ConceptVector"),
        (lambda: ib.Injection(made_vector(), 1, "strong", "residual", "all"), InjectionError, "magnitude"),
        (lambda: ib.ConceptVector("love", "love", 1, made_vector().provenance), VectorError, "values"),
        (lambda: ib.ConceptVector([1.0], "love", 1, "mine"), VectorError, "provenance"),
        (lambda: ib.Sampling(temperature="hot"), SpecError, "temperature"),
        (lambda: ib.rates("runs/demo", ["layer"]), AnalysisError, "frame"),
        (lambda: ib.rates(ib.Results("r", make_records()), ["layer"]), AnalysisError, "frame"),
        (lambda: ib.rates(["a", "b"], ["layer"]), AnalysisError, "frame"),
        (lambda: ib.compare("runs/a", "runs/b"), AnalysisError, "read_results"),
        (lambda: ib.extract("torch", "pairs", 3), ConceptError, "injector"),
        (lambda: ib.random_controls(made_vector()), VectorError, "vectors"),
        (lambda: ib.Results("r", "runs/demo"), IntrospectionBenchError, "list"),
        (lambda: ib.Results("r", ["a"]), AnalysisError, "records"),
        (lambda: ib.write_report("runs/demo", "x.html"), AnalysisError, "records"),
        (lambda: ib.judge_run("runs/demo", "rules"), SpecError, "store"),
        (lambda: ib.read_table("x.csv", {"reply": "r"}), IntrospectionBenchError, "layout"),
    ],
)  # fmt: skip
def test_a_name_a_path_texts_or_a_number_where_something_else_is_wanted_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_a_built_in_scaffold_may_be_given_to_a_grid_by_its_name():
    grid = ib.Grid([made_vector()], [LOVE], [0.5], "residual", scaffolds=["lindsey", ib.THINKING_ABOUT])
    assert grid.scaffolds == (ib.LINDSEY, ib.THINKING_ABOUT)


@pytest.mark.parametrize("arguments", [{"positives": "a"}, {"positive": "a", "negative": "b", "more": 1}])
def test_a_misspelt_or_missing_argument_stays_python_s_own_error(arguments):
    with pytest.raises(TypeError, match="argument"):
        ib.Pair(**arguments)


def test_a_fault_that_no_argument_is_to_blame_for_is_not_hidden():
    @guarded(SpecError)
    @attrs.frozen
    class Broken:
        name: str

        def __attrs_post_init__(self):
            raise LookupError("of our own")

    with pytest.raises(LookupError, match="of our own"):
        Broken("a")
    with pytest.raises(SpecError, match=r"Broken\.name: required text; got 3"):
        Broken(3)
