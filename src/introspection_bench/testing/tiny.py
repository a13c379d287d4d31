"""Tiny random models of real architectures, and a tokenizer made in code: no download, milliseconds per forward.

Each model is built from the configuration class that Transformers uses for the real one, so that its blocks, norms,
caches and sliding windows are the real ones; only sizes and weights differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import UnknownNameError, explain

#: Special tokens, in the order of their ids.
_SPECIAL = ("<pad>", "<s>", "<end>", "<system>", "<user>", "<assistant>")
#: Words that become single tokens, so that prompts are short and anchors fall on tokens of several characters.
_WORDS = (
    "\n\n",
    "Trial",
    " thought",
    " injected",
    " the",
    " you",
    " about",
    "Ok",
    " pattern",
    " of",
    " an",
    " in",
    " to",
)
_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)

#: Width of the residual stream, attention heads (of width 32) and decoder blocks of every tiny model.
HIDDEN_SIZE, HEADS, LAYERS = 64, 2, 4
_POSITIONS = 2048
#: The ``quantization_config`` that compressed-tensors writes for FP8-dynamic, as in published 405B checkpoints.
_FP8_DYNAMIC: Mapping[str, Any] = MappingProxyType(
    {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel", "dynamic": False},
                "input_activations": {
                    "num_bits": 8,
                    "type": "float",
                    "symmetric": True,
                    "strategy": "token",
                    "dynamic": True,
                },
            }
        },
    }
)


def tiny_tokenizer() -> Any:
    """Return a fast byte-level tokenizer with a chat template (a ``PreTrainedTokenizerFast``).

    256 bytes, some 60 merges and six special tokens; ``<s>`` begins a chat, ``<end>`` ends a turn and the reply.
    It adds no token of its own when called, whatever ``add_special_tokens`` says.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges: list[tuple[str, str]] = []
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for word in _WORDS:
        characters = level.pre_tokenize_str(word)[0][0]
        for end in range(1, len(characters)):
            left, right = characters[:end], characters[end]
            if (left, right) not in merges:
                merges.append((left, right))
                pieces.append(left + right)
    core = Tokenizer(models.BPE({piece: i for i, piece in enumerate(dict.fromkeys(pieces))}, merges))
    core.pre_tokenizer = level
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",  # noqa: S106  # a vocabulary entry
        bos_token="<s>",  # noqa: S106  # as above
        eos_token="<end>",  # noqa: S106  # as above
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _rope(transformers: Any, name: str, extra: Mapping[str, Any], common: Mapping[str, Any]) -> Any:
    return getattr(transformers, name)(
        **common,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=2 * HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        max_position_embeddings=_POSITIONS,
        **extra,
    )


def _gpt2(transformers: Any, common: Mapping[str, Any]) -> Any:
    return transformers.GPT2Config(
        **common, n_embd=HIDDEN_SIZE, n_layer=LAYERS, n_head=HEADS, n_positions=_POSITIONS, n_inner=2 * HIDDEN_SIZE
    )


def _gpt_neox(transformers: Any, common: Mapping[str, Any]) -> Any:
    return transformers.GPTNeoXConfig(
        **common,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=2 * HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=_POSITIONS,
    )


def _bloom(transformers: Any, common: Mapping[str, Any]) -> Any:
    return transformers.BloomConfig(**common, hidden_size=HIDDEN_SIZE, n_layer=LAYERS, n_head=HEADS)


def _falcon(transformers: Any, common: Mapping[str, Any]) -> Any:
    return transformers.FalconConfig(
        **common, hidden_size=HIDDEN_SIZE, num_hidden_layers=LAYERS, num_attention_heads=HEADS
    )


def _like_llama(name: str, **extra: Any) -> Callable[[Any, Mapping[str, Any]], Any]:
    return lambda transformers, common: _rope(transformers, name, extra, common)


def _recurrent(name: str, **extra: Any) -> Callable[[Any, Mapping[str, Any]], Any]:
    return lambda transformers, common: getattr(transformers, name)(
        **common, hidden_size=HIDDEN_SIZE, num_hidden_layers=LAYERS, **extra
    )


_LINEAR = ["linear_attention", "full_attention"] * (LAYERS // 2)
_DELTA: Mapping[str, Any] = MappingProxyType(
    {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    }
)
_EXPERTS: Mapping[str, Any] = MappingProxyType(
    {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
    }
)
_MAMBA: Mapping[str, Any] = MappingProxyType({"mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8})
# Windows shorter than the conformance suite's prompts, so that sliding layers and their caches do slide.
_WINDOW = 24
_BUILDERS: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = MappingProxyType(
    {
        "llama": _like_llama("LlamaConfig", head_dim=32),
        "mistral": _like_llama("MistralConfig", head_dim=32, sliding_window=_WINDOW),
        "qwen2": _like_llama("Qwen2Config"),
        "qwen3": _like_llama("Qwen3Config", head_dim=32),
        "gemma2": _like_llama("Gemma2Config", head_dim=32, sliding_window=_WINDOW, query_pre_attn_scalar=32),
        "gemma3": _like_llama(
            "Gemma3TextConfig",
            head_dim=32,
            sliding_window=_WINDOW,
            query_pre_attn_scalar=32,
            layer_types=["sliding_attention", "full_attention"] * (LAYERS // 2),
        ),
        "phi3": _like_llama("Phi3Config"),
        "olmo2": _like_llama("Olmo2Config"),
        "gpt2": _gpt2,
        "gpt_neox": _gpt_neox,
        # The MLP of one adds the residual itself, the block of the other adds into its MLP's output in place.
        "bloom": _bloom,
        "falcon": _falcon,
        # Recurrent and convolutional states beside or instead of keys and values. Their scans work in pieces of
        # eight tokens where the configuration lets one choose.
        "qwen3_next": _like_llama("Qwen3NextConfig", head_dim=32, layer_types=_LINEAR, **_DELTA, **_EXPERTS),
        "qwen3_5": _like_llama("Qwen3_5TextConfig", head_dim=32, layer_types=_LINEAR, **_DELTA),
        "olmo_hybrid": _like_llama("OlmoHybridConfig", layer_types=_LINEAR, **_DELTA),
        "lfm2": _like_llama("Lfm2Config", layer_types=["conv", "full_attention"] * 2),
        "falcon_h1": _like_llama("FalconH1Config", mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, **_MAMBA),
        "bamba": _like_llama("BambaConfig", attn_layer_indices=[1, 3], mamba_n_heads=8, mamba_d_head=16, **_MAMBA),
        "granite4": _like_llama(
            "GraniteMoeHybridConfig",
            layer_types=["mamba", "attention"] * 2,
            mamba_n_heads=8,
            mamba_d_head=16,
            num_local_experts=2,
            num_experts_per_tok=1,
            shared_intermediate_size=HIDDEN_SIZE,
            **_MAMBA,
        ),
        "jamba": _like_llama(
            "JambaConfig",
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            mamba_d_state=8,
            mamba_dt_rank=8,
            num_experts=2,
            num_experts_per_tok=1,
        ),
        "zamba2": _like_llama(
            "Zamba2Config",
            layers_block_type=["mamba", "hybrid"] * 2,
            hybrid_layer_ids=[1, 3],
            num_mem_blocks=1,
            adapter_rank=8,
            mamba_d_state=8,
            mamba_headdim=16,
            n_mamba_heads=8,
            mamba_ngroups=1,
            chunk_size=8,
        ),
        "nemotron_h": _like_llama(
            "NemotronHConfig",
            layers_block_type=["mamba", "attention", "mamba", "mlp"],
            mamba_num_heads=8,
            mamba_head_dim=16,
            ssm_state_size=8,
            n_groups=1,
            chunk_size=8,
        ),
        "minimax": _like_llama(
            "MiniMaxConfig",
            head_dim=32,
            layer_types=_LINEAR,
            block_size=8,
            num_local_experts=2,
            num_experts_per_tok=1,
        ),
        "recurrent_gemma": _like_llama(
            "RecurrentGemmaConfig",
            lru_width=HIDDEN_SIZE,
            attention_window_size=_WINDOW,
            block_types=["recurrent", "attention"],
        ),
        "mamba": _recurrent("MambaConfig", state_size=8, time_step_rank=8),
        "mamba2": _recurrent("Mamba2Config", state_size=8, num_heads=8, head_dim=16, n_groups=1, chunk_size=8),
    }
)
#: The architectures that :func:`tiny_model` can build.
ARCHITECTURES: tuple[str, ...] = tuple(_BUILDERS)
#: Those of them that keep recurrent or convolutional states.
RECURRENT: tuple[str, ...] = ARCHITECTURES[ARCHITECTURES.index("qwen3_next") :]


def tiny_config(architecture: str, settings: Mapping[str, Any] | None = None) -> Any:
    """Return the configuration of :func:`tiny_model`, with ``settings`` of it replaced by their own names."""
    import transformers

    if architecture not in _BUILDERS:
        raise UnknownNameError(
            explain("architecture", required=f"one of {list(ARCHITECTURES)}", got=architecture, hint="Pick one.")
        )
    tokenizer = tiny_tokenizer()
    common = {
        "vocab_size": len(tokenizer),
        "initializer_range": 0.2,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = _BUILDERS[architecture](transformers, common)
    return config if not settings else type(config).from_dict({**config.to_dict(), **settings})


def tiny_model(architecture: str, seed: int = 0, settings: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
    """Return (model, tokenizer): a float32 causal language model with random weights, in evaluation mode, on the CPU.

    Four blocks, width 64, two heads of width 32, a vocabulary of about 320. The weights are wide enough (standard
    deviation 0.2) that steering by half the residual's norm changes greedy tokens. The same ``seed`` gives the same
    weights on one version of PyTorch; the global random state is left as it was. ``settings`` replace some of the
    configuration.

    Raises :class:`~introspection_bench.errors.UnknownNameError` for an architecture that is not in
    :data:`ARCHITECTURES`.
    """
    import torch
    import transformers

    config = tiny_config(architecture, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.eval()
    return model, tiny_tokenizer()


def spoil_logits(model: Any, value: float = math.nan) -> Any:
    """Set the output row of one token to ``value``, in place, so that each position's logits hold it; return the model.

    For the conformance suite's ``unsound``. A head that is tied to the embedding is untied first: what goes into the
    model stays sound.
    """
    import torch

    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    with torch.no_grad():
        head.weight[0] = value
    return model


def save_tiny_model(architecture: str, folder: str | Path, seed: int = 0) -> Path:
    """Write :func:`tiny_model` as a Hugging Face folder (safetensors) and return its path.

    For engines that load from disk, such as vLLM.
    """
    model, tokenizer = tiny_model(architecture, seed)
    folder = Path(folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def quantise_saved_model(folder: str | Path) -> Path:
    """Turn a saved Llama-like model into a compressed-tensors FP8-dynamic checkpoint, in place; return its folder.

    Linear weights become float8_e4m3 with one scale per output channel (the largest absolute value maps to 448);
    activations are quantised per token when the model runs. A folder without weights (for vLLM's
    ``load_format="dummy"``) gets the configuration alone.
    """
    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(folder)
    largest = torch.finfo(torch.float8_e4m3fn).max
    for path in folder.glob("*.safetensors"):
        saved = load_file(path)
        for name in [n for n in saved if n.endswith("_proj.weight")]:
            weight = saved[name].float()
            scale = weight.abs().amax(dim=1, keepdim=True) / largest
            saved[name] = (weight / scale).to(torch.float8_e4m3fn)
            saved[f"{name}_scale"] = scale.to(torch.bfloat16)
        save_file(saved, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = dict(_FP8_DYNAMIC)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return folder
