from __future__ import annotations

from report_samples import make_record

from introspection_bench.analysis import Results
from introspection_bench.judges.labels import FORMAT, Label, append_label
from introspection_bench.report.page.sections import judge_section


def a_record(index, arm="injected", ground="claim", **changes):
    return make_record(index, arm=arm, ground=ground, **changes)


def said(records, source=""):
    section = judge_section(Results("r", records, source=source), [])
    return " ".join(section.sentences), section.tables


def test_the_report_counts_verdicts_on_weak_ground_by_arm():
    records = [a_record(0), a_record(1, ground="denial"), a_record(2, ground="neither")]
    records.append(a_record(3, arm="control", ground="denial"))
    records.append(a_record(4, arm="sham"))
    text, tables = said(records)
    assert "rests 1 of its 5 verdicts on coherent replies on weak ground" in text
    (table,) = [t for t in tables if "decided on" in t.caption]
    assert [row[:4] for row in table.rows] == [
        ("control", "0", "1", "0"),
        ("injected", "1", "1", "1"),
        ("sham", "1", "0", "0"),
    ]


def test_a_model_that_the_judge_was_not_measured_on_is_named_and_labels_are_asked_for():
    strange = [a_record(0, model="Gemma-9b")]
    assert "not measured on replies of Gemma-9b" in said(strange)[0]
    assert "Label 50 replies" in said(strange)[0]
    known = [a_record(0, model="CodeLlama-34b-Instruct-hf")]
    assert "Label 50 replies" not in said(known)[0]


def test_much_weak_ground_is_said_of_a_measured_model_too():
    records = [a_record(i, ground="neither", model="Qwen2.5-7B") for i in range(4)]
    assert "more than 25" in said(records)[0]


def test_labels_in_the_run_give_the_corrected_rate(tmp_path):
    records = [a_record(i, affirmative=i < 12) for i in range(40)]
    for record in records[:30]:
        (verdict,) = record.verdicts
        truly = record.key.draw < 11  # the judge takes one denial for a claim
        asked = (verdict.concept, verdict.rubric, verdict.rubric_digest)
        answers = {"affirmative": truly, "identifies": False, "immediate": None, "coherent": True}
        label = Label(FORMAT, record.key.digest, *asked, "ana", answers)
        append_label(tmp_path / "labels.jsonl", label)
    text, _ = said(records, source=str(tmp_path))
    assert "on 30 labelled replies of these" in text
    assert "injected: the judge says 30 %" in text


def test_labels_that_hold_no_claim_give_what_would_hold_at_each_sensitivity_and_no_correction(tmp_path):
    records = [a_record(i, affirmative=False) for i in range(40)]
    for record in records[:20]:
        (verdict,) = record.verdicts
        asked = (verdict.concept, verdict.rubric, verdict.rubric_digest)
        answers = {"affirmative": False, "identifies": False, "immediate": None, "coherent": True}
        append_label(tmp_path / "labels.jsonl", Label(FORMAT, record.key.digest, *asked, "ana", answers))
    text, _ = said(records, source=str(tmp_path))
    assert "do not tell how many true cases it finds" in text
    assert "if it finds 50 %" in text
    assert "corrected for its error" not in text


def test_a_judge_that_does_not_say_what_it_decided_on_is_not_spoken_of():
    assert "weak ground" not in said([make_record(0)])[0]
