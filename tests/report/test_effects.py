"""The effects of doses in a report: the section, the figure, and the column beside the trials."""

from __future__ import annotations

import attrs
import pandas as pd
import pytest

from introspection_bench import Dose, DoseEffect, Effects, FoundDose, Results
from introspection_bench.analysis import effects_frame, live_cells, records_frame
from introspection_bench.errors import AnalysisError, InjectionError
from introspection_bench.report import effect_curves, write_report
from introspection_bench.report.effects import effects_section
from introspection_bench.report.figures.gallery import gallery
from tests.sample_trials import make_condition, record_of


def effect(concept: str = "love", magnitude: float = 5.0, gain: float = 1.0, **changes: object) -> DoseEffect:
    made = DoseEffect(
        concept, [19], Dose(magnitude, "update"), ["v"], "p", 0, [0.4, 0.5, 0.9], [3.0] * 3, [2.0] * 3, [gain] * 3,
        [0.3, 0.2], [0.1, 0.4],
    )  # fmt: skip
    return attrs.evolve(made, **changes)


ROWS = Effects([effect(), effect(magnitude=10.0, gain=0.3), effect("bread", gain=0.2)])
FOUND = FoundDose("k", Dose(0.5, "kl"), Dose(0.21, "residual"), 0.502, 0.502, "love", [19], ["v"])


def test_a_dose_is_live_where_its_gain_exceeds_that_of_all_random_vectors():
    assert [row.live for row in ROWS] == [True, False, False]
    assert {row.chance for row in ROWS} == {1 / 3}
    assert not effect(gain=0.4).live  # a tie is no excess


def test_the_table_has_a_row_for_each_dose_and_of_two_measurements_the_one_with_more_random_vectors():
    again = effect(gain=0.2, random_gain=[0.1, 0.15, 0.0], random_kl=[0.1] * 3)
    found = effects_frame(Effects([again, *ROWS.rows]))
    assert found[["concept", "magnitude", "n_random", "live"]].to_numpy().tolist() == [
        ["love", 5.0, 3, True],
        ["love", 10.0, 2, False],
        ["bread", 5.0, 2, False],
    ]
    assert found["kl"].tolist() == [0.5] * 3
    assert found["kl_prompts"].tolist() == [(0.4, 0.5, 0.9)] * 3
    assert effects_frame(Effects()).empty


def records() -> list[object]:
    told = [
        {"concept": "love", "magnitude": 5.0},
        {"concept": "love", "magnitude": 10.0},
        {"concept": "love", "magnitude": 5.0, "arm": "negated"},
        {"concept": "trees", "magnitude": 5.0},
        {"concept": None, "arm": "control"},
    ]
    return [record_of(make_condition(unit="update", **fields), n) for n, fields in enumerate(told)]


def test_trials_are_told_live_by_the_dose_that_was_injected_and_nothing_is_said_of_others():
    frame = records_frame(records())
    model, layers = frame["model"].iloc[0], int(frame["layers"].iloc[0])
    known = Effects([attrs.evolve(row, model=model, layers=[layers]) for row in ROWS])
    found = live_cells(frame, known)
    told = [None if pd.isna(v) else v for v in found["live"]]
    assert told == [True, False, None, None, None]
    assert len(found[found["live"]]) == 1
    with pytest.raises(AnalysisError, match="truth"):
        live_cells(frame.drop(columns="truth"), known)


def test_trials_of_doses_by_effect_are_told_live_by_the_effect_asked_for():
    asked = Dose(0.5, "kl")
    record = record_of(make_condition(concept="love", magnitude=5.0))
    condition = attrs.evolve(record.condition, dose=Dose(0.21, "residual"), effect=asked)
    record = attrs.evolve(record, trial=attrs.evolve(record.trial, condition=condition))
    row = effect(dose=Dose(0.21, "residual"), effect=asked, model=condition.model, layers=condition.layers)
    assert live_cells(records_frame([record]), Effects([row]))["live"].tolist() == [True]


def test_the_report_says_which_doses_were_alive_by_which_rule_and_chance(tmp_path):
    section = effects_section(Results("r", records(), effects=ROWS, doses=[FOUND]))
    said = " ".join(section.sentences)
    assert "1 of 3 doses" in said
    assert "1 in 3 times (1 dose of these)" in said
    assert "reports nothing says little" in said
    effects, found = section.tables
    assert [row[-1] for row in effects.rows] == ["yes", "no", "no"]
    assert found.rows[0][3:] == ("0.5 kl", "0.21 residual", "0.502", "0.502")
    page = write_report(Results("r", records(), effects=ROWS, doses=[FOUND]), tmp_path / "r.html").read_text()
    assert '<h2 id="h-alive">Is the dose alive?</h2>' in page
    assert "effects-layer-19-update" in [p.stem for p in gallery(records_frame(records()), effects=ROWS)]


def test_the_report_counts_the_doses_whose_vector_reads_out_as_its_word_where_that_was_measured():
    told = [attrs.evolve(row, ranks=[rank]) for row, rank in zip(ROWS.rows, (9, 10, 0), strict=True)]
    section = effects_section(Results("r", records(), effects=Effects(told)))
    assert "among the first 10 in 2 of 3 doses" in section.sentences[-1]
    assert [row[-2] for row in section.tables[0].rows] == ["9", "10", "0"]
    assert effects_frame(Effects(told))["reads_out"].tolist() == [True, False, True]
    section = effects_section(Results("r", records(), effects=ROWS))
    assert not any("logit lens" in said for said in section.sentences)
    assert {row[-2] for row in section.tables[0].rows} == {"–"}
    with pytest.raises(InjectionError, match="ranks of 'love'"):
        effect(ranks=[1, 2])


def test_a_report_of_a_run_without_effects_has_no_such_section():
    assert effects_section(Results("r", records())) is None


def test_the_figure_fills_the_markers_of_live_doses_alone():
    figure = effect_curves(ROWS, title="layer 19")
    above, below = figure.axes
    assert above.get_yscale() == "log"
    unjoined = [line for line in below.lines if line.get_linestyle() == "None" and line.get_marker() != "_"]
    filled = [line.get_xdata().tolist() for line in unjoined]
    assert filled == [[5.0], []]
    assert "1 of 3 live" in above.get_title(loc="left")
    with pytest.raises(AnalysisError, match="one unit"):
        effect_curves(Effects([effect(), effect(dose=Dose(1, "raw"))]))


def test_many_concepts_are_drawn_alike_and_not_named():
    figure = effect_curves(Effects([effect(f"concept {n}") for n in range(9)]))
    assert {t.get_text() for t in figure.legends[0].texts} == {"random vectors"}
