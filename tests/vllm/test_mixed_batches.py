"""Replies, receipts and readings of vLLM, with the torch injector on the same checkpoint as reference."""

from __future__ import annotations

import pytest
from mixed_batches import mixed_batch, replays, same, same_receipts

from introspection_bench.injectors import open_injector


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
