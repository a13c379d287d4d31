"""Sections of the page on what measures read, and on wordings of the question; the same from the command."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from report_samples import make_record

from introspection_bench import Dose, Results, load_battery
from introspection_bench.analysis import log_odds_by_arm, log_odds_frame, naming_measures, records_frame
from introspection_bench.cli.analysing import OF, table
from introspection_bench.errors import AnalysisError
from introspection_bench.interop import write_jsonl
from introspection_bench.measures import Reading
from introspection_bench.report import write_report
from introspection_bench.report.page.headlines import headlines
from introspection_bench.report.page.html import measured_sections
from introspection_bench.report.page.judged import choose_judge
from introspection_bench.report.page.log_odds import log_odds_section
from introspection_bench.report.page.naming import naming_section
from introspection_bench.report.page.wordings import wording_section, wordings_of
from tests.sample_trials import answered, make_condition, make_verdict, record_of, yes_no

CONCEPTS = ("love", "bread", "dust", "sky", "iron", "salt", "rain")


def asked_under(arm: str, rise: float, concepts=CONCEPTS, joint: float = 0.8) -> list:
    """Trials of an arm, its own clean ones unsteered at -2, moved by ``rise`` and a little by concept."""
    scaffold = "lindsey" if arm == "injected" else "lindsey:no_questions"
    clean = "control" if arm == "injected" else f"{arm}_clean"
    moved = [answered(-2 + rise + n / 100, arm, c, scaffold=scaffold, joint=joint) for n, c in enumerate(concepts)]
    return [*moved, answered(-2.0, clean, "love", scaffold=scaffold)]


def test_the_log_odds_of_each_arm_stand_beside_the_same_prompt_unsteered_and_the_battery():
    records = [*asked_under("injected", 3.0), *asked_under("no_questions", 1.0)]
    section = log_odds_section(Results("r", records))
    rows = {row[0]: row[1:] for row in section.tables[0].rows}
    assert section.tables[0].rows[0][0] == "injected"
    assert rows["injected"] == ("7", "+1.03", "−2.00", "+3.03", "0.8", "–")
    assert rows["no questions"][:5] == ("7", "−0.97", "−2.00", "+1.03", "0.8")
    assert rows["no questions"][5].startswith("+2.00 (+2.00 to +2.00)")
    assert rows["control"][2:4] == ("–", "nothing steered")
    assert any("yes-bias" in s for s in section.sentences)
    assert not any("less than 0.5 of the probability" in s or "no unsteered" in s for s in section.sentences)


def test_log_odds_warn_of_a_small_joint_mass_of_a_battery_not_run_and_of_prompts_not_read_unsteered():
    records = [*asked_under("injected", 3.0, joint=0.1), answered(0.0, "injected", scaffold="other")]
    said = " ".join(log_odds_section(Results("r", records)).sentences)
    assert "On 7 of 9 trials yes and no together have less than 0.5" in said
    assert "No question whose answer is no was read under the injection" in said
    assert "1 of 9 trials have no unsteered reading" in said
    assert "yes-bias" not in said


def test_a_change_that_questions_share_rules_no_yes_bias_out():
    alike = [*asked_under("injected", 1.0), *asked_under("no_questions", 1.0)]
    said = log_odds_section(Results("r", alike)).sentences
    assert "Nothing is ruled out by it." in said
    assert not any("yes-bias" in s for s in said)


def test_arms_of_other_doses_are_shown_and_not_compared():
    far = []
    for record in asked_under("no_questions", 1.0)[:-1]:
        condition = attrs.evolve(record.condition, dose=Dose(0.9, "residual"))
        far.append(attrs.evolve(record, trial=attrs.evolve(record.trial, condition=condition)))
    clean = asked_under("no_questions", 1.0)[-1]
    section = log_odds_section(Results("r", [*asked_under("injected", 3.0), *far, clean]))
    rows = {row[0]: row[-1] for row in section.tables[0].rows}
    assert rows["no questions"] == "not in one cell"
    assert any("share no cell with a change in both: they are not compared" in s for s in section.sentences)


def test_readings_of_two_ways_stand_in_tables_of_their_own():
    def twice(record):
        other = attrs.evolve(record.readings[0], dtype="bfloat16", values=yes_no(5.0).values)
        return attrs.evolve(record, readings=[*record.readings, other])

    section = log_odds_section(Results("r", list(map(twice, asked_under("injected", 3.0)))))
    first, second = section.tables
    assert (first.caption[:9], second.caption[:10]) == ("float32: ", "bfloat16: ")
    assert (first.rows[0][2], second.rows[0][2]) == ("+1.03", "+5.00")


def test_means_over_concepts_weigh_each_the_same():
    records = [answered(v, "injected", c, n) for n, (v, c) in enumerate([(0, "love"), (0, "love"), (3, "bread")])]
    (row,) = log_odds_by_arm(log_odds_frame(records)).to_dict("records")
    assert (row["log_odds"], row["n"], row["concepts"], row["n_change"]) == (pytest.approx(1.5), 3, 2, 0)
    assert row["steered"]
    assert np.isnan(row["change"])


def scores(measure: str, named: str) -> Reading:
    """A reading by which one concept comes first; of a lens at layers 3 and 9, at the first of which it is another."""
    values = [[-1.0 if c == named else -5.0, 1.0] for c in CONCEPTS]
    by = ("m", "torch", 1, "float32")
    if measure == "concept_lens":
        rows = np.array(values)[:, 0]
        return Reading(measure, "d" * 64, {"layer": (3, 9), "concept": CONCEPTS}, [np.roll(rows, 1), rows], *by)
    return Reading(measure, "d" * 64, {"concept": CONCEPTS, "of": ("logprob", "tokens")}, values, *by)


def read(concept: str, draw: int, *readings: Reading, **criteria):
    verdicts = (make_verdict(concept, **criteria),) if criteria else ()
    return record_of(make_condition(concept=concept), draw, readings=readings, verdicts=verdicts)


def test_each_reading_that_names_concepts_has_a_row_with_chance_rank_and_bits_beside():
    records = [read(c, n, scores("naming", c), scores("concept_lens", c)) for c in CONCEPTS for n in range(2)]
    assert naming_measures(records) == ("naming", "concept_lens")
    section = naming_section(Results("r", records), None)
    rows = section.tables[0].rows
    assert [row[2] for row in rows] == ["–", "3", "9"]
    assert rows[0][3:9] == ("14", "7", "100 % (76.8 to 100 %)", "14.3 %", "1", "2.81")
    assert rows[1][5].startswith("0 %")
    assert float(rows[0][9]) > 1  # of 14 trials most bits are bias
    said = " ".join(section.sentences)
    assert "nearest vector" not in said
    assert "observer" not in said
    assert len(section.tables) == 1


def test_of_the_nearest_vector_it_is_said_that_it_may_be_the_one_just_added():
    axes = {"layer": (19,), "position": (0,), "vector": CONCEPTS}
    nearest = Reading("cosines", "d" * 64, axes, [[[1.0, *[0.0] * 6]]], "m", "torch", 1, "float32")
    section = naming_section(Results("r", [read("love", 0, nearest), read("bread", 0, nearest)]), None)
    assert section.tables[0].rows[0][:6] == (
        "nearest vector (cosines)", "injected", "19", "2", "2", "50 % (1.26 to 98.7 %)",
    )  # fmt: skip
    assert "nearly always the one just added" in " ".join(section.sentences)


def test_a_run_without_readings_that_rank_its_concepts_has_no_such_section():
    axes = {"layer": (3,), "position": (0,), "set": ("yes", "no")}
    other = Reading("lens", "d" * 64, axes, [[[0.0, 1.0]]], "m", "torch", 1, "float32")
    odd = Reading("yes_no", "d" * 64, {"of": ("left", "right")}, [0.0, 1.0], "m", "torch", 1, "float32")
    assert naming_section(Results("r", [read("love", 0, other), read("love", 1)]), None) is None
    assert log_odds_section(Results("r", [read("love", 0, other, odd)])) is None
    unlike = attrs.evolve(
        odd, measure="naming", axes={"concept": ("love",), "of": ("a",)}, dims=("concept", "of"), values=[[0.0]]
    )
    assert naming_section(Results("r", [read("love", 0, unlike)]), None) is None


def observed(said: list[tuple[bool, str]]) -> Results:
    """Trials of love: whether the judge finds it named, and what the observer names."""
    return Results("r", [read("love", n, scores("observer", o), identifies=named) for n, (named, o) in enumerate(said)])


def test_naming_counts_beyond_what_a_reader_of_the_text_names():
    results = observed([(True, "love"), (True, "bread"), (True, "dust"), (False, "love")])
    section = naming_section(results, choose_judge(results))
    assert "named in 3 of 4 trials; in 1 of these the text up to the claim gives it away" in section.sentences[-1]
    assert section.sentences[-1].endswith("in 2 it does not.")
    row = section.tables[1].rows[0]
    assert [cell.split(" · ")[0] for cell in row] == ["injected", "4", "3/4", "2/4", "2/4"]


def test_without_names_or_without_a_judge_nothing_is_given_away():
    results = observed([(False, "love"), (False, "bread")])
    said = naming_section(results, choose_judge(results)).sentences[-1]
    assert "named in none of 2 trials" in said
    assert "gives it away" not in said
    unjudged = Results("r", [attrs.evolve(r, verdicts=()) for r in results])
    section = naming_section(unjudged, None)
    assert section.sentences[-1].startswith("No judge says what the replies name")
    assert len(section.tables) == 1


def in_wordings(hits: dict[str, int], n: int = 4, design: bool = True) -> Results:
    """Injected trials and controls in each of the battery's wordings; ``hits`` of the injected ones affirm."""
    items = load_battery("wordings").items
    records = []
    for place, item in enumerate(items):
        for i in range(n):
            name = f"m2: Bread + {item.name}" if i % 2 else item.name
            told = {"affirmative": i < hits.get(item.name, 0)}
            records.append(make_record(place * n + i, concept="love", item=name, **told))
        records.append(make_record(place, arm="control", concept=None, item=item.name))
    plain = [{"name": item.name, "slots": dict(item.slots)} for item in items]
    return Results("r", records, {"design": {"items": plain}} if design else {"further": {"items": plain}})


def test_where_the_question_is_asked_in_several_wordings_their_spread_stands_beside_the_rate():
    results = in_wordings({"w1": 4, "w5": 1})
    frame = records_frame(results.records)
    names = wordings_of(results)
    (said,) = [s for s in headlines(frame, wordings=names) if "By wording" in s]
    assert "The model affirmed a thought in 0 of 8 scored controls and 5 of 32 scored injected trials" in said
    assert "injected trials from 0 % (w2, 0 of 4) to 100 % (w1, 4 of 4) over 8 wordings of the question." in said
    assert "controls 0 % in each of 8 wordings of the question, injected" in said
    section = wording_section(frame, names)
    assert "injected, affirmative: from 0 % (w2, 0 of 4) to 100 % (w1, 4 of 4)" in " ".join(section.sentences)
    assert [row[0] for row in section.tables[0].rows] == [f"w{n}" for n in range(1, 9)]
    assert section.tables[0].rows[4][1].startswith("1/4 · 25 % (")


def test_items_that_are_no_wordings_of_the_design_have_no_spread():
    for results in (in_wordings({}, design=False), Results("r", in_wordings({}).records)):
        names = wordings_of(results)
        assert names == ()
        frame = records_frame(results.records)
        assert wording_section(frame, names) is None
        assert not any("wording" in s for s in headlines(frame, wordings=names))


def test_the_page_has_these_sections_where_there_is_something_to_show_and_lists_them(tmp_path):
    records = [*asked_under("injected", 3.0), *observed([(True, "bread")]).records]
    page = write_report(Results("r", records), tmp_path / "r.html").read_text(encoding="utf-8")
    for id_, title in (("log-odds", "Log-odds of yes"), ("naming", "Which concept is named, without a judge")):
        assert f'<h2 id="h-{id_}">{title}</h2>' in page
        assert f'<a href="#{id_}">{title}</a>' in page
    assert "By wording" not in page
    plain = write_report([make_record()], tmp_path / "p.html").read_text(encoding="utf-8")
    assert "Log-odds of yes" not in plain


def test_the_command_prints_the_same_tables_and_sentences(tmp_path, capsys):
    write_jsonl([*asked_under("injected", 3.0), *asked_under("no_questions", 1.0)], tmp_path / "a.jsonl")
    table(tmp_path / "a.jsonl", of="log-odds", format="markdown")
    shown = capsys.readouterr()
    assert "| no questions | 7 | −0.97 | −2.00 | +1.03 | 0.8 | +2.00 (+2.00 to +2.00) |" in shown.out
    assert "yes-bias" in shown.err
    for of, said in (("naming", "a run with naming"), ("colour", "one of")):
        with pytest.raises(AnalysisError, match=said):
            table(tmp_path / "a.jsonl", of=of)


def test_sections_are_of_the_same_names_as_the_command_has():
    results = Results("r", [make_record()])
    assert [*measured_sections(results, records_frame(results.records), None)] == [
        "wordings",
        "log-odds",
        "naming",
    ]
    assert {*OF} == {"verdicts", *measured_sections(results, records_frame(results.records), None)}
