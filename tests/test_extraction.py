"""Extraction recipes on a tiny real model, against activations read by Hugging Face's own output_hidden_states."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from introspection_bench import Concept, ConceptSet, Injection, Pair, Pairs, Word, load_concepts
from introspection_bench.errors import ConceptError, LayerError, SpecError, VectorError
from introspection_bench.extraction import extract, random_controls
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.testing import tiny_model


@pytest.fixture(scope="module")
def opened():
    model, tokenizer = tiny_model("llama")
    return model.eval(), tokenizer, TorchInjector.open(model.eval(), tokenizer=tokenizer)


def activation(opened, text, layer, position=-1):
    model, tokenizer, _ = opened
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    with torch.inference_mode():
        return (
            model(torch.tensor([chat]), output_hidden_states=True)
            .hidden_states[layer + 1][0, position]
            .double()
            .numpy()
        )


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


LOVE = load_concepts("pairs")["love"]


def test_the_pca_recipe_is_the_first_principal_component_of_all_activations_centred_pair_by_pair(opened):
    from sklearn.decomposition import PCA

    (vector,) = extract(opened[2], [LOVE], [1], recipe=Pairs(reduce="pca_center"))
    sides = np.array([[activation(opened, t, 1) for t in (p.positive, p.negative)] for p in LOVE.pairs])
    centred = (sides - sides.mean(axis=1, keepdims=True)).reshape(-1, sides.shape[-1])
    component = PCA(n_components=1).fit(centred).components_[0]
    difference = (sides[:, 0] - sides[:, 1]).mean(axis=0)
    # As long as the mean difference along it, and pointing as it does, whichever sign the decomposition has.
    np.testing.assert_allclose(vector.values, component * (component @ difference), atol=5e-5)
    assert vector.values @ difference > 0
    assert vector.norm == pytest.approx(abs(component @ difference), rel=1e-4)
    assert vector.provenance.recipe == "pairs(reduce='pca_center')"
    turned = attrs.evolve(LOVE, pairs=[Pair(p.negative, p.positive) for p in LOVE.pairs])
    (negative,) = extract(opened[2], [turned], [1], recipe=Pairs(reduce="pca_center"))
    np.testing.assert_allclose(negative.values, -vector.values, atol=5e-5)


def test_the_pca_of_one_pair_is_its_difference(opened):
    one = attrs.evolve(LOVE, pairs=LOVE.pairs[:1])
    pca, mean = (extract(opened[2], [one], [1], recipe=Pairs(reduce=how))[0] for how in ("pca_center", "mean"))
    np.testing.assert_allclose(pca.values, mean.values, atol=5e-5)


def test_template_case_and_position_say_what_is_read(opened):
    recipe = Word(template="{word}, and then?", case="as_is", position=-3)
    (vector,) = extract(opened[2], [WORDS["Bread"]], [1], recipe=recipe, baseline=["Desks"])
    read = [activation(opened, f"{w}, and then?", 1, -3) for w in ("Bread", "Desks")]
    np.testing.assert_allclose(vector.values, read[0] - read[1], atol=5e-5)
    assert vector.provenance.token_position == -3
    assert vector.provenance.recipe == recipe.written
    with pytest.raises(SpecError, match="position"):
        extract(opened[2], WORDS, [1], recipe=Word(position=-900))


def test_a_normalised_vector_has_norm_one_and_tells_its_raw_norm(opened):
    (raw,), (unit,) = (extract(opened[2], [PAIRS], [1], recipe=Pairs(normalise=n)) for n in (False, True))
    assert unit.norm == pytest.approx(1, rel=1e-6)
    assert unit.provenance.raw_norm == pytest.approx(raw.norm, rel=1e-6)
    assert unit.provenance.steps == ("unit",)
    np.testing.assert_allclose(unit.values * raw.norm, raw.values, atol=5e-5)


def test_braces_in_a_concept_s_prompts_are_its_own(opened):
    (vector,) = extract(opened[2], [Concept("code", pairs=[Pair("return {x}", "return y")])], [1])
    expected = activation(opened, "return {x}", 1) - activation(opened, "return y", 1)
    np.testing.assert_allclose(vector.values, expected, atol=5e-5)


def steered(opened, text, vector, at, layer, magnitude):
    """The activation where another vector is added at a block, by a hook written here."""
    model = opened[0]

    def add(_module, _inputs, output):
        tensor = output[0] if isinstance(output, tuple) else output
        tensor += magnitude * torch.from_numpy(np.array(vector.values))
        return output

    handle = model.model.layers[at].register_forward_hook(add)
    try:
        return activation(opened, text, layer)
    finally:
        handle.remove()


def test_prompts_are_run_under_the_steers_beside(opened):
    injector = opened[2]
    other = extract(injector, WORDS, [0])[0]
    beside = [Injection(other, 0, "1.5 raw", "all")]
    plain, (vector,) = extract(injector, [PAIRS], [2]), extract(injector, [PAIRS], [2], beside=beside)
    positive, negative = (
        np.mean([steered(opened, t, other, 0, 2, 1.5) for t in side], axis=0)
        for side in ([p.positive for p in PAIRS.pairs], [p.negative for p in PAIRS.pairs])
    )
    np.testing.assert_allclose(vector.values, positive - negative, atol=5e-5)
    assert not np.allclose(vector.values, plain[0].values, atol=1e-3)
    assert vector.provenance.beside == (f"{other.digest[:12]} at layer 0, 1.5 raw, all",)
    # What was extracted without them is not taken for what is to be extracted under them.
    assert extract(injector, [PAIRS], [2], beside=beside, known=plain) == [vector]
    assert extract(injector, [PAIRS], [2], known=[vector]) == plain


def test_a_steer_beside_that_the_model_cannot_bear_is_an_error(opened):
    vector = extract(opened[2], WORDS, [0])[0]
    with pytest.raises(LayerError):
        extract(opened[2], WORDS, [0], beside=[Injection(vector, 99, "1 raw", "all")])
    short = attrs.evolve(vector, values=vector.values[:8])
    with pytest.raises(VectorError):
        extract(opened[2], WORDS, [0], beside=[Injection(short, 0, "1 raw", "all")])


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
