"""The unit ``update``: which branch of a block it refers to, proved for the families that could mislead it."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
import transformers
from random_vectors import everywhere, steer

from introspection_bench import RenderedPrompt, Request, Sampling, open_injector
from introspection_bench.errors import ModelError
from introspection_bench.injectors.hf.blocks import find_blocks, find_update_module
from introspection_bench.injectors.torch.injector import TorchInjector
from introspection_bench.testing import tiny_model, tiny_tokenizer

NEEDS_NNSIGHT = pytest.mark.skipif(find_spec("nnsight") is None, reason="the extra nnsight is not installed")
IDS = torch.tensor([[7, 11, 13, 9]])
LLAMA_LIKE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
GPT_LIKE = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}


def random_model(configuration, **settings):
    config = getattr(transformers, configuration)(
        vocab_size=320, initializer_range=0.2, bos_token_id=1, eos_token_id=2, pad_token_id=0, **settings
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def branch_name(model, dtype, layer=1):
    model = model.to(dtype) if dtype != torch.float32 else model
    block = find_blocks(model).modules[layer]
    found = find_update_module(model, block, IDS)
    return next(name for name, module in block.named_modules() if module is found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("configuration", "settings", "branch"),
    [
        # The MLP gets the residual as a second input and returns the sum.
        ("BloomConfig", {"hidden_size": 64, "n_layer": 3, "n_head": 2}, "mlp.dense_4h_to_h"),
        (
            "BloomConfig",
            {"hidden_size": 64, "n_layer": 3, "n_head": 2, "apply_residual_connection_post_layernorm": True},
            "mlp.dense_4h_to_h",
        ),
        ("MptConfig", {"d_model": 64, "n_layers": 3, "n_heads": 2}, "ffn.down_proj"),
        # Attention and MLP side by side; Falcon adds the one to the other's output in place.
        ("FalconConfig", GPT_LIKE, "mlp"),
        ("FalconConfig", {**GPT_LIKE, "parallel_attn": False}, "mlp"),
        ("GPTNeoXConfig", {**GPT_LIKE, "intermediate_size": 128}, "mlp"),
        ("PhiConfig", LLAMA_LIKE, "mlp"),
        ("CohereConfig", LLAMA_LIKE, "mlp"),
        # A norm behind the MLP.
        ("Gemma2Config", {**LLAMA_LIKE, "head_dim": 32}, "post_feedforward_layernorm"),
        ("Olmo2Config", LLAMA_LIKE, "post_feedforward_layernorm"),
        ("Glm4Config", {**LLAMA_LIKE, "head_dim": 32}, "post_mlp_layernorm"),
        # No module of its own, and rows and positions as one axis.
        ("OPTConfig", {**GPT_LIKE, "ffn_dim": 128, "word_embed_proj_dim": 64}, "fc2"),
        # Experts, and a residual that is the norm's output.
        ("MixtralConfig", {**LLAMA_LIKE, "num_local_experts": 4}, "mlp"),
        ("GraniteConfig", {**LLAMA_LIKE, "residual_multiplier": 1.0}, "mlp"),
    ],
)
def test_the_branch_is_what_the_block_adds_last_and_not_the_stream(configuration, settings, branch, dtype):
    assert branch_name(random_model(configuration, **settings), dtype) == branch


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("configuration", "settings", "says"),
    [
        ("GraniteConfig", {**LLAMA_LIKE, "residual_multiplier": 0.22}, "multiplies by 0.22"),
        ("GraniteConfig", {**LLAMA_LIKE, "residual_multiplier": 0.9}, "multiplies by 0.9"),
        ("MiniCPM3Config", LLAMA_LIKE, "multiplies by 0.8"),
        ("OPTConfig", {**GPT_LIKE, "ffn_dim": 128, "word_embed_proj_dim": 64, "do_layer_norm_before": False}, "fc2"),
    ],
)
def test_a_branch_that_is_scaled_or_normed_with_the_sum_is_refused_by_what_was_found(
    configuration, settings, says, dtype
):
    with pytest.raises(ModelError, match=says):
        branch_name(random_model(configuration, **settings), dtype)


def test_a_branch_that_is_small_beside_the_stream_is_still_seen_to_be_scaled_in_bfloat16():
    model = random_model("GraniteConfig", **LLAMA_LIKE, residual_multiplier=0.5)
    with torch.no_grad():
        for block in model.model.layers:
            block.mlp.down_proj.weight.mul_(1e-2)
    with pytest.raises(ModelError, match=r"multiplies by 0\.5"):
        branch_name(model, torch.bfloat16)


def test_an_mlp_that_adds_the_residual_is_refused_where_it_is_named_and_told_for_what_it_is():
    model, tokenizer = tiny_model("bloom")
    injector = TorchInjector.open(model, tokenizer=tokenizer, update_module="mlp")
    with pytest.raises(ModelError, match="BloomMLP, whose output holds the residual stream itself"):
        list(injector.generate([Request.of(PROMPT, [steer(0.5, "update")], Sampling(0, max_new_tokens=2))]))


def test_packed_integer_parameters_do_not_stand_in_the_way_of_the_check():
    model, _ = tiny_model("llama")
    embedding = model.model.embed_tokens

    class FakePackedEmbedding(torch.nn.Module):
        """Rows as int8 with one scale, as quantised checkpoints hold them."""

        def __init__(self, weight):
            super().__init__()
            self.scale = float(weight.abs().max()) / 127
            self.weight = torch.nn.Parameter((weight / self.scale).round().to(torch.int8), requires_grad=False)

        def forward(self, ids):
            return self.weight[ids].float() * self.scale

    model.model.embed_tokens = FakePackedEmbedding(embedding.weight.detach())
    assert branch_name(model, torch.float32) == "mlp"


def test_a_branch_that_does_not_run_is_an_error_that_says_so():
    # BLOOM's exact mode multiplies by the weights' slices and never calls the projection.
    model = random_model("BloomConfig", hidden_size=64, n_layer=3, n_head=2, pretraining_tp=2, slow_but_exact=True)
    with pytest.raises(ModelError, match="ran 0 times"):
        branch_name(model, torch.float32)


def output_of(model, module):
    """What a module returns for the prompt, in a pass without any steering."""
    kept = []
    handle = module.register_forward_hook(lambda _m, _a, output: kept.append(output))
    with torch.inference_mode():
        model(torch.tensor([PROMPT.token_ids]))
    handle.remove()
    return kept[0][0] if isinstance(kept[0], tuple) else kept[0].clone()


def linear(x, module):
    return x @ module.weight.T + (0 if module.bias is None else module.bias)


def bloom_by_hand(model, block):
    """The last projection's own product, from what attention and residual came to."""
    inner = linear(block.post_attention_layernorm(output_of(model, block.self_attention)), block.mlp.dense_h_to_4h)
    return linear(torch.nn.functional.gelu(inner, approximate="tanh"), block.mlp.dense_4h_to_h)


def falcon_by_hand(model, block):
    """The MLP of the block's normed input; attention is added to it in place afterwards."""
    inner = linear(output_of(model, block.input_layernorm), block.mlp.dense_h_to_4h)
    return linear(torch.nn.functional.gelu(inner), block.mlp.dense_4h_to_h)


def opt_by_hand(model, block):
    """Two projections over rows and positions as one axis."""
    inner = linear(output_of(model, block.final_layer_norm), block.fc1)
    return linear(torch.relu(inner), block.fc2)[None]


PROMPT = RenderedPrompt(tuple(range(20, 30)), "")


def opened(architecture, backend="torch"):
    if architecture == "opt":
        model = random_model("OPTConfig", **GPT_LIKE, ffn_dim=128, word_embed_proj_dim=64)
        return model, open_injector(backend, model, tokenizer=tiny_tokenizer())
    model, tokenizer = tiny_model(architecture)
    return model, open_injector(backend, model, tokenizer=tokenizer)


@pytest.mark.parametrize("backend", ["torch", pytest.param("nnsight", marks=NEEDS_NNSIGHT)])
@pytest.mark.parametrize(
    ("architecture", "by_hand"), [("bloom", bloom_by_hand), ("falcon", falcon_by_hand), ("opt", opt_by_hand)]
)
def test_update_adds_the_norm_of_the_branch_as_the_weights_give_it_by_hand(architecture, by_hand, backend):
    model, injector = opened(architecture, backend)
    with torch.inference_mode():
        norms = by_hand(model, find_blocks(model).modules[1])[0].norm(dim=-1).numpy()
    once, magnitudes = Sampling(0, max_new_tokens=1), (0.5, 1.0, -2.0)
    steered = [steer(m, "update", seed=n) for n, m in enumerate(magnitudes)]
    reads = everywhere(PROMPT, (1,))
    requests = [Request(PROMPT, (), once, reads=reads)]
    requests += [Request.of(PROMPT, [injection], once, reads=reads) for injection in steered]
    control, *done = sorted(injector.generate(requests), key=lambda c: c.index)
    stream = np.linalg.norm(control.readings[0][0], axis=1)
    for magnitude, completion in zip(magnitudes, done, strict=True):
        added = np.linalg.norm(completion.readings[0][0] - control.readings[0][0], axis=1)
        np.testing.assert_allclose(added, abs(magnitude) * norms, rtol=1e-3)
        ratios = abs(magnitude) * norms / stream
        assert completion.receipts[0].mean_ratio == pytest.approx(float(ratios.mean()), rel=1e-3)
        # In none of these models is the branch as long as the stream: the unit residual would show.
        assert abs(completion.receipts[0].mean_ratio / abs(magnitude) - 1) > 0.02
