"""Verdicts, readings, conditions and records: what is known of a trial, and its one layout as JSON."""

from __future__ import annotations

import json
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import introspection_bench as ib
from introspection_bench.conditions import BUILTIN, CELL_COLUMNS, Beside, check_arm, layers_text, ordered
from introspection_bench.errors import ResultsFormatError, SpecError
from introspection_bench.frames import COLUMNS
from introspection_bench.records import from_json, to_json
from introspection_bench.structuring import plain, strict_converter
from introspection_bench.testing import strategies
from introspection_bench.verdicts import CRITERIA, TAKEN
from tests.keys import control_key, steered_key

VERDICT = {"judge": "rules", "rubric": "strict4", "rubric_digest": "r" * 64, "concept": "love"}


@given(st.fixed_dictionaries({c: st.sampled_from([True, False, None]) for c in CRITERIA}))
def test_strict_is_all_four_and_nothing_less(answers: dict[str, bool | None]) -> None:
    verdict = ib.Verdict(**VERDICT, answers=answers)
    assert verdict.strict is all(value is True for value in answers.values())
    assert {c: verdict.answer(c) for c in CRITERIA} == answers


def test_a_rubric_may_ask_anything_and_says_itself_what_counts() -> None:
    answers = {"mentions_body": True, "polite": False, "q2": None}
    verdict = ib.Verdict(**VERDICT, answers=answers, success=["mentions_body"])
    assert verdict.strict is True
    assert [verdict.answer(c) for c in (*answers, "affirmative")] == [True, False, None, None]
    assert attrs.evolve(verdict, success=["mentions_body", "polite"]).strict is False
    assert attrs.evolve(verdict, success=["mentions_body", "never_asked"]).strict is False


@pytest.mark.parametrize("name", [*sorted(TAKEN), "Polite", "is polite", "", "1st", "x" * 50, "p-value", "größe"])
def test_a_criterion_that_tables_have_no_room_for_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="criterion"):
        ib.Verdict(**VERDICT, answers={name: True})


def test_a_criterion_can_have_no_column_s_name() -> None:
    assert set(COLUMNS) - TAKEN <= {*CRITERIA}


def test_an_unscored_verdict_is_never_a_no() -> None:
    verdict = ib.Verdict(**VERDICT, unscored="timeout")
    assert verdict.strict is None
    assert all(verdict.answer(c) is None for c in CRITERIA)
    with pytest.raises(SpecError, match="unscored verdict"):
        ib.Verdict(**VERDICT, answers={"affirmative": False}, unscored="timeout")
    with pytest.raises(SpecError, match="a reason"):
        ib.Verdict(**VERDICT, unscored="")
    with pytest.raises(SpecError, match="criteria of success"):
        ib.Verdict(**VERDICT, success=())


@pytest.mark.parametrize("value", [1, 0, "false", "true", np.True_])
def test_an_answer_that_is_not_a_truth_value_is_refused(value: Any) -> None:
    # strict asks "is True": NumPy's True would count as a failure, the text "false" as nothing at all.
    with pytest.raises(SpecError, match=r"verdict\.coherent"):
        ib.Verdict(**VERDICT, answers={"coherent": value})


BAND = ib.Condition(
    "injected",
    "lindsey",
    concept="love",
    asked="love",
    layers=[18, 19, 20],
    dose=ib.Dose(2, "raw"),
    span="from(trial)",
    beside=[Beside("refusal", [0, 1], ib.Dose(-1, "projection"), "all")],
    model="tiny",
    wording="w",
)


def test_a_condition_tells_its_cell_its_columns_and_itself_in_words() -> None:
    assert BAND.truth == "injected"
    assert str(BAND) == "injected 'love', layer 18-20, 2 raw, beside refusal -1 projection at 0,1, lindsey"
    assert BAND.columns == {
        "scaffold": "lindsey",
        "arm": "injected",
        "concept": "love",
        "layers": "18-20",
        "magnitude": 2.0,
        "unit": "raw",
        "span": "from(trial)",
        "beside": "refusal -1 projection at 0,1",
        "model": "tiny",
        "layer": None,
        "truth": "injected",
        "effect": None,
        "resolved": None,
    }
    found = attrs.evolve(BAND, dose=ib.Dose(0.21, "residual"), effect=ib.Dose(0.5, "kl"))
    told = ("magnitude", "unit", "effect", "resolved")
    assert [found.columns[c] for c in told] == [0.5, "kl", "0.5 kl", "0.21 residual"]
    assert "0.21 residual, for 0.5 kl" in str(found)
    for wrong in ({"dose": ib.Dose(0.5, "kl")}, {"effect": ib.Dose(1, "raw")}, {"dose": None, "effect": found.effect}):
        with pytest.raises(SpecError, match="dose and effect of arm"):
            attrs.evolve(BAND, **wrong)
    assert attrs.evolve(BAND, layers=[4]).columns["layer"] == 4
    control = ib.Condition("control", "lindsey")
    assert (str(control), control.truth) == ("control, lindsey", "nothing")
    assert [control.columns[c] for c in ("layers", "magnitude", "unit", "span")] == [None, 0.0, None, None]
    assert [layers_text(n) for n in ((), (3,), (3, 4), (3, 4, 5), (3, 5, 6))] == ["", "3", "3,4", "3-5", "3,5,6"]


@given(strategies.conditions())
def test_a_cell_is_the_condition_but_for_the_concept_asked_about(condition: ib.Condition) -> None:
    assert condition.cell == attrs.evolve(condition, asked=None)
    assert attrs.evolve(condition, asked="another").cell == condition.cell
    assert condition.cell.cell == condition.cell
    assert set(CELL_COLUMNS) <= set(condition.columns)


def test_an_arm_of_a_name_of_its_own_has_the_truth_that_it_says() -> None:
    assert ib.Condition("sham", "s").truth == "other"
    assert ib.Condition("sham", "s", truth="nothing").truth == "nothing"
    for arm, truth in BUILTIN.items():
        wrong = "other" if truth != "other" else "nothing"
        with pytest.raises(SpecError, match=f"truth of arm '{arm}': required {truth}"):
            ib.Condition(arm, "s", truth=wrong)
    assert ordered(["zebra", "injected", "ablated", "control", "zebra"]) == ["control", "injected", "ablated", "zebra"]


@pytest.mark.parametrize("arm", ["", " control", "Control", "INJECTED", "a\nb", "x" * 61, "a\u202eb"])
def test_an_arm_that_a_reader_would_take_for_another_is_refused(arm: str) -> None:
    with pytest.raises(SpecError, match="arm"):
        check_arm(arm)


def record(condition: ib.Condition = BAND, **changes: Any) -> ib.TrialRecord:
    key = control_key() if condition.arm == "control" else steered_key()
    return ib.TrialRecord(ib.Trial(key, condition), ib.Reply("No.", [1, 2], "stop"), **changes)


def test_controls_of_one_scaffold_are_one_cell_whatever_they_stand_against() -> None:
    asked = [record(ib.Condition("control", "lindsey", asked=c)) for c in ("love", "hate", None)]
    assert len({r.condition for r in asked}) == 3
    assert {r.condition.cell for r in asked} == {ib.Condition("control", "lindsey")}


def test_a_record_tells_what_its_trial_and_condition_tell() -> None:
    made = record()
    assert (made.key, made.condition, made.arm, made.concept, made.scaffold) == (
        steered_key(), BAND, "injected", "love", "lindsey",
    )  # fmt: skip
    assert made.seed == made.key.seed
    from_elsewhere = attrs.evolve(made.trial, key=attrs.evolve(made.key, numerics=0))
    assert attrs.evolve(made, trial=from_elsewhere).seed is None
    assert str(attrs.evolve(made.trial, item="s01", draw=3)).endswith("lindsey, s01, no. 3)")


def test_asking_for_the_only_verdict_among_several_is_an_error_that_lists_them() -> None:
    two = record(verdicts=[ib.Verdict(**VERDICT), ib.Verdict(**(VERDICT | {"judge": "claude"}))])
    with pytest.raises(SpecError, match=r"claude/strict4.*rules/strict4"):
        two.verdict()
    found = two.verdict("claude")
    assert found is not None
    assert found.judge == "claude"
    assert two.verdict("nobody") is None


def test_token_ids_of_any_library_become_plain_integers() -> None:
    reply = ib.Reply("x", np.array([1, 2], dtype=np.int64), "stop")
    assert json.dumps(reply.token_ids) == "[1, 2]"


READING = ib.Reading(
    "lens",
    "d",
    {"layer": (4, 8), "position": (10, 11, 12), "set": ("yes", "no")},
    np.arange(12).reshape(2, 3, 2),
    "m",
    "torch",
    1,
    "float32",
)


def test_a_reading_is_asked_by_the_labels_of_its_axes() -> None:
    np.testing.assert_array_equal(READING.at(set="no"), [[1, 3, 5], [7, 9, 11]])
    np.testing.assert_array_equal(READING.at(layer=8, position=11), [8, 9])
    assert READING.at(layer=4, position=12, set="yes") == 4
    np.testing.assert_array_equal(READING.at(), READING.values)
    for wrong in ({"set": "maybe"}, {"layer": 0}, {"depth": 4}, {"layer": "4"}):
        with pytest.raises(SpecError, match="labels of the axes"):
            READING.at(**wrong)


def test_a_reading_of_another_shape_than_its_axes_is_refused() -> None:
    with pytest.raises(SpecError, match=r"\(2, 3, 2\)"):
        attrs.evolve(READING, values=np.zeros((2, 3)))
    with pytest.raises(SpecError, match="dims"):
        attrs.evolve(READING, dims=("layer", "set"))


def test_a_reading_s_identity_is_what_was_read_and_by_what() -> None:
    other = {"measure_digest": "x", "model": "x", "backend": "nnsight", "numerics": 2, "dtype": "bfloat16"}
    keys = {READING.key("t"), READING.key("u"), *(attrs.evolve(READING, **{k: v}).key("t") for k, v in other.items())}
    assert len(keys) == 7
    assert attrs.evolve(READING, values=READING.values + 1).key("t") == READING.key("t")


@given(strategies.readings())
def test_a_reading_survives_json_with_the_order_of_its_axes(reading: ib.Reading) -> None:
    text = json.dumps(plain(reading), sort_keys=True)
    again = strict_converter().structure(json.loads(text), ib.Reading)
    assert again == reading
    assert list(again.axes) == list(reading.axes)
    assert not again.values.flags.writeable


@given(strategies.trial_records())
def test_a_whole_record_survives_its_export(record: ib.TrialRecord) -> None:
    text = to_json(record)
    assert from_json(text, "here") == record
    assert to_json(from_json(text, "here")) == text
    assert text.isascii()


def test_the_digest_of_a_key_survives_its_export() -> None:
    again = from_json(to_json(record()), "here")
    assert (again.key.digest, again.seed) == (record().key.digest, record().seed)


def test_an_export_with_a_field_amiss_names_it() -> None:
    data = json.loads(to_json(record(readings=[READING])))
    for path, value, told in [
        (("trial", "condition", "arm"), 3, "record.trial.condition.arm"),
        (("trial", "condition", "arm"), "Control", "arm: required 'control'"),
        (("trial", "condition", "truth"), "maybe", "record.trial.condition"),
        (("trial", "key", "draw"), 1.5, "record.trial.key.draw"),
        (("readings", 0, "values"), [1.0], "a table with shape and float32"),
        (("readings", 0, "values"), {"shape": [10**12], "float32": ""}, "record.readings"),
        (("readings", 0, "values"), {"shape": 3, "float32": ""}, "record.readings"),
        (("readings", 0, "values"), {"shape": [1], "float32": "not base64"}, "record.readings"),
        (("reply", "token_ids"), "12", "a list"),
    ]:
        changed = json.loads(json.dumps(data))
        place = changed["record"]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        with pytest.raises(ResultsFormatError, match="here") as caught:
            from_json(json.dumps(changed), "here")
        assert told in str(caught.value)
