"""Replies, receipts and readings of vLLM, with the torch injector on the same checkpoint as reference."""

from __future__ import annotations

import numpy as np
import pytest
from mixed_batches import MAGNITUDES, mixed_batch, random_vector, replays, same, same_receipts

from introspection_bench.doses import Dose, Unit
from introspection_bench.identity import Sampling
from introspection_bench.injection import Injection
from introspection_bench.injectors import open_injector
from introspection_bench.injectors.requests import Request
from introspection_bench.measures.base import Read
from introspection_bench.prompts import RenderedPrompt
from introspection_bench.spans import Positions


@pytest.mark.parametrize("architecture", ["qwen3", "gemma2"])
def test_a_mixed_batch_and_its_replays_have_what_the_torch_injector_finds(tiny_folder, architecture):
    folder = str(tiny_folder(architecture))
    options = {"max_model_len": 128, "max_num_seqs": 8, "engine_args": {"max_num_batched_tokens": 48}}
    with open_injector("vllm-lens", folder, dtype="float32", **options) as injector:
        asked = mixed_batch(injector, lengths=[1, 2, 9, 40, 12, 30, 5, 60, 33, 21, 7, 80], tokens=16)
        found = {c.index: c for c in injector.generate(asked)}
        again = replays(injector, asked, found.values())
        replayed = list(injector.generate(again))
    for completion in replayed:
        assert completion.reply.token_ids == found[completion.index].reply.token_ids
        same_receipts(completion, found[completion.index])
    with open_injector("torch", folder, dtype="float32") as reference:
        same(list(found.values()), list(reference.generate(asked)))
        same(replayed, list(reference.generate(again)))


def test_in_bfloat16_what_leaves_the_first_steered_block_is_that_of_vllm_lens_within_one_rounding(tiny_folder):
    found = {}
    for backend in ("vllm", "vllm-lens"):
        options = {"max_model_len": 128, "max_num_seqs": 8, "engine_args": {"enforce_eager": True}}
        with open_injector(backend, tiny_folder("llama"), dtype="bfloat16", **options) as injector:
            found[backend] = {c.index: c.readings[0] for c in injector.generate(first_blocks(injector))}
    assert len(found["vllm"]) == 5 * 4
    for index, rows in found["vllm"].items():
        expected = found["vllm-lens"][index]
        # Eight bits of a number: one rounding is at most its 128th part.
        assert np.all(np.abs(rows - expected) <= np.abs(expected) / 128), index


def first_blocks(injector):
    """A replay for each unit and block, which reads what leaves the block that it steers."""
    prompt = RenderedPrompt([int(i) for i in np.random.default_rng(1).integers(6, 250, 30)], "")
    return [
        Request.of(
            prompt,
            [Injection(random_vector(injector, layer, layer), layer, Dose(MAGNITUDES.get(unit, 0.7), unit), "all")],
            Sampling(0.0, max_new_tokens=4),
            forced=(9, 8, 7),
            reads=[Read("residuals", Positions(0, None, 30), (layer,))],
        )
        for unit in Unit
        for layer in range(injector.model.n_layers)
    ]
