"""Two runs side by side, against published reference values."""

from __future__ import annotations

import math

import pytest
from scipy.integrate import quad
from scipy.stats import beta

from introspection_bench.analysis import ConceptCounts, Results, compare, difference, spec_differences
from introspection_bench.analysis.compare import MATCHED
from introspection_bench.errors import AnalysisError


def run(record, name, counts, spec=None, **where):
    """A run from {magnitude: (successes, trials)}."""
    records = [
        record(i, (i < k, i < k, None, True), magnitude=m, **where) for m, (k, n) in counts.items() for i in range(n)
    ]
    return Results(name, records, spec or {})


def over_concepts(record, name, counts):
    """A run of one cell from {concept: (successes, trials, unscored trials)}."""
    trials = [
        (concept, (i < k, i < k, None, True) if i < n else None)
        for concept, (k, n, unscored) in counts.items()
        for i in range(n + unscored)
    ]
    return Results(name, [record(i, answers, concept=c) for i, (c, answers) in enumerate(trials)], {})


WITHOUT_CONCEPT = [c for c in MATCHED if c != "concept"]


def test_the_interval_melds_the_exact_bounds_of_both_rates(record) -> None:
    # Fay, Proschan and Brittain 2015: the bound of 56/70 less 48/80 leaves 2.5 % of the difference of both rates'
    # confidence distributions beyond it. Integrated here over the other rate.
    found = compare(run(record, "a", {4: (48, 80)}), run(record, "b", {4: (56, 70)}), outcomes=["affirmative"])
    cell = found.cells.iloc[0]
    assert cell["difference"] == pytest.approx(0.2)
    below = quad(lambda p: beta(56, 15).cdf(cell["low"] + p) * beta(49, 32).pdf(p), 0, 1)[0]
    above = quad(lambda p: beta(57, 14).sf(cell["high"] + p) * beta(48, 33).pdf(p), 0, 1)[0]
    assert (below, above) == pytest.approx((0.025, 0.025), abs=5e-4)
    assert found.sentences[1] == (
        "injected, affirmative: b 56 of 70 less a 48 of 80. A difference is shown: +20 points (95 % +4.01 to +34.9, "
        "these concepts). Of concepts like these nothing can be said: it takes 5."
    )


def test_equal_rates_are_no_difference_shown_and_never_said_to_be_the_same_without_a_margin(record) -> None:
    found = compare(run(record, "a", {4: (30, 60)}), run(record, "b", {4: (30, 60)}), outcomes=["affirmative"])
    most = f"{found.cells['high'].iloc[0] * 100:.3g}"
    assert found.cells["verdict"].tolist() == [f"no difference shown, up to {most} points not excluded"]
    assert (
        f"No difference shown, up to {most} points not excluded (seen +0; 95 %, these concepts)." in found.sentences[1]
    )
    assert not any("equivalent" in s.lower() or "difference is shown" in s.lower() for s in found.sentences)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [((1, 200), (1, 200), "equivalent"), ((1, 20), (15, 20), "different"), ((3, 9), (3, 9), "neither")],
)
def test_with_a_margin_there_is_a_verdict_for_each_cell_and_for_all_together(record, first, second, verdict) -> None:
    runs = run(record, "a", {4: first}), run(record, "b", {4: second})
    found = compare(*runs, outcomes=["affirmative"], margin=0.05)
    assert found.cells["verdict"].tolist() == [verdict]
    assert found.pooled.set_index("estimand")["verdict"].to_dict() == {
        "these concepts": verdict,
        "concepts like these": "neither",
    }
    word = {"equivalent": "Equivalent within 5 points", "different": "Different", "neither": "Neither"}[verdict]
    assert f" {word}: " in found.sentences[1]
    assert f"{int(verdict == 'equivalent')} of 1 are equivalent within 5 points" in found.sentence
    with pytest.raises(AnalysisError, match="margin"):
        compare(*runs, margin=1.5)


def test_a_difference_that_is_one_of_many_looks_is_not_said_to_be_shown(record) -> None:
    first = run(record, "a", dict.fromkeys(range(1, 11), (5, 20)))
    second = run(record, "b", {m: (13 if m == 4 else 5, 20) for m in range(1, 11)})
    cells = compare(first, second, outcomes=["affirmative"]).cells.set_index("magnitude")
    assert cells.loc[4, "low"] > 0
    assert cells.loc[4, "p"] < 0.05 < cells.loc[4, "p_holm"]
    assert "no difference shown" in cells.loc[4, "verdict"]
    alone = compare(run(record, "a", {4: (5, 20)}), run(record, "b", {4: (13, 20)}), outcomes=["affirmative"]).cells
    assert alone["verdict"].tolist() == ["a difference is shown"]
    margined = compare(first, second, outcomes=["affirmative"], margin=0.05).cells
    assert "different" not in set(margined["verdict"])


def test_the_p_value_over_concepts_compares_within_each_and_not_what_concepts_were_tried_more_often(record) -> None:
    # Two tables 3, 1, 1, 3: the sums of both have the weights 1, 16, 36, 16, 1 convolved with themselves, of 4900.
    first, second = (
        over_concepts(record, name, dict.fromkeys(("love", "fear"), (k, 4, 0))) for name, k in (("a", 3), ("b", 1))
    )
    found = compare(first, second, on=WITHOUT_CONCEPT, outcomes=["affirmative"]).cells.iloc[0]
    assert found["p"] == pytest.approx(2 * (328 + 32 + 1) / 4900)
    # 9 in 10 against 1 in 10 over all trials, and not the least difference within a concept.
    first = over_concepts(record, "a", {"love": (19, 20, 0), "fear": (0, 2, 0)})
    second = over_concepts(record, "b", {"love": (2, 2, 0), "fear": (1, 20, 0)})
    found = compare(first, second, on=WITHOUT_CONCEPT, outcomes=["affirmative"]).cells.iloc[0]
    assert (found["difference"], found["p"]) == pytest.approx((0.05, 1))


def test_a_cell_of_several_concepts_compares_those_that_both_have_and_says_both_estimands(record) -> None:
    names = ("a", "b", "c", "d", "e")
    first = over_concepts(record, "a", dict.fromkeys((*names, "other"), (1, 10, 0)))
    second = over_concepts(record, "b", dict.fromkeys(names, (4, 10, 0)))
    found = compare(first, second, on=WITHOUT_CONCEPT, outcomes=["affirmative"])
    cell = found.cells.iloc[0]
    assert (cell["k_first"], cell["n_first"], cell["k_second"], cell["n_second"]) == (5, 50, 20, 50)
    these, like = ({"estimand": e, "paired": True} for e in ("these concepts", "concepts like these"))
    counts = ConceptCounts([4] * 5, [10] * 5), ConceptCounts([1] * 5, [10] * 5)
    assert (cell["low"], cell["high"]) == pytest.approx(
        (difference(*counts, **these).low, difference(*counts, **these).high)
    )
    bounds = difference(*counts, **like).low, difference(*counts, **like).high
    assert (cell["low_like"], cell["high_like"]) == pytest.approx(bounds)
    assert "A difference is shown: +30 points" in found.sentences[1]
    assert "No difference shown, up to" in found.sentences[1]
    assert "concepts like these" in found.sentences[1]


def test_over_all_cells_a_concept_s_rate_is_the_mean_over_its_cells(record) -> None:
    # Five concepts at two doses; the second run has more trials at the dose that works, and the same rates.
    def cells(name, trials):
        rows = [
            record(i, (i < n * rate, False, None, True), magnitude=m, concept=c)
            for c in "abcde"
            for m, n, rate in zip((1, 2), trials, (0, 0.5), strict=True)
            for i in range(n)
        ]
        return Results(name, rows, {})

    found = compare(cells("a", (10, 10)), cells("b", (10, 30)), outcomes=["affirmative"])
    pooled = found.pooled.set_index("estimand")
    assert pooled["difference"].tolist() == pytest.approx([0, 0])
    assert pooled["matched"].tolist() == [10, 10]
    assert pooled.loc["these concepts", ["k_first", "n_first", "k_second", "n_second"]].tolist() == [25, 100, 75, 200]
    assert "over 10 matching cells" in found.sentences[1]


def test_arms_are_pooled_apart_even_where_cells_hold_several(record) -> None:
    def both(name, k):
        records = [record(i, (i < k, False, None, True)) for i in range(20)]
        return Results(name, [*records, *(record(i, (False, False, None, True), arm="control") for i in range(20))], {})

    found = compare(both("a", 0), both("b", 15), on=["scaffold"], outcomes=["affirmative"])
    assert found.pooled.query("estimand == 'these concepts'")[["arm", "k_second", "n_second"]].to_numpy().tolist() == [
        ["injected", 15, 20],
        ["control", 0, 20],
    ]
    control = next(s for s in found.sentences if s.startswith("control"))
    assert "No difference shown" in control
    assert "concepts like these" not in control  # controls have no concept that could have been another


def test_where_trials_are_unscored_the_interval_holds_whatever_they_would_have_been(record) -> None:
    first, second = (over_concepts(record, n, {"love": (0, 30, lost)}) for n, lost in (("a", 0), ("b", 10)))
    found = compare(first, second, outcomes=["affirmative"])
    cell = found.cells.iloc[0]
    high = difference(ConceptCounts([10], [40]), ConceptCounts([0], [30]), estimand="these concepts").high
    low = difference(ConceptCounts([0], [40]), ConceptCounts([0], [30]), estimand="these concepts").low
    assert (cell["low_whatever"], cell["high_whatever"], cell["unscored"]) == pytest.approx((low, high, 10))
    assert "Whatever the 10 unscored trials would have been" in found.sentences[1]
    scored = compare(first, first, outcomes=["affirmative"])
    assert scored.cells["high_whatever"].isna().all()
    assert not any("unscored" in s for s in scored.sentences)


def test_the_p_value_is_fisher_s(record) -> None:
    # The tea-tasting table 3, 1, 1, 3: two-sided p = 34/70.
    found = compare(run(record, "a", {4: (3, 4)}), run(record, "b", {4: (1, 4)}), outcomes=["affirmative"])
    assert found.cells["p"].iloc[0] == pytest.approx(34 / 70)


def test_holm_adjusts_over_the_cells_of_an_outcome_and_leaves_out_what_was_not_tested(record) -> None:
    first = run(record, "a", {1: (0, 20), 2: (5, 20), 4: (10, 20)})
    second = run(record, "b", {1: (19, 20), 2: (12, 20), 4: (11, 20)})
    found = compare(first, second, outcomes=["affirmative", "immediate"])
    p = sorted(found.cells.query("outcome == 'affirmative'")["p"])
    adjusted = sorted(found.cells.query("outcome == 'affirmative'")["p_holm"])
    assert adjusted == pytest.approx([3 * p[0], max(2 * p[1], 3 * p[0]), max(p[2], 2 * p[1])])
    assert found.cells.query("outcome == 'immediate'")["p_holm"].isna().all()
    assert "1 of 3" in found.sentence


def test_a_run_does_not_differ_from_itself(record) -> None:
    one = run(record, "a", {1: (3, 9), 2: (9, 9)}, {"grid": {"layers": [1, 2]}})
    found = compare(one, one)
    assert found.spec.empty
    assert (found.cells["difference"].dropna() == 0).all()
    assert found.only_first.empty
    assert found.only_second.empty


def test_cells_without_a_partner_are_listed_and_not_compared(record) -> None:
    found = compare(run(record, "a", {1: (3, 9), 2: (3, 9)}), run(record, "b", {2: (3, 9), 4: (3, 9)}))
    assert found.only_first["magnitude"].tolist() == [1]
    assert found.only_second["magnitude"].tolist() == [4]
    assert set(found.cells["magnitude"]) == {2}


def test_layers_are_set_against_each_other_by_leaving_the_layer_out(record) -> None:
    first, second = (run(record, n, {2: (3, 9)}, layer=layer) for n, layer in (("a", 5), ("b", 9)))
    assert compare(first, second).cells.empty
    assert "no cell in common" in compare(first, second).sentence
    assert len(compare(first, second, on=("scaffold", "arm", "concept", "magnitude", "unit")).cells) > 0


def test_runs_in_different_units_are_not_matched_by_magnitude(record) -> None:
    first, second = (run(record, n, {2: (3, 9)}, unit=unit) for n, unit in (("a", "raw"), ("b", "residual")))
    assert compare(first, second).cells.empty
    with pytest.raises(AnalysisError, match="unit"):
        compare(first, second, on=("magnitude",))


def differences(record, one, other):
    first, second = (run(record, name, {1: (1, 2)}, spec) for name, spec in (("a", one), ("b", other)))
    return list(map(str, compare(first, second).changes))


def test_the_specification_differs_down_to_the_entry_of_a_list(record) -> None:
    told = differences(
        record,
        {"grid": {"layers": [1, 2], "seed": 7, "doses": [0.1, 0.2, 0.3]}, "model": "x", "on": True},
        {"grid": {"layers": [1, 3], "seed": 7, "doses": [0.1, 0.15, 0.2, 0.3]}, "backend": "torch", "on": 1},
    )
    assert told == [
        "backend: (not stated) → torch",
        "grid.doses[1]: (not stated) → 0.15",
        "grid.layers[1]: 2 → 3",
        "model: x → (not stated)",
        "on: true → 1",
    ]


def test_entries_with_a_name_are_matched_by_it_wherever_they_stand(record) -> None:
    told = differences(
        record,
        {"arms": [{"arm": "control", "n": 4}, {"arm": "injected", "n": 8}]},
        {"arms": [{"arm": "random", "n": 4}, {"arm": "control", "n": 4}, {"arm": "injected", "n": 9}]},
    )
    assert told == ['arms[0]: (not stated) → {"arm": "random", "n": 4}', "arms[1].n: 8 → 9"]


def test_of_a_long_prompt_only_the_sentences_that_differ_are_shown_with_their_neighbours(record) -> None:
    start = "First sentence of a prompt. Second one that stays. Third one that stays too. "
    told = differences(record, {"prompt": f"{start}Is it there? Good."}, {"prompt": f"{start}Is it not there? Good."})
    assert told == [
        "prompt:\n    …\n    Third one that stays too.\n  - Is it there?\n  + Is it not there?\n    Good.",
    ]


def test_lists_too_long_to_be_aligned_are_told_by_what_only_one_has(record) -> None:
    told = differences(record, {"seeds": list(range(3000))}, {"seeds": list(range(1, 3001))})
    assert told == ["seeds: 0 → 3000"]


def test_what_the_trials_say_is_compared_even_where_the_specifications_are_silent(record) -> None:
    first, second = (run(record, name, {1: (1, 2)}, model=model) for name, model in (("a", "m"), ("b", "another")))
    table = spec_differences(first, second).set_index("field")
    assert table.loc["trials.model"].tolist() == [["m"], ["another"]]
    assert len(compare(first, second).cells) > 0  # two models are compared cell by cell


def test_a_cell_that_one_judge_failed_on_entirely_has_no_difference(record) -> None:
    failed = Results("b", [record(i, None) for i in range(5)])
    cell = compare(run(record, "a", {4: (2, 5)}), failed, outcomes=["affirmative"]).cells.iloc[0]
    assert math.isnan(cell["difference"])
    assert math.isnan(cell["p"])
    assert (cell["unscored"], cell["verdict"]) == (5, "not compared")
