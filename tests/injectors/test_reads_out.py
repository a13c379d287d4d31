"""Where a vector puts its own concept's word, under the logit lens of the vector."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from random_vectors import vector

from introspection_bench import Concept, reads_out_sentence, vector_ranks
from introspection_bench.errors import SpecError, VectorError
from introspection_bench.injectors.base import Injector
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.reads_out import VectorRank
from introspection_bench.testing import tiny_model

NAMED = Concept("a", word="a")


@pytest.fixture(scope="module")
def opened():
    model, tokenizer = tiny_model("llama")
    with TorchInjector.open(model, tokenizer=tokenizer, device="cpu") as injector:
        yield model, injector


def test_the_logits_are_the_models_own_final_norm_and_head_on_the_vector_whatever_its_norm(opened):
    model, injector = opened
    one = vector(64, 0)
    with torch.inference_mode():
        state = torch.from_numpy(one.values.copy()) * (8 / np.linalg.norm(one.values))
        own = model.lm_head(model.model.norm(state)).numpy()
    logits = injector.vector_logits([one, one * 1000.0])
    assert logits[0] == pytest.approx(own, abs=1e-4)
    assert logits[1] == pytest.approx(own, abs=1e-4)


def test_a_vector_along_the_tokens_own_unembedding_reads_out_and_its_negative_does_not(opened):
    model, injector = opened
    (token,) = injector.tokenizer("a", add_special_tokens=False)["input_ids"]
    norm = model.model.norm.weight.detach()
    head = (model.lm_head.weight.detach()[token] / norm).numpy()
    along = attrs.evolve(vector(64, 0), values=head, concept="a")
    first, second = vector_ranks(injector, [along, along * -1.0], [NAMED])
    assert (first.rank, first.token) == (0, token)
    assert first.reads_out
    assert second.rank > 10
    assert "1 of 2 vectors" in reads_out_sentence([first, second])
    assert reads_out_sentence([second]) == ""


@pytest.mark.parametrize(("rank", "out"), [(9, True), (10, False)])
def test_below_ten_is_reading_out(rank, out):
    assert VectorRank("a", 1, "d", rank, 5).reads_out is out


def test_a_vector_of_another_width_is_refused(opened):
    with pytest.raises(VectorError, match="width 64"):
        opened[1].vector_logits([vector(32, 0)])


def test_a_backend_without_a_lens_of_vectors_says_so(opened, monkeypatch):
    monkeypatch.setattr(TorchInjector, "_logits_of", Injector._logits_of)
    with pytest.raises(SpecError, match="logit lens of vectors"):
        vector_ranks(opened[1], [vector(64, 0)])
