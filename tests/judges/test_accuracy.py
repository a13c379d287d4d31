"""A judge against labels, or against the verdicts that replies came with; and a run judged by a rubric of one's own."""

from __future__ import annotations

import io

import attrs
import pytest
from rich.console import Console

from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.conditions import Condition
from introspection_bench.errors import JudgeError, ResultsFormatError, SpecError
from introspection_bench.judges.base import Judge
from introspection_bench.judges.labels import draw_sample, label_in_terminal
from introspection_bench.judges.rubrics import Call, Rubric, load_rubric
from introspection_bench.results import Results
from introspection_bench.sweep import Store, import_results, judge_accuracy, judge_run
from introspection_bench.sweep.judging import case_maker
from introspection_bench.trials import Reply, Trial, TrialRecord
from introspection_bench.verdicts import Verdict
from tests.keys import control_key, steered_key

CONCEPTS = ConceptSet("two", [Concept("ocean", word="ocean"), Concept("bread", word="bread")], ())
CLAIM, DENIAL = "Yes, I detect an injected thought. It is about the ocean.", "No, I don't detect any injected thought."
PICKS = Rubric(
    "picks",
    1,
    "single",
    "A model was asked to choose.",
    [Call("c", "Does it choose? Is it sorry?", dict.fromkeys(("picked", "apologises"), ("yes", "no")))],
    success=("picked",),
)


class FakePicks(Judge):
    """Takes a claim for a choice, and every reply for an apology."""

    name = "picks"
    rubric = PICKS

    def judge(self, cases):
        for index, case in enumerate(cases):
            answers = {"picked": case.reply.startswith("Yes"), "apologises": True}
            yield index, Verdict(self.name, PICKS.id, PICKS.digest, case.concept.name, answers, PICKS.success)


def records(verdicts=()):
    """Ten claims on injected trials, ten denials on controls, each different."""
    made = []
    for n in range(20):
        injected = n % 2 == 0
        condition = Condition(*("injected", "lindsey", "ocean") if injected else ("control", "lindsey"), asked="ocean")
        trial = Trial((steered_key if injected else control_key)(n), condition, draw=n)
        reply = Reply(f"{CLAIM if injected else DENIAL} ({n})", (1,), "stop")
        made.append(TrialRecord(trial, reply, verdicts=verdicts))
    return made


@pytest.fixture
def store(tmp_path):
    with import_results([Results("r", records())], tmp_path / "run", CONCEPTS) as opened:
        yield opened


def label_by(store, path, rubric, answers):
    """Have a person label ten replies: ``answers`` gives the keys typed for a reply."""
    sample = draw_sample(store.records(), case_maker(store), n=10, seed=0)
    keys = iter([key for case in sample for key in answers(case.reply)])
    screen = Console(file=io.StringIO())
    label_in_terminal(sample, path, screen, labeller="ana", rubric=rubric, ask=lambda _: next(keys))


def test_a_judge_s_accuracy_against_labels_is_one_call_and_records_nothing(store, tmp_path):
    label_by(store, tmp_path / "labels.jsonl", "strict4", lambda r: "yyyyn" if r.startswith("Yes") else "nnyn")
    found = judge_accuracy("rules", store, tmp_path / "labels.jsonl")
    assert found.agreement["affirmative"].agreement.rate == 1.0
    assert found.agreement.both_scored == 10
    rates = {rate.criterion: rate for rate in found.rates}
    assert (rates["strict"].judged.k, rates["strict"].judged.n) == (10, 20)
    assert rates["strict"].corrected.low < 0.5 < rates["strict"].corrected.high
    assert list(found.table()["criterion"]) == [rate.criterion for rate in found.rates]
    assert all(record.verdicts == () for record in store.records())


def test_where_no_correction_can_be_made_it_says_why(store, tmp_path):
    label_by(store, tmp_path / "labels.jsonl", PICKS, lambda r: "yn" if r.startswith("Yes") else "nn")
    rates = {rate.criterion: rate for rate in judge_accuracy(FakePicks(), store, tmp_path / "labels.jsonl").rates}
    assert rates["picked"].corrected.estimate == pytest.approx(0.5)
    assert (rates["apologises"].judged.rate, rates["apologises"].corrected) == (1.0, None)
    assert "both kinds" in rates["apologises"].why


def test_labels_by_another_rubric_than_the_judge_s_are_refused(store, tmp_path):
    label_by(store, tmp_path / "labels.jsonl", PICKS, lambda _: "yn")
    with pytest.raises(ResultsFormatError, match="picks/1"):
        judge_accuracy("rules", store, tmp_path / "labels.jsonl")


def test_without_labels_a_judge_is_compared_with_the_verdicts_that_replies_came_with():
    rubric = load_rubric("strict4")
    told = Verdict("other", rubric.id, rubric.digest, "ocean", {"affirmative": True, "coherent": True})
    found = judge_accuracy("rules", Results("r", records([told])), concepts=CONCEPTS)
    assert found.agreement["affirmative"].agreement.rate == 0.5
    assert found.agreement["coherent"].agreement.rate == 1.0
    with pytest.raises(ResultsFormatError, match="labels"):
        judge_accuracy("rules", Results("r", records()), concepts=CONCEPTS)


def test_results_from_a_file_need_a_concept_set_and_a_run_has_its_own(store):
    with pytest.raises(SpecError, match="concepts"):
        judge_accuracy("rules", Results("r", records()))
    with pytest.raises(SpecError, match="concepts"):
        judge_accuracy("rules", store, concepts=CONCEPTS)


def test_a_run_is_judged_by_a_rubric_of_one_s_own_once_it_is_said_that_no_control_reply_can_check_it(store):
    with pytest.raises(JudgeError, match="--no-check"):
        judge_run(store, FakePicks())
    assert judge_run(store, FakePicks(), check=False).judged == 20
    with Store.open(store.directory) as again:
        verdicts = [record.verdict("picks") for record in again.records()]
    assert sum(v.strict for v in verdicts) == 10
    assert all(v.answer("apologises") for v in verdicts)
    assert judge_run(store, FakePicks()).kept == 20  # nothing left to judge, nothing to check


def test_a_judge_that_fails_on_some_replies_is_assessed_on_the_others(store, tmp_path):
    class FakeFailing(FakePicks):
        def judge(self, cases):
            for index, verdict in super().judge(cases):
                failed = attrs.evolve(verdict, answers={}, unscored="HTTP 500")
                yield index, failed if "(4)" in cases[index].reply else verdict

    label_by(store, tmp_path / "labels.jsonl", PICKS, lambda r: "yn" if r.startswith("Yes") else "nn")
    found = judge_accuracy(FakeFailing(), store, tmp_path / "labels.jsonl")
    assert {rate.judged.n for rate in found.rates} == {19}
