"""Vectors and steering in training beside the library's own, on tiny models."""

import numpy as np
import pytest
import torch

import introspection_bench as ib
from introspection_bench.testing import tiny_model
from training.examples import Steering
from training.steering import Injected, sample, steered
from training.vectors import Vectors, word_vectors

WORDS, LAYERS = ["kiosk", "zither", "ferry"], (1, 2)
NEW = 8


def opened(architecture):
    model, tokenizer = tiny_model(architecture)
    return model, tokenizer, ib.open_injector("torch", model, tokenizer=tokenizer)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_word_vectors_are_those_of_the_librarys_extraction(architecture):
    model, tokenizer, injector = opened(architecture)
    own = word_vectors(model, tokenizer, WORDS, LAYERS, rows=32)
    baseline = ib.load_concepts("lindsey2026").baseline
    theirs = ib.extract(injector, [ib.Concept(w, word=w) for w in WORDS], LAYERS, baseline=baseline)
    assert own.shape == (3, 2, 64)
    wanted = np.stack([v.values for v in theirs]).reshape(3, 2, 64)
    np.testing.assert_allclose(own.numpy(), wanted, atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("span", ["from(trial)", "from(trial) stop_at_prompt_end"])
def test_replies_under_steering_are_the_librarys_beside_rows_of_other_lengths(architecture, span):
    model, tokenizer, injector = opened(architecture)
    prompts = [ib.LINDSEY.render(tokenizer), ib.LINDSEY_405B.render(tokenizer)]
    vectors = ib.extract(injector, [ib.Concept("kiosk", word="kiosk")], LAYERS, baseline=["tree", "stone"])
    requests, prompt_ids, rows = [], [], []
    for prompt in prompts:
        for vector in (*vectors, None):
            injections = [] if vector is None else [ib.Injection(vector, vector.layer, "0.5 residual", span)]
            requests.append(ib.Request.of(prompt, injections, ib.Sampling(0.0, max_new_tokens=NEW)))
            stop = len(prompt.token_ids) if "stop" in span else None
            direction = None if vector is None else torch.tensor(vector.values / vector.norm, dtype=torch.float32)
            row = vector and Injected(vector.layer, 0.5, direction, prompt.anchors["trial"], stop)
            prompt_ids.append(prompt.token_ids)
            rows.append(row)
    theirs = {c.index: c.reply.text for c in injector.generate(requests)}
    own = sample(model, tokenizer, prompt_ids, rows, new_tokens=NEW, temperature=0.0)
    assert own == [theirs[n] for n in range(len(requests))]
    assert len(set(own)) > 1


def test_what_is_added_is_the_share_of_the_norm_at_the_rows_own_positions():
    model, _ = tiny_model("llama")
    ids = torch.arange(20, 30)[None].expand(3, -1)
    direction = torch.nn.functional.normalize(torch.ones(64), dim=0)
    rows = [None, Injected(1, 0.5, direction, 2, 5), Injected(1, 0.25, direction, 4, None)]
    block, seen = model.model.layers[1], []
    with torch.no_grad():
        plain = model(ids, output_hidden_states=True).hidden_states[2]
        with steered(model, rows):
            handle = block.register_forward_hook(lambda _m, _a, output: seen.append(output))
            model(ids)
            handle.remove()
    added = seen[0] - plain
    norms = plain.norm(dim=-1)
    wanted = torch.zeros_like(norms)
    wanted[1, 2:5], wanted[2, 4:] = 0.5 * norms[1, 2:5], 0.25 * norms[2, 4:]
    torch.testing.assert_close(added, wanted[..., None] * direction, atol=1e-5, rtol=1e-4)
    assert torch.equal(added[0], torch.zeros_like(added[0]))


def test_nothing_is_steered_any_more_afterwards():
    model, _ = tiny_model("llama")
    ids = torch.arange(20, 30)[None]
    with torch.no_grad():
        before = model(ids).logits
        with steered(model, [Injected(1, 0.5, torch.ones(64) / 8, 0, None)]):
            during = model(ids).logits
        assert not torch.equal(during, before)
        assert torch.equal(model(ids).logits, before)


def vectors(count=400):
    values = torch.randn(count, 1, 64, generator=torch.Generator().manual_seed(0))
    values = values * torch.linspace(0.1, 3, 64) + 1.0
    return Vectors({str(n): n for n in range(count)}, (7,), values)


def directions(kind, draws=200):
    draw, some = torch.Generator().manual_seed(1), vectors()
    return some, torch.stack([some.direction(Steering(kind, "3", 7, 0.5), draw) for _ in range(draws)])


@pytest.mark.parametrize("kind", ["word", "isotropic", "permuted", "signs", "covariance", "covariance_mean"])
def test_every_direction_has_length_one(kind):
    _, found = directions(kind)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(len(found)))


def test_permuted_and_sign_flipped_vectors_keep_the_words_own_numbers():
    some, permuted = directions("permuted", 5)
    unit = torch.nn.functional.normalize(some.values[3, 0], dim=0)
    assert all(torch.allclose(p.sort().values, unit.sort().values) for p in permuted)
    _, signs = directions("signs", 5)
    assert all(torch.allclose(s.abs(), unit.abs()) for s in signs)


def test_a_covariance_matched_direction_spreads_as_the_words_do_and_keeps_their_mean_where_it_says_so():
    some, found = directions("covariance", 400)
    spread = some.values[:, 0].std(dim=0)
    assert torch.corrcoef(torch.stack([found.std(dim=0), spread]))[0, 1] > 0.95
    mean = torch.nn.functional.normalize(some.values[:, 0].mean(dim=0), dim=0)
    assert abs(float((found @ mean).mean())) < 0.1
    _, kept = directions("covariance_mean", 400)
    assert float((kept @ mean).mean()) > 0.3
