"""One injection to look at."""

from __future__ import annotations

import pytest

import introspection_bench as ib
from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.errors import IntrospectionBenchError, LayerError
from introspection_bench.rendering import tokenise
from introspection_bench.testing import save_tiny_model

CONCEPTS = ConceptSet("tiny", [Concept("Oceans", word="Oceans")], baseline=["Desks", "Jackets"])
GREEDY = ib.Sampling(0.0, max_new_tokens=8)


@pytest.fixture(scope="module")
def injector(tmp_path_factory):
    folder = save_tiny_model("llama", tmp_path_factory.mktemp("trying") / "llama")
    with ib.open_injector("torch", str(folder), device="cpu") as opened:
        yield opened


def tried(injector, prompt="Say {word} or <b>not</b>.", **options):
    return ib.try_injection(injector, "Oceans", prompt, concepts=CONCEPTS, sampling=GREEDY, **options)


@pytest.mark.parametrize(
    ("span", "begins", "whole_reply"),
    [(None, "Say {word}", True), ("prompt", "", False), ("generation", None, True)],
)
def test_what_is_marked_is_what_was_steered_token_for_token(injector, span, begins, whole_reply):
    found = tried(injector, span=span)
    assert found.inside.lstrip().startswith(begins) if begins is not None else not found.inside
    assert found.whole_reply is whole_reply
    inside = len(tokenise(injector.tokenizer, found.before + found.inside)[0])
    before = len(tokenise(injector.tokenizer, found.before)[0]) if found.before else 0
    assert found.receipt.prompt_positions == (inside - before if found.inside else 0)
    assert found.receipt.generation_positions == (len(found.steered.token_ids) - 1 if whole_reply else 0)
    assert found.prompt.count("⟦") == bool(found.inside)


def test_the_unsteered_reply_is_the_models_own_and_a_strong_dose_gives_another(injector):
    found = tried(injector, dose="8 residual")
    prompt = ib.Scaffold("plain", [ib.Turn("user", "Say {word} or <b>not</b>.")], filled=True).render(
        injector.tokenizer
    )
    (alone,) = injector.generate([ib.Request(prompt, (), GREEDY, 0)])
    assert found.unsteered == alone.reply
    assert found.steered != found.unsteered
    assert found.receipt.mean_ratio == pytest.approx(8, rel=0.01)
    assert len(repr(found)) < 500
    assert "Oceans at layer 3" in repr(found)


def test_a_notebook_shows_the_text_and_never_its_markup(injector):
    shown = tried(injector)._repr_html_()
    assert "&lt;b&gt;not&lt;/b&gt;" in shown
    assert "<b>" not in shown
    assert shown.count("<mark>") == 2


def test_without_a_text_lindseys_question_is_asked_and_steered_from_its_trial_on(injector):
    found = tried(injector, ib.LINDSEY)
    assert found.inside.lstrip().startswith("Trial 1: Do you detect")
    assert str(found.injection.span) == "from(trial)"


@pytest.mark.parametrize(("layer", "block"), [("2/3", 3), ("1", 1), (ib.Depth(0), 0), (2, 2)])
def test_a_layer_is_a_block_or_a_depth(injector, layer, block):
    assert tried(injector, layer=layer).injection.layer == block


@pytest.mark.parametrize("layer", ["two thirds", "1/0", "-1", "9", 9, ""])
def test_what_is_no_layer_of_the_model_is_an_error(injector, layer):
    with pytest.raises(LayerError):
        tried(injector, layer=layer)


@pytest.mark.parametrize(
    "options",
    [{"dose": "0 residual"}, {"dose": "1 kl"}, {"span": "from(nowhere)"}, {"prompt": ib.THINKING_ABOUT}, {"seed": -1}],
    ids=str,
)
def test_what_steers_nothing_that_is_stated_is_refused(injector, options):
    with pytest.raises(IntrospectionBenchError):
        tried(injector, **options)
