"""Every public function: whatever it is given works, or is an error of ours."""

from __future__ import annotations

import inspect
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import introspection_bench as ib
from introspection_bench import analysis
from introspection_bench.errors import IntrospectionBenchError
from introspection_bench.interop import write_jsonl
from tests.odd_values import ODD, exported, make_records


def functions() -> dict[str, object]:
    found = {**exported(), "plan": analysis.plan}  # a sweep's plan takes a grid and a model
    return {name: value for name, value in found.items() if inspect.isfunction(inspect.unwrap(value))}


#: Functions that are tried elsewhere, with the place.
ELSEWHERE = {
    "open_injector": "tests/injectors: it hands its options to a backend's own signature",
    "open_judge": "tests/judges: likewise to a judge's",
}


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """What the calls below are made of."""
    folder = tmp_path_factory.mktemp("entry")
    records = make_records()
    write_jsonl(records, folder / "a.jsonl")
    results = ib.read_results(folder / "a.jsonl")
    frame = results.frame()
    verdicts = analysis.verdicts_of(results.records, "rules", "strict4/1")
    return SimpleNamespace(
        folder=folder,
        results=results,
        frame=frame,
        verdicts=verdicts,
        rates=analysis.rates(frame, ["layer", "magnitude", "unit"]),
    )


#: A call of each function that works: arguments by name.
CALLS = {
    "agreement": lambda s: {"first": s.verdicts, "second": s.verdicts},
    "bootstrap_rate": lambda s: {"frame": s.frame, "outcome": "coherent", "resamples": 50},
    "coherent": lambda s: {"frame": s.frame},
    "compare": lambda s: {"first": s.results, "second": s.results},
    "controls": lambda s: {"frame": s.frame},
    "corrected_rate": lambda s: {"k": 3, "n": 10, "error": analysis.JudgeAccuracy(9, 10, 9, 10), "draws": 100},
    "counts": lambda s: {"frame": s.frame, "by": ["arm"]},
    "crossovers": lambda s: {"frame": s.frame},
    "default_guesses": lambda s: {"frame": s.frame},
    "detection": lambda s: {"frame": s.frame},
    "dose_response": lambda s: {"frame": s.frame, "outcomes": ["coherent"]},
    "excludes": lambda s: {"frame": s.frame},
    "fit_logistic": lambda s: {"magnitude": [0.0, 1.0, 2.0, 3.0] * 5, "outcome": [0, 0, 1, 1] * 4 + [0, 1, 0, 1]},
    "guessed_word": lambda s: {"reply": "It is about oceans."},
    "hierarchical_rate": lambda s: {"frame": s.frame, "outcome": "coherent"},
    "injected": lambda s: {"frame": s.frame},
    "interval": lambda s: {"k": 1, "n": 10},
    "migration": lambda s: {"crossed": analysis.crossovers(s.frame)},
    "narrow_table": lambda s: {"frame": s.frame},
    "outcome_interval": lambda s: {"frame": s.frame, "outcome": "coherent"},
    "percent": lambda s: {"share": 0.5},
    "plan": lambda s: {"rate": 0.2},
    "power_against": lambda s: {"rate": 0.3, "trials": 20, "null_rate": 0.1},
    "power_to_find": lambda s: {"rate": 0.3, "trials": 20},
    "probability_under": lambda s: {"k": 1, "n": 20, "rate": 0.1},
    "rates": lambda s: {"frame": s.frame, "by": ["arm"]},
    "rates_table": lambda s: {"frame": s.frame, "by": ["arm"]},
    "records_frame": lambda s: {"records": s.results.records},
    "render": lambda s: {"table": s.rates},
    "scored": lambda s: {"frame": s.frame},
    "sensitivity": lambda s: {"hits": 3, "signals": 10, "false_alarms": 1, "noises": 10},
    "spec_differences": lambda s: {"first": s.results, "second": s.results},
    "sweet_spots": lambda s: {"frame": s.frame},
    "trials_to_bound": lambda s: {"rate": 0.1},
    "trials_to_find": lambda s: {"rate": 0.1},
    "verdicts_of": lambda s: {"records": s.results.records, "judge": "rules", "rubric": "strict4/1"},
    "read_results": lambda s: {"path": s.folder / "a.jsonl"},
    "write_jsonl": lambda s: {"records": s.results.records, "path": s.folder / "b.jsonl"},
    "write_parquet": lambda s: {"records": s.results.records, "path": s.folder / "b.parquet"},
    "writer_for": lambda s: {"path": "x.jsonl"},
    "load_concepts": lambda s: {"name": "pairs"},
    "load_rubric": lambda s: {"name_or_path": "strict4"},
    "load_scaffold": lambda s: {"name": "lindsey"},
}


def test_every_exported_function_is_tried_here_or_elsewhere():
    missing = sorted(set(functions()) - set(CALLS) - set(ELSEWHERE) - LATER)
    assert missing == []
    assert sorted(set(CALLS) - set(functions())) == []


#: These need a model, a run, a page or a figure for every call, and have their own tests of wrong input.
LATER = {
    "extract", "random_controls", "write_report", "write_figures", "save_figure", "against_controls",
    "agreement_matrix", "crossover", "layer_panels", "rate_map", "import_results", "judge_run", "read_table",
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_call_that_the_odd_ones_are_made_from_works(some, name):
    functions()[name](**CALLS[name](some))


@pytest.mark.parametrize("name", CALLS)
def test_an_odd_value_works_or_is_an_error_of_ours(some, name, monkeypatch):
    monkeypatch.chdir(some.folder)
    function, wrong = functions()[name], []
    for parameter in inspect.signature(function).parameters:
        for odd in ODD:
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    function(**{**CALLS[name](some), parameter: odd})
            except IntrospectionBenchError as error:
                wrong += [f"{parameter}: {len(str(error))} characters"] if len(str(error)) > 3000 else []
            except Exception as error:
                wrong.append(f"{parameter}={odd!r:.40}: {type(error).__name__}: {error!s:.100}")
    assert wrong == []
