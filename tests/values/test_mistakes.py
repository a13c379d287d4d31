"""What is typed by mistake in Python, and the way out that the error says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import introspection_bench as ib
from introspection_bench import arms, interop, measures, report
from introspection_bench.errors import IntrospectionBenchError
from introspection_bench.measures.base import Measure
from introspection_bench.testing import save_tiny_model
from tests.odd_values import make_records

RESULTS = ib.Results("r", make_records())
GOOD = {
    "scaffolds": ["lindsey"],
    "concepts": "pairs",
    "layers": [1],
    "doses": ["1 residual"],
    "arms": [arms.Injected(1)],
}


def design(**odd: Any) -> ib.Design:
    return ib.Design(**{**GOOD, **odd})


MISTAKES: list[tuple[str, Any, str]] = [
    ("a name where a list of scaffolds is", lambda: design(scaffolds="lindsey"), r"into a list, as in \['lindsey'\]"),
    ("a scaffold where a list is", lambda: design(scaffolds=ib.LINDSEY), r"into a list, as in \['lindsey'\]"),
    ("a misspelt scaffold", lambda: design(scaffolds=["lindsei"]), "one of .*lindsey_405b"),
    ("names of concepts where a set is", lambda: design(concepts=["love"]), r"load_concepts\('pairs'\)\.select"),
    ("a number where doses are", lambda: design(doses=0.3), r"as in \['0.3 residual'\]"),
    ("numbers without unit", lambda: design(doses=[0.3]), r"with their units"),
    ("a dose where doses are", lambda: design(doses="0.3 residual"), r"into a list"),
    ("a number where layers are", lambda: design(layers=20), r"as in \[20\]"),
    ("a fraction where blocks are", lambda: design(layers=[0.66]), "'2/3', a depth"),
    ("an arm's name", lambda: design(arms=["injected"]), r"arms\.Injected\(10\)"),
    ("an arm where arms are", lambda: design(arms=arms.Injected(1)), r"arms\.Injected\(10\)"),
    ("an arm's class", lambda: design(arms=[arms.Injected]), r"arms\.Injected\(10\)"),
    ("a table where a sampling is", lambda: design(sampling={"temperature": 0}), r"ib\.Sampling\("),
    ("a bare number where a dose is", lambda: ib.try_injection("demo", "Oceans", dose=0.3), "'0.3 residual'"),
    ("an array where a vector is", lambda: ib.Injection(np.ones(3), 1, "1 raw", "all"), "wrap an array"),
    ("a model's name where an injector is", lambda: ib.extract("demo", "pairs", [1]), r"ib\.open_injector\('torch'"),
    ("a model alone", lambda: ib.open_injector("demo"), r"open_injector\('torch', 'demo'\)"),
    ("a name where a design is", lambda: ib.Sweep("lindsey2026", None, "d"), r"ib\.Design"),
    ("a path where a frame is", lambda: ib.rates("runs/demo"), r"ib\.read_results\(path\)"),
    ("records where a frame is", lambda: ib.rates(list(RESULTS)), r"results\.frame\(\)"),
    ("results where a table is", lambda: report.crossover(RESULTS), r"ib\.rates\(results\)"),
    ("paths where results are", lambda: ib.compare("a", "b"), r"ib\.read_results\(path\)"),
    ("a path where a run is reported", lambda: ib.write_report("runs/demo", "r.html"), r"read_results"),
    ("a path where a run is exported", lambda: interop.write_csv("runs/demo", "r.csv"), r"read_results"),
    ("an injector where its tokenizer is", lambda: ib.mark_span("lindsey", RESULTS), r"injector\.tokenizer"),
]


@pytest.mark.parametrize(("call", "way_out"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_typical_mistake_is_an_error_that_says_what_to_write(call: Any, way_out: str) -> None:
    with pytest.raises(IntrospectionBenchError, match=way_out):
        call()


def test_a_layer_may_be_written_as_in_a_file() -> None:
    assert design(layers=["2/3", 20]) == design(layers=[ib.Depth(2 / 3), 20])


def test_a_name_where_a_measure_is_wanted_is_an_error_before_anything_is_replayed(tmp_path: Any) -> None:
    few = ib.Design(
        arms=[arms.Unsteered(1)], scaffolds=["thinking_about"], span="all", sampling=ib.Sampling(0, max_new_tokens=2)
    )
    with ib.open_injector("torch", save_tiny_model("llama", tmp_path / "tiny"), device="cpu") as injector:
        sweep = ib.Sweep(few, injector, tmp_path / "run")
        sweep.generate()
        for wrong in ("lens", [measures.Residuals([1])], Measure):
            with pytest.raises(IntrospectionBenchError, match="measure: required a Measure"):
                sweep.measure(wrong)
