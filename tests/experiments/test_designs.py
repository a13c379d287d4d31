"""The experiments as planned on a real tokenizer: what is steered, what is balanced, and what each trial is about."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import Any

import attrs
import numpy as np
import pytest

import introspection_bench as ib
from introspection_bench.experiments import EXPERIMENTS, load_experiment, read_settings
from introspection_bench.experiments.localisation import sentences
from introspection_bench.sweep import Ground, Located, Offered, PlannedTrial, RunSpec, Unsteered, Worded
from introspection_bench.sweep.places import source_layers
from introspection_bench.sweep.planner import plan
from introspection_bench.vectors import ConceptVector, Provenance

WORDS = ("Oceans", "Bread", "Poetry")
CONCEPTS = ib.load_concepts("lindsey2026").select(*WORDS)


@pytest.fixture(scope="module")
def planned(smol_tokenizer):
    """What makes the plan of an experiment, on vectors of no meaning."""
    info = ib.ModelInfo("m", "f", 30, 8, "float32")
    rng = np.random.default_rng(0)
    made = Provenance("made", "m", "", "", 0, -1, 1.0, None)

    def of(design: ib.Design) -> list[PlannedTrial]:
        layers = set(source_layers(design, 30).values())
        vectors = {(w, n): ConceptVector(rng.standard_normal(8), w, n, made) for w in WORDS for n in layers}
        return plan(design, Ground(info, "torch", 1, smol_tokenizer, datetime.date(2026, 1, 2), vectors))

    return lambda name, trials=4, **changes: of(
        attrs.evolve(load_experiment(name).design(concepts=CONCEPTS, trials=trials), **changes)
    )


@pytest.fixture(scope="module")
def steered(smol_tokenizer):
    def text(trial: PlannedTrial, number: int = 0) -> str:
        """The steered tokens of the strongest steer, or of the next one."""
        where = sorted(trial.request.steers, key=lambda s: -s.injection.dose.magnitude)[number].positions
        return str(smol_tokenizer.decode(trial.request.prompt.token_ids[where.start : where.stop]))

    return text


def of(trials: list[PlannedTrial], arm: str, scaffold: str | None = None) -> list[PlannedTrial]:
    return [t for t in trials if t.condition.arm == arm and scaffold in (None, t.condition.scaffold)]


def place(trial: PlannedTrial) -> int:
    return int(str(trial.condition.span).removeprefix("between(s").partition(",")[0])


def sentence(trial: PlannedTrial, at: int) -> str:
    items = {item.name: item for item in (*sentences(4), *sentences(2))}
    return items[str(trial.trial.item)].slots[f"s{at}"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_a_run_that_is_written_and_read_again(name):
    spec = load_experiment(name).spec(settings=read_settings(["trials=2"]))
    assert RunSpec.from_plain(spec.plain(), name) == spec


@pytest.mark.parametrize("name", ["localisation", "strength"])
def test_the_vector_stands_on_the_tokens_of_the_sentence_whose_number_is_right(planned, steered, name):
    for trial in (t for t in planned(name) if t.condition.span):
        own, at = sentence(trial, place(trial)), steered(trial).strip()
        assert at == own  # no number, no line break, nothing of the next sentence


def test_each_sentence_is_the_right_one_equally_often_at_each_place_and_with_each_text(planned):
    trials = of(planned("localisation", trials=4 * 24, layers=[10]), "injected", "introspective")
    assert set(Counter(map(place, trials)).values()) == {24 * len(WORDS)}
    pairs = Counter((t.condition.concept, sentence(t, place(t)), place(t)) for t in trials)
    assert len(pairs) == len(WORDS) * 24 * 4
    assert set(pairs.values()) == {1}


def test_few_trials_have_all_places_too_and_no_sentence_of_their_own(planned):
    for trials in (planned("localisation", trials=4, layers=[10]), planned("strength", trials=4, layers=[10])):
        mine = [t for t in of(trials, "injected") if t.condition.scaffold in ("introspective", "strength")]
        for word in WORDS:
            about = [t for t in mine if t.condition.concept == word]
            assert len(set(map(place, about))) == (4 if len(trials) > 100 else 2)
            assert len({sentence(t, place(t)) for t in about}) == len(about)


def test_random_vectors_stand_where_the_injection_that_they_are_paired_with_stands(planned):
    trials = planned("localisation", layers=[10])
    places = {t.key.given_seed: (place(t), t.trial.item) for t in of(trials, "injected", "abstract")}
    random = of(trials, "random", "abstract")
    assert len(random) == len(places)
    assert all(places[t.key.given_seed] == (place(t), t.trial.item) for t in random)


def test_the_weaker_injection_is_the_same_vector_on_the_other_sentence_at_half_the_dose(planned, steered):
    for trial in of(planned("strength", layers=[10]), "injected"):
        strong, weak = sorted(trial.request.steers, key=lambda s: -s.injection.dose.magnitude)
        assert (strong.injection.dose.magnitude, weak.injection.dose.magnitude) == (0.4, 0.2)
        assert strong.injection.vector == weak.injection.vector
        assert steered(trial, 1).strip() == sentence(trial, 3 - place(trial))


def test_thoughts_are_on_the_sentence_alone_and_asked_for_in_a_list_with_the_concepts_word_at_every_place(
    planned, steered
):
    trials = planned("thoughts_and_text", trials=10, doses=["0.4 residual"])
    for trial in of(trials, "injected"):
        text = trial.request.prompt.text
        own = text.partition("Here is a sentence: ")[2].partition("\n")[0]
        assert own.startswith(steered(trial).strip())
        assert len(own) - len(steered(trial).strip()) <= 1  # a full stop that is one token with the line break
    lists = [t.request.prompt.text.partition("read it: ")[2].partition("?")[0] for t in of(trials, "injected", "think")]
    about = [t.condition.concept.lower() for t in of(trials, "injected", "think")]
    places = Counter((word, words.split(", ").index(word)) for words, word in zip(lists, about, strict=True))
    assert set(places.values()) == {1}
    assert len(places) == 30
    assert all(len(set(words.split(", "))) == 10 for words in lists)


def test_all_arms_are_offered_the_same_lists_and_the_repetition_none(planned):
    trials = planned("thoughts_and_text", doses=["0.4 residual"])
    told = {
        (arm, scaffold): [(t.condition.asked, t.trial.item, t.key.given_seed) for t in of(trials, arm, scaffold)]
        for arm in ("injected", "random", "control")
        for scaffold in ("think", "repeat")
    }
    for scaffold in ("think", "repeat"):
        assert told["injected", scaffold] == told["random", scaffold] == told["control", scaffold]
    assert [s for _, _, s in told["injected", "think"]] == [s for _, _, s in told["injected", "repeat"]]
    assert not any("list" in str(item) for _, item, _ in told["injected", "repeat"])


def test_the_word_that_is_put_in_is_not_steered_and_what_is_before_it_is(planned, steered, smol_tokenizer):
    trials = planned("unintended_outputs", doses=["0.4 residual"])
    for arm in ("injected", "other_concept"):
        for trial in of(trials, arm):
            word = trial.condition.asked.lower()
            positions, ids = trial.request.steers[0].positions, trial.request.prompt.token_ids
            assert positions.start == 0
            assert steered(trial).endswith("assistant\n")
            assert smol_tokenizer.decode(ids[positions.stop :]).startswith(word)
    for trial in of(trials, "injected@after"):
        assert steered(trial).startswith("Did you mean")
        assert trial.request.steers[0].positions.stop is None


def test_another_concept_is_injected_before_the_word_and_the_judge_is_asked_about_the_word(planned):
    trials = of(planned("unintended_outputs", doses=["0.4 residual"]), "other_concept")
    assert all(t.request.steers[0].injection.vector.concept != t.condition.asked for t in trials)
    assert {t.condition.concept for t in trials} == {None}
    assert {t.condition.asked for t in trials} == set(WORDS)


def test_what_is_forced_is_steered_from_the_templates_own_newline_on_and_numbers_are_the_same_in_all_arms(
    planned, steered
):
    trials = planned("forced_identification", doses=["0.4 residual"])
    assert all(steered(t).startswith("\nTrial ") for t in of(trials, "injected"))
    assert all(t.request.prompt.text.endswith("The thought is about") for t in trials)
    numbers = [Counter(t.trial.item for t in of(trials, arm)) for arm in ("injected", "random", "control")]
    assert numbers[0] == numbers[1] == numbers[2]


def test_intentional_control_steers_nothing_and_both_sides_of_a_pair_differ_in_what_is_told_alone(planned):
    trials = planned("intentional_control")
    assert not any(t.request.steers for t in trials)
    texts = {t.condition.scaffold: t.request.prompt.text for t in trials if t.condition.asked == "Bread"}
    assert sum("bread" in text for text in texts.values()) == len(texts) == 16
    for name, text in texts.items():
        pair, _, side = name.rpartition(":")
        other = texts[f"{pair}:{'away' if side == 'towards' else 'towards'}"]
        assert text != other
        assert text.count("bread") == other.count("bread") == 1


def test_what_is_removed_reaches_no_token_of_the_question(planned, steered):
    trials = of(planned("steer_remove_ask"), "removed")
    assert {t.condition.scaffold for t in trials} == {"no_document", "introspection", "filler", "poetic"}
    for trial in trials:
        assert len(trial.request.steers) == 9
        assert all(s.positions.start == 0 for s in trial.request.steers)
        assert steered(trial).endswith("<|im_start|>user\n")
        assert "Trial 1" not in steered(trial)


def test_open_questions_are_steered_at_every_token_and_detection_prompts_from_the_trial_on(planned, steered):
    for trial in of(planned("injected_thoughts", trials=1), "injected"):
        start = trial.request.steers[0].positions.start
        from_trial = trial.condition.scaffold in ("lindsey", "structured")
        assert steered(trial).startswith("\n\nTrial 1") if from_trial else start == 0


def test_settings_are_read_as_toml_and_odd_ones_are_refused():
    settings = read_settings(['layers=[10, "2/3"]', "doses='0.4 residual'", "trials=3"])
    assert [list(map(str, band)) for band in settings.layers] == [["10"], ["depth 2/3"]]
    assert (list(map(str, settings.doses)), settings.trials) == (["0.4 residual"], 3)
    for wrong in (["trials"], ["trials=0"], ["trials=x"], ["places=3"], ["trials=1", "trials=2"], ["doses=3"]):
        with pytest.raises(ib.IntrospectionBenchError):
            read_settings(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Located(2, places=1),
        lambda: Located(2, weaker=1.0),
        lambda: Located(2, weaker=float("nan")),
        lambda: Offered(2, size=1),
        lambda: Offered(0),
        lambda: Worded(2, what="nobody"),
    ],
)
def test_arms_of_experiments_refuse_what_can_not_be_run(make: Any):
    with pytest.raises(ib.IntrospectionBenchError):
        make()


def test_a_slot_that_only_some_arms_fill_is_refused_by_the_designs_name_for_it():
    design = load_experiment("unintended_outputs").design(concepts=CONCEPTS)
    with pytest.raises(ib.IntrospectionBenchError, match="that its arms don't fill"):
        attrs.evolve(design, arms=[Worded(2), Unsteered(2)])
