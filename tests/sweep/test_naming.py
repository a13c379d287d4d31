"""Likelihoods of concepts' words read off a run: under the trial's steers, and by a reader of the text who has none."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

import introspection_bench as ib
from introspection_bench import analysis
from introspection_bench.errors import SpecError
from introspection_bench.measures import ConceptLens, Cosines, Naming, Observer, Pass, Read, Replayed
from introspection_bench.measures.observer import before_claim
from introspection_bench.spans import Positions
from introspection_bench.sweep import Injected, Sweep, Unsteered
from tests.sweep.conftest import CONCEPTS

NAMES = {"Oceans": ("oceans", "sea"), "Bread": ("bread",)}


@pytest.fixture(scope="module")
def sweep(design, injector, tmp_path_factory):
    arms = [Unsteered(2), Injected(1)]
    small = attrs.evolve(design, arms=arms, doses=["4 residual"], sampling=ib.Sampling(max_new_tokens=3))
    made = Sweep(small, injector, tmp_path_factory.mktemp("naming") / "run")
    made.generate()
    made.measure(Naming(NAMES))
    made.measure(Observer(CONCEPTS))
    return made


def reading(record, measure):
    return next(r for r in record.readings if r.measure == measure)


def by_hand(injector, request, prompt, steers, text, prefix):
    """The log-probability of the text's tokens behind the prefix, from whole distributions."""
    begun = injector.tokenizer(prefix, add_special_tokens=False)["input_ids"]
    ids = injector.tokenizer(f"{prefix} {text}", add_special_tokens=False)["input_ids"]
    n = len(prompt.token_ids)
    where = Read("distribution", Positions(n - 1, n - 1 + len(ids), n))
    (done,) = injector.generate([attrs.evolve(request, prompt=prompt, steers=steers, forced=ids, reads=(where,))])
    return sum(float(done.readings[0][k][ids[k]]) for k in range(len(begun), len(ids)))


def test_the_likelihood_is_that_of_the_words_own_tokens_under_the_trials_steers(sweep, injector):
    record = next(r for r in sweep.results() if r.arm == "injected")
    (request,) = [t.request for t in sweep.planned if t.key == record.key]
    found = reading(record, "naming")
    for name, (word, *_) in NAMES.items():
        own = by_hand(injector, request, request.prompt, request.steers, word, Naming(NAMES).prefix)
        assert found.at(concept=name, of="logprob") == pytest.approx(own, abs=1e-3)
    free = by_hand(injector, request, request.prompt, (), "bread", Naming(NAMES).prefix)
    assert abs(found.at(concept="Bread", of="logprob") - free) > 0.01


def test_the_observer_is_unsteered_and_reads_another_prompt(sweep, injector):
    for record in (r for r in sweep.results() if r.arm == "injected"):
        (request,) = [t.request for t in sweep.planned if t.key == record.key]
        told = Replayed(request.prompt, record.reply.token_ids, injector.tokenizer, 4, record.reply.text)
        for one in Observer(CONCEPTS).passes(told):
            assert not one.steered
            assert "injected" not in one.prompt.text
        prompt = Observer(CONCEPTS).passes(told)[0].prompt
        own = by_hand(injector, request, prompt, (), "bread", "The subject is")
        assert reading(record, "observer").at(concept="Bread", of="logprob") == pytest.approx(own, abs=1e-3)


def test_another_prompt_can_not_be_read_under_the_trials_steers():
    with pytest.raises(SpecError, match="steered"):
        Pass((), (), ib.RenderedPrompt((1, 2), "a"))


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("I feel waves. It is about the sea and bread.", "I feel waves. It is about the"),
        ('Yes: "Oceans".', "Yes:"),
        ("No thought.", "No thought."),
        ("I am overseas", "I am overseas"),
        ("BREAD!", ""),
        ("It tells of the ocean, I think.", "It tells of the"),
        ("I think of baking breads.", "I think of baking"),
    ],
)
def test_the_observer_is_shown_the_reply_up_to_the_first_name_of_any_concept(reply, shown):
    assert before_claim(reply, NAMES) == shown


def test_the_observer_is_shown_something_where_the_claim_comes_at_once(smol_tokenizer):
    prompt = ib.LINDSEY.render(smol_tokenizer)
    (one, _) = Observer(NAMES).passes(Replayed(prompt, (), smol_tokenizer, 4, "Bread."))
    assert "cut off before its first word" in one.prompt.text
    assert "bread, oceans" in one.prompt.text


def test_a_reader_of_the_residual_right_after_a_strong_injection_names_the_vector(sweep):
    sweep.measure(Cosines(sweep.vectors, layers=(1,), at="reply"))
    frame = analysis.naming_frame(sweep.results().records, "cosines")
    mine = frame[frame["arm"] == "injected"]
    assert mine["correct"].all()
    assert np.isnan(frame[frame["arm"] == "control"]["rank"].astype(float)).all()


def test_the_lens_finds_a_word_of_several_tokens_by_its_first_one(sweep, injector):
    assert len(injector.tokenizer("oceans", add_special_tokens=False)["input_ids"]) > 1
    sweep.measure(ConceptLens(NAMES))
    record = next(r for r in sweep.results() if r.arm == "injected")
    (request,) = [t.request for t in sweep.planned if t.key == record.key]
    n = len(request.prompt.token_ids)
    (done,) = injector.generate(
        [attrs.evolve(request, forced=(), reads=(Read("distribution", Positions(n - 1, n, n)),))]
    )
    said = done.readings[0][0]
    found = reading(record, "concept_lens")
    # "oceans" begins with another token behind a space, "bread" with the space itself, which is none of its own.
    for name, forms in (("Oceans", ("oceans", "Oceans", " o")), ("Bread", ("bread", "Bread"))):
        ids = [injector.tokenizer(form, add_special_tokens=False)["input_ids"][0] for form in forms]
        assert found.at(layer=3, concept=name) == pytest.approx(np.logaddexp.reduce(said[ids]), abs=1e-3)
    frame = analysis.naming_frame(sweep.results().records, "concept_lens")
    assert set(frame["read_layer"]) == {0, 1, 2, 3}
    assert frame["among"].eq(2).all()


@pytest.mark.parametrize("left", [Naming(), Observer(), ConceptLens(), Cosines(at="reply")])
def test_what_a_measure_leaves_to_the_run_is_the_runs_concepts_and_vectors_and_without_a_run_an_error(sweep, left):
    stated = attrs.evolve(left, **({"vectors": sweep.vectors} if left.name == "cosines" else {"concepts": CONCEPTS}))
    sweep.measure(left)
    assert sweep.measure(stated).measured == 0, "what was stated is what was left to the run"
    request = sweep.planned[0].request
    with pytest.raises(SpecError, match="those of a run"):
        left.passes(Replayed(request.prompt, (), sweep.injector.tokenizer, sweep.injector.model.n_layers))


def test_two_concepts_that_are_written_alike_can_not_be_told_apart_and_are_refused():
    with pytest.raises(SpecError, match="no two the same"):
        Naming({"a": ("sea",), "b": ("sea",)})
