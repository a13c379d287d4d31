"""Two runs side by side, against published reference values."""

from __future__ import annotations

import math

import pytest

from introspection_bench.analysis import Results, compare, spec_differences
from introspection_bench.errors import AnalysisError


def run(record, name, counts, spec=None, **where):
    """A run from {magnitude: (successes, trials)}."""
    records = [
        record(i, (i < k, i < k, None, True), magnitude=m, **where) for m, (k, n) in counts.items() for i in range(n)
    ]
    return Results(name, records, spec or {})


def test_the_difference_and_its_interval_are_newcombe_s(record) -> None:
    # Newcombe 1998, Statistics in Medicine 17, 873-890, table II, example (a), method 10: 56/70 and 48/80.
    found = compare(run(record, "a", {4: (48, 80)}), run(record, "b", {4: (56, 70)}), outcomes=["affirmative"])
    cell = found.cells.iloc[0]
    assert cell["difference"] == pytest.approx(0.2)
    assert (cell["low"], cell["high"]) == pytest.approx((0.0524, 0.3339), abs=1e-4)


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


def test_the_specification_differs_field_by_field_with_dotted_paths(record) -> None:
    first = run(record, "a", {1: (1, 2)}, {"grid": {"layers": [1, 2], "seed": 7}, "model": "x"})
    second = run(record, "b", {1: (1, 2)}, {"grid": {"layers": [1, 3], "seed": 7}, "backend": "torch"})
    table = spec_differences(first, second).set_index("field")
    assert table.loc["grid.layers"].tolist() == [[1, 2], [1, 3]]
    assert table.loc["model"].tolist() == ["x", "(not stated)"]
    assert "grid.seed" not in table.index


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
