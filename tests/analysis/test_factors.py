"""Models side by side: matched where they can be, and said to be confounded where not."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.analysis import Results, compare_models, model_runs
from introspection_bench.errors import AnalysisError
from tests.sample_trials import make_condition, make_verdict, record_of

CONCEPTS = ("love", "bread", "dust", "trees", "poetry", "oceans")
LAYERS = [[{"fraction": 0.5}]]


def spec(fingerprint: str, blocks: int, *, layers: Any = None, template: str = "auto", **facts: Any) -> dict[str, Any]:
    return {
        "model": {"backend": "torch", "facts": facts},
        "found": {"fingerprint": fingerprint, "n_layers": blocks},
        "design": {
            "layers": LAYERS if layers is None else layers,
            "scaffolds": [{"name": "lindsey", "template": template}],
        },
    }


def run(
    name: str, blocks: int, yes: int, *, n: int = 10, layer: int | None = None, concepts: Any = CONCEPTS, **facts: Any
) -> Results:
    """A run in which each concept is affirmed ``yes`` times of ``n``, at half the depth unless a layer is given."""
    layers = facts.pop("layers", None)
    records = []
    for concept in concepts:
        where = make_condition("injected", concept, (blocks // 2 if layer is None else layer,), model=name)
        for draw in range(n):
            made = record_of(where, draw, verdicts=(make_verdict(concept, affirmative=draw < yes),))
            key = attrs.evolve(made.key, model=name)
            records.append(attrs.evolve(made, trial=attrs.evolve(made.trial, key=key)))
    return Results(name, records, spec(name, blocks, layers=layers, **facts))


def affirmed(found: Any) -> Any:
    return found.contrasts[found.contrasts["outcome"] == "affirmative"].iloc[0]


def test_layers_match_by_depth_and_never_by_their_index() -> None:
    small, large = run("a", 30, 2, family="A"), run("b", 18, 8, family="B")
    row = affirmed(compare_models([small, large], by="family", outcomes=["affirmative"]))
    assert (row["cells"], row["difference"]) == (1, pytest.approx(0.6))
    assert set(compare_models([small, large], outcomes=["affirmative"]).rates["depth"]) == {"1/2"}
    fifteen = [[15]]
    apart = compare_models(
        [run("a", 30, 2, layers=fifteen), run("b", 18, 8, layer=15, layers=fifteen)], outcomes=["affirmative"]
    )
    assert affirmed(apart)["verdict"] == "can't be said"
    assert math.isnan(affirmed(apart)["difference"])
    assert any("no cell of both" in s for s in apart.said)


def test_a_factor_is_compared_on_models_that_differ_in_it_alone_where_there_are_such() -> None:
    # B says yes more often and has more trials of the instruct model: pooled, tuning would seem to add 20 points.
    runs = [
        run("a-base", 30, 6, n=30, family="A", tuning="base"),
        run("a-it", 30, 1, n=10, family="A", tuning="instruct"),
        run("b-base", 18, 8, n=10, family="B", tuning="base"),
        run("b-it", 18, 21, n=30, family="B", tuning="instruct"),
    ]
    found = compare_models(runs, by="tuning", outcomes=["affirmative"])
    row = affirmed(found)
    assert (row["first"], row["second"], row["cells"]) == ("base", "instruct", 2)
    assert row["difference"] == pytest.approx(-0.1)
    assert "base and instruct are compared on models that are alike in all other known facts." in found.said
    assert any("base 2 and instruct 2. Intervals are over concepts" in s for s in found.said)


def test_models_that_differ_in_everything_are_compared_and_nothing_is_put_down_to_the_factor() -> None:
    smol = run("smol", 30, 2, family="A", tuning="instruct", parameters=135_000_000, chat_template=True)
    gemma = run("gemma", 18, 8, family="B", tuning="base", parameters=268_000_000, chat_template=False)
    found = compare_models([gemma, smol], by="size", outcomes=["affirmative"])
    assert found.levels == ("135M", "268M")
    assert affirmed(found)["also"] == "family, tuning, template"
    assert found.said[0] == (
        "135M and 268M differ also in family, tuning and template: "
        "what of a difference is due to the size can't be said."
    )
    assert found.models.set_index("model")["template"].to_dict() == {"smol": "chat", "gemma": "transcript"}
    assert any("Not stated: architecture of gemma and smol" in s for s in found.said)


def test_a_factor_that_is_not_known_of_a_model_is_an_error_that_names_it() -> None:
    with pytest.raises(AnalysisError, match=r"by family.*none of \['b'\].*models.facts"):
        compare_models([run("a", 30, 2, family="A"), run("b", 18, 8)], by="family")
    with pytest.raises(AnalysisError, match="two levels"):
        compare_models([run("a", 30, 2, family="A"), run("b", 18, 8, family="A")], by="family")
    with pytest.raises(AnalysisError, match="one of"):
        compare_models([run("a", 30, 2)], by="colour")


def test_over_concepts_like_these_there_is_an_interval_from_five_on_and_else_what_it_takes() -> None:
    five = compare_models([run("a", 30, 1), run("b", 18, 9)], outcomes=["affirmative"])
    assert -0.05 < affirmed(five)["low_like"] < 0.8 < affirmed(five)["high_like"]
    few = [run(name, 30, yes, concepts=CONCEPTS[:4]) for name, yes in (("a", 1), ("b", 9))]
    four = compare_models(few, outcomes=["affirmative"])
    assert math.isnan(affirmed(four)["low_like"])
    assert affirmed(four)["low"] > 0
    assert any("Of concepts like these nothing can be said: it takes 5" in s for s in four.said)


def test_a_studys_results_are_told_apart_by_fingerprint_even_under_one_name() -> None:
    whole = run("a", 30, 2, quantisation="none")
    other = [
        attrs.evolve(r, trial=attrs.evolve(r.trial, key=attrs.evolve(r.key, model="rounded")))
        for r in run("a", 30, 8).records
    ]
    study = {"study": [whole.spec, spec("rounded", 30, quantisation="fp8")]}
    runs = model_runs(Results("s", [*whole.records, *other], study))
    assert [(r.name, len(r.frame)) for r in runs] == [("a (torch, no. 1)", 60), ("a (torch, fp8, no. 2)", 60)]
    found = compare_models(Results("s", [*whole.records, *other], study), by="quantisation", outcomes=["affirmative"])
    assert affirmed(found)["difference"] == pytest.approx(0.6)
    with pytest.raises(AnalysisError, match="of one model, or of a study"):
        compare_models(Results("s", [*whole.records, *run("b", 30, 1).records]))


def test_a_difference_is_adjusted_over_the_arms_and_pairs_of_its_outcome() -> None:
    runs = [run(name, 30, yes, concepts=CONCEPTS[:1]) for name, yes in (("a", 3), ("b", 7), ("c", 10))]
    found = compare_models(runs, outcomes=["affirmative"]).contrasts
    assert len(found) == 3
    assert found["p_holm"].min() == pytest.approx(3 * found["p"].min())


def test_doses_in_different_units_are_never_pooled() -> None:
    def both(name: str, by_ratio: int, by_effect: int) -> Results:
        one, other = run(name, 30, by_ratio), run(name, 30, by_effect)
        changed = [
            attrs.evolve(
                r,
                trial=attrs.evolve(
                    r.trial, condition=attrs.evolve(r.condition, effect=ib.Dose(0.5, "kl")), draw=r.trial.draw + 100
                ),
            )
            for r in other.records
        ]
        return attrs.evolve(one, records=[*one.records, *changed])

    found = compare_models([both("a", 1, 8), both("b", 9, 8)], outcomes=["affirmative"]).contrasts.set_index("unit")
    assert found["difference"].to_dict() == pytest.approx({"residual": 0.8, "kl": 0.0})
    assert found["cells"].tolist() == [1, 1]
