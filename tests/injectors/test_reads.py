"""What is read inside a pass, beside readings by hand of Hugging Face's own hidden states and logits."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
import transformers
from random_vectors import steer, vector

from introspection_bench import RenderedPrompt, Request, Sampling, Span
from introspection_bench.errors import ModelError, NonFiniteError, SilentInjectionError, SpecError
from introspection_bench.injectors.hf import reads as reads_module
from introspection_bench.injectors.hf.blocks import find_blocks
from introspection_bench.injectors.hf.unchanged import Unchanged
from introspection_bench.injectors.hf.unembedding import find_lens, find_unembedding
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.measures import Read
from introspection_bench.spans import Positions
from introspection_bench.testing import tiny_model
from introspection_bench.testing.tiny import ARCHITECTURES

PROMPT = RenderedPrompt(tuple(range(20, 32)), "", {"here": 5})
FORCED = (40, 41, 42, 43)
FED = (*PROMPT.token_ids, *FORCED[:-1])
SAMPLED = Sampling(1.0, max_new_tokens=6)
SETS = ((5, 6), (7,), (40, 41, 50))
EVERYWHERE, LATE = Positions(0, None, 12), Positions(10, 14, 12)
VECTORS = (vector(64, 0), vector(64, 1))
#: Refused when it is opened.
OPENED = tuple(name for name in ARCHITECTURES if name != "recurrent_gemma")


def replay(*reads, injections=(), forced=FORCED):
    return Request.of(PROMPT, injections, SAMPLED, forced=forced, reads=reads)


def read(injector, *reads, **fields):
    (done,) = injector.generate([replay(*reads, **fields)])
    return done.readings


def plain(model, steering=None):
    """Streams that leave the blocks, and logits, in one pass of the model's own: (layers, positions, …)."""
    streams = []
    handles = []
    for number, block in enumerate(find_blocks(model).modules):
        if steering is not None and number == 1:
            handles.append(block.register_forward_hook(steering))
        handles.append(
            block.register_forward_hook(
                lambda _m, _a, output: streams.append((output[0] if isinstance(output, tuple) else output)[0].clone())
            )
        )
    with torch.inference_mode():
        logits = model(torch.tensor([FED]), use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    return torch.stack(streams), logits


def masses(logits, sets):
    """The log of the probability of each set, and of all, summed in double precision."""
    p = torch.softmax(logits.double(), dim=-1)
    parts = [p[..., list(ids)].sum(dim=-1) for ids in sets]
    return torch.stack([*parts, sum(parts)], dim=-1).log().numpy()


@pytest.fixture(scope="module")
def gemma():
    model, tokenizer = tiny_model("gemma2")
    return TorchInjector.open(model, tokenizer=tokenizer)


@pytest.mark.parametrize("injections", [(), (steer(0.6),)], ids=["control", "steered"])
@pytest.mark.parametrize("where", [EVERYWHERE, LATE], ids=["everywhere", "late"])
def test_all_six_kinds_are_what_the_models_own_states_and_logits_give_by_hand(injector, llama, injections, where):
    model = llama[0]
    direction = torch.from_numpy(vector(64).unit.values.copy())
    by_hand = (lambda _m, _a, h: h + 0.6 * h.norm(dim=-1, keepdim=True) * direction) if injections else None
    streams, logits = plain(model, by_hand)
    wanted = (
        Read("logprobs", where, sets=SETS),
        Read("likelihood", where),
        Read("residuals", where, (3, 1)),
        Read("cosines", where, (0, 2, 3), vectors=VECTORS),
        Read("lens", where, (1, 3), SETS),
        Read("distribution", where),
    )
    logprobs, likelihood, residuals, cosines, lens, distribution = read(injector, *wanted, injections=injections)
    at = slice(where.start, where.stop)
    close = {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(logprobs, masses(logits, SETS)[at], **close)
    np.testing.assert_allclose(distribution, logits.double().log_softmax(dim=-1)[at].numpy(), **close)
    following = torch.tensor([*FED[1:], FORCED[-1]])
    own = logits.double().log_softmax(dim=-1).gather(1, following[:, None])[:, 0]
    np.testing.assert_allclose(likelihood, own[at].numpy(), **close)
    np.testing.assert_allclose(residuals, streams[[3, 1], at].numpy(), **close)
    vectors = torch.tensor(np.stack([v.unit.values for v in VECTORS]))
    by_hand_cosines = streams @ vectors.T / streams.norm(dim=-1, keepdim=True)
    np.testing.assert_allclose(cosines, by_hand_cosines[[0, 2, 3], at].numpy(), **close)
    with torch.inference_mode():
        early = model.lm_head(model.model.norm(streams[[1, 3]]))
    np.testing.assert_allclose(lens, masses(early, SETS)[:, at], **close)
    for values in (logprobs, likelihood, residuals, cosines, lens, distribution):
        assert values.dtype == np.float32


def test_the_lens_has_the_soft_capping_of_gemma_2(gemma):
    model = gemma._model
    streams, logits = plain(model)
    cap = model.config.final_logit_softcapping
    with torch.inference_mode():
        early = cap * torch.tanh(model.lm_head(model.model.norm(streams)) / cap)
    layers = tuple(range(len(streams)))
    (lens,) = read(gemma, Read("lens", EVERYWHERE, layers, SETS))
    np.testing.assert_allclose(lens, masses(early, SETS), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(lens[-1], masses(logits, SETS), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", OPENED)
def test_the_lens_at_the_last_block_is_what_the_model_says_on_every_architecture(architecture):
    model, tokenizer = tiny_model(architecture)
    _, logits = plain(model)
    with TorchInjector.open(model, tokenizer=tokenizer) as injector:
        last = injector.model.n_layers - 1
        wanted = [Read("logprobs", EVERYWHERE, sets=SETS), Read("lens", EVERYWHERE, (last,), SETS)]
        own, lens = read(injector, *wanted)
        # The rest of the pass is the model's own, which rounds as passes of other shapes do.
        np.testing.assert_allclose(own, masses(logits, SETS), rtol=1e-2, atol=5e-3)
        np.testing.assert_allclose(lens[0], own, rtol=1e-5, atol=1e-5)
        own, lens = read(injector, *wanted, injections=[steer(0.5, layer=last)])
        np.testing.assert_allclose(lens[0], own, rtol=1e-5, atol=1e-5)
        # What is steered at the last block is seen, and so is read behind it.
        assert np.abs(own - masses(logits, SETS)).max() > 0.01


LLAMA_LIKE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("configuration", "settings"),
    [
        # Logits are multiplied, divided, capped; states are divided before the head, or projected to another width.
        ("CohereConfig", {**LLAMA_LIKE, "logit_scale": 0.3}),
        ("Cohere2Config", {**LLAMA_LIKE, "logit_scale": 0.3}),
        ("GraniteConfig", {**LLAMA_LIKE, "logits_scaling": 7.0}),
        ("Gemma2Config", {**LLAMA_LIKE, "head_dim": 32, "final_logit_softcapping": 3.0}),
        ("MiniCPM3Config", {**LLAMA_LIKE, "dim_model_base": 16}),
        ("OPTConfig", {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "ffn_dim": 128,
                       "word_embed_proj_dim": 32}),
        ("OPTConfig", {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "ffn_dim": 128,
                       "word_embed_proj_dim": 64, "_remove_final_layer_norm": True}),
        ("MptConfig", {"d_model": 64, "n_layers": 3, "n_heads": 2, "logit_scale": 0.5}),
        ("PhiConfig", LLAMA_LIKE),
        ("Starcoder2Config", LLAMA_LIKE),
        ("MixtralConfig", {**LLAMA_LIKE, "num_local_experts": 4}),
        ("StableLmConfig", LLAMA_LIKE),
    ],
)  # fmt: skip
def test_logits_that_are_scaled_capped_or_projected_are_so_in_the_lens(configuration, settings, dtype):
    config = getattr(transformers, configuration)(
        vocab_size=320, initializer_range=0.2, bos_token_id=1, eos_token_id=2, pad_token_id=0, **settings
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    blocks = find_blocks(model).modules
    streams, logits = plain(model)
    ids = torch.tensor([[7, 11, 13, 9]])
    lens = find_lens(model, blocks, ids)
    torch.testing.assert_close(lens(streams[-1]), logits, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-3)
    with torch.inference_mode():
        states = model.base_model(torch.tensor([FED]), use_cache=False)[0][0]
    made = find_unembedding(model, blocks, ids)(states)
    torch.testing.assert_close(made, logits, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-3)


def test_the_models_own_forward_is_back_after_each_reading(injector, llama):
    read(injector, Read("lens", EVERYWHERE, (1,), SETS), Read("logprobs", EVERYWHERE, sets=SETS))
    assert "forward" not in vars(llama[0].base_model)
    assert Unchanged(llama[0]).check() is None
    injector._unchanged.check()


def test_a_model_that_hides_something_behind_its_last_block_is_refused_the_lens_and_told_why():
    model, tokenizer = tiny_model("llama")

    class FakeScaling(type(model.model)):
        """Doubles its states where no module shows it."""

        def forward(self, *args, **options):
            done = super().forward(*args, **options)
            done.last_hidden_state = done.last_hidden_state * 2
            return done

    model.model.__class__ = FakeScaling
    with TorchInjector.open(model, tokenizer=tokenizer) as injector:
        with pytest.raises(ModelError, match=r"logit lens by \['model.norm'\].*the model's own logits.*off by 0.5"):
            read(injector, Read("lens", EVERYWHERE, (1,), SETS))
        _, logits = plain(model)
        own, stream = read(injector, Read("logprobs", EVERYWHERE, sets=SETS), Read("residuals", LATE, (1,)))
        np.testing.assert_allclose(own, masses(logits, SETS), rtol=1e-3, atol=1e-4)
        assert stream.shape == (1, 4, 64)


def test_logits_of_many_positions_are_made_of_some_at_a_time(injector, monkeypatch):
    wanted = (
        Read("logprobs", EVERYWHERE, sets=SETS),
        Read("likelihood", EVERYWHERE),
        Read("lens", EVERYWHERE, (0, 2), SETS),
    )
    whole = read(injector, *wanted)
    sizes = []
    forward = reads_module.Unembedding.__call__

    def counted(self, states):
        sizes.append(len(states))
        return forward(self, states)

    monkeypatch.setattr(reads_module.Unembedding, "__call__", counted)
    monkeypatch.setattr(reads_module, "_PART", 4 * injector.limits.vocabulary)
    for one, other in zip(read(injector, *wanted), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert max(sizes) == 4


def test_rows_that_read_different_things_beside_each_other_read_what_each_does_alone(injector):
    requests = []
    for n in range(12):
        where = (EVERYWHERE, LATE, Positions(11, 12, 12))[n % 3]
        wanted = [
            Read("logprobs", where, sets=SETS[: 1 + n % 2]),
            Read("cosines", where, (n % 4, 3), vectors=VECTORS[: 1 + n % 2]),
            Read("lens", where, (2, n % 2), SETS),
            Read("residuals", where, (1,)),
        ][n % 4 :]
        requests.append(replay(*wanted, injections=[steer(0.3)] * (n % 2), forced=FORCED[: n % 5]))
    for done in injector.generate(requests):
        (alone,) = injector.generate([requests[done.index]])
        for one, other in zip(done.readings, alone.readings, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_without_a_reply_the_next_token_of_the_prompt_is_read(injector, llama):
    (own,) = read(injector, Read("logprobs", Positions(11, 12, 12), sets=SETS), forced=())
    _, logits = plain(llama[0])
    np.testing.assert_allclose(own[0], masses(logits, SETS)[11], rtol=1e-3)


def test_the_likelihood_of_a_text_is_that_of_its_tokens_one_by_one(injector, llama):
    (found,) = read(injector, Read("likelihood", Positions(11, 15, 12)))
    _, logits = plain(llama[0])
    logprobs = logits.log_softmax(dim=-1)
    expected = [float(logprobs[11 + n, token]) for n, token in enumerate(FORCED)]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    with pytest.raises(SpecError, match="the last token, which none follows"):
        replay(Read("likelihood", Positions(10, 12, 12)), forced=())


def test_places_that_a_reply_does_not_reach_are_read_as_none(injector):
    beyond = Positions(15, None, 12)
    wanted = [
        Read("logprobs", beyond, sets=SETS),
        Read("likelihood", beyond),
        Read("residuals", beyond, (1,)),
        Read("lens", beyond, (1,), SETS),
        Read("cosines", beyond, (1,), vectors=VECTORS),
    ]
    assert [r.shape for r in read(injector, *wanted)] == [(0, 4), (0,), (1, 0, 64), (1, 0, 4), (1, 0, 2)]


def test_only_residuals_are_read_while_a_reply_is_sampled(injector):
    with pytest.raises(SpecError, match="Replay the reply"):
        Request(PROMPT, (), SAMPLED, reads=[Read("logprobs", EVERYWHERE, sets=SETS)])
    wanted = (Read("residuals", LATE, (3, 1)), Read("residuals", Span.all().resolve(PROMPT), (0, 1)))
    request = Request.of(PROMPT, [steer(0.5)], Sampling(0.0, max_new_tokens=5), reads=wanted)
    (sampled,) = injector.generate([request])
    (replayed,) = injector.generate([attrs.evolve(request, forced=sampled.reply.token_ids)])
    for one, other in zip(sampled.readings, replayed.readings, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "lens", "layers": (1,)},
        {"kind": "logprobs", "sets": ((5,), ())},
        {"kind": "cosines", "layers": (1,), "sets": ((5,),)},
        {"kind": "residuals"},
        {"kind": "weights", "layers": (1,)},
    ],
    ids=str,
)
def test_a_read_without_what_it_needs_is_refused_where_it_is_made(fields):
    with pytest.raises(SpecError, match="read"):
        Read(positions=EVERYWHERE, **fields)


def test_tokens_that_the_model_lacks_are_refused_before_anything_runs(injector):
    with pytest.raises(SpecError, match="sets: required token ids from 0"):
        injector.generate([replay(Read("logprobs", EVERYWHERE, sets=((10**6,),)))])


def test_a_reading_that_is_not_finite_is_an_error_that_names_its_layer_and_position():
    model, tokenizer = tiny_model("llama")
    with TorchInjector.open(model, tokenizer=tokenizer) as injector:

        def spoil(_module, _args, output):
            output[:, 13:14] = torch.nan
            return output

        model.model.layers[3].register_forward_hook(spoil)
        injector._unchanged = Unchanged(model)
        for wanted, says in (
            (Read("lens", EVERYWHERE, (1, 3), SETS), "lens at layer 3, position 13"),
            (Read("logprobs", EVERYWHERE, sets=SETS), "logprobs, position 13"),
            (Read("residuals", EVERYWHERE, (0, 3)), "residual stream at layer 3, position 13"),
        ):
            with pytest.raises(NonFiniteError, match=says):
                read(injector, wanted)


def test_a_block_that_does_not_run_is_no_reading(injector, monkeypatch):
    block = type(injector._blocks.modules[1])
    monkeypatch.setattr(block, "__call__", lambda self, *args, **kwargs: self.forward(*args, **kwargs))
    with pytest.raises(SilentInjectionError, match=r"nothing at \[1\]"):
        read(injector, Read("residuals", EVERYWHERE, (1,)))
