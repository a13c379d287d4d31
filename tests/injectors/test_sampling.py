"""The per-row sampler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from introspection_bench.injectors.hf import sampling
from introspection_bench.injectors.hf.sampling import SeededSampler, processors
from introspection_bench.trials import Sampling


def choose(logits, *, seeds, **settings):
    sampler = SeededSampler(Sampling(max_new_tokens=1, **settings), seeds, prompt_length=3)
    scores = torch.from_numpy(np.tile(np.asarray(logits, dtype=np.float32), (len(seeds), 1)))
    return sampler(torch.zeros((len(seeds), 3), dtype=torch.long), scores).argmax(dim=-1).numpy()


def test_tokens_come_with_the_softmax_probabilities():
    logits = [0.0, 1.0, -1.0, 2.0, -30.0]
    chosen = choose(logits, seeds=range(20_000))
    expected = np.exp(logits) / np.exp(logits).sum()
    counts = np.bincount(chosen, minlength=5)
    assert counts[4] == 0
    assert chisquare(counts[:4], expected[:4] / expected[:4].sum() * counts.sum()).pvalue > 1e-3


def test_temperature_sharpens():
    hot, cold = choose([0.0, 1.0], seeds=range(4000)), choose([0.0, 1.0], seeds=range(4000), temperature=0.25)
    assert cold.mean() == pytest.approx(1 / (1 + np.exp(-4)), abs=0.02)
    assert hot.mean() == pytest.approx(1 / (1 + np.exp(-1)), abs=0.03)


def test_top_k_and_top_p_never_choose_what_they_exclude():
    logits = [3.0, 2.0, 1.0, 0.0]
    assert set(choose(logits, seeds=range(3000), top_k=2)) == {0, 1}
    assert set(choose(logits, seeds=range(3000), top_p=0.5)) == {0}


def test_a_token_of_probability_zero_is_never_chosen_even_at_the_ends():
    assert set(choose([-np.inf, 0.0, -np.inf], seeds=range(2000))) == {1}


def test_a_row_depends_on_its_own_seed_alone():
    logits = list(np.random.default_rng(0).standard_normal(50))
    together = choose(logits, seeds=range(40))
    assert [int(choose(logits, seeds=[s])[0]) for s in range(40)] == together.tolist()


def test_temperature_zero_is_greedy_and_needs_no_sampler():
    assert len(processors(Sampling(temperature=0), [1, 2], 3)) == 0


def test_a_rounding_error_in_the_logits_hardly_ever_changes_the_token_however_flat_the_distribution():
    random = np.random.default_rng(0)
    logits = random.standard_normal(20_000)
    moved = logits + 1e-3 * random.standard_normal(20_000)
    seeds = range(1000)
    assert (choose(logits, seeds=seeds) != choose(moved, seeds=seeds)).sum() < 10


def test_the_noise_is_that_of_splitmix64():
    # The first three outputs for the state 1234567, as published with the reference implementation.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    numbers = sampling.mixed(torch.arange(1, 4) * sampling.STEP + 1234567)
    assert [n % 2**64 for n in numbers.tolist()] == expected
    halves = [h for n in expected for h in (n % 2**32, n >> 32)]
    uniform = 1 - torch.exp(-torch.exp(-sampling._gumbel(numbers)))
    assert uniform.tolist() == pytest.approx([(h % 2**31) / 2**31 for h in halves], rel=1e-5)
