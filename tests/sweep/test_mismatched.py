"""A second verdict on the same trial, asked about another concept of the run."""

from __future__ import annotations

import attrs
import pytest

import introspection_bench as ib
from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.errors import AnalysisError, ConceptError
from introspection_bench.records import from_json, to_json
from introspection_bench.report.page.judged import choose_judge, verdict_frame
from introspection_bench.sweep import Injected, Sweep, Unsteered, judge_run
from introspection_bench.sweep.judging import case_maker

NAMES = ("Oceans", "Bread", "Trumpets")


@pytest.fixture(scope="module")
def sweep(design, injector, tmp_path_factory):
    concepts = ConceptSet("three", [Concept(n, word=n) for n in NAMES], baseline=["Desks", "Clouds"])
    arms, sampling = [Unsteered(6), Injected(4)], ib.Sampling(max_new_tokens=2)
    small = attrs.evolve(design, concepts=concepts, doses=["0.5 residual"], arms=arms, sampling=sampling)
    made = Sweep(small, injector, tmp_path_factory.mktemp("mismatched") / "run")
    made.generate()
    made.judge("rules")
    made.judge("rules", asked="mismatched")
    return made


def test_every_trial_gets_a_second_verdict_on_a_concept_that_is_not_its_own(sweep):
    own, other = sweep.results().frame("rules"), sweep.results().frame("rules", asked="mismatched")
    assert (own["judged_concept"] == own["asked"]).all()
    assert (other["judged_concept"] != own["asked"]).all()
    assert other["unscored"].isna().all()
    assert set(other["judged_concept"]) == set(NAMES)


def test_the_two_have_different_keys_and_judging_either_again_judges_nothing(sweep):
    for record in sweep.results():
        assert [v.asked for v in record.verdicts] == ["own", "mismatched"]
        assert len({v.key(record.key.digest) for v in record.verdicts}) == 2
    assert sweep.judge("rules").judged == 0
    assert sweep.judge("rules", asked="mismatched").judged == 0


def test_without_being_asked_for_it_no_table_counts_the_second_verdict(sweep):
    results = sweep.results()
    own, other = results.judges
    assert (own.asked, other.asked) == ("own", "mismatched")
    assert choose_judge(results) == own
    assert verdict_frame(results.records, own)["judged_concept"].equals(results.frame()["judged_concept"])
    assert str(other).endswith("asked about another concept")


def test_the_second_verdict_outlives_an_export(sweep):
    record = sweep.results().records[0]
    assert from_json(to_json(record), "here") == record


def test_which_concept_it_is_depends_on_the_trial_alone(sweep):
    with sweep.open_store() as store:
        first, again = case_maker(store, asked="mismatched"), case_maker(store, asked="mismatched")
        assert [first(r).concept for r in store.records()] == [again(r).concept for r in store.records()]


def test_a_run_on_one_concept_has_no_other_to_ask_about_and_says_so(design, injector, tmp_path):
    one = ConceptSet("one", [Concept("Oceans", word="Oceans")], baseline=["Desks", "Clouds"])
    made = Sweep(attrs.evolve(design, concepts=one, arms=[Unsteered(1)]), injector, tmp_path / "run")
    made.generate()
    with made.open_store() as store, pytest.raises(ConceptError, match="another concept"):
        judge_run(store, "rules", check=False, asked="mismatched")
    made.judge("rules")
    with pytest.raises(AnalysisError, match="--asked mismatched"):
        made.results().frame(asked="mismatched")
