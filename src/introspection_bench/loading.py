"""From what a caller names to a loaded model: hub id, local folder, GGUF file, or a model object; and to a folder."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from .errors import BackendUnavailableError, ModelError, ModelNotFoundError, explain
from .files import explaining, make_folder

_GGUF_MAGIC = b"GGUF"
#: How llama.cpp's names of files say how their weights are rounded: ``model-Q4_K_M.gguf``, ``model.F16.gguf``.
_ROUNDED = re.compile(r"(?i)[-._]((?:I?Q[1-8]|TQ[12]|MXFP4|BF16|F16|F32)(?:_[0-9A-Z]+)*)\.gguf$")


@attrs.frozen(eq=False)
class Loaded:
    """A causal language model in eval mode, its tokenizer, and the name to show.

    ``quantisation`` is how a GGUF file's weights were rounded before they were made floats, as its name says; None for
    a file whose name does not say, and for what is no GGUF file.
    """

    model: Any
    tokenizer: Any
    name: str
    quantisation: str | None = None


@attrs.frozen(eq=False)
class Described:
    """What a checkpoint says of its model without its weights: its tokenizer, and transformers' configuration."""

    tokenizer: Any
    config: Any

    @property
    def n_layers(self) -> int:
        """How many decoder blocks the language model has."""
        return int(self.config.get_text_config().num_hidden_layers)

    @property
    def hidden_size(self) -> int:
        """The width of its residual stream."""
        return int(self.config.get_text_config().hidden_size)


def describe(source: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Described:
    """Return what a hub id, a folder or a GGUF file says of its model; no weights are read.

    Raises :class:`ModelNotFoundError` and :class:`ModelError` for what has no configuration or no tokenizer.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        place, options = _locate(source, revision)
        options["trust_remote_code"] = trusted(trust_remote_code)
        return Described(AutoTokenizer.from_pretrained(place, **options), AutoConfig.from_pretrained(place, **options))
    except ModelError:
        raise
    except Exception as error:  # damaged files make the libraries raise anything
        raise ModelNotFoundError(
            explain(
                "model",
                required="a model whose configuration and tokenizer can be loaded",
                got=f"{source}: {error}",
                hint="Give a folder, a GGUF file or a hub id with both.",
            )
        ) from error


def load(
    source: Any,
    *,
    tokenizer: Any = None,
    dtype: str = "auto",
    device: str | None = None,
    device_map: Any = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Loaded:
    """Load ``source``: a hub id, a folder, a ``.gguf`` file, or a ``PreTrainedModel`` (then with ``tokenizer``).

    ``dtype`` is "auto" (the checkpoint's own) or a torch name such as "bfloat16". ``device`` defaults to "cuda"
    where there is one, else "cpu"; ``device_map`` goes to Hugging Face (needs accelerate) and excludes it. Code that
    comes with a checkpoint runs with ``trust_remote_code=True`` and not otherwise, whatever anybody answers on the
    terminal. Raises :class:`ModelNotFoundError` and :class:`ModelError`.
    """
    if not isinstance(source, str | Path):
        return _given(source, tokenizer)
    if device is not None and device_map is not None:
        raise ModelError(
            explain(
                "device", required="either device or device_map", got=f"{device} and {device_map}", hint="Drop one."
            )
        )
    try:
        place, options = _locate(str(source), revision)
    except ModelError:
        raise
    except OSError as error:  # a name too long for a file, or a place that may not be looked at
        raise ModelNotFoundError(
            explain("model", required="a name or a path", got=str(error), hint="Check the path.")
        ) from error
    options["trust_remote_code"] = trusted(trust_remote_code)
    model, own = _from_pretrained(place, options, dtype=dtype, device_map=device_map, with_tokenizer=tokenizer is None)
    # A checkpoint may bring a decoding method of its own; sampling is the spec's affair.
    vars(model).pop("generate", None)
    if device_map is None:
        import torch

        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            model = model.to(torch.device(chosen))
        except RuntimeError as error:  # no such device, or one without room for it
            raise ModelError(
                explain("device", required="a device that can hold the model", got=f"{chosen}: {error}", hint="")
            ) from error
    name = Path(str(source)).name or str(source)
    rounded = _ROUNDED.search(name) if "gguf_file" in options else None
    return Loaded(
        model.eval(), own if tokenizer is None else tokenizer, name, None if rounded is None else rounded[1].upper()
    )


def trusted(value: Any) -> bool:
    """Return whether a checkpoint's own code may run: True, or False; anything else is a :class:`ModelError`."""
    if not isinstance(value, bool):
        # None would have transformers ask on the terminal.
        raise ModelError(explain("trust_remote_code", required="true or false", got=repr(value), hint="Leave it out."))
    return value


def advice(error: Exception, otherwise: str) -> str:
    """Return what to do about an error of transformers: about code that it was not allowed to run, or ``otherwise``."""
    if "trust_remote_code" not in str(error):
        return otherwise
    return "Read the checkpoint's code; if you trust it, open it with trust_remote_code=True."


def save(loaded: Loaded, folder: Path) -> None:
    """Write a model and its tokenizer as a Hugging Face folder."""
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)


def is_kept(folder: Path) -> bool:
    """Whether a folder that :func:`keeping` makes is there."""
    with explaining(folder):
        return (folder / "config.json").is_file()


@contextmanager
def keeping(folder: Path) -> Iterator[Path]:
    """Yield a place for a checkpoint; what was written there is ``folder`` at the end, in one step.

    Whatever interrupts it leaves nothing. Raises :class:`~introspection_bench.errors.OutputError` where the folder
    can't be written, which is known before the place is yielded.
    """
    make_folder(folder.parent)
    with explaining(folder), tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary) / folder.name
        yield made
        try:
            made.rename(folder)
        except OSError:
            # Another process was faster: its folder is whole, ours is dropped.
            if not is_kept(folder):
                shutil.rmtree(folder, ignore_errors=True)
                made.rename(folder)


def _given(model: Any, tokenizer: Any) -> Loaded:
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel):
        raise ModelError(
            explain(
                "model",
                required="a hub id, a folder, a .gguf file or a transformers PreTrainedModel",
                got=type(model).__name__,
                hint="Wrap other models in an injector of your own: the docs' page backends.",
            )
        )
    if tokenizer is None:
        raise ModelError(
            explain(
                "tokenizer", required="the model's tokenizer", got=None, hint="Pass tokenizer= beside a model object."
            )
        )
    # Each module has a mode of its own: one that was left in training mode alone drops or noises what passes it.
    training = [name or "the model itself" for name, module in model.named_modules() if module.training]
    if training:
        raise ModelError(
            explain(
                "model",
                required="every module in eval mode",
                got=f"{len(training)} in training mode: {', '.join(training[:5])}",
                hint="Call model.eval() first.",
            )
        )
    return Loaded(model, tokenizer, Path(model.config.name_or_path or "").name or type(model).__name__)


def _locate(source: str, revision: str | None) -> tuple[str, dict[str, Any]]:
    """Return what ``from_pretrained`` takes: the folder or id, and the options that go with it."""
    path = Path(os.path.expanduser(source))  # pathlib's own raises where an account has no home
    if source.endswith(".gguf"):
        if not path.is_file():
            raise ModelNotFoundError(explain("model", required="a GGUF file", got=source, hint="Check the path."))
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != _GGUF_MAGIC:
            raise ModelError(
                explain(
                    "model",
                    required=f"a GGUF file, which begins with {_GGUF_MAGIC!r}",
                    got=f"{source}, which begins with {magic!r}",
                    hint="The file is damaged or something else; download it again.",
                )
            )
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelNotFoundError(
                explain(
                    "model", required="a folder with a config.json", got=source, hint="Give the checkpoint's folder."
                )
            )
        return str(path), {}
    if path.is_absolute() or source.startswith((".", "~")):
        raise ModelNotFoundError(explain("model", required="an existing folder", got=source, hint="Check the path."))
    return source, {} if revision is None else {"revision": revision}


def _from_pretrained(
    place: str, options: dict[str, Any], *, dtype: str, device_map: Any, with_tokenizer: bool
) -> tuple[Any, Any]:
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    extra: dict[str, Any] = {}
    if "gguf_file" in options:
        try:
            import gguf  # noqa: F401  # only to name the extra before transformers complains
        except ImportError as error:
            raise BackendUnavailableError(
                explain(
                    "model", required="the package gguf", got=str(error), hint="pip install 'introspection-bench[gguf]'"
                )
            ) from error
        # Newer transformers keep GGUF weights quantised; hooks and norms need ordinary tensors. Older ones always
        # dequantise and have no such class.
        if hasattr(transformers, "GgufConfig"):
            extra["quantization_config"] = transformers.GgufConfig(dequantize=True)
        dtype = "float32" if dtype == "auto" else dtype
    if device_map is not None:
        extra["device_map"] = device_map
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **options) if with_tokenizer else None
        model = AutoModelForCausalLM.from_pretrained(place, **options, dtype=dtype, **extra)
    except OSError as error:
        raise ModelNotFoundError(
            explain(
                "model",
                required="a model that can be loaded",
                got=f"{place}: {error}",
                hint="Check id, path and network.",
            )
        ) from error
    except Exception as error:  # damaged files make the libraries raise anything, SafetensorError among it
        raise ModelError(
            explain(
                "model",
                required="a causal language model that this transformers version can load",
                got=f"{place}: {type(error).__name__}: {error}",
                hint=advice(error, "Check that the files are whole, and that the architecture is supported."),
            )
        ) from error
    return model, tokenizer
