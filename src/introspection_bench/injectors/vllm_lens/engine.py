"""A vLLM engine for the injector: its arguments, what it holds, its end."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm import EngineArgs, LLMEngine
from vllm.usage.usage_lib import UsageContext

from ...errors import ModelError, ModelNotFoundError, explain
from ..base import ModelInfo
from ..hf.checkpoints import fingerprint_checkpoint
from ..hf.stopping import EndTokens, ReplyReader, end_tokens
from .amx import ask_for_amx

_EXTENSION = "introspection_bench.injectors.vllm_lens.worker.SteeringExtension"
_SAMPLER = "introspection_bench.injectors.vllm_lens.sampling:SeededSampling"
#: Engine arguments that would break a promise, with the only values that keep it and the reason.
_FIXED: Mapping[str, tuple[Any, str]] = {
    "enable_prefix_caching": (
        False,
        "Steered requests write their keys and values to the prefix cache under the plain token hashes, and a later "
        "control with the same prompt would read them.",
    ),
    "enforce_eager": (True, "Compiled graphs skip the hooks."),
    "speculative_config": (None, "Rejected draft tokens are run through the blocks and would be counted."),
    "worker_extension_cls": (_EXTENSION, "The injector needs its own worker extension."),
    "logits_processors": ([_SAMPLER], "The injector samples by one of its own; another one would alter replies."),
    "data_parallel_size": (1, "Start one injector per replica instead."),
    "skip_tokenizer_init": (True, "The engine works on token ids alone; pass tokenizer= to choose a tokenizer."),
}
#: Fills the engine, while vllm-lens's work per step, which grows with the square of it, stays small.
DEFAULT_SEQUENCES = 64


def start(model: Any, chosen: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
    """Start an engine with ``chosen`` (None: vLLM's default) and ``others``, arguments by vLLM's names.

    Raises:
        ModelNotFoundError: a path leads nowhere.
        ModelError: vLLM can't load the model or refuses an argument, or an argument would break the steering.
    """
    arguments = _arguments(model, chosen, others)
    ask_for_amx()
    try:
        return LLMEngine.from_engine_args(EngineArgs(**arguments), usage_context=UsageContext.LLM_CLASS)
    except (TypeError, ValueError, OSError, RuntimeError, AssertionError, NotImplementedError) as error:
        _clean_up()
        raise ModelError(
            explain(
                "model and engine arguments",
                required="a model and arguments that vLLM accepts",
                got=f"{type(error).__name__}: {error}",
                hint=f"Given: {arguments}.",
            )
        ) from error


def describe(
    model: Any, config: Any, reader: ReplyReader, quantization: str | None, others: Mapping[str, Any]
) -> ModelInfo:
    """Return what an engine's ``model_config`` says of its model."""
    return ModelInfo(
        name=Path(str(model)).name or str(model),
        fingerprint=fingerprint_checkpoint(
            _folder(config),
            _numerics(config, quantization, others),
            reader.tokenizer,
            stop_ids=reader.ends.ids,
            trust_remote_code=bool(config.trust_remote_code),
        ),
        n_layers=int(config.get_total_num_hidden_layers()),
        hidden_size=int(config.get_hidden_size()),
        dtype=str(config.dtype).removeprefix("torch."),
    )


def _arguments(model: Any, chosen: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return what vLLM is given; raises :class:`ModelError` for arguments that clash with ours."""
    if not isinstance(model, str | Path):
        raise ModelError(
            explain("model", required="a folder or a hub id", got=type(model).__name__, hint="vLLM loads from disk.")
        )
    path = Path(os.path.expanduser(model))  # pathlib's own raises where an account has no home
    local = path.is_absolute() or str(model).startswith((".", "~"))
    if (local or path.is_dir()) and not (path / "config.json").is_file():
        raise ModelNotFoundError(
            explain("model", required="a folder with a config.json", got=str(model), hint="Check the path.")
        )
    for name, value in others.items():
        if name in chosen or name == "model":
            raise ModelError(
                explain(
                    f"engine_args[{name!r}]",
                    required="arguments that open() does not have itself",
                    got=value,
                    hint=f"Pass {name}= to open().",
                )
            )
        if name in _FIXED and value != _FIXED[name][0]:
            raise ModelError(
                explain(f"engine_args[{name!r}]", required=repr(_FIXED[name][0]), got=value, hint=_FIXED[name][1])
            )
    fixed = {name: value for name, (value, _) in _FIXED.items() if value is not None}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {
        "disable_log_stats": True,
        **others,
        **given,
        **fixed,
        "model": str(path) if path.is_dir() else str(model),
    }


def _numerics(config: Any, quantization: str | None, others: Mapping[str, Any]) -> str:
    """Return dtype and those arguments that make another model of the same files."""
    altering = ("hf_overrides", "kv_cache_dtype", "load_format", "quantization_config", "seed")
    chosen = {"quantization": quantization, **{name: others.get(name) for name in altering}}
    parts = [f"{name}={value!r}" for name, value in sorted(chosen.items()) if value is not None]
    return " ".join([str(config.dtype).removeprefix("torch."), *parts])


def _folder(config: Any) -> Path:
    """Return the checkpoint's folder; a hub id's is in the local cache once the engine has loaded it."""
    if Path(config.model).is_dir():
        return Path(config.model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(config.model, revision=config.revision, local_files_only=True))


def load_tokenizer(config: Any) -> Any:
    """Return the checkpoint's own tokenizer; raises :class:`ModelError` where it has none that loads."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            config.tokenizer,
            revision=config.tokenizer_revision,
            trust_remote_code=bool(config.trust_remote_code),
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            explain(
                "tokenizer",
                required="a tokenizer that Transformers can load, or tokenizer=",
                got=f"{config.tokenizer}: {error}",
                hint="Pass a tokenizer object.",
            )
        ) from error


def find_ends(config: Any, tokenizer: Any) -> EndTokens:
    """Return what ends a reply of the engine's model."""
    return end_tokens(
        tokenizer,
        generation=config.try_get_generation_config().get("eos_token_id"),
        configuration=getattr(config.hf_text_config, "eos_token_id", None),
    )


def shut_down(engine: Any) -> None:
    """Stop an engine, and free its memory in this process."""
    engine.engine_core.shutdown()
    _clean_up()


def _clean_up() -> None:
    """Free what an engine leaves in the process, so that the next one can start in it."""
    from vllm.distributed import cleanup_dist_env_and_memory

    gc.collect()
    cleanup_dist_env_and_memory()
