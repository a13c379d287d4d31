"""What a model must be to be opened, how far its requests may go, and that no code of a checkpoint runs unasked."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
import torch
from random_vectors import everywhere, steer
from torch import nn
from transformers import AutoModelForCausalLM, DynamicCache, Gemma3nTextConfig

from introspection_bench import RenderedPrompt, Request, Sampling, Span, Unit, open_injector
from introspection_bench.errors import ModelError, NonFiniteError, SpecError
from introspection_bench.injectors.hf.caches import Sharing, select
from introspection_bench.injectors.hf.limits import limits_of
from introspection_bench.testing import save_tiny_model, spoil_logits, tiny_model, tiny_tokenizer
from introspection_bench.testing.tiny import tiny_config

GREEDY = Sampling(0.0, max_new_tokens=4)


def opened(model_and_tokenizer, backend="torch"):
    model, tokenizer = model_and_tokenizer
    return open_injector(backend, model.eval(), tokenizer=tokenizer)


def with_rope(architecture, positions, **rope):
    rope = {"rope_theta": 1e4, "partial_rotary_factor": 1.0, **rope}
    settings = {"max_position_embeddings": positions, "rope_parameters": rope}
    if "original_max_position_embeddings" in rope:
        settings["original_max_position_embeddings"] = rope["original_max_position_embeddings"]
    return tiny_model(architecture, settings=settings)


def ids(length, seed=0):
    return tuple(int(i) for i in np.random.default_rng(seed).integers(10, 250, length))


def uncached(injector, tokens, layers):
    """What leaves blocks but the last in one pass without a cache, by Hugging Face: (layers, positions, width)."""
    with torch.inference_mode():
        states = injector._model(torch.tensor([tokens]), use_cache=False, output_hidden_states=True).hidden_states
    return np.stack([states[layer + 1][0].numpy() for layer in layers])


def assert_close(got, expected):
    assert np.linalg.norm(got - expected) < 1e-3 * np.linalg.norm(expected)


# Streams that can't be steered


def several_streams():
    """A tiny Gemma 3n, whose blocks hand on four streams."""
    config = Gemma3nTextConfig(
        vocab_size=300,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        vocab_size_per_layer_input=300,
        hidden_size=64,
        hidden_size_per_layer_input=16,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        layer_types=["sliding_attention", "full_attention"] * 2,
        num_kv_shared_layers=0,
        laurel_rank=8,
        activation_sparsity_pattern=[0.0] * 4,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_a_model_with_several_streams_is_refused_when_it_is_opened(backend):
    with pytest.raises(ModelError, match=r"one vector per position.*\(4, 1, 3, 64\)"):
        opened((several_streams(), tiny_tokenizer()), backend)


def test_a_model_whose_parts_do_not_fit_is_a_model_error():
    model, tokenizer = tiny_model("llama")
    model.model.layers[1].mlp.up_proj = nn.Linear(64, 7)
    with pytest.raises(ModelError, match="can run three tokens"):
        opened((model, tokenizer))


def test_infinity_in_a_configuration_is_no_obstacle():
    model, tokenizer = tiny_model("llama")
    model.config.time_step_limit = (0.0, float("inf"))
    finite = opened(tiny_model("llama")).model.fingerprint
    assert opened((model, tokenizer)).model.fingerprint != finite


class FakeInt8Embedding(nn.Module):
    """An embedding as 8-bit libraries keep it: its table is a buffer of integers."""

    def __init__(self, embedding):
        super().__init__()
        self.register_buffer("weight", (embedding.weight.detach() * 100).round().to(torch.int8))

    def forward(self, input_ids):
        return self.weight[input_ids] / 100


def test_an_int8_embedding_steers_in_every_unit():
    model, tokenizer = tiny_model("llama")
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    model.model.embed_tokens = FakeInt8Embedding(model.model.embed_tokens)
    with opened((model, tokenizer)) as injector:
        assert injector.model.dtype == "float32"
        for unit in Unit:
            request = Request.of(RenderedPrompt(ids(8), ""), [steer(0.5, unit)], GREEDY)
            (completion,) = injector.generate([request])
            assert completion.receipts[0].prompt_positions == 8


def test_the_first_weight_of_a_model_may_be_an_integer():
    model, tokenizer = tiny_model("llama")
    model.first = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    assert next(model.parameters()).dtype is torch.int8
    with opened((model, tokenizer)) as injector:
        request = Request.of(RenderedPrompt(ids(8), ""), [steer(0.5, "update")], GREEDY)
        assert next(iter(injector.generate([request]))).receipts[0].prompt_positions == 8


# Lengths and token ids


@pytest.mark.parametrize(("architecture", "name"), [("gpt2", "n_positions"), ("llama", "max_position_embeddings")])
def test_prompt_and_reply_beyond_the_models_positions_are_refused_when_the_run_is_planned(architecture, name):
    with opened(tiny_model(architecture, settings={name: 32})) as injector:
        for length, new, fine in ((29, 4, True), (30, 4, False), (32, 1, True), (33, 1, False)):
            request = Request(RenderedPrompt(ids(length), ""), (), Sampling(0.0, max_new_tokens=new))
            if fine:
                assert len(list(injector.generate([request]))) == 1
            else:
                with pytest.raises(SpecError, match="at most 32 positions"):
                    injector.validate(request)
        with pytest.raises(SpecError, match="at most 32 positions"):
            injector.capture([RenderedPrompt(ids(33), "")], [0])


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_token_ids_outside_the_embedding_are_refused_when_the_run_is_planned(backend):
    with opened(tiny_model("llama"), backend) as injector:
        rows = injector.limits.vocabulary
        injector.validate(Request(RenderedPrompt((rows - 1,), ""), (), GREEDY))
        for wrong in (rows, 10**9):
            prompt = RenderedPrompt((5, wrong), "")
            with pytest.raises(SpecError, match=f"0 to {rows - 1}.*{wrong}"):
                injector.validate(Request(prompt, (), GREEDY))
            with pytest.raises(SpecError, match=str(wrong)):
                injector.capture([prompt], [0])


@pytest.mark.parametrize(
    ("rope", "positions"),
    [
        ({"rope_type": "default"}, 32),
        ({"rope_type": "linear", "factor": 4.0}, 128),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}, 128),
        ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}, 32),
        ({"rope_type": "dynamic", "factor": 4.0}, 32),
        (
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8,
            },
            32,
        ),
    ],
    ids=lambda value: value.get("rope_type") if isinstance(value, dict) else "",
)
def test_scaled_position_encodings_reach_as_far_as_their_configuration_says(rope, positions):
    config = tiny_config("llama", {"max_position_embeddings": 32, "rope_parameters": {"rope_theta": 1e4, **rope}})
    assert limits_of(config).positions == positions


# Position encodings that depend on the length


def test_dynamic_frequencies_are_refused_beyond_the_length_at_which_they_begin_to_move():
    with opened(with_rope("llama", 32, rope_type="dynamic", factor=4.0)) as injector:
        inside = RenderedPrompt(ids(28), "")
        (completion,) = injector.generate([Request(inside, (), GREEDY, reads=everywhere(inside, (2,)))])
        tokens = (*inside.token_ids, *completion.reply.token_ids[:-1])
        assert_close(completion.readings[0], uncached(injector, tokens, [2]))
        beyond = RenderedPrompt(ids(60), "")
        with pytest.raises(SpecError, match="at most 32 positions"):
            injector.validate(Request(beyond, (), GREEDY))
        with pytest.raises(SpecError, match="at most 32 positions"):
            injector.capture([beyond], [2])


@pytest.mark.parametrize("backend", ["torch", "nnsight"])
def test_frequencies_that_switch_for_long_sequences_give_what_one_pass_gives_on_both_sides(backend):
    generator = np.random.default_rng(0)
    factors = {name: generator.uniform(1, 8, 16).tolist() for name in ("short_factor", "long_factor")}
    tiny = with_rope("phi3", 256, rope_type="longrope", factor=8.0, original_max_position_embeddings=32, **factors)
    with opened(tiny, backend) as injector, opened(tiny) as reading:
        # Groups with common beginnings, on both sides of the switch at 32, in one call.
        prompts = [RenderedPrompt(ids(60)[:n], "", {"late": n // 2}) for n in (20, 24, 40, 60)]
        late = steer(0.5, span=Span.from_anchor("late"))
        requests = [Request.of(p, i, GREEDY, reads=everywhere(p, (0, 2))) for p in prompts for i in ((), (late,))]
        for completion in injector.generate(requests):
            request = requests[completion.index]
            if not request.steers:
                tokens = (*request.prompt.token_ids, *completion.reply.token_ids[:-1])
                assert_close(completion.readings[0], uncached(reading, tokens, [0, 2]))
        for prompt, captured in zip(prompts, injector.capture(prompts, [2]), strict=True):
            assert_close(captured, uncached(reading, prompt.token_ids, [2])[:, -1])
        with pytest.raises(SpecError, match="within 32 positions"):
            injector.validate(Request(RenderedPrompt(ids(30), ""), (), GREEDY))


# Caches


def test_a_model_whose_logits_are_not_finite_is_refused_when_it_is_opened():
    model, tokenizer = tiny_model("llama")
    with pytest.raises(NonFiniteError, match="which token 1 of the reply is chosen from"):
        opened((spoil_logits(model), tokenizer))


def test_what_is_shared_is_what_was_proved():
    shared = {name: opened(tiny_model(name)).sharing for name in ("llama", "gemma3", "falcon_h1", "jamba", "mamba")}
    assert [shared[n] for n in ("llama", "gemma3", "falcon_h1")] == [Sharing.PREFIX] * 3
    assert Sharing.PREFIX not in (shared["jamba"], shared["mamba"])


def test_selecting_rows_of_a_recurrent_cache_leaves_nothing_in_common_with_it():
    model, _ = tiny_model("falcon_h1")
    with torch.inference_mode():
        cache = model(torch.tensor([ids(9)]), use_cache=True, past_key_values=DynamicCache(config=model.config))
        first = select(cache.past_key_values, [0, 0])
        states = [layer.recurrent_states[0].clone() for layer in cache.past_key_values.layers]
        model(torch.tensor([ids(1, 1), ids(1, 2)]), past_key_values=first, use_cache=True)
    for before, layer, other in zip(states, cache.past_key_values.layers, first.layers, strict=True):
        assert torch.equal(before, layer.recurrent_states[0])
        assert not torch.equal(other.recurrent_states[0][0], other.recurrent_states[0][1])


def test_a_model_that_forgets_with_every_pass_is_refused():
    model, tokenizer = tiny_model("llama")
    attention = type(model.model.layers[1].self_attn)

    class FakeForgetful(attention):
        """Throws its cache away where it should go on from it."""

        def forward(self, *args, past_key_values=None, **options):
            return super().forward(*args, past_key_values=None, **{**options, "attention_mask": None})

    model.model.layers[1].self_attn.__class__ = FakeForgetful
    with pytest.raises(ModelError, match="equal passes without a cache"):
        opened((model, tokenizer))


# Code of a checkpoint


@pytest.fixture
def poisoned(tmp_path):
    """A checkpoint whose config, model and tokenizer all name code of its own, which tells when it runs."""
    folder = save_tiny_model("llama", tmp_path / "poisoned")
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(
        f"open({str(ran)!r}, 'a').write('x')\n"
        "from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
        "class OwnTokenizer(PreTrainedTokenizerFast):\n    pass\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own"}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["own.OwnTokenizer", "own.OwnTokenizer"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "OwnTokenizer"}))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(
        f"open({str(ran)!r}, 'a').write('x')\ndef generate(model, **options):\n    raise RuntimeError('not ours')\n"
    )
    return folder, ran


@pytest.mark.parametrize("options", [("torch", {}), ("nnsight", {}), ("nnsight", {"remote": "local"})], ids=str)
def test_a_checkpoints_code_never_runs_whatever_standard_input_answers(poisoned, monkeypatch, options):
    folder, ran = poisoned
    backend, given = options
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
    asked = []
    monkeypatch.setattr("builtins.input", lambda *text: asked.append(text) or "y")
    with pytest.raises(ModelError, match="trust_remote_code"):
        open_injector(backend, folder, **given)
    for wrong in (None, "yes", 1):
        with pytest.raises(ModelError, match=r"(?i)true or false"):
            open_injector(backend, folder, trust_remote_code=wrong, **given)
    assert not ran.exists()
    assert not asked


def test_trusted_code_runs_and_counts_in_the_fingerprint(poisoned, tmp_path):
    folder, ran = poisoned
    plain = save_tiny_model("llama", tmp_path / "plain")
    prints = set()
    with open_injector("torch", plain, device="cpu") as injector:
        prints.add(injector.model.fingerprint)
    for change in ("", "# another version\n"):
        (folder / "own.py").write_text((folder / "own.py").read_text() + change)
        with open_injector("torch", folder, device="cpu", trust_remote_code=True) as injector:
            assert type(injector._model).__name__ == "OwnModel"
            prints.add(injector.model.fingerprint)
    assert ran.exists()
    assert len(prints) == 3


def test_a_spec_lets_code_run_only_by_name(poisoned):
    from introspection_bench.sweep.spec import ModelSpec

    folder, _ = poisoned
    with pytest.raises(ModelError, match="trust_remote_code"):
        ModelSpec(str(folder)).open()
    with ModelSpec(str(folder), trust_remote_code=True).open() as injector:
        assert type(injector._model).__name__ == "OwnModel"
