"""Frames of trials, receipts and readings: what stands in which column, and how often it is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from introspection_bench.analysis import (
    Results,
    outcomes_of,
    readings_frame,
    receipts_frame,
    records_frame,
    shown_of,
    verdicts_frame,
)
from introspection_bench.conditions import CELL_COLUMNS, Beside, Condition
from introspection_bench.doses import Dose
from introspection_bench.errors import AnalysisError, SpecError
from introspection_bench.frames import COLUMNS
from introspection_bench.measures import Reading
from introspection_bench.verdicts import CRITERIA, TAKEN, Verdict
from tests.sample_trials import make_condition, make_verdict, record_of

REFUSAL = Beside("refusal", (3, 4), Dose(-1, "projection"), "all")


def reading(values: Any, measure: str = "token_logprobs", axes: Any = None, **changes: Any) -> Reading:
    axes = {"set": ("yes", "no", "joint")} if axes is None else axes
    told = {"measure_digest": "a" * 64, "model": "m", "backend": "torch", "numerics": 1, "dtype": "float32"}
    return Reading(measure=measure, axes=axes, values=np.array(values, dtype=np.float32), **{**told, **changes})


def test_a_trial_has_its_conditions_columns_its_item_and_its_draw() -> None:
    condition = make_condition(layers=(18, 19, 20), beside=(REFUSAL,))
    (row,) = records_frame([record_of(condition, 7, item="s01")]).to_dict("records")
    assert {c: row[c] for c in CELL_COLUMNS} == {
        "scaffold": "lindsey",
        "arm": "injected",
        "concept": "love",
        "layers": "18-20",
        "magnitude": 0.4,
        "unit": "residual",
        "span": "from(trial)",
        "beside": "refusal -1 projection at 3,4",
        "model": "SmolLM2-135M-Instruct",
    }
    assert (row["truth"], row["asked"], row["item"], row["draw"], row["steers"]) == ("injected", "love", "s01", 7, 5)
    assert pd.isna(row["layer"])  # a band is no layer
    assert row["mean_ratio"] == 0.4  # of the injection, though a steer beside it stands first in the key
    assert row["unscored"] == "not judged"


def test_a_control_has_the_decoy_as_what_was_asked_and_nothing_of_an_injection() -> None:
    frame = records_frame([record_of(make_condition("control", "dust")), record_of(make_condition())])
    assert frame["asked"].tolist() == ["dust", "love"]
    assert frame.loc[0, ["concept", "layers", "layer", "unit", "span", "mean_ratio"]].isna().all()
    assert (frame["magnitude"][0], frame["steers"][0], frame["truth"][0]) == (0, 0, "nothing")
    assert frame["layer"].tolist()[1] == 19


@pytest.mark.parametrize("records", [[], [record_of(make_condition(), verdicts=(make_verdict(refused=True),))]])
def test_the_columns_have_the_same_dtypes_with_and_without_trials(records: list[Any]) -> None:
    frame = records_frame(records)
    kinds = {**COLUMNS, **dict.fromkeys(CRITERIA, "boolean")}
    assert {c: str(frame[c].dtype) for c in kinds} == kinds


def test_criteria_of_any_rubric_are_columns_and_strict_4_s_four_are_so_always() -> None:
    own = Verdict("chat", "style/1", "d" * 64, "love", {"poetic": True, "hedges": None}, success=("poetic",))
    frame = records_frame([record_of(make_condition(), verdicts=(own,)), record_of(make_condition(), 1)])
    assert outcomes_of(frame) == (*CRITERIA, "strict", "poetic", "hedges", "unscored")
    assert frame["poetic"].tolist() == [True, pd.NA]
    assert frame["strict"].tolist() == [True, pd.NA]
    assert frame["affirmative"].isna().all()
    assert shown_of(frame) == ("strict", "poetic")
    assert shown_of(records_frame([record_of(make_condition())])) == (*CRITERIA, "strict")


def test_no_criterion_can_take_the_name_of_another_column() -> None:
    assert set(COLUMNS) <= TAKEN
    with pytest.raises(SpecError, match="Rename"):
        Verdict("chat", "mine/1", "d" * 64, "love", {"layers": True})


def test_a_frame_of_verdicts_has_a_row_for_each_and_one_for_a_trial_without() -> None:
    both = (make_verdict(affirmative=True), make_verdict(judge="claude"))
    frame = verdicts_frame([record_of(make_condition(), verdicts=both), record_of(make_condition(), 1)])
    assert frame["judge"].tolist() == ["rules", "claude", pd.NA]
    assert frame["draw"].tolist() == [0, 0, 1]
    assert frame["affirmative"].tolist() == [True, False, pd.NA]


def test_what_all_trials_of_a_condition_share_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    columns = Condition.columns.fget
    monkeypatch.setattr(Condition, "columns", property(lambda self: made.append(self) or columns(self)))
    conditions = [make_condition(magnitude=m) for m in (1.0, 2.0)]
    records = [record_of(c, i) for i in range(50) for c in conditions]
    frame = records_frame(records)
    assert frame["magnitude"].tolist() == [1.0, 2.0] * 50
    assert len(made) == 2
    assert Results("r", records).facts["magnitude"] == [1.0, 2.0]
    assert len(made) == 4


def test_there_is_a_receipt_for_each_steer() -> None:
    trial = record_of(make_condition(layers=(18, 19), beside=(REFUSAL,)))
    frame = receipts_frame([trial, record_of(make_condition("control"))])
    assert frame["layer"].tolist() == [3, 4, 18, 19]
    assert frame["unit"].tolist() == ["projection"] * 2 + ["residual"] * 2
    assert frame["mean_ratio"].tolist() == [1, 1, 0.4, 0.4]
    assert frame["steer"].tolist() == [0, 1, 2, 3]
    assert set(frame["trial"]) == {trial.key.digest}
    assert receipts_frame([]).columns.tolist() == frame.columns.tolist()


def test_readings_with_one_axis_are_columns_and_missing_where_nothing_was_read() -> None:
    records = [
        record_of(make_condition(), 0, readings=(reading([-1, -2, -0.5]),)),
        record_of(make_condition(), 1),
        record_of(make_condition(), 2, readings=(reading([[1, 2]], "cosines", {"layer": (3,), "position": (7, 8)}),)),
    ]
    frame = records_frame(records)
    assert frame["token_logprobs.yes"].tolist()[0] == -1
    assert frame["token_logprobs.joint"].isna().tolist() == [False, True, True]
    assert not [c for c in frame.columns if c.startswith("cosines")]


def test_a_measure_that_was_read_in_two_ways_has_columns_for_each() -> None:
    two = (reading([-1, -2, -0.5]), reading([-3, -4, -2.5], dtype="bfloat16"))
    frame = records_frame([record_of(make_condition(), readings=two)])
    yes = [c for c in frame.columns if c.startswith("token_logprobs[") and c.endswith("].yes")]
    assert sorted(frame[yes].iloc[0]) == [-3, -1]
    long = readings_frame([record_of(make_condition(), readings=two)], "token_logprobs")
    assert {f"token_logprobs[{read}].yes" for read in long["read"]} == set(yes)
    assert set(long["read_by"]) == {"torch float32", "torch bfloat16"}


def test_the_long_form_has_a_row_for_each_place_along_the_axes() -> None:
    axes = {"layer": (3, 9), "vector": ("love", "dust", "sea")}
    one = record_of(make_condition(), readings=(reading([[1, 2, 3], [4, 5, 6]], "cosines", axes),))
    axes = {"layer": (3,), "vector": ("love",)}
    other = record_of(make_condition(), 1, readings=(reading([[7]], "cosines", axes, model="unquantised"),))
    frame = readings_frame([one, other, record_of(make_condition(), 2)], "cosines")
    assert frame["value"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert frame["layer"].tolist() == [3, 3, 3, 9, 9, 9, 3]
    assert frame["vector"].tolist() == [*["love", "dust", "sea"] * 2, "love"]
    assert frame["same_model"].tolist() == [True] * 6 + [False]
    assert frame["trial"].nunique() == 2


def test_a_measure_that_nothing_was_read_by_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(AnalysisError, match="token_logprobs"):
        readings_frame([record_of(make_condition(), readings=(reading([1, 2, 3]),))], "lens")
    with pytest.raises(AnalysisError, match=r"sweep\.measure"):
        readings_frame([record_of(make_condition())], "lens")
