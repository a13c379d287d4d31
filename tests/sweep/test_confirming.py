"""One part of a run chooses a cell, the other confirms it, and the two are never mixed."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from conftest import CONCEPTS
from fake_judge import FakePicky

import introspection_bench as ib
from introspection_bench.analysis import by_concept, counts, excludes, rates
from introspection_bench.errors import AnalysisError, SpecError, StoreError, StoreMismatchError
from introspection_bench.interop import write_jsonl, write_parquet
from introspection_bench.measures import TokenLogprobs
from introspection_bench.sweep import (
    Confirmation,
    Confirmed,
    Design,
    Injected,
    RandomVector,
    RunSpec,
    SelectionRule,
    Store,
    Sweep,
    Unsteered,
    choose,
    measure_run,
    run_spec,
)
from introspection_bench.verdicts import Verdict
from tests.odd_values import make_records

RULE = SelectionRule(outcome="affirmative", judge="picky")
OTHERS = ib.ConceptSet("others", [ib.Concept("Rain", word="Rain"), ib.Concept("Iron", word="Iron")])


@pytest.fixture(scope="module")
def small() -> Design:
    return Design(
        concepts=CONCEPTS,
        layers=[1],
        doses=["0.5 residual", "1 residual", "2 residual"],
        arms=[Unsteered(2), Injected(2), RandomVector(1)],
        sampling=ib.Sampling(max_new_tokens=2),
    )


@pytest.fixture(scope="module")
def whole(small, injector, tmp_path_factory) -> ib.Results:
    """A run of two trials each that select and two each that confirm, without an interruption."""
    return Sweep(Confirmed(small, Confirmation(RULE, 2)), injector, tmp_path_factory.mktemp("whole")).run(FakePicky())


class FakeKillError(Exception):
    pass


def cell_of(record: ib.TrialRecord) -> tuple[Any, ...]:
    return record.condition.layers, record.condition.dose


def test_a_run_selects_first_and_confirms_the_chosen_cell_with_fresh_trials_of_every_arm(small, injector, tmp_path):
    trials = {"injected": 5, "control": 6}
    results = Sweep(Confirmed(small, Confirmation(RULE, trials)), injector, tmp_path).run(FakePicky())
    parts = {part: [r for r in results if r.trial.part == part] for part in ("selection", "confirmation")}
    assert [len(rs) for rs in parts.values()] == [2 + 3 * (2 * 2 + 1), 6 + 5 * 2 + 1]
    assert len({r.key for r in results}) == len(results)
    assert len({r.seed for r in results}) == len(results)
    injected = [r for r in parts["selection"] if r.arm == "injected"]
    met = Counter(cell_of(r) for r in injected if r.verdicts[0].answer("affirmative"))
    with Store.open(tmp_path) as store:
        chosen, spec = store.chosen(), store.run_spec()
    assert spec.confirm == Confirmation(RULE, trials)
    assert [(c.layers, c.dose) for c in chosen.candidates] == list(dict.fromkeys(map(cell_of, injected)))
    assert [(c.met, c.trials) for c in chosen.candidates] == [(met[c.layers, c.dose], 4) for c in chosen.candidates]
    assert chosen.cell.met == max(met.values())
    cells = {cell_of(r) for r in parts["confirmation"] if r.arm != "control"}
    assert cells == {(chosen.cell.layers, chosen.cell.dose)}
    # A further draw of the same trial, as what its condition and item count on.
    draws = sorted(r.trial.draw for r in results if cell_of(r) in cells and r.concept == "Bread")
    assert draws == list(range(2 + 5))


def test_a_frame_has_the_confirming_trials_and_whatever_pools_refuses_both_parts(whole, tmp_path):
    results = whole
    frame = results.frame()
    assert set(frame["part"]) == {"confirmation"}
    assert set(results.frame(part="selection")["part"]) == {"selection"}
    both = results.frame(part="all")
    assert len(both) == len(results) == len(frame) + len(results.frame(part="selection"))
    for pooling in (rates, counts, lambda f: by_concept(f, "strict"), excludes, lambda f: rates(f, ["arm", "part"])):
        with pytest.raises(AnalysisError, match=r"got both.*Results\.frame\(\) has those that confirm"):
            pooling(both)
        pooling(frame)
    write_jsonl(results, tmp_path / "a.jsonl")
    write_parquet(results, tmp_path / "a.parquet")
    for name in (tmp_path / "a.jsonl", tmp_path / "a.parquet", whole.source):
        again = ib.read_results(name)
        assert again.records == results.records
        assert again.spec["chosen"] == results.spec["chosen"]
    page = ib.write_report(results, tmp_path / "r.html").read_text()
    assert f"{len(frame)} trials" in page
    assert f"{len(both)} trials" not in page


def test_a_run_without_a_confirmation_has_no_parts(design, injector, tmp_path):
    results = Sweep(attrs.evolve(design, arms=[Unsteered(1)]), injector, tmp_path).generate()
    assert [r.trial.part for r in results] == [None]
    assert results.of_part() is results
    assert results.frame()["part"].isna().all()


def test_a_finished_run_is_confirmed_by_one_call_and_becomes_the_same_run_as_one_planned_so(
    small, injector, whole, tmp_path
):
    sweep = Sweep(small, injector, tmp_path / "later")
    with pytest.raises(StoreError, match="Run the sweep first"):
        sweep.confirm(RULE)
    sweep.generate()
    with pytest.raises(SpecError, match="17 generated, 0 judged"):
        sweep.confirm(RULE)
    sweep.judge(FakePicky())
    going_on = sweep.confirm(RULE, trials=2)
    with Store.open(tmp_path / "later") as store:
        assert Counter(t.part for t in store.planned().values()) == {"selection": 17, "confirmation": 8}
        assert store.chosen().index is not None
    later = going_on.run(FakePicky())
    assert [(r.trial, r.reply) for r in later] == [(r.trial, r.reply) for r in whole]
    assert {n: later.spec[n] for n in ("confirm", "chosen")} == {n: whole.spec[n] for n in ("confirm", "chosen")}
    with pytest.raises(StoreMismatchError, match="confirmation"):
        sweep.confirm(attrs.evolve(RULE, outcome="strict"), trials=2)
    assert len(Sweep(small, injector, tmp_path / "later").generate()) == 25  # by its design alone it is finished


@pytest.mark.parametrize("fresh", ["concepts", "both"])
def test_fresh_concepts_are_those_that_the_selecting_part_never_saw(small, injector, tmp_path, fresh):
    confirmed = Confirmed(small, Confirmation(RULE, 1, fresh, OTHERS))
    results = Sweep(confirmed, injector, tmp_path / "run").run(FakePicky())
    told = {part: {r.concept for r in results.of_part(part)} - {None} for part in ("selection", "confirmation")}
    assert told["selection"] == {"Oceans", "Bread"}
    assert told["confirmation"] == {"Rain", "Iron"} | (told["selection"] if fresh == "both" else set())
    assert {r.condition.asked for r in results.of_part("selection")} <= told["selection"]
    again = Sweep(confirmed, injector, tmp_path / "run").run(FakePicky())
    assert again.records == results.records
    sweep = Sweep(small, injector, tmp_path / "later")
    sweep.run(FakePicky())
    later = sweep.confirm(RULE, trials=1, fresh=fresh, concepts=OTHERS).run(FakePicky())
    assert [r.trial for r in later] == [r.trial for r in results]


@pytest.mark.parametrize("at", [16, 19])
def test_a_run_that_is_killed_goes_on_to_the_same_choice_and_the_same_confirmation(
    small, injector, whole, tmp_path, at
):
    confirmed = Confirmed(small, Confirmation(RULE, 2))
    left = iter(range(100))

    def killed(_: object) -> None:
        if next(left) == at:
            raise FakeKillError

    with pytest.raises(FakeKillError):
        Sweep(confirmed, injector, tmp_path / "cut").run(FakePicky(), on_trial=killed)
    again = Sweep(confirmed, injector, tmp_path / "cut").run(FakePicky())
    assert [(r.trial, r.reply) for r in again] == [(r.trial, r.reply) for r in whole]
    assert again.spec["chosen"] == whole.spec["chosen"]


def test_a_choice_that_was_kept_is_not_made_again_whatever_verdicts_say_later(small, injector, tmp_path):
    confirmed = Confirmed(small, Confirmation(RULE, 2))
    sweep = Sweep(confirmed, injector, tmp_path)
    sweep.generate()
    sweep.judge(FakePicky())
    assert sweep.go_on()
    first = Store.open(tmp_path).chosen()

    class FakeTurncoat(Confirmed):
        def choose(self, done: Sequence[ib.TrialRecord]) -> Any:
            return attrs.evolve(first, index=(first.index + 1) % 3)

    again = Sweep(FakeTurncoat(small, confirmation=Confirmation(RULE, 2)), injector, tmp_path)
    assert Counter(t.trial.part for t in again.planned) == {"selection": 17, "confirmation": 8}
    assert Store.open(tmp_path).chosen() == first


def test_paired_draws_share_no_random_numbers_between_the_parts(small, injector, tmp_path):
    paired = attrs.evolve(small, paired="draw", arms=[Unsteered(2), Injected(2)])
    results = Sweep(Confirmed(paired, Confirmation(RULE)), injector, tmp_path).run(FakePicky())
    seeds = [{r.seed for r in results.of_part(part)} for part in ("selection", "confirmation")]
    assert all(seeds)
    assert not seeds[0] & seeds[1]


def test_a_measure_reads_both_parts(whole, injector, tmp_path):
    shutil.copytree(whole.source, tmp_path / "run")
    with Store.open(tmp_path / "run") as store:
        assert measure_run(store, TokenLogprobs({"a": ("a",)}), injector).measured == len(whole)


def test_a_file_states_the_confirmation_and_the_run_of_it_alternates(tiny_folder, tmp_path):
    (tmp_path / "s.toml").write_text(
        f"""
directory = "run"
[model]
name = "{tiny_folder}"
options.torch.device = "cpu"
[design]
layers = [1]
doses = ["0.5 residual", "2 residual"]
arms.injected.n = 2
arms.unsteered.n = 2
sampling.max_new_tokens = 4
[design.concepts]
set = "lindsey2026"
names = ["Oceans", "Bread"]
[confirm]
trials = {{ injected = 3 }}
fresh = "concepts"
concepts = {{ set = "lindsey2026", names = ["Dust"] }}
[confirm.rule]
chooses = ["dose"]
ties = ["more coherent", "lower dose"]
"""
    )
    spec = RunSpec.from_toml(tmp_path / "s.toml")
    assert spec.confirm.trials == {"injected": 3}
    assert RunSpec.from_plain(spec.plain(), "again") == spec
    unjudged = run_spec(spec, judge=False)
    assert {r.trial.part for r in unjudged} == {"selection"}
    results = run_spec(spec)
    assert Counter(r.trial.part for r in results) == {"selection": 2 + 2 * 2 * 2, "confirmation": 2 + 3}
    assert all(r.verdicts for r in results)
    (dose,) = {str(r.condition.dose) for r in results.of_part() if r.arm == "injected"}
    assert dose == "0.5 residual"  # nothing was ever met, so that the tie went to the lower dose
    assert "tied" in results.spec["chosen"]
    with pytest.raises(SpecError, match="required 'picky'"):
        run_spec(attrs.evolve(spec, confirm=attrs.evolve(spec.confirm, rule=RULE)), directory=tmp_path / "other")
    with pytest.raises(SpecError, match=r"confirm.*trials"):
        RunSpec.from_toml(tmp_path / "s.toml", ["confirm.trials=2.5"])


def verdict(answers: dict[str, bool] | None) -> Verdict:
    told = {} if answers is None else dict.fromkeys(("affirmative", "identifies", "immediate"), False) | answers
    return Verdict("rules", "strict4", "d", "love", told, unscored=None if answers is not None else "cut off")


def records(cells: dict[float, list[dict[str, bool] | None]]) -> list[ib.TrialRecord]:
    base = make_records()[1]
    return [
        attrs.evolve(
            base,
            trial=attrs.evolve(base.trial, condition=attrs.evolve(base.condition, dose=ib.Dose(dose, "residual"))),
            verdicts=[verdict(a)],
        )
        for dose, answers in cells.items()
        for a in answers
    ]


YES, NO = {"affirmative": True, "coherent": True}, {"affirmative": False, "coherent": True}
GARBLED = {"affirmative": True, "coherent": False}


@pytest.mark.parametrize(
    ("rule", "cells", "dose", "tied"),
    [
        ({}, {1: [NO, NO], 2: [YES, NO], 4: [NO, NO]}, 2, 1),
        ({"coherent": 0.5}, {1: [NO, NO], 2: [YES, NO], 4: [GARBLED, GARBLED]}, 2, 1),
        ({"coherent": 0.6}, {1: [GARBLED, YES], 2: [GARBLED, GARBLED]}, None, 0),
        ({}, {1: [None, YES], 2: [YES, YES], 4: [None, None]}, 2, 1),
        ({}, {4: [GARBLED, NO], 2: [YES, NO], 1: [YES, NO]}, 2, 3),
        ({"ties": ["more coherent", "lower dose"]}, {4: [GARBLED, NO], 2: [YES, NO], 1: [YES, NO]}, 1, 3),
        ({"ties": []}, {4: [GARBLED, NO], 2: [YES, NO], 1: [YES, NO]}, 4, 3),
    ],
)
def test_a_rule_chooses_the_highest_rate_above_its_floor_and_settles_ties_as_it_says(rule, cells, dose, tied):
    chosen = choose(SelectionRule(["dose"], "affirmative", **rule), records(cells))
    assert (None if chosen.cell is None else chosen.cell.dose.magnitude, chosen.tied) == (dose, tied)


def test_where_no_cell_has_enough_coherent_replies_nothing_is_confirmed_and_the_run_ends(small, injector, tmp_path):
    rule = attrs.evolve(RULE, coherent=0.1)
    results = Sweep(Confirmed(small, Confirmation(rule, 2)), injector, tmp_path).run(FakePicky(coherent=False))
    assert {r.trial.part for r in results} == {"selection"}
    assert results.spec["chosen"]["index"] is None


def test_a_rule_refuses_trials_without_its_verdicts_and_outcomes_that_nobody_was_asked():
    with pytest.raises(SpecError, match="1 of 1 without"):
        choose(SelectionRule(["dose"], judge="claude"), records({1: [YES]}))
    with pytest.raises(SpecError, match="surprised"):
        choose(SelectionRule(["dose"], "surprised"), records({1: [YES]}))
    with pytest.raises(SpecError, match="arm"):
        choose(SelectionRule(["dose"], arm="random"), records({1: [YES]}))


@pytest.mark.parametrize(
    ("confirmation", "problem"),
    [
        ({"rule": {"arm": "negated"}}, "arms of the design"),
        ({"trials": {"negated": 3}}, "arms of the design"),
        ({"rule": {"chooses": ["scaffold"]}}, "has several"),
        ({"rule": {"arm": "control", "chooses": ["dose"]}}, "has several"),
        ({"fresh": "both", "concepts": CONCEPTS}, "doesn't have"),
        ({"fresh": "both"}, "fresh concepts for"),
        ({"concepts": OTHERS}, "none for 'seeds'"),
        ({"trials": 0}, ">= 1"),
        ({"rule": {"coherent": 1.5}}, "0 to 1"),
        ({"rule": {"chooses": []}}, "something to choose"),
    ],
)
def test_a_confirmation_that_could_confirm_nothing_is_an_error_that_says_why(small, confirmation, problem):
    told = dict(confirmation)
    with pytest.raises(SpecError, match=problem):
        Confirmed(small, Confirmation(SelectionRule(**told.pop("rule", {})), **told))


def test_a_run_by_another_judge_than_the_rule_s_is_an_error_and_never_an_endless_loop(small, injector, tmp_path):
    with pytest.raises(SpecError, match="'picky'"):
        Sweep(Confirmed(small, Confirmation(RULE)), injector, tmp_path).run("rules")
