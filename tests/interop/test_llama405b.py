"""The 405B study's layout: what is tolerated, what is refused, and how it is said."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from introspection_bench.analysis import counts
from introspection_bench.doses import Dose
from introspection_bench.errors import ResultsFormatError
from introspection_bench.interop import read_results
from tests.interop import conftest

REMOVED = object()


def read(write, study):
    return read_results(write(study))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", REMOVED),
        ("label", 7),
        ("label", "other_love"),
        ("label", "lindsey"),
        ("magnitude", REMOVED),
        ("magnitude", "10"),
        ("magnitude", True),
        ("magnitude", None),
        ("trial_idx", "first"),
        ("trial_idx", -1),
        ("trial_idx", 1.5),
        ("response", REMOVED),
        ("response", None),
        ("response", ["text"]),
        ("judge", "yes"),
        ("judge", [True]),
    ],
)
def test_a_malformed_entry_is_an_error_that_names_record_and_field(write, study, field, value) -> None:
    if value is REMOVED:
        del study["results"][2][field]
    else:
        study["results"][2][field] = value
    with pytest.raises(ResultsFormatError, match=rf"results\[2\].*{field}"):
        read(write, study)


@pytest.mark.parametrize("criterion", ["affirmative", "identifies", "immediate", "coherent"])
@pytest.mark.parametrize("value", [REMOVED, "true", 1, None])
def test_a_criterion_that_is_no_truth_value_is_an_error_and_not_false(write, study, criterion, value) -> None:
    if value is REMOVED:
        del study["results"][1]["judge"][criterion]
    else:
        study["results"][1]["judge"][criterion] = value
    with pytest.raises(ResultsFormatError, match=rf"results\[1\]\.judge, field '{criterion}'"):
        read(write, study)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("results", REMOVED),
        ("results", {"0": {}}),
        ("layer", REMOVED),
        ("layer", "84"),
        ("layer", 84.5),
        ("model_path", 3),
        ("temperature", REMOVED),
        ("top_p", "1"),
        ("max_new_tokens", 0.5),
        ("lindsey_setup", 3),
        ("timestamp", 3),
    ],
)
def test_a_malformed_header_is_an_error_that_names_the_field(write, study, field, value) -> None:
    if value is REMOVED:
        del study[field]
    else:
        study[field] = value
    with pytest.raises(ResultsFormatError, match=field):
        read(write, study)


@pytest.mark.parametrize("entry", [None, "text", 3, []])
def test_an_entry_that_is_no_object_is_an_error_that_names_it(write, study, entry) -> None:
    study["results"][3] = entry
    with pytest.raises(ResultsFormatError, match=r"results\[3\]"):
        read(write, study)


@pytest.mark.parametrize("text", ["{", '{"results": [', "[" * 100_000, '{"a": 1}', "{}", '{"results": []', "{\x00}"])
def test_a_file_that_is_cut_off_or_no_json_is_an_error_that_names_the_file(write, text) -> None:
    with pytest.raises(ResultsFormatError, match=r"study\.judged\.json"):
        read_results(write(text))


def test_infinite_and_undefined_magnitudes_are_refused(write, study) -> None:
    for number in (float("inf"), float("nan")):
        study["results"][1]["magnitude"] = number
        with pytest.raises(ResultsFormatError, match=r"study\.judged\.json.*not JSON"):
            read(write, study)


def test_a_value_that_our_own_classes_refuse_is_an_error_that_names_the_file(write, study) -> None:
    study["top_p"] = 7
    with pytest.raises(ResultsFormatError, match=r"study\.judged\.json.*top_p"):
        read(write, study)


def test_two_entries_of_one_trial_are_an_error_that_names_both(write, study) -> None:
    study["results"].append(dict(study["results"][1]))
    with pytest.raises(ResultsFormatError, match=r"results\[4\].*results\[1\]"):
        read(write, study)


def test_a_control_with_a_magnitude_is_an_error(write, study) -> None:
    study["results"][0]["magnitude"] = 5
    with pytest.raises(ResultsFormatError, match=r"results\[0\].*magnitude"):
        read(write, study)


def test_a_failed_judgement_is_unscored_with_its_reason_and_not_false(write, study) -> None:
    study["results"][1]["judge"] = {"_error": "overloaded"}
    study["n_errors"] = 1
    frame = read(write, study).frame()
    assert frame.loc[1, "unscored"] == "the published judge failed: overloaded"
    assert frame.loc[1, ["affirmative", "identifies", "immediate", "coherent", "strict"]].isna().all()
    cell = counts(frame).query("concept == 'love'").iloc[0]
    assert (cell["n_all"], cell["n_scored"], cell["unscored"]) == (2, 1, 1)


def test_a_failed_judgement_with_a_structured_or_empty_reason_is_unscored_too(write, study) -> None:
    study["results"][1]["judge"] = {"_error": {"type": "x"}, "affirmative": True}
    study["results"][2]["judge"] = {"_error": None}
    assert read(write, study).frame()["unscored"].notna().tolist() == [False, True, True, False]


def test_a_sweep_that_was_never_judged_is_read_without_verdicts(write, study) -> None:
    for entry in study["results"]:
        del entry["judge"]
    results = read_results(write(study, "lindsey_full.json"))
    assert results.judges == ()
    assert set(results.frame()["unscored"]) == {"not judged"}


def test_older_and_newer_files_with_fewer_and_more_fields_are_read(write, study) -> None:
    for optional in ("timestamp", "tp_size", "vectors", "n_errors", "lindsey_setup", "alt_prompt", "judge_model"):
        study.pop(optional)
    study["something_new"] = {"a": 1}
    study["results"][1]["judge"]["confidence"] = 0.9
    for entry in study["results"]:
        del entry["first_word"], entry["trial_idx"]
    results = read(write, study)
    assert [r.key.draw for r in results] == [0, 0, 1, 0]
    assert {r.scaffold for r in results} == {"lindsey_405b", "thinking_about"}


def test_whole_magnitudes_are_the_same_trial_as_written_with_a_point(write, study) -> None:
    before = [r.key.digest for r in read(write, study)]
    for entry in study["results"]:
        entry["magnitude"] = int(entry["magnitude"])
    assert [r.key.digest for r in read(write, study)] == before


def test_a_byte_order_mark_is_no_obstacle(tmp_path, study) -> None:
    path = tmp_path / "study.judged.json"
    path.write_text(json.dumps(study), encoding="utf-8-sig")
    assert len(read_results(path)) == 4


def test_another_wording_is_another_scaffold(write, study) -> None:
    study["lindsey_trial"] += " Please."
    results = read(write, study)
    name = results.records[1].scaffold
    assert name.startswith("lindsey_405b~")
    assert results.records[3].scaffold == "thinking_about"


def test_trials_of_two_loads_of_the_model_are_never_the_same_trial(write, study) -> None:
    first = {r.key.digest for r in read(write, study)}
    study["timestamp"] = "20260102_000000"
    assert first.isdisjoint(r.key.digest for r in read(write, study))


def test_a_trial_of_magnitude_0_is_a_control_that_stands_against_its_label_s_concept(write, study) -> None:
    study["results"][1]["magnitude"] = 0.0
    record = read(write, study).records[1]
    condition = record.condition
    assert (condition.arm, condition.truth, condition.concept, condition.asked) == ("control", "nothing", None, "love")
    assert (condition.layers, condition.dose, condition.span, record.key.steers) == ((), None, None, ())


def test_trials_of_magnitude_0_under_several_labels_are_draws_of_one_thing_and_none_is_lost(write, study) -> None:
    names = ("lindsey_control", "lindsey_love", "lindsey_all_caps", "alt_control", "alt_love")
    study["results"] = [conftest.entry(name, 0.0, n) for n in range(3) for name in names]
    records = read(write, study).records
    assert len({r.key.digest for r in records}) == len(records) == 15
    assert len({evolve(r.key, draw=0) for r in records}) == 2  # one for each wording
    assert [r.trial.draw for r in records] == [n for n in range(3) for _ in names]
    study["results"].append(conftest.entry("lindsey_love", 0.0, 2))
    with pytest.raises(ResultsFormatError, match=r"results\[15\].*results\[11\]"):
        read(write, study)


def test_an_injected_trial_states_layer_dose_and_span(write, study) -> None:
    record = read(write, study).records[1]
    condition = record.condition
    assert (condition.concept, condition.asked, condition.layers) == ("love", "love", (90,))
    assert (condition.dose, condition.span, condition.model) == (
        Dose(10, "update"),
        "all",
        "Llama-3.1-405B-Instruct-FP8-dynamic",
    )
    assert [(s.layer, s.magnitude, s.unit, s.start, s.stop) for s in record.key.steers] == [(90, 10, "update", 0, None)]
    assert record.receipts == ()


def test_a_reply_is_kept_as_it_is_whatever_it_holds(write, study) -> None:
    text = "\x00</script>\ud83d\u0000 {{x}} \u202e" + "é" * 3
    study["results"][1]["response"] = text
    assert read(write, study).records[1].reply.text == text
