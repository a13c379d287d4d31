"""Every public function: whatever it is given works, or is an error of ours."""

from __future__ import annotations

import inspect
import itertools
import math
import warnings
from types import SimpleNamespace

import attrs
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench import analysis, measures, protocols, report, sweep
from introspection_bench.errors import SpecError
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.interop import TableLayout, write_control_vectors, write_jsonl
from introspection_bench.judges.registry import judge_class
from introspection_bench.testing import save_tiny_model
from tests.odd_values import FEW, ODD, a_few, exported, fault, made_vector, make_records, near
from tests.sample_trials import answered_records

EFFECT = ib.DoseEffect("love", [1], ib.Dose(0.2, "residual"), ["v"], "p", 0, [0.5], [2.0], [1.5], [0.3], [0.4], [0.2])


def functions() -> dict[str, object]:
    return {name: value for name, value in exported().items() if inspect.isfunction(inspect.unwrap(value))}


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """What the calls below are made of."""
    folder = tmp_path_factory.mktemp("entry")
    records = make_records()
    write_jsonl(records, folder / "a.jsonl")
    results = ib.read_results(folder / "a.jsonl")
    frame = results.frame()
    verdicts = analysis.verdicts_of(results.records, "rules", "strict4")
    (folder / "t.csv").write_text("r,a\nYes.,c\n")
    model = save_tiny_model("llama", folder / "model")
    concepts = ib.load_concepts("pairs")
    doses = analysis.rates(frame[frame["layer"] == 1], ["layers", "magnitude", "unit"])
    injector = ib.open_injector("torch", model, device="cpu")
    design = ib.Design(concepts=concepts, arms=[sweep.Unsteered(1)], sampling=ib.Sampling(max_new_tokens=2))
    ib.Sweep(design, injector, folder / "begun").generate()
    hypothesis = sweep.Hypothesis("a", "strict", ["control"], "these concepts", "less")
    planned = ib.RunSpec(design, sweep.ModelSpec(str(model)), plan=sweep.Plan([hypothesis], "b", []))
    return SimpleNamespace(
        planned=planned,
        frozen=sweep.freeze(planned),
        folder=folder,
        number=itertools.count(),
        model=str(model),
        injector=injector,
        spec=ib.RunSpec(design, sweep.ModelSpec(str(model), options={"torch": {"device": "cpu"}})),
        begun=ib.Store.open(folder / "begun"),
        concepts=concepts,
        doses=doses,
        figure=report.crossover(doses),
        agreement=analysis.agreement(verdicts, verdicts),
        store=sweep.import_results([results], folder / "run", concepts),
        results=results,
        other_results=of_model(results, "other"),
        frame=frame,
        verdicts=verdicts,
        answered=answered_records(),
        rates=analysis.rates(frame, ["layers", "magnitude", "unit"]),
        compared=analysis.compare(results, results),
    )


#: A call of each function that works: arguments by name.
CALLS = {
    "agreement": lambda s: {"first": s.verdicts, "second": s.verdicts},
    "choose": lambda s: {"rule": sweep.SelectionRule(["dose"]), "records": s.results.records, "fewest": 1},
    "coherent": lambda s: {"frame": s.frame},
    "compare": lambda s: {"first": s.results, "second": s.results, "outcomes": ["coherent"]},
    "compare_models": lambda s: {"results": [s.results, s.other_results], "by": "model", "outcomes": ["coherent"]},
    "contrast": lambda s: {
        "results": s.results,
        "outcome": "coherent",
        "against": ["control"],
        "rubric": "strict4",
        "moved": 0.5,
    },
    "contrast_pairs": lambda s: {"pairs": [(of_concepts("a", "b"), of_concepts("b", "c"))], "margin": 0.2},
    "controls": lambda s: {"frame": s.frame},
    "counts": lambda s: {"frame": s.frame, "by": ["arm"]},
    "crossovers": lambda s: {"frame": s.frame},
    "default_guesses": lambda s: {"frame": s.frame},
    "departures": lambda s: {"results": s.results, "frozen": s.frozen},
    "detection": lambda s: {"frame": s.frame},
    "dose_effects": lambda s: {
        "injector": s.injector,
        "vectors": [attrs.evolve(made_vector(), values=[1.0] * 64)],
        "layers": [1],
        "doses": [ib.Dose(0.5, "residual")],
        "concepts": s.concepts,
        "n_random": 1,
        "prompts": ib.Battery("one", 1, [ib.Item("p", {"prompt": "Name a tree."})]),
    },
    "effect_curves": lambda _: {"effects": ib.Effects([EFFECT]), "title": "layer 1"},
    "effects_frame": lambda _: {"effects": ib.Effects()},
    "live_cells": lambda s: {"frame": s.frame, "effects": ib.Effects()},
    "live_trials": lambda s: {"frame": s.frame, "effects": ib.Effects()},
    "liveness": lambda s: {"frame": s.frame, "effects": ib.Effects()},
    "dosed": lambda s: {"frame": s.frame},
    "dose_response": lambda s: {"frame": s.frame, "outcomes": ["coherent"]},
    "excludes": lambda s: {"frame": s.frame, "effects": ib.Effects()},
    "fit_logistic": lambda s: {"magnitude": [0.0, 1.0, 2.0, 3.0] * 5, "outcome": [0, 0, 1, 1] * 4 + [0, 1, 0, 1]},
    "freeze": lambda s: {"spec": s.planned},
    "frozen_plan": lambda s: {"results": s.results},
    "guessed_word": lambda s: {"reply": "It is about oceans."},
    "injected": lambda s: {"frame": s.frame},
    "interval": lambda s: {"k": 1, "n": 10},
    "log_odds_frame": lambda s: {"records": s.answered},
    "log_odds_by_arm": lambda s: {"frame": analysis.log_odds_frame(s.answered)},
    "log_odds_contrast": lambda s: {"frame": analysis.log_odds_frame(s.answered), "battery": "injected"},
    "log_odds_sentence": lambda s: {"frame": analysis.log_odds_frame(s.answered)},
    "mean_rate": lambda s: {"frame": s.frame, "outcome": "coherent"},
    "identification": lambda s: {"frame": analysis.naming_frame(s.answered), "shuffles": 10},
    "naming_measures": lambda s: {"records": s.answered},
    "naming_frame": lambda s: {"records": s.answered},
    "mutual_information": lambda _: {"injected": ["a", "b"], "named": ["a", "b"], "shuffles": 10},
    "beyond_observer": lambda s: {"records": s.answered},
    "migration": lambda s: {"crossed": analysis.crossovers(s.frame)},
    "narrow_table": lambda s: {"frame": s.frame},
    "outcome_interval": lambda s: {"frame": s.frame, "outcome": "coherent"},
    "outcomes_of": lambda s: {"frame": s.frame},
    "percent": lambda s: {"share": 0.5},
    "planned_arms": lambda s: {"spec": s.planned},
    "power_against": lambda s: {"rate": 0.3, "trials": 20, "null_rate": 0.1},
    "power_to_find": lambda s: {"rate": 0.3, "trials": 20},
    "preregistration": lambda s: {"frozen": s.frozen},
    "probability_under": lambda s: {"k": 1, "n": 20, "rate": 0.1},
    "rates": lambda s: {"frame": s.frame, "by": ["arm"]},
    "rates_table": lambda s: {"frame": s.frame, "by": ["arm"]},
    "readings_frame": lambda s: {"records": s.results.records, "measure": "lens"},
    "receipts_frame": lambda s: {"records": s.results.records},
    "records_frame": lambda s: {"records": s.results.records},
    "vector_ranks": lambda s: {
        "injector": s.injector,
        "vectors": [attrs.evolve(made_vector(), values=[1.0] * 64)],
        "concepts": s.concepts,
    },
    "reads_out_sentence": lambda _: {"ranks": [ib.VectorRank("love", 1, "d", 3, 5)]},
    "rise_contrast": lambda s: {
        "first": (of_concepts("a", "b"), of_concepts("")),
        "second": (of_concepts("b", "c"), of_concepts("c")),
        "margin": 0.2,
    },
    "resolve": lambda s: {"injections": [INJECTION], "prompt": PROMPT},
    "render": lambda s: {"table": s.rates},
    "sample_size": lambda s: {"rate": 0.2},
    "scored": lambda s: {"frame": s.frame},
    "sensitivity": lambda s: {"signal": COUNTS, "noise": OTHER},
    "shown_of": lambda s: {"frame": s.frame},
    "spec_differences": lambda s: {"first": s.results, "second": s.results},
    "sweet_spots": lambda s: {"frame": s.frame},
    "trials_to_bound": lambda s: {"rate": 0.1},
    "trials_to_find": lambda s: {"rate": 0.1},
    "verdicts_frame": lambda s: {"records": s.results.records},
    "verdicts_of": lambda s: {"records": s.results.records, "judge": "rules", "rubric": "strict4"},
    "read_results": lambda s: {"path": s.folder / "a.jsonl"},
    "write_csv": lambda s: {"records": s.results.records, "path": s.folder / "b.csv"},
    "write_hub": lambda s: {
        "results": s.results,
        "folder": s.folder / f"hub{next(s.number)}",
        "license": "cc0-1.0",
        "vectors": [made_vector()],
        "tables": {"a.md": "| a |"},
    },
    # A log is of one model; odd arguments are refused before inspect_ai is needed, which is not installed here.
    "write_inspect": lambda s: {"results": s.results, "path": s.folder / "b.eval"},
    "write_jsonl": lambda s: {"records": s.results.records, "path": s.folder / "b.jsonl"},
    "write_parquet": lambda s: {"records": s.results.records, "path": s.folder / "b.parquet"},
    "writer_for": lambda s: {"path": "x.jsonl"},
    "vectors_by_layer": lambda s: {
        "directions": {1: [1.0, 2.0]},
        "concept": "love",
        "counting": "blocks",
        "made_by": "repeng",
    },
    "write_control_vectors": lambda s: {"vectors": [made_vector()], "path": s.folder / "w.gguf", "model_hint": "llama"},
    "read_control_vectors": lambda s: {
        "path": write_control_vectors([made_vector()], s.folder / "v.gguf", model_hint="llama")
    },
    "load_adapter": lambda s: {"name": "yes_sayer"},
    "load_concepts": lambda s: {"name": "pairs"},
    "load_battery": lambda s: {"name": "wordings"},
    "load_experiment": lambda s: {"name": "localisation"},
    "load_rubric": lambda s: {"name_or_path": "strict4"},
    "load_scaffold": lambda s: {"name": "lindsey"},
    "load_protocol": lambda _: {"name_or_path": "macar2026/forced"},
    "protocol_names": lambda _: {},
    "diff": lambda _: {"a": ib.load_protocol("lindsey2026"), "b": ib.load_protocol("godet2025")},
    "bridge": lambda _: {"a": "lindsey2026", "b": "macar2026", "how": "factorial", "trials": 1},
    "derived": lambda _: {"base": ib.load_protocol("lindsey2026"), "told": {"doses": ["1 raw"]}, "where": "here"},
    "read_free": lambda s: {"planned": BRIDGE, "results": s.results},
    "shown": lambda _: {"value": ib.load_protocol("lindsey2026").sampling},
}


#: Those that need a model, a run, a page or a figure: a tenth of a second for each call that works.
SLOW = {
    "explain_away": lambda s: {
        "frame": s.frame,
        "answers": s.frame,
        "effects": ib.Effects(),
        "mismatched": s.frame,
        "observed": analysis.beyond_observer(s.answered),
    },
    "extract": lambda s: {"injector": s.injector, "concepts": s.concepts, "layers": [1]},
    "random_controls": lambda s: {"vectors": [made_vector()]},
    "write_report": lambda s: {"records": s.results, "path": s.folder / "r.html"},
    "write_figures": lambda s: {"records": s.results, "folder": s.folder / "figures", "formats": ["svg"]},
    "compared_tables": lambda s: {"found": s.compared},
    "write_comparison": lambda s: {"found": s.compared, "path": s.folder / "c.html"},
    "write_run_index": lambda s: {"runs": [report.ListedRun("a")], "path": s.folder / "index.html"},
    "save_figure": lambda s: {"figure": s.figure, "stem": s.folder / "f", "formats": ["svg"]},
    "against_controls": lambda s: {"table": analysis.rates(s.frame, ["arm"])},
    "agreement_matrix": lambda s: {"tables": {"coherent": s.agreement.criteria[3].frame()}},
    "crossover": lambda s: {"table": s.doses},
    "judge_rates": lambda s: {"table": analysis.rates(s.frame, ["arm"]).assign(judgement="rules")},
    "layer_panels": lambda s: {"table": s.doses},
    "rate_map": lambda s: {"table": s.doses},
    "import_results": lambda s: {
        "sources": [s.results],
        "directory": s.folder / f"run{next(s.number)}",
        "concepts": s.concepts,
    },
    "write_manifest": lambda s: {"store": s.store},
    "judge_accuracy": lambda s: {"judge": "rules", "replies": s.results, "concepts": "pairs"},
    "measure_run": lambda s: {"store": s.begun, "measure": RESIDUALS, "injector": s.injector},
    "try_injection": lambda s: {
        "model": s.injector,
        "concept": "love",
        "prompt": "Hello.",
        "layer": 1,
        "concepts": s.concepts,
        "sampling": ib.Sampling(max_new_tokens=2),
    },
    "verify_run": lambda s: {"store": s.begun, "injector": s.injector, "sample": 1},
    "run_spec": lambda s: {"spec": s.spec, "directory": s.folder / "begun"},
    "prepare_spec": lambda s: {"spec": s.spec, "directory": s.folder / "prepared"},
    "prepare": lambda s: {"sweep": ib.Sweep(s.begun.run_spec().design, s.injector, s.folder / "begun")},
    "begin_shard": lambda s: {
        "prepared": s.folder / "begun",
        "shard": "1/1",
        "directory": s.folder / f"shard{next(s.number)}",
    },
    "merge_runs": lambda s: {"runs": [s.folder / "begun"], "into": s.folder / f"merged{next(s.number)}"},
    "judge_run": lambda s: {"store": s.store, "judge": "rules", "check": False},
    "read_table": lambda s: {"path": s.folder / "t.csv", "layout": TableLayout(LAYOUT, {"c": "control"})},
    "open_injector": lambda s: {"backend": s.injector},
    "open_judge": lambda s: {"judge": "rules"},
    "run_bridge": lambda s: {
        "planned": BRIDGE,
        "model": s.injector,
        "directory": s.folder / "bridge",
    },
    "write_bridge": lambda s: {
        "found": protocols.Bridged(BRIDGE, dict.fromkeys(BRIDGE.settings, s.results)),
        "path": s.folder / "bridge.html",
    },
}
#: Two ends that read one setting otherwise, on the tiny model.
ENDS = [
    attrs.evolve(
        ib.load_protocol("llama405b2026"),
        scaffolds=["thinking_about"],
        layers=[1],
        doses=["1 residual"],
        sampling=ib.Sampling(max_new_tokens=2),
        outcome=outcome,
    )
    for outcome in ("strict", "affirmed")
]
BRIDGE = ib.bridge(*ENDS, trials=1, controls=1)
LAYOUT = {"reply": "r", "arm": "a"}
COUNTS = analysis.ConceptCounts([3, 0, 5, 1, 2], [10] * 5)
OTHER = analysis.ConceptCounts([1, 0, 2, 1, 0], [10] * 5)
JUDGE = analysis.JudgeAccuracy(9, 10, 9, 10)
#: Intervals from counts, and the way from a frame to counts.
INTERVALS = {
    "anytime": lambda s: {"k": 1, "n": 20},
    "best_of_many": lambda s: {"successes": [1, 3, 0], "trials": [10, 10, 12]},
    "bound_if_varying": lambda s: {"counts": COUNTS, "icc": 0.1},
    "by_concept": lambda s: {"frame": s.frame, "outcome": "coherent"},
    "curve_over_sensitivity": lambda s: {"counts": COUNTS, "sensitivities": [0.5, 0.9]},
    "d_prime_difference": lambda s: {"first": (COUNTS, OTHER), "second": (OTHER, OTHER)},
    "difference": lambda s: {"first": COUNTS, "second": OTHER, "estimand": "these concepts"},
    "difference_in_differences": lambda s: {
        "first": (COUNTS, OTHER),
        "second": (OTHER, OTHER),
        "estimand": "these concepts",
    },
    "difference_of_unbounded": lambda s: {"first": [1.0, 2.0, 0.5, 3.0] * 2, "second": [0.0, 0.2, -1.0, 0.4] * 2},
    "discrimination": lambda s: {"signal": COUNTS, "noise": OTHER},
    "each_of_many": lambda s: {"successes": [1, 3, 0], "trials": [10, 10, 12]},
    "equivalence": lambda s: {"first": COUNTS, "second": OTHER, "margin": 0.2, "estimand": "these concepts"},
    "fewest_concepts": lambda s: {"confidence": 0.95},
    "judge_error": lambda s: {"results": s.results, "known": s.verdicts},
    "judged_d_prime": lambda s: {"signal": COUNTS, "noise": OTHER, "judge": JUDGE},
    "judged_difference": lambda s: {"first": COUNTS, "second": OTHER, "judge": JUDGE},
    "judged_rate": lambda s: {"counts": COUNTS, "judge": JUDGE},
    "like_these": lambda s: {"counts": COUNTS},
    "model_runs": lambda s: {"results": s.results},
    "matched": lambda s: {"first": of_concepts("a", "b"), "second": of_concepts("b", "c"), "within": ["b"]},
    "median_of_unbounded": lambda s: {"values": [1.0, 2.0, 0.5, 3.0, 0.1, 0.2]},
    "share_of_unbounded": lambda s: {"values": [1.0, 2.0, 0.5, 3.0, 0.1], "above": 0.7},
    "null_bound": lambda s: {"counts": COUNTS, "correlations": [0.0, 0.3]},
    "pair_agreement": lambda s: {"table": analysis.PairTable(3, 1, 0, 16)},
    "plan_concepts": lambda s: {"rate": 0.2, "concepts": 6},
    "plan_equivalence": lambda s: {"rate": 0.0, "margin": 0.3, "trials_per_concept": 5},
    "prediction_powered": lambda s: {"k": 3, "n": 40, "labelled": analysis.PairTable(3, 1, 0, 16)},
    "same_as_control": lambda s: {"frame": s.frame, "outcome": "coherent", "margin": 0.2},
    "same_as_zero_in": lambda s: {"frame": s.frame, "outcome": "coherent", "margin": 0.2},
    "same_as_zero": lambda s: {"counts": COUNTS, "margin": 0.2, "estimand": "these concepts"},
    "searched": lambda s: {
        "records": [r for r in s.results.records if r.condition.dose and r.condition.dose.magnitude > 0],
        "rule": analysis.Search(6, 5, 3),
        "limits": [ib.Dose(1, "residual"), ib.Dose(2, "residual")],
    },
    "stopped": lambda s: {"records": s.results.records, "rule": analysis.Stopping(0.2)},
    "stopping_of": lambda s: {"spec": {"stopping": {"rate": 0.2, "rounds": 3}}},
    "these_concepts": lambda s: {"counts": COUNTS},
    "tolerance_bound": lambda s: {"counts": COUNTS},
    "trials_to_stop": lambda s: {"rate": 0.1},
    "worst_case": lambda s: {"counts": COUNTS, "unscored": [0, 1, 0, 2, 0]},
}
SETTINGS = lambda: {frozenset(s): of_concepts("a", "b") for s in ([], ["f"], ["g"], ["f", "g"])}  # noqa: E731  # as above
#: Attributions of a difference to factors.
ATTRIBUTIONS = {
    "attribute_both_ends": lambda _: {"settings": SETTINGS(), "factors": ["f", "g"]},
    "attribute_factorial": lambda _: {"settings": SETTINGS(), "plan": analysis.fraction(["f", "g"])},
    "counted": lambda s: {"frame": s.frame, "outcome": "affirmed", "among": "coherent"},
    "counted_by_concept": lambda s: {"frame": s.frame, "outcome": "strict"},
    "nearest_concepts": lambda s: {"vector": made_vector(), "vectors": [-made_vector()]},
    "mark_span": lambda s: {"scaffold": "lindsey", "tokenizer": s.injector.tokenizer, "span": "from(trial)"},
    "fraction": lambda _: {"factors": ["f", "g", "h"], "resolution": 3},
    "weighted_sum": lambda _: {"arms": [COUNTS, OTHER], "weights": [1.0, -1.0], "estimand": "these concepts"},
    "with_structural_rules": lambda s: {
        "verdict": s.results.records[0].verdicts[0],
        "reply": "The ocean.",
        "names": ["ocean"],
    },
}
CALLS |= INTERVALS
CALLS |= ATTRIBUTIONS
ALL = CALLS | SLOW


def of_model(results, name):
    """The same trials of another model."""
    renamed = [
        attrs.evolve(r, trial=attrs.evolve(r.trial, condition=attrs.evolve(r.condition, model=name))) for r in results
    ]
    return attrs.evolve(results, records=renamed)


def of_concepts(*names):
    """One success in ten trials of each concept."""
    counts = analysis.ConceptCounts([1] * len(names), [10] * len(names))
    return analysis.ByConcept(names, counts, [0] * len(names), 0)


PROMPT = ib.RenderedPrompt([1, 2, 3], "a b c", {"first": 1})
INJECTION = ib.Injection(made_vector(), 1, "0.5 residual", "from(first)")
RESIDUALS = measures.Residuals([1], "prompt")


def test_a_name_or_a_written_dose_stands_for_what_is_built_in(some):
    by_name = ib.extract(some.injector, "pairs", [1], recipe="pairs")
    by_value = ib.extract(some.injector, some.concepts, [1], recipe=ib.Pairs())
    assert [v.digest for v in by_name] == [v.digest for v in by_value]
    vectors = [attrs.evolve(made_vector(), values=[1.0] * 64)]
    written = ib.dose_effects(some.injector, vectors, [1], ["0.5 residual"], concepts="pairs", n_random=1)
    assert written == ib.dose_effects(
        some.injector, vectors, [1], [ib.Dose(0.5, "residual")], concepts=some.concepts, n_random=1
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda i: i.generate(["Do you notice?"]), "requests"),
        (lambda i: i.generate("Do you notice?"), "requests"),
        (lambda i: i.generate(ib.Request(PROMPT, (), ib.Sampling())), "requests"),
        (lambda i: i.capture(["Do you notice?"], [1]), "prompts"),
        (lambda i: i.capture([PROMPT], 1), "layers"),
        (lambda i: i.vector_logits(["love"]), "vectors"),
    ],
)
def test_a_text_or_a_number_where_an_injector_wants_values_is_named(some, call, says):
    with pytest.raises(SpecError, match=says):
        call(some.injector)


def test_every_exported_function_is_tried():
    assert sorted(ALL) == sorted(functions())


@pytest.mark.parametrize("name", ALL)
def test_the_call_that_the_odd_ones_are_made_from_works(some, name):
    if name == "write_inspect":
        pytest.importorskip("inspect_ai", reason="not installed: scripts/test_inspect.sh")
    attempt(name, ALL[name](some))


def attempt(name, arguments):
    function = functions()[name]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if name.startswith("open_"):  # their first argument has no name
                first, *rest = arguments.values()
                return function(first, **dict(zip(list(arguments)[1:], rest, strict=True)))
            return function(**arguments)
    finally:
        plt.close("all")


def parameters(name):
    """The names of a function's own parameters; those of whom it hands its options to are tried below."""
    found = inspect.signature(functions()[name]).parameters.values()
    return [
        p.name for p in found if p.kind is not p.VAR_KEYWORD and not (name == "open_injector" and p.name == "model")
    ]


@pytest.mark.parametrize("name", ALL)
def test_an_odd_value_works_or_is_an_error_of_ours(some, name, monkeypatch):
    monkeypatch.chdir(some.folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # no look into the hub for an odd name
    wrong = []
    for parameter in parameters(name):
        for odd in (
            FEW[::9]
            if name == "write_report"
            else FEW
            if name in {*SLOW, "compare", "compare_models", "plan_equivalence"}
            else ODD
        ):
            if parameter.startswith("on_") and callable(odd):  # what a caller's own function raises is the caller's
                continue
            arguments = {**ALL[name](some), parameter: odd}
            wrong += fault(lambda a=arguments: attempt(name, a), f"{parameter}={odd!r:.40}")
    assert wrong == []


@pytest.mark.slow  # all of them together
@pytest.mark.parametrize("name", sorted(ALL.keys() - {"write_report", "write_figures"}))
@settings(a_few, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_nearly_right_value_works_or_is_an_error_of_ours(some, name, data, monkeypatch):
    monkeypatch.chdir(some.folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    good = ALL[name](some)
    defaults = {p: inspect.signature(functions()[name]).parameters[p].default for p in parameters(name)}
    if not defaults:  # it takes nothing
        return
    parameter = data.draw(st.sampled_from(sorted(defaults)))
    if parameter in ("path", "stem", "folder", "directory"):  # a drawn path may be anywhere
        return
    odd = data.draw(near(good.get(parameter, defaults[parameter])))
    if parameter.startswith("on_") and callable(odd):  # what a caller's own function raises is the caller's
        return
    if isinstance(odd, int | float) and abs(odd) > AT_MOST.get(parameter, math.inf):
        return
    assert fault(lambda: attempt(name, {**good, parameter: odd}), f"{parameter}={odd!r:.40}") == []


#: How many of what takes time for each: they work, in hours.
AT_MOST = {"draws": 1000, "resamples": 1000, "shuffles": 1000, "n_random": 20}

#: The options that each judge has, with a call of it that goes no further than its making.
JUDGES = {
    "rules": {},
    "chat": {"model": "m", "base_url": "http://127.0.0.1:1"},
    "claude": {},
    "panel": {"judges": ["rules"]},
}


@pytest.mark.parametrize("name", JUDGES)
def test_an_odd_option_of_a_judge_works_or_is_an_error_of_ours(name, monkeypatch):
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(key, "none")
    wrong = []
    for option in [*inspect.signature(judge_class(name)).parameters, "nothing"]:
        for odd in ODD:
            arguments = {**JUDGES[name], option: odd}
            wrong += fault(lambda a=arguments: ib.open_judge(name, **a).close(), f"{option}={odd!r:.40}")
    assert wrong == []


def opened(model, **options):
    ib.open_injector("torch", model, **options).close()


@pytest.mark.parametrize("option", ["model", *list(inspect.signature(TorchInjector.open).parameters)[1:], "nothing"])
def test_an_odd_option_of_a_backend_works_or_is_an_error_of_ours(some, option, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(some.folder)
    wrong = []
    for odd in FEW:
        arguments = {"model": some.model, "device": "cpu", option: odd}
        wrong += fault(lambda a=arguments: opened(**a), f"{odd!r:.40}")
    assert wrong == []
