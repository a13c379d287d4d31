"""The identity of a loaded model: all state that alters what it computes, and what must not alter it.

Weights are summed up whole, wherever they are kept: parameters, buffers, and tensors that a module of a quantisation or
adapter library holds as a plain attribute. Beside them stand each module's settings (a LoRA's scaling, which adapters
are active), the configuration, the tokenizer with its chat template, the tokens that end a reply, and code that came
with the checkpoint.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...digests import digest
from ...errors import ModelError, explain
from .foreign import LIBRARIES, attached, described

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Settings that say where a model was loaded from or by what, not what it computes.
_VOLATILE = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "use_cache"})
#: Attributes of modules that change from load to load, or in use.
_PASSING = frozenset({"training", "gradient_checkpointing", "name_or_path", "hf_device_map", "max_seq_len_cached"})
#: 64-bit words that are mixed at once: 1 MB, which stays in a processor's cache, and on a GPU enough to fill it.
_WORDS, _WORDS_GPU = 2**17, 2**24


def fingerprint_module(model: Any, tokenizer: Any, *, stop_ids: Iterable[int] = ()) -> str:
    """Return the fingerprint of a loaded PyTorch model, its tokenizer, and the tokens that end a reply (``stop_ids``).

    Every bit of every weight counts: 64-bit sums are made on the weights' own device, in about the time of reading
    them. Raises :class:`ModelError` where weights are not in memory (on the "meta" device, as ``device_map`` leaves
    them that puts a part on the disk).
    """
    sha = hashlib.sha256()
    for line in _state(model):
        sha.update(line.encode() + b"\n")
    config = stable(model.config.to_dict())
    ends = sorted(set(stop_ids))
    return digest("model", 4, [config, sha.hexdigest(), fingerprint_tokenizer(tokenizer), ends, _code(model)])


def fingerprint_tokenizer(tokenizer: Any) -> str:
    """Return the digest of what turns text into tokens and back: rules, vocabulary, special tokens, chat template."""
    rules: Any = sorted(tokenizer.get_vocab().items())
    if getattr(tokenizer, "is_fast", False):
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        # Set anew by each call that pads or truncates.
        rules = {name: value for name, value in rules.items() if name not in ("padding", "truncation")}
    special = {k: str(v) for k, v in getattr(tokenizer, "special_tokens_map", {}).items()}
    told = [getattr(tokenizer, name, None) for name in ("chat_template", "clean_up_tokenization_spaces")]
    return digest("tokenizer", 2, stable([rules, special, *told]))


def stable(value: Any) -> Any:
    """Return plain settings as JSON can hold them on any machine, without those that alter no result."""
    if isinstance(value, Mapping):
        return {str(k): stable(v) for k, v in value.items() if k not in _VOLATILE}
    if isinstance(value, list | tuple):
        return [stable(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _state(model: nn.Module) -> Iterator[str]:
    """One line for each tensor and each module's settings, under its full name."""
    import torch

    passing = _recomputed(model)
    seen = set()
    for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        seen.add(name)
        if name not in passing:
            yield from _lines(name, tensor.detach())
    # What a quantisation library saves beside them, such as the scales that bitsandbytes hangs on its parameters.
    for name, value in model.state_dict().items():
        if name not in seen:
            yield from _lines(name, value) if isinstance(value, torch.Tensor) else [f"{name} {value!r}"]
    for name, module in model.named_modules():
        yield from _module(name, module)
    for name, value in attached(model):
        yield from (f"{name} {line}" for line in described(value, functools.partial(_lines, "")))


def _module(name: str, module: nn.Module) -> Iterator[str]:
    """A module's class and settings, and the tensors that it holds as plain attributes."""
    import torch

    of_any_module = vars(torch.nn.Module())
    foreign = not type(module).__module__.startswith(LIBRARIES)
    settings: dict[str, Any] = {}
    for key, value in sorted(vars(module).items()):
        if key in _PASSING or key in of_any_module or (key.startswith("_") and not foreign):
            continue
        if isinstance(value, torch.Tensor):
            if foreign:
                yield from _lines(f"{name}.{key}", value.detach())
        elif _is_plain(value):
            settings[key] = stable(value)
        elif foreign and not callable(value):
            # A steering library's own objects, which may hold vectors.
            settings[key] = list(described(value, functools.partial(_lines, "")))
    # A model's own attributes are its configuration, which is told elsewhere, and where it came from.
    if not hasattr(module, "config_class"):
        yield f"{name} {type(module).__qualname__} {json.dumps(settings, sort_keys=True)}"


def _is_plain(value: Any) -> bool:
    import torch

    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool | torch.dtype | None)


def _recomputed(model: nn.Module) -> frozenset[str]:
    """Names of frequencies that the model itself replaces as sequences grow; the configuration decides them."""
    found = set()
    for name, module in model.named_modules():
        kinds = getattr(module, "rope_type", "")
        if "dynamic" in str(kinds) or "longrope" in str(kinds):
            found |= {f"{name}.{key}" for key, _ in module.named_buffers(recurse=False) if key.endswith("inv_freq")}
    return frozenset(found)


def _lines(name: str, tensor: Tensor) -> Iterator[str]:
    """Name, shape, dtype and sum of a tensor, or of the tensors that a tensor of a library's own kind consists of."""
    if tensor.is_meta:
        raise ModelError(
            explain(
                "model",
                required="weights that are all in memory",
                got=f"{name} on the device 'meta': on disk, offloaded, or not loaded",
                hint="Use a device_map without offloading, a smaller dtype, or more devices.",
            )
        )
    told = f"{name} {tuple(tensor.shape)} {tensor.dtype}"
    if hasattr(tensor, "__tensor_flatten__"):  # torchao, DTensor
        parts, context = tensor.__tensor_flatten__()
        yield f"{told} {context}"
        for part in parts:
            yield from _lines(f"{name}.{part}", getattr(tensor, part))
        return
    yield f"{told} {_sum(tensor):016x}"


def _sum(tensor: Tensor) -> int:
    """Return the sum, modulo 2^64, of all 64-bit words of a tensor, each mixed with its place (SplitMix64)."""
    import torch

    from .sampling import STEP, mixed

    data = tensor.contiguous().reshape(-1)
    if data.storage_offset():
        data = data.clone()  # a part of another tensor may begin in the middle of a word
    data = data.view(torch.uint8)
    whole = data.numel() // 8 * 8
    words = data[:whole].view(torch.int64)
    at_once = _WORDS if words.device.type == "cpu" else _WORDS_GPU
    places = torch.arange(1, min(at_once, words.numel()) + 1, device=words.device) * STEP
    total = torch.zeros((), dtype=torch.int64, device=words.device)
    for start in range(0, words.numel(), at_once):
        some = words[start : start + at_once]
        total += mixed(some + places[: some.numel()] + _wrapped(start * STEP)).sum()
    rest = int.from_bytes(bytes(data[whole:].tolist()), "little")
    # An odd factor: no two rests give one product.
    return (int(total) + rest * (STEP | 1) + data.numel()) % 2**64


def _wrapped(number: int) -> int:
    """The same number modulo 2^64, as a signed one."""
    return (number + 2**63) % 2**64 - 2**63


def _code(model: Any) -> str | None:
    """The digest of model code that came with the checkpoint; None for a class of an installed library."""
    kind = type(model)
    if not kind.__module__.startswith("transformers_modules"):
        return None
    folder = Path(inspect.getfile(kind)).parent
    sources = [[path.name, path.read_text(encoding="utf-8", errors="replace")] for path in sorted(folder.glob("*.py"))]
    return digest("code", 1, [kind.__qualname__, sources])
