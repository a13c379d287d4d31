"""Log-odds at the answer read off a run, beside log-probabilities by hand."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

import introspection_bench as ib
from introspection_bench import analysis
from introspection_bench.errors import SpecError
from introspection_bench.labelled import Labels
from introspection_bench.measures import Lens, Opening, Read, Replayed, YesNo
from introspection_bench.measures.openings import masses_through, passes_through, ways_through
from introspection_bench.measures.yes_no import variants
from introspection_bench.spans import Positions
from introspection_bench.sweep import Injected, NeutralLabels, Questions, Sweep, Unsteered
from introspection_bench.testing import tiny_tokenizer

WORDS = {"yes": ("a",), "no": ("b",), "openings": ("c",)}  # the tiny tokenizer has letters


@pytest.fixture(scope="module")
def measured(design, injector, tmp_path_factory):
    arms = [Unsteered(2), Injected(1), Questions(2), Questions(2, steered=False), NeutralLabels(2)]
    small = attrs.evolve(design, arms=arms, doses=["2 residual"], sampling=ib.Sampling(max_new_tokens=2))
    sweep = Sweep(small, injector, tmp_path_factory.mktemp("yes_no") / "run")
    sweep.generate()
    summary = sweep.measure(YesNo(**WORDS))
    return sweep, summary


def test_the_numbers_are_those_of_the_models_own_distribution_at_the_answer_steered_as_the_trial(measured, injector):
    sweep, _ = measured
    record = next(r for r in sweep.results() if r.arm == "injected")
    (request,) = [t.request for t in sweep.planned if t.key == record.key]
    n = len(request.prompt.token_ids)
    read = Read("distribution", Positions(n - 1, n, n))
    (done,) = injector.generate([attrs.evolve(request, forced=(), reads=(read,))])
    logprobs = done.readings[0][0].astype(np.float64)

    def mass(word):
        ids = {tuple(injector.tokenizer(t, add_special_tokens=False)["input_ids"]) for t in variants(word)}
        return np.logaddexp.reduce([logprobs[i[0]] for i in ids if len(i) == 1])

    (reading,) = record.readings
    assert reading.at(of="log_odds") == pytest.approx(mass("a") - mass("b"), abs=1e-4)
    assert reading.at(of="joint") == pytest.approx(np.logaddexp(mass("a"), mass("b")), abs=1e-4)
    assert reading.at(of="opening") == pytest.approx(mass("c"), abs=1e-4)
    assert reading.at(of="entropy") == pytest.approx(-(np.exp(logprobs) * logprobs).sum(), abs=1e-3)


def test_a_run_with_batteries_tells_each_trials_difference_and_the_difference_in_differences(measured):
    frame = analysis.log_odds_frame(measured[0].results())
    assert frame[frame["arm"].isin(["injected", "no_questions"])]["change"].notna().all()
    assert frame[frame["arm"] == "control"]["change"].abs().max() < 1e-4
    table = analysis.log_odds_contrast(frame)
    assert sorted(table["concept"]) == ["Bread", "Oceans"]
    assert table["did"].notna().all()


def test_texts_that_are_no_single_token_are_dropped_and_named(measured, injector):
    (note,) = measured[1].notes
    assert "yes counts 'a', 'A'" in note
    assert "dropped, being no single token of this model: ' A', ' b', ' B'" in note
    assert YesNo(**WORDS).sets(injector.tokenizer)["no"] == ("b", "B")


def test_what_counts_stands_in_each_reading_of_the_stored_run(measured):
    sweep, summary = measured
    notes = {(record.arm, r.notes) for record in sweep.results() for r in record.readings if r.measure == "yes_no"}
    # Two words that a question tells count as they are.
    assert notes == {(a.name, () if a.name == "neutral_labels" else summary.notes) for a in sweep.design.arms}


def test_draws_of_one_prompt_under_the_same_steers_are_read_in_one_pass(measured, injector, monkeypatch):
    sweep, _ = measured
    ran = []
    own = injector._generate
    monkeypatch.setattr(injector, "_generate", lambda requests: own(ran.append(requests) or requests))
    summary = sweep.measure(YesNo(yes=("a",), no=("b",), openings=(), unsteered=False))
    (requests,) = ran
    alike = {(t.request.prompt.token_ids, tuple(s.key for s in t.request.steers)) for t in sweep.planned}
    assert len(requests) == len(alike) < summary.measured == len(sweep.planned)
    told = {}
    for record in sweep.results():
        reading = record.readings[-1]
        steers = tuple((s.vector, s.magnitude) for s in record.key.steers)
        told.setdefault((record.key.prompt, steers), set()).add(reading.values.tobytes())
    assert all(len(values) == 1 for values in told.values())
    assert len(set.union(*told.values())) > 1


def test_the_same_prompt_unsteered_is_in_the_reading_and_is_what_the_controls_say(measured):
    sweep, _ = measured
    frame = sweep.results().frame()
    frame = frame[frame["arm"].isin(["control", "injected"])]
    odds = [c for c in frame.columns if c.startswith("yes_no") and c.endswith("].unsteered_log_odds")][:1]
    (column,) = odds or ["yes_no.unsteered_log_odds"]
    own = frame[frame["arm"] == "control"][column.replace("unsteered_", "")]
    np.testing.assert_allclose(frame[column], own.iloc[0], atol=1e-4)


def test_a_run_without_controls_has_a_difference_from_the_prompt_unsteered_too(design, injector, tmp_path):
    small = attrs.evolve(design, arms=[Injected(1)], doses=["2 residual"], sampling=ib.Sampling(max_new_tokens=2))
    sweep = Sweep(small, injector, tmp_path / "run")
    sweep.generate()
    sweep.measure(YesNo(**WORDS))
    frame = analysis.log_odds_frame(sweep.results())
    assert (frame["n_unsteered"] == 0).all()
    assert (frame["change"].abs() > 1e-3).all()
    (request, *_) = [t.request for t in sweep.planned]
    n = len(request.prompt.token_ids)
    read = Read("distribution", Positions(n - 1, n, n))
    (done,) = injector.generate([attrs.evolve(request, steers=(), forced=(), reads=(read,))])
    ids = {w: [injector.tokenizer(t, add_special_tokens=False)["input_ids"] for t in variants(w)] for w in "ab"}
    a, b = (np.logaddexp.reduce([done.readings[0][0][i[0]] for i in ids[w] if len(i) == 1]) for w in "ab")
    np.testing.assert_allclose(frame["unsteered"], a - b, atol=1e-4)


#: Behind two tokens; behind "ef" only a yes counts, and "xyz" is three tokens.
WAYS = (Opening("cd", yes=("a", "xyz"), no=("b",)), Opening("ef", yes=("a",)))


def test_a_way_through_an_opening_counts_with_the_probability_of_all_of_its_tokens(measured, injector):
    sweep, _ = measured
    record = next(r for r in sweep.results() if r.arm == "injected")
    (request,) = [t.request for t in sweep.planned if t.key == record.key]
    n = len(request.prompt.token_ids)
    ways, left_out = ways_through(WAYS, injector.tokenizer)
    assert left_out == ["cdxyz"]

    def said(opening, answer):
        path = [injector.tokenizer(c, add_special_tokens=False)["input_ids"][0] for c in (*opening, answer)]
        read = Read("distribution", Positions(n - 1, n - 1 + len(path), n))
        (done,) = injector.generate([attrs.evolve(request, forced=path, reads=(read,))])
        return sum(float(done.readings[0][k][t]) for k, t in enumerate(path))

    passes = list(passes_through(ways, n))
    asked = [attrs.evolve(request, forced=one.forced, reads=one.reads) for one in passes]
    found = {done.index: done.readings for done in injector.generate(asked)}
    # By themselves: beside the first token's mass, that of ways which a random model would hardly take is lost.
    yes, no = masses_through(passes, [found[0], found[1]])
    assert yes == pytest.approx(np.logaddexp(said("cd", "a"), said("ef", "a")), abs=1e-3)
    assert no == pytest.approx(said("cd", "b"), abs=1e-3)


def test_ways_are_added_to_the_first_token_steered_and_unsteered_apart():
    measure = YesNo(yes=("a",), no=("b",), openings=(), through=WAYS)
    trial = Replayed(ib.RenderedPrompt((1, 2, 3), "x "), (), tiny_tokenizer(), 4)
    passes = measure.passes(trial)
    assert [(p.steered, p.name) for p in passes] == [(s, w) for s in (True, False) for w in ("", "yes no", "yes")]
    logs = {name: np.log(np.array(p, np.float32)) for name, p in PLANTED.items()}
    steered = [[logs["first"], logs["all"]], [logs["behind cd"], logs["cd"]], [logs["behind ef"], logs["ef"]]]
    clean = [[logs["clean first"]], [logs["behind cd"], logs["cd"] - np.float32(1)], [logs["behind ef"], logs["ef"]]]
    axes, values = measure.reading(passes, [*steered, *clean])
    told = dict(zip(axes["of"], np.exp(values.astype(np.float64)), strict=True))
    yes, no = 0.1 + 0.5 * 0.4 * 0.25 + 0.2 * 0.5 * 0.6, 0.2 + 0.5 * 0.4 * 0.5
    assert (told["log_odds"], told["joint"]) == pytest.approx((0.1 / 0.2, 0.3), rel=1e-5)
    assert (told["through_log_odds"], told["through_joint"]) == pytest.approx((yes / no, yes + no), rel=1e-5)
    yes, no = 0.3 + 0.5 * 0.4 * 0.25 / np.e**2 + 0.2 * 0.5 * 0.6, 0.1 + 0.5 * 0.4 * 0.5 / np.e**2
    assert (told["unsteered_log_odds"], told["unsteered_joint"]) == pytest.approx((3.0, 0.4), rel=1e-5)
    assert told["unsteered_through_log_odds"] == pytest.approx(yes / no, rel=1e-5)
    assert told["unsteered_through_joint"] == pytest.approx(yes + no, rel=1e-5)


#: Probabilities as reads bring them, in a row the joint one last; of an opening those of its two tokens.
PLANTED = {
    "first": [[0.1, 0.2, 0.3]],
    "clean first": [[0.3, 0.1, 0.4]],
    "all": [[0.5, 0.25, 0.25]],
    "cd": [0.5, 0.4],
    "behind cd": [[0.25, 0.5, 0.75]],
    "ef": [0.2, 0.5],
    "behind ef": [[0.6, 0.6]],
}


@pytest.mark.parametrize(
    "through",
    [
        pytest.param([Opening("a", yes=("b",))], id="an answer already begins it"),
        pytest.param([Opening("c", yes=("d",)), Opening("cd", no=("a",))], id="one begins with another's answer"),
        pytest.param([Opening("c", yes=("d",)), Opening("c", no=("d",))], id="a yes and a no at once"),
    ],
)
def test_a_reply_that_would_be_counted_twice_is_refused(measured, through):
    with pytest.raises(SpecError, match="count"):
        measured[0].measure(YesNo(**WORDS, through=through))


def test_openings_need_the_answer_to_be_at_the_reply():
    with pytest.raises(SpecError, match="through"):
        YesNo(at="trial", through=WAYS)


def test_a_model_without_any_of_the_words_as_one_token_is_an_error_before_anything_runs(injector):
    with pytest.raises(SpecError, match=r"YesNo\.yes"):
        YesNo(yes=("certainly not one token",), no=("b",)).sets(injector.tokenizer)


def test_where_a_question_tells_two_words_those_count_and_swapping_them_turns_the_sign(injector):
    tokenizer, labels = injector.tokenizer, Labels("Kappa", "Sigma")

    def sets(told):
        prompt = ib.RenderedPrompt((1, 2, 3), told.sentence(yes_first=True), {})
        ((read, _),) = [p.reads for p in YesNo(unsteered=False).passes(Replayed(prompt, (), tokenizer, 4))]
        return read.sets

    assert sets(labels) == sets(labels.swapped)[::-1]
    assert sets(labels)[0] != YesNo(**WORDS).sets(tokenizer)


def test_by_layer_the_last_layers_lens_has_the_same_log_odds(measured, injector):
    sweep, _ = measured
    words = {name: texts for name, texts in YesNo(**WORDS).sets(injector.tokenizer).items() if name != "opening"}
    sweep.measure(Lens(words))
    record = next(r for r in sweep.results() if r.arm == "injected")
    by_name = {r.measure: r for r in record.readings}
    last = max(by_name["lens"].axes["layer"])
    found = by_name["lens"].at(layer=last, set="yes") - by_name["lens"].at(layer=last, set="no")
    assert found[0] == pytest.approx(by_name["yes_no"].at(of="log_odds"), abs=1e-4)
