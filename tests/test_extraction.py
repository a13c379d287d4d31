"""Extraction recipes on a tiny real model, against activations read by Hugging Face's own output_hidden_states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from introspection_bench import Concept, ConceptSet, Pair
from introspection_bench.errors import ConceptError, LayerError
from introspection_bench.extraction import extract, random_controls
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.testing import tiny_model


@pytest.fixture(scope="module")
def opened():
    model, tokenizer = tiny_model("llama")
    return model.eval(), tokenizer, TorchInjector.open(model.eval(), tokenizer=tokenizer)


def activation(opened, text, layer):
    model, tokenizer, _ = opened
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    with torch.inference_mode():
        return model(torch.tensor([chat]), output_hidden_states=True).hidden_states[layer + 1][0, -1].double().numpy()


WORDS = ConceptSet("w", [Concept("Oceans", word="Oceans"), Concept("Bread", word="Bread")], ["Desks", "Sand", "Sand"])
PAIRS = Concept("love", pairs=[Pair("I adore you", "I see you"), Pair("my darling", "my neighbour")])


def test_a_word_vector_is_the_lower_case_words_activation_minus_the_mean_over_the_baseline(opened):
    vectors = extract(opened[2], WORDS, [0, 2])
    assert [(v.concept, v.layer) for v in vectors] == [("Oceans", 0), ("Oceans", 2), ("Bread", 0), ("Bread", 2)]
    # "Sand" stands twice in this baseline and counts twice, as "Butterflies" does in the published one.
    baseline = np.mean([activation(opened, f"Tell me about {w}", 2) for w in ("desks", "sand", "sand")], axis=0)
    expected = activation(opened, "Tell me about bread", 2) - baseline
    np.testing.assert_allclose(vectors[3].values, expected, atol=5e-5)


def test_a_pairs_vector_is_the_difference_of_the_means_with_norm_and_cosine_kept(opened):
    (vector,) = extract(opened[2], [PAIRS], [1])
    positive = np.mean([activation(opened, p.positive, 1) for p in PAIRS.pairs], axis=0)
    negative = np.mean([activation(opened, p.negative, 1) for p in PAIRS.pairs], axis=0)
    np.testing.assert_allclose(vector.values, positive - negative, atol=5e-5)
    provenance = vector.provenance
    cosine = positive @ negative / np.linalg.norm(positive) / np.linalg.norm(negative)
    assert provenance.cosine == pytest.approx(cosine, abs=1e-5)
    assert provenance.raw_norm == pytest.approx(vector.norm, rel=1e-6)
    assert (provenance.recipe, provenance.prompts, provenance.token_position) == ("pairs", 4, -1)
    assert provenance.model_fingerprint == opened[2].model.fingerprint


def test_other_prompts_make_another_prompts_digest(opened):
    one = extract(opened[2], WORDS, [1])[0]
    other = extract(opened[2], WORDS, [1], baseline=["Desks", "Sand"])[0]
    assert one.provenance.prompts_digest != other.provenance.prompts_digest


def test_word_concepts_need_a_baseline_that_does_not_hold_them(opened):
    with pytest.raises(ConceptError, match="baseline"):
        extract(opened[2], [WORDS["Bread"]], [1])
    with pytest.raises(ConceptError, match="own baseline"):
        extract(opened[2], [WORDS["Bread"]], [1], baseline=["bread", "sand"])


def test_a_layer_that_the_model_lacks_is_an_error(opened):
    with pytest.raises(LayerError):
        extract(opened[2], WORDS, [0, 99])


def test_random_controls_match_their_vectors_norms_and_differ_from_each_other(opened):
    vectors = extract(opened[2], WORDS, [1])
    controls = random_controls(vectors)
    assert [c.norm for c in controls] == pytest.approx([v.norm for v in vectors], rel=1e-5)
    assert all(c.is_random for c in controls)
    assert controls[0] != controls[1]
