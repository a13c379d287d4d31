"""What the page says of d′, of agreement and of their bounds, and what it does not say where it would be false."""

from __future__ import annotations

from report_samples import make_record

from introspection_bench.analysis import records_frame
from introspection_bench.report.page.sections import control_section, judge_comparisons, judge_section
from introspection_bench.results import Results
from tests.sample_trials import make_verdict


def detection_row(signals, noises, unscored=0):
    """The page's row of detection for (hits, trials) and (false alarms, trials)."""
    lost = make_verdict("love", unscored="timeout")
    records = [
        *(make_record(i, affirmative=i < signals[0]) for i in range(signals[1])),
        *(make_record(100 + i, verdicts=(lost,)) for i in range(unscored)),
        *(make_record(i, arm="control", concept=None, affirmative=i < noises[0]) for i in range(noises[1])),
    ]
    section = control_section(records_frame(records))
    table = next(t for t in section.tables if t.caption.startswith("Signal detection"))
    return table.rows[0]


def test_d_prime_without_an_upper_bound_is_said_to_have_none_and_has_no_criterion():
    row = detection_row((10, 10), (0, 10))
    assert "(at least " in row[3]
    assert "no upper bound" in row[3]
    assert row[4] == "–"


def test_d_prime_bounded_on_both_sides_is_not_said_to_lack_a_bound():
    row = detection_row((7, 20), (4, 20))
    assert " to " in row[3]
    assert "bound" not in row[3]
    assert "whatever" not in row[3]
    assert row[4] != "–"


def test_neither_a_hit_nor_a_false_alarm_bounds_d_prime_on_no_side():
    assert "no bound on either side" in detection_row((0, 10), (0, 10))[3]
    assert "at most" in detection_row((0, 10), (9, 10))[3]


def test_unscored_trials_stand_beside_the_bound_of_d_prime():
    assert "; whatever the 5 unscored are (" in detection_row((7, 20), (4, 20), unscored=5)[3]


def test_unscored_controls_are_counted_as_false_alarms_beside_the_rate_and_only_where_there_are_any():
    lost = make_verdict("love", unscored="timeout")
    scored = [make_record(i, arm="control", concept=None, affirmative=i < 1) for i in range(20)]
    unscored = [make_record(50 + i, arm="control", concept=None, verdicts=(lost,)) for i in range(10)]
    said = control_section(records_frame([*scored, *unscored])).sentences[0]
    # 11 of 30 at most: Clopper and Pearson's upper bound.
    assert said.endswith("Were all 10 unscored controls affirmative, too, rates up to 56.1 % would not be excluded.")
    assert "unscored" not in control_section(records_frame(scored)).sentences[0]


def test_the_page_says_of_two_judges_what_kappa_and_ac1_say():
    second = make_verdict("love", judge="another", affirmative=False)
    records = [make_record(i, verdicts=(make_verdict("love", affirmative=i == 0), second)) for i in range(30)]
    results = Results("r", records)
    section = judge_section(results, judge_comparisons(results, results.judges[0]))
    said = next(s for s in section.sentences if s.startswith("affirmative: "))
    assert "Gwet's AC1" in said
    assert "Nine in ten answers or more are no" in said
    table = next(t for t in section.tables if t.caption.startswith("Agreement"))
    assert list(table.columns[3:7]) == ["kappa", "AC1", "prevalence index", "bias index"]
