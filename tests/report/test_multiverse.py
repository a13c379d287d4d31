"""One run under several judges: the table, the sentences and the figure of all of them."""

from __future__ import annotations

from pathlib import Path

import attrs
import matplotlib as mpl
import pytest
from report_samples import make_record, second_opinion
from test_report import report_text

from introspection_bench.analysis import ConceptCounts, Results, these_concepts
from introspection_bench.errors import AnalysisError
from introspection_bench.report import judge_rates
from introspection_bench.report.figures.gallery import gallery
from introspection_bench.report.multiverse import multiverse
from introspection_bench.trials import TrialRecord
from introspection_bench.verdicts import Verdict


def run(lenient: int = 12, *, skip: int = 0) -> list[TrialRecord]:
    """20 controls and 40 injections that the first judge fails; the second passes ``lenient`` of the injections."""
    records = [
        *(make_record(i, arm="control") for i in range(20)),
        *(make_record(i, concept=("love", "ocean")[i % 2]) for i in range(40)),
    ]
    told = []
    for number, record in enumerate(records):
        good = number >= 20 and number - 20 < lenient
        answers = dict.fromkeys(("affirmative", "identifies", "immediate", "coherent"), True) if good else {}
        more = () if number < skip else (second_opinion(record, **answers),)
        told.append(attrs.evolve(record, verdicts=(*record.verdicts, *more)))
    return told


def test_each_judgement_has_its_rates_with_intervals_about_these_concepts() -> None:
    found = multiverse(Results("r", run()))
    assert found is not None
    rows = found.table[(found.table["arm"] == "injected") & (found.table["outcome"] == "strict")]
    assert [(r.judgement, r.k, r.n) for r in rows.itertuples()] == [
        ("claude/strict4 · claude-sonnet-4-6", 12, 40),
        ("rules/strict4", 0, 40),
    ]
    told = these_concepts(ConceptCounts([6, 6], [20, 20]))
    assert (rows.iloc[0]["low"], rows.iloc[0]["high"]) == pytest.approx((told.low, told.high))
    assert set(found.table.loc[found.table["arm"] == "control", "outcome"]) == {"affirmative", "identifies"}


def test_the_range_is_said_with_who_gave_its_ends_and_is_no_range_where_all_agree() -> None:
    found = multiverse(Results("r", run()))
    assert found is not None
    said = " ".join(found.sentences)
    assert (
        "On injected trials strict lies between 0 % under rules/strict4 (0 of 40) and 30 % under claude/strict4 · "
        "claude-sonnet-4-6 (12 of 40)." in said
    )
    assert "On controls affirmative is 0 % under each of 2 judgements." in said
    alike = multiverse(Results("r", run(0)))
    assert alike is not None
    assert "On injected trials strict is 0 % under each of 2 judgements." in alike.sentences
    assert "lies between" not in " ".join(alike.sentences)


def test_the_title_says_what_varies_and_whether_the_trials_are_the_same() -> None:
    found, other = multiverse(Results("r", run())), multiverse(Results("r", run(skip=30)))
    assert found is not None
    assert other is not None
    assert found.title == "Judge and judge model vary; the trials are the same"
    assert other.title == "Judge and judge model vary; each on the trials that it scored"


def test_a_second_verdict_that_was_asked_about_another_concept_is_no_further_judgement() -> None:
    records = [
        attrs.evolve(r, verdicts=[r.verdicts[0], attrs.evolve(r.verdicts[0], concept="rain", asked="mismatched")])
        for r in run()
    ]
    assert multiverse(Results("r", records)) is None


def test_two_wordings_of_one_rubric_and_two_parts_of_the_reply_are_judgements_of_their_own() -> None:
    def twice(**changes: str) -> list[TrialRecord]:
        return [
            attrs.evolve(r, verdicts=(*r.verdicts, attrs.evolve(r.verdicts[0], **changes)))
            for r in (make_record(i) for i in range(6))
        ]

    worded, whole = (multiverse(Results("r", twice(**c))) for c in ({"rubric_digest": "f" * 64}, {"judged": "whole"}))
    assert worded is not None
    assert worded.varies == ("rubric's wording",)
    assert any("ffffffff" in name for name in worded.table["judgement"])
    assert whole is not None
    assert whole.title.startswith("Part read varies")
    assert len(set(whole.table["judgement"])) == 2


def test_one_judgement_or_one_that_scored_nothing_is_no_multiverse(tmp_path: Path) -> None:
    one = [make_record(i) for i in range(4)]
    failed = [attrs.evolve(r, verdicts=(*r.verdicts, failing(r))) for r in one]
    for records in (one, failed):
        assert multiverse(Results("r", records)) is None
        assert "judgements" not in report_text(records, tmp_path)


def failing(record: TrialRecord) -> Verdict:
    verdict = second_opinion(record)
    return attrs.evolve(verdict, answers={}, unscored="no answer")


def test_the_report_shows_the_range_in_its_first_sentences_and_the_figure_first(tmp_path: Path) -> None:
    records = run()
    text = report_text(records, tmp_path)
    assert "There are 2 judgements (judge and judge model vary; the trials are the same). On injected trials" in text
    assert text.count("Rates under each judgement. Judge and judge model vary") == 1
    found = multiverse(Results("r", records))
    frame = Results("r", records).frame(judge="rules")
    assert gallery(frame, judged=found)[0].stem == "judges"
    assert "judges" not in {p.stem for p in gallery(frame)}


def test_the_figure_has_a_line_for_each_judgement_and_controls_are_hollow() -> None:
    found = multiverse(Results("r", run()))
    assert found is not None
    figure = judge_rates(found.table, title=found.title)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["strict", "affirmative", "identifies"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(dict.fromkeys(found.table["judgement"]))
    assert found.title in {t.get_text() for t in figure.findobj(mpl.text.Text)}
    marks = [line for line in figure.axes[1].get_lines() if len(line.get_xdata()) == 1]
    hollow = [mpl.colors.same_color(m.get_markerfacecolor(), "#ffffff") for m in marks]
    assert sorted(hollow) == [False, False, True, True]
    rows = found.table[found.table["outcome"] == "affirmative"]
    assert sorted(float(m.get_xdata()[0]) for m in marks) == pytest.approx(sorted(rows["rate"]))


def test_a_table_without_rates_by_judgement_is_refused() -> None:
    found = multiverse(Results("r", run()))
    assert found is not None
    with pytest.raises(AnalysisError, match="judgement"):
        judge_rates(found.table.drop(columns="judgement"))
    with pytest.raises(AnalysisError, match="no such row"):
        judge_rates(found.table, outcomes=["coherent"])
