"""Names of models that stand for a folder which is made on first use: the demo's model, and adapters on a base.

``demo`` is the demo's model, ``gemma3-270m`` a second one that has to be installed, ``demo+introspector`` the demo's
with an adapter of the package merged into it, and ``<base>+<path>.safetensors`` any model with an adapter of yours.
Every engine takes the folder. Any other name is what it is: a hub id, a folder, a GGUF file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from .adapters import SUFFIX, Adapter, load_adapter, merge, weights_digest
from .demo_model import CONVERTED, DEMO_MODEL, cache_folder, demo_is_converted, smollm2_path
from .digests import digest, digest_bytes
from .files import explaining, make_folder
from .gemma_model import CONVERTED as GEMMA_CONVERTED
from .gemma_model import GEMMA_MODEL, gemma_is_converted, gemma_path
from .loading import Described, Loaded, describe, is_kept, keeping, load, save
from .model_facts import ModelFacts

_JOINT = "+"
_SMOLLM2 = ModelFacts(family="SmolLM2", tuning="instruct", quantisation="Q4_1")
_GEMMA = ModelFacts(family="Gemma 3", tuning="base", quantisation="Q4_K_M")
#: What the models that we have a name for don't tell of themselves, and neither do their converted folders.
_KNOWN = {DEMO_MODEL: _SMOLLM2, GEMMA_MODEL: _GEMMA}
_CONVERTED = {CONVERTED: _SMOLLM2, GEMMA_CONVERTED: _GEMMA}


def resolve_name(name: str) -> str:
    """Return the folder that a model's name stands for, making it on first use; any other name as it is.

    A merged model has the base's dtype and tokenizer, and is named after base, adapter and the adapter's digest. With
    a base of your own its weights are read each time, to see that they are the adapter's.

    Raises :class:`~introspection_bench.errors.UnknownNameError` for an adapter that is not built in,
    :class:`~introspection_bench.errors.AdapterError` for one that is damaged or belongs to other weights, and what
    :func:`~introspection_bench.demo_model.smollm2_path`, :func:`~introspection_bench.gemma_model.gemma_path` and
    :func:`~introspection_bench.loading.load` raise.
    """
    if name == DEMO_MODEL:
        return str(smollm2_path())
    if name == GEMMA_MODEL:
        return str(gemma_path())
    parts = _parts(name)
    if parts is None:
        return name
    base, adapter = parts[0], load_adapter(parts[1])
    if base != DEMO_MODEL:
        return str(_merged(load(base, device="cpu"), adapter))
    folder = _demo_with(adapter)
    if not is_kept(folder):
        _merge_into(folder, load(smollm2_path(), device="cpu"), adapter)
    return str(folder)


def describe_named(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Described:
    """Return what a model says of itself without its weights, by any name; an adapter changes nothing of that.

    Raises what :func:`~introspection_bench.loading.describe` does.
    """
    parts = _parts(name)
    base = resolve_name(name if parts is None else parts[0])
    return describe(base, revision=revision, trust_remote_code=trust_remote_code)


def known_facts(name: str) -> ModelFacts:
    """Return what is known of a model by its name: of ``demo``, also with an adapter, and of ``gemma3-270m``."""
    base = name.partition(_JOINT)[0]
    return _KNOWN.get(base) or _CONVERTED.get(Path(base).name) or ModelFacts()


def is_ready(name: str) -> bool:
    """Whether :func:`resolve_name` has no model to convert or to merge; raises what it raises for the adapter."""
    if name == DEMO_MODEL:
        return demo_is_converted()
    if name == GEMMA_MODEL:
        return gemma_is_converted()
    parts = _parts(name)
    return parts is None or parts[0] != DEMO_MODEL or is_kept(_demo_with(load_adapter(parts[1])))


def _parts(name: str) -> tuple[str, str] | None:
    """Return base and adapter of a name that has both. A base with a + in its path can't be named so."""
    base, joint, adapter = name.partition(_JOINT)
    return (base, adapter) if joint and base and (base == DEMO_MODEL or name.endswith(SUFFIX)) else None


def _named(base: str, adapter: Adapter) -> str:
    return f"{base}{_JOINT}{adapter.name}@{adapter.digest[:8]}"


def _demo_with(adapter: Adapter) -> Path:
    # The folder of the demo's model is ours, and a new conversion has a new name.
    return cache_folder() / _named(CONVERTED, adapter)


def _merged(loaded: Loaded, adapter: Adapter) -> Path:
    """Return the folder of a base of anybody's with an adapter, which other settings of that base don't share."""
    told = digest("merged", 1, [weights_digest(loaded.model), str(loaded.model.dtype), _settings(loaded)])
    folder = cache_folder() / "merged" / told[:16] / _named(loaded.name, adapter)
    if not is_kept(folder):
        _merge_into(folder, loaded, adapter)
    return folder


def _settings(loaded: Loaded) -> list[list[str]]:
    """Digests of what lies beside a checkpoint's weights: configurations, tokenizer, chat template."""
    place = make_folder(cache_folder())
    with explaining(place), tempfile.TemporaryDirectory(dir=place) as temporary:
        for part in (loaded.model.config, loaded.model.generation_config, loaded.tokenizer):
            if part is not None:
                part.save_pretrained(temporary)
        files = sorted(path for path in Path(temporary).rglob("*") if path.is_file())
        return [[str(path.relative_to(temporary)), digest_bytes("file", 1, path.read_bytes())] for path in files]


def _merge_into(folder: Path, loaded: Loaded, adapter: Adapter) -> None:
    with keeping(folder) as made:
        merge(loaded.model, adapter)
        save(loaded, made)
