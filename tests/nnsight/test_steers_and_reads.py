"""What nnsight's traces add and read is what the torch backend adds and reads, and what the formulas say."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from cases import (
    SAMPLING,
    SETS,
    everything,
    injections,
    prompt_of,
    replay,
    require_alike,
    require_receipt,
    residuals,
    run,
    vector,
)

from introspection_bench.doses import Unit
from introspection_bench.errors import ModelError
from introspection_bench.injection import Injection
from introspection_bench.injectors.requests import Request
from introspection_bench.measures import Read
from introspection_bench.spans import Positions, Span
from introspection_bench.testing.tiny import save_tiny_model, tiny_model

pytest.importorskip("nnsight", reason="the extra nnsight is not installed")

from introspection_bench.injectors.nnsight import NnsightInjector
from introspection_bench.injectors.nnsight.batches import batches
from introspection_bench.injectors.torch import TorchInjector


def both(architecture, **options):
    (model, tokenizer), (same, _) = tiny_model(architecture), tiny_model(architecture)
    mine = NnsightInjector.open(model, tokenizer=tokenizer, **options)
    return mine, TorchInjector.open(same, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def llama():
    return both("llama")


def asked(injector):
    """Sampled requests of two lengths: several steers with residuals, one, none."""
    long, short = prompt_of(injector), prompt_of(injector, "Tell me about the trees.")
    steers = injections(injector)
    return [
        Request.of(long, steers, SAMPLING, 1, reads=[residuals(long)]),
        Request.of(long, steers[:1], SAMPLING, 2),
        Request.of(long, (), SAMPLING, 3, reads=[residuals(long, (0,), Span.generation())]),
        Request.of(short, steers[1:4], SAMPLING, 4, reads=[residuals(short), residuals(short, (2,), Span.prompt())]),
    ]


# gemma2 has a norm behind the MLP and caps its logits, gpt2 learned positions and a head that is the embedding; the
# MLP of bloom adds the residual itself, the block of falcon adds into its branch in place.
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2", "bloom", "falcon", "granite4"])
def test_sums_bands_and_projections_and_their_replays_with_all_reads_are_the_torch_backends(architecture):
    mine, theirs = both(architecture)
    requests = asked(mine)
    sampled = run(mine, *requests)
    require_alike(sampled, run(theirs, *requests))
    replays = [replay(c, r, everything(mine, r.prompt)) for c, r in zip(sampled, requests, strict=True)]
    again = run(mine, *replays)
    require_alike(again, run(theirs, *replays))
    for first, second in zip(sampled, again, strict=True):
        assert second.reply == first.reply
        for receipt, expected in zip(second.receipts, first.receipts, strict=True):
            require_receipt(receipt, expected)


def test_steers_of_one_layer_are_each_computed_from_the_stream_before_any_of_them(llama):
    mine, _ = llama
    prompt = prompt_of(mine)
    here = [
        Injection(vector(mine, 0), 1, "0.5 residual", Span.all()),
        Injection(vector(mine, 1), 1, "-1 projection", Span.all()),
        Injection(vector(mine, 2), 1, "0.2 raw", Span.from_anchor("third")),
    ]
    read = residuals(prompt, (1,))
    plain, steered = (
        c.readings[0][0]
        for c in run(mine, *(Request.of(prompt, some, SAMPLING, forced=(), reads=[read]) for some in ((), here)))
    )
    units = [i.vector.values / np.linalg.norm(i.vector.values) for i in here]
    expected = plain + 0.5 * np.linalg.norm(plain, axis=-1, keepdims=True) * units[0]
    expected -= (plain @ units[1])[:, None] * units[1]
    expected[prompt.anchors["third"] :] += 0.2 * here[2].vector.values
    np.testing.assert_allclose(steered, expected, rtol=1e-4, atol=1e-4)


def test_the_lens_of_the_last_layer_is_the_models_own_log_probabilities(llama):
    mine, _ = llama
    prompt = prompt_of(mine)
    where = Span.all().resolve(prompt)
    reads = [Read("lens", where, (3,), sets=SETS), Read("logprobs", where, sets=SETS)]
    (completion,) = run(mine, Request.of(prompt, injections(mine), SAMPLING, forced=(), reads=reads))
    np.testing.assert_allclose(completion.readings[0][0], completion.readings[1], atol=1e-5)


def test_a_model_that_multiplies_its_logits_does_so_in_its_lens():
    from transformers import GraniteConfig, GraniteForCausalLM

    _, tokenizer = tiny_model("llama")
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = GraniteForCausalLM(
        GraniteConfig(vocab_size=len(tokenizer), num_key_value_heads=1, logits_scaling=0.05, **shape)
    ).eval()
    mine = NnsightInjector.open(model, tokenizer=tokenizer)
    prompt = prompt_of(mine)
    where = Span.all().resolve(prompt)
    reads = [Read("lens", where, (1,), sets=SETS), Read("logprobs", where, sets=SETS)]
    (completion,) = run(mine, Request.of(prompt, (), SAMPLING, forced=(), reads=reads))
    np.testing.assert_allclose(completion.readings[0][0], completion.readings[1], atol=1e-3)


def test_a_model_with_more_than_a_norm_before_its_unembedding_has_no_lens_but_all_other_reads():
    from transformers import OPTConfig, OPTForCausalLM

    _, tokenizer = tiny_model("llama")
    config = OPTConfig(
        vocab_size=len(tokenizer), hidden_size=64, word_embed_proj_dim=32, ffn_dim=128, num_hidden_layers=4,
        num_attention_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    mine = NnsightInjector.open(OPTForCausalLM(config).eval(), tokenizer=tokenizer)
    prompt = prompt_of(mine)
    *others, lens = everything(mine, prompt)
    request = Request.of(prompt, (), SAMPLING, forced=(5, 6), reads=others)
    run(mine, request)
    with pytest.raises(ModelError, match="lens"):
        run(mine, attrs.evolve(request, reads=[lens]))


def test_replays_of_several_lengths_share_a_batch_where_no_logits_are_read_and_read_what_each_reads_alone(llama):
    mine, theirs = llama
    prompt, steers = prompt_of(mine), injections(mine)
    reads = [r for r in everything(mine, prompt) if r.layers]
    replays = [Request.of(prompt, steers[: n % 4], SAMPLING, forced=range(5, 5 + n), reads=reads) for n in (0, 1, 4, 9)]
    assert len(list(batches(replays, 32, None, mine._pads))) == 1
    assert len(list(batches(replays, 32, len(prompt.token_ids) + 2, mine._pads))) == 2
    require_alike(run(mine, *replays), run(theirs, *replays))
    logits = [attrs.evolve(r, reads=everything(mine, prompt)[:1]) for r in replays]
    assert [len(batch.requests) for batch in batches(logits, 32, None, mine._pads)] == [2, 1, 1]


def test_a_model_whose_tokens_see_what_follows_them_may_not_be_padded():
    mine, _ = both("llama")
    assert mine._prove_padding()
    layer = mine._nn._module.model.layers[0]
    # Adds the mean over the whole row, padding included.
    layer.register_forward_hook(lambda _module, _args, output: output + output.mean(dim=1, keepdim=True))
    assert not mine._prove_padding()


def test_a_forced_reply_keeps_all_its_tokens_wherever_an_end_token_stands(llama):
    mine, _ = llama
    prompt, (end, *_) = prompt_of(mine), mine._reader.ends.ids
    forced = (end, 7, 8, end)
    request = Request.of(prompt, injections(mine)[:1], SAMPLING, forced=forced, reads=[residuals(prompt)])
    (completion,) = run(mine, request)
    assert completion.reply.token_ids == forced
    assert completion.receipts[0].generation_positions == 3
    assert completion.readings[0].shape == (2, len(prompt.token_ids) + 3, mine.model.hidden_size)


def test_requests_beside_each_other_neither_steer_nor_read_each_other(llama):
    mine, _ = llama
    requests = [attrs.evolve(r, sampling=attrs.evolve(SAMPLING, temperature=0.0)) for r in asked(mine)]
    for together, request in zip(run(mine, *requests), requests, strict=True):
        require_alike([together], run(mine, request))


def test_a_control_is_bit_identical_to_a_request_on_a_model_that_was_never_steered(llama):
    mine, _ = llama
    fresh, _ = both("llama")
    prompt = prompt_of(mine)
    control = Request.of(prompt, (), SAMPLING, 3, reads=[residuals(prompt)])
    run(mine, Request.of(prompt, injections(mine), SAMPLING, 3))
    (mine_done,), (fresh_done,) = run(mine, control), run(fresh, control)
    assert mine_done.reply == fresh_done.reply
    np.testing.assert_array_equal(mine_done.readings[0], fresh_done.readings[0])


@pytest.mark.parametrize("unit", list(Unit))
def test_half_precision_replays_give_their_receipts_again(unit):
    model, tokenizer = tiny_model("llama")
    mine = NnsightInjector.open(model.to(torch.bfloat16), tokenizer=tokenizer)
    prompt = prompt_of(mine)
    request = Request.of(prompt, [Injection(vector(mine), 1, f"0.8 {unit}", Span.all())], SAMPLING, 1)
    (sampled,) = run(mine, request)
    (again,) = run(mine, replay(sampled, request, everything(mine, prompt)))
    require_receipt(again.receipts[0], sampled.receipts[0], rel=2e-2)


def test_several_steers_replays_and_all_reads_survive_nnsights_serialising_simulation_of_a_server(tmp_path):
    folder = save_tiny_model("gemma2", tmp_path)
    mine, theirs = NnsightInjector.open(str(folder), remote="local"), TorchInjector.open(str(folder))
    requests = asked(mine)
    sampled = run(mine, *requests)
    require_alike(sampled, run(theirs, *requests))
    replays = [replay(c, r, everything(mine, r.prompt)) for c, r in zip(sampled, requests, strict=True)]
    require_alike(run(mine, *replays), run(theirs, *replays))
    prompt = prompt_of(mine)
    ragged = [
        Request.of(
            prompt,
            (),
            SAMPLING,
            forced=(5,) * n,
            reads=[Read("cosines", Positions(1, None, len(prompt.token_ids)), (1,), vectors=(vector(mine),))],
        )
        for n in (2, 6)
    ]
    require_alike(run(mine, *ragged), run(theirs, *ragged))


@pytest.mark.parametrize("architecture", ["gemma2", "granite4"])
def test_the_lens_of_vectors_is_the_torch_backends(architecture):
    mine, theirs = both(architecture)
    vectors = [vector(mine, seed) for seed in range(3)]
    logits = mine.vector_logits(vectors)
    np.testing.assert_allclose(logits, theirs.vector_logits(vectors), atol=1e-4)
    assert mine.has_vector_lens
