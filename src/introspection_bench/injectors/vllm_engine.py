"""A vLLM engine for an injector: its arguments, what it holds, its end. Both backends on vLLM use it."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import InvalidStateError
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from vllm import EngineArgs, LLMEngine, envs
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.core_client import SyncMPClient
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.executor import Executor

from ..doses import Unit
from ..errors import CaptureError, IntrospectionBenchError, ModelError, ModelNotFoundError, explain
from ..injection import Steer
from .base import Limits, ModelInfo
from .hf.checkpoints import fingerprint_checkpoint
from .hf.stopping import EndTokens, ReplyReader, end_tokens
from .hf.telling import facts_of_config
from .vllm_ray import ray_executor

#: Engine arguments that would break a promise, with the only values that keep it and the reason.
Fixed: TypeAlias = Mapping[str, tuple[Any, str]]
#: What vLLM raises for a model or an argument that it doesn't take.
_REFUSED = (TypeError, ValueError, OSError, RuntimeError, AssertionError, NotImplementedError)
#: How many rows of logits are made at a time: a whole chunk of a prompt's would not fit beside a large model.
_ROWS = 128
#: How long an engine in a process of its own may take, in seconds, to tell that a worker's end is its own.
_LAST_WORDS = 10.0
#: Seconds between two looks at how many tokens there are.
TELL_S = 0.1
#: What neither backend can carry.
FIXED: Fixed = {
    "speculative_config": (None, "Rejected draft tokens are run through the blocks and would be counted."),
    "data_parallel_size": (1, "Start one injector per replica instead."),
    "skip_tokenizer_init": (True, "The engine works on token ids alone; pass tokenizer= to choose a tokenizer."),
}


def start(model: Any, chosen: Mapping[str, Any], others: Mapping[str, Any], fixed: Fixed) -> Any:
    """Start an engine with ``chosen`` (None: vLLM's default), ``others`` and ``fixed``, by vLLM's names.

    Raises:
        ModelNotFoundError: a path leads nowhere.
        ModelError: vLLM can't load the model or refuses an argument, or an argument would break the steering.
    """
    arguments = _arguments(model, chosen, others, fixed)
    ask_for_amx()
    try:
        engine = _started(EngineArgs(**arguments))
    except IntrospectionBenchError:
        _clean_up()
        raise
    except _REFUSED as error:
        _clean_up()
        raise ModelError(
            explain(
                "model and engine arguments",
                required="a model and arguments that vLLM accepts",
                got=f"{type(error).__name__}: {error}",
                hint=f"Given: {arguments}.",
            )
        ) from error
    _tell_when_dead(engine.engine_core)
    return engine


class TokenCounts:
    """How many tokens an engine's steps sample, by its own count of each request's.

    Requests are asked for their last output alone, so the steps between tell nothing. Looked at is the engine every
    :data:`TELL_S` seconds, and when nothing flies: an engine may take a thousand steps a second.
    """

    def __init__(self) -> None:
        self._ended = self._told = 0
        self._looked = 0.0

    def step(self, engine: Any, outputs: Iterable[Any], tell: Callable[[int], None]) -> None:
        """Take in the ``outputs`` of one step, and tell how many tokens have come since it was told last."""
        self._ended += sum(len(output.outputs[0].token_ids) for output in outputs if output.finished)
        flying = engine.output_processor.request_states.values()
        if flying and time.monotonic() - self._looked < TELL_S:
            return
        self._looked = time.monotonic()
        total = self._ended + sum(state.detokenizer.num_output_tokens() for state in flying)
        if total > self._told:
            tell(total - self._told)
        # Fewer than were told where a call was given up: what others sampled in that moment goes untold.
        self._told = total


def _started(arguments: EngineArgs) -> Any:
    """Start an engine, as vLLM does, but for the executor of workers that are Ray actors."""
    config = arguments.create_engine_config(UsageContext.LLM_CLASS)
    on_ray = config.parallel_config.distributed_executor_backend == "ray"
    return LLMEngine(
        vllm_config=config,
        executor_class=ray_executor() if on_ray else Executor.get_class(config),
        log_stats=not arguments.disable_log_stats,
        usage_context=UsageContext.LLM_CLASS,
        multiprocess_mode=envs.VLLM_ENABLE_V1_MULTIPROCESSING,
    )


def _tell_when_dead(core: Any) -> None:
    """Wake who waits for an engine whose process has ended: vLLM's client would wait for an answer for ever."""
    if not isinstance(core, SyncMPClient):
        return  # the engine is in this process
    resources, outputs, calls = core.resources, core.outputs_queue, core.utility_results
    ends = [process.sentinel for process in resources.engine_manager.processes]

    def tell() -> None:
        wait(ends)
        # First of all: calls that begin from now on are refused, so that none is left over below.
        resources.engine_dead = True
        outputs.put(EngineDeadError())
        for answer in list(calls.values()):
            with contextlib.suppress(InvalidStateError):
                answer.set_exception(EngineDeadError())

    threading.Thread(target=tell, name="introspection_bench: engine's end", daemon=True).start()


def read_model(
    engine: Any, model: Any, tokenizer: Any, quantization: str | None, others: Mapping[str, Any]
) -> tuple[ModelInfo, ReplyReader]:
    """Return what an engine's model is, and what reads its replies; ``tokenizer`` None: the checkpoint's own."""
    config = engine.vllm_config.model_config
    tokenizer = load_tokenizer(config) if tokenizer is None else tokenizer
    reader = ReplyReader(tokenizer, find_ends(config, tokenizer))
    info = describe(model, config, reader, quantization, others)
    reader.ends.warn(tokenizer, info.name)
    return info, reader


def limits_of(engine: Any) -> Limits:
    """Return what a request may ask of an engine at most."""
    config = engine.vllm_config.model_config
    # The last token of a reply, or one behind a replay, is sampled as well, within max_model_len.
    return Limits(
        positions=int(config.max_model_len) - 1,
        vocabulary=int(config.get_vocab_size()),
        hint="Open with a larger max_model_len, or ask for fewer tokens: vLLM would end the reply early.",
    )


def check_updates(steers: Iterable[Steer], updates: Mapping[int, tuple[str, bool]]) -> None:
    """Raise :class:`ModelError` for a steer in the unit ``update`` at a block that can't carry it.

    ``updates`` has for each layer its block's class and whether it hands on its MLP's output apart.
    """
    for steer in steers:
        block, able = updates[steer.layer]
        if steer.dose.unit is Unit.UPDATE and not able:
            raise ModelError(
                explain(
                    "unit 'update'",
                    required="a block that hands on its MLP's output apart from the residual",
                    got=f"{block}, which returns their sum",
                    hint="Use the unit 'residual', or the torch backend.",
                )
            )


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
        facts=facts_of_config(config.hf_text_config, reader.tokenizer, quantization or config.quantization),
    )


def _arguments(model: Any, chosen: Mapping[str, Any], others: Mapping[str, Any], fixed: Fixed) -> dict[str, Any]:
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
        if name in fixed and value != fixed[name][0]:
            raise ModelError(
                explain(f"engine_args[{name!r}]", required=repr(fixed[name][0]), got=value, hint=fixed[name][1])
            )
    settled = {name: value for name, (value, _) in fixed.items() if value is not None}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {
        "disable_log_stats": True,
        **others,
        **given,
        **settled,
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


@contextlib.contextmanager
def watched(engine: Any) -> Iterator[None]:
    """Make the end of an engine's process, or of a worker's, an error of ours: :class:`CaptureError`."""
    try:
        yield
    except IntrospectionBenchError:
        raise
    except Exception as error:
        # What waited for a worker fails first, in whatever way; that the engine ends with it is told a moment later.
        if not (isinstance(error, EngineDeadError) or _dies(engine)):
            raise
        raise CaptureError(
            explain(
                "engine",
                required="processes that run until the injector is closed",
                got="one that has ended (out of memory, killed, or its node gone; vLLM's own output says more)",
                hint="Open it again. A sweep goes on where it stopped: what it had recorded is kept.",
            )
        ) from error


def is_dead(engine: Any) -> bool:
    """Whether an engine was closed, or its process is known to have ended."""
    return engine is None or bool(getattr(getattr(engine.engine_core, "resources", None), "engine_dead", False))


def _dies(engine: Any) -> bool:
    """Whether an engine in a process of its own is dead, or is within a few seconds of a call that failed."""
    end = time.monotonic() + _LAST_WORDS
    while not is_dead(engine) and isinstance(engine.engine_core, SyncMPClient) and time.monotonic() < end:
        time.sleep(0.05)
    return is_dead(engine)


def reduced(model: Any, final: Tensor, reduce: Callable[[Tensor, slice], Tensor]) -> Tensor | None:
    """Return ``reduce(logits, rows)`` of what the final norm gave (rows, hidden_size), some rows at a time.

    Runs in a worker. Where the vocabulary is sharded all workers must call it, and those that don't get the logits
    return None.
    """
    parts = []
    for start in range(0, len(final), _ROWS):
        rows = slice(start, min(start + _ROWS, len(final)))
        logits = model.compute_logits(final[rows])
        if logits is not None:
            parts.append(reduce(logits, rows))
    return torch.cat(parts) if parts else None


def shut_down(engine: Any) -> None:
    """Stop an engine, and free its memory in this process."""
    engine.engine_core.shutdown()
    _clean_up()


def _clean_up() -> None:
    """Free what an engine leaves in the process, so that the next one can start in it."""
    from vllm.distributed import cleanup_dist_env_and_memory

    gc.collect()
    cleanup_dist_env_and_memory()


def ask_for_amx() -> None:
    """Ask Linux for the CPU's matrix unit (AMX), where there is one; elsewhere do nothing.

    vLLM's bfloat16 attention for CPUs uses it as soon as the CPU announces it. A process that never asked is ended by
    the kernel at its first use ("Illegal instruction"), unless some other library asked for it before.
    """
    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()
